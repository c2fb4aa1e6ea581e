"""Scaling by several autoscalers, some of which fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Literal

import pytest

from navarch.core.scaling.base import (
    Autoscaler,
    PoolState,
    ScaleRecommendation,
)
from navarch.core.scaling.composite import CompositeAutoscaler
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.core.scaling.reactive import ReactiveAutoscaler
from navarch.errors import InvariantBroken
from pool_states import NOON, Broken, Fixed, Slow, a_state, answer_of, busy, flawed


def settled(autoscaler: Autoscaler, state: PoolState) -> ScaleRecommendation:
    """Ask an autoscaler that has to be awaited."""

    async def wait() -> ScaleRecommendation:
        answer = autoscaler.recommend(state)
        assert isinstance(answer, Awaitable)
        return await answer

    return asyncio.run(wait())


@pytest.mark.parametrize(
    "mode,targets,expected",
    [
        ("max", (3, 8, 5), 8),
        ("min", (3, 8, 5), 3),
        ("avg", (3, 8), 6),
        ("avg", (3, 5), 4),
        ("avg", (7,), 7),
    ],
)
def test_the_answers_are_combined(
    mode: Literal["max", "min", "avg"], targets: Sequence[int], expected: int
) -> None:
    composite = CompositeAutoscaler(mode, [Fixed(target) for target in targets])
    assert answer_of(composite, a_state()).target_nodes == expected


def test_the_reason_has_all_answers() -> None:
    composite = CompositeAutoscaler("max", [ReactiveAutoscaler(70, 30), QueueBasedAutoscaler(100)])
    answer = answer_of(composite, a_state(metrics=busy(90, queue_depth=650)))
    assert answer.target_nodes == 7
    assert answer.reason == (
        "max of reactive 5 (utilization 90.0% is above 70%: 4 + 1 = 5), "
        "queue 7 (650 jobs at 100 a node need 7 nodes)"
    )


def test_the_limits_hold() -> None:
    assert answer_of(CompositeAutoscaler("max", [Fixed(99)]), a_state()).target_nodes == 10


def test_in_a_cooldown_nobody_is_asked() -> None:
    child = Fixed(9)
    state = a_state(last_scale_time=NOON, cooldown_period=timedelta(minutes=5))
    answer = answer_of(CompositeAutoscaler("max", [child]), state)
    assert (answer.target_nodes, answer.held, child.asked) == (4, True, [])


@pytest.mark.parametrize("mode", ["max", "min", "avg"])
def test_a_failing_one_is_named_and_counted(mode: Literal["max", "min", "avg"]) -> None:
    composite = CompositeAutoscaler(mode, [Broken(OSError("no route")), Fixed(7)])
    answer = answer_of(composite, a_state())
    assert answer.target_nodes == 7
    assert answer.faults == ("broken failed: OSError: no route",)
    assert answer.reason == (
        f"{mode} of broken failed: OSError: no route, fixed 7 (as ever); 1 failed"
    )


@pytest.mark.parametrize("mode", ["max", "min", "avg"])
def test_while_one_fails_nothing_shrinks(mode: Literal["max", "min", "avg"]) -> None:
    composite = CompositeAutoscaler(mode, [Fixed(2), Broken(ValueError("?"))])
    answer = answer_of(composite, a_state())
    assert answer.target_nodes == 4
    assert answer.reason.endswith("not below 4 while one cannot tell")


@pytest.mark.parametrize("mode", ["max", "min", "avg"])
def test_one_that_holds_has_no_vote_but_nothing_shrinks(
    mode: Literal["max", "min", "avg"],
) -> None:
    children: list[Autoscaler] = [ReactiveAutoscaler(80, 20), QueueBasedAutoscaler(100)]
    composite = CompositeAutoscaler(mode, children)
    quiet = busy(0, queue_depth=100, readings=flawed("utilization"))
    loaded = busy(0, queue_depth=800, readings=flawed("utilization"))
    assert answer_of(composite, a_state(metrics=quiet)).target_nodes == 4
    assert answer_of(composite, a_state(metrics=loaded)).target_nodes == 8
    assert "utilization is stale" in answer_of(composite, a_state(metrics=loaded)).reason


def test_when_all_fail_it_holds() -> None:
    composite = CompositeAutoscaler("min", [Broken(OSError("a")), Broken(OSError("b"), "other")])
    answer = answer_of(composite, a_state())
    assert (answer.target_nodes, answer.held) == (4, True)
    assert answer.faults == ("broken failed: OSError: a", "other failed: OSError: b")
    assert answer.reason.endswith("2 failed: holds at 4")


def test_an_answer_that_is_none_counts_as_a_failure() -> None:
    class Silly(Fixed):
        def recommend(self, state: PoolState) -> ScaleRecommendation:
            return ScaleRecommendation(2.5, "half a node")  # type: ignore[arg-type] # the fault

    answer = answer_of(CompositeAutoscaler("max", [Silly(1, "silly"), Fixed(6)]), a_state())
    assert answer.target_nodes == 6
    assert answer.faults[0].startswith("silly failed: TypeError: answered")


@pytest.mark.parametrize("awaited", [False, True])
def test_a_bug_of_ours_is_not_taken_for_a_failing_child(*, awaited: bool) -> None:
    bug = Broken(InvariantBroken("impossible"), awaited=awaited)
    ask = settled if awaited else answer_of
    with pytest.raises(InvariantBroken):
        ask(CompositeAutoscaler("max", [bug, Fixed(1)]), a_state())


def test_faults_inside_of_a_nested_one_are_passed_on() -> None:
    inner = CompositeAutoscaler("max", [Broken(OSError("deep")), Fixed(6)])
    answer = answer_of(CompositeAutoscaler("max", [inner, Fixed(5)]), a_state())
    assert answer.target_nodes == 6
    assert answer.faults == ("broken failed: OSError: deep",)


def test_one_to_be_awaited_makes_the_whole_to_be_awaited() -> None:
    composite = CompositeAutoscaler("max", [Fixed(3), Slow(8), Slow(2, "b"), Fixed(6)])
    answer = settled(composite, a_state())
    assert answer.target_nodes == 8
    assert answer.reason == (
        "max of fixed 3 (as ever), slow 8 (after asking), b 2 (after asking), fixed 6 (as ever)"
    )


def test_failures_while_waiting_are_named_like_others() -> None:
    children: list[Autoscaler] = [
        Slow(3),
        Broken(OSError("late"), awaited=True),
        Broken(OSError("soon"), "c"),
    ]
    answer = settled(CompositeAutoscaler("max", children), a_state())
    assert answer.target_nodes == 4
    assert answer.faults == ("broken failed: OSError: late", "c failed: OSError: soon")


def test_an_unknown_mode_and_nobody_to_ask_are_refused() -> None:
    with pytest.raises(ValueError, match="mode 'median': expected one of max, min, avg"):
        CompositeAutoscaler("median", [Fixed(1)])  # type: ignore[arg-type] # that is what is tried
    with pytest.raises(ValueError, match="expected at least one"):
        CompositeAutoscaler("max", [])
