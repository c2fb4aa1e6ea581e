"""The Slurm source asks a real Slurm: what it prints is not what anybody would guess."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from infra.real_parts import wait_for
from infra.real_slurm import EMPTY, PARTITION, RealSlurm
from navarch.controlplane.clock import RealClock
from navarch.core.scaling.base import PENDING_JOBS, UTILIZATION, PoolMetrics, Quality
from navarch.metrics import slurm as source_of_slurm
from navarch.metrics import slurm_records
from navarch.metrics.base import FIELDS
from navarch.metrics.merged import MergedMetricsSource
from navarch.metrics.slurm import SlurmMetricsSource
from navarch.peers.unanswered import Unanswered

WHOLE_NODE = "--gres=gpu:h100:8"
NOW = RealClock().now


def ask(partition: str = PARTITION) -> PoolMetrics:
    source = SlurmMetricsSource(now=NOW, partition=partition)
    return asyncio.run(source.get_pool_metrics("h100"))


def wait_until(holds: Callable[[PoolMetrics], bool]) -> PoolMetrics:
    """Ask Slurm until the answer is as wanted, and return it."""
    answers: list[PoolMetrics] = []

    def asked() -> bool:
        answers.append(ask())
        return holds(answers[-1])

    wait_for(asked, f"the wanted metrics, last {answers[-1:]}")
    return answers[-1]


def has(pending: int, depth: int) -> Callable[[PoolMetrics], bool]:
    def holds(metrics: PoolMetrics) -> bool:
        return (metrics.pending_jobs, metrics.queue_depth) == (pending, depth)

    return holds


def value(metrics: PoolMetrics, name: str) -> float:
    return metrics.readings[name].value


def test_a_quiet_cluster_reads_zero_and_is_sure_of_it(slurm: RealSlurm) -> None:
    metrics = ask()
    assert (metrics.pending_jobs, metrics.queue_depth, metrics.utilization) == (0, 0, 0)
    assert metrics.quality(PENDING_JOBS) is Quality.OK
    assert metrics.quality(UTILIZATION) is Quality.OK
    assert value(metrics, source_of_slurm.GPUS) == 24


def test_jobs_that_sbatch_queues_are_seen_and_gone_when_cancelled(slurm: RealSlurm) -> None:
    jobs = [slurm.submit(WHOLE_NODE) for _ in range(5)]
    # Jobs are told of before the nodes that they run on.
    wait_until(lambda metrics: has(2, 5)(metrics) and metrics.utilization == 100)
    metrics = wait_until(has(2, 5))
    assert value(metrics, source_of_slurm.GPUS_PENDING) == 16
    slurm.command("scancel", *jobs[:4])
    metrics = wait_until(has(0, 1))
    wait_until(lambda metrics: value(metrics, source_of_slurm.GPUS_USED) == 8)


def test_every_way_to_ask_for_gpus_is_counted(slurm: RealSlurm) -> None:
    for _ in range(3):
        slurm.submit(WHOLE_NODE)
    wait_until(has(0, 3))
    slurm.submit("--nodes=2", WHOLE_NODE)
    slurm.submit("--gres=gpu:3")
    slurm.submit("--gpus=4")
    slurm.submit("--gpus-per-task=2", "--ntasks=2")
    metrics = wait_until(has(4, 7))
    assert value(metrics, source_of_slurm.GPUS_PENDING) == 16 + 3 + 4 + 4


def test_jobs_that_no_node_would_start_are_held(slurm: RealSlurm) -> None:
    running = slurm.submit("--gres=gpu:1")
    wait_until(has(0, 1))
    slurm.submit("--hold", "--gres=gpu:1")
    slurm.submit(f"--dependency=afterok:{running}", "--gres=gpu:1")
    slurm.submit("--begin=now+1hour", "--gres=gpu:1")
    slurm.submit("--array=0-5%2", "--gres=gpu:1")
    metrics = wait_until(has(0, 3))
    assert value(metrics, source_of_slurm.JOBS_HELD) == 3 + 4


def test_the_tasks_of_an_array_are_jobs(slurm: RealSlurm) -> None:
    slurm.submit("--array=1-9", WHOLE_NODE)
    wait_until(has(6, 9))


def test_a_drained_node_is_no_capacity(slurm: RealSlurm) -> None:
    slurm.submit(WHOLE_NODE)
    wait_until(lambda metrics: value(metrics, source_of_slurm.GPUS_USED) == 8)
    for name, state in slurm.states().items():
        if state == "idle":
            slurm.command("scontrol", "update", f"nodename={name}", "state=drain", "reason=xid79")
    metrics = ask()
    assert (value(metrics, source_of_slurm.NODES), metrics.utilization) == (1, 100)
    for name, state in slurm.states().items():
        if state == "mixed":
            slurm.command("scontrol", "update", f"nodename={name}", "state=drain", "reason=xid79")
    metrics = ask()
    assert (value(metrics, source_of_slurm.NODES), metrics.queue_depth) == (0, 1)
    assert metrics.quality(UTILIZATION) is Quality.ABSENT


def test_a_node_that_does_not_answer_is_no_capacity(slurm: RealSlurm) -> None:
    slurm.kill_node("gpu3")
    try:
        wait_until(lambda metrics: value(metrics, source_of_slurm.GPUS) == 16)
    finally:
        slurm.start_node("gpu3")
    wait_until(lambda metrics: value(metrics, source_of_slurm.GPUS) == 24)


def test_an_empty_partition_reads_zero_and_an_unknown_one_is_absent(slurm: RealSlurm) -> None:
    metrics = ask(EMPTY)
    assert (metrics.queue_depth, metrics.quality(PENDING_JOBS)) == (0, Quality.OK)
    assert metrics.quality(UTILIZATION) is Quality.ABSENT
    metrics = ask("trian")
    assert {metrics.quality(field) for field in FIELDS} == {Quality.ABSENT}


def test_without_its_controller_slurm_is_an_error_and_the_last_count_stale(
    slurm: RealSlurm,
) -> None:
    slurm.submit(WHOLE_NODE)
    wait_until(has(0, 1))
    hasty = SlurmMetricsSource(now=NOW, partition=PARTITION, deadline=timedelta(seconds=1))
    patient = SlurmMetricsSource(now=NOW, partition=PARTITION, reuse=timedelta())
    merged = MergedMetricsSource([patient], now=NOW)

    async def story() -> tuple[str, PoolMetrics, PoolMetrics]:
        await merged.get_pool_metrics("h100")
        await asyncio.to_thread(slurm.stop_controller)
        return await asyncio.gather(
            asyncio.to_thread(slurm.command, "squeue", "--json"),
            hasty.get_pool_metrics("h100"),
            merged.get_pool_metrics("h100"),
        )

    try:
        printed, by_hasty, by_merged = asyncio.run(story())
    finally:
        slurm.start_controller()
    # Slurm 22.05 takes 9 seconds to print an empty list and to end with success.
    assert json.loads(printed)["jobs"] == []
    with pytest.raises(Unanswered, match="is slurmctld running"):
        slurm_records.jobs(printed.encode())
    assert {by_hasty.quality(field) for field in FIELDS} == {Quality.ERROR}
    assert "no answer within 1 s" in by_hasty.readings[PENDING_JOBS].detail
    assert (by_merged.queue_depth, by_merged.quality(PENDING_JOBS)) == (1, Quality.STALE)
    assert "Unable to contact slurm controller" in by_merged.readings[PENDING_JOBS].detail
    wait_until(has(0, 1))
