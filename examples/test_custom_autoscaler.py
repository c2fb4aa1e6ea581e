"""What the author of the autoscaler would test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from custom_autoscaler import CostAwareAutoscaler, main
from msgspec.structs import replace

from navarch import PoolMetrics, PoolState

SCALER = CostAwareAutoscaler(peak_start=9, peak_end=18, peak_threshold=80.0, off_peak_min=2)


def at(hour: int, utilization: float = 50.0, current: int = 10) -> PoolState:
    """Return a pool of 1 to 20 nodes at that hour."""
    return PoolState(
        current_nodes=current,
        min_nodes=1,
        max_nodes=20,
        metrics=PoolMetrics(utilization=utilization),
        now=datetime(2026, 5, 4, hour, tzinfo=UTC),
    )


def test_off_peak_it_scales_to_the_off_peak_minimum() -> None:
    assert SCALER.recommend(at(3)).target_nodes == 2


@pytest.mark.parametrize(
    "utilization,target", [(90.0, 11), (80.0, 10), (50.0, 10), (40.0, 10), (39.9, 9)]
)
def test_at_peak_it_follows_the_load(utilization: float, target: int) -> None:
    assert SCALER.recommend(at(11, utilization)).target_nodes == target


def test_the_limits_of_the_pool_hold() -> None:
    assert SCALER.recommend(at(11, 99.0, current=20)).target_nodes == 20
    assert SCALER.recommend(at(11, 1.0, current=1)).target_nodes == 1


def test_a_cooldown_changes_nothing() -> None:
    state = at(3)
    assert state.now is not None
    cooling = replace(state, last_scale_time=state.now, cooldown_period=timedelta(minutes=5))
    assert SCALER.recommend(cooling).target_nodes == 10


def test_it_runs() -> None:
    assert main() == [2, 11]
