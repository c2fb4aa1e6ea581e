"""What waits to be looked at: requests and outcomes, in the order of their arrival, bounded.

Requests are refused when too many wait; whoever sent them hears of it and tries again. Outcomes of
our own effects are never refused, for nobody would send them twice; their number is bounded by the
effects that may be under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from navarch.core.model.messages import Answer, Message
from navarch.errors import WireError

REQUESTS_MAX = 10_000
"""Requests that may wait. At 25 µs each this is a quarter of a second of work."""

BATCH_MAX = 1_000
"""Messages that one step takes at most, so that an answer never waits for a whole flood."""


class Envelope:
    """Messages that came together, and who waits for the answers."""

    __slots__ = ("messages", "reply")

    def __init__(
        self, messages: Sequence[Message], reply: asyncio.Future[list[Answer]] | None
    ) -> None:
        """Hold `messages`; `reply` is None when nobody waits."""
        self.messages = messages
        self.reply = reply


class Inbox:
    """A bounded queue with one reader."""

    def __init__(self, requests_max: int = REQUESTS_MAX) -> None:
        """Let at most `requests_max` requests wait."""
        self._requests_max = requests_max
        self._waiting: deque[Envelope] = deque()
        self._requests = 0
        self._arrived = asyncio.Event()
        self._closed_because = ""
        self.refused = 0
        """Requests refused because too many waited, since the start."""

    def __len__(self) -> int:
        """How many envelopes wait."""
        return len(self._waiting)

    def ask(self, messages: Sequence[Message]) -> asyncio.Future[list[Answer]]:
        """Let a request wait; the future brings an answer to each message, in order.

        Raises `WireError`: ``resource_exhausted`` when too many wait, ``unavailable`` when the
        control plane is stopping.
        """
        if self._closed_because:
            raise WireError("unavailable", self._closed_because)
        if self._requests >= self._requests_max:
            self.refused += 1
            raise WireError(
                "resource_exhausted", f"{self._requests} requests wait already: try again later"
            )
        reply: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._requests += 1
        self._put(Envelope(messages, reply))
        return reply

    def post(self, message: Message) -> None:
        """Let a message of our own wait; nobody waits for an answer to it."""
        self._put(Envelope((message,), None))

    def _put(self, envelope: Envelope) -> None:
        self._waiting.append(envelope)
        self._arrived.set()

    async def take(self) -> list[Envelope]:
        """Wait for something, and take what waits, up to `BATCH_MAX` messages.

        An empty list means that the inbox is closed and nothing waits any more.
        """
        while not self._waiting and not self._closed_because:
            self._arrived.clear()
            await self._arrived.wait()
        batch: list[Envelope] = []
        size = 0
        while self._waiting and (not batch or size + len(self._waiting[0].messages) <= BATCH_MAX):
            envelope = self._waiting.popleft()
            self._requests -= envelope.reply is not None
            size += len(envelope.messages)
            batch.append(envelope)
        return batch

    def close(self, because: str) -> None:
        """Refuse further requests; what waits is still taken."""
        self._closed_because = because
        self._arrived.set()

    @property
    def closed_because(self) -> str:
        """Why requests are refused; empty while they are not."""
        return self._closed_because

    def drop(self) -> list[Envelope]:
        """Forget what waits, and return it."""
        dropped = list(self._waiting)
        self._waiting.clear()
        self._requests = 0
        return dropped

    def open(self) -> None:
        """Take requests, also after a `close`."""
        self._closed_because = ""
