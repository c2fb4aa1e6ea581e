"""How the host shapes proposals: bounds, windows, rates, cooldown, and what it says of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent_demands import AT_ONCE, a_class, a_pool
from factories import at
from navarch.core.model.resources import AgentPool, Behavior, Ref, ScalingRules
from navarch.core.serving.scaling import history as past
from navarch.core.serving.scaling.history import CHANGES_MAX, MARKS_MAX, ScalingHistory
from navarch.core.serving.scaling.proposal import REPLICAS_MAX, Proposal
from navarch.core.serving.scaling.shaping import Shaped, combine, decide

SECOND = timedelta(seconds=1)


def want(replicas: int, **more: object) -> Proposal:
    return Proposal(replicas, f"needs {replicas}", **more)  # type: ignore[arg-type]


class Story:
    """A pool over time: what was proposed, and what became of it."""

    def __init__(self, pool: AgentPool, target: int = 0) -> None:
        self.pool = pool
        self.target = target
        self.history: ScalingHistory | None = past.begun(target, at(hours=-9))
        self.last: Shaped

    def asks(self, replicas: int, seconds: float, **more: object) -> int:
        proposals = [want(replicas, **more)]
        self.last, self.history = decide(
            self.pool, None, self.target, proposals, self.history, at(seconds=seconds)
        )
        self.target = self.last.target
        return self.target


def paced(up: ScalingRules | None = None, down: ScalingRules | None = None) -> AgentPool:
    behavior = Behavior(up or ScalingRules(), down or ScalingRules())
    return a_pool({"queue-depth": 10}, behavior=behavior)


# --- several proposals -----------------------------------------------------------------------


@pytest.mark.parametrize("mode,number", [("max", 9), ("min", 2), ("average", 5)])
def test_several_proposals_become_one_number(mode: str, number: int) -> None:
    found = combine([want(2), want(3), want(9)], mode, current=4)  # type: ignore[arg-type]
    assert (found.wanted, found.held) == (number, False)


@pytest.mark.parametrize("mode", ["max", "min", "average"])
def test_one_that_holds_keeps_the_others_from_taking_away(mode: str) -> None:
    found = combine([want(2), want(6, held=True)], mode, current=6)  # type: ignore[arg-type]
    assert (found.wanted, found.held) == (6, True)
    assert "needs 6" in "; ".join(found.reasons)


def test_an_average_is_rounded_up() -> None:
    assert combine([want(1), want(2)], "average").wanted == 2


def test_what_is_surely_too_few_or_too_many_is_cut() -> None:
    assert combine([want(0), want(1, low=1, by="queue")], "min").wanted == 1
    found = combine([want(9), want(3, high=4, by="budget")], "max")
    assert (found.wanted, found.reasons[-1]) == (4, "cut from 9 to 4 by budget")
    assert combine([want(9, low=7), want(3, high=4)], "max").wanted == 7


def test_nothing_is_not_combined() -> None:
    with pytest.raises(ValueError, match="no proposals"):
        combine([], "max")


@pytest.mark.parametrize(
    "percent,needed,wanted", [(20, 10, 12), (10, 10, 11), (1, 1, 2), (0, 7, 7), (50, 0, 0)]
)
def test_warm_replicas_are_added_to_what_is_needed(
    percent: float, needed: int, wanted: int
) -> None:
    found = combine([want(needed)], "max", prewarm_percent=percent)
    assert (found.wanted, found.needed) == (wanted, needed)


def test_warm_replicas_are_not_added_to_those_that_are_held() -> None:
    story = Story(a_pool({"queue-depth": 10}, prewarm=20), 12)
    for second in range(5):
        assert story.asks(0, second, held=True) == 12
        assert story.asks(12, second, with_warm=True) == 12
    assert story.last.needed == 10


# --- bounds ----------------------------------------------------------------------------------


def test_the_bounds_of_the_pool_cut_and_say_so() -> None:
    story = Story(a_pool({"queue-depth": 10}, low=2, high=8), 4)
    assert story.asks(10, 0) == 8
    assert story.last.because == "to 8: needs 10; cut from 10 to maxReplicas 8; was 4"
    assert story.asks(0, 1) == 2
    assert story.last.because == "to 2: needs 0; raised from 0 to minReplicas 2; was 8"


def test_no_window_rate_or_cooldown_keeps_a_pool_outside_of_its_bounds() -> None:
    slow = ScalingRules(timedelta(minutes=9), max_change_absolute=1)
    pool = a_pool(
        {"queue-depth": 10},
        low=5,
        high=8,
        behavior=Behavior(slow, slow),
        cooldown_period=timedelta(hours=1),
    )
    assert decide(pool, None, 0, [want(6)], None, at())[0].target == 5
    assert decide(pool, None, 20, [want(6)], None, at())[0].target == 8


def test_a_maximum_below_the_minimum_counts_as_the_minimum() -> None:
    assert decide(a_pool(low=5, high=2), None, 0, [want(9)], None, at())[0].target == 5


def test_a_pool_that_nothing_scales_has_its_minimum() -> None:
    shaped, _ = decide(a_pool(low=3), None, 0, [], None, at())
    assert (shaped.target, shaped.needed) == (3, 3)
    assert shaped.because == "to 3: nothing scales it: minReplicas 3; was 0"


def test_a_pool_whose_autoscalers_are_silent_holds() -> None:
    shaped, _ = decide(a_pool({"queue-depth": 10}, low=1), None, 7, [], None, at())
    assert shaped.because == "stays at 7: no autoscaler has proposed anything: held"


def test_a_pool_whose_class_is_not_there_stays_as_it_is() -> None:
    pool = a_pool({"queue-depth": 10})
    named = replace(pool, spec=replace(pool.spec, agent_class_ref=Ref("chat")))
    assert decide(named, None, 2, [want(9)], None, at())[0].target == 2
    assert decide(named, a_class(), 2, [want(9)], None, at())[0].target == 9


# --- windows ---------------------------------------------------------------------------------


def test_nothing_is_taken_away_before_the_window_has_passed() -> None:
    story = Story(paced(down=ScalingRules(timedelta(seconds=300))), 10)
    assert story.asks(10, 0) == 10
    assert story.asks(4, 1) == 10
    words = "needs 4; kept at 10 by the scaleDown window of 300 s, 300 s left"
    assert story.last.because == f"stays at 10: {words}"
    assert story.asks(6, 100) == 10
    assert story.asks(4, 300) == 10
    assert story.asks(4, 301) == 6, "the highest of the window since"
    assert story.asks(4, 601) == 4


def test_the_lowest_proposal_of_the_window_counts_upwards() -> None:
    story = Story(paced(up=ScalingRules(timedelta(seconds=30))), 2)
    assert story.asks(2, 0) == 2
    assert story.asks(9, 1) == 2
    assert story.last.limited_by == "stabilization"
    assert story.asks(5, 20) == 2
    assert story.asks(9, 31) == 5
    assert story.asks(9, 60) == 5, "it was proposed until the second 31"
    assert story.asks(9, 61) == 9


def test_without_a_past_nothing_is_taken_away_before_the_window_has_passed() -> None:
    pool = paced(down=ScalingRules(timedelta(seconds=300)))
    shaped, history = decide(pool, None, 10, [want(1)], None, at())
    assert shaped.target == 10
    shaped, history = decide(pool, None, 10, [want(1)], history, at(seconds=299))
    assert shaped.target == 10
    shaped, history = decide(pool, None, 10, [want(1)], history, at(seconds=300))
    assert shaped.target == 1


def test_a_pause_in_which_nobody_looked_is_no_time_of_low_proposals() -> None:
    story = Story(paced(down=ScalingRules(timedelta(seconds=300))), 10)
    story.asks(10, 0)
    assert story.asks(1, 3000) == 10
    assert story.asks(1, 3300) == 1


def test_growing_needs_no_past() -> None:
    assert decide(paced(), None, 2, [want(9)], None, at())[0].target == 9


# --- rates -----------------------------------------------------------------------------------


def test_a_rate_says_what_it_allowed() -> None:
    story = Story(paced(up=ScalingRules(max_change_absolute=4)), 6)
    assert story.asks(20, 0) == 10
    assert story.last.because == "to 10: needs 20; capped at 10 by scaleUp 4 in 60 s; was 6"
    assert story.asks(20, 59) == 10
    assert story.asks(20, 60) == 14


def test_of_two_limits_the_one_that_allows_more_counts() -> None:
    both = ScalingRules(max_change_percent=100, max_change_absolute=4)
    assert Story(paced(up=both), 2).asks(50, 0) == 6
    assert Story(paced(up=both), 10).asks(50, 0) == 20
    assert Story(paced(down=both), 10).asks(0, 0) == 0
    fewer = ScalingRules(max_change_percent=10, max_change_absolute=4)
    assert Story(paced(down=fewer), 10).asks(0, 0) == 6
    assert Story(paced(down=fewer), 100).asks(0, 0) == 90


def test_a_percentage_always_lets_one_come_or_go() -> None:
    slow = ScalingRules(max_change_percent=10)
    assert Story(paced(up=slow), 1).asks(9, 0) == 2
    assert Story(paced(down=slow), 3).asks(0, 0) == 2
    assert Story(paced(up=slow), 10).asks(20, 0) == 11, "and no twelfth by rounding"


def test_leaving_zero_is_not_stopped_by_a_percentage_of_zero() -> None:
    assert Story(paced(up=ScalingRules(max_change_percent=50))).asks(7, 0) == 7
    both = ScalingRules(max_change_percent=50, max_change_absolute=3)
    assert Story(paced(up=both)).asks(7, 0) == 3


def test_what_went_within_the_period_may_come_back() -> None:
    rules = ScalingRules(max_change_absolute=2)
    story = Story(paced(up=rules, down=rules), 10)
    assert story.asks(0, 0) == 8
    assert story.asks(20, 1) == 12
    assert story.asks(20, 2) == 12


def test_a_change_by_somebody_else_counts_as_one() -> None:
    story = Story(paced(up=ScalingRules(max_change_absolute=4)), 6)
    story.target = 9
    assert story.asks(20, 0) == 10


def test_the_cooldown_keeps_after_any_change() -> None:
    pool = a_pool({"queue-depth": 10}, cooldown_period=timedelta(seconds=90))
    story = Story(pool, 2)
    assert story.asks(9, 0) == 9
    assert story.asks(3, 10) == 9
    assert story.last.because == "stays at 9: needs 3; kept at 9 by the cooldown, 80 s left"
    assert story.asks(12, 20) == 12
    assert story.asks(3, 109) == 12
    assert story.asks(3, 110) == 3


def test_without_a_past_the_cooldown_begins_with_the_start_or_the_last_known_change() -> None:
    pool = a_pool({"queue-depth": 10}, cooldown_period=timedelta(seconds=90))
    assert decide(pool, None, 9, [want(3)], None, at())[0].target == 9
    known = past.begun(9, at(), changed_at=at(seconds=-90))
    assert decide(pool, None, 9, [want(3)], known, at())[0].target == 3


def test_a_clock_that_was_set_back_does_not_end_a_cooldown() -> None:
    pool = a_pool({"queue-depth": 10}, cooldown_period=timedelta(seconds=90))
    known = past.begun(9, at(), changed_at=at(hours=1))
    assert decide(pool, None, 9, [want(3)], known, at())[0].target == 9


def test_to_zero_and_back_in_two_looks() -> None:
    story = Story(a_pool({"queue-depth": 10}), 3)
    assert (story.asks(0, 0), story.asks(1, 1)) == (0, 1)


# --- properties ------------------------------------------------------------------------------

rules = st.builds(
    ScalingRules,
    stabilization_window=st.integers(0, 120).map(lambda n: n * SECOND),
    max_change_percent=st.sampled_from([0.0, 10.0, 33.3, 100.0, float("nan"), float("inf")]),
    max_change_absolute=st.integers(0, 5),
    period_seconds=st.sampled_from([1.0, 15.0, 60.0, 0.0, -1.0]),
)
pools = st.builds(
    lambda low, more, up, down, cooldown, prewarm, mode: a_pool(
        {"queue-depth": 10},
        low=low,
        high=low + more,
        prewarm=prewarm,
        behavior=Behavior(up, down),
        cooldown_period=cooldown * SECOND,
        combine=mode,
    ),
    st.integers(0, 5),
    st.integers(0, 60),
    rules,
    rules,
    st.integers(0, 60),
    st.sampled_from([0.0, 10.0, 50.0]),
    st.sampled_from(["max", "min", "average"]),
)
looks = st.lists(
    st.tuples(st.integers(0, 40), st.lists(st.integers(0, 80), min_size=1, max_size=3)),
    max_size=25,
)


@pytest.mark.parametrize("held", [False, True])
@given(pool=pools, start=st.integers(0, 80), looks=looks)
def test_a_target_is_always_within_the_bounds_and_holding_takes_nothing_away(
    *, pool: AgentPool, start: int, looks: list[tuple[int, list[int]]], held: bool
) -> None:
    now, target, history = at(), start, None
    for pause, numbers in looks:
        now += pause * SECOND
        proposals = [want(number) for number in numbers]
        if held:
            proposals.append(want(target, held=True, with_warm=True))
        shaped, history = decide(pool, None, target, proposals, history, now)
        spec = pool.spec
        assert spec.min_replicas <= shaped.target <= spec.max_replicas
        assert shaped.needed <= spec.max_replicas
        assert shaped.because
        if held:
            assert shaped.target >= min(target, spec.max_replicas)
        target = shaped.target


@given(pool=pools, start=st.integers(0, 80), looks=looks, more=st.integers(0, 40))
def test_a_higher_proposal_never_gives_a_lower_target(
    pool: AgentPool, start: int, looks: list[tuple[int, list[int]]], more: int
) -> None:
    now, target, history = at(), start, None
    for pause, numbers in looks:
        now += pause * SECOND
        higher = [want(number + more) for number in numbers]
        raised, _ = decide(pool, None, target, higher, history, now)
        shaped, history = decide(pool, None, target, [want(n) for n in numbers], history, now)
        assert raised.target >= shaped.target
        target = shaped.target


def test_what_is_remembered_is_bounded() -> None:
    down = ScalingRules(timedelta(hours=1), period_seconds=3600)
    pool = a_pool({"queue-depth": 1}, high=REPLICAS_MAX, behavior=Behavior(down, down))
    story = Story(pool, 5000)
    for second in range(2500):
        story.asks(5000 - second, second)
    assert story.history is not None
    assert len(story.history.highs) == MARKS_MAX
    assert story.target == 5000
    restless = Story(a_pool({"queue-depth": 1}, behavior=AT_ONCE), 0)
    restless.pool = a_pool(
        {"queue-depth": 1}, behavior=Behavior(ScalingRules(period_seconds=3600), ScalingRules())
    )
    for second in range(1000):
        restless.asks(second % 2, second)
    assert restless.history is not None
    assert len(restless.history.changes) == CHANGES_MAX
