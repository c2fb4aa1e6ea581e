"""How many machines of each pool are in which state, followed from fact to fact.

Counting ten thousand machines at every scrape would take milliseconds. So each machine is counted
once, under what holds for it, and looked at again when a fact was about it. What is counted here
follows from the fleet alone: counted anew, the numbers are the same (tests/controlplane).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum, IntEnum
from typing import NamedTuple

from navarch.core.model.fleet import BOOTING, Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Contact, Node, Phase
from navarch.core.model.report import Health
from navarch.core.model.touched import Touched


class Mark(Enum):
    """What may hold for a machine."""

    BOOTING = "booting"
    RUNNING = "running"
    """Bought, and its agent has registered."""
    CONDEMNED = "condemned"
    REPAIRING = "repairing"
    """Repaired where it is."""
    HEALTHY = "healthy"
    """It serves."""
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    LOST = "lost"
    HANDED_OVER = "handed over"


class Paid(IntEnum):
    """What becomes of the time of a machine's GPUs."""

    NOT = 0
    """Nobody pays for it: it is not there yet, or not any more."""
    SERVING = 1
    """They work, or could."""
    LOST = 2
    """It is paid for and gives nothing."""


class Bought(NamedTuple):
    """What a machine costs depends on."""

    pool: str
    provider: str
    instance_type: str
    spot: bool


class Look(NamedTuple):
    """What is counted of one machine."""

    pool: str
    marks: tuple[Mark, ...]
    paid: Paid
    gpus: int
    bought: Bought | None
    """None: it is not ours, or nothing is paid for it."""


NOTHING = Look("", (), Paid.NOT, 0, None)
"""Of a machine that is no more."""

Changed = Callable[[str, Look, Look], None]
"""Is told the id of a machine, how it was, and how it is."""


class Census:
    """Machines of one fleet, by what holds for them."""

    def __init__(self, fleet: Fleet, changed: Changed) -> None:
        """Follow this fleet; `changed` is called for every machine now. Cost: O(machines)."""
        self.counts: Counter[tuple[str, Mark]] = Counter()
        """By pool, empty for machines outside of pools."""
        self._fleet = fleet
        self._changed = changed
        self._touched: Touched = fleet.follow()
        self._looks: dict[str, Look] = {}
        self._gpus: dict[tuple[str, str], int] = {}
        """GPUs of the newest node of each provider and type."""
        self.refresh()

    def count(self, pool: str, mark: Mark) -> int:
        """How many machines of a pool something holds for."""
        return self.counts[pool, mark]

    def refresh(self, instance_id: str = "") -> None:
        """Look again at an instance that a fact was about, and at the nodes that changed since.

        Cost: O(those); once more than 20,000 nodes changed, O(machines).
        """
        touched = self._touched.take()
        if touched is None:
            fleet = self._fleet
            touched = self._looks.keys() | fleet.nodes.keys() | fleet.instances.keys()
        if instance_id:
            touched.add(instance_id)
        for id_ in touched:
            self._refresh(id_)

    def _refresh(self, id_: str) -> None:
        before = self._looks.get(id_, NOTHING)
        after = self._look(self._fleet.instances.get(id_), self._fleet.nodes.get(id_))
        if after == before:
            return
        for mark in before.marks:
            self.counts[before.pool, mark] -= 1
        for mark in after.marks:
            self.counts[after.pool, mark] += 1
        if after == NOTHING:
            del self._looks[id_]
        else:
            self._looks[id_] = after
        self._changed(id_, before, after)

    def _look(self, instance: Instance | None, node: Node | None) -> Look:
        if instance is not None and instance.ended:
            instance = None
        if node is not None and node.phase is Phase.TERMINATED:
            node = None
        if instance is None and node is None:
            return NOTHING
        pool = node.pool if instance is None and node is not None else ""
        bought = None
        if instance is not None:
            pool = instance.pool
            if _is_paid(instance):
                type_ = instance.instance_type
                bought = Bought(pool, instance.provider, type_, instance.spot)
        if pool not in self._fleet.pools:
            pool = ""  # agents may call their pool what they like
        paid, gpus = self._use(instance, node)
        return Look(pool, _marks(instance, node), paid, gpus, bought)

    def _use(self, instance: Instance | None, node: Node | None) -> tuple[Paid, int]:
        if node is not None:
            gpus = len(node.gpus)
            if instance is not None and gpus:
                self._gpus[instance.provider, instance.instance_type] = gpus
            well = node.connected and node.health is not Health.UNHEALTHY
            works = well and node.repair is None and not node.over
            return (Paid.SERVING if works else Paid.LOST), gpus
        if instance is not None and _is_paid(instance):
            return Paid.LOST, self._gpus.get((instance.provider, instance.instance_type), 0)
        return Paid.NOT, 0


def _is_paid(instance: Instance) -> bool:
    """Whether the provider has the machine, as far as anybody knows."""
    there = (InstanceState.PENDING_REGISTRATION, InstanceState.RUNNING)
    return bool(instance.ref) or instance.state in there


def _marks(instance: Instance | None, node: Node | None) -> tuple[Mark, ...]:
    holds: list[Mark] = []
    if instance is not None:
        if instance.state in BOOTING:
            holds.append(Mark.BOOTING)
        if instance.state is InstanceState.RUNNING:
            holds.append(Mark.RUNNING)
        if instance.condemned:
            holds.append(Mark.CONDEMNED)
    if node is not None and not node.over:
        if node.repair is not None:
            holds.append(Mark.REPAIRING)
        if node.serving:
            holds.append(Mark.HEALTHY)
        if node.contact is Contact.LOST:
            holds.append(Mark.LOST)
        if node.health is Health.DEGRADED:
            holds.append(Mark.DEGRADED)
        if node.health is Health.UNHEALTHY:
            holds.append(Mark.UNHEALTHY)
        if node.handed_over:
            holds.append(Mark.HANDED_OVER)
    return tuple(holds)
