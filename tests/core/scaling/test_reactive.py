"""Scaling by thresholds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from navarch.core.scaling.base import PoolMetrics, Quality
from navarch.core.scaling.reactive import ReactiveAutoscaler
from pool_states import NOON, a_state, busy, flawed

REACTIVE = ReactiveAutoscaler(80, 20)


@pytest.mark.parametrize(
    "utilization,target",
    [(0, 3), (19.9, 3), (20, 4), (50, 4), (80, 4), (80.1, 5), (100, 5)],
)
def test_both_thresholds_are_strict(utilization: float, target: int) -> None:
    assert REACTIVE.recommend(a_state(metrics=busy(utilization))).target_nodes == target


@pytest.mark.parametrize(
    "utilization,reason",
    [
        (91, "utilization 91.0% is above 80%: 4 + 1 = 5"),
        (12.5, "utilization 12.5% is below 20%: 4 - 1 = 3"),
        (60, "utilization 60.0% is between 20% and 80%: stays at 4"),
        (80.04, "utilization 80.04% is above 80%: 4 + 1 = 5"),
    ],
)
def test_the_reason_has_the_numbers(utilization: float, reason: str) -> None:
    assert REACTIVE.recommend(a_state(metrics=busy(utilization))).reason == reason


def test_the_steps_are_taken_whole() -> None:
    stepping = ReactiveAutoscaler(80, 20, 3, 2)
    assert stepping.recommend(a_state(metrics=busy(90))).target_nodes == 7
    assert stepping.recommend(a_state(metrics=busy(10))).target_nodes == 2


@pytest.mark.parametrize("current,utilization,target", [(10, 99, 10), (1, 0, 1), (12, 50, 10)])
def test_the_limits_hold(current: int, utilization: float, target: int) -> None:
    answer = REACTIVE.recommend(a_state(current_nodes=current, metrics=busy(utilization)))
    assert answer.target_nodes == target


def test_a_cooldown_comes_before_everything() -> None:
    state = a_state(
        metrics=busy(99),
        healthy_nodes=0,
        last_scale_time=NOON - timedelta(minutes=1),
        cooldown_period=timedelta(minutes=5),
    )
    answer = REACTIVE.recommend(state)
    assert (answer.target_nodes, answer.held) == (4, True)
    assert answer.reason.startswith("cooldown for another 4m")


@pytest.mark.parametrize("quality", [Quality.STALE, Quality.ABSENT, Quality.ERROR])
@pytest.mark.parametrize("utilization", [0, 99])
def test_a_bad_reading_holds_and_says_so(quality: Quality, utilization: float) -> None:
    metrics = busy(utilization, readings=flawed("utilization", quality))
    answer = REACTIVE.recommend(a_state(metrics=metrics))
    assert (answer.target_nodes, answer.held) == (4, True)
    assert answer.reason.startswith("utilization ")


def test_too_few_healthy_nodes_get_one_more() -> None:
    answer = REACTIVE.recommend(a_state(healthy_nodes=2, min_nodes=3, metrics=busy(5)))
    assert answer.target_nodes == 5
    assert answer.reason == "2 of at least 3 nodes are healthy or booting: one more"


def test_too_few_healthy_nodes_get_no_more_than_the_maximum() -> None:
    state = a_state(healthy_nodes=2, min_nodes=3, max_nodes=4, metrics=busy(5))
    assert REACTIVE.recommend(state).target_nodes == 4


def test_nodes_on_their_way_count_as_the_help_that_was_bought() -> None:
    state = a_state(
        current_nodes=5, healthy_nodes=2, booting_nodes=1, min_nodes=3, metrics=busy(50)
    )
    assert REACTIVE.recommend(state).target_nodes == 5


def test_unhealthy_nodes_above_the_minimum_leave_the_load_to_decide() -> None:
    state = a_state(healthy_nodes=3, min_nodes=3, metrics=busy(50))
    assert REACTIVE.recommend(state).target_nodes == 4


@pytest.mark.parametrize("utilization", [0, 50, 100])
def test_when_all_nodes_are_unhealthy_one_more_is_wanted(utilization: float) -> None:
    answer = REACTIVE.recommend(a_state(healthy_nodes=0, metrics=busy(utilization)))
    assert answer.target_nodes == 5
    assert answer.reason == "all 4 nodes are unhealthy: one more"


def test_nodes_that_nobody_counted_are_taken_to_be_healthy() -> None:
    assert REACTIVE.recommend(a_state(healthy_nodes=None, metrics=busy(10))).target_nodes == 3


@pytest.mark.parametrize(
    "metrics,target,reason",
    [
        (PoolMetrics(), 0, "no nodes, and no jobs wait"),
        (PoolMetrics(pending_jobs=3), 2, "no nodes, and 3 jobs wait"),
        (PoolMetrics(queue_depth=7), 2, "no nodes, and 7 jobs wait"),
        (
            PoolMetrics(
                readings={**flawed("pending_jobs"), **flawed("queue_depth", Quality.ABSENT)}
            ),
            0,
            "no nodes, and nobody knows whether jobs wait: holds at 0",
        ),
        (PoolMetrics(pending_jobs=1, readings=flawed("queue_depth")), 2, "no nodes, and 1 jobs"),
    ],
)
def test_from_zero_only_waiting_jobs_speak(metrics: PoolMetrics, target: int, reason: str) -> None:
    stepping = ReactiveAutoscaler(80, 20, 2)
    answer = stepping.recommend(a_state(current_nodes=0, min_nodes=0, metrics=metrics))
    assert answer.target_nodes == target
    assert answer.reason.startswith(reason)


def test_the_last_node_stays_while_jobs_wait() -> None:
    state = a_state(current_nodes=1, min_nodes=0, metrics=busy(0, pending_jobs=1))
    assert REACTIVE.recommend(state).target_nodes == 1
    assert REACTIVE.recommend(a_state(current_nodes=1, min_nodes=0)).target_nodes == 0


@pytest.mark.parametrize("up,down", [(20, 80), (50, 50), (101, 20), (80, -1), (float("nan"), 20)])
def test_thresholds_that_make_no_sense_are_refused(up: float, down: float) -> None:
    with pytest.raises(ValueError, match="scale_down_at"):
        ReactiveAutoscaler(up, down)


def test_steps_below_one_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="scale_up_step 0"):
        ReactiveAutoscaler(scale_up_step=0)
    with pytest.raises(ValueError, match="scale_down_step -1"):
        ReactiveAutoscaler(scale_down_step=-1)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        REACTIVE.scale_up_at = 1  # type: ignore[misc] # that is what is tried
