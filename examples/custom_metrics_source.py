"""A metrics source of your own, through a whole control plane: queued jobs become machines.

The queue here is a dictionary. What matters is what the source says when it cannot ask: an error,
never zero jobs, because zero would end machines that are needed.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from navarch import (
    Clock,
    ControlPlane,
    FakeClock,
    Pool,
    PoolConfig,
    PoolMetrics,
    QueueBasedAutoscaler,
    RealClock,
    ServerConfig,
)
from navarch.metrics.base import unanswered
from navarch.providers.fake import FakeProvider


class JobQueueSource:
    """Knows how many jobs wait for each pool."""

    name = "job-queue"

    def __init__(self, jobs: dict[str, int]) -> None:
        """Read from `jobs`, by pool."""
        self.jobs = jobs
        self.reachable = True

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        """Tell how long the queue of a pool is."""
        if not self.reachable:
            return unanswered("the job queue does not answer", self.name)
        waiting = self.jobs.get(pool_name, 0)
        return PoolMetrics(pending_jobs=waiting, queue_depth=waiting)


async def main(clock: Clock) -> list[str]:
    """Evaluate a pool with a full queue, a queue nobody can ask, and an empty one."""
    source = JobQueueSource({"batch": 350})
    config = PoolConfig("batch", "h100-8x", max_nodes=10, cooldown_period=timedelta())
    pool = Pool.simple(config, FakeProvider(gpu_count=8, name="mycloud"))
    reasons = []
    async with ControlPlane(ServerConfig(clock=clock)) as control_plane:
        manager = control_plane.pool_manager
        manager.add_pool(pool, QueueBasedAutoscaler(jobs_per_node=100), source)
        for reachable, jobs in ((True, 350), (False, 350), (True, 0)):
            source.reachable, source.jobs["batch"] = reachable, jobs
            answer = await manager.evaluate("batch")
            reasons.append(f"{answer.target_nodes}: {answer.reason}")
            if isinstance(clock, FakeClock):
                clock.advance(timedelta(seconds=1))
    return reasons


if __name__ == "__main__":
    print("\n".join(asyncio.run(main(RealClock()))))
