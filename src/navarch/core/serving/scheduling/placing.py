"""Placing pods: in the order of their priority, gangs as one, and the reason for each answer.

A pod goes to the node with the highest score, the first by name of equal ones. What it takes is
reserved in the snapshot before the next is looked at. When nothing fits, replicas of lower priority
may have to make room (`preempting`), and whoever still has no place is told what would help
(`cures`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from navarch.core.model.resources import AgentPool
from navarch.core.serving.scheduling import preempting
from navarch.core.serving.scheduling.cures import cures
from navarch.core.serving.scheduling.gpus import ask_of
from navarch.core.serving.scheduling.preempting import Running
from navarch.core.serving.scheduling.shapes import Bound, Shape, key_of
from navarch.core.serving.scheduling.snapshot import UNIT, Snapshot
from navarch.core.serving.views import Placement, Pod

SHAPES_MAX: Final = 1024
"""Shapes of pods that are remembered; when there are more, all are worked out anew."""
CURES_MAX: Final = 64
"""Shapes of pods in one pass for which the change that would help is looked for. The others are
told so."""
ROOM: Final = AgentPool()
"""The pool of pods that belong to none."""


class Taken(Struct, frozen=True):
    """What a pod, or something that runs, has of a row."""

    row: int
    at: tuple[int, ...]
    units: int
    mig: str
    agent_pool: str

    def reserve(self, snapshot: Snapshot) -> None:
        """Take it."""
        snapshot.reserve(self.row, self.at, self.units, mig=self.mig, agent_pool=self.agent_pool)

    def unreserve(self, snapshot: Snapshot) -> None:
        """Give it back."""
        snapshot.unreserve(self.row, self.at, self.units, mig=self.mig, agent_pool=self.agent_pool)


class Placed(Struct, frozen=True):
    """A pod's place, and what has to make room for it."""

    placement: Placement
    taken: Taken
    victims: tuple[preempting.Victim, ...] = ()


class Planner:
    """Places pods on the nodes of one snapshot, which it changes by what it reserves."""

    def __init__(
        self,
        bound: Sequence[Bound],
        snapshot: Snapshot,
        pools: AgentPool | Mapping[str, AgentPool] | None = None,
        running: Sequence[Running] = (),
    ) -> None:
        """Place with these plugins, for one pool of agents or for several by ``namespace/name``."""
        self.bound = bound
        self.snapshot = snapshot
        self._pools = pools
        self._shapes: dict[tuple[object, ...], Shape] = {}
        self._victims = preempting.Victims(running, snapshot)
        self._told: dict[int, tuple[str, dict[str, int], Mapping[str, str], tuple[str, ...]]] = {}

    def pool_of(self, pod: Pod) -> AgentPool:
        """Give the pool that a pod belongs to."""
        if isinstance(self._pools, AgentPool):
            return self._pools
        return (self._pools or {}).get(pod.agent_pool, ROOM)

    def shape_of(self, pod: Pod) -> Shape:
        """Give what all nodes are to a pod. Cost: O(nodes) for the first of its shape."""
        key = key_of(pod)
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= SHAPES_MAX:
                self._shapes.clear()
            shape = Shape(pod, self.pool_of(pod), self.bound, self.snapshot)
            self._shapes[key] = shape
        return shape

    def place(self, pods: Sequence[Pod]) -> list[Placement]:
        """Place all pods; answers come in their order.

        Pods are tried by priority, the highest first, and in the given order where it is equal; a
        gang when its first member's turn comes. Whoever wants to be near others is tried again
        after those.
        """
        order = sorted(range(len(pods)), key=lambda at: -pods[at].priority)
        gangs: dict[tuple[str, str], list[int]] = {}
        units: list[list[int]] = []
        for at in order:
            gang = (pods[at].namespace, pods[at].gang)
            if gang[1] and gang in gangs:
                gangs[gang].append(at)
                continue
            units.append([at])
            if gang[1]:
                gangs[gang] = units[-1]
        answers: dict[int, Placement] = {}
        notes: dict[int, str] = {}
        while units:
            left = [unit for unit in units if not self._place_unit(unit, pods, answers, notes)]
            again = [unit for unit in left if any(_wants_company(pods[at]) for at in unit)]
            units = again if len(left) < len(units) else []
        return [
            answers[at] if at in answers else self._unplaced(pod, notes.get(at, ""))
            for at, pod in enumerate(pods)
        ]

    # --- one pod, or one gang -------------------------------------------------------------------

    def _place_unit(
        self,
        unit: list[int],
        pods: Sequence[Pod],
        answers: dict[int, Placement],
        notes: dict[int, str],
    ) -> bool:
        """Place a pod, or all of a gang. Tells whether it did; if not, all is as it was."""
        if len(unit) == 1:
            placed = self._place_one(pods[unit[0]])
            if placed is not None:
                answers[unit[0]] = placed.placement
            return placed is not None
        done: dict[int, Placed] = {}
        for at in sorted(unit, key=lambda each: (-ask_of(pods[each]).count, unit.index(each))):
            placed = self._place_one(pods[at])
            if placed is None:
                for each in reversed(done.values()):
                    self._undo(each)
                self._tell_gang(unit, pods, at, len(done), notes)
                return False
            done[at] = placed
        for at, each in done.items():
            answers[at] = each.placement
        return True

    def _tell_gang(
        self, unit: list[int], pods: Sequence[Pod], at: int, fitted: int, notes: dict[int, str]
    ) -> None:
        blocked = pods[at]
        why = self.shape_of(blocked)
        why.refresh()
        reasons = (
            summary(why.counts(), len(self.snapshot)) if fitted == 0 else "no room beside them"
        )
        for each in unit:
            notes[each] = (
                f"gang {blocked.gang}: {fitted} of {len(unit)} fit, {blocked.name} does not "
                f"({ask_of(blocked).fault or reasons})"
            )

    def _place_one(self, pod: Pod) -> Placed | None:
        ask = ask_of(pod)
        if ask.fault:
            return None
        shape = self.shape_of(pod)
        row = shape.best()
        if row < 0:
            return self._preempt(pod, shape)
        return self._put(pod, shape, row, ())

    def _put(
        self, pod: Pod, shape: Shape, row: int, victims: tuple[preempting.Victim, ...]
    ) -> Placed:
        at = shape.choose(row)
        assert at is not None, f"{shape.snapshot.names[row]} fits {pod.name}, and has no GPUs"
        ask, snapshot = ask_of(pod), self.snapshot
        why_not, score, praise = shape.why_not(), shape.score(row), shape.praise(row)
        taken = Taken(row, at, ask.units, pod.mig_profile, pod.agent_pool)
        taken.reserve(snapshot)
        placement = Placement(
            pod.name,
            snapshot.names[row],
            score,
            praise,
            tuple(snapshot.gpu_index(row, each) for each in at),
            ask.units / UNIT if ask.kind == "share" else 1.0,
            why_not=why_not,
            preempts=tuple(victim.id for victim in victims),
        )
        return Placed(placement, taken, victims)

    def _preempt(self, pod: Pod, shape: Shape) -> Placed | None:
        if self.pool_of(pod).spec.scheduling.preemption == "never":
            return None
        pool = self.pool_of(pod)

        def against(what_if: Snapshot) -> Shape:
            return Shape(pod, pool, self.bound, what_if)

        found = self._victims.find(pod, shape, against)
        if found is None:
            return None
        row, victims = found
        for victim in victims:
            self._victims.stop(victim)
        shape.refresh()
        return self._put(pod, shape, row, victims)

    def _undo(self, placed: Placed) -> None:
        placed.taken.unreserve(self.snapshot)
        for victim in reversed(placed.victims):
            self._victims.keep(victim)

    # --- why not ----------------------------------------------------------------------------------

    def _unplaced(self, pod: Pod, note: str) -> Placement:
        if fault := ask_of(pod).fault:
            return Placement(pod.name, reasons=(note, fault) if note else (fault,))
        shape = self.shape_of(pod)
        told = self._told.get(id(shape))
        if told is None:
            shape.refresh()
            counts = shape.counts()
            late = len(self._told) >= CURES_MAX
            pool = self.pool_of(pod)
            asked = () if late or shape.best() >= 0 else cures(shape, self.bound, pool)
            cure = next((each.text for each in asked), "")
            reasons = (summary(counts, len(self.snapshot)), *_lines(counts))
            if late:
                reasons += ("too many kinds of pods wait: no cure was looked for",)
            told = self._told[id(shape)] = cure, counts, shape.why_not(), reasons
        cure, counts, why_not, reasons = told
        if note:
            reasons = (note, *reasons)
        return Placement(pod.name, None, 0.0, reasons, counts=counts, why_not=why_not, cure=cure)


def _wants_company(pod: Pod) -> bool:
    return any(not term.anti and term.weight <= 0 for term in pod.replica_affinity)


def _lines(counts: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(f"{text}: {count}" for text, count in counts.items())


def summary(counts: Mapping[str, int], nodes: int) -> str:
    """Say in one line why nothing fits, such as ``41 nodes: 30 no free GPUs, 11 cordoned``."""
    noun = "node" if nodes == 1 else "nodes"
    if not nodes:
        return "0 nodes"
    found = ", ".join(f"{count} {text}" for text, count in counts.items())
    return f"{nodes} {noun}: {found}" if found else f"{nodes} {noun}, all taken by its own gang"
