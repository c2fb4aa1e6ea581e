"""Several sources as one: order, freshness, and what is said when nobody answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from factories import at
from navarch.controlplane.clock import FakeClock
from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    PoolMetrics,
    Quality,
    Reading,
)
from navarch.errors import ConfigError
from navarch.metrics import base
from navarch.metrics.base import FIELDS, UTILIZATION_HISTORY, MetricsSource
from navarch.metrics.merged import MergedMetricsSource


class Told:
    """A source that answers what it was told to, or raises it."""

    def __init__(self, name: str, answer: PoolMetrics | Exception) -> None:
        self.name = name
        self.answer = answer
        self.questions = 0

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        self.questions += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Silent:
    """A source that answers when it is let go, whatever is done to it."""

    name = "silent"

    def __init__(self) -> None:
        self.questions = 0
        self.let_go = asyncio.Event()

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        self.questions += 1
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue
        return PoolMetrics(pending_jobs=1)


def queue(pending: float, *, minutes: float = 0, source: str = "queue") -> PoolMetrics:
    reading = base.fresh(PENDING_JOBS, pending, observed_at=at(minutes=minutes), source=source)
    return base.pool_metrics({PENDING_JOBS: reading}, source=source)


def merged(
    *sources: MetricsSource,
    clock: FakeClock | None = None,
    **more: Any,  # noqa: ANN401 - whatever the source takes
) -> MergedMetricsSource:
    return MergedMetricsSource(sources, now=(clock or FakeClock(at())).now, **more)


def ask(source: MetricsSource) -> PoolMetrics:
    return asyncio.run(source.get_pool_metrics("h100"))


def test_the_first_fresh_reading_wins_field_by_field() -> None:
    jobs = Told("jobs", queue(5))
    gpus = Told("gpus", PoolMetrics(utilization=70, pending_jobs=9))
    metrics = ask(merged(jobs, gpus))
    assert (metrics.pending_jobs, metrics.utilization) == (5, 70)
    assert metrics.readings[PENDING_JOBS].source == "queue"
    assert metrics.readings[UTILIZATION].source == "gpus"


def test_a_declared_order_counts_for_its_field_alone() -> None:
    first = Told("first", PoolMetrics(utilization=10, pending_jobs=1))
    second = Told("second", PoolMetrics(utilization=20, pending_jobs=2))
    metrics = ask(merged(first, second, order={UTILIZATION: ["second", "first"]}))
    assert (metrics.utilization, metrics.pending_jobs) == (20, 1)


def test_a_source_that_no_order_names_is_not_asked() -> None:
    used, unused = Told("used", PoolMetrics()), Told("unused", PoolMetrics())
    ask(merged(used, unused, order={field: ["used"] for field in FIELDS}))
    assert (used.questions, unused.questions) == (1, 0)


def test_a_field_that_nobody_may_answer_is_absent() -> None:
    metrics = ask(merged(Told("a", PoolMetrics(pending_jobs=4)), order={PENDING_JOBS: []}))
    assert metrics.quality(PENDING_JOBS) is Quality.ABSENT


def test_a_source_that_raises_is_passed_over_and_named(caplog: pytest.LogCaptureFixture) -> None:
    broken = Told("broken", ValueError("no such column"))
    metrics = ask(merged(broken, order={PENDING_JOBS: ["broken"]}))
    assert {metrics.quality(field) for field in FIELDS} == {Quality.ERROR}
    assert metrics.readings[PENDING_JOBS].detail == "broken: ValueError: no such column"
    assert "plugin_broke kind=metrics-source plugin=broken" in caplog.text
    assert "ValueError" in caplog.text
    assert ask(merged(broken, Told("other", queue(3)))).pending_jobs == 3


def test_an_answer_of_the_wrong_type_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    wrong: Any = {"pending_jobs": 3}
    metrics = ask(merged(Told("wrong", wrong)))
    assert metrics.quality(PENDING_JOBS) is Quality.ERROR
    assert "gave a dict, expected PoolMetrics" in caplog.text


@pytest.mark.parametrize(
    "dead", [ValueError("away"), base.unanswered("away", "a"), base.pool_metrics({}, source="a")]
)
def test_a_dead_source_leaves_the_last_value_stale_with_its_age(
    dead: PoolMetrics | Exception,
) -> None:
    clock = FakeClock(at())
    source = Told("a", queue(5))
    both = merged(source, clock=clock)

    async def story() -> tuple[PoolMetrics, PoolMetrics]:
        before = await both.get_pool_metrics("h100")
        source.answer = dead
        clock.advance(timedelta(seconds=90))
        return before, await both.get_pool_metrics("h100")

    before, after = asyncio.run(story())
    assert (before.pending_jobs, before.quality(PENDING_JOBS)) == (5, Quality.OK)
    assert (after.pending_jobs, after.quality(PENDING_JOBS)) == (5, Quality.STALE)
    reading = after.readings[PENDING_JOBS]
    assert reading.observed_at == at()
    assert reading.detail.startswith("90 s old; a: ")


def test_pools_do_not_borrow_each_other_s_last_values() -> None:
    source = Told("a", queue(5))
    both = merged(source)

    async def story() -> PoolMetrics:
        await both.get_pool_metrics("h100")
        source.answer = ValueError("away")
        return await both.get_pool_metrics("a100")

    assert asyncio.run(story()).quality(PENDING_JOBS) is Quality.ERROR


def test_a_source_that_never_answered_is_an_error_and_one_without_the_field_absent() -> None:
    metrics = ask(merged(Told("a", base.unanswered("away", "a")), Told("b", queue(1))))
    assert metrics.quality(QUEUE_DEPTH) is Quality.ERROR
    metrics = ask(merged(Told("b", queue(1)), Told("c", queue(1))))
    assert metrics.quality(QUEUE_DEPTH) is Quality.ABSENT


def test_a_reading_that_is_too_old_gives_way_to_a_fresh_one() -> None:
    clock = FakeClock(at(minutes=10))
    old, new = Told("old", queue(5, minutes=7)), Told("new", queue(6, minutes=9))
    assert ask(merged(old, new, clock=clock)).pending_jobs == 6
    patient = merged(old, new, clock=clock, freshness={PENDING_JOBS: timedelta(minutes=4)})
    assert ask(patient).pending_jobs == 5


def test_of_several_old_readings_the_newest_is_served_stale() -> None:
    clock = FakeClock(at(minutes=60))
    metrics = ask(
        merged(Told("older", queue(5, minutes=7)), Told("newer", queue(6, minutes=9)), clock=clock)
    )
    assert (metrics.pending_jobs, metrics.quality(PENDING_JOBS)) == (6, Quality.STALE)
    assert "3060 s old" in metrics.readings[PENDING_JOBS].detail


def test_a_time_in_the_future_is_a_wrong_clock() -> None:
    metrics = ask(merged(Told("a", queue(5, minutes=30))))
    assert metrics.quality(PENDING_JOBS) is Quality.ERROR
    assert "ahead of ours" in metrics.readings[PENDING_JOBS].detail
    assert ask(merged(Told("a", queue(5, minutes=1)))).quality(PENDING_JOBS) is Quality.OK


def test_a_number_that_cannot_be_gives_way() -> None:
    mad = Told("mad", PoolMetrics(utilization=4_000))
    metrics = ask(merged(mad, Told("sane", PoolMetrics(utilization=40))))
    assert metrics.utilization == 40


def test_a_reading_in_another_unit_is_refused() -> None:
    ratio = PoolMetrics(utilization=0.7, readings={UTILIZATION: Reading(0.7, "ratio")})
    metrics = ask(merged(Told("a", ratio)))
    assert metrics.quality(UTILIZATION) is Quality.ERROR
    assert "the unit is ratio, expected percent" in metrics.readings[UTILIZATION].detail


def test_a_history_travels_with_its_interval_and_is_remembered() -> None:
    minute = timedelta(minutes=1)
    past = PoolMetrics(utilization_history=(1.0, 2.0), history_interval=minute)
    source = Told("a", past)
    both = merged(Told("none", PoolMetrics()), source)

    async def story() -> tuple[PoolMetrics, PoolMetrics]:
        before = await both.get_pool_metrics("h100")
        source.answer = base.unanswered("away", "a")
        return before, await both.get_pool_metrics("h100")

    before, after = asyncio.run(story())
    assert before.quality(UTILIZATION_HISTORY) is Quality.OK
    assert (before.utilization_history, before.history_interval) == ((1.0, 2.0), minute)
    assert after.quality(UTILIZATION_HISTORY) is Quality.STALE
    assert (after.utilization_history, after.history_interval) == ((1.0, 2.0), minute)


def test_readings_beyond_the_fields_come_through() -> None:
    extra = PoolMetrics(readings={"gpus": Reading(24, "gpus")})
    assert ask(merged(Told("a", PoolMetrics()), Told("b", extra))).readings["gpus"].value == 24


def test_a_slow_source_is_left_behind_and_asked_again_when_it_is_done() -> None:
    async def story() -> None:
        silent = Silent()
        both = merged(silent, Told("b", queue(3)), deadline=timedelta(milliseconds=500))
        try:
            assert (await both.get_pool_metrics("h100")).pending_jobs == 3
            began = asyncio.get_running_loop().time()
            assert (await both.get_pool_metrics("h100")).pending_jobs == 3
            assert asyncio.get_running_loop().time() - began < 0.4, "nobody waits for it again"
            assert silent.questions == 1
        finally:
            silent.let_go.set()
        for _ in range(3):
            await asyncio.sleep(0)
        assert (await both.get_pool_metrics("h100")).pending_jobs == 1
        assert silent.questions == 2

    asyncio.run(story())


def test_two_questions_at_one_time_are_asked_once() -> None:
    source = Told("a", queue(3))

    async def story() -> list[PoolMetrics]:
        both = merged(source)
        return await asyncio.gather(*(both.get_pool_metrics("h100") for _ in range(2)))

    assert [metrics.pending_jobs for metrics in asyncio.run(story())] == [3, 3]
    assert source.questions == 1


def test_a_caller_who_gives_up_takes_his_question_back() -> None:
    cancelled = asyncio.Event()

    class Slow:
        name = "slow"

        async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            raise AssertionError

    async def story() -> None:
        asking = asyncio.create_task(merged(Slow()).get_pool_metrics("h100"))
        await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])
        await asyncio.wait_for(cancelled.wait(), 5)

    asyncio.run(story())


@pytest.mark.parametrize(
    "make,words",
    [
        (merged, "at least one"),
        (lambda: merged(Told("a", queue(1)), Told("a", queue(1))), "a name of its own"),
        (lambda: merged(Told("a", queue(1)), order={"load": ["a"]}), "no field 'load'"),
        (lambda: merged(Told("a", queue(1)), order={PENDING_JOBS: ["b"]}), "no source 'b'"),
    ],
)
def test_what_cannot_be_merged_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()
