"""Asks a replica whether it serves: one GET, of which only the status matters."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Final

LINE_MAX: Final = 1024
"""Bytes in which the status line has to end."""

STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r?\n")

HOST: Final = "127.0.0.1"


async def trouble(port: int, path: str, timeout: timedelta) -> str:  # noqa: ASYNC109
    """Ask the program on this port; return what is wrong, or "" when it answers 200 to 399."""
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            status = await _status(port, path)
    except TimeoutError:
        return f"GET {path} on port {port}: no answer within {timeout.total_seconds():g} s"
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        return f"GET {path} on port {port}: {_reason(error)}"
    return "" if 200 <= status < 400 else f"GET {path} on port {port}: HTTP {status}"


def _reason(error: Exception) -> str:
    match error:
        case OSError():
            return (error.strerror or str(error)).lower()
        case asyncio.IncompleteReadError():
            return "the connection broke off"
        case _:
            return "what answers does not speak HTTP"


async def _status(port: int, path: str) -> int:
    """Make the request. Raises `ValueError` when the answer is not HTTP."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=LINE_MAX)
    try:
        request = f"GET {path} HTTP/1.1\r\nhost: {HOST}:{port}\r\nconnection: close\r\n\r\n"
        writer.write(request.encode())
        line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        raise ValueError("no status line") from error
    finally:
        writer.transport.abort()  # the body is of no interest
    found = STATUS_LINE.fullmatch(line)
    if found is None:
        raise ValueError("no status line")
    return int(found[1])
