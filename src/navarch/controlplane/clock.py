"""Time: the one place that reads it.

Everything else is given a `Clock`, or the time itself. `FakeClock` is part of the product: whoever
writes a provider, an autoscaler or a pool can test hours in a millisecond.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Tells the time, and waits."""

    jumps: bool
    """Whether it moves in leaps by design, so that a leap does not mean that we stood still."""

    def now(self) -> datetime:
        """The present, aware and in UTC; never earlier than what was told before."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Return after `duration`; at once when it is zero or less."""
        ...


class RealClock:
    """The machine's own clock, which an administrator may set back and ours does not follow."""

    jumps = False

    def __init__(self) -> None:
        self._latest = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """The present. While the machine's clock is set back, time stands still."""
        self._latest = max(self._latest, datetime.now(UTC))
        return self._latest

    async def sleep(self, duration: timedelta) -> None:
        """Wait, whatever happens to the machine's clock meanwhile."""
        await asyncio.sleep(max(duration.total_seconds(), 0))


def stopwatch() -> float:
    """Seconds from some moment on: what two readings differ by has passed."""
    return time.perf_counter()


_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def uptime() -> float:
    """Seconds since the machine began, also those in which it slept or was paused, on Linux.

    What a lease is counted by: a machine that wakes up must not believe that it still has one.
    """
    return time.clock_gettime(_UPTIME)


def process_start() -> float:
    """When this process began, in seconds since 1970; now, where the system does not say."""
    now = time.time()
    try:
        # Field 22 of proc(5), counted behind the name, which may hold blanks: ticks since boot.
        stat = Path("/proc/self/stat").read_text()
        ticks = int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return now
    return now - (uptime() - ticks / os.sysconf("SC_CLK_TCK"))


class FakeClock:
    """A clock that moves only when it is told to."""

    jumps = True

    def __init__(self, start: datetime) -> None:
        """Stand at `start`.

        Raises `ValueError` when it has no time zone.
        """
        if start.tzinfo is None:
            raise ValueError(f"start {start} has no time zone: pass an aware time")
        self._now = start.astimezone(UTC)
        self._order = itertools.count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Where the clock stands."""
        return self._now

    async def sleep(self, duration: timedelta) -> None:
        """Wait until the clock was advanced by `duration` in all."""
        if duration <= timedelta():
            await asyncio.sleep(0)
            return
        waiting = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + duration, next(self._order), waiting))
        await waiting

    def advance(self, duration: timedelta) -> None:
        """Move on, and wake everyone whose time has come, in the order of their times.

        They run once the caller gives way to the event loop. Raises `ValueError` for a negative
        `duration`: time does not run backwards.
        """
        if duration < timedelta():
            raise ValueError(f"cannot advance by {duration}: time does not run backwards")
        self._now += duration
        while self._sleepers and self._sleepers[0][0] <= self._now:
            waiting = heapq.heappop(self._sleepers)[2]
            if not waiting.done():
                waiting.set_result(None)


def cpu_seconds() -> float:
    """How long this process has computed: what else the machine does is not in it."""
    return time.process_time()
