"""Plain methods of plugins under a deadline: one thread for each plugin, replaced when it hangs.

A thread cannot be ended from outside. One whose call is not answered in time is left behind: it
ends by itself when the call does. `HANGING_MAX` of them may hang at a time for one plugin; then it
is not called until one ends. The threads are daemons: none keeps the process alive.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, TypeVar, cast

_T = TypeVar("_T")

HANGING_MAX: Final = 3
"""Threads of one plugin that were left behind and still run."""
WAITING_MAX: Final = 64
"""Calls of one plugin that wait for their turn."""
IDLE_SECONDS: Final = 60.0
"""After how long without work a thread ends."""


class Busy(Exception):
    """A plugin did not answer in time, or cannot be asked now; the text says which."""


class _Item:
    """One call on its way."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function
        self.future: Future[object] = Future()


class _Worker:
    """One thread of one plugin."""

    def __init__(self, who: str, retires: Callable[[_Worker], bool]) -> None:
        self.who = who
        self.items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self.current: _Item | None = None
        self.left = False
        """Whether it was left behind: it ends with the call that it is at."""
        self._retires = retires
        threading.Thread(target=self._run, name=f"plugin {who}", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                item = self.items.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                if self._retires(self):
                    return
                continue
            self.current = item  # before it runs: who gives up must find it here
            if item.future.set_running_or_notify_cancel():
                _settle(item)
            self.current = None
            if self.left:
                self._retires(self)
                return


def _settle(item: _Item) -> None:
    try:
        item.future.set_result(item.function())
    except Exception as error:  # noqa: BLE001 - raised again where it is waited for
        item.future.set_exception(error)
    except BaseException as error:  # noqa: BLE001 - one that would end the whole process there
        item.future.set_exception(RuntimeError(f"it raised {type(error).__name__}: {error}"))


class Workers:
    """The threads of all plugins."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._workers: dict[str, _Worker] = {}
        self._hanging: dict[str, set[_Worker]] = {}

    async def call(self, who: str, function: Callable[[], _T], seconds: float) -> _T:
        """Call a function in the thread of `who`, and await its answer for `seconds` at most.

        Raises `Busy` when there is none in time or it cannot be asked, and whatever it raises.
        """
        worker, item = self._submit(who, function)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not answered.done():
                answered.set_result(None)

        def tell(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                loop.call_soon_threadsafe(wake)

        item.future.add_done_callback(tell)
        try:
            await asyncio.wait([answered], timeout=seconds)
        except asyncio.CancelledError:
            self._give_up(worker, item, seconds)
            raise
        if not item.future.done():
            raise self._give_up(worker, item, seconds)
        return cast("_T", item.future.result())

    def wait(self, who: str, function: Callable[[], _T], seconds: float) -> _T:
        """Do the same from a thread that may wait.

        Raises `Busy` when there is no answer in time or it cannot be asked, and whatever it raises.
        """
        worker, item = self._submit(who, function)
        done, _ = futures.wait([item.future], timeout=seconds)
        if not done:
            raise self._give_up(worker, item, seconds)
        return cast("_T", item.future.result())

    def hanging(self, who: str) -> int:
        """How many calls of a plugin were left behind and still run."""
        return len(self._hanging.get(who, ()))

    def _submit(self, who: str, function: Callable[[], object]) -> tuple[_Worker, _Item]:
        item = _Item(function)
        with self._lock:
            hanging = len(self._hanging.get(who, ()))
            if hanging >= HANGING_MAX:
                raise Busy(f"{hanging} calls of it hang and have not come back")
            worker = self._workers.get(who)
            if worker is None:
                worker = self._workers[who] = _Worker(who, self._retires)
            waiting = worker.items.qsize()
            if waiting >= WAITING_MAX:
                raise Busy(f"{waiting} calls of it wait already")
            worker.items.put(item)
        return worker, item

    def _give_up(self, worker: _Worker, item: _Item, seconds: float) -> Busy:
        """Leave the thread behind that is at this call; a call that has not begun is dropped."""
        if item.future.cancel():
            return Busy(f"no answer within {seconds:g} s: it was busy with earlier calls")
        with self._lock:
            if worker.current is item and not worker.left:
                worker.left = True
                self._hanging.setdefault(worker.who, set()).add(worker)
                self._replace(worker)
        return Busy(f"no answer within {seconds:g} s")

    def _replace(self, left: _Worker) -> None:
        """Hand what waits behind a call that hangs to another thread."""
        if self._workers.get(left.who) is left:
            del self._workers[left.who]
        if left.items.empty():
            return
        heir = self._workers[left.who] = _Worker(left.who, self._retires)
        with suppress(queue.Empty):
            while True:
                heir.items.put(left.items.get_nowait())

    def _retires(self, worker: _Worker) -> bool:
        """Whether a thread that has nothing to do, or was left behind, may end."""
        with self._lock:
            if worker.left:
                hanging = self._hanging[worker.who]
                hanging.discard(worker)
                if not hanging:
                    del self._hanging[worker.who]
                return True
            if not worker.items.empty():
                return False
            del self._workers[worker.who]
            return True
