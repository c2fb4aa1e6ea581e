"""Frequent calls over gRPC, as `HotPath` takes them: the same message with other words around it.

What is not in the plain form in which gRPC clients send takes the ordinary way, as over Connect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from navarch.wire.bodies import Send

Headers = Sequence[tuple[bytes, bytes]]

_TYPES: Final = frozenset({b"application/grpc", b"application/grpc+proto"})
_MILLISECONDS: Final = {b"H": 3_600_000, b"M": 60_000, b"S": 1_000, b"m": 1}
"""Units of ``grpc-timeout`` ("gRPC over HTTP2", "Requests"); callers who count in less are not
frequent ones."""
_TIMEOUT_DIGITS_MAX: Final = 8
_HEAD_BYTES: Final = 5
_PASSED_OVER: Final = frozenset({b"te", b"accept-encoding"})
_END: Final[dict[str, Any]] = {
    "type": "http.response.trailers",
    "headers": [(b"grpc-status", b"0")],
    "more_trailers": False,
}


def is_grpc(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether these are the headers of a call of gRPC in its binary form."""
    return any(name == b"content-type" and value in _TYPES for name, value in headers)


def as_connect(headers: Headers) -> list[tuple[bytes, bytes]] | None:
    """What a Connect client would have said; None: it takes the ordinary way."""
    said: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name == b"content-type":
            said.append((name, b"application/proto"))
        elif name == b"grpc-timeout":
            unit = _MILLISECONDS.get(value[-1:])
            digits = value[:-1]
            if unit is None or not digits.isdigit() or len(digits) > _TIMEOUT_DIGITS_MAX:
                return None
            said.append((b"connect-timeout-ms", b"%d" % (int(digits) * unit)))
        elif name == b"grpc-accept-encoding":
            said.append((b"accept-encoding", value))
        elif name == b"grpc-encoding":
            if value != b"identity":
                return None
        elif name not in _PASSED_OVER:
            said.append((name, value))
    return said


def message_of(body: bytes) -> bytes | None:
    """The one message of a body; None when it is compressed, cut short, or not alone."""
    size = len(body) - _HEAD_BYTES
    if size < 0 or body[0] or int.from_bytes(body[1:_HEAD_BYTES]) != size:
        return None
    return body[_HEAD_BYTES:]


async def send_answer(send: Send, message: bytes, *, gzip: bool) -> None:
    """Answer with a message, compressed or not, and the status that says that all is well."""
    encoding = b"gzip" if gzip else b"identity"
    headers = [(b"content-type", b"application/grpc+proto"), (b"grpc-encoding", encoding)]
    start = {"type": "http.response.start", "status": 200, "headers": headers, "trailers": True}
    await send(start)
    body = (b"\1" if gzip else b"\0") + len(message).to_bytes(4) + message
    await send({"type": "http.response.body", "body": body})
    await send(dict(_END))
