"""Rules of the workload manager: what it goes by is what the fleet believes that it goes by.

And where it says no to what an operator wanted, the wish is taken back in the same step: a cordon
that does not hold must not look like one.
"""

from __future__ import annotations

from collections.abc import Sequence

from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Told
from navarch.core.model.node import Intent
from navarch.simulator.books import Books
from navarch.simulator.broken import Broken
from navarch.simulator.repair_books import Record
from navarch.simulator.workloads import Workloads

WANTED = {
    Intent.IN_SERVICE: Told.OPEN,
    Intent.CORDONED: Told.CORDONED,
    Intent.DRAINED: Told.CORDONED,
    Intent.DRAINING: Told.DRAINING,
}
"""What each wish of an operator means for the workload manager."""


def was_heard(
    manager: Workloads, fact: ev.WorkloadTold | ev.WorkloadRefused | ev.NodeEmptied
) -> None:
    """Check that the manager agreed, or refused, or has nothing left on a node that it drains."""
    truth = manager.told(fact.node_id)
    match fact:
        case ev.WorkloadTold() if truth is not fact.told:
            raise Broken("lost", f"{fact.node_id} is {truth} there, and {fact.told} here")
        case ev.WorkloadRefused() if not manager.refused.get(fact.node_id):
            raise Broken("unsafe", f"{fact.node_id} is called refused, and never was")
        case ev.NodeEmptied() if truth is Told.DRAINING and not manager.is_empty(fact.node_id):
            raise Broken("unsafe", f"{fact.node_id} is called empty, and has work")
        case _:
            pass


def are_taken_back(refused: Sequence[ev.WorkloadRefused], facts: Sequence[ev.Event]) -> None:
    """Check that the wishes which were refused in a step are taken back in it."""
    changed = {fact.node_id for fact in facts if isinstance(fact, ev.IntentChanged)}
    for fact in refused:
        if fact.node_id not in changed:
            raise Broken("unsafe", f"{fact.node_id} is not {fact.told}, and looks like it")


def is_about_a_wish(books: Books, record: Record, fact: ev.WorkloadRefused) -> bool:
    """Whether it is an operator, and nobody else, whose wish is refused."""
    one = books.instances.get(fact.node_id)
    if one is not None and (one.condemned_at or one.releasing_since or one.ending):
        return False
    if record.mending is not None or record.handed_over or not record.wish_is_open:
        return False
    return fact.told is WANTED[record.intent]


def may_take_back(record: Record) -> None:
    """Check that what is taken back was a wish, and that it was still open."""
    if not record.wish_is_open:
        raise Broken("lost", f"{record.id} is not {record.intent} any more, and nobody asked")


def disagreement(fleet: Fleet, manager: Workloads) -> tuple[str, str]:
    """Say where the manager and the fleet do not agree; empty when they do."""
    for node in fleet.nodes.values():
        if node.over:
            continue
        if node.untold:
            text = f"{node.id} should be {node.workload}, and was told {node.told}"
            return "unconverged", text
        truth = manager.told(node.id)
        if truth is not node.told:
            return "lost", f"{node.id} is {truth} for the workload manager, believed {node.told}"
    return "", ""
