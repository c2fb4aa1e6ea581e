"""Nodes as schedulers see them, made anew only where something about a node has changed.

While a replica waits for a place, all nodes are looked at in every turn, and hardly any is another
than in the turn before. To make ten thousand views takes a fifth of a second; to find out which are
still true, a tenth of that. A view is true while everything that it was made of is the same: the
records are frozen, so the same object is the same record.
"""

from __future__ import annotations

from typing import NamedTuple

from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance
from navarch.core.model.node import Node as Machine
from navarch.core.model.replica import Replica
from navarch.core.model.sightings import Catalog, Sightings
from navarch.core.serving import nodes
from navarch.core.serving.views import Node

_NOBODY: tuple[Replica, ...] = ()


class _Made(NamedTuple):
    """A view, and what it was made of."""

    view: Node
    machine: Machine
    instance: Instance | None
    catalog: Catalog | None
    replicas: tuple[Replica, ...]
    rate: float


class KeptViews:
    """The views of one fleet's nodes."""

    def __init__(self) -> None:
        """Begin with none. At most those of the nodes that there are will be kept."""
        self._made: dict[str, _Made] = {}

    def of(self, fleet: Fleet, sightings: Sightings) -> list[Node]:
        """Return what `nodes.views` returns. The views must not be changed.

        Cost: O(nodes), 1.5 µs for one that is as it was, 20 µs for any other.
        """
        kept = self._made
        made: dict[str, _Made] = {}
        for machine in fleet.nodes.values():
            if not machine.over:
                one = kept.get(machine.id)
                if one is None or not _is_true(one, fleet, sightings, machine):
                    one = _make(fleet, sightings, machine)
                made[machine.id] = one
        self._made = made
        return [one.view for one in made.values()]


def _is_true(one: _Made, fleet: Fleet, sightings: Sightings, machine: Machine) -> bool:
    id_ = machine.id
    if one.machine is not machine or one.instance is not fleet.instances.get(id_):
        return False
    if one.catalog is not sightings.catalogs.get(machine.provider):
        return False
    if one.replicas != (_replicas(fleet, id_) if id_ in fleet.replicas_on else _NOBODY):
        return False
    rate = nodes.fetch_rate(sightings, id_) if id_ in sightings.serving else 0.0
    return one.rate == rate and one.view.models == fleet.weights.get(id_, {}).keys()


def _make(fleet: Fleet, sightings: Sightings, machine: Machine) -> _Made:
    id_ = machine.id
    return _Made(
        nodes.view(fleet, sightings, machine),
        machine,
        fleet.instances.get(id_),
        sightings.catalogs.get(machine.provider),
        _replicas(fleet, id_),
        nodes.fetch_rate(sightings, id_),
    )


def _replicas(fleet: Fleet, node_id: str) -> tuple[Replica, ...]:
    return tuple(fleet.replicas_at(node_id))
