"""A peer that speaks HTTP/2 by hand, so that it can misbehave."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from navarch.wire.frames import PREFACE

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
NO_ERROR, CANCEL, REFUSED_STREAM, ENHANCE_YOUR_CALM = 0, 8, 7, 11

CALL = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": "/"}
_INDEXED = {8: 200, 12: 400, 13: 404}
"""Statuses by their number in the table that every peer has (RFC 7541, appendix A)."""


@dataclass
class Frame:
    """A frame that was read."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Write a frame (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def fields(headers: Mapping[str, str]) -> bytes:
    """Write headers as literals that are not indexed (RFC 7541, section 6.2.2)."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())


def _text(text: str) -> bytes:
    size, more = len(text), b""
    if size < 127:
        return bytes([size]) + text.encode()
    size -= 127
    while size >= 128:
        more += bytes([size % 128 + 128])
        size //= 128
    return b"\x7f" + more + bytes([size]) + text.encode()


def healthz(stream: int) -> bytes:
    """Write a whole request."""
    block = fields({**CALL, ":method": "GET", ":path": "/healthz"})
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block)


def request(stream: int, path: str, *, end: bool = True, **headers: str) -> bytes:
    """Write the headers of a call."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    flags = END_HEADERS | (END_STREAM if end else 0)
    return frame(HEADERS, flags, stream, fields({**CALL, ":path": path, "te": "trailers", **named}))


class Peer:
    """A connection on which both sides have said what they want."""

    def __init__(self, port: int, *, window: int | None = None) -> None:
        """Say, if named, how much of each answer may be sent before more is asked for."""
        settings = b"" if window is None else (4).to_bytes(2) + window.to_bytes(4)
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._begun = b""
        self.socket.sendall(PREFACE + frame(SETTINGS, payload=settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, *frames: bytes) -> None:
        """Send as fast as the other side takes it, and no longer than it does."""
        try:
            self.socket.sendall(b"".join(frames))
        except (BrokenPipeError, ConnectionResetError):
            return  # what it had to say before is still to be read

    def frames(self) -> Iterator[Frame]:
        """Read frames until the other side hangs up."""
        while (head := self._exactly(9)) is not None:
            payload = self._exactly(int.from_bytes(head[:3]))
            if payload is None:
                return
            yield Frame(head[3], head[4], int.from_bytes(head[5:]), payload)

    def next(self, kind: int, stream: int | None = None) -> Frame:
        """Read up to the next frame of a kind."""
        for each in self.frames():
            if each.kind == kind and stream in (None, each.stream):
                return each
        raise AssertionError(f"hung up before a frame of kind {kind}")

    def status(self, stream: int) -> int:
        """Read up to the headers of an answer, which begin with its status."""
        block = self.next(HEADERS, stream).payload
        return _INDEXED[block[0] & 0x7F] if block[0] & 0x80 else int(block[2:5])

    def last_error(self) -> int:
        """Read until the other side hangs up, and return what it said last."""
        said = [each for each in self.frames() if each.kind == GOAWAY]
        assert said, "it hung up without a word"
        return int.from_bytes(said[-1].payload[4:8])

    def _exactly(self, size: int) -> bytes | None:
        while len(self._begun) < size:
            try:
                more = self.socket.recv(65_536)
            except ConnectionResetError:
                return None
            if not more:
                return None
            self._begun += more
        taken, self._begun = self._begun[:size], self._begun[size:]
        return taken
