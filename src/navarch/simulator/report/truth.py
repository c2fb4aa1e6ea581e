"""The truth: which nodes are out, since when, and what the control plane made of it.

A *trouble* is a node that is broken, down, cut off or gone. Faults that come over it meanwhile
belong to the same trouble. It is over when another node serves in its place, or when it is well and
open for work again.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from navarch.core.model import events as ev
from navarch.core.model.report import Health
from navarch.simulator.report.model import FailureClass, Times, Troubles
from navarch.simulator.twin.faults import Fault, FaultKind
from navarch.simulator.twin.node import Node

TOO_LATE = timedelta(minutes=15)
"""A decision that comes later after the fault than this is too late: a reset or an order for a
replacement takes minutes, and a job that hangs for longer is usually restarted by its owner."""

STEPS_MAX = 200
"""Points of the curve of a distribution."""

SECOND = timedelta(seconds=1)

OUTSIDE = frozenset(
    {
        FaultKind.CRASH,
        FaultKind.NETWORK,
        FaultKind.VANISH,
        FaultKind.FREEZE,
        FaultKind.FLAP,
    }
)
"""Faults that take a node out though nothing in it is broken."""

DECISIONS = (
    ev.InstanceCondemned,
    ev.InstanceVanished,
    ev.InterruptionNoticed,
    ev.NodeDismissed,
    ev.NodeHandedOver,
    ev.RepairStarted,
    ev.RepairWithheld,
    ev.TerminationRequested,
)
"""Facts by which the control plane says what becomes of a node."""


def needs_repair(fault: Fault) -> bool:
    """Whether a fault puts a node out until something is done about it, or time has passed."""
    return fault.is_hardware or fault.kind in OUTSIDE


class Trouble(Struct, eq=False):
    """One node that is out in truth."""

    node: Node
    pool: str
    began: datetime
    for_good: bool
    """Whether one of its faults ends by nothing that time alone does."""
    detected: datetime | None = None
    decided: datetime | None = None

    def is_out(self, now: datetime) -> bool:
        """Whether the node gives nothing now."""
        node = self.node
        is_away = not node.running or node.cut_off or node.is_frozen or node.flaps
        return is_away or self.is_broken(now)

    def is_broken(self, now: datetime) -> bool:
        """Whether its hardware is broken now."""
        wounds = self.node.body.wounds
        return any(each.fault.is_hardware and not each.is_over(now) for each in wounds)

    def justifies(self, now: datetime) -> bool:
        """Whether a repair has something to put right that time alone does not."""
        return self.is_broken(now) or (self.for_good and self.is_out(now))


class Truth:
    """All troubles of a run."""

    def __init__(self) -> None:
        """Begin with everybody well."""
        self.faults: Counter[str] = Counter()
        """How often each came over a node, by label."""
        self.open: dict[str, Trouble] = {}
        """By node, the oldest first."""
        self._needing: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()
        self._detecting = array("d")
        self._repairing = array("d")
        self._decided = 0
        self._too_late = 0
        self._never = 0

    def afflict(self, node: Node, pool: str, fault: Fault, now: datetime) -> None:
        """Take down that a fault came over a node."""
        self.faults[fault.label] += 1
        if not needs_repair(fault):
            return
        self._needing[fault.label] += 1
        known = self.open.get(node.node_id)
        for_good = fault.lasts is None
        if known is None:
            self.open[node.node_id] = Trouble(node, pool, now, for_good)
        else:
            known.for_good = known.for_good or for_good

    def is_out(self, node_id: str, now: datetime) -> bool:
        """Whether a node gives nothing in truth. Cost: O(1)."""
        trouble = self.open.get(node_id)
        return trouble is not None and trouble.is_out(now)

    def justifies(self, node_id: str, now: datetime) -> bool:
        """Whether the repair of a node has something to put right."""
        trouble = self.open.get(node_id)
        return trouble is not None and trouble.justifies(now)

    def is_late(self, node_id: str, now: datetime) -> bool:
        """Whether what is decided about a node now comes too late."""
        trouble = self.open.get(node_id)
        return trouble is not None and now - trouble.began > TOO_LATE

    def hear(self, fact: ev.Fact, id_: str) -> None:
        """Take down what the control plane has noticed or decided about a node in trouble."""
        trouble = self.open.get(id_)
        if trouble is None:
            return
        decides = isinstance(fact, DECISIONS)
        if trouble.detected is None and (decides or _detects(fact)):
            trouble.detected = fact.at
            self._detecting.append((fact.at - trouble.began) / SECOND)
        if trouble.decided is None and decides:
            trouble.decided = fact.at
            self._decided += 1
            self._too_late += fact.at - trouble.began > TOO_LATE

    def end(self, node_id: str, how: str, now: datetime) -> None:
        """End a trouble: ``replaced`` or ``recovered``."""
        trouble = self.open.pop(node_id)
        self._ends[how] += 1
        self._repairing.append((now - trouble.began) / SECOND)
        self._never += _is_missed(trouble, now)

    def failures(self) -> Iterator[FailureClass]:
        """Say how often each fault came, the most frequent first."""
        for label, count in sorted(self.faults.items(), key=lambda each: (-each[1], each[0])):
            yield FailureClass(label=label, count=count, needing_repair=self._needing[label])

    def troubles(self, now: datetime) -> Troubles:
        """Sum everything up."""
        return Troubles(
            count=sum(self._ends.values()) + len(self.open),
            detected=len(self._detecting),
            decided=self._decided,
            too_late=self._too_late,
            never_decided=self._never + sum(_is_missed(each, now) for each in self.open.values()),
            too_late_seconds=TOO_LATE / SECOND,
            replaced=self._ends["replaced"],
            recovered=self._ends["recovered"],
            open=len(self.open),
            seconds_to_detect=times(self._detecting),
            seconds_to_repair=times(self._repairing),
        )


def _detects(fact: ev.Fact) -> bool:
    if isinstance(fact, ev.HealthJudged):
        return fact.health is Health.UNHEALTHY
    return isinstance(fact, ev.NodeLost)


def _is_missed(trouble: Trouble, now: datetime) -> bool:
    return trouble.decided is None and now - trouble.began > TOO_LATE


def times(seconds: array[float]) -> Times:
    """Describe lengths of time; percentiles are values that occurred (nearest rank)."""
    ranked = sorted(seconds)
    count = len(ranked)

    def at(share: float) -> float:
        return round(ranked[max(-(-int(share * 1000) * count // 1000), 1) - 1], 6) if count else 0.0

    steps = min(count, STEPS_MAX)
    return Times(
        count=count,
        p50=at(0.5),
        p95=at(0.95),
        p99=at(0.99),
        longest=at(1),
        steps=tuple(at((number + 1) / steps) for number in range(steps)),
    )
