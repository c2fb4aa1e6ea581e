"""The Engine API, as far as it is needed: ten questions, each with a deadline.

Rules that hold:

- The version is agreed upon with the engine (engines of 2025 refuse what older ones need), and
  anew when an engine that was replaced refuses it.
- A question that changes something and has no clear answer ends in `OutcomeUnknown`; one that only
  reads, and one that met nobody, in `Unavailable`.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from navarch.errors import (
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    Unauthorized,
    Unavailable,
)
from navarch.peers.unanswered import Unanswered
from navarch.peers.unix_http import Reply, SocketClient, Unsent
from navarch.providers.docker import answers
from navarch.providers.docker.answers import Container, Inspected, Made
from navarch.providers.docker.examining import Host

T = TypeVar("T")

OLDEST: Final = (1, 40)
"""The first version that gives GPUs to containers (Docker 19.03)."""

NEWEST: Final = (1, 49)
"""The newest version whose reference was read; newer engines speak it too."""

VERSION: Final = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})")

LOG_LINES_MAX: Final = 2_000
"""How many lines of a container's log are asked for: an engine counts lines, not bytes."""

FULL_ID: Final = re.compile(r"[0-9a-f]{64}")
"""What is surely an id: engines take names and the beginnings of ids in its place."""


class NameTaken(Exception):
    """A container of this name is there already; nothing was made."""


class Engine:
    """One engine, asked for the provider called `name`."""

    def __init__(
        self, name: str, client: SocketClient, *, timeout: timedelta, launch_timeout: timedelta
    ) -> None:
        """Ask by `client`; steps of a launch have `launch_timeout`, all else has `timeout`."""
        self._name = name
        self._client = client
        self._timeout = timeout
        self._launch_timeout = launch_timeout
        self._version = ""

    async def containers(self) -> list[Container]:
        """List the containers of all fleets of Navarch, in any state.

        :raises ProviderError: there is no answer
        """
        key, value = answers.MANAGED_BY
        filters = msgspec.json.encode({"label": [f"{key}={value}"]}).decode()
        reply = await self._ask("GET", "/containers/json", {"all": "true", "filters": filters})
        if reply.status != HTTPStatus.OK:
            raise self._failure(reply, "list", absent=Unavailable, unclear=Unavailable)
        listed = self._parsed(reply, list[Container], otherwise=Unavailable)
        ours = {each.Id: each for each in listed if each.is_ours}
        return list(ours.values())

    async def described(self) -> Host:
        """Ask what engine it is, and what its host has.

        :raises ProviderError: there is no answer
        """
        reply = await self._ask("GET", "/info")
        if reply.status != HTTPStatus.OK:
            raise self._failure(reply, "info", absent=Unavailable, unclear=Unavailable)
        return self._parsed(reply, Host, otherwise=Unavailable)

    async def version(self) -> str:
        """Say which version is agreed upon.

        :raises ProviderError: there is no answer
        """
        return (await self._prefix()).removeprefix("/v")

    async def has_image(self, image: str) -> bool:
        """Say whether containers can be made from an image.

        :raises ProviderError: there is no answer
        """
        reply = await self._ask("GET", f"/images/{quote(image, safe='/:@')}/json")
        if reply.status not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
            raise self._failure(reply, f"image {image}", absent=Unavailable, unclear=Unavailable)
        return reply.status == HTTPStatus.OK

    async def inspect(self, known_as: str) -> Container | None:
        """Look at the container of this id or name; None when there is none.

        :raises ProviderError: there is no answer
        """
        reply = await self._ask("GET", f"/containers/{quote(known_as, safe='')}/json")
        if reply.status == HTTPStatus.NOT_FOUND:
            return None
        if reply.status != HTTPStatus.OK:
            called = f"inspect {known_as}"
            raise self._failure(reply, called, absent=Unavailable, unclear=Unavailable)
        return self._parsed(reply, Inspected, otherwise=Unavailable).container

    async def printed(self, container_id: str) -> bytes:
        """Return the end of what a container has printed, one that has ended included.

        :raises NotFound: there is no such container
        :raises ProviderError: there is no answer
        """
        wanted = {"stdout": "true", "stderr": "true", "tail": str(LOG_LINES_MAX)}
        reply = await self._ask("GET", f"/containers/{container_id}/logs", wanted)
        if reply.status != HTTPStatus.OK:
            called = f"logs of {container_id[:12]}"
            raise self._failure(reply, called, absent=NotFound, unclear=Unavailable)
        return answers.unframed(reply.body)

    async def create(self, name: str, body: Mapping[str, object]) -> str:
        """Make a container and return its id; it does not run yet.

        :raises NameTaken: one of this name is there
        :raises ProviderError: as the contract of providers says
        """
        try:
            content = msgspec.json.encode(body)
        except UnicodeEncodeError as cause:
            raise InvalidRequest(f"{self._name}: a text of the request is no Unicode") from cause
        reply = await self._change("POST", "/containers/create", {"name": name}, content)
        if reply.status == HTTPStatus.CONFLICT:
            raise NameTaken(name)
        if reply.status != HTTPStatus.CREATED:
            # An engine that fails has begun, and says nothing of what it left.
            called = f"create {name}"
            raise self._failure(reply, called, absent=InvalidRequest, unclear=OutcomeUnknown)
        made = self._parsed(reply, Made, otherwise=OutcomeUnknown).Id
        if FULL_ID.fullmatch(made) is None:
            raise OutcomeUnknown(f"{self._name}: create {name}: what came back is no id")
        return made

    async def put_file(self, container_id: str, path: str, content: bytes, *, uid: int) -> None:
        """Put a file into a container, for its owner alone to read.

        :raises ProviderError: `OutcomeUnknown` when it may be there; else it is not
        """
        reply = await self._change(
            "PUT",
            f"/containers/{container_id}/archive",
            {"path": "/"},
            _archive(path, content, uid),
            kind="application/x-tar",
        )
        if reply.status != HTTPStatus.OK:
            called = f"put {path} into {container_id[:12]}"
            raise self._failure(reply, called, absent=Unavailable, unclear=Unavailable)

    async def start(self, container_id: str) -> None:
        """Start a container; one that runs goes on running.

        :raises ProviderError: `OutcomeUnknown` when it may run; else it does not
        """
        reply = await self._change("POST", f"/containers/{container_id}/start")
        if reply.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            said = answers.message_of(reply)
            unclear = answers.failure_of_start(said, Unavailable)
            called = f"start {container_id[:12]}"
            raise self._failure(reply, called, absent=Unavailable, unclear=unclear)

    async def stop(self, container_id: str, grace: timedelta) -> None:
        """End what runs in a container: SIGTERM, and SIGKILL after `grace`. Waits for its end.

        :raises NotFound: there is no such container
        :raises ProviderError: otherwise
        """
        seconds = {"t": str(round(grace.total_seconds()))}
        reply = await self._change(
            "POST", f"/containers/{container_id}/stop", seconds, deadline=grace + self._timeout
        )
        if reply.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            called = f"stop {container_id[:12]}"
            raise self._failure(reply, called, absent=NotFound, unclear=OutcomeUnknown)

    async def remove(self, container_id: str) -> None:
        """Remove a container, whatever its state, with its unnamed volumes; one that goes, goes.

        :raises ProviderError: it may still be there
        """
        reply = await self._change(
            "DELETE", f"/containers/{container_id}", {"force": "true", "v": "true"}
        )
        gone = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
        if reply.status not in gone:
            called = f"remove {container_id[:12]}"
            raise self._failure(reply, called, absent=NotFound, unclear=OutcomeUnknown)

    # --- how it is asked -----------------------------------------------------------------------

    async def _ask(self, method: str, path: str, query: Mapping[str, str] | None = None) -> Reply:
        target = f"{await self._prefix()}{path}"
        return await self._send(
            method, target, query, b"", "", deadline=self._timeout, unanswered=Unavailable
        )

    async def _change(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        content: bytes = b"",
        *,
        kind: str = "application/json",
        deadline: timedelta | None = None,
    ) -> Reply:
        target = f"{await self._prefix()}{path}"
        deadline = deadline or self._launch_timeout
        return await self._send(
            method, target, query, content, kind, deadline=deadline, unanswered=OutcomeUnknown
        )

    async def _send(
        self,
        method: str,
        target: str,
        query: Mapping[str, str] | None,
        content: bytes,
        kind: str,
        *,
        deadline: timedelta,
        unanswered: type[ProviderError],
    ) -> Reply:
        asked = f"{target}?{urlencode(query)}" if query else target
        headers = {"content-type": kind} if content else {}
        try:
            reply = await self._client.send(
                method, asked, body=content, headers=headers, deadline=deadline
            )
        except Unanswered as failure:
            is_forbidden = isinstance(failure.__cause__, PermissionError)
            unsent = Unauthorized if is_forbidden else Unavailable
            raised = unsent if isinstance(failure, Unsent) else unanswered
            raise raised(f"{self._name}: {failure}") from failure
        if reply.status == HTTPStatus.BAD_REQUEST and _is_of_version(reply):
            self._version = ""
            said = answers.message_of(reply)
            raise Unavailable(f"{self._name}: the engine has changed: {said}")
        return reply

    async def _prefix(self) -> str:
        """Agree upon a version, once."""
        if not self._version:
            reply = await self._send(
                "GET", "/_ping", None, b"", "", deadline=self._timeout, unanswered=Unavailable
            )
            if reply.status != HTTPStatus.OK:
                raise self._failure(reply, "ping", absent=Unavailable, unclear=Unavailable)
            found = VERSION.fullmatch(reply.headers.get("api-version", ""))
            if found is None:
                raise Unavailable(f"{self._name}: who answers is no engine: it has no version")
            spoken = min((int(found[1]), int(found[2])), NEWEST)
            if spoken < OLDEST:
                expected = f"expected {'.'.join(map(str, OLDEST))} or newer"
                raise Unavailable(f"{self._name}: the engine speaks {found[0]}, {expected}")
            self._version = ".".join(map(str, spoken))
        return f"/v{self._version}"

    def _parsed(self, reply: Reply, shape: type[T], *, otherwise: type[ProviderError]) -> T:
        try:
            return msgspec.json.decode(reply.body, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
            text = f"HTTP {reply.status} with an answer that does not fit: {cause}"
            raise otherwise(f"{self._name}: {text}") from cause

    def _failure(
        self,
        reply: Reply,
        doing: str,
        *,
        absent: type[ProviderError],
        unclear: type[ProviderError],
    ) -> ProviderError:
        """Make the error that an answer without success means, its cause with it."""
        kind = answers.meaning(reply, absent=absent, unclear=unclear)
        said = f"{doing}: HTTP {reply.status}: {answers.message_of(reply)}"
        failure = kind(f"{self._name}: {said}")
        failure.__cause__ = Unanswered(said, status=reply.status)
        return failure


def _is_of_version(reply: Reply) -> bool:
    """Whether an engine refuses the version: too new for an old one, too old for a new one."""
    said = answers.message_of(reply).lower()
    return "client version" in said or "minimum supported api version" in said


def _archive(path: str, content: bytes, uid: int) -> bytes:
    """Pack one file as a tar to be unpacked at the root."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        entry = tarfile.TarInfo(path.removeprefix("/"))
        entry.size = len(content)
        entry.mode = 0o600
        entry.uid = entry.gid = uid
        archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
