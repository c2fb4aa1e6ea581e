"""Hearing of new facts in PostgreSQL: by notification, and by asking in case none comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from navarch.stores.postgres_journal import Rows
from navarch.stores.postgres_link import Address, Connection, Link

POLL_EVERY = timedelta(seconds=1)
"""How often the newest number is asked for where no notification comes."""


def channel_of(address: Address) -> str:
    """Return what the appends of this fleet are announced under."""
    return f"navarch_{address.schema}"


class Listener:
    """A connection that listens for as long as it lives."""

    def __init__(self, link: Link, stopwatch: Callable[[], float]) -> None:
        """Use `link` alone for this."""
        self.link = link
        self._stopwatch = stopwatch
        self._listens: Connection | None = None
        self._heard = asyncio.Event()

    async def wait(self, after: int, timeout: timedelta) -> int:  # noqa: ASYNC109
        """Return the newest sequence number once it is above `after`, or at the `timeout`."""
        deadline = self._stopwatch() + timeout.total_seconds()
        async with self.link.use() as connection:
            if connection is not self._listens:
                await connection.add_listener(channel_of(self.link.address), self._hear)
                connection.add_termination_listener(self._hear)
                self._listens = connection
            while True:
                self._heard.clear()
                last = await Rows(connection, self.link.address).last_seq()
                left = deadline - self._stopwatch()
                if last > after or left <= 0:
                    return last
                await self._wait(min(left, POLL_EVERY.total_seconds()))

    def _hear(self, *_told: object) -> None:
        self._heard.set()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._heard.wait()
        except TimeoutError:
            return
