"""Hazards: faults that come by themselves, each at its own rate, to nodes picked by chance.

Each hazard is one Poisson process for the largest fleet there can be, of which only those events
count that fall on a place where a node is. That is exact at every size of the fleet, and costs
nothing for a node to which nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from navarch.simulator.dice import Dice, Stream
from navarch.simulator.timeline import Timeline
from navarch.simulator.twin.blueprint import Hazard
from navarch.simulator.twin.clouds import waiting_time
from navarch.simulator.twin.node import Node

DAY = timedelta(days=1)


class Roster:
    """The nodes that are there, for picking one by chance."""

    def __init__(self) -> None:
        """Have nobody."""
        self._nodes: list[Node] = []
        self._places: dict[int, int] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._nodes)

    def add(self, node: Node) -> None:
        """Count a node in. Cost: O(1)."""
        self._places[id(node)] = len(self._nodes)
        self._nodes.append(node)

    def remove(self, node: Node) -> None:
        """Count a node out, if it is in. Cost: O(1)."""
        place = self._places.pop(id(node), None)
        if place is None:
            return
        last = self._nodes.pop()
        if last is not node:
            self._nodes[place] = last
            self._places[id(last)] = place

    def at(self, place: int) -> Node | None:
        """Who has this place; None when it is empty."""
        return self._nodes[place] if place < len(self._nodes) else None

    def all(self) -> tuple[Node, ...]:
        """Everybody, in the order of their places."""
        return tuple(self._nodes)


class Hazards:
    """Lets faults happen."""

    def __init__(
        self,
        hazards: tuple[Hazard, ...],
        roster: Roster,
        places: int,
        time: Timeline,
        dice: Dice,
        happen: Callable[[Node, Hazard], None],
    ) -> None:
        """Know the hazards, and how many nodes there can be at most (`places`)."""
        self._hazards = hazards
        self._roster = roster
        self._places = max(places, 1)
        self._time = time
        self._rolls = [
            dice.stream("hazard", str(number), hazard.fault.label)
            for number, hazard in enumerate(hazards)
        ]
        self._happen = happen

    def begin(self) -> None:
        """Let them come from now on."""
        for hazard, rolls in zip(self._hazards, self._rolls, strict=True):
            if hazard.per_node_day > 0:
                self._wait(hazard, rolls)

    def _wait(self, hazard: Hazard, rolls: Stream) -> None:
        mean = DAY / (hazard.per_node_day * self._places)
        self._time.after(waiting_time(rolls, mean), self._come, hazard, rolls)

    def _come(self, hazard: Hazard, rolls: Stream) -> None:
        node = self._roster.at(rolls.integer(0, self._places - 1))
        if node is not None and (not hazard.pools or node.pool in hazard.pools):
            self._happen(node, hazard)
        self._wait(hazard, rolls)
