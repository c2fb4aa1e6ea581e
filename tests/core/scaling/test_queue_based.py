"""Scaling by the queue."""

from __future__ import annotations

from datetime import timedelta

import pytest

from navarch.core.scaling.base import PoolMetrics
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from pool_states import NOON, a_state, flawed


@pytest.mark.parametrize(
    "depth,target", [(0, 0), (1, 1), (100, 1), (101, 2), (250, 3), (1000, 10), (9999, 10)]
)
def test_the_queue_is_divided_and_rounded_up(depth: int, target: int) -> None:
    state = a_state(min_nodes=0, metrics=PoolMetrics(queue_depth=depth))
    assert QueueBasedAutoscaler(100).recommend(state).target_nodes == target


def test_the_reason_has_the_numbers() -> None:
    state = a_state(metrics=PoolMetrics(queue_depth=9999))
    assert QueueBasedAutoscaler(100).recommend(state).reason == (
        "9999 jobs at 100 a node need 100 nodes; the maximum is 10"
    )


def test_an_empty_queue_leaves_the_minimum() -> None:
    assert QueueBasedAutoscaler().recommend(a_state(min_nodes=2)).target_nodes == 2


@pytest.mark.parametrize("jobs_per_node,target", [(0.5, 6), (0.3, 10), (1.5, 2)])
def test_a_job_may_take_several_nodes(jobs_per_node: float, target: int) -> None:
    state = a_state(metrics=PoolMetrics(queue_depth=3))
    assert QueueBasedAutoscaler(jobs_per_node).recommend(state).target_nodes == target


def test_a_bad_reading_holds() -> None:
    metrics = PoolMetrics(queue_depth=0, readings=flawed("queue_depth"))
    answer = QueueBasedAutoscaler(100).recommend(a_state(metrics=metrics))
    assert (answer.target_nodes, answer.held) == (4, True)
    assert answer.reason == "queue_depth is stale: holds at 4"


def test_a_cooldown_keeps_the_count() -> None:
    state = a_state(
        metrics=PoolMetrics(queue_depth=900),
        last_scale_time=NOON,
        cooldown_period=timedelta(minutes=5),
    )
    assert QueueBasedAutoscaler(100).recommend(state).target_nodes == 4


def test_a_queue_beyond_all_counting_is_survived() -> None:
    state = a_state(metrics=PoolMetrics(queue_depth=10**400))
    assert QueueBasedAutoscaler(5e-324).recommend(state).target_nodes == 10


@pytest.mark.parametrize("jobs_per_node", [0, -1, float("nan"), float("inf")])
def test_what_cannot_be_divided_by_is_refused(jobs_per_node: float) -> None:
    with pytest.raises(ValueError, match="expected a number above 0"):
        QueueBasedAutoscaler(jobs_per_node)
