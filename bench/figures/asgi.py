"""Requests to an application without a socket: what a call costs behind the server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any

from navarch.wire.asgi import Application

_CALLS = "/navarch.ControlPlaneService/"


async def asked(
    application: Application,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Make one request, GET without a `body`, and return the status and body of the answer."""
    told = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {
        "type": "http",
        "method": "GET" if body is None else "POST",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "scheme": "http",
        "headers": told,
        "client": ("127.0.0.1", 40_000),
    }
    status, parts = 0, []
    coming = [{"type": "http.request", "body": body or b"", "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if not coming:
            await asyncio.Event().wait()  # the caller stays until the answer is there
        return coming.pop()

    async def send(event: MutableMapping[str, Any]) -> None:
        nonlocal status
        if event["type"] == "http.response.start":
            status = event["status"]
        else:
            parts.append(event.get("body", b""))

    await application(scope, receive, send)
    return status, b"".join(parts)


async def called(
    application: Application, method: str, body: bytes, form: str, token: str
) -> bytes:
    """Call a method in ``json`` or ``proto``, and return the body of the answer, which is good."""
    headers = {"content-type": f"application/{form}", "authorization": f"Bearer {token}"}
    status, answer = await asked(application, _CALLS + method, body, headers)
    assert status == 200, answer[:200]
    return answer
