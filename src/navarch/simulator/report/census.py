"""The census: which machine is in which state, kept up to date fact by fact.

What the control plane knows is read from its fleet, one record for each fact, and joined with what
is true: a node that is open for work and broken is *undetected*, and serves nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct, field

from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import InstanceState
from navarch.core.model.ladder import Told
from navarch.core.model.node import Contact, Node, Phase
from navarch.core.model.report import Health
from navarch.simulator.report.samples import STATES

SERVING, UNDETECTED, BOOTING, UNHEALTHY, HELD, SILENT, ENDING = range(len(STATES))
HOUR = timedelta(hours=1)

OPEN = frozenset({SERVING, UNDETECTED})
"""States in which the control plane takes a node for open and well."""


class Place(Struct, frozen=True):
    """Where one machine stands."""

    pool: str
    state: int
    """An index of `STATES`."""
    gpus: int


class Count(Struct):
    """The machines of one pool."""

    nodes: list[int] = field(default_factory=lambda: [0] * len(STATES))
    """By state."""
    gpus: list[int] = field(default_factory=lambda: [0] * len(STATES))
    """By state."""
    gpu_hours: list[float] = field(default_factory=lambda: [0.0] * len(STATES))
    """By state; of serving ones, those for which there was demand."""
    idle_hours: float = 0.0
    """GPU-hours of serving nodes beyond demand."""
    demand: float = math.inf
    """In nodes, at the newest sample; before the first, whatever serves is wanted."""
    upto: datetime | None = None
    """Until when the hours are counted."""

    def advance(self, now: datetime) -> None:
        """Count the hours until now. Cost: O(1)."""
        if self.upto is not None and now > self.upto:
            hours = (now - self.upto) / HOUR
            for state, gpus in enumerate(self.gpus):
                self.gpu_hours[state] += gpus * hours
            serving = self.nodes[SERVING]
            if serving > self.demand:
                idle = self.gpus[SERVING] * hours * (1 - self.demand / serving)
                self.gpu_hours[SERVING] -= idle
                self.idle_hours += idle
        self.upto = now


class Census:
    """Where all machines stand."""

    def __init__(self, gpus_of: Callable[[str], int], is_out: Callable[[str], bool]) -> None:
        """Know nobody.

        `gpus_of` tells how many GPUs the machine of an id has, 0 before it exists; `is_out` whether
        it is broken or gone in truth.
        """
        self.places: dict[str, Place] = {}
        """By the id of instance or node."""
        self.pools: dict[str, Count] = {}
        """By name."""
        self._gpus_of = gpus_of
        self._is_out = is_out

    def look(self, fleet: Fleet, id_: str, now: datetime) -> tuple[Place | None, Place | None]:
        """Look at one machine again: where it stood, and where it stands. Cost: O(1)."""
        before = self.places.get(id_)
        after = self._place(fleet, id_)
        if after == before:
            return before, after
        for place, sign in ((before, -1), (after, 1)):
            if place is not None:
                count = self.pools.setdefault(place.pool, Count())
                count.advance(now)
                count.nodes[place.state] += sign
                count.gpus[place.state] += sign * place.gpus
        if after is None:
            del self.places[id_]
        else:
            self.places[id_] = after
        return before, after

    def _place(self, fleet: Fleet, id_: str) -> Place | None:
        instance, node = fleet.instances.get(id_), fleet.nodes.get(id_)
        if instance is not None:
            if instance.ended:
                return None
            pool = instance.pool
            ending = instance.state is InstanceState.TERMINATING
        elif node is not None and node.phase is not Phase.TERMINATED:
            pool, ending = node.pool, node.over
        else:
            return None
        gpus = self._gpus_of(id_)
        if ending:
            return Place(pool, ENDING, gpus)
        if node is None:
            return Place(pool, BOOTING, gpus)
        state = _state(node)
        if state == SERVING and self._is_out(id_):
            state = UNDETECTED
        return Place(pool, state, len(node.gpus))


def _state(node: Node) -> int:
    """Tell what the control plane takes a node for."""
    if node.contact is Contact.LOST:
        return SILENT
    if node.health is Health.UNHEALTHY:
        return UNHEALTHY
    return SERVING if node.workload is Told.OPEN else HELD
