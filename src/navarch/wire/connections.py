"""What one connection may take: a place among those of its address, and time to read its answers.

A peer that does not read what it asked for (a large list, a stream of events) has its answer wait
in our memory. How much that is, is bounded by the transport: nothing more is made while more than
64 KiB wait. For how long, is bounded here: whoever takes next to nothing for a while is cut off.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from navarch.wire.admission import Admission

UNREAD_SECONDS_MAX: Final = 30.0
"""How long a peer may take next to nothing of an answer: a TCP that has lost its peer's window
update asks again within 60 s at the latest, as a rule within a second (RFC 9293, 3.8.6.1)."""

READ_BYTES_MIN: Final = 4 * 1024
"""Bytes that a peer has to take in `UNREAD_SECONDS_MAX`: less than a modem did."""

POLITE_MAX: Final = 64
"""Connections beyond the bound of an address that are told why; any further is hung up on."""


class Place:
    """One connection's, from when it was made until it is lost."""

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, admission: Admission
    ) -> None:
        """Take a place, if there is one; ask `beyond` whether there was."""
        peer = transport.get_extra_info("peername")
        self._transport = transport
        self._loop = loop
        self._admission = admission
        self._address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._unread_due: asyncio.TimerHandle | None = None
        self._unread = 0
        self.beyond = admission.begin_connection(self._address)
        """How many more connections than allowed its address has; 0: it is let in."""

    def writing_paused(self) -> None:
        """Expect the peer to read: more waits for it than should."""
        if self._unread_due is None:
            self._unread = self._transport.get_write_buffer_size()
            self._unread_due = self._loop.call_later(UNREAD_SECONDS_MAX, self._look)

    def writing_resumed(self) -> None:
        """Expect nothing: the peer has read enough."""
        if self._unread_due is not None:
            self._unread_due.cancel()
            self._unread_due = None

    def lost(self) -> None:
        """Give the place back."""
        self.writing_resumed()
        self._admission.end_connection(self._address)

    def _look(self) -> None:
        before, self._unread = self._unread, self._transport.get_write_buffer_size()
        if before - self._unread < READ_BYTES_MIN:
            self._unread_due = None
            self._admission.count("unread_answer")
            self._transport.abort()
        else:
            self._unread_due = self._loop.call_later(UNREAD_SECONDS_MAX, self._look)


def crowded(connections_max: int) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The body and the headers of the answer (429) to one connection too many of an address."""
    text = f"more than {connections_max} connections from one address"
    body = msgspec.json.encode({"code": "resource_exhausted", "message": text})
    return body, [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", b"10"),
        (b"connection", b"close"),
    ]
