"""Training jobs on a twin: who may run where, what kills a job, and what became of paid time.

A node may have work while the control plane says that it serves and that work may begin there, and
while it is well in truth: a job's first steps refuse a host that is down or a GPU that is broken. A
job dies at the moment when a node of its gang fails *in truth*, however late the control plane
learns of it, or when the control plane gives the node up: it is lost to it, drained, taken away by
its seller, or ended. A bad verdict alone keeps new work away and kills nothing, as with a real
workload manager; an error of an application kills the job and leaves the node as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from navarch.core.machine import Machine, Step
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Told
from navarch.core.model.node import Node as Record
from navarch.providers.base import POOL_LABEL
from navarch.simulator.loads.gangs import Gangs, JobSpec
from navarch.simulator.loads.goodput import HOUR, TrainingReport, job_report, pool_report
from navarch.simulator.timeline import EPOCH, Timeline
from navarch.simulator.twin.demand import Demand
from navarch.simulator.twin.faults import Fault, FaultKind
from navarch.simulator.twin.hardware import Body
from navarch.simulator.twin.node import Node
from navarch.simulator.twin.twin import Twin
from navarch.simulator.twin.watchers import Watcher

LOOK_AGAIN = timedelta(seconds=30)
"""How often a node is looked at that should serve and is not well in truth, until one of both
changes: about as often as a workload manager tries a host again."""

HARMLESS_XIDS = frozenset({63, 92, 154})
"""XIDs after which programs run on: a row was remapped, corrected errors are many, the recovery
action has changed (NVIDIA, XID catalogue; read November 2026)."""

KILLING = frozenset(
    {
        FaultKind.CRASH,
        FaultKind.VANISH,
        FaultKind.FLAP,
        FaultKind.BACKEND,
        FaultKind.MEMORY,
        FaultKind.NVLINK,
    }
)
"""What ends a program however short it lasts."""


def kills(fault: Fault) -> bool:
    """Whether a fault ends what runs on the node."""
    if fault.kind is FaultKind.XID and fault.xid not in HARMLESS_XIDS:
        return True
    return fault.kind in KILLING or fault.is_hardware


def is_fit(node: Node) -> bool:
    """Whether a program can start on a node, in truth."""
    return node.running and _is_whole(node.body)


def _is_whole(body: Body) -> bool:
    driver_is_away = any(wound.fault.kind is FaultKind.BACKEND for wound in body.wounds)
    return not body.is_broken and not driver_is_away


class QueueDemand:
    """The load of a pool's training jobs, as an autoscaler sees it: in nodes, each one job."""

    jobs_per_node = 1.0

    def __init__(self, training: Training, pool: str) -> None:
        """Belong to the jobs of one pool."""
        self._training = training
        self._pool = pool

    def __str__(self) -> str:
        """Describe it, for people."""
        return f"the training jobs of pool {self._pool}"

    def jobs(self, since: timedelta) -> float:
        """The nodes that jobs have or wait for now: the only moment it can be asked about."""
        gangs = self._training.gangs
        return float(gangs.busy_nodes(self._pool) + gangs.waiting_nodes(self._pool))


class Training(Watcher):
    """The training jobs of one run.

    ``training = Training(jobs)``, a blueprint with ``training.demand(pool)`` in it if a pool is to
    follow the queue, then ``training.join(twin)`` before the run, and ``training.report()``.
    """

    def __init__(self, jobs: Sequence[JobSpec], *, backfill: bool = False) -> None:
        """Know the jobs; with `backfill` one that fits may go before one that does not."""
        self._specs = tuple(jobs)
        self._backfill = backfill
        self.gangs = Gangs(Timeline(), self._specs, backfill=backfill)
        self._twin: Twin | None = None
        self._begin_anew()

    def demand(self, pool: str) -> Demand:
        """The load that the jobs are to a pool's autoscaler."""
        return QueueDemand(self, pool)

    def join(self, twin: Twin) -> None:
        """Be the load of a twin that has not begun; what was of another run is forgotten.

        Raises `ValueError` when it has begun: what its control plane knows already was missed.
        """
        if twin.journal:
            raise ValueError(f"{twin.blueprint.name} has begun, expected a twin before its run")
        self._twin = twin
        self.gangs = Gangs(twin.time, self._specs, backfill=self._backfill)
        self._begin_anew()
        twin.watchers.all.append(self)
        self.gangs.begin()

    def _begin_anew(self) -> None:
        self._doubtful: dict[str, None] = {}
        """Nodes that should serve and are not well in truth."""
        self._looks = False
        self._gpus: dict[str, int] = {}
        """Of a node of each pool."""
        self._unbought: dict[str, tuple[datetime, datetime | None]] = {}
        """From when until when nodes were there that nobody bought."""

    # --- what the twin says ----------------------------------------------------------------------

    def stepped(
        self, machine: Machine, messages: Sequence[msg.Message], step: Step, now: datetime
    ) -> None:
        """Look at every node that a fact is about. Cost: O(facts)."""
        for fact in step.facts:
            for name in ev.subjects(fact):
                self._look(name, machine.fleet)

    def afflicted(self, node_id: str, fault: Fault, now: datetime) -> None:
        """Let a job die of what has happened to a node, if it does."""
        if not kills(fault):
            return
        self._strike(node_id, fault.label)

    def stopped(self, node_id: str, because: str, now: datetime) -> None:
        """Let a job die whose host went down, or whose GPU was reset."""
        self._strike(node_id, because)

    def buried(self, node_id: str, because: str, now: datetime) -> None:
        """Let a job die whose machine ends."""
        self._doubtful.pop(node_id, None)
        self.gangs.down(node_id, because)

    def _strike(self, node_id: str, because: str) -> None:
        node = self._running().nodes.get(node_id)
        if node is not None and is_fit(node):
            self.gangs.fail(node_id, because)
            return
        if self.gangs.may_work(node_id):
            self._doubt(node_id)
        self.gangs.down(node_id, because)

    # --- who may work ----------------------------------------------------------------------------

    def _look(self, name: str, fleet: Fleet) -> None:
        node = fleet.nodes.get(name)
        if node is None or node.over:
            self._gone(name, node)
            return
        if name not in self._unbought and not node.instance_id:
            self._unbought[name] = (node.registered_at, None)
        self._gpus.setdefault(node.pool, len(node.gpus))
        self._doubtful.pop(name, None)
        if not node.connected:
            self.gangs.down(name, "lost")
        elif node.workload is Told.DRAINING:
            self.gangs.leave(name, _why_drained(node, fleet))
        elif not node.serving or node.workload is not Told.OPEN:
            self.gangs.close(name)
        elif self._is_fit(name):
            self.gangs.up(name, node.pool)
        else:
            self.gangs.close(name)
            self._doubt(name)

    def _gone(self, name: str, node: Record | None) -> None:
        self._doubtful.pop(name, None)
        if self.gangs.may_work(name) or self.gangs.is_busy(name):
            self.gangs.down(name, "terminated")
        since = self._unbought.get(name)
        if since is not None and since[1] is None:
            ended = self._running().time.now if node is None else node.ended_at
            self._unbought[name] = (since[0], ended)

    def _is_fit(self, name: str) -> bool:
        node = self._running().nodes.get(name)
        return node is not None and is_fit(node)

    def _doubt(self, name: str) -> None:
        self._doubtful[name] = None
        if not self._looks:
            self._looks = True
            self._running().time.after(LOOK_AGAIN, self._look_again, self.gangs)

    def _look_again(self, gangs: Gangs) -> None:
        """Look at nodes that nobody may say anything about when they are well again."""
        if gangs is not self.gangs:
            return
        self._looks = False
        fleet = self._running().fleet
        for name in tuple(self._doubtful):
            if fleet is not None:
                self._look(name, fleet)
            else:
                self._doubt(name)

    def _running(self) -> Twin:
        assert self._twin is not None, "the jobs have joined no twin"
        return self._twin

    # --- results ---------------------------------------------------------------------------------

    def busy_nodes(self, pool: str) -> int:
        """How many nodes of a pool have work. Cost: O(1)."""
        return self.gangs.busy_nodes(pool)

    def report(self) -> TrainingReport:
        """Say what became of all jobs until now. Cost: O(jobs and machines ever made)."""
        now = self._running().time.now
        jobs = [job_report(gang, now, EPOCH) for gang in self.gangs.all]
        names = sorted({spec.pool for spec in self._specs})
        pools = tuple(
            pool_report(
                name,
                [job for job in jobs if job.pool == name],
                paid=self._paid(name, now),
                gpus=float(self._gpus.get(name, 0)),
            )
            for name in names
        )
        return TrainingReport(pools, tuple(jobs))

    def _paid(self, pool: str, now: datetime) -> float:
        """Count the GPU hours of a pool's machines; of no pool: of nodes that nobody bought."""
        if not pool:
            total = sum(
                (((until or now) - since) for since, until in self._unbought.values()), timedelta()
            )
            return self._gpus.get("", 0) * (total / HOUR)
        hours = 0.0
        for cloud in self._running().clouds.values():
            for machine in cloud.truth.machines.values():
                if machine.instance.labels.get(POOL_LABEL) == pool:
                    until = min(machine.gone_at or now, now)
                    lasts = max(until - machine.made_at, timedelta())
                    hours += machine.instance.gpu_count * (lasts / HOUR)
        return hours


def _why_drained(node: Record, fleet: Fleet) -> str:
    instance = fleet.instances.get(node.instance_id)
    if instance is None:
        return "drained"
    if instance.interrupted:
        return "interrupted"
    if instance.releasing:
        return "scaled in"
    return "replaced" if instance.condemned else "drained"
