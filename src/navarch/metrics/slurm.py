"""Pool metrics from Slurm, asked through its own commands ``squeue`` and ``sinfo``.

The commands, and not slurmrestd, because every cluster has them, with their authentication already
solved; where Slurm is elsewhere, a `prefix` such as ``ssh login --`` leads there.

Rules that hold:

- A queue that cannot be read is an ERROR. squeue itself prints an empty list, and ends with
  success, when its controller is away: only the errors in what it prints tell.
- Jobs that no new node could start do not count as pending: held ones, those that wait for another
  job or an hour, those above a limit. They are in the reading ``jobs_held`` instead.
- A node is capacity if it is up, answers, and is not being drained. The share of the GPUs of such
  nodes that jobs hold is the utilization: what is *allocated*, since Slurm does not know what is
  busy. Merge a source that does before this one.
- One answer of Slurm serves all pools for a short time: its controller is asked by everybody.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from navarch.core.scaling.base import PENDING_JOBS, QUEUE_DEPTH, UTILIZATION, PoolMetrics, Reading
from navarch.errors import ConfigError
from navarch.metrics import base, slurm_records
from navarch.metrics.base import UTILIZATION_HISTORY
from navarch.metrics.slurm_records import Job, Node
from navarch.peers import program
from navarch.peers.unanswered import Unanswered

BYTES_MAX: Final = 64 * 1024 * 1024
"""The longest answer that is read: 19,000 jobs and arrays, at 3.4 KB each in Slurm 22.05.

It takes a quarter of a second to decode, in which nobody else runs. Raise it knowingly.
"""

JOBS_HELD: Final = "jobs_held"
"""The extra reading of jobs that wait for something else than nodes."""
GPUS: Final = "gpus"
"""The extra reading of GPUs on working nodes."""
GPUS_USED: Final = "gpus_used"
"""The extra reading of those that jobs hold."""
GPUS_PENDING: Final = "gpus_pending"
"""The extra reading of GPUs that the pending jobs ask for."""
NODES: Final = "nodes"
"""The extra reading of working nodes."""
UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {JOBS_HELD: "jobs", GPUS: "gpus", GPUS_USED: "gpus", GPUS_PENDING: "gpus", NODES: "nodes"}
)
"""The units of the extra readings."""


class _Queue:
    """What waits and what runs in one partition."""

    def __init__(self) -> None:
        self.running = 0
        self.pending = 0
        self.held = 0
        self.gpus_pending = 0

    def add(self, job: Job, running_of_array: int) -> None:
        """Count a record of squeue, of whose array so many tasks run."""
        if job.is_running:
            self.running += 1
        elif job.is_pending:
            startable = 0 if job.is_patient else job.startable(running_of_array)
            self.pending += startable
            self.held += job.waiting_tasks - startable
            self.gpus_pending += startable * job.gpus if startable else 0


class _Capacity:
    """What takes work in one partition."""

    def __init__(self) -> None:
        self.nodes = 0
        self.gpus = 0
        self.gpus_used = 0

    def add(self, node: Node) -> None:
        """Count a node, unless it takes no work."""
        if node.is_working:
            self.nodes += node.count
            self.gpus += node.gpus
            self.gpus_used += min(node.gpus_used, node.gpus)


class _Snapshot:
    """What Slurm said at one time about every partition."""

    def __init__(self, taken_at: datetime, queue: bytes, nodes: bytes, partitions: bytes) -> None:
        """Count everything once. Costs O(jobs + nodes).

        :raises Unanswered: something in it is not what Slurm prints
        """
        self.taken_at = taken_at
        self.queues = {name: _Queue() for name in partitions.decode(errors="replace").split()}
        self.capacities = {name: _Capacity() for name in self.queues}
        jobs = slurm_records.jobs(queue)
        running = Counter(job.array for job in jobs if job.is_running)
        for job in jobs:
            for partition in job.partitions:
                if partition in self.queues:
                    self.queues[partition].add(job, running[job.array])
        for node in slurm_records.nodes(nodes):
            if node.partition in self.capacities:
                self.capacities[node.partition].add(node)


class SlurmMetricsSource:
    """Counts the jobs and the capacity of each pool's partition."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        partition: str = "",
        pool_to_partition: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        deadline: timedelta = timedelta(seconds=15),
        reuse: timedelta = timedelta(seconds=5),
        bytes_max: int = BYTES_MAX,
        name: str = "slurm",
    ) -> None:
        """Ask the Slurm that the environment, ``SLURM_CONF`` above all, or `prefix` leads to.

        A pool's partition is the one of `pool_to_partition`, else `partition`, else the one of the
        pool's own name. `prefix` stands before each command. `deadline` is for all commands
        together: 15 s by default, as squeue alone tries 9 s to reach its controller. An answer is
        used again for `reuse`.

        :raises ConfigError: `deadline` or `bytes_max` is not above zero
        """
        if deadline <= timedelta() or bytes_max <= 0:
            raise ConfigError(f"{name}: deadline and bytes_max must be above zero")
        self.name = name
        self._now = now
        self._partition = partition
        self._pool_to_partition = dict(pool_to_partition or {})
        self._prefix = tuple(prefix)
        self._deadline = deadline
        self._reuse = reuse
        self._bytes_max = bytes_max
        self._latest: _Snapshot | None = None
        self._asking = asyncio.Lock()

    async def get_pool_metrics(self, pool_name: str) -> PoolMetrics:
        """Count for one pool. O(1), and each `reuse` once O(jobs + nodes) of the whole Slurm."""
        partition = self._pool_to_partition.get(pool_name) or self._partition or pool_name
        try:
            snapshot = await self._snapshot()
        except Unanswered as failure:
            return base.unanswered(str(failure), self.name)
        if partition not in snapshot.queues:
            reason = f"Slurm has no partition {partition}"
            readings = {name: base.absent(name, reason, self.name) for name in base.FIELDS}
        else:
            readings = {
                **self._queue(snapshot.queues[partition], snapshot.taken_at),
                **self._capacity(snapshot.capacities[partition], snapshot.taken_at),
            }
        return base.pool_metrics(readings, source=self.name)

    def _queue(self, queue: _Queue, at: datetime) -> dict[str, Reading]:
        counts = {
            PENDING_JOBS: queue.pending,
            QUEUE_DEPTH: queue.pending + queue.running,
            JOBS_HELD: queue.held,
            GPUS_PENDING: queue.gpus_pending,
        }
        return {name: self._fresh(name, count, at) for name, count in counts.items()}

    def _capacity(self, capacity: _Capacity, at: datetime) -> dict[str, Reading]:
        counts = {NODES: capacity.nodes, GPUS: capacity.gpus, GPUS_USED: capacity.gpus_used}
        readings = {name: self._fresh(name, count, at) for name, count in counts.items()}
        history = base.absent(UTILIZATION_HISTORY, "Slurm keeps no history", self.name)
        if capacity.gpus:
            share = 100 * capacity.gpus_used / capacity.gpus
            allocated = self._fresh(UTILIZATION, share, at)
        else:
            allocated = base.absent(UTILIZATION, "no GPU on a node that works", self.name)
        return {**readings, UTILIZATION: allocated, UTILIZATION_HISTORY: history}

    def _fresh(self, name: str, value: float, at: datetime) -> Reading:
        unit = UNITS.get(name, "")
        return base.fresh(name, value, observed_at=at, source=self.name, unit=unit)

    async def _snapshot(self) -> _Snapshot:
        """Ask, unless somebody has just done so; who comes meanwhile waits for the same answer."""
        async with self._asking:
            latest = self._latest
            if latest is None or self._now() - latest.taken_at >= self._reuse:
                self._latest = latest = await self._ask()
            return latest

    async def _ask(self) -> _Snapshot:
        taken_at = self._now()
        answers = await asyncio.gather(
            self._run("squeue", "--all", "--json"),
            self._run("sinfo", "--all", "--Node", "--json"),
            # Of a partition without nodes, the JSON of 22.05 says nothing.
            self._run("sinfo", "--all", "--noheader", "--format=%R"),
            return_exceptions=True,  # so that none of them is left running when one has failed
        )
        for failure in answers:
            if isinstance(failure, BaseException):
                raise failure
        queue, nodes, partitions = (answer for answer in answers if isinstance(answer, bytes))
        # In a thread, so that others may run between the objects of a long queue.
        return await asyncio.to_thread(_Snapshot, taken_at, queue, nodes, partitions)

    async def _run(self, *command: str) -> bytes:
        return await program.output(
            [*self._prefix, *command], deadline=self._deadline, bytes_max=self._bytes_max
        )
