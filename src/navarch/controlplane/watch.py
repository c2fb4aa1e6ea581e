"""The tasks that a control plane consists of: begun together, ended together, and none in silence.

When one of them ends with an error the control plane has failed, whoever the others are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Watch:
    """Some tasks, and the first error that one of them has ended with."""

    def __init__(self) -> None:
        """Watch none yet."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        self._over = asyncio.Event()

    @property
    def has_failed(self) -> bool:
        """Whether a task has ended with an error."""
        return self._error is not None

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Have this done beside the others."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def failed(self) -> None:
        """Wait for the first error of a task, and raise it; return when all was ended by `end`."""
        await self._over.wait()
        self.check()

    def check(self) -> None:
        """Raise the first error that a task has ended with."""
        if self._error is not None:
            raise self._error

    async def end(self, *, but: asyncio.Task[None] | None = None) -> None:
        """Cancel all tasks, but for one and for the caller, and wait for their ends."""
        spared = (but, asyncio.current_task())
        tasks = [task for task in self._tasks if task not in spared]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._error = self._error or task.exception()
            self._over.set()
        elif not self._tasks:
            self._over.set()
