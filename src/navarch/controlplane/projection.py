"""Which records some facts have moved, for the tables that people read in SQL.

A fact moves what it is about and, behind that, the pool of the machine and the machine of the
node. What is looked at in vain is written again as it is, which harms nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.stores.base import Projection


def whole(fleet: Fleet) -> Projection:
    """Return every record there is. Cost: O(records)."""
    return Projection(dict(fleet.nodes), dict(fleet.instances), dict(fleet.pools), whole=True)


def touched(facts: Iterable[ev.Fact], fleet: Fleet) -> Projection:
    """Return the records that `facts` have moved, as `fleet`, which has them folded, holds them."""
    changed = Projection()
    for fact in facts:
        if isinstance(fact, ev.ServingFact | ev.CommandFact):
            continue
        for subject in ev.subjects(fact):
            _look(changed, fleet, subject)
        if isinstance(fact, ev.Resumed):
            for id_ in fleet.uncertain:
                changed.instances[id_] = fleet.instances[id_]
    return changed


def _look(changed: Projection, fleet: Fleet, subject: str) -> None:
    """Add the records of this name, and None where the fleet has none any more."""
    instance, node = fleet.instances.get(subject), fleet.nodes.get(subject)
    if subject in fleet.pools:
        changed.pools[subject] = fleet.pools[subject]
    if instance is not None or subject not in fleet.pools:
        changed.instances[subject] = instance
    if node is not None or subject not in fleet.pools:
        changed.nodes[subject] = node
    for record in (instance, node):
        if record is not None and record.pool in fleet.pools:
            changed.pools[record.pool] = fleet.pools[record.pool]
    if node is not None and node.instance_id:
        changed.instances[node.instance_id] = fleet.instances.get(node.instance_id)
