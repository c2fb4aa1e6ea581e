"""Scaling in a twin: what a pool's load looks like to its autoscaler, and what it proposes.

A pool is evaluated as the product's pool manager does it: metrics, `pool_state`, the real
autoscaler, a `Recommended` message. An autoscaler that has to be awaited is awaited at once: time
stands still while it thinks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from navarch.controlplane.demand import HISTORY_MAX
from navarch.core.model.fleet import Fleet
from navarch.core.model.messages import Recommended
from navarch.core.scaling import target
from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    Answer,
    PoolMetrics,
    Reading,
    ScaleRecommendation,
)
from navarch.metrics import base
from navarch.simulator.timeline import EPOCH
from navarch.simulator.twin.blueprint import Scaled

SOURCE = "the load"


class DemandScaler:
    """Asks the autoscaler of one pool."""

    def __init__(self, scaled: Scaled, now: Callable[[], datetime], interval: timedelta) -> None:
        """Have asked nothing yet; it is asked once every `interval`."""
        self.scaled = scaled
        self._now = now
        self._interval = interval
        self._history: deque[float] = deque(maxlen=HISTORY_MAX)
        self._capacity: deque[float] = deque(maxlen=HISTORY_MAX)

    def forget(self) -> None:
        """Lose the history, as a control plane does that is started again."""
        self._history.clear()
        self._capacity.clear()

    def word(self, fleet: Fleet) -> Recommended | None:
        """Ask for a proposal; None while the pool is not configured."""
        pool = fleet.pools.get(self.scaled.pool)
        if pool is None:
            return None
        state = target.pool_state(fleet, pool, self._metrics(fleet), self._now())
        answer = settled(self.scaled.autoscaler.recommend(state))
        return Recommended(
            pool.name,
            answer.target_nodes,
            answer.reason,
            self.scaled.autoscaler.name,
            answer.held,
        )

    def _metrics(self, fleet: Fleet) -> PoolMetrics:
        demand, now = self.scaled.demand, self._now()
        jobs = demand.jobs(now - EPOCH)
        serving = self._serving(fleet)
        room = serving * demand.jobs_per_node
        utilization = min(100.0, 100.0 * jobs / room) if room else None
        waiting = max(jobs - room, 0.0)
        if utilization is not None:
            self._history.append(utilization)
            self._capacity.append(serving)
        readings = {
            UTILIZATION: self._reading(UTILIZATION, utilization),
            PENDING_JOBS: self._reading(PENDING_JOBS, waiting),
            QUEUE_DEPTH: self._reading(QUEUE_DEPTH, jobs),
        }
        return base.pool_metrics(
            readings,
            source=SOURCE,
            history=tuple(self._history),
            capacity=tuple(self._capacity),
            history_interval=self._interval,
        )

    def _reading(self, name: str, value: float | None) -> Reading:
        if value is None:
            return base.absent(name, "no node serves", SOURCE)
        return base.fresh(name, value, observed_at=self._now(), source=SOURCE)

    def _serving(self, fleet: Fleet) -> int:
        nodes = (fleet.node_of(each) for each in fleet.instances_of(self.scaled.pool))
        return sum(node is not None and node.serving for node in nodes)


def settled(answer: Answer) -> ScaleRecommendation:
    """Await an answer that has to be awaited."""
    if not isinstance(answer, Awaitable):
        return answer

    async def awaited(pending: Awaitable[ScaleRecommendation]) -> ScaleRecommendation:
        return await pending

    return asyncio.run(awaited(answer))
