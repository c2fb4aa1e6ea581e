"""The answers that a relay words itself, in the form of the Connect protocol."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Final

import msgspec

from navarch.relay.verdicts import Reply
from navarch.wire.asgi import JsonCodec
from navarch.wire.generated import navarch_pb2 as pb

JSON: Final = b"application/json"
PROTO: Final = b"application/proto"
JSON_CODEC: Final = JsonCodec()

_STATUS: Final = {
    "invalid_argument": HTTPStatus.BAD_REQUEST,
    "unimplemented": HTTPStatus.NOT_FOUND,
    "resource_exhausted": HTTPStatus.TOO_MANY_REQUESTS,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "deadline_exceeded": HTTPStatus.GATEWAY_TIMEOUT,
}


def refused(code: str, message: str, *, retry_after: int = 0) -> Reply:
    """An error in the form of the Connect protocol.

    `retry_after` is in how many seconds to come back; 0: that is not said.
    """
    status = _STATUS.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)
    body = msgspec.json.encode({"code": code, "message": message})
    more = ((b"retry-after", str(retry_after).encode()),) if retry_after else ()
    return a_reply(status, JSON, body, *more)


@cache
def acknowledged(content_type: bytes, interval: int, *, pending: bool) -> Reply:
    """The answer to a heartbeat; there are few."""
    answer = pb.HeartbeatResponse(
        acknowledged=True, commands_pending=pending, heartbeat_interval_seconds=interval
    )
    body = answer.SerializeToString() if content_type == PROTO else JSON_CODEC.encode(answer)
    return a_reply(HTTPStatus.OK, content_type, body)


@cache
def nothing(content_type: bytes) -> Reply:
    """The answer to a poll for which no command waits."""
    return a_reply(HTTPStatus.OK, content_type, b"" if content_type == PROTO else b"{}")


def with_status(status: int, message: str, allowed: bytes) -> Reply:
    """The refusal of an HTTP method that is none of those `allowed`."""
    body = msgspec.json.encode({"code": "unimplemented", "message": message})
    return a_reply(status, JSON, body, (b"allow", allowed))


def as_json(status: HTTPStatus, value: object) -> Reply:
    """A value as JSON."""
    return a_reply(status, JSON, msgspec.json.encode(value))


def a_reply(status: int, content_type: bytes, body: bytes, *more: tuple[bytes, bytes]) -> Reply:
    """A body with its headers, and `more` of these."""
    length = str(len(body)).encode()
    headers = ((b"content-type", content_type), (b"content-length", length), *more)
    return Reply(int(status), headers, body)
