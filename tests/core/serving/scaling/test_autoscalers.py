"""The built-in autoscalers of replicas: what they propose, and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent_demands import a_class, a_demand, a_pool
from navarch.core.model.resources import AgentPoolStatus
from navarch.core.scaling.base import Quality
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.autoscalers import (
    BUILT_IN,
    QueueDepthAutoscaler,
    SLOAutoscaler,
    TokenAwareAutoscaler,
)
from navarch.core.serving.scaling.proposal import REPLICAS_MAX, Proposal, ReplicaAutoscaler

QUEUE = QueueDepthAutoscaler()
TOKENS = TokenAwareAutoscaler()
PROMISE = SLOAutoscaler()
QUALITIES = [Quality.STALE, Quality.ABSENT, Quality.ERROR]


# --- queue -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "depth,replicas", [(0, 0), (0.001, 1), (1, 1), (10, 1), (10.001, 2), (92, 10), (1e30, 10**6)]
)
def test_a_queue_is_divided_by_its_target_and_rounded_up(depth: float, replicas: int) -> None:
    found = QUEUE.propose(a_demand(a_pool({"queueDepth": 10}), queue_depth=depth))
    assert (found.replicas, found.held, found.signal) == (replicas, False, "queue-depth")


def test_three_tenths_at_a_tenth_are_three_replicas() -> None:
    found = QUEUE.propose(a_demand(a_pool({"queue-depth": 0.1}), queue_depth=0.1 + 0.1 + 0.1))
    assert found.replicas == 3


def test_the_reason_has_the_numbers() -> None:
    found = QUEUE.propose(a_demand(a_pool({"queue_depth": 10}), queue_depth=92, current=6))
    assert found.reason == "queue-depth 92 at 10 a replica needs 10"


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_queue_that_is_not_fresh_holds(quality: Quality) -> None:
    found = QUEUE.propose(a_demand(a_pool({"queue_depth": 10}), current=6, queue_depth=quality))
    assert (found.replicas, found.held) == (6, True)
    assert found.reason == f"queue-depth is {quality} (why)"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_queue_that_cannot_be_holds(value: float) -> None:
    found = QUEUE.propose(a_demand(a_pool({"queue_depth": 10}), current=6, queue_depth=value))
    assert (found.replicas, found.held) == (6, True)


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan"), float("inf")])
def test_a_target_that_nothing_can_be_divided_by_holds(target: float) -> None:
    found = QUEUE.propose(a_demand(a_pool({"queue_depth": target}), current=6, queue_depth=9))
    assert (found.replicas, found.held) == (6, True)


# --- tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metric,target,values,replicas",
    [
        ("tokens-in-queue", 4000, {"tokens_in_queue": 9000}, 3),
        ("tokens_per_second", 1000, {"tokens_per_second": 2500}, 3),
        ("tokens_per_second", 1000, {"tokens_per_second": 100}, 1),
        ("concurrent-sessions", 8, {"concurrent_sessions": 17}, 3),
        ("context-length", 100_000, {"context_length": 250_000}, 3),
        ("tool-call-rate", 2, {"tool_call_rate": 5}, 3),
        ("requests-per-second", 2, {"requests_per_second": 5}, 3),
        ("gpu-utilization", 60, {"gpu_utilization": 90}, 6),
        ("gpu-utilization", 60, {"gpu_utilization": 30}, 2),
        ("gpu-utilization", 60, {"gpu_utilization": 0}, 1),
        ("kv-cache-usage", 50, {"kv_cache_usage": 100}, 8),
        ("ttft-p95", 0.5, {"ttft_p95": 1.0}, 6),
        ("ttft-p95", 0.5, {"ttft_p95": 50.0}, 8),
        ("ttft-p95", 0.5, {"ttft_p95": 0.45}, 4),
        ("ttft-p95", 0.5, {"ttft_p95": 0.05}, 3),
        ("p95-latency", 10, {"p95_latency": 20}, 6),
        ("session-tokens-per-second", 30, {"session_tokens_per_second": 15}, 6),
        ("session-tokens-per-second", 30, {"session_tokens_per_second": 0}, 8),
        ("session-tokens-per-second", 30, {"session_tokens_per_second": 300}, 3),
    ],
)
def test_each_signal_counts_in_its_own_way(
    metric: str, target: float, values: dict[str, float], replicas: int
) -> None:
    found = TOKENS.propose(a_demand(a_pool({metric: target}), values, current=4))
    assert (found.replicas, found.held) == (replicas, False), found.reason


def test_the_most_demanding_target_decides() -> None:
    pool = a_pool({"tokens-in-queue": 1000, "concurrent-sessions": 10})
    found = TOKENS.propose(a_demand(pool, current=1, tokens_in_queue=3000, concurrent_sessions=55))
    assert (found.replicas, found.signal) == (6, "concurrent-sessions")


def test_one_signal_that_is_missing_does_not_stop_another_from_adding() -> None:
    pool = a_pool({"tokens-in-queue": 1000, "concurrent-sessions": 10})
    demand = a_demand(pool, current=2, tokens_in_queue=9000, concurrent_sessions=Quality.ERROR)
    assert TOKENS.propose(demand).replicas == 9


def test_one_signal_that_is_missing_keeps_another_from_taking_away() -> None:
    pool = a_pool({"tokens-in-queue": 1000, "concurrent-sessions": 10})
    demand = a_demand(pool, current=5, tokens_in_queue=1000, concurrent_sessions=Quality.STALE)
    found = TOKENS.propose(demand)
    assert (found.replicas, found.held) == (5, True)


def test_a_pool_that_waits_for_its_replicas_does_not_grow_with_every_look() -> None:
    pool = a_pool({"gpu-utilization": 50})
    for current in (4, 8, 16):
        found = TOKENS.propose(a_demand(pool, current=current, ready=4, gpu_utilization=100))
        assert found.replicas == 8
    late = a_pool({"ttft-p95": 0.5})
    for current in (6, 9):
        found = TOKENS.propose(a_demand(late, current=current, ready=4, ttft_p95=1.0))
        assert found.replicas == current


@pytest.mark.parametrize("metric", ["gpu-utilization", "ttft-p95"])
def test_what_is_measured_while_nothing_serves_says_nothing(metric: str) -> None:
    demand = a_demand(a_pool({metric: 1}), current=3, ready=0, gpu_utilization=90, ttft_p95=90)
    assert TOKENS.propose(demand).held


def test_no_replica_and_somebody_who_waits_makes_one() -> None:
    found = TOKENS.propose(a_demand(a_pool({"ttft-p95": 1}), queue_depth=3))
    assert (found.replicas, found.low) == (1, 1)
    assert "queue-depth 3 and no replica" in found.reason


def test_a_delay_that_is_absent_because_nobody_comes_wants_none() -> None:
    pool = a_pool({"ttft-p95": 1})
    idle = a_demand(pool, current=3, queue_depth=0, concurrent_sessions=0)
    assert (TOKENS.propose(idle).replicas, TOKENS.propose(idle).held) == (0, False)
    unsure = a_demand(pool, current=3, queue_depth=0)
    assert TOKENS.propose(unsure).held
    doubtful = a_demand(pool, current=3, queue_depth=Quality.STALE, concurrent_sessions=0)
    assert TOKENS.propose(doubtful).held


# --- promises --------------------------------------------------------------------------------


def test_a_promise_that_is_broken_adds_replicas_and_says_by_how_much() -> None:
    found = PROMISE.propose(
        a_demand(a_pool({"ttft-p95": 0}), current=4, agent_class=a_class(0.5), ttft_p95=0.75)
    )
    assert found.replicas == 5
    assert found.reason == "ttft-p95 0.75 s, target 0.5: 1.50 times, 4 serving, so 5"


def test_the_time_in_the_queue_counts_before_anybody_of_it_was_answered() -> None:
    demand = a_demand(
        a_pool({"ttft-p95": 0}),
        current=4,
        agent_class=a_class(0.5),
        ttft_p95=0.2,
        queue_depth=40,
        requests_per_second=20,
    )
    assert PROMISE.propose(demand).replicas == 8


def test_an_engines_own_time_needs_the_queues_to_take_away() -> None:
    engine = SLOAutoscaler(ttft_includes_queue=False)
    values = {"current": 4, "agent_class": a_class(0.5), "ttft_p95": 0.1}
    pool = a_pool({"ttft-p95": 0})
    assert engine.propose(a_demand(pool, **values)).held  # type: ignore[arg-type]
    known = a_demand(pool, **values, queue_time_p95=0.05)  # type: ignore[arg-type]
    assert (engine.propose(known).replicas, engine.propose(known).held) == (3, False)
    long = a_demand(pool, **values, queue_time_p95=0.9)  # type: ignore[arg-type]
    assert engine.propose(long).replicas == 6


def test_the_speed_of_sessions_follows_from_that_of_the_pool() -> None:
    demand = a_demand(
        a_pool({"session-tokens-per-second": 0}),
        current=4,
        agent_class=a_class(speed=30),
        tokens_per_second=150,
        concurrent_sessions=10,
    )
    assert PROMISE.propose(demand).replicas == 6


def test_a_promise_about_which_nothing_is_known_holds_unless_nobody_comes() -> None:
    pool = a_pool({"ttft-p95": 0})
    assert PROMISE.propose(a_demand(pool, current=4, agent_class=a_class(0.5))).held
    idle = a_demand(pool, current=4, agent_class=a_class(0.5), concurrent_sessions=0)
    assert PROMISE.propose(idle).replicas == 0


def test_a_metric_without_a_target_is_left_to_the_promise() -> None:
    left, own = a_pool({"ttft-p95": 0}), a_pool({"ttft-p95": 1})
    promised, silent = a_class(0.5), a_class()
    assert PROMISE.applies(left, promised)
    assert not TOKENS.applies(left, promised)
    assert not PROMISE.applies(own, promised)
    assert TOKENS.applies(own, promised)
    assert not PROMISE.applies(left, silent)
    assert TOKENS.applies(left, silent), "so that it says that the target is missing"
    assert not PROMISE.applies(left, None)


@pytest.mark.parametrize("gain", [0, -1, 1.5, float("nan")])
def test_a_gain_that_overshoots_is_refused(gain: float) -> None:
    with pytest.raises(ValueError, match="expected a number above 0 and at most 1"):
        SLOAutoscaler(gain=gain)


# --- the documents' form ---------------------------------------------------------------------


def test_the_documents_form_gives_the_same_number() -> None:
    pool = replace(
        a_pool({"queue-depth": 10, "gpu-utilization": 50}),
        status=AgentPoolStatus(replicas=4, ready_replicas=4),
    )
    assert QUEUE.calculate_replicas(pool, {"queue_depth": 92}) == 10
    assert TOKENS.calculate_replicas(pool, {"gpu-utilization": 75}) == 6
    assert QUEUE.calculate_replicas(pool, {}) == 4
    assert PROMISE.calculate_replicas(pool, {"ttft-p95": 3}) == 4


def test_every_built_in_has_a_name_a_priority_and_a_summary() -> None:
    for kind in BUILT_IN:
        plugin: ReplicaAutoscaler = kind()
        assert plugin.name
        assert plugin.priority == 100
        assert plugin.metric_names
        assert (kind.__doc__ or "").splitlines()[0].endswith(".")


# --- properties ------------------------------------------------------------------------------

AMOUNTS = st.floats(0, 1e9) | st.sampled_from([0.0, 1e-300, 1e300])
TARGETS = st.floats(1e-6, 1e6)
WORSE = [name for name, one in signals.CATALOGUE.items() if one.higher_is_worse]


def propose(name: str, target: float, value: float, current: int, ready: int) -> Proposal:
    pool = a_pool({name: target})
    plugin: ReplicaAutoscaler = QUEUE if name == "queue-depth" else TOKENS
    return plugin.propose(
        a_demand(pool, {name.replace("-", "_"): value}, current=current, ready=ready)
    )


@given(
    name=st.sampled_from(list(signals.CATALOGUE)),
    target=TARGETS,
    one=AMOUNTS,
    other=AMOUNTS,
    current=st.integers(0, 200),
    ready=st.integers(0, 200),
)
def test_more_demand_never_gives_a_lower_proposal(
    name: str, target: float, one: float, other: float, current: int, ready: int
) -> None:
    high = signals.CATALOGUE[name].max
    mild, severe = sorted((min(one, high), min(other, high)))
    if name not in WORSE:
        mild, severe = severe, mild
    ready = min(ready, current)
    less = propose(name, target, mild, current, ready)
    more = propose(name, target, severe, current, ready)
    assert 0 <= less.replicas <= more.replicas <= REPLICAS_MAX


@given(
    name=st.sampled_from(list(signals.CATALOGUE)),
    quality=st.sampled_from(QUALITIES),
    current=st.integers(0, 200),
)
def test_without_a_fresh_value_nothing_is_taken_away(
    name: str, quality: Quality, current: int
) -> None:
    plugin: ReplicaAutoscaler = QUEUE if name == "queue-depth" else TOKENS
    demand = a_demand(
        a_pool({name: 1}),
        {name.replace("-", "_"): quality},
        current=current,
    )
    found = plugin.propose(demand)
    assert found.held
    assert found.replicas >= current
