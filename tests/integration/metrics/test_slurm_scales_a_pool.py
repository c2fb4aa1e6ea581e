"""Jobs queued in a real Slurm make a pool grow and shrink, through the whole control plane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from infra.real_parts import wait_for
from infra.real_slurm import PARTITION, RealSlurm
from navarch.controlplane.clock import RealClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.core.model.pool import PoolSpec
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.metrics.slurm import GPUS, SlurmMetricsSource
from navarch.providers.fake import FakeProvider

WHOLE_NODE = "--gres=gpu:h100:8"
POOL = "h100"


@asynccontextmanager
async def scaled_pool() -> AsyncIterator[ControlPlane]:
    """A pool that wants a node for each two jobs, and buys from a provider in memory."""
    control_plane = ControlPlane()
    control_plane.register_provider(FakeProvider(gpu_count=8))
    async with control_plane:
        spec = PoolSpec(POOL, "fake", min_nodes=0, max_nodes=8, cooldown=timedelta())
        await control_plane.configure_pools([spec])
        source = SlurmMetricsSource(now=RealClock().now, partition=PARTITION, reuse=timedelta())
        control_plane.pool_manager.scale(POOL, QueueBasedAutoscaler(jobs_per_node=2), source)
        yield control_plane


async def target_after_evaluation(control_plane: ControlPlane) -> tuple[int, str]:
    await control_plane.pool_manager.evaluate(POOL)
    pool = control_plane.runtime.machine.fleet.pools[POOL]
    return pool.target, pool.target_because


def test_jobs_that_sbatch_queues_make_a_pool_grow_and_shrink(slurm: RealSlurm) -> None:
    async def story() -> list[tuple[int, str]]:
        async with scaled_pool() as control_plane:
            for _ in range(5):
                await asyncio.to_thread(slurm.submit, WHOLE_NODE)
            grown = await target_after_evaluation(control_plane)
            await asyncio.to_thread(slurm.reset)
            shrunk = await target_after_evaluation(control_plane)
            return [grown, shrunk]

    (grown, why), (shrunk, _) = asyncio.run(story())

    assert grown == 3
    assert "5" in why
    assert shrunk == 0


def test_a_slurm_that_is_away_shrinks_nothing(slurm: RealSlurm) -> None:
    async def story() -> tuple[int, int, str]:
        async with scaled_pool() as control_plane:
            for _ in range(4):
                await asyncio.to_thread(slurm.submit, WHOLE_NODE)
            before, _ = await target_after_evaluation(control_plane)
            await asyncio.to_thread(slurm.stop_controller)
            try:
                after, _ = await target_after_evaluation(control_plane)
            finally:
                await asyncio.to_thread(slurm.start_controller)
            return before, after, control_plane.pool_manager.traces[-1].recommendation.reason

    before, after, reason = asyncio.run(story())

    assert before == after == 2
    assert "hold" in reason


def test_a_drained_node_is_no_capacity(slurm: RealSlurm) -> None:
    def gpus() -> float:
        source = SlurmMetricsSource(now=RealClock().now, partition=PARTITION, reuse=timedelta())
        return asyncio.run(source.get_pool_metrics(POOL)).readings[GPUS].value

    before = gpus()
    slurm.command("scontrol", "update", "nodename=gpu1", "state=drain", "reason=xid79")
    wait_for(lambda: gpus() == before - 8, "a drained node's GPUs do not count")
    assert before == 24
