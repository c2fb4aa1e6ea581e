"""The Kubernetes source asks a real kube-apiserver, when there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.real_kubernetes import STRANGER, RealKubernetes, require_kubernetes
from navarch.controlplane.clock import RealClock
from navarch.core.scaling.base import PENDING_JOBS, PoolMetrics, Quality
from navarch.metrics import pods
from navarch.metrics.base import FIELDS
from navarch.metrics.kubernetes import KubernetesMetricsSource
from navarch.peers.endpoint import Credentials

NOW = RealClock().now


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKubernetes]:
    """Start an API server for all tests of this file."""
    binary = require_kubernetes()
    server = RealKubernetes(tmp_path_factory.mktemp("kubernetes"), binary)
    yield server
    server.stop()


def source(
    kubernetes: RealKubernetes,
    **more: Any,  # noqa: ANN401 - whatever the source takes
) -> KubernetesMetricsSource:
    settings = {
        "credentials": Credentials(token_file=kubernetes.token_file(), ca_file=kubernetes.ca_file),
        "watch_period": timedelta(seconds=1),
        **more,
    }
    return KubernetesMetricsSource(kubernetes.url, now=NOW, **settings)


async def until(
    asked: KubernetesMetricsSource, pool: str, holds: Callable[[PoolMetrics], bool]
) -> PoolMetrics:
    async with asyncio.timeout(60):
        while True:
            metrics = await asked.get_pool_metrics(pool)
            if holds(metrics):
                return metrics
            await asyncio.sleep(0.02)


def has(pending: int, depth: int) -> Callable[[PoolMetrics], bool]:
    def holds(metrics: PoolMetrics) -> bool:
        return (metrics.pending_jobs, metrics.queue_depth) == (pending, depth)

    return holds


def test_pods_are_listed_page_by_page_and_then_watched(
    kubernetes: RealKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods, "PAGE", 3)
    for n in range(8):
        kubernetes.put(f"listed-{n}", "Running" if n % 2 else "Pending", pool="listed")

    async def story() -> None:
        asked = source(kubernetes)
        metrics = await asked.get_pool_metrics("listed")
        assert (metrics.pending_jobs, metrics.queue_depth) == (4, 8)
        assert metrics.quality(PENDING_JOBS) is Quality.OK
        kubernetes.set_phase("listed-0", "Running")
        await until(asked, "listed", has(3, 8))
        kubernetes.set_phase("listed-1", "Succeeded")
        await until(asked, "listed", has(3, 7))
        kubernetes.delete("listed-2")
        await until(asked, "listed", has(2, 6))
        kubernetes.put("late", "Pending", pool="listed")
        await until(asked, "listed", has(3, 7))
        await asyncio.sleep(2.5)
        kubernetes.delete("late")
        await until(asked, "listed", has(2, 6))
        await asked.close()

    asyncio.run(story())


def test_inside_a_cluster_the_service_account_opens_the_door(
    kubernetes: RealKubernetes, tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_bytes(Path(kubernetes.ca_file).read_bytes())
    (tmp_path / "token").write_bytes(Path(kubernetes.token_file()).read_bytes())
    host, port = kubernetes.url.removeprefix("https://").split(":")
    kubernetes.put("inside", "Pending", pool="inside")

    async def story() -> PoolMetrics:
        asked = KubernetesMetricsSource.in_cluster(
            now=NOW,
            namespace="default",
            environ={"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port},
            service_account=str(tmp_path),
        )
        metrics = await asked.get_pool_metrics("inside")
        await asked.close()
        return metrics

    assert asyncio.run(story()).pending_jobs == 1


def test_a_server_that_restarts_is_found_again(kubernetes: RealKubernetes) -> None:
    kubernetes.put("stays", "Running", pool="restarted")
    kubernetes.put("goes", "Running", pool="restarted")

    async def story() -> None:
        asked = source(kubernetes)
        await until(asked, "restarted", has(0, 2))
        kubernetes.kill()
        await asyncio.sleep(1)
        away = await asked.get_pool_metrics("restarted")
        assert away.queue_depth == 2
        await asyncio.to_thread(kubernetes.start)
        kubernetes.delete("goes")
        metrics = await until(asked, "restarted", has(0, 1))
        assert metrics.quality(PENDING_JOBS) is Quality.OK
        await asked.close()

    asyncio.run(story())


def test_who_may_not_see_pods_gets_an_error_and_no_zero(kubernetes: RealKubernetes) -> None:
    credentials = Credentials(
        token_file=kubernetes.token_file(STRANGER), ca_file=kubernetes.ca_file
    )

    async def story() -> PoolMetrics:
        asked = source(kubernetes, credentials=credentials)
        metrics = await asked.get_pool_metrics("listed")
        await asked.close()
        return metrics

    metrics = asyncio.run(story())
    assert {metrics.quality(field) for field in FIELDS if field.endswith(("jobs", "depth"))} == {
        Quality.ERROR
    }
    assert "HTTP 403" in metrics.readings[PENDING_JOBS].detail


def test_a_certificate_that_nobody_vouches_for_is_refused(kubernetes: RealKubernetes) -> None:
    async def story() -> PoolMetrics:
        asked = source(kubernetes, credentials=Credentials(token_file=kubernetes.token_file()))
        metrics = await asked.get_pool_metrics("listed")
        await asked.close()
        return metrics

    assert asyncio.run(story()).quality(PENDING_JOBS) is Quality.ERROR
