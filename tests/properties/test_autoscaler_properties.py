"""What holds for every built-in autoscaler, whatever the pool looks like."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from navarch.core.scaling import base, limits
from navarch.core.scaling.base import Autoscaler, PoolMetrics, PoolState, Quality, Reading
from navarch.core.scaling.composite import CompositeAutoscaler
from navarch.core.scaling.predictive import PredictiveAutoscaler
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.core.scaling.reactive import ReactiveAutoscaler
from navarch.core.scaling.scheduled import ScheduledAutoscaler, ScheduleEntry
from pool_states import Broken, answer_of

REACTIVE = ReactiveAutoscaler(80, 20, 3, 2)
QUEUE = QueueBasedAutoscaler(7)
PREDICTIVE = PredictiveAutoscaler(
    lookback=4, fallback=REACTIVE, seasons=(timedelta(minutes=10), timedelta(minutes=20))
)
OWN_LIMITS: dict[str, Autoscaler] = {
    "reactive": REACTIVE,
    "queue": QUEUE,
    "predictive": PREDICTIVE,
    "max": CompositeAutoscaler("max", [REACTIVE, QUEUE, PREDICTIVE]),
    "min": CompositeAutoscaler("min", [REACTIVE, QUEUE, PREDICTIVE]),
    "avg": CompositeAutoscaler("avg", [REACTIVE, QUEUE, PREDICTIVE]),
    "failing": CompositeAutoscaler("avg", [REACTIVE, Broken(OSError("gone")), QUEUE]),
}
"""Those that keep to the pool's own limits."""

SCHEDULED = ScheduledAutoscaler(
    [ScheduleEntry([0, 1, 2], 9, 17, 3, 30), ScheduleEntry([], 20, 6, 0, 2)],
    OWN_LIMITS["max"],
    "Europe/Berlin",
)
ALL: dict[str, Autoscaler] = {**OWN_LIMITS, "scheduled": SCHEDULED}
NAMES = (base.UTILIZATION, base.PENDING_JOBS, base.QUEUE_DEPTH, base.UTILIZATION_HISTORY)

nodes = st.integers(0, 60)
moments = st.timedeltas(timedelta(), timedelta(days=366)).map(
    lambda since: datetime(2026, 1, 1, tzinfo=UTC) + since
)
loads = st.floats(0, 100)
histories = st.lists(loads, max_size=120).map(tuple)
readings = st.builds(
    Reading, value=st.just(0.0), unit=st.just(""), quality=st.sampled_from(Quality)
)


@st.composite
def some_metrics(draw: st.DrawFn, *, fresh: bool = False) -> PoolMetrics:
    """Draw metrics; sane numbers, and any quality unless they must be fresh."""
    history = draw(histories)
    capacity = draw(
        st.one_of(
            st.just(()),
            st.lists(st.floats(0, 60), min_size=len(history), max_size=len(history)).map(tuple),
        )
    )
    flaws: Mapping[str, Reading] = (
        {} if fresh else draw(st.dictionaries(st.sampled_from(NAMES), readings, max_size=2))
    )
    return PoolMetrics(
        utilization=draw(loads),
        pending_jobs=draw(st.integers(0, 1000)),
        queue_depth=draw(st.integers(0, 1000)),
        utilization_history=history,
        capacity_history=capacity,
        history_interval=draw(st.sampled_from([None, timedelta(minutes=1)])),
        readings=flaws,
    )


@st.composite
def some_state(draw: st.DrawFn, *, fresh: bool = False, calm: bool = False) -> PoolState:
    """Draw a pool; a calm one is in no cooldown."""
    low, high = sorted([draw(nodes), draw(nodes)])
    current = draw(nodes)
    now = draw(st.one_of(st.none(), moments))
    ago = draw(st.timedeltas(timedelta(minutes=-5), timedelta(minutes=10)))
    return PoolState(
        name="training",
        current_nodes=current,
        healthy_nodes=draw(st.one_of(st.none(), st.integers(0, current))),
        booting_nodes=draw(st.integers(0, current)),
        min_nodes=low,
        max_nodes=high,
        metrics=draw(some_metrics(fresh=fresh)),
        last_scale_time=None if calm or now is None else now - ago,
        cooldown_period=draw(st.sampled_from([timedelta(), timedelta(minutes=5)])),
        now=now,
    )


@pytest.mark.parametrize("autoscaler", OWN_LIMITS.values(), ids=OWN_LIMITS)
@given(state=some_state())
def test_targets_stay_within_limits_or_a_cooldown_keeps_the_count(
    autoscaler: Autoscaler, state: PoolState
) -> None:
    answer = answer_of(autoscaler, state)
    if state.cooldown_left:
        assert (answer.target_nodes, answer.held) == (state.current_nodes, True)
    else:
        assert state.min_nodes <= answer.target_nodes <= state.max_nodes


@given(state=some_state())
def test_scheduled_targets_stay_within_the_window(state: PoolState) -> None:
    windows = {(entry.min_nodes, entry.max_nodes) for entry in SCHEDULED.schedule}
    answer = answer_of(SCHEDULED, state)
    if state.cooldown_left:
        assert answer.target_nodes == state.current_nodes
    else:
        allowed = windows | {(state.min_nodes, state.max_nodes)}
        assert any(low <= answer.target_nodes <= high for low, high in allowed)


@pytest.mark.parametrize("autoscaler", ALL.values(), ids=ALL)
@given(state=some_state())
def test_equal_states_give_equal_answers_with_a_reason_and_holding_changes_nothing(
    autoscaler: Autoscaler, state: PoolState
) -> None:
    answer = answer_of(autoscaler, state)
    assert answer.reason != ""
    assert not answer.held or answer.target_nodes == state.current_nodes
    assert answer_of(autoscaler, state) == answer


@pytest.mark.parametrize("autoscaler", ALL.values(), ids=ALL)
@given(state=some_state(fresh=True), load=loads, jobs=st.integers(0, 1000))
def test_more_demand_never_gives_a_lower_target(
    autoscaler: Autoscaler, state: PoolState, load: float, jobs: int
) -> None:
    metrics = state.metrics
    more = replace(
        metrics,
        utilization=max(metrics.utilization, load),
        queue_depth=metrics.queue_depth + jobs,
        pending_jobs=metrics.pending_jobs + jobs,
    )
    busier = answer_of(autoscaler, replace(state, metrics=more))
    assert busier.target_nodes >= answer_of(autoscaler, state).target_nodes


@given(state=some_state(fresh=True, calm=True), factor=st.floats(1, 50))
def test_a_past_with_more_demand_never_gives_a_lower_target(
    state: PoolState, factor: float
) -> None:
    """The same past, only larger: what all models scale with."""
    history = (*(10.0,) * 20, *state.metrics.utilization_history)
    metrics = replace(state.metrics, utilization_history=history)
    more = replace(
        metrics, utilization_history=tuple(load * factor for load in metrics.utilization_history)
    )
    wilder = answer_of(PREDICTIVE, replace(state, metrics=more))
    assert (
        wilder.target_nodes >= answer_of(PREDICTIVE, replace(state, metrics=metrics)).target_nodes
    )


numbers = st.floats(allow_nan=True, allow_infinity=True)
counts = st.integers(-(10**6), 10**30)


@pytest.mark.parametrize("autoscaler", ALL.values(), ids=ALL)
@given(
    state=some_state(),
    load=numbers,
    history=st.lists(numbers, max_size=30),
    sizes=st.lists(counts, min_size=6, max_size=6),
    interval=st.one_of(st.none(), st.timedeltas(timedelta(-1), timedelta(9))),
)
def test_nonsense_is_survived(
    autoscaler: Autoscaler,
    state: PoolState,
    load: float,
    history: list[float],
    sizes: list[int],
    interval: timedelta | None,
) -> None:
    metrics = replace(
        state.metrics,
        utilization=load,
        utilization_history=tuple(history),
        capacity_history=tuple(reversed(history)),
        history_interval=interval,
        queue_depth=sizes[0],
    )
    odd = replace(
        state,
        metrics=metrics,
        current_nodes=sizes[1],
        healthy_nodes=sizes[2],
        booting_nodes=sizes[3],
        min_nodes=sizes[4],
        max_nodes=sizes[5],
    )
    answer = answer_of(autoscaler, odd)
    if not odd.cooldown_left:
        assert answer.target_nodes >= 0
        assert answer.target_nodes == limits.within(odd, answer.target_nodes) or (
            autoscaler is SCHEDULED
        )
