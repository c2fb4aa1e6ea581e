"""Demand read off the fleet itself: what the heartbeats say about how busy each pool is.

`StoreMetricsSource` needs nothing outside. It knows utilization and its history. Of queues it knows
the replicas that agents run or wait to run; where nothing is served, they are absent, not zero. A
node that is there but idle is a reading; a pool of which no node was heard has none. The history is
kept in memory, one value an interval, and begins anew at a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Final

from navarch.core.machine import Machine
from navarch.core.model.fleet import Fleet
from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    PoolMetrics,
    Quality,
    Reading,
)
from navarch.core.scaling.history import Growing, Stretch
from navarch.core.serving import demand
from navarch.metrics import base

HISTORY_MAX: Final = 20_160
"""Values of history that are kept for a pool: a week, one every 30 seconds. At most 320 KB."""
NAME: Final = "store"


class StoreMetricsSource:
    """The mean utilization of each pool's GPUs, from the newest sample of each live node."""

    name = NAME

    def __init__(
        self,
        machine: Callable[[], Machine],
        now: Callable[[], datetime],
        interval: timedelta = timedelta(seconds=30),
    ) -> None:
        """Read the machine that `machine` returns; keep one value of history each `interval`."""
        self._machine = machine
        self._now = now
        self._interval = interval
        self._history: dict[str, Growing] = {}
        self._capacity: dict[str, Growing] = {}
        """How many nodes were live at each value of the history."""
        self._sampled_at: dict[str, datetime] = {}

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        """Tell how busy a pool is now. Cost: O(its nodes × GPUs)."""
        now = self._now()
        nodes = _live_nodes(self._machine().fleet, pool_name)
        reading = self._utilization(nodes, now)
        history, capacity = self._remember(pool_name, reading, len(nodes), now)
        return base.pool_metrics(
            {UTILIZATION: reading, **self._queue(pool_name, now)},
            source=NAME,
            history=history,
            capacity=capacity,
            history_interval=self._interval,
        )

    def _utilization(self, nodes: AbstractSet[str], now: datetime) -> Reading:
        machine = self._machine()
        silence_max = machine.strategies.settings.silence_max
        samples = machine.sightings.samples
        told = samples.utilization(nodes, since=now - silence_max)
        if told is None:
            return base.absent(UTILIZATION, f"none of {len(nodes)} nodes sent a sample", NAME)
        return base.fresh(UTILIZATION, told.mean, observed_at=told.newest, source=NAME)

    def _queue(self, pool_name: str, now: datetime) -> dict[str, Reading]:
        """Count the replicas that want the pool; stale while it is not known which pool they want.

        Nothing is taken away on a stale word.
        """
        wanted = demand.of_pool(self._machine().fleet, pool_name, now)
        if wanted is None:
            return {}
        counts = {PENDING_JOBS: wanted.waiting, QUEUE_DEPTH: wanted.waiting + wanted.running}
        detail = f"{wanted.unsure} replicas were not looked at yet" if wanted.unsure else ""
        quality = Quality.STALE if wanted.unsure else Quality.OK
        return {
            name: Reading(count, base.UNITS[name], now, quality, NAME, detail)
            for name, count in counts.items()
        }

    def _remember(
        self, pool_name: str, reading: Reading, nodes: int, now: datetime
    ) -> tuple[Stretch, Stretch]:
        """Keep at most one value an interval; a gap stays a gap and is not filled."""
        kept = self._history.setdefault(pool_name, Growing(HISTORY_MAX))
        live = self._capacity.setdefault(pool_name, Growing(HISTORY_MAX))
        last = self._sampled_at.get(pool_name)
        due = last is None or now - last >= self._interval
        if due and reading.quality is Quality.OK:
            kept.add(reading.value)
            live.add(nodes)
            self._sampled_at[pool_name] = now
        return kept.newest(), live.newest()


def _live_nodes(fleet: Fleet, pool_name: str) -> set[str]:
    """The pool's nodes that are heard and not about to end. Cost: a few passes in C."""
    members = fleet.members.get(pool_name, {})
    return (members.keys() & fleet.nodes.keys()) - fleet.lost.keys() - fleet.ending.keys()
