"""What was known of the demand on each pool, over time: noted at each evaluation.

The journal has what was decided, not what was read; a chart of demand needs the readings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from navarch.controlplane.notes import Notes
from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    PoolState,
    Quality,
    ScaleRecommendation,
)


class Demand(Struct, frozen=True):
    """What was known at one moment; None: nobody could say."""

    at: datetime
    utilization: float | None
    """Mean over the GPUs of the pool's live nodes, from 0 to 100."""
    pending: int | None
    """Jobs that waited."""
    queued: int | None
    """Jobs in all."""
    live_nodes: int | None
    """Nodes that could take work."""
    proposed: int | None
    """Nodes that the autoscaler asked for, before the pool's limits; None: it held for lack of
    knowledge, or because it might not change yet."""

    @property
    def busy_nodes(self) -> float | None:
        """How many nodes' worth of work ran."""
        if self.utilization is None or self.live_nodes is None:
            return None
        return self.utilization * self.live_nodes / 100


class DemandHistory:
    """Notes of all pools: a week of them at most."""

    def __init__(self) -> None:
        """Begin with none."""
        self._notes = Notes(columns=5)

    def note(self, at: datetime, state: PoolState, word: ScaleRecommendation) -> None:
        """Keep what an evaluation of a pool knew. Cost: O(1), some 5 µs."""
        metrics = state.metrics
        values = (
            _known(state, UTILIZATION, metrics.utilization),
            _known(state, PENDING_JOBS, metrics.pending_jobs),
            _known(state, QUEUE_DEPTH, metrics.queue_depth),
            state.live_nodes,
            math.nan if word.held else word.target_nodes,
        )
        self._notes.add(state.name, at.timestamp(), values)

    def of(self, pool: str, since: datetime) -> list[Demand]:
        """What is kept of a pool since a moment, the oldest first. Cost: O(those kept)."""
        return [_demand(at, values) for at, values in self._notes.of(pool, since)]

    def newest(self, pool: str) -> Demand | None:
        """What was known at the newest evaluation; None: there was none. Cost: O(1)."""
        row = self._notes.newest(pool)
        return None if row is None else _demand(*row)

    def leave(self, pool: str) -> None:
        """Forget a pool that is no longer scaled."""
        self._notes.leave(pool)


def _demand(at: float, values: Sequence[float]) -> Demand:
    utilization, pending, queued, live, proposed = values
    return Demand(
        datetime.fromtimestamp(at, UTC),
        None if math.isnan(utilization) else round(utilization, 2),
        _whole(pending),
        _whole(queued),
        _whole(live),
        _whole(proposed),
    )


def _known(state: PoolState, name: str, value: float) -> float:
    """Return a reading that is good, or was a while ago; NaN otherwise."""
    quality = state.metrics.quality(name)
    return value if quality in (Quality.OK, Quality.STALE) else math.nan


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else round(value)
