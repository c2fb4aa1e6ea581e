"""The thread in which a lease is renewed.

A leader that has too much to do is still the leader. Were its lease renewed by the event loop that
has too much to do, it would lose it for that, and whoever follows would get the same work and lose
it in turn. So renewals have a thread, a loop and a connection to themselves.

The thread must not speak for a process whose own loop is stuck, though. That loop shows that it
turns by `Pulse.beat`; when it has not for `STUCK_AFTER`, the thread stops renewing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

BEAT_EVERY: Final = 1.0
"""Seconds between two signs of the event loop."""

STUCK_AFTER: Final = 30.0
"""Seconds without a sign after which a process does not count as one that works."""


class Pulse:
    """Whether an event loop turns."""

    def __init__(self, stopwatch: Callable[[], float]) -> None:
        """Count by this clock, from now on."""
        self._stopwatch = stopwatch
        self._beat_at = stopwatch()

    async def beat(self) -> None:
        """Show that the loop turns, until cancelled."""
        while True:
            self._beat_at = self._stopwatch()
            await asyncio.sleep(BEAT_EVERY)

    @property
    def stuck(self) -> bool:
        """Whether the loop has not turned for too long. From any thread."""
        return self._stopwatch() - self._beat_at > STUCK_AFTER


class Renewal:
    """Does `work` in a thread of its own until it ends by itself or is stopped."""

    def __init__(
        self, work: Callable[[], Coroutine[Any, Any, str]], ended: Callable[[str], None]
    ) -> None:
        """Begin. `ended` is called in the present event loop with what `work` returned."""
        self._work = work
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._begun = threading.Event()
        self._own: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="journal-lease", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Stop it, and wait until it has ended; once it has, this does nothing."""
        await asyncio.to_thread(self._begun.wait)
        own = self._own
        assert own is not None, "a thread that has begun has a loop"
        self._stopped.set()
        with suppress(RuntimeError):  # its loop is closed: it has ended
            own.call_soon_threadsafe(self._cancel)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._own = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._work())
        self._begun.set()
        reason = "its renewal ended"
        try:
            reason = await self._task
        except asyncio.CancelledError:
            if not self._stopped.is_set():
                raise
        finally:
            with suppress(RuntimeError):  # the process's loop is closed: nobody waits to hear it
                self._loop.call_soon_threadsafe(self._ended, reason)

    def _cancel(self) -> None:
        self._task.cancel()
