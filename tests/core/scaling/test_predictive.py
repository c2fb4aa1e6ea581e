"""Scaling ahead of the load."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from navarch.core.scaling import predictive
from navarch.core.scaling.base import PoolMetrics, PoolState, Quality
from navarch.core.scaling.predictive import PredictiveAutoscaler
from navarch.core.scaling.reactive import ReactiveAutoscaler
from pool_states import NOON, Fixed, Slow, a_state, answer_of, busy, flawed, samples

HOUR = timedelta(hours=1)
RAMP = [2 + 0.1 * index for index in range(30)]


def a_pool(metrics: PoolMetrics, **changes: object) -> PoolState:
    """Return a pool of up to a hundred nodes with these metrics."""
    return a_state(**{"max_nodes": 100, "metrics": metrics, **changes})


def predicting(**changes: object) -> PredictiveAutoscaler:
    """Return one that trusts the line as it is, at 100% of its nodes, for exact sums."""
    exact = PredictiveAutoscaler(
        lookback=10,
        growth_factor=1.0,
        fallback=Fixed(7),
        lead_time=timedelta(minutes=5),
        target_utilization=100,
    )
    return replace(exact, **changes)


def ramp_answer(autoscaler: PredictiveAutoscaler, values: Sequence[float] = RAMP) -> int:
    """Return the target for a history of this demand."""
    return answer_of(autoscaler, a_pool(samples(values, 8))).target_nodes


def test_it_buys_for_the_demand_one_lead_time_and_one_chance_ahead() -> None:
    # 4.9 now, 0.1 more each 30 s: 5.9 after 5 minutes, and 6.0 at the next look.
    assert ramp_answer(predicting()) == 6
    assert ramp_answer(predicting(lead_time=timedelta(minutes=15))) == 8


def test_a_longer_cooldown_is_bought_for_too() -> None:
    state = a_pool(samples(RAMP, 8), cooldown_period=timedelta(minutes=10))
    assert answer_of(predicting(), state).target_nodes == 8


def test_growth_is_multiplied_and_the_present_is_not() -> None:
    assert ramp_answer(predicting(growth_factor=2.0)) == 8  # 4.9 + 2 × 1.1 = 7.1
    assert ramp_answer(predicting(growth_factor=9.0), [5.0] * 30) == 5


def test_the_reason_names_the_model_and_has_the_numbers() -> None:
    answer = answer_of(predicting(), a_pool(samples(RAMP, 8)))
    assert answer.reason == (
        "linear trend expects 6.0 nodes of work within 5m 30s, usually 0.0 off; now 4.9; "
        "with growth × 1: 6.0, at 100% on 6 nodes"
    )


def test_nodes_are_rounded_up_and_never_cut_off() -> None:
    metrics = samples([2.0] * 10, 2)
    full = a_pool(metrics, current_nodes=2)
    assert answer_of(predicting(target_utilization=70), full).target_nodes == 3


@pytest.mark.parametrize("exact,nodes", [(2.0000000000001, 2), (2.001, 3), (0.0, 0), (1e300, 9)])
def test_only_the_dust_of_floating_point_is_not_rounded_up(exact: float, nodes: int) -> None:
    assert predictive.nodes_for(exact, 9) == nodes


def test_the_limits_hold() -> None:
    low = a_pool(samples([0.0] * 10, 8), min_nodes=3)
    high = a_pool(samples([80.0] * 10, 80), max_nodes=12)
    assert answer_of(predicting(), low).target_nodes == 3
    assert answer_of(predicting(), high).target_nodes == 12


def test_going_down_takes_a_margin_and_going_up_does_not() -> None:
    def target(current: int) -> int:
        state = a_pool(samples([9.5] * 10, current), current_nodes=current)
        return answer_of(predicting(), state).target_nodes

    assert [target(10), target(11), target(12), target(20)] == [10, 11, 11, 11]
    assert target(9) == 10


def test_the_present_demand_is_carried_while_less_is_expected() -> None:
    falling = [20.0 - 0.5 * index for index in range(30)]
    answer = answer_of(predicting(), a_pool(samples(falling, 20), current_nodes=20))
    assert answer.target_nodes >= math.ceil(falling[-1])


def test_a_fresh_jump_is_not_forgotten_over_the_history() -> None:
    metrics = replace(samples([2.0] * 10, 4), utilization=100.0)
    assert answer_of(predicting(), a_pool(metrics)).target_nodes == 4


def test_the_capacity_of_the_past_turns_utilization_into_demand() -> None:
    grown = PoolMetrics(
        utilization=50.0,
        utilization_history=(100.0,) * 5 + (50.0,) * 5,
        capacity_history=(4.0,) * 5 + (8.0,) * 5,
    )
    unknown = replace(grown, capacity_history=())
    state = a_pool(grown, current_nodes=8)
    assert "expects 4.0 nodes of work" in answer_of(predicting(), state).reason
    without = answer_of(predicting(), replace(state, metrics=unknown))
    assert "expects 4.0 nodes of work" not in without.reason


def test_it_learns_the_morning_of_earlier_days() -> None:
    values = [20.0 if 9 <= hour % 24 < 17 else 5.0 for hour in range(24 * 3 + 8)]
    metrics = replace(samples(values, 40), history_interval=HOUR)
    seasonal = predicting(lookback=4, lead_time=timedelta(hours=1))
    answer = answer_of(seasonal, a_pool(metrics, current_nodes=5))
    assert answer.target_nodes == 20
    assert answer.reason.startswith("daily season expects 20.0 nodes of work")


def test_what_the_model_is_usually_off_is_bought_too() -> None:
    noisy = [10.0 + (2 if index % 10 < 5 else -2) for index in range(60)]
    calm = [sum(noisy[-5:]) / 5] * 60
    assert ramp_answer(predicting(), noisy) > ramp_answer(predicting(), calm)


@pytest.mark.parametrize(
    "metrics,why",
    [
        (samples([5.0] * 9, 8), "the history has 9 of 10 samples"),
        (
            replace(samples([5.0] * 10, 8), readings=flawed("utilization_history")),
            "the history is stale",
        ),
        (
            replace(samples([5.0] * 9 + [math.nan], 8), utilization=1.0),
            "the history has values that are no numbers",
        ),
    ],
)
def test_without_a_usable_history_the_fallback_decides_and_it_says_so(
    metrics: PoolMetrics, why: str
) -> None:
    answer = answer_of(predicting(), a_pool(metrics))
    assert (answer.target_nodes, answer.reason) == (7, f"{why}, so fixed decides: as ever")


def test_when_no_node_is_healthy_the_fallback_decides() -> None:
    reactive = predicting(fallback=ReactiveAutoscaler())
    answer = answer_of(reactive, a_pool(samples([5.0] * 10, 8), healthy_nodes=0))
    assert answer.target_nodes == 5
    assert answer.reason.startswith("no node is healthy, so reactive decides: all 4 nodes")


def test_from_zero_the_fallback_hears_waiting_jobs() -> None:
    empty = PoolMetrics(
        pending_jobs=2, utilization_history=(0.0,) * 10, capacity_history=(0.0,) * 10
    )
    reactive = predicting(fallback=ReactiveAutoscaler())
    answer = answer_of(reactive, a_pool(empty, current_nodes=0, min_nodes=0))
    assert answer.target_nodes == 1
    assert answer.reason.startswith("the history tells nothing, so reactive decides: no nodes")


def test_from_zero_a_known_morning_is_bought_for() -> None:
    values = [20.0 if 9 <= hour % 24 < 17 else 0.0 for hour in range(24 * 3 + 8)]
    metrics = PoolMetrics(
        utilization_history=tuple(100.0 if value else 0.0 for value in values),
        capacity_history=tuple(values),
        history_interval=HOUR,
    )
    seasonal = predicting(lookback=4, lead_time=timedelta(hours=1))
    answer = answer_of(seasonal, a_pool(metrics, current_nodes=0, min_nodes=0))
    assert answer.target_nodes == 20


def test_the_fallback_is_kept_inside_of_the_limits() -> None:
    answer = answer_of(predicting(fallback=Fixed(500)), a_pool(busy(50)))
    assert answer.target_nodes == 100


def test_a_fallback_to_be_awaited_makes_the_answer_to_be_awaited() -> None:
    answer = predicting(fallback=Slow(9)).recommend(a_pool(busy(50)))
    assert isinstance(answer, Awaitable)
    awaited = answer

    async def wait() -> str:
        return (await awaited).reason

    assert asyncio.run(wait()).endswith("so slow decides: after asking")


@pytest.mark.parametrize("quality", [Quality.STALE, Quality.ABSENT, Quality.ERROR])
def test_a_bad_reading_holds(quality: Quality) -> None:
    metrics = replace(samples(RAMP, 8), readings=flawed("utilization", quality))
    answer = answer_of(predicting(), a_pool(metrics))
    assert (answer.target_nodes, answer.held) == (4, True)


def test_a_cooldown_keeps_the_count() -> None:
    state = a_pool(samples(RAMP, 8), last_scale_time=NOON, cooldown_period=HOUR)
    answer = answer_of(predicting(), state)
    assert (answer.target_nodes, answer.held) == (4, True)


def test_its_defaults_are_the_documents() -> None:
    assert PredictiveAutoscaler(30, 1.5, ReactiveAutoscaler()) == PredictiveAutoscaler()


@pytest.mark.parametrize(
    "changes",
    [
        {"lookback": 1},
        {"growth_factor": -0.1},
        {"growth_factor": math.inf},
        {"target_utilization": 0},
        {"target_utilization": 101},
        {"lead_time": timedelta(seconds=-1)},
        {"sample_interval": timedelta()},
        {"seasons": (timedelta(),)},
    ],
)
def test_numbers_out_of_range_are_refused_by_name(changes: dict[str, Any]) -> None:
    (field,) = changes
    with pytest.raises(ValueError, match=field):
        PredictiveAutoscaler(**changes)


def test_a_past_beyond_all_numbers_leaves_it_to_the_fallback() -> None:
    metrics = replace(samples([5.0] * 10, 8), utilization_history=(1e300,) * 10)
    metrics = replace(metrics, capacity_history=(1e300,) * 10)
    answer = answer_of(predicting(), a_pool(metrics))
    assert answer.reason == "the history tells nothing, so fixed decides: as ever"


def test_a_season_hardly_longer_than_the_lead_time_is_not_read_past_the_present() -> None:
    """It once was: a short season was chosen, and then asked for twice the lead time."""
    history = (10.0,) * 20 + (0.0, 0.0, 12.0) + (0.0,) * 19 + (30.0,)
    metrics = PoolMetrics(utilization_history=history)
    for minutes in range(1, 12):
        seasonal = predicting(lookback=4, seasons=(timedelta(minutes=minutes),))
        assert answer_of(seasonal, a_pool(metrics)).target_nodes >= 1
