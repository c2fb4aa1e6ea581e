"""The Prometheus source asks a real Prometheus that scrapes an exporter of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from http_double import Asked, Web, serving
from infra.real_parts import require, wait_for
from infra.real_prometheus import RealPrometheus
from navarch.controlplane.clock import RealClock
from navarch.core.scaling.base import PENDING_JOBS, QUEUE_DEPTH, UTILIZATION, PoolMetrics, Quality
from navarch.metrics.base import FIELDS, UTILIZATION_HISTORY
from navarch.metrics.merged import MergedMetricsSource
from navarch.metrics.prometheus import History, PrometheusMetricsSource

NOW = RealClock().now
SECOND = timedelta(seconds=1)

EXPORTED = """
gpu_utilization{pool="h100",gpu="0"} 80
gpu_utilization{pool="h100",gpu="1"} 60
queue_jobs{pool="h100",state="pending"} 3
queue_jobs{pool="h100",state="running"} 4
broken{pool="h100"} NaN
"""

QUERIES = {
    UTILIZATION: 'avg(gpu_utilization{pool="$pool"})',
    PENDING_JOBS: 'queue_jobs{pool="$pool",state="pending"}',
    QUEUE_DEPTH: 'sum(queue_jobs{pool="$pool"})',
}


class Exporter:
    """What is scraped, and whether it answers."""

    def __init__(self) -> None:
        self.is_up = True

    def answer(self, asked: Asked) -> None:
        asked.answer(EXPORTED if self.is_up else "", 200 if self.is_up else 500)


@pytest.fixture(scope="module")
def exporter() -> Exporter:
    return Exporter()


@pytest.fixture(scope="module")
def prometheus(
    exporter: Exporter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealPrometheus]:
    """Start a Prometheus for all tests of this file."""
    require(["prometheus"], "prometheus")
    with serving(exporter.answer) as web:
        server = RealPrometheus(tmp_path_factory.mktemp("prometheus"), target(web))
        yield server
        server.stop()


def target(web: Web) -> str:
    return web.url.removeprefix("http://")


def ask(
    prometheus: RealPrometheus, queries: dict[str, str], pool: str = "h100", **times: str
) -> PoolMetrics:
    async def story() -> PoolMetrics:
        history = History(window=timedelta(seconds=30), interval=timedelta(seconds=1))
        source = PrometheusMetricsSource(
            prometheus.url, queries, now=NOW, times=times, history=history
        )
        try:
            return await source.get_pool_metrics(pool)
        finally:
            await source.close()

    return asyncio.run(story())


def test_each_field_is_what_its_expression_gives(prometheus: RealPrometheus) -> None:
    began = NOW()
    metrics = ask(prometheus, QUERIES)
    assert (metrics.utilization, metrics.pending_jobs, metrics.queue_depth) == (70, 3, 7)
    assert {metrics.quality(field) for field in (UTILIZATION, PENDING_JOBS, QUEUE_DEPTH)} == {
        Quality.OK
    }
    observed_at = metrics.readings[UTILIZATION].observed_at
    assert observed_at is not None
    assert abs(observed_at - began) < timedelta(seconds=30)


def test_a_history_grows_value_by_value(prometheus: RealPrometheus) -> None:
    def has_history() -> bool:
        return len(ask(prometheus, QUERIES).utilization_history) >= 3

    wait_for(has_history, "three values of history")
    metrics = ask(prometheus, QUERIES)
    assert set(metrics.utilization_history) == {70}
    assert metrics.quality(UTILIZATION_HISTORY) is Quality.OK


def test_a_pool_without_series_is_absent(prometheus: RealPrometheus) -> None:
    metrics = ask(prometheus, QUERIES, pool="b200")
    assert {metrics.quality(field) for field in FIELDS} == {Quality.ABSENT}


@pytest.mark.parametrize(
    "query,quality,words",
    [
        ('broken{pool="$pool"}', Quality.ABSENT, "nan"),
        ("vector(1) / 0", Quality.ABSENT, "inf"),
        ('gpu_utilization{pool="$pool"}', Quality.ERROR, "gives 2 series (gpu_utilization{"),
        ("avg(", Quality.ERROR, "parse error"),
        ('queue_jobs{pool="$pool",state="pending"}[5m]', Quality.ERROR, "gives a matrix"),
        ('"text"', Quality.ERROR, "gives a string"),
    ],
)
def test_what_is_no_number_is_not_taken_for_one(
    prometheus: RealPrometheus, query: str, quality: Quality, words: str
) -> None:
    reading = ask(prometheus, {QUEUE_DEPTH: query}).readings[QUEUE_DEPTH]
    assert reading.quality is quality
    assert words in reading.detail


def test_a_prometheus_that_was_stopped_is_an_error_and_the_merged_values_are_stale(
    prometheus: RealPrometheus,
) -> None:
    async def story() -> tuple[PoolMetrics, PoolMetrics]:
        source = PrometheusMetricsSource(prometheus.url, QUERIES, now=NOW, deadline=SECOND)
        merged = MergedMetricsSource([source], now=NOW)
        await merged.get_pool_metrics("h100")
        prometheus.freeze()
        try:
            return await source.get_pool_metrics("h100"), await merged.get_pool_metrics("h100")
        finally:
            prometheus.thaw()
            await source.close()

    alone, merged = asyncio.run(story())
    assert {alone.quality(field) for field in FIELDS} == {Quality.ERROR}
    assert "no answer within 1 s" in alone.readings[UTILIZATION].detail
    assert (merged.utilization, merged.quality(UTILIZATION)) == (70, Quality.STALE)


def test_a_scalar_is_a_number(prometheus: RealPrometheus) -> None:
    assert ask(prometheus, {QUEUE_DEPTH: "2 + 3"}).queue_depth == 5


def test_the_true_time_of_a_sample_can_be_asked_for(prometheus: RealPrometheus) -> None:
    kept = {QUEUE_DEPTH: 'sum(last_over_time(queue_jobs{pool="$pool"}[5m] offset 1s))'}
    stamp = 'min(timestamp(queue_jobs{pool="$pool"} offset 1s))'
    wait_for(
        lambda: ask(prometheus, kept, **{QUEUE_DEPTH: stamp}).quality(QUEUE_DEPTH) is Quality.OK,
        "a sample that is a second old",
    )
    observed_at = ask(prometheus, kept, **{QUEUE_DEPTH: stamp}).readings[QUEUE_DEPTH].observed_at
    assert observed_at is not None
    assert NOW() - observed_at >= timedelta(seconds=1)


def test_an_exporter_that_dies_makes_its_values_absent_and_the_merged_ones_stale(
    prometheus: RealPrometheus, exporter: Exporter
) -> None:
    async def story() -> PoolMetrics:
        history = History(window=timedelta())
        source = PrometheusMetricsSource(prometheus.url, QUERIES, now=NOW, history=history)
        merged = MergedMetricsSource([source], now=NOW)
        assert (await merged.get_pool_metrics("h100")).quality(UTILIZATION) is Quality.OK
        exporter.is_up = False
        alone = await source.get_pool_metrics("h100")
        async with asyncio.timeout(30):
            while alone.quality(UTILIZATION) is Quality.OK:
                await asyncio.sleep(0.1)
                alone = await source.get_pool_metrics("h100")
        assert alone.quality(UTILIZATION) is Quality.ABSENT
        metrics = await merged.get_pool_metrics("h100")
        await source.close()
        return metrics

    try:
        metrics = asyncio.run(story())
    finally:
        exporter.is_up = True
    assert (metrics.utilization, metrics.quality(UTILIZATION)) == (70, Quality.STALE)
    wait_for(lambda: prometheus.is_up() == 1, "the exporter is scraped again")
