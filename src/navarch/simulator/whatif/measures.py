"""Measures: what a run came to, counted by looking at the truth while it goes on.

`Gauge` looks at the fleet whenever the twin says that it is time, and at the facts of every step.
Nothing of the run depends on it. Whoever has the same numbers from elsewhere makes a `Measures` of
them, and everything above goes on as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from navarch.core.machine import Machine, Step
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.pool import Pool
from navarch.core.repair import candidates
from navarch.core.settings import Settings
from navarch.providers.fake.machines import Notice
from navarch.simulator.timeline import EPOCH
from navarch.simulator.twin.demand import Demand
from navarch.simulator.twin.node import Node
from navarch.simulator.twin.twin import Twin
from navarch.simulator.twin.watchers import Watcher

LATE = timedelta(minutes=15)
"""A replacement that is decided later than this after its node broke came too late: three times
what confirming a verdict takes at the usual intervals."""

WARM_UP = timedelta(hours=1)
"""How long a fleet may take to be there for the first time before it counts as missing."""

HOUR = timedelta(hours=1)


class Measures(Struct, frozen=True):
    """What one run came to."""

    availability: float
    """The share of time in which every pool had all it wanted, from 0 to 1."""
    capacity_delivered: float
    """Good nodes over wanted nodes, each pool at most all it wanted, over time; from 0 to 1."""
    gpu_hours_good: float
    """GPU-hours of nodes that served, were well, and were needed."""
    gpu_hours_idle: float
    """The same of those that no load needed; 0 where no load is known."""
    gpu_hours_lost: float
    """GPU-hours of machines that were there and gave nothing: booting, sick, silent, draining."""
    cost_usd_by_provider: Mapping[str, float]
    replacements_right: int
    """Nodes that something was wrong with when it was decided to replace them."""
    replacements_wrong: int
    """Nodes that were well when it was decided."""
    replacements_late: int
    """Those of the right ones that were decided more than `LATE` after the node broke."""
    repairs_in_place: int
    """Resets and reboots that repair began."""
    broken: int
    """How often a node broke."""
    repair_seconds_p50: float | None
    """From the moment a node broke until it was good again, or gone and its pool had what it
    wanted; None: nothing broke that was put right."""
    repair_seconds_p95: float | None
    repair_seconds_p99: float | None
    unrepaired: int
    """Nodes that were still broken at the end."""
    budget_hits: int
    """How often a repair was due and had to wait for its pool's budget."""
    budget_wait_hours: float
    """How long nodes waited for it, summed."""
    spot_interruptions: int

    @property
    def cost_usd(self) -> float:
        """What all machines cost, in US dollars."""
        return sum(self.cost_usd_by_provider.values())


class Gauge(Watcher):
    """Measures one run of a twin."""

    def __init__(self, twin: Twin, demands: Mapping[str, Demand]) -> None:
        """Watch it from now on, before it begins."""
        self._twin = twin
        self._demands = demands
        self._every = twin.blueprint.sample_every
        self._samples = self._whole = 0
        self._wanted = self._delivered = 0.0
        self._good = self._idle = self._lost = 0.0
        self._ready: set[str] = set()
        """Pools that have been whole once: from then on they count."""
        self._broken: dict[str, datetime] = {}
        """Nodes that are broken, and since when."""
        self._owed: dict[str, tuple[str, datetime]] = {}
        """Broken nodes that are gone, until their pool is whole: pool, and since when."""
        self._repaired: list[float] = []
        self._waiting: set[str] = set()
        self._counts = dict.fromkeys(("right", "wrong", "late", "in_place", "broken", "hits"), 0)
        self._budget_wait = timedelta()
        self._interruptions = 0
        twin.watchers.all.append(self)
        for cloud in twin.clouds.values():
            self._count_notices(cloud.truth.on_notice, cloud.truth)

    def result(self) -> Measures:
        """Say what it came to by now."""
        twin, times = self._twin, sorted(self._repaired)
        costs = {name: cloud.truth.cost(twin.time.now) for name, cloud in twin.clouds.items()}
        return Measures(
            availability=self._whole / self._samples if self._samples else 1.0,
            capacity_delivered=self._delivered / self._wanted if self._wanted else 1.0,
            gpu_hours_good=self._good,
            gpu_hours_idle=self._idle,
            gpu_hours_lost=self._lost,
            cost_usd_by_provider={name: round(costs[name], 2) for name in sorted(costs)},
            replacements_right=self._counts["right"],
            replacements_wrong=self._counts["wrong"],
            replacements_late=self._counts["late"],
            repairs_in_place=self._counts["in_place"],
            broken=self._counts["broken"],
            repair_seconds_p50=percentile(times, 50),
            repair_seconds_p95=percentile(times, 95),
            repair_seconds_p99=percentile(times, 99),
            unrepaired=len(self._broken) + len(self._owed),
            budget_hits=self._counts["hits"],
            budget_wait_hours=self._budget_wait / HOUR,
            spot_interruptions=self._interruptions,
        )

    # --- what it hears -----------------------------------------------------------------------

    def stepped(
        self, machine: Machine, messages: Sequence[msg.Message], step: Step, now: datetime
    ) -> None:
        """Count what was decided."""
        for fact in step.facts:
            match fact:
                case ev.InstanceCondemned():
                    self._judge(fact.instance_id, now)
                case ev.RepairStarted():
                    self._counts["in_place"] += 1
                case _:
                    continue

    def sampled(self, now: datetime) -> None:
        """Count the fleet."""
        fleet = self._twin.fleet
        if fleet is None:
            return
        self._look_at_nodes(now)
        good = self._good_nodes(fleet)
        is_whole = True
        for pool in fleet.pools.values():
            is_whole = self._count_pool(pool, good.get(pool.name, {}), now) and is_whole
        if len(self._ready) == len(fleet.pools):
            self._samples += 1
            self._whole += is_whole
        self._count_lost(good)
        self._count_waiting(fleet, now)

    # --- the truth about nodes ---------------------------------------------------------------

    def _look_at_nodes(self, now: datetime) -> None:
        """Note who broke, who is well again, and who is gone."""
        troubled = {node.node_id: node for node in self._twin.roster.all() if not node.resting}
        for node_id, node in troubled.items():
            since = broken_since(node, now)
            if since is not None and node_id not in self._broken:
                self._broken[node_id] = since
                self._counts["broken"] += 1
        for node_id, since in list(self._broken.items()):
            node = self._twin.nodes[node_id]
            if not node.machine_is_alive():
                self._owed[node_id] = (node.pool, self._broken.pop(node_id))
            elif node.resting or (broken_since(node, now) is None and self._serves(node_id)):
                del self._broken[node_id]
                self._repaired.append((now - since).total_seconds())

    def _serves(self, node_id: str) -> bool:
        fleet = self._twin.fleet
        known = None if fleet is None else fleet.nodes.get(node_id)
        return known is not None and known.serving

    def _judge(self, node_id: str, now: datetime) -> None:
        """Say whether something is wrong with a node that is to be replaced."""
        node = self._twin.nodes.get(node_id)
        since = None if node is None else self._broken.get(node_id, broken_since(node, now))
        if since is None:
            self._counts["wrong"] += 1
            return
        self._counts["right"] += 1
        self._counts["late"] += now - since > LATE

    # --- counting ----------------------------------------------------------------------------

    def _good_nodes(self, fleet: Fleet) -> dict[str, dict[int, int]]:
        """Count the nodes that serve and are well in truth: by pool and GPUs of a node."""
        good: dict[str, dict[int, int]] = {}
        for node in self._twin.roster.all():
            if not node.resting:
                known = fleet.nodes.get(node.node_id)
                is_good = known is not None and known.serving and _is_well(node)
                if not is_good:
                    continue
            here = good.setdefault(node.pool, {})
            here[node.described.gpus] = here.get(node.described.gpus, 0) + 1
        return good

    def _count_pool(self, pool: Pool, good: Mapping[int, int], now: datetime) -> bool:
        """Count one pool; say whether it has what it wants."""
        count, hours = sum(good.values()), self._every / HOUR
        gpus = sum(each * number for each, number in good.items())
        is_whole = count >= pool.target
        since = now - EPOCH
        if is_whole or since >= WARM_UP:
            self._ready.add(pool.name)
        if pool.name in self._ready:
            self._wanted += pool.target
            self._delivered += min(count, pool.target)
        demand = self._demands.get(pool.name)
        idle = 0.0
        if demand is not None and count:
            busy = demand.jobs(since) / demand.jobs_per_node
            idle = max(count - busy, 0.0) / count
        self._good += gpus * (1 - idle) * hours
        self._idle += gpus * idle * hours
        if is_whole:
            for node_id, (name, began) in list(self._owed.items()):
                if name == pool.name:
                    del self._owed[node_id]
                    self._repaired.append((now - began).total_seconds())
        return is_whole

    def _count_lost(self, good: Mapping[str, Mapping[int, int]]) -> None:
        """Count the machines that are there, and give nothing."""
        there = sum(
            node.described.gpus
            for node in self._twin.roster.all()
            if node.resting or node.machine_is_alive()
        )
        giving = sum(gpus * count for each in good.values() for gpus, count in each.items())
        self._lost += max(there - giving, 0) * (self._every / HOUR)

    def _count_waiting(self, fleet: Fleet, now: datetime) -> None:
        """Count who waits for a budget."""
        if not fleet.lost and not fleet.ailing:
            self._waiting.clear()
            return
        waiting = over_budget(fleet, now, self._twin.settings)
        self._counts["hits"] += len(waiting - self._waiting)
        self._budget_wait += len(waiting) * self._every
        self._waiting = waiting

    def _count_notices(self, told: object, truth: object) -> None:
        """Count interruptions on their way from a cloud to whoever hears of them."""
        assert callable(told)

        def counted(notice: Notice) -> None:
            self._interruptions += 1
            told(notice)

        truth.on_notice = counted  # type: ignore[attr-defined]


def broken_since(node: Node, now: datetime) -> datetime | None:
    """Since when a node is of no use in truth, though its machine is there; None: it is well.

    A node that has never started is not broken, it boots.
    """
    wounds = [
        wound.since for wound in node.body.wounds if not wound.passes and not wound.is_over(now)
    ]
    if wounds:
        return min(wounds)
    is_silent = node.has_started and not node.running and node.machine_is_alive()
    return now if is_silent or node.cut_off else None


def _is_well(node: Node) -> bool:
    is_hurt = any(not wound.passes for wound in node.body.wounds)
    return node.running and not node.cut_off and not is_hurt


def over_budget(fleet: Fleet, now: datetime, settings: Settings) -> set[str]:
    """Find the nodes whose repair is due, and waits for its pool's budget. Cost: O(troubled)."""
    waiting = set()
    for node in (*candidates.lost(fleet), *candidates.sick(fleet)):
        pool = fleet.pools.get(node.pool)
        if pool is None or pool.asleep or pool.spec.dry_run:
            continue
        is_due = candidates.remedy(fleet, pool, node, now, settings) is not Remedy.NONE
        is_confirmed = not node.connected or not candidates.unconfirmed(fleet, node)
        if is_due and is_confirmed and candidates.over_budget(fleet, pool, node, now):
            waiting.add(node.id)
    return waiting


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Return the smallest value that so many percent do not exceed; None of nothing."""
    if not ordered:
        return None
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]
