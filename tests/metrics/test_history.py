"""History: a source that has one says so, and merging keeps what belongs together."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from navarch.core.scaling.base import UTILIZATION, PoolMetrics, Quality
from navarch.metrics import base
from navarch.metrics.base import UTILIZATION_HISTORY
from navarch.metrics.merged import MergedMetricsSource

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
INTERVAL = timedelta(seconds=30)


class Heartbeats:
    """A source with utilization and its history, and nothing else."""

    name = "heartbeats"

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        """Answer for any pool."""
        del pool_name
        reading = base.fresh(UTILIZATION, 50, observed_at=NOW, source=self.name)
        return base.pool_metrics(
            {UTILIZATION: reading},
            source=self.name,
            history=(40.0, 50.0),
            capacity=(3.0, 4.0),
            history_interval=INTERVAL,
        )


def test_a_history_that_is_given_is_fresh() -> None:
    metrics = asyncio.run(Heartbeats().get_pool_metrics("training"))
    assert metrics.quality(UTILIZATION_HISTORY) is Quality.OK


def test_no_history_is_absent() -> None:
    assert base.pool_metrics({}, source="x").quality(UTILIZATION_HISTORY) is Quality.ABSENT


def test_merging_keeps_history_capacity_and_interval_together() -> None:
    merged = MergedMetricsSource([Heartbeats()], now=lambda: NOW)
    metrics = asyncio.run(merged.get_pool_metrics("training"))
    assert metrics.utilization_history == (40.0, 50.0)
    assert metrics.capacity_history == (3.0, 4.0)
    assert metrics.history_interval == INTERVAL
    assert metrics.quality(UTILIZATION_HISTORY) is Quality.OK
