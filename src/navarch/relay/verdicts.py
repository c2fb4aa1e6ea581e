"""What an answer from upstream means, and how long to wait after a failure.

A relay has several addresses of one control plane. Which answer sends it to the next one, which
one an agent shall see, and which one counts as life are decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import Struct

RETRY_FIRST: Final = 0.25
"""Seconds of the longest first wait: a control plane that restarts is back within a second."""

RETRY_MAX: Final = 2.0
"""Seconds of the longest wait: a heartbeat is worth passing on for ten."""

RETRY_AFTER_MAX: Final = 60.0
"""Seconds: no control plane may send a relay away for longer, whatever it says."""

AWAY_MAX: Final = 10.0
"""Seconds for which heartbeats are still answered when no batch gets through, and for which they
are kept to be passed on.

A standby takes over within six seconds, and no agent need notice. Beyond that an answer would be a
lie: the agent is told ``unavailable``, and may know another way. It is also how late a sighting may
come, a ninth of the usual 90 seconds after which a node counts as lost.
"""

_GOLDEN_RATIO: Final = 0.618033988749895
_DOUBLINGS_MAX: Final = 16


class Reply(Struct, frozen=True):
    """What came back of a call."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    """Those that are passed on."""
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the call was done."""
        return self.status == HTTPStatus.OK

    def header(self, wanted: bytes) -> str:
        """The value of a header by its lower-case name; empty when absent."""
        return next((value.decode("latin-1") for name, value in self.headers if name == wanted), "")


class Refusal(Struct, frozen=True):
    """An error in the form of the Connect protocol."""

    code: str
    message: str


_OF_STATUS: Final[Mapping[int, str]] = {
    400: "internal",
    401: "unauthenticated",
    403: "permission_denied",
    404: "unimplemented",
    429: "unavailable",
    502: "unavailable",
    503: "unavailable",
    504: "unavailable",
}
"""What a status means where the body says nothing (Connect protocol, "HTTP to Error Code")."""

ELSEWHERE: Final = frozenset({"unavailable", "deadline_exceeded"})
"""Codes after which another address may do better: so answers a standby, and one that stops."""


class _Told(Struct):
    code: str = ""
    message: str = ""


def refusal(reply: Reply) -> Refusal:
    """Read why a call was not done."""
    code = _OF_STATUS.get(reply.status, "unknown")
    try:
        told = msgspec.json.decode(reply.body, type=_Told)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refusal(code, f"HTTP status {reply.status}")
    return Refusal(told.code or code, told.message or f"HTTP status {reply.status}")


def tries_elsewhere(reply: Reply) -> bool:
    """Whether the same call may do better at another address."""
    return not reply.ok and reply.status >= 500 and refusal(reply).code in ELSEWHERE


def retry_after(reply: Reply) -> float:
    """How many seconds the control plane asks us to stay away; 0: it does not."""
    said = reply.header(b"retry-after")
    return min(float(said), RETRY_AFTER_MAX) if said.isascii() and said.isdigit() else 0.0


def wait(failures: int, spread: float) -> float:
    """How many seconds to wait after so many failures in a row, from the first on.

    Between half and the whole of `RETRY_FIRST`, doubled each time, up to `RETRY_MAX`. `spread` is
    the relay's chance, from 0 up to and without 1: relays do not come back together.
    """
    doubled: int = 1 << min(failures - 1, _DOUBLINGS_MAX)
    longest = min(RETRY_FIRST * doubled, RETRY_MAX)
    return longest * (1 + (spread + failures * _GOLDEN_RATIO) % 1.0) / 2
