"""The body of one request: measured while it arrives, and read ahead where that helps."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from navarch.errors import WireError
from navarch.wire.limits import LimitExceeded, Limits

# ASGI passes plain dictionaries whose values depend on their "type" (ASGI 3.0, "Events").
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

_DRAIN_FACTOR: Final = 4
"""How many times the limit is read and dropped before a sender that goes on is cut off.

A peer that is cut off while it sends sees a broken connection instead of our answer, so a body
that is too large by mistake is read to its end; one that never ends is not.
"""


class Body:
    """The body of one request, measured while it arrives."""

    def __init__(self, scope: Event, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._declared = _content_length(scope)
        self._bytes = 0
        self._complete = False
        self._refused = False
        self._deadline = asyncio.get_running_loop().time() + limits.body_timeout.total_seconds()

    async def receive(self) -> Event:
        """Pass the next part on.

        Raises `LimitExceeded` when the body is or will be too large, and `WireError` with
        ``deadline_exceeded`` when it takes too long.
        """
        if self._complete:  # What comes now is the news that the caller hung up: no hurry.
            return await self._receive()
        if self._declared > self._limits.body_bytes:
            await self._drain()
        event = await self._next()
        if self._bytes > self._limits.body_bytes:
            await self._drain()
        return event

    def closing(self, send: Send) -> Send:
        """Answer so that the connection ends where a refused body has not."""

        async def send_and_close(event: Event) -> None:
            if event["type"] == "http.response.start" and self._refused and not self._complete:
                event["headers"] = [*event["headers"], (b"connection", b"close")]
            await send(event)

        return send_and_close

    async def _next(self) -> Event:
        try:
            async with asyncio.timeout_at(self._deadline):
                event = await self._receive()
        except TimeoutError as error:
            self._refused = True
            seconds = self._limits.body_timeout.total_seconds()
            raise LimitExceeded(
                "body_timeout",
                f"the body did not arrive within {seconds:g} seconds",
                code="deadline_exceeded",
            ) from error
        if event["type"] == "http.request":
            self._bytes += len(event.get("body", b""))
            self._complete = not event.get("more_body", False)
        else:
            self._complete = True
        return event

    async def _drain(self) -> None:
        """Drop what is still to come, within reason, and refuse the request."""
        self._refused = True
        bytes_max = self._limits.body_bytes * _DRAIN_FACTOR
        while not self._complete and max(self._bytes, self._declared) <= bytes_max:
            await self._next()
        raise LimitExceeded(
            "body_bytes",
            f"the body is larger than {self._limits.body_bytes} bytes",
            code="resource_exhausted",
        )


class Replay:
    """The events of a request, which can be read ahead and are then read again."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._events: deque[Event] = deque()
        self._error: WireError | None = None

    async def whole(self) -> bytes | None:
        """Return the whole body; None when it is refused, or its sender is gone."""
        parts: list[bytes] = []
        more = True
        while more:
            try:
                event = await self._receive()
            except WireError as error:
                self._error = error  # raised again where the answer is worded
                return None
            self._events.append(event)
            if event["type"] != "http.request":
                return None
            parts.append(event.get("body", b""))
            more = event.get("more_body", False)
        return b"".join(parts)

    async def receive(self) -> Event:
        """Return the next event, or raise what reading ahead has met."""
        if self._events:
            return self._events.popleft()
        if self._error is not None:
            raise self._error
        return await self._receive()


def header(scope: Event, wanted: bytes) -> str:
    """The value of a header, by its lower-case name; empty when absent."""
    return next((value.decode() for name, value in scope["headers"] if name == wanted), "")


def _content_length(scope: Event) -> int:
    """The length that was announced; 0 when none was."""
    text = header(scope, b"content-length")
    return int(text) if text.isdecimal() else 0
