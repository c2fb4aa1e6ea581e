"""What a control plane that leads counts of its fleet, kept up to date fact by fact.

Four books, each of which knows one thing, are fed here with facts as they are written and with the
passing of time: `tally` (what became of things), `census` (how many machines are in which state),
`usage` (time of GPUs, and money) and `signals` (what pools are scaled by). A standby keeps none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from navarch.controlplane.census import Bought, Census, Look
from navarch.controlplane.clock import Clock
from navarch.controlplane.measures import Names
from navarch.controlplane.pool_manager import PoolManager
from navarch.controlplane.prices import Prices
from navarch.controlplane.runtime import Runtime
from navarch.controlplane.signal_ages import SignalAges
from navarch.controlplane.tally import POOLS_MAX, Tally
from navarch.controlplane.usage import SWEEP, Usage
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet


class Accounts:
    """The books of one process."""

    def __init__(
        self, runtime: Callable[[], Runtime], clock: Clock, pool_manager: PoolManager
    ) -> None:
        """Keep books of `runtime`, from `begin` on."""
        self.pools = Names(POOLS_MAX)
        """Which pools have series of their own."""
        self._runtime = runtime
        self._clock = clock
        self._pool_manager = pool_manager
        self.prices = Prices(runtime, clock)
        self.signals = SignalAges(self.pools, clock.now)
        self.tally = Tally(pools=self.pools)
        self.usage = self._usage()
        self.census: Census | None = None
        """None: we do not lead, and count nothing."""
        self._heard_at: datetime = clock.now()
        pool_manager.hears.append(self.signals.hear)

    def _usage(self) -> Usage:
        def price(bought: Bought) -> float | None:
            return self.prices.price(bought)

        return Usage(self.pools, self.tally.providers, price)

    def begin(self, fleet: Fleet) -> None:
        """Count from now on, of this fleet; nothing was counted before. Cost: O(machines)."""
        settings = self._runtime().machine.strategies.settings
        for pool in sorted(fleet.pools):
            self.pools.label(pool)
        self.tally = Tally(frozenset(settings.enabled_health_checks), self.pools)
        self.tally.begin(fleet)
        self.usage = self._usage()
        self._heard_at = self._clock.now()
        self.census = Census(fleet, self._changed)

    def hear(self, fact: ev.Fact) -> None:
        """Follow a fact that is in the journal. Cost: O(nodes that changed since the last one)."""
        if self.census is None:
            return
        self._heard_at = fact.at
        self.tally.hear(fact, self._runtime().machine.fleet)
        self.census.refresh(getattr(fact, "instance_id", ""))

    def _changed(self, id_: str, before: Look, after: Look) -> None:
        self.usage.changed(id_, before, after, self._heard_at)

    async def run(self) -> None:
        """Add up time and money every `SWEEP`, until cancelled."""
        while True:
            await self._clock.sleep(SWEEP)
            await self.sweep()

    async def sweep(self) -> None:
        """Add up time and money until now; others work meanwhile."""
        machine, now = self._runtime().machine, self._clock.now()
        since = now - machine.strategies.settings.silence_max
        for _ in self.usage.sweep(machine.sightings.samples, now, since):
            await asyncio.sleep(0)
        self.signals.keep(self._pool_manager.pools())

    async def read_prices(self) -> None:
        """Read the price lists that only costs need, until cancelled."""
        await self.prices.run(self.usage.providers)
