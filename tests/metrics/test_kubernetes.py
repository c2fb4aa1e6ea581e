"""The Kubernetes source against a scripted API: pages, watches, 410, and everything that breaks.

A real API server is asked in ``tests/integration/metrics``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from http_double import Asked, Web, serving
from kube_double import Kube
from navarch.controlplane.clock import RealClock
from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    PoolMetrics,
    Quality,
)
from navarch.errors import ConfigError
from navarch.metrics import pods
from navarch.metrics.kubernetes import KubernetesMetricsSource
from navarch.peers.endpoint import Credentials

pytestmark = pytest.mark.usefixtures("quick_pauses")

Story = Callable[[KubernetesMetricsSource], Awaitable[None]]


@pytest.fixture
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again after 50 ms at first: what counts is that there is a pause."""
    monkeypatch.setattr(pods, "PAUSE_FIRST", timedelta(milliseconds=50))


class Clock:
    """The real time, and as much more as it was told to skip."""

    def __init__(self) -> None:
        self._real = RealClock()
        self.skipped = timedelta()

    def now(self) -> datetime:
        return self._real.now() + self.skipped


def tell(
    kube: Kube,
    story: Story,
    clock: Clock | None = None,
    **more: Any,  # noqa: ANN401 - whatever the source takes
) -> Web:
    """Run a story with a source that asks `kube`."""

    async def run(url: str) -> None:
        settings = {"watch_period": timedelta(seconds=1), **more}
        source = KubernetesMetricsSource(url, now=(clock or Clock()).now, **settings)
        try:
            await story(source)
        finally:
            await source.close()

    with serving(kube.answer) as web:
        asyncio.run(run(web.url))
        return web


async def until(
    source: KubernetesMetricsSource, holds: Callable[[PoolMetrics], bool], pool: str = "h100"
) -> PoolMetrics:
    """Ask until the answer is as wanted, and return it."""
    async with asyncio.timeout(20):
        while True:
            metrics = await source.get_pool_metrics(pool)
            if holds(metrics):
                return metrics
            await asyncio.sleep(0.01)


async def watches(kube: Kube, number: int) -> None:
    """Wait until that many watches have been opened."""
    async with asyncio.timeout(20):
        while len(kube.watched_from) < number:  # noqa: ASYNC110 - set in another thread
            await asyncio.sleep(0.01)


def has(pending: int, depth: int) -> Callable[[PoolMetrics], bool]:
    def holds(metrics: PoolMetrics) -> bool:
        return (metrics.pending_jobs, metrics.queue_depth) == (pending, depth)

    return holds


def refused(code: int) -> Callable[[Asked], None]:
    def fault(asked: Asked) -> None:
        asked.answer(f'{{"kind":"Status","code":{code},"message":"it says {code}"}}', code)

    return fault


def say_nothing(asked: Asked) -> None:
    asked.closing.wait(30)


def watched(*content: str) -> Callable[[Asked], None]:
    """Return a fault that gives this content to a watch and ends it."""

    def fault(asked: Asked) -> None:
        asked.start()
        for part in content:
            asked.go_on(part)

    return fault


def test_pods_are_counted_by_pool_and_phase_over_all_pages() -> None:
    kube = Kube()
    for n in range(3):
        kube.put(f"waits-{n}", "Pending")
    for n in range(4):
        kube.put(f"runs-{n}", "Running")
    kube.put("ended", "Succeeded")
    kube.put("failed", "Failed")
    kube.put("lost", "Unknown")
    kube.put("dying", "Running", deleting=True)
    kube.put("gated", "Pending", schedulingGates=[{"name": "quota"}])
    kube.put("other", "Pending", pool="a100")

    async def story(source: KubernetesMetricsSource) -> None:
        metrics = await source.get_pool_metrics("h100")
        assert (metrics.pending_jobs, metrics.queue_depth) == (3, 7)
        assert metrics.quality(PENDING_JOBS) is Quality.OK
        assert metrics.quality(UTILIZATION) is Quality.ABSENT
        assert (await source.get_pool_metrics("a100")).pending_jobs == 1
        nobody = await source.get_pool_metrics("b200")
        assert (nobody.queue_depth, nobody.quality(QUEUE_DEPTH)) == (0, Quality.OK)

    web = tell(kube, story)
    assert kube.lists == 7
    assert {asked.path for asked in web.asked} == {"/api/v1/pods"}
    assert {asked.query["labelSelector"] for asked in web.asked} == {"navarch.dev/pool"}


def test_one_namespace_is_asked_for_at_its_own_path() -> None:
    async def story(source: KubernetesMetricsSource) -> None:
        await source.get_pool_metrics("h100")

    web = tell(Kube(), story, namespace="ml")
    assert web.asked[0].path == "/api/v1/namespaces/ml/pods"


def test_every_kind_of_change_arrives_by_watch_and_nothing_is_listed_again() -> None:
    kube = Kube()
    kube.put("a", "Pending")

    async def story(source: KubernetesMetricsSource) -> None:
        await until(source, has(1, 1))
        kube.put("b", "Pending")
        await until(source, has(2, 2))
        kube.put("a", "Running")
        await until(source, has(1, 2))
        kube.put("a", "Running", pool="a100")
        await until(source, has(1, 1))
        kube.put("b", "Pending", deleting=True)
        await until(source, has(0, 0))
        kube.delete("b")
        kube.put("c", "Running")
        await until(source, has(0, 1))
        assert (await source.get_pool_metrics("a100")).queue_depth == 1

    tell(kube, story)
    assert kube.lists == 1


def test_a_watch_that_ended_in_time_goes_on_where_it_was_and_proves_the_connection() -> None:
    kube = Kube()
    kube.put("a", "Pending")

    async def story(source: KubernetesMetricsSource) -> None:
        first = await until(source, has(1, 1))
        assert first.observed_at is not None
        later = first.observed_at + timedelta(seconds=0.9)
        await until(source, lambda metrics: (metrics.observed_at or later) > later)
        kube.put("b", "Pending")
        await until(source, has(2, 2))

    tell(kube, story)
    assert kube.lists == 1
    assert kube.watched_from[:2] == ["101", "101"]


def test_a_bookmark_moves_the_version_on() -> None:
    kube = Kube()
    kube.put("a", "Pending")

    async def story(source: KubernetesMetricsSource) -> None:
        await until(source, has(1, 1))
        await watches(kube, 1)
        kube.bookmark()
        kube.hang_up()
        await watches(kube, 2)

    tell(kube, story)
    assert kube.watched_from[:2] == ["101", "1101"]
    assert kube.lists == 1


@pytest.mark.parametrize(
    "fault",
    [
        refused(410),
        watched('{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}\n'),
    ],
)
def test_a_version_that_is_gone_is_listed_anew_at_once(fault: Callable[[Asked], None]) -> None:
    kube = Kube()
    kube.put("a", "Pending")
    kube.faults.extend([None, fault])

    async def story(source: KubernetesMetricsSource) -> None:
        await until(source, has(1, 1))
        await watches(kube, 2)
        kube.delete("a")
        metrics = await until(source, has(0, 0))
        assert metrics.quality(PENDING_JOBS) is Quality.OK

    tell(kube, story)
    assert kube.lists == 2


def test_what_was_deleted_while_the_version_was_forgotten_is_not_counted() -> None:
    kube = Kube()
    kube.put("a", "Pending")
    kube.put("b", "Pending")

    async def story(source: KubernetesMetricsSource) -> None:
        await until(source, has(2, 2))
        kube.faults.append(refused(500))
        kube.forget()
        kube._pods.pop("a")  # noqa: SLF001 - a change that no watch can tell any more
        await until(source, has(1, 1))

    tell(kube, story)
    assert kube.lists == 2


def test_a_list_whose_pages_expired_begins_again() -> None:
    kube = Kube()
    for name in "abc":
        kube.put(name, "Pending")
    kube.faults.extend([None, refused(410)])

    async def story(source: KubernetesMetricsSource) -> None:
        assert (await source.get_pool_metrics("h100")).pending_jobs == 3

    tell(kube, story)
    assert kube.lists == 4


@pytest.mark.parametrize(
    "fault",
    [
        watched('{"type":"ADDED","object":{"metadata":\n'),
        watched('{"type":"ADDED"'),
        watched('{"type":"MELTED","object":{}}\n'),
        watched('{"type":"ERROR","object":{"code":500,"message":"etcd is away"}}\n'),
        watched(),
        refused(500),
    ],
)
def test_a_watch_that_breaks_goes_on_without_a_new_list(fault: Callable[[Asked], None]) -> None:
    kube = Kube()
    kube.put("a", "Pending")
    kube.faults.extend([None, fault])

    async def story(source: KubernetesMetricsSource) -> None:
        await until(source, has(1, 1))
        kube.put("b", "Pending")
        metrics = await until(source, has(2, 2))
        assert metrics.quality(PENDING_JOBS) is Quality.OK

    tell(kube, story)
    assert kube.lists == 1


def test_a_server_that_ends_every_watch_at_once_is_not_asked_all_the_time() -> None:
    kube = Kube()
    kube.put("a", "Pending")
    kube.faults.extend([None, *[watched()] * 100])

    async def story(source: KubernetesMetricsSource) -> None:
        assert (await source.get_pool_metrics("h100")).pending_jobs == 1
        await watches(kube, 1)
        await asyncio.sleep(0.3)

    tell(kube, story)
    assert len(kube.watched_from) in {2, 3}, "at 0, 50 and 150 ms, and not all the time"


@pytest.mark.parametrize("code", [401, 403, 500])
def test_a_list_that_is_refused_is_an_error_and_never_zero(code: int) -> None:
    kube = Kube()
    kube.faults.extend([refused(code)] * 5)

    async def story(source: KubernetesMetricsSource) -> None:
        metrics = await source.get_pool_metrics("h100")
        assert metrics.quality(QUEUE_DEPTH) is Quality.ERROR
        assert f"HTTP {code}" in metrics.readings[QUEUE_DEPTH].detail
        assert f"it says {code}" in metrics.readings[QUEUE_DEPTH].detail
        await asyncio.sleep(0.3)

    tell(kube, story)
    assert kube.lists in {2, 3}, "at 0, 50 and 150 ms, and not all the time"


def test_a_list_that_is_no_list_is_an_error() -> None:
    kube = Kube()
    kube.faults.append(lambda asked: asked.answer('{"items": [], "meta'))

    async def story(source: KubernetesMetricsSource) -> None:
        metrics = await source.get_pool_metrics("h100")
        assert metrics.quality(QUEUE_DEPTH) is Quality.ERROR
        assert "no answer of Kubernetes" in metrics.readings[QUEUE_DEPTH].detail

    tell(kube, story)


def test_a_slow_list_is_an_error_within_the_deadline() -> None:
    kube = Kube()
    kube.faults.append(say_nothing)

    async def story(source: KubernetesMetricsSource) -> None:
        metrics = await source.get_pool_metrics("h100")
        assert metrics.quality(QUEUE_DEPTH) is Quality.ERROR
        assert "0.2 s" in metrics.readings[QUEUE_DEPTH].detail

    tell(kube, story, deadline=timedelta(milliseconds=200))


def test_a_server_that_went_away_leaves_a_stale_count_until_it_is_back() -> None:
    kube = Kube()
    kube.put("a", "Pending")
    clock = Clock()

    async def story(source: KubernetesMetricsSource) -> None:
        await until(source, has(1, 1))
        kube.faults.extend([refused(503)] * 3)
        kube.forget()
        async with asyncio.timeout(20):
            while len(kube.faults) == 3:  # noqa: ASYNC110 - set in another thread
                await asyncio.sleep(0.01)
        clock.skipped = timedelta(minutes=3)
        stale = await source.get_pool_metrics("h100")
        assert (stale.pending_jobs, stale.quality(PENDING_JOBS)) == (1, Quality.STALE)
        assert "last heard 18" in stale.readings[PENDING_JOBS].detail
        kube.faults.clear()
        fresh = await until(source, lambda metrics: metrics.quality(PENDING_JOBS) is Quality.OK)
        assert fresh.pending_jobs == 1

    tell(kube, story, clock)


def test_a_watch_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "GRACE", timedelta(milliseconds=100))
    kube = Kube()
    kube.put("a", "Pending")

    def fall_silent(asked: Asked) -> None:
        asked.start()
        asked.closing.wait(30)

    kube.faults.extend([None, fall_silent])

    async def story(source: KubernetesMetricsSource) -> None:
        await until(source, has(1, 1))
        kube.put("b", "Pending")
        await until(source, has(2, 2))

    tell(kube, story)
    assert kube.lists == 1


def test_a_token_that_rotates_is_read_again(tmp_path: Path) -> None:
    kube = Kube()
    kube.put("a", "Pending")
    token = tmp_path / "token"
    token.write_text("old")

    def answer(asked: Asked) -> None:
        if asked.headers["authorization"] == "Bearer new":
            kube.answer(asked)
        else:
            refused(401)(asked)

    async def run(url: str) -> None:
        credentials = Credentials(token_file=str(token))
        source = KubernetesMetricsSource(url, now=Clock().now, credentials=credentials)
        assert (await source.get_pool_metrics("h100")).quality(PENDING_JOBS) is Quality.ERROR
        token.write_text("new")
        await until(source, has(1, 1))
        await source.close()

    with serving(answer) as web:
        asyncio.run(run(web.url))


def test_inside_a_cluster_the_service_account_is_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this is no pod"):
        KubernetesMetricsSource.in_cluster(now=Clock().now, environ={})
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(ConfigError, match=r"ca\.crt"):
        KubernetesMetricsSource.in_cluster(
            now=Clock().now, environ=environ, service_account=str(tmp_path)
        )


def test_a_period_too_short_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected 1 s or more"):
        KubernetesMetricsSource("http://x", now=Clock().now, watch_period=timedelta())
