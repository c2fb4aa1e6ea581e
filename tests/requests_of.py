"""Requests to an application without a server, as an ASGI server would make them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any

from google.protobuf.message import Message

from navarch.wire.asgi import Application

_CALLS = "/navarch.ControlPlaneService/"


async def ask(
    application: Application, path: str, body: bytes | None, headers: Mapping[str, str]
) -> tuple[int, Mapping[bytes, bytes], bytes]:
    """Make a request, GET without a `body`; return the status, headers and body of the answer."""
    scope = {
        "type": "http",
        "method": "GET" if body is None else "POST",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    coming = [{"type": "http.request", "body": body or b"", "more_body": False}]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if not coming:
            await asyncio.Event().wait()  # the caller stays until the answer is there
        return coming.pop()

    async def send(event: MutableMapping[str, Any]) -> None:
        sent.append(event)

    await application(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(each["body"] for each in sent[1:])


async def call(application: Application, method: str, message: Message) -> tuple[int, bytes]:
    """Make a call in protobuf's form."""
    headers = {"content-type": "application/proto"}
    body = message.SerializeToString()
    status, _, answer = await ask(application, _CALLS + method, body, headers)
    return status, answer


async def get(application: Application, path: str) -> tuple[int, bytes]:
    """Fetch a page."""
    status, _, page = await ask(application, path, None, {})
    return status, page
