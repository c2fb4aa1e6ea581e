"""All that the dashboard remembers between two looks, for as long as the process runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from navarch.controlplane.demand_history import DemandHistory
from navarch.dashboard.past import uses
from navarch.dashboard.past.chronicle import Chronicle
from navarch.dashboard.past.prices import Prices
from navarch.dashboard.past.uses import Uses
from navarch.dashboard.reports import Reports
from navarch.telemetry.log import Log

if TYPE_CHECKING:
    from navarch.controlplane.control_plane import ControlPlane

log = Log(__name__)

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
        self.prices = Prices()
        self._answers: dict[object, tuple[datetime, int, Any]] = {}
        self._asked = asyncio.Event()

    def want_prices(self, now: datetime) -> None:
        """Have price lists read that are missing, soon: somebody looks."""
        self.prices.want(now)
        self._asked.set()

    async def answer(
        self, key: object, seq: int, now: datetime, make: Callable[[], Awaitable[_A]]
    ) -> _A:
        """Give the answer of a moment ago, if no fact has come since; else make it."""
        kept = self._answers.get(key)
        if kept is not None and kept[1] == seq and abs(now - kept[0]) < ANSWERS_FOR:
            found: _A = kept[2]
            return found
        made = await make()
        while len(self._answers) >= ANSWERS_MAX:
            del self._answers[next(iter(self._answers))]
        self._answers.pop(key, None)
        self._answers[key] = (now, seq, made)
        return made

    async def keep(self, control_plane: ControlPlane) -> None:
        """Look at what GPUs do once a minute, and read the prices that people want; for ever."""
        while True:
            await self._look(control_plane)
            await self._read_prices(control_plane)
            self._asked.clear()
            try:
                async with asyncio.timeout(uses.EVERY.total_seconds()):
                    await self._asked.wait()
                    await self._read_prices(control_plane)
                    await asyncio.sleep(uses.EVERY.total_seconds())  # the rest of the minute
            except TimeoutError:
                continue

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

    async def _read_prices(self, control_plane: ControlPlane) -> None:
        runtime = control_plane.runtime
        machine, now = runtime.machine, runtime.clock.now()
        for provider in self.prices.due(machine.fleet, machine.sightings, now):
            types = await runtime.effects.price_list(provider)
            self.prices.learn(provider, types, runtime.clock.now())
            log.debug("price_list_read", provider=provider)
