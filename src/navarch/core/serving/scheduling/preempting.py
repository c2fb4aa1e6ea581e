"""Making room: which running replicas of lower priority have to stop so that a pod fits.

Of all nodes the one is taken where the highest priority of those that stop is lowest, then where
the fewest stop, then where they have the least, then the first by name. On a node as many are kept
as fit beside the pod, those of the highest priority first. Equal or higher ones never stop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from navarch.core.serving.scheduling.shapes import Shape, key_of
from navarch.core.serving.scheduling.snapshot import UNIT, Snapshot, units
from navarch.core.serving.views import Pod

CANDIDATES_MAX: Final = 64
"""Nodes that are looked at closely for one pod: those whose least important replica is the least
important of all."""

STOPPING: Final = -(2**31)
"""The priority of what stops anyway: below all that a pod can have."""
NOBODY: Final = 2**62
"""The priority of nobody: above all that a pod can have."""
RELIEFS_MAX: Final = 16
"""Priorities for which what-ifs are kept; when there are more, they are made anew."""
RELIEVED_MAX: Final = 64
"""Shapes of pods that are kept for each."""


class Running(Struct, frozen=True):
    """A replica that has a place."""

    replica: str
    node: str
    gpus: tuple[int, ...] = ()
    """Indexes on its node; of slices one each."""
    share: float = 1.0
    mig: str = ""
    priority: int = 0
    agent_pool: str = ""
    stopping: bool = False
    """Whether it is told to stop already: its place costs nothing, whatever its priority is."""


class Victim(Struct, frozen=True):
    """A running replica, by row and position."""

    id: str
    row: int
    at: tuple[int, ...]
    units: int
    mig: str
    priority: int
    agent_pool: str

    @property
    def size(self) -> int:
        """How much it has, in millionths of GPUs; a slice counts as a seventh."""
        return len(self.at) * (UNIT // 7 if self.mig else self.units)

    def give(self, snapshot: Snapshot) -> None:
        """Free what it has."""
        snapshot.unreserve(self.row, self.at, self.units, mig=self.mig, agent_pool=self.agent_pool)

    def take(self, snapshot: Snapshot) -> None:
        """Undo `give`."""
        snapshot.reserve(self.row, self.at, self.units, mig=self.mig, agent_pool=self.agent_pool)


class Relief:
    """What if all replicas below a priority were gone: the same nodes without them."""

    def __init__(
        self, snapshot: Snapshot, by_row: Mapping[int, Sequence[Victim]], below: int
    ) -> None:
        """Copy the nodes, and free what those replicas have. Cost: O(GPUs and replicas)."""
        self._source = snapshot
        self._by_row = by_row
        self._below = below
        self._shapes: dict[tuple[object, ...], Shape] = {}
        self._begin()

    def _begin(self) -> None:
        self.snapshot = self._source.copy()
        self._shapes.clear()
        self.least = np.full(len(self.snapshot), NOBODY, dtype=np.int64)
        """The lowest priority on each row; `NOBODY` where there is none below."""
        for row in self._by_row:
            self._relieve(row)
        self._seen, self._epoch = len(self._source.log), self._source.epoch

    def lower(self, row: int) -> list[Victim]:
        """List the replicas of a row that may be stopped."""
        return [each for each in self._by_row.get(row, ()) if each.priority < self._below]

    def _relieve(self, row: int) -> None:
        lower = self.lower(row)
        for each in lower:
            each.give(self.snapshot)
        self.least[row] = min((each.priority for each in lower), default=NOBODY)

    def candidates(self, key: tuple[object, ...], make: Callable[[Snapshot], Shape]) -> list[int]:
        """List the rows where a pod would fit, those with the least important replicas first.

        Cost: O(rows that have changed since), and one comparison of all rows.
        """
        source = self._source
        if self._epoch != source.epoch:
            self._begin()
        for row in set(source.log[self._seen :]):
            self.snapshot.follow(source, row)
            self._relieve(row)
        self._seen = len(source.log)
        if key not in self._shapes:
            if len(self._shapes) >= RELIEVED_MAX:
                self._shapes.clear()
            self._shapes[key] = make(self.snapshot)
        shape = self._shapes[key]
        shape.refresh()
        rows = np.flatnonzero((shape.total >= 0) & (self.least < NOBODY))
        order = np.argsort(self.least[rows], kind="stable")[:CANDIDATES_MAX]
        found: list[int] = rows[order].tolist()
        return found


class Victims:
    """What runs, by row, and may be stopped."""

    def __init__(self, running: Sequence[Running], snapshot: Snapshot) -> None:
        """Know these replicas.

        Those on nodes or GPUs that the snapshot does not have are left out.
        """
        self._snapshot = snapshot
        self._by_row: dict[int, list[Victim]] = {}
        self._reliefs: dict[int, Relief] = {}
        self._lowest = NOBODY
        for each in running:
            row = snapshot.row.get(each.node)
            if row is None:
                continue
            try:
                at = tuple(snapshot.positions(row, each.gpus))
            except KeyError:
                continue
            victim = Victim(
                *(each.replica, row, at, units(each.share), each.mig),
                *(STOPPING if each.stopping else each.priority, each.agent_pool),
            )
            self._by_row.setdefault(row, []).append(victim)
            self._lowest = min(self._lowest, victim.priority)

    def stop(self, victim: Victim) -> None:
        """Count on a replica's place."""
        self._by_row[victim.row].remove(victim)
        victim.give(self._snapshot)

    def keep(self, victim: Victim) -> None:
        """Undo `stop`."""
        self._by_row[victim.row].append(victim)
        victim.take(self._snapshot)

    def find(
        self, pod: Pod, shape: Shape, make: Callable[[Snapshot], Shape]
    ) -> tuple[int, tuple[Victim, ...]] | None:
        """Find the row where the least has to stop, and what. None: nowhere is that enough.

        `make` gives the pod's shape against another snapshot. Leaves this one as it was. Cost:
        O(nodes and replicas) for the first pod of a priority, then a closer look at
        `CANDIDATES_MAX` nodes at most.
        """
        if self._lowest >= pod.priority:
            return None
        if pod.priority not in self._reliefs:
            if len(self._reliefs) >= RELIEFS_MAX:
                self._reliefs.clear()
            self._reliefs[pod.priority] = Relief(self._snapshot, self._by_row, pod.priority)
        relief = self._reliefs[pod.priority]
        best: tuple[tuple[int, int, int, int], int, tuple[Victim, ...]] | None = None
        for row in relief.candidates(key_of(pod), make):
            if best is not None and best[0][0] < relief.least[row]:
                break
            stopped = self._fewest(shape, row, relief.lower(row))
            if stopped:
                top = max(each.priority for each in stopped)
                rank = top, len(stopped), sum(each.size for each in stopped), row
                if best is None or rank < best[0]:
                    best = rank, row, stopped
        shape.refresh()
        return None if best is None else (best[1], best[2])

    def _fewest(self, shape: Shape, row: int, lower: list[Victim]) -> tuple[Victim, ...]:
        """Find few of a row's replicas without which the pod fits; empty: not even without all."""
        for one in sorted(lower, key=lambda each: (each.priority, each.size, each.id)):
            if one.priority > min(each.priority for each in lower):
                break
            if self._enough(shape, row, [one]):
                return (one,)
        stopped = sorted(lower, key=lambda each: (-each.priority, each.size, each.id))
        if not self._enough(shape, row, stopped):
            return ()
        for each in list(stopped):
            fewer = [other for other in stopped if other is not each]
            if fewer and self._enough(shape, row, fewer):
                stopped = fewer
        return tuple(sorted(stopped, key=lambda each: (each.priority, each.id)))

    def _enough(self, shape: Shape, row: int, stopped: Sequence[Victim]) -> bool:
        """Whether the pod fits on a row without these."""
        for each in stopped:
            each.give(self._snapshot)
        fits = shape.choose(row) is not None
        if fits and shape.moves:
            shape.refresh()
            fits = shape.fits(row)
        for each in reversed(stopped):
            each.take(self._snapshot)
        return fits
