"""An event loop in virtual time: a day of a real control plane, with its timers, passes in minutes.

Nobody waits: where there is nothing to do, it is the moment of the next timer.
"""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from typing import Any, Final

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When virtual time begins, if nobody says otherwise."""
THREAD_SECONDS_MAX: Final = 10
"""How long a thread may take while no timer is set, in real seconds."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when nobody has anything to do, or says it costs."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """Virtual seconds since the beginning; whoever simulates work adds what it takes."""
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
        # Without any timer only a thread can have something to tell: it is waited for.
        ready: list[Any] = super().select(THREAD_SECONDS_MAX if timeout is None else 0)
        if ready:
            return ready
        if timeout is None:
            raise RuntimeError("nothing will ever happen again")
        self._of.seconds += max(timeout, 0.0)
        return ready


class VirtualClock:
    """The control plane's clock, which is the loop's."""

    jumps = False

    def __init__(self, loop: VirtualLoop, start: datetime = START) -> None:
        self._loop = loop
        self._start = start

    def now(self) -> datetime:
        """The virtual present."""
        return self._start + timedelta(seconds=self._loop.seconds)

    async def sleep(self, duration: timedelta) -> None:
        """Wait, virtually."""
        await asyncio.sleep(max(0.0, duration.total_seconds()))
