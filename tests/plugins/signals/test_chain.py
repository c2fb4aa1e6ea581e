"""The chain of metrics providers: order, freshness, failover, and what is held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import pytest

from agent_demands import a_pool
from factories import at
from navarch.controlplane.clock import stopwatch
from navarch.core.model.resources import AgentPool
from navarch.core.scaling.base import Quality, Reading
from navarch.core.serving.scaling import signals
from navarch.plugins import traces
from navarch.plugins.calls import About, Direct, Failed
from navarch.plugins.protocols import PluginKind
from navarch.plugins.signals import ProviderChain, StaticMetricsProvider
from navarch.plugins.signals.chain import FAILURES_MAX, POOLS_MAX, Provider
from navarch.plugins.terms import Terms, TermsOf
from navarch.plugins.traces import Traced

T = TypeVar("T")
POOL = a_pool()
SOON = timedelta(milliseconds=20)


class Scripted:
    """A provider in the rich form that says what a test wants."""

    def __init__(self, name: str, value: object = 5.0, observed_at: datetime | None = None) -> None:
        self.name = name
        self.value = value
        self.observed_at = observed_at
        self.unit = "requests"
        self.asked: list[Sequence[str]] = []

    async def get_samples(self, pool: AgentPool, metrics: Sequence[str]) -> Mapping[str, Reading]:
        self.asked.append(metrics)
        if isinstance(self.value, Exception):
            raise self.value
        if self.value == "hangs":
            await asyncio.Event().wait()
        if not isinstance(self.value, float):
            return cast("Mapping[str, Reading]", self.value)
        return {name: Reading(self.value, self.unit, self.observed_at) for name in metrics}


class Documented:
    """A provider in the documents' form."""

    name = "documented"

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = values

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        value = self.values[metric_type]
        if isinstance(value, Exception):
            raise value
        return cast("float", value)

    def list_metrics(self) -> list[str]:
        return [*self.values, "tokens_per_second"]


class Clock:
    """A present that a test sets."""

    def __init__(self) -> None:
        self.now = at()


def a_chain(clock: Clock, *providers: object) -> ProviderChain:
    there = cast("Sequence[Provider]", providers)
    return ProviderChain(lambda: there, Direct(), lambda: clock.now, deadline=SOON)


def read(*providers: object, metric: str = "queue-depth") -> Reading:
    return asyncio.run(a_chain(Clock(), *providers).read(POOL, [metric]))[signals.canonical(metric)]


def test_the_first_fresh_value_in_the_order_wins_and_the_others_are_not_asked() -> None:
    first, second = Scripted("first", 5.0, at()), Scripted("second", 9.0, at())
    assert read(first, second) == Reading(5, "requests", at(), source="first")
    assert second.asked == []


def test_only_what_is_still_missing_is_asked_of_the_next() -> None:
    static, second = StaticMetricsProvider(values={"queue_depth": 5}), Scripted("second", 9.0, at())
    chain = a_chain(Clock(), static, second)
    found = asyncio.run(chain.read(POOL, ["tokensInQueue", "queueDepth"]))
    assert second.asked == [["tokens-in-queue"]]
    assert found["queue-depth"].value == 5
    assert list(found) == ["tokens-in-queue", "queue-depth"]


@pytest.mark.parametrize(
    "value",
    [RuntimeError("no"), "hangs", 7, {"queue-depth": 7}, {}, -1.0, float("nan"), float("inf")],
    ids=str,
)
def test_the_next_is_asked_where_one_fails(value: object) -> None:
    assert read(Scripted("first", value, at()), Scripted("second", 9.0, at())).value == 9


def test_a_value_that_is_too_old_or_from_the_future_is_passed_over() -> None:
    second = Scripted("second", 9.0, at())
    assert read(Scripted("first", 5.0, at(seconds=-61)), second).value == 9
    assert read(Scripted("first", 5.0, at(seconds=61)), second).value == 9
    assert read(Scripted("first", 5.0, at(seconds=-60)), second).value == 5


def test_the_last_good_value_is_held_with_its_age_and_what_everybody_said() -> None:
    clock = Clock()
    first, second = Scripted("first", 5.0, at()), Scripted("second", {})
    chain = a_chain(clock, first, second)

    async def story() -> Reading:
        await chain.read(POOL, ["queue-depth"])
        clock.now = at(seconds=42)
        first.value = "hangs"
        return (await chain.read(POOL, ["queue-depth"]))["queue-depth"]

    found = asyncio.run(story())
    assert (found.value, found.quality, found.observed_at) == (5, Quality.STALE, at())
    said = "first: no answer within 0.02 s; second: does not have it"
    assert found.detail == f"42 s old, held; {said}"


def test_without_a_past_a_failure_is_an_error_and_nothing_is_absent() -> None:
    failed = read(Scripted("first", RuntimeError("no")), Scripted("second", {}))
    assert failed.quality is Quality.ERROR
    assert failed.detail == "first: RuntimeError: no; second: does not have it"
    assert read(Scripted("second", {})).quality is Quality.ABSENT
    assert read().detail == "no provider is asked"


def test_an_old_value_of_a_provider_is_better_than_none() -> None:
    found = read(Scripted("first", 5.0, at(seconds=-90)))
    assert (found.value, found.quality) == (5, Quality.STALE)
    assert found.detail.startswith("90 s old, held; first: 90 s old, at most 60 s is fresh")


def test_a_provider_that_fails_again_and_again_is_left_out_for_a_while() -> None:
    clock = Clock()
    first = Scripted("first", RuntimeError("no"))
    chain = a_chain(clock, first, Scripted("second", 9.0))

    async def look() -> Reading:
        return (await chain.read(POOL, ["queue-depth"]))["queue-depth"]

    async def story() -> None:
        for _ in range(FAILURES_MAX + 2):
            assert (await look()).value == 9
        assert len(first.asked) == FAILURES_MAX
        clock.now = at(seconds=10)
        first.value = 5.0
        assert (await look()).value == 5

    asyncio.run(story())


def test_units_are_converted_and_those_that_disagree_are_errors() -> None:
    slow = Scripted("first", 250.0, at())
    slow.unit = "ms"
    assert read(slow, metric="ttft_p95") == Reading(0.25, "seconds", at(), source="first")
    assert read(slow).detail == "first: the unit is ms, expected requests"


def test_the_documents_form_is_asked_under_its_own_names() -> None:
    plugin = Documented({"queue_depth": 7, "ttft_p95": LookupError("no request yet")})
    assert read(plugin) == Reading(7, "requests", at(), source="documented")
    assert read(plugin, metric="ttft-p95").detail == "documented: has none: no request yet"
    assert read(plugin, metric="ttft-p95").quality is Quality.ABSENT
    assert read(plugin, metric="tool-call-rate").detail == "documented: does not have it"


@pytest.mark.parametrize("value", [True, "5", None, ValueError("broken")])
def test_a_wrong_answer_in_the_documents_form_is_an_error(value: object) -> None:
    found = read(Documented({"queue_depth": value}))
    assert found.quality is Quality.ERROR
    assert found.detail.startswith(("documented: TypeError: get_metric gave", "documented: Value"))


def test_one_signal_that_fails_in_the_documents_form_leaves_the_others_alone() -> None:
    plugin = Documented({"queue_depth": ValueError("broken"), "tool_call_rate": 3})
    chain = a_chain(Clock(), plugin)
    found = asyncio.run(chain.read(POOL, ["queue-depth", "tool-call-rate"]))
    assert found["tool-call-rate"].value == 3
    assert found["queue-depth"].detail == "documented: ValueError: broken"


def test_a_signal_that_is_not_there_is_no_failure_however_often_it_is_asked_for() -> None:
    clock = Clock()
    traced = Traced(lambda: clock.now, stopwatch)
    plugin = Documented({"ttft_p95": KeyError("ttft_p95"), "queue_depth": 7})
    chain = ProviderChain(lambda: [plugin], traced, lambda: clock.now)

    async def story() -> list[Reading]:
        wanted = ["ttft-p95"] * (traces.FAILURES_MAX + FAILURES_MAX)
        return [(await chain.read(POOL, [name]))[name] for name in wanted]

    assert {each.quality for each in asyncio.run(story())} == {Quality.ABSENT}
    did = traced.summary(PluginKind.METRICS_PROVIDER, "documented")
    assert (did.failures, did.skipped, did.isolated) == (0, 0, "")
    assert {each.outcome for each in traced.traces()} == {"ok"}


def terms_of_first(**said: Any) -> TermsOf:  # noqa: ANN401 - fields of Terms
    return lambda name: Terms(**said) if name == "first" else Terms()


@pytest.mark.parametrize("value", [RuntimeError("no"), -1.0])
def test_nobody_is_asked_after_one_that_holds_has_failed(value: object) -> None:
    clock = Clock()
    first, second = Scripted("first", 5.0, at()), Scripted("second", 9.0, at())
    there: Sequence[Provider] = [first, second]
    chain = ProviderChain(
        lambda: there, Direct(), lambda: clock.now, terms=terms_of_first(on_error="hold")
    )

    async def story() -> list[Reading]:
        seen = [(await chain.read(POOL, ["queue-depth"]))["queue-depth"]]
        clock.now, first.value = at(seconds=42), value
        seen.append((await chain.read(POOL, ["queue-depth"]))["queue-depth"])
        first.value = {}
        return [*seen, (await chain.read(POOL, ["queue-depth"]))["queue-depth"]]

    before, failed, absent = asyncio.run(story())
    assert (before.value, before.quality) == (5, Quality.OK)
    assert (failed.value, failed.quality) == (5, Quality.STALE)
    assert (absent.value, absent.source) == (9, "second")  # it does not have it: that is no failure
    assert len(second.asked) == 1


def test_each_provider_is_asked_within_its_own_deadline() -> None:
    deadlines: list[timedelta] = []

    class Timing(Direct):
        async def call_async(
            self, about: About, function: Callable[[], Awaitable[T]], deadline: timedelta
        ) -> T | Failed:
            deadlines.append(deadline)
            return await super().call_async(about, function, deadline)

    providers: Sequence[Provider] = [Scripted("first", "hangs"), Scripted("second", 9.0)]
    chain = ProviderChain(lambda: providers, Timing(), at, terms=terms_of_first(deadline=SOON))
    found = asyncio.run(chain.read(POOL, ["queue-depth"]))["queue-depth"]
    assert (found.value, found.source) == (9, "second")
    assert deadlines == [SOON, timedelta(seconds=1)]


def test_pools_that_are_read_no_more_are_forgotten_first() -> None:
    chain = a_chain(Clock(), Scripted("first", 5.0, at()))

    async def story() -> int:
        for number in range(POOLS_MAX + 10):
            name = AgentPool(metadata=type(POOL.metadata)(f"p{number}"))
            await chain.read(name, ["queue-depth"])
        return len(chain._remembered)  # noqa: SLF001 - what is bounded is not public

    assert asyncio.run(story()) == POOLS_MAX
