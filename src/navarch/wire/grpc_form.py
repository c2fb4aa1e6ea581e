"""Refusals in the form that gRPC and gRPC-Web clients understand.

Before a call reaches the Connect library it may be refused: for its path, its type, its size, or
because the control plane is busy. Such a refusal is an HTTP status with a Connect error as JSON. A
gRPC client reads neither, so `in_form` says the same as a gRPC status; what the library answers
passes unchanged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

Event = MutableMapping[str, Any]
Send = Callable[[Event], Awaitable[None]]

GRPC: Final = frozenset(f"application/grpc{form}" for form in ("", "+proto", "+json"))
"""The content types of gRPC, which needs HTTP/2."""
GRPC_WEB: Final = frozenset(f"application/grpc-web{form}" for form in ("", "+proto", "+json"))
"""The content types of gRPC-Web."""

NUMBERS: Final[Mapping[str, int]] = {
    "canceled": 1,
    "unknown": 2,
    "invalid_argument": 3,
    "deadline_exceeded": 4,
    "not_found": 5,
    "already_exists": 6,
    "permission_denied": 7,
    "resource_exhausted": 8,
    "failed_precondition": 9,
    "aborted": 10,
    "out_of_range": 11,
    "unimplemented": 12,
    "internal": 13,
    "unavailable": 14,
    "data_loss": 15,
    "unauthenticated": 16,
}
"""The codes of the Connect protocol as gRPC numbers them (google/rpc/code.proto)."""

_BY_STATUS: Final[Mapping[int, str]] = {
    400: "internal",
    401: "unauthenticated",
    403: "permission_denied",
    404: "unimplemented",
    405: "unimplemented",
    415: "unimplemented",
    429: "unavailable",
    431: "resource_exhausted",
    502: "unavailable",
    503: "unavailable",
    504: "unavailable",
}
"""What a status means that comes without a Connect error (gRPC, "HTTP to gRPC Status Code Mapping";
405, 415 and 431 are ours)."""

_HTTP_ONLY: Final = frozenset({b"content-type", b"content-length", b"connection"})
_WEB_TRAILERS: Final = b"\x80"
"""The first byte of the last frame of a gRPC-Web answer ("gRPC-Web", "Protocol differences")."""


def content_type(scope: Mapping[str, Any]) -> str:
    """The content type of a request without its parameters, in lower case; empty when absent."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            return str(value.decode("latin-1")).partition(";")[0].strip().lower()
    return ""


def in_form(scope: Mapping[str, Any], send: Send) -> Send:
    """A `send` that says refusals of this request as its sender understands them.

    It is `send` itself for all that is no gRPC, and for gRPC over HTTP/1.1, which is none.
    """
    spoken = content_type(scope)
    if not spoken.startswith("application/grpc"):
        return send
    if spoken in GRPC_WEB:
        return _Translated(send, spoken, web=True)
    return _Translated(send, spoken, web=False) if scope["http_version"] == "2" else send


class _Translated:
    """Holds an answer back that is no success until it is whole."""

    def __init__(self, send: Send, spoken: str, *, web: bool) -> None:
        self._send = send
        self._spoken = spoken if spoken in GRPC | GRPC_WEB else "application/grpc"
        self._web = web
        self._refusal: Event | None = None
        self._body = b""

    async def __call__(self, event: Event) -> None:
        if event["type"] == "http.response.start" and event["status"] != 200:
            self._refusal = event
        elif self._refusal is None:
            await self._send(event)
        else:
            self._body += event.get("body", b"")
            if not event.get("more_body", False):
                await self._refuse(self._refusal)

    async def _refuse(self, refusal: Event) -> None:
        code, message = _read(refusal["status"], self._body)
        status = {"grpc-status": str(NUMBERS.get(code, NUMBERS["unknown"]))}
        status["grpc-message"] = quote(message, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~")
        headers = [each for each in refusal["headers"] if each[0] not in _HTTP_ONLY]
        headers.append((b"content-type", self._spoken.encode()))
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        if self._web:
            lines = "".join(f"{name}: {value}\r\n" for name, value in status.items()).encode()
            frame = _WEB_TRAILERS + len(lines).to_bytes(4) + lines
            await self._send(start)
            await self._send({"type": "http.response.body", "body": frame})
            return
        trailers = [(name.encode(), value.encode()) for name, value in status.items()]
        await self._send({**start, "trailers": True})
        await self._send({"type": "http.response.body", "body": b""})
        await self._send({"type": "http.response.trailers", "headers": trailers})


def _read(status: int, body: bytes) -> tuple[str, str]:
    """The code and the words of a refusal."""
    usual = _BY_STATUS.get(status, "unknown")
    try:
        told = msgspec.json.decode(body, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = {}
    return told.get("code", usual), told.get("message", f"HTTP status {status}")
