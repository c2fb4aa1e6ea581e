"""What may be written under ``server.notifier``: whom we tell of cordons and drains, and how.

The workload system that fills the nodes is told before anything is done to one, and asked whether
it is empty. ``type`` says which it is, and a block of the same name says how it is reached::

    notifier:
      type: webhook
      webhook: {drain_url: "https://scheduler/drain", drain_status_url: "https://scheduler/drained"}

These are the settings of notifiers and not the notifiers: those are made of them by
`navarch.wiring`, which may load a plugin for it. What a receiver is sent is in
``docs/notifiers.md``. Addresses are not shown: with many receivers the path is the secret.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Struct, field

from navarch.config.key import PLUGIN, VARIABLE, Key
from navarch.config.metrics import URL, Credentials
from navarch.config.values import INTERVAL, PATH, Form, named
from navarch.core.settings import Settings

HEADERS_MAX = 32
"""Headers that a request may be given: nobody needs more to say who they are."""
RETRIES_MAX = 10
"""More repetitions within one call are the caller's business, who repeats anyway."""

TIMEOUT = timedelta(seconds=30)
"""How long a call may take: three of Slurm's own tries of 9 s."""

OUR_HEADERS = frozenset(
    [
        *("accept", "connection", "content-length", "content-type", "host", "idempotency-key"),
        *("transfer-encoding", "x-navarch-signature", "x-navarch-timestamp"),
    ]
)
"""Headers that belong to the message, and that a configuration cannot set."""

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
"""What RFC 9110 calls a token."""

_ADDRESS = re.compile(r"https?://[A-Za-z0-9.:_\[\]-]{1,300}(?:[/?][!-\"$-\[\]-~]{0,2000})?")
"""ASCII without blanks, backslashes and fragments; a user in front of the host is none of it."""


def parse_address(text: str) -> str:
    """Read the address of a receiver; `ValueError` for one that nobody can be reached at."""
    if _ADDRESS.fullmatch(text) is None:
        raise ValueError("users and fragments are not taken, and anything but ASCII is encoded")
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("it has no host, or a port that nobody listens on")
    return text


def parse_header(text: str) -> str:
    """Read the name of a header; `ValueError` for none, and for those that Navarch sets itself."""
    if _HEADER.fullmatch(text) is None or text.lower() in OUR_HEADERS:
        raise ValueError
    return text


ADDRESS = Form(
    expected="an address such as https://scheduler.example/drain",
    pattern=f"^{_ADDRESS.pattern}$",
    parse=parse_address,
)
HEADER = Form(
    expected="the name of a header that Navarch does not set itself",
    pattern=f"^{_HEADER.pattern}$",
    parse=parse_header,
)
HEADER_VALUE = named(
    "printable ASCII without blanks at its ends", r"[!-~](?:[ -~\t]{0,4000}[!-~])?"
)
PROGRAM = named("the name or path of a program", r"[^\s\0]{1,4096}")


class Webhook(Struct, frozen=True, kw_only=True):
    """Where each action is told, and how we prove that it is us."""

    cordon_url: Annotated[
        str | None,
        Key(
            "Where a node that is to take no new work is told. Absent: nowhere.",
            form=ADDRESS,
            secret=True,
        ),
    ] = None
    uncordon_url: Annotated[
        str | None,
        Key(
            "Where a node that may take work again is told. Absent: nowhere.",
            form=ADDRESS,
            secret=True,
        ),
    ] = None
    drain_url: Annotated[
        str | None,
        Key(
            "Where a node that is to be emptied is told. Absent: nowhere.",
            form=ADDRESS,
            secret=True,
        ),
    ] = None
    drain_status_url: Annotated[
        str | None,
        Key(
            "Where we ask whether a node is empty. Absent: drains last for drain_timeout.",
            form=ADDRESS,
            secret=True,
        ),
    ] = None
    timeout: Annotated[
        timedelta, Key("How long a call may take, its repetitions included.", form=INTERVAL)
    ] = TIMEOUT
    headers: Annotated[
        dict[str, Annotated[str, Key("Its value.", form=HEADER_VALUE, secret=True)]],
        Key(
            "Headers of every request; write secrets as ${NAME}.",
            maximum=HEADERS_MAX,
            names=HEADER,
        ),
    ] = field(default_factory=dict)
    secret_env: Annotated[
        str | None,
        Key("The environment variable that holds the secret of signatures.", form=VARIABLE),
    ] = None
    secret_file: Annotated[
        Path | None, Key("The file that holds the secret of signatures.", form=PATH)
    ] = None
    ca_file: Annotated[
        Path | None,
        Key("The certificates that vouch for the receiver. Absent: the system's.", form=PATH),
    ] = None
    retries: Annotated[
        int,
        Key("How often a request is repeated within a call.", minimum=0, maximum=RETRIES_MAX),
    ] = 2

    def __repr__(self) -> str:
        """Show what is no secret: which actions are told, and the names of the headers."""
        told = ", ".join(self.urls()) or "nothing"
        return f"Webhook({told}; headers: {', '.join(self.headers) or 'none'})"

    def urls(self) -> dict[str, str]:
        """The addresses that are given, by their keys."""
        keys = ("cordon_url", "uncordon_url", "drain_url", "drain_status_url")
        return {key: url for key in keys if (url := getattr(self, key)) is not None}


class Slurm(Struct, frozen=True, kw_only=True):
    """Which Slurm is told, through its own commands."""

    scontrol: Annotated[str, Key("The program scontrol.", form=PROGRAM)] = "scontrol"
    squeue: Annotated[str, Key("The program squeue.", form=PROGRAM)] = "squeue"
    prefix: Annotated[
        tuple[Annotated[str, Key("One word.", form=PROGRAM)], ...],
        Key("What stands before each command, such as [ssh, login, --]."),
    ] = ()
    prefix_is_shell: Annotated[
        bool,
        Key("Whether prefix hands the command to a shell, as ssh does: then it is quoted."),
    ] = False
    timeout: Annotated[
        timedelta, Key("How long a call may take, of up to three commands.", form=INTERVAL)
    ] = TIMEOUT


class Kubernetes(Struct, frozen=True, kw_only=True):
    """Which cluster is told."""

    url: Annotated[
        str | None,
        Key("The API server. Absent: that of the cluster we run in, with its account.", form=URL),
    ] = None
    credentials: Annotated[Credentials, Key("Where the secret of the API is found.")] = (
        Credentials()
    )
    timeout: Annotated[
        timedelta,
        Key("How long a call may take, with a request for each pod it evicts.", form=INTERVAL),
    ] = TIMEOUT


class Plugin(Struct, frozen=True, kw_only=True):
    """Where a notifier of somebody else is found."""

    use: Annotated[
        str,
        Key(
            "Its name among the entry points navarch.notifiers, or where its class is.",
            form=PLUGIN,
        ),
    ]
    config: Annotated[
        dict[str, Annotated[object, Key("Anything.")]],
        Key("What its class is called with, by the names of its arguments."),
    ] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Show where it is found; its config may hold secrets."""
        return f"Plugin({self.use!r})"


class Draining(Struct, frozen=True, kw_only=True):
    """What holds for drains, whoever is told."""

    drain_timeout: Annotated[
        timedelta, Key("How long a node may take to become empty.", form=INTERVAL)
    ] = Settings().drain_timeout
    on_drain_timeout: Annotated[
        Literal["end", "wait"],
        Key("What follows then: end the work that is left, or wait for ever."),
    ] = Settings().drain_overrun
    poll_interval: Annotated[
        timedelta, Key("How often we ask whether a node is empty.", form=INTERVAL)
    ] = Settings().drain_poll


class WebhookNotifier(Draining, frozen=True, kw_only=True, tag_field="type", tag="webhook"):
    """Tells a system of one's own over HTTP."""

    webhook: Annotated[Webhook, Key("Where each action is told.")]


class SlurmNotifier(Draining, frozen=True, kw_only=True, tag_field="type", tag="slurm"):
    """Drains nodes in Slurm."""

    slurm: Annotated[Slurm, Key("Which Slurm is told.")] = Slurm()


class KubernetesNotifier(Draining, frozen=True, kw_only=True, tag_field="type", tag="kubernetes"):
    """Cordons nodes in Kubernetes and evicts their pods."""

    kubernetes: Annotated[Kubernetes, Key("Which cluster is told.")] = Kubernetes()


class NoopNotifier(Draining, frozen=True, kw_only=True, tag_field="type", tag="noop"):
    """Tells nobody: every node is empty at once."""


class CustomNotifier(Draining, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    """A notifier of somebody else."""

    custom: Annotated[Plugin, Key("Where it is found.")]


Notifier = WebhookNotifier | SlurmNotifier | KubernetesNotifier | NoopNotifier | CustomNotifier
"""Everybody who can be told, told apart by ``type``."""
