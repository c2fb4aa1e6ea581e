"""Demand read off the fleet itself: what the heartbeats say about how busy each pool is.

`StoreMetricsSource` needs nothing outside. It knows utilization and its history. Of queues it knows
the replicas that agents run or wait to run; where nothing is served, they are absent, not zero. A
node that is there but idle is a reading; a pool of which no node was heard has none. The history is
kept in memory, one value an interval, and begins anew at a restart.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from navarch.core.machine import Machine
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Node
from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    PoolMetrics,
    Quality,
    Reading,
)
from navarch.core.serving import demand
from navarch.metrics import base

HISTORY_MAX: Final = 20_160
"""Values of history that are kept for a pool: a week, one every 30 seconds. 160 KB a pool."""
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
        self._history: dict[str, array[float]] = {}
        self._capacity: dict[str, array[float]] = {}
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

    def _utilization(self, nodes: Sequence[Node], now: datetime) -> Reading:
        machine = self._machine()
        silence_max = machine.strategies.settings.silence_max
        loads: list[float] = []
        newest: datetime | None = None
        for node in nodes:
            sample = machine.sightings.samples.get(node.id)
            heard_at = machine.sightings.heard.get(node.id)
            if sample is None or heard_at is None or now - heard_at > silence_max:
                continue
            loads += [gpu.utilization_percent for gpu in sample.gpus]
            newest = heard_at if newest is None else max(newest, heard_at)
        if not loads:
            return base.absent(UTILIZATION, f"none of {len(nodes)} nodes sent a sample", NAME)
        mean = sum(loads) / len(loads)
        return base.fresh(UTILIZATION, mean, observed_at=newest, source=NAME)

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
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Keep at most one value an interval; a gap stays a gap and is not filled."""
        kept = self._history.setdefault(pool_name, array("f"))
        live = self._capacity.setdefault(pool_name, array("f"))
        last = self._sampled_at.get(pool_name)
        due = last is None or now - last >= self._interval
        if due and reading.quality is Quality.OK:
            kept.append(reading.value)
            live.append(nodes)
            self._sampled_at[pool_name] = now
            del kept[:-HISTORY_MAX], live[:-HISTORY_MAX]
        return tuple(kept), tuple(live)


def _live_nodes(fleet: Fleet, pool_name: str) -> list[Node]:
    found = (fleet.node_of(instance) for instance in fleet.instances_of(pool_name))
    return [node for node in found if node is not None and node.connected and not node.over]
