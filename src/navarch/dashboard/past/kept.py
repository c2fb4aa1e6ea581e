"""All that the dashboard remembers between two looks, for as long as the process runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from navarch.controlplane.demand_history import DemandHistory
from navarch.dashboard.past import uses
from navarch.dashboard.past.chronicle import Chronicle
from navarch.dashboard.past.uses import Uses
from navarch.dashboard.reports import Reports

if TYPE_CHECKING:
    from navarch.controlplane.control_plane import ControlPlane

ANSWERS_MAX: Final = 200
"""Answers that are kept for the next who asks the same."""
ANSWERS_FOR: Final = timedelta(seconds=2)
"""How old an answer may be that is given again: some viewers cost no more than one."""

_A = TypeVar("_A")


class Past:
    """What charts need that the present does not have."""

    def __init__(self, demand: DemandHistory | None = None, reports: Reports | None = None) -> None:
        """Begin with nothing; `demand` None: nobody notes demand. `reports` None: no folder."""
        self.chronicle = Chronicle()
        self.demand = demand or DemandHistory()
        self.reports = reports
        self.uses = Uses()
        self._answers: dict[object, tuple[datetime, int, asyncio.Future[Any]]] = {}

    async def answer(
        self, key: object, seq: int, now: datetime, make: Callable[[], Awaitable[_A]]
    ) -> _A:
        """Give the answer of a moment ago, if no fact has come since; else make it.

        Whoever asks while it is made waits for the same one. Never one that is behind fact `seq`:
        a page asks again because of a fact, and must not be told what was before.
        """
        kept = self._answers.get(key)
        if kept is None or kept[1] != seq or abs(now - kept[0]) >= ANSWERS_FOR:
            while len(self._answers) >= ANSWERS_MAX:
                del self._answers[next(iter(self._answers))]
            self._answers.pop(key, None)
            kept = self._answers[key] = (now, seq, asyncio.ensure_future(make()))
        making: asyncio.Future[_A] = kept[2]
        try:
            return await asyncio.shield(making)
        except Exception:
            if self._answers.get(key) is kept:
                del self._answers[key]  # whoever asks next tries again
            raise

    async def keep(self, control_plane: ControlPlane) -> None:
        """Look at what GPUs do once a minute, for ever."""
        while True:
            await self._look(control_plane)
            await asyncio.sleep(uses.EVERY.total_seconds())

    async def _look(self, control_plane: ControlPlane) -> None:
        runtime = control_plane.runtime
        machine, now = runtime.machine, runtime.clock.now()
        if machine.sightings.deaf:
            return  # a standby hears no samples
        settings = machine.strategies.settings
        fleet, samples = machine.fleet, machine.sightings.samples
        for pool, use in uses.look(fleet, samples, now, settings.silence_max):
            self.uses.note(pool, now, use)
            await asyncio.sleep(0)
        self.uses.leave(set(fleet.pools))
