"""Pool metrics from Kubernetes: the pods that carry the label ``navarch.dev/pool=<pool>``.

A pending pod is a job that waits, a running one a job that runs. It speaks plain HTTP to the API
server: what it needs of it is one list and one watch, which `navarch.metrics.pods` does, and the
official client takes longer to import than this takes to answer.

Rules that hold:

- Until the first list is complete, everything is an ERROR. A pool without pods reads zero only
  when the server has said so.
- Pods being deleted, ended, or held back by a scheduling gate want no node, and do not count.
- What runs in the background starts with the first question and ends with `close`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Self

from msgspec.structs import replace

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
from navarch.metrics.base import UTILIZATION_HISTORY
from navarch.metrics.pods import GRACE, PodCopy
from navarch.peers import cluster
from navarch.peers.endpoint import Credentials, Endpoint


class KubernetesMetricsSource:
    """Counts the pods that ask for a pool."""

    def __init__(
        self,
        url: str,
        *,
        now: Callable[[], datetime],
        namespace: str = "",
        credentials: Credentials | None = None,
        deadline: timedelta = timedelta(seconds=10),
        watch_period: timedelta = timedelta(seconds=30),
        name: str = "kubernetes",
    ) -> None:
        """Ask the API server at `url` for the pods of one `namespace`, of all when empty.

        The credentials must be allowed to list and watch pods there. `watch_period` is how often
        the server must prove that it still speaks to us; a reading gets STALE after two.

        :raises ConfigError: `url` or the file of certificates cannot be used, or `watch_period` is
            below a second
        """
        if watch_period < timedelta(seconds=1):
            raise ConfigError(f"{name}: watch_period is {watch_period}, expected 1 s or more")
        self.name = name
        self._now = now
        self._deadline = deadline
        self._stale_after = 2 * watch_period + GRACE
        self._endpoint = Endpoint(url, credentials=credentials)
        path = f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"
        self._pods = PodCopy(
            self._endpoint, path=path, now=now, deadline=deadline, watch_period=watch_period
        )
        self._keeping: asyncio.Task[None] | None = None

    @classmethod
    def in_cluster(
        cls,
        *,
        now: Callable[[], datetime],
        namespace: str = "",
        environ: Mapping[str, str] = os.environ,
        service_account: str = cluster.SERVICE_ACCOUNT,
    ) -> Self:
        """Make one for a control plane that is itself a pod, with that pod's service account.

        :raises ConfigError: it is not a pod
        """
        url, credentials = cluster.own(environ, service_account)
        return cls(url, now=now, namespace=namespace, credentials=credentials)

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        """Count one pool's pods; only the first call waits for the server. O(1) after that."""
        self._keep()
        try:
            async with asyncio.timeout(self._deadline.total_seconds()):
                await self._pods.answered.wait()
        except TimeoutError:
            within = f"{self._deadline.total_seconds():g} s"
            return base.unanswered(f"the first list took longer than {within}", self.name)
        heard_at = self._pods.heard_at
        if heard_at is None:
            return base.unanswered(self._pods.failure, self.name)
        pending = self._pods.count(pool_name, "Pending")
        running = self._pods.count(pool_name, "Running")
        return base.pool_metrics(
            {
                PENDING_JOBS: self._reading(PENDING_JOBS, pending, heard_at),
                QUEUE_DEPTH: self._reading(QUEUE_DEPTH, pending + running, heard_at),
                **{
                    field: base.absent(field, "Kubernetes does not measure GPUs", self.name)
                    for field in (UTILIZATION, UTILIZATION_HISTORY)
                },
            },
            source=self.name,
        )

    async def close(self) -> None:
        """Stop watching and give up the connections."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.wait([keeping])
        await self._endpoint.close()

    def _keep(self) -> None:
        """Start what keeps the copy, or report the bug that has ended it."""
        keeping = self._keeping
        if keeping is not None and not keeping.done():
            return
        self._keeping = asyncio.create_task(self._pods.run(), name=f"{self.name}: pods")
        if keeping is not None and not keeping.cancelled():
            keeping.result()

    def _reading(self, field: str, count: int, heard_at: datetime) -> Reading:
        reading = base.fresh(field, count, observed_at=heard_at, source=self.name)
        age = self._now() - heard_at
        if age <= self._stale_after:
            return reading
        why = self._pods.failure or "the watch is silent"
        detail = f"last heard {age.total_seconds():.0f} s ago: {why}"
        return replace(reading, quality=Quality.STALE, detail=detail)
