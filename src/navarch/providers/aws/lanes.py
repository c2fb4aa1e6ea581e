"""Threads in which the SDK blocks so that the event loop need not, with deadlines.

Rules that hold:

- At most so many threads, made when they are needed; one that has nothing to do ends. They are
  daemon threads: a socket that hangs never holds up the end of the process.
- Whoever waits longer than the deadline is told whether anything has left this machine. What has
  not left by then never does: the errand is abandoned, and `Errand.sending` refuses.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")

IDLE_SECONDS: Final = 30.0
"""How long a thread without work stays: longer than the pause between two urgent lists."""


class Abandoned(Exception):
    """Nobody waits any more; raised in the thread, in place of sending."""


class TooLate(Exception):
    """The deadline has passed."""

    def __init__(self, *, sent: bool) -> None:
        """Say whether something was sent, and so may have been done."""
        self.sent = sent
        super().__init__("no answer in time")


class Closed(Exception):
    """The threads were given up: nothing was done."""


class Errand:
    """What the waiting side and the thread both know about one job."""

    def __init__(self) -> None:
        """Begin with nothing sent."""
        self._lock = threading.Lock()
        self._abandoned = False
        self._sent = False

    @property
    def sent(self) -> bool:
        """Whether a request has been handed to the network."""
        with self._lock:
            return self._sent

    def sending(self) -> None:
        """Note that a request goes out now.

        :raises Abandoned: it must not any more
        """
        with self._lock:
            if self._abandoned:
                raise Abandoned
            self._sent = True

    def abandon(self) -> bool:
        """Let nothing more be sent, and tell whether something was."""
        with self._lock:
            self._abandoned = True
            return self._sent


_Job: TypeAlias = Callable[[], None]


class Lanes:
    """A bounded number of threads."""

    def __init__(self, name: str, threads_max: int) -> None:
        """Begin without a thread; `name` is what they will be called."""
        self._name = name
        self._threads_max = threads_max
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = 0
        self._free = 0
        """Threads that wait for a job, less the jobs that wait for a thread."""
        self._closed = False

    async def do(self, job: Callable[[], T], errand: Errand, deadline: timedelta) -> T:
        """Do a job in a thread, and return or raise what it does.

        However the waiting ends, nothing is sent afterwards.

        :raises TooLate: it has not answered within `deadline`
        :raises Closed: after `close`
        """
        outcome: Future[T] = Future()
        self._put(lambda: _settle(outcome, job))
        limit = asyncio.timeout(deadline.total_seconds())
        try:
            async with limit:
                return await asyncio.wrap_future(outcome)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TooLate(sent=errand.abandon()) from None
        finally:
            errand.abandon()

    def close(self) -> None:
        """Let the threads end, each when its job has; new jobs are refused."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._jobs.put(None)

    def _put(self, job: _Job) -> None:
        with self._lock:
            if self._closed:
                raise Closed
            self._jobs.put(job)
            self._free -= 1
            if self._free < 0 and self._threads < self._threads_max:
                self._threads += 1
                self._free += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()
            del job  # it holds its result, which may be thousands of machines
            with self._lock:
                self._free += 1

    def _next(self) -> _Job | None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if not self._jobs.empty():
                        continue  # it came in the last moment
                    self._threads -= 1
                    self._free -= 1
                return None
            return job


def _settle(outcome: Future[T], job: Callable[[], T]) -> None:
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        result = job()
    except BaseException as error:  # noqa: BLE001 - it travels to whoever waits
        outcome.set_exception(error)
    else:
        outcome.set_result(result)
