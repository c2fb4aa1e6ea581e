"""Whom a command talks to, and in which form it answers.

The options that say so stand before the command or behind it, as one likes; behind wins. They
reach a command as its first argument, a `Session`.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from navarch.cli.output import note
from navarch.cli.parameters import DURATION

if TYPE_CHECKING:
    from navarch.wire.servers import Servers

# The API's JSON: what is inside is for `views` to know.
Json = dict[str, Any]
Parameters = ParamSpec("Parameters")

SERVER = "http://localhost:50051"
TIMEOUT = timedelta(seconds=30)
"""A list of 100,000 nodes takes seconds; a server that thinks for longer than this is not well."""
FORMATS = ("table", "wide", "json", "yaml")
PAGE_SIZE = 1000
"""Entries a page: the most that the wire allows."""

_PREFIX = "navarch."


class Session:
    """One command's connection to a control plane, or to several over one journal."""

    def __init__(
        self,
        *,
        server: str,
        token: str | None,
        output: str,
        timeout: timedelta,
        files: tuple[Path | None, Path | None, Path | None] = (None, None, None),
    ) -> None:
        """Keep the settings; nothing is connected before the first call.

        `server` is an address, or several with commas between them. `files` are those of TLS: whom
        to trust, the certificate to show, and its key.
        """
        self.addresses = tuple(
            dict.fromkeys(each.strip() for each in server.split(",") if each.strip())
        )
        self.token = token
        self.output = output
        self.timeout = timeout
        self._files = files
        self._standby_told = False

    @classmethod
    def of(cls, context: click.Context) -> Session:
        """Make the session that the options, else the environment, else the defaults ask for."""
        said = context.meta
        return cls(
            server=",".join(said.get(f"{_PREFIX}server") or ())
            or os.environ.get("NAVARCH_SERVER")
            or SERVER,
            token=said.get(f"{_PREFIX}token") or os.environ.get("NAVARCH_AUTH_TOKEN") or None,
            output=output_format(context),
            timeout=said.get(f"{_PREFIX}timeout") or TIMEOUT,
            files=(_file(said, "ca"), _file(said, "cert"), _file(said, "key")),
        )

    @functools.cached_property
    def servers(self) -> Servers:
        """The connection. Raises as `connect` does."""
        return self.connect()

    def connect(self) -> Servers:
        """Make a connection of its own, for another thread; whoever asked for it closes it.

        Raises `WireError` when an address is none, and `ConfigError` for files of TLS that cannot
        be used.
        """
        from navarch.wire.servers import Servers
        from navarch.wire.trust import trust_of

        ca, cert, key = self._files
        trust = trust_of(ca=ca, cert=cert, key=key)
        return Servers(self.addresses, self.token, timeout=self.timeout.total_seconds(), tls=trust)

    @property
    def server(self) -> str:
        """The address that has answered, or that is asked first."""
        return self.servers.chosen.url

    def close(self) -> None:
        """Hang up, if anybody was called."""
        if "servers" in self.__dict__:
            self.servers.close()

    def call(self, method: str, request: Json) -> Json:
        """Call a method. Raises `WireError`."""
        answer = self.servers.call(method, request)
        self._tell_standby()
        return answer

    def _tell_standby(self) -> None:
        """Tell people, once, what an answer cannot show because a standby gave it."""
        if self.servers.chosen.standby and not self._standby_told:
            self._standby_told = True
            note(f"answered by {self.server}, a standby: it hears no heartbeats and no load")

    def all_pages(self, method: str, request: Json, key: str) -> Json:
        """Call a method that answers in pages, and return one answer with all of them.

        `key` is where the entries are. Raises `WireError`.
        """
        entries: list[Any] = []
        token = ""
        while True:
            page = self.call(method, {**request, "pageSize": PAGE_SIZE, "pageToken": token})
            entries.extend(page.get(key, ()))
            token = page.get("nextPageToken", "")
            if not token:
                return {key: entries}

    def stream(self, method: str, request: Json) -> Iterator[Json]:
        """Call a streaming method. Raises `WireError` while iterating."""
        return self.servers.stream(method, request)


def output_format(context: click.Context) -> str:
    """Return the form in which to answer: one of `FORMATS`."""
    return str(context.meta.get(f"{_PREFIX}output") or "table")


def _file(said: Mapping[str, Any], kind: str) -> Path | None:
    """Which file of TLS was named, by an option or in the environment."""
    found = said.get(f"{_PREFIX}tls_{kind}") or os.environ.get(f"NAVARCH_TLS_{kind.upper()}")
    return Path(found) if found else None


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    """Note an option that was given. The notes are one dictionary for all nested commands."""
    if value is not None and value != ():
        context.meta[f"{_PREFIX}{parameter.name}"] = value


def _option(
    *names: str,
    text: str,
    kind: click.ParamType[Any] | None = None,
    metavar: str | None = None,
    multiple: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make an option that is noted instead of handed over."""
    return click.option(
        *names,
        help=text,
        type=kind,
        metavar=metavar,
        multiple=multiple,
        expose_value=False,
        callback=_keep,
    )


output_option = _option(
    "-o", "--output", kind=click.Choice(FORMATS), text="How to answer.  [default: table]"
)
_CONNECTION = (
    _option(
        "--tls-key",
        metavar="FILE",
        text="The key of --tls-cert.  [env: NAVARCH_TLS_KEY]",
    ),
    _option(
        "--tls-cert",
        metavar="FILE",
        text="The certificate to show, where one is asked for.  [env: NAVARCH_TLS_CERT]",
    ),
    _option(
        "--tls-ca",
        metavar="FILE",
        text="Certificates to trust, in the place of the system's.  [env: NAVARCH_TLS_CA]",
    ),
    _option("--timeout", kind=DURATION, text="How long to wait for an answer.  [default: 30s]"),
    output_option,
    _option(
        "--token",
        metavar="TOKEN",
        text="Who calls; other users of this machine can see it, so better by the environment."
        "  [env: NAVARCH_AUTH_TOKEN]",
    ),
    _option(
        *("-s", "--server"),
        metavar="URL",
        multiple=True,
        text="The control plane; several over one journal by repeating it, or with commas."
        f"  [env: NAVARCH_SERVER; default: {SERVER}]",
    ),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add these options to a command."""
    for option in _CONNECTION:
        command = option(command)
    return command


def connected(
    command: Callable[Concatenate[Session, Parameters], None],
) -> Callable[..., Any]:
    """Give a command these options, and the session that they make as first argument."""

    @functools.wraps(command)
    def with_session(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        with contextlib.closing(Session.of(click.get_current_context())) as session:
            command(session, *args, **kwargs)

    return options(with_session)
