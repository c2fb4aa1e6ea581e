"""An event loop in virtual time: a day of a real control plane passes in minutes."""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from typing import Any, Final

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When virtual time begins."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when nobody has anything to do, or says it costs."""

    def __init__(self) -> None:
        self.seconds = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Seconds since the beginning."""
        return self.seconds


class _Jumping(selectors.DefaultSelector):
    """Does not wait: it moves the clock on instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._of = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        """Return what is ready; else let the time pass until the next timer."""
        ready: list[Any] = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing will ever happen again")
        if not ready and timeout is not None:
            self._of.seconds += max(timeout, 0.0)
        return ready


class VirtualClock:
    """The control plane's clock, which is the loop's."""

    jumps = False

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        """The virtual present."""
        return START + timedelta(seconds=self._loop.seconds)

    async def sleep(self, duration: timedelta) -> None:
        """Wait, virtually."""
        await asyncio.sleep(max(0.0, duration.total_seconds()))
