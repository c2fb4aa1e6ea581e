"""What every autoscaler owes the pool: cooldown, limits, honest holds."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from navarch.core.scaling import limits
from navarch.core.scaling.base import Quality
from pool_states import NOON, a_state, busy, flawed


def test_a_cooldown_keeps_the_count_even_outside_of_the_limits() -> None:
    state = a_state(
        current_nodes=40, last_scale_time=NOON, cooldown_period=timedelta(minutes=3, seconds=20)
    )
    answer = limits.cooling(state)
    assert answer is not None
    assert (answer.target_nodes, answer.held) == (40, True)
    assert answer.reason == "cooldown for another 3m 20s: stays at 40"


def test_no_cooldown_forces_nothing() -> None:
    assert limits.cooling(a_state()) is None


@pytest.mark.parametrize(
    "wanted,target,end",
    [
        (5, 5, "why"),
        (50, 10, "why; the maximum is 10"),
        (0, 1, "why; the minimum is 1"),
        (-3, 1, "why; the minimum is 1"),
    ],
)
def test_a_proposal_is_bent_into_the_limits(wanted: int, target: int, end: str) -> None:
    answer = limits.propose(a_state(), wanted, "why")
    assert (answer.target_nodes, answer.reason) == (target, end)


def test_the_maximum_wins_over_the_minimum() -> None:
    assert limits.within(a_state(min_nodes=9, max_nodes=3), 5) == 3


def test_a_hold_is_held_and_says_why() -> None:
    answer = limits.hold(a_state(), "utilization is stale")
    assert (answer.target_nodes, answer.held) == (4, True)
    assert answer.reason == "utilization is stale: holds at 4"


def test_a_hold_outside_of_the_limits_goes_inside() -> None:
    answer = limits.hold(a_state(current_nodes=12), "utilization is stale")
    assert (answer.target_nodes, answer.held) == (10, False)


@pytest.mark.parametrize(
    "quality,text",
    [
        (Quality.STALE, "utilization is stale (8m old)"),
        (Quality.ABSENT, "utilization is absent (8m old)"),
        (Quality.ERROR, "utilization could not be read (8m old)"),
    ],
)
def test_a_flaw_names_the_field_and_the_detail(quality: Quality, text: str) -> None:
    metrics = busy(50, readings=flawed("utilization", quality, "8m old"))
    assert limits.flaw(a_state(metrics=metrics), "utilization") == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_a_value_that_cannot_be_is_a_flaw(value: float) -> None:
    flaw = limits.flaw(a_state(metrics=busy(value)), "utilization")
    assert flaw == f"utilization is {value}, which cannot be"


def test_a_good_reading_has_no_flaw() -> None:
    assert limits.flaw(a_state(metrics=busy(0)), "utilization") == ""


@pytest.mark.parametrize(
    "duration,text",
    [
        (timedelta(), "0s"),
        (timedelta(milliseconds=1), "1s"),
        (timedelta(minutes=4, seconds=30), "4m 30s"),
        (timedelta(days=1, minutes=2), "24h 2m"),
    ],
)
def test_durations_are_written_for_people(duration: timedelta, text: str) -> None:
    assert limits.format_duration(duration) == text


@pytest.mark.parametrize("count,text", [(1, "1 node"), (0, "0 nodes"), (2.55, "2.5 nodes")])
def test_nodes_are_written_for_people(count: float, text: str) -> None:
    assert limits.format_nodes(count) == text
