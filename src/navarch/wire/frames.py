"""What frames of HTTP/2 a peer sends, told from the outside of its parser.

The parser tells neither how long a frame has been under way nor how many it has passed over in
silence, and it answers every PING and SETTINGS. Both have to be known to be bounded. `Frames`
reads nothing but the nine bytes before each payload (RFC 9113, section 4.1).
"""

from __future__ import annotations

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113, section 3.4)."""

DATA: Final = 0x0
HEADERS: Final = 0x1
PUSH_PROMISE: Final = 0x5
CONTINUATION: Final = 0x9

_END_STREAM: Final = 0x1
_END_HEADERS: Final = 0x4
_HEAD_BYTES: Final = 9


class Frames:
    """Follows the frames of one connection, from its first byte."""

    def __init__(self) -> None:
        """Expect the preface."""
        self._head = b""
        self._rest = len(PREFACE)
        self._count = 0
        self._block = 0

    @property
    def unfinished(self) -> int:
        """The number of the frame, or of the block of headers, that is under way; 0: none is."""
        if self._block:
            return self._block
        return self._count + 1 if self._rest or self._head else 0

    def feed(self, data: bytes) -> int:
        """Follow the next bytes, and return how many frames began that carry no request.

        These are all but HEADERS, CONTINUATION, and DATA that has content or ends a stream. Cost:
        O(frames).
        """
        idle = at = 0
        while at < len(data):
            if self._rest:
                step = min(self._rest, len(data) - at)
                self._rest -= step
                at += step
                if not self._rest:
                    self._count += 1
                continue
            step = _HEAD_BYTES - len(self._head)
            self._head += data[at : at + step]
            at += step
            if len(self._head) == _HEAD_BYTES:
                idle += self._begin(self._head)
                self._head = b""
        return idle

    def _begin(self, head: bytes) -> int:
        kind, flags = head[3], head[4]
        self._rest = int.from_bytes(head[:3])
        number = self._count + 1
        if not self._rest:
            self._count = number
        if kind in (HEADERS, PUSH_PROMISE) and not flags & _END_HEADERS:
            self._block = number
        elif kind == CONTINUATION and flags & _END_HEADERS:
            self._block = 0
        if kind == DATA:
            return 0 if self._rest or flags & _END_STREAM else 1
        return 0 if kind in (HEADERS, CONTINUATION) else 1
