"""The metrics provider of agents asks a real Prometheus that scrapes an exporter of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from typing import TypeVar

import pytest

from agent_demands import a_pool
from http_double import Asked, serving
from infra.real_parts import require, wait_for
from infra.real_prometheus import RealPrometheus
from navarch.controlplane.clock import RealClock
from navarch.core.scaling.base import Quality, Reading
from navarch.plugins.calls import Direct
from navarch.plugins.signals import PrometheusMetricsProvider, ProviderChain

NOW = RealClock().now
T = TypeVar("T")
POOL = a_pool()

EXPORTED = """
neuronetes_queue_depth{pool="chat",pod="a"} 3
neuronetes_queue_depth{pool="chat",pod="b"} 4
neuronetes_queue_depth{pool="other",pod="c"} 100
neuronetes_ttft_p95{pool="chat",pod="a"} 250
neuronetes_ttft_p95{pool="chat",pod="b"} 750
neuronetes_concurrent_sessions{pool="chat"} NaN
"""


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPrometheus]:
    """Start a Prometheus for all tests of this file."""
    require(["prometheus"], "prometheus")

    def answer(asked: Asked) -> None:
        asked.answer(EXPORTED)

    with serving(answer) as web:
        folder = tmp_path_factory.mktemp("prometheus")
        server = RealPrometheus(folder, web.url.removeprefix("http://"))
        yield server
        server.stop()


def with_provider(
    url: str, story: Callable[[PrometheusMetricsProvider], Awaitable[T]], **queries: str
) -> T:
    async def whole() -> T:
        provider = PrometheusMetricsProvider(url, units={"ttft-p95": "ms"}, queries=queries)
        try:
            return await story(provider)
        finally:
            await provider.close()

    return asyncio.run(whole())


def ask(url: str, *metrics: str, **queries: str) -> Mapping[str, Reading]:
    return with_provider(url, lambda provider: provider.get_samples(POOL, metrics), **queries)


def test_series_of_replicas_become_one_value_with_the_age_of_the_scrape(
    prometheus: RealPrometheus,
) -> None:
    found = ask(prometheus.url, "queue_depth", "ttft_p95", "concurrent_sessions", "tool_call_rate")
    assert (found["queue-depth"].value, found["ttft-p95"].value) == (7, 0.75)
    assert found["ttft-p95"].unit == "seconds"
    assert found["concurrent-sessions"].quality is Quality.ABSENT
    assert found["tool-call-rate"].quality is Quality.ABSENT
    observed_at = found["queue-depth"].observed_at
    assert observed_at is not None
    assert timedelta() <= NOW() - observed_at < timedelta(seconds=30)


def test_the_age_is_the_samples_and_not_the_questions(prometheus: RealPrometheus) -> None:
    old = 'neuronetes_queue_depth{pool="$pool"} offset 2s'

    def is_there() -> bool:
        return ask(prometheus.url, "queue_depth", queue_depth=old)["queue-depth"].value == 7

    wait_for(is_there, "a scrape that is two seconds old")
    observed_at = ask(prometheus.url, "queue_depth", queue_depth=old)["queue-depth"].observed_at
    assert observed_at is not None
    assert NOW() - observed_at >= timedelta(seconds=2)


def test_an_expression_that_aggregates_is_asked_as_it_is(prometheus: RealPrometheus) -> None:
    mean = 'avg by (pool) (neuronetes_queue_depth{pool="$pool"})'
    assert ask(prometheus.url, "queue_depth", queue_depth=mean)["queue-depth"].value == 3.5


def test_a_mistake_in_an_expression_is_quoted(prometheus: RealPrometheus) -> None:
    found = ask(prometheus.url, "queue_depth", queue_depth="avg(")["queue-depth"]
    assert found.quality is Quality.ERROR
    assert "parse error" in found.detail


def test_a_prometheus_that_stands_still_leaves_the_last_value_with_its_age(
    prometheus: RealPrometheus,
) -> None:
    async def story(provider: PrometheusMetricsProvider) -> tuple[Reading, Reading]:
        chain = ProviderChain(lambda: [provider], Direct(), NOW, deadline=timedelta(seconds=1))
        before = await chain.read(POOL, ["queue-depth"])
        prometheus.freeze()
        try:
            after = await chain.read(POOL, ["queue-depth"])
        finally:
            prometheus.thaw()
        return before["queue-depth"], after["queue-depth"]

    before, after = with_provider(prometheus.url, story)
    assert (before.value, before.quality) == (7, Quality.OK)
    assert (after.value, after.quality) == (7, Quality.STALE)
    assert "s old, held; prometheus: no answer within 1 s" in after.detail
