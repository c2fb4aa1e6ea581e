"""Making room: which running replicas of lower priority have to stop so that a pod fits.

Of all nodes the one is taken where the highest priority of those that stop is lowest, then where
the fewest stop, then where they have the least, then the first by name. On a node as many are kept
as fit beside the pod, those of the highest priority first. Equal or higher ones never stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from navarch.core.serving.scheduling.shapes import Shape
from navarch.core.serving.scheduling.snapshot import UNIT, Snapshot, units
from navarch.core.serving.views import Pod

CANDIDATES_MAX: Final = 256
"""Nodes that are looked at closely for one pod: those whose least important replica is the least
important of all."""

STOPPING: Final = -(2**31)
"""The priority of what stops anyway: below all that a pod can have."""


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


class Victims:
    """What runs, by row, and may be stopped."""

    def __init__(self, running: Sequence[Running], snapshot: Snapshot) -> None:
        """Know these replicas.

        Those on nodes or GPUs that the snapshot does not have are left out.
        """
        self._snapshot = snapshot
        self._by_row: dict[int, list[Victim]] = {}
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

    def stop(self, victim: Victim) -> None:
        """Count on a replica's place."""
        self._by_row[victim.row].remove(victim)
        self._give(victim)

    def keep(self, victim: Victim) -> None:
        """Undo `stop`."""
        self._by_row[victim.row].append(victim)
        self._take(victim)

    def _give(self, victim: Victim) -> None:
        self._snapshot.unreserve(
            victim.row, victim.at, victim.units, mig=victim.mig, agent_pool=victim.agent_pool
        )

    def _take(self, victim: Victim) -> None:
        self._snapshot.reserve(
            victim.row, victim.at, victim.units, mig=victim.mig, agent_pool=victim.agent_pool
        )

    def find(self, pod: Pod, shape: Shape) -> tuple[int, tuple[Victim, ...]] | None:
        """Find the row where the least has to stop, and what. None: nowhere is that enough.

        Leaves the snapshot as it was. Cost: O(nodes), and at most `CANDIDATES_MAX` closer looks.
        """
        lower = {
            row: found
            for row, replicas in self._by_row.items()
            if (found := [each for each in replicas if each.priority < pod.priority])
        }
        if not lower:
            return None
        for replicas in lower.values():
            for each in replicas:
                self._give(each)
        shape.refresh()
        rows = [row for row in np.flatnonzero(shape.total >= 0).tolist() if row in lower]
        for replicas in reversed(lower.values()):
            for each in reversed(replicas):
                self._take(each)
        rows.sort(key=lambda row: (min(each.priority for each in lower[row]), row))
        best: tuple[tuple[int, int, int, int], int, tuple[Victim, ...]] | None = None
        for row in rows[:CANDIDATES_MAX]:
            stopped = self._fewest(shape, row, lower[row])
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
            self._give(each)
        fits = shape.choose(row) is not None
        if fits:
            shape.refresh()
            fits = shape.fits(row)
        for each in reversed(stopped):
            self._take(each)
        return fits
