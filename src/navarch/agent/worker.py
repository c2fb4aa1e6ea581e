"""One thread that blocks so that the event loop need not.

The thread is a daemon thread: a call that hangs, in a socket or in a driver, never holds up the
end of the process. That is why it is not an executor of the standard library, whose threads are
waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

Result = TypeVar("Result")


class Worker:
    """Does one blocking job after the other, in the order in which they came."""

    def __init__(self, name: str) -> None:
        """Start the thread; `name` is its name."""
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._waiting = 0
        threading.Thread(target=self._work, name=name, daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether a job is not done yet, also one whose caller has given up waiting."""
        return self._waiting > 0

    async def do(self, job: Callable[[], Result]) -> Result:
        """Do a job in the thread, and return or raise what it does.

        Giving up waiting does not stop a job that has begun.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Result] = loop.create_future()

        def work() -> None:
            try:
                result = job()
            except BaseException as error:  # noqa: BLE001 - it travels to whoever waits
                tell(partial(outcome.set_exception, error))
            else:
                tell(partial(outcome.set_result, result))

        def tell(settle: Callable[[], None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(finish, settle)

        def finish(settle: Callable[[], None]) -> None:
            self._waiting -= 1
            if not outcome.done():
                settle()

        self._waiting += 1
        self._jobs.put(work)
        return await outcome

    def _work(self) -> None:
        while True:
            self._jobs.get()()
