"""The Slurm source with stand-ins for squeue and sinfo: counts, failures, and what is left behind.

The stand-ins are programs; a real Slurm is asked in ``tests/integration/metrics``.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from factories import at
from navarch.controlplane.clock import FakeClock
from navarch.core.scaling.base import PENDING_JOBS, UTILIZATION, PoolMetrics, Quality
from navarch.errors import ConfigError
from navarch.metrics import slurm
from navarch.metrics.base import FIELDS
from navarch.metrics.slurm import SlurmMetricsSource

Cluster = Callable[..., SlurmMetricsSource]

STAND_IN = """
folder=$1; shift
echo "$@" >> "$folder/asked"
case " $* " in *--noheader*) exec cat "$folder/partitions";; *) exec cat "$folder/$1";; esac
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """Return what makes a source that reads jobs, nodes and partitions from the test."""
    (tmp_path / "stand_in.sh").write_text(STAND_IN)

    def make(
        jobs: list[dict[str, Any]],
        nodes: list[dict[str, Any]] | None = None,
        clock: FakeClock | None = None,
        **more: Any,  # noqa: ANN401 - whatever the source takes
    ) -> SlurmMetricsSource:
        (tmp_path / "squeue").write_text(json.dumps({"jobs": jobs, "errors": []}))
        (tmp_path / "sinfo").write_text(json.dumps({"nodes": nodes or [], "errors": []}))
        (tmp_path / "partitions").write_text("train\nempty\n")
        prefix = ["sh", str(tmp_path / "stand_in.sh"), str(tmp_path)]
        settings = {"partition": "train", "prefix": prefix, **more}
        return SlurmMetricsSource(now=(clock or FakeClock(at())).now, **settings)

    return make


def ask(source: SlurmMetricsSource, pool: str = "h100") -> PoolMetrics:
    return asyncio.run(source.get_pool_metrics(pool))


def a_job(state: str = "PENDING", **fields: object) -> dict[str, Any]:
    return {"job_state": state, "state_reason": "Resources", "partition": "train", **fields}


def a_node(state: str, *flags: str, used: int = 0, partition: str = "train") -> dict[str, Any]:
    return {
        "state": state,
        "state_flags": flags,
        "partitions": [partition],
        "gres": "gpu:h100:8",
        "gres_used": f"gpu:h100:{used}(IDX:0)",
    }


def values(metrics: PoolMetrics, *names: str) -> list[float]:
    return [metrics.readings[name].value for name in names]


def test_jobs_of_the_partition_are_counted(cluster: Cluster) -> None:
    metrics = ask(
        cluster(
            [
                a_job(tres_per_node="gres:gpu:h100:8", node_count=2),
                a_job(state_reason="Priority", tres_per_node="gres:gpu:3"),
                a_job(partition="other,train"),
                a_job("RUNNING"),
                a_job("COMPLETED"),
                a_job(partition="other"),
                a_job("RUNNING", partition="other"),
            ]
        )
    )
    assert (metrics.pending_jobs, metrics.queue_depth) == (3, 4)
    assert values(metrics, slurm.GPUS_PENDING, slurm.JOBS_HELD) == [19, 0]
    assert metrics.observed_at == at()


def test_held_jobs_are_not_pending_but_told(cluster: Cluster) -> None:
    metrics = ask(
        cluster([a_job(state_reason="JobHeldUser"), a_job(state_reason="Dependency"), a_job()])
    )
    assert (metrics.pending_jobs, metrics.queue_depth) == (1, 1)
    assert values(metrics, slurm.JOBS_HELD) == [2]


def test_an_array_counts_its_tasks_up_to_its_own_limit(cluster: Cluster) -> None:
    running = a_job("RUNNING", array_job_id=8, array_task_id=0, array_max_tasks=3)
    waiting = a_job(array_job_id=8, array_task_string="1-9%3", array_max_tasks=3)
    metrics = ask(cluster([waiting, running, a_job(array_job_id=9, array_task_string="0-4")]))
    assert (metrics.pending_jobs, metrics.queue_depth) == (2 + 5, 2 + 5 + 1)
    assert values(metrics, slurm.JOBS_HELD) == [7]


def test_nodes_that_do_not_work_are_no_capacity(cluster: Cluster) -> None:
    metrics = ask(
        cluster(
            [],
            [
                a_node("mixed", used=6),
                a_node("idle"),
                a_node("mixed", "DRAIN", used=8),
                a_node("down"),
                a_node("idle", "NOT_RESPONDING"),
                a_node("idle", partition="other"),
            ],
        )
    )
    assert values(metrics, slurm.NODES, slurm.GPUS, slurm.GPUS_USED) == [2, 16, 6]
    assert (metrics.utilization, metrics.quality(UTILIZATION)) == (37.5, Quality.OK)


def test_more_used_gpus_than_there_are_count_as_all(cluster: Cluster) -> None:
    metrics = ask(cluster([], [a_node("mixed", used=9), a_node("idle")]))
    assert (metrics.utilization, metrics.quality(UTILIZATION)) == (50, Quality.OK)


def test_without_a_working_gpu_utilization_is_absent_and_the_queue_is_not(
    cluster: Cluster,
) -> None:
    metrics = ask(cluster([a_job()], [a_node("mixed", "DRAIN", used=8)]))
    assert metrics.quality(UTILIZATION) is Quality.ABSENT
    assert (metrics.pending_jobs, metrics.quality(PENDING_JOBS)) == (1, Quality.OK)


def test_an_empty_partition_reads_zero_and_an_unknown_one_absent(cluster: Cluster) -> None:
    metrics = ask(cluster([], partition="empty"))
    assert (metrics.pending_jobs, metrics.quality(PENDING_JOBS)) == (0, Quality.OK)
    metrics = ask(cluster([], partition="trian"))
    assert {metrics.quality(field) for field in FIELDS} == {Quality.ABSENT}
    assert metrics.readings[PENDING_JOBS].detail == "Slurm has no partition trian"


def test_a_pool_finds_its_partition(cluster: Cluster) -> None:
    named = cluster([a_job()], partition="", pool_to_partition={"h100": "train"})
    assert ask(named, "h100").pending_jobs == 1
    assert ask(cluster([a_job()], partition=""), "train").pending_jobs == 1


def test_one_answer_serves_all_pools_for_a_while(cluster: Cluster, tmp_path: Path) -> None:
    clock = FakeClock(at())
    source = cluster([a_job()], clock=clock)

    async def story() -> list[int]:
        counts = []
        for _ in range(3):
            await asyncio.gather(*(source.get_pool_metrics(pool) for pool in "abcd"))
            counts.append(len((tmp_path / "asked").read_text().splitlines()))
            clock.advance(timedelta(seconds=3))
        return counts

    assert asyncio.run(story()) == [3, 3, 6]


def test_an_answer_that_is_no_json_is_an_error(cluster: Cluster, tmp_path: Path) -> None:
    source = cluster([])
    (tmp_path / "squeue").write_text('{"jobs": [')
    metrics = ask(source)
    assert {metrics.quality(field) for field in FIELDS} == {Quality.ERROR}


def test_an_answer_above_the_limit_is_an_error(cluster: Cluster) -> None:
    metrics = ask(cluster([a_job()] * 1_000, bytes_max=10_000))
    assert metrics.quality(PENDING_JOBS) is Quality.ERROR
    assert "more than 10000 bytes" in metrics.readings[PENDING_JOBS].detail


def test_a_program_that_never_stops_printing_is_ended_at_the_limit() -> None:
    endless = ["sh", "-c", "exec cat /dev/zero"]
    metrics = ask(SlurmMetricsSource(now=FakeClock(at()).now, prefix=endless, bytes_max=100_000))
    assert "more than 100000 bytes" in metrics.readings[PENDING_JOBS].detail


@pytest.mark.parametrize(
    "script,words",
    [
        ("echo Unable to contact slurm controller >&2; exit 1", "ended with 1: Unable to contact"),
        ("exit 3", "ended with 3: no word"),
        ("head -c 1000000 /dev/zero >&2; exit 4", "ended with 4"),
        ("kill -9 $$", "ended with -9"),
    ],
)
def test_a_program_that_fails_is_an_error_with_its_words(script: str, words: str) -> None:
    metrics = ask(SlurmMetricsSource(now=FakeClock(at()).now, prefix=["sh", "-c", script]))
    assert metrics.quality(PENDING_JOBS) is Quality.ERROR
    assert words in metrics.readings[PENDING_JOBS].detail


def test_a_program_that_is_not_there_is_an_error() -> None:
    metrics = ask(SlurmMetricsSource(now=FakeClock(at()).now, prefix=["/nowhere/ssh"]))
    detail = metrics.readings[PENDING_JOBS].detail
    assert detail == "/nowhere/ssh cannot be run: No such file or directory"


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! >> {tmp_path}/pids; wait"
    source = SlurmMetricsSource(
        now=FakeClock(at()).now,
        prefix=["sh", "-c", script],
        deadline=timedelta(milliseconds=300),
    )

    async def story() -> None:
        metrics = await source.get_pool_metrics("h100")
        assert metrics.quality(PENDING_JOBS) is Quality.ERROR
        assert "no answer within 0.3 s" in metrics.readings[PENDING_JOBS].detail
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert pids != []
        async with asyncio.timeout(10):
            while any(map(is_alive, pids)):  # noqa: ASYNC110 - orphans tell nobody
                await asyncio.sleep(0.01)

    asyncio.run(story())


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has collected does not."""
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize("wrong", [{"deadline": timedelta()}, {"bytes_max": 0}])
def test_impossible_limits_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="above zero"):
        SlurmMetricsSource(now=FakeClock(at()).now, **wrong)
