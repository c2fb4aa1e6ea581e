"""What autoscalers are given: fresh and bad readings, live nodes, cooldowns."""

from __future__ import annotations

from datetime import timedelta

import pytest

from navarch.core.scaling.base import PoolMetrics, Quality, Reading
from pool_states import NOON, a_state, busy, flawed


def test_metrics_made_by_hand_are_fresh() -> None:
    assert PoolMetrics().quality("utilization") == Quality.OK


def test_a_reading_says_how_good_a_field_is() -> None:
    metrics = busy(50, readings=flawed("utilization", Quality.ERROR))
    assert metrics.quality("utilization") == Quality.ERROR
    assert metrics.quality("queue_depth") == Quality.OK


def test_a_reading_is_good_unless_it_says_otherwise() -> None:
    assert Reading(1.0, "jobs").quality == Quality.OK


@pytest.mark.parametrize(
    "healthy,booting,live,unhealthy",
    [(None, 0, 4, 0), (None, 3, 1, 0), (4, 0, 4, 0), (1, 0, 1, 3), (1, 2, 1, 1), (0, 4, 0, 0)],
)
def test_nodes_live_boot_or_are_unhealthy(
    healthy: int | None, booting: int, live: int, unhealthy: int
) -> None:
    state = a_state(healthy_nodes=healthy, booting_nodes=booting)
    assert (state.live_nodes, state.unhealthy_nodes) == (live, unhealthy)


@pytest.mark.parametrize(
    "ago,left",
    [
        (timedelta(minutes=1), timedelta(minutes=4)),
        (timedelta(minutes=5), timedelta()),
        (timedelta(hours=5), timedelta()),
        (timedelta(minutes=-10), timedelta(minutes=5)),
    ],
)
def test_a_cooldown_runs_from_the_last_scaling(ago: timedelta, left: timedelta) -> None:
    state = a_state(last_scale_time=NOON - ago, cooldown_period=timedelta(minutes=5))
    assert state.cooldown_left == left


def test_without_a_clock_or_a_scaling_there_is_no_cooldown() -> None:
    period = timedelta(minutes=5)
    assert not a_state(cooldown_period=period).cooldown_left
    assert not a_state(now=None, last_scale_time=NOON, cooldown_period=period).cooldown_left


def test_the_calendar_is_that_of_the_present() -> None:
    state = a_state()
    assert (state.day_of_week, state.time_of_day) == (0, timedelta(hours=12))
    assert (a_state(now=None).day_of_week, a_state(now=None).time_of_day) == (None, None)


def test_the_fields_of_the_metrics_can_be_read_from_the_state() -> None:
    metrics = PoolMetrics(1.0, 2, 3, (4.0,))
    state = a_state(metrics=metrics)
    assert state.utilization == 1.0
    assert (state.pending_jobs, state.queue_depth) == (2, 3)
    assert state.utilization_history == (4.0,)
