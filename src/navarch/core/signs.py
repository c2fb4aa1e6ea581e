"""Signs of life that teach nothing: marked at once, outside of any step.

Nearly every heartbeat says only that a node is still there. It makes no fact, so there is nothing
to journal, nothing to decide and nothing to wait for: it is marked in the columns of the sightings
and answered from the state as it is. Each function here either does that whole, or does nothing
and returns None, which means: let it wait for the next step like any other message.

What may be told between two steps is what the journal has. `unsettled` are the nodes that facts
speak of which are not in the journal yet; nothing is told to them here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from navarch.core import interpret
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Contact, Phase
from navarch.core.model.samples import Columns, Readings, moment_of
from navarch.core.model.sightings import Sightings
from navarch.core.settings import Settings


def of_node(
    fleet: Fleet,
    sightings: Sightings,
    node_id: str,
    sample: Columns | None,
    now: datetime,
    unsettled: frozenset[str],
) -> bool | None:
    """Mark a heartbeat that says nothing of replicas; say whether commands wait for the node.

    None: it teaches something, is refused, or its answer is not in the journal. Cost: O(1).
    """
    node = fleet.nodes.get(node_id)
    if (
        node is None
        or node.contact is not Contact.CONNECTED
        or node.phase is Phase.TERMINATED
        or node_id in unsettled
        or not fleet.tag
    ):
        return None
    pending = node_id in fleet.pending
    if pending and _shows_done(fleet, node_id):
        return None
    sightings.heard[node_id] = now
    if sample is not None:
        sightings.samples.record_columns(node_id, moment_of(now), sample)
    return pending


def of_serving(
    fleet: Fleet,
    sightings: Sightings,
    heartbeat: msg.Heartbeat,
    now: datetime,
    settings: Settings,
    unsettled: frozenset[str],
) -> bool | None:
    """Do the same for a heartbeat that says what runs on its node. Cost: O(what it says)."""
    node_id = heartbeat.node_id
    if node_id in unsettled or heartbeat.serving is None:
        return None
    learned = interpret.interpret(fleet, sightings, heartbeat, now, settings)
    if isinstance(learned, msg.Refused) or learned:
        return None
    remember(sightings, heartbeat, now)
    return node_id in fleet.pending


def of_many(
    fleet: Fleet,
    sightings: Sightings,
    node_ids: frozenset[str],
    readings: tuple[Sequence[str], Readings],
    now: datetime,
    unsettled: frozenset[str],
) -> list[str] | None:
    """Mark many nodes that say nothing of replicas; list those for whom commands wait, by id.

    `readings` are the samples of those who sent one, each node once. None: one of them teaches
    something, is refused, or may not be told yet; then none is marked. Cost: O(nodes), in a few
    set operations and NumPy calls.
    """
    known = fleet.nodes.keys() >= node_ids and node_ids.isdisjoint(fleet.gone)
    if (
        not known
        or not node_ids.isdisjoint(fleet.lost)
        or not node_ids.isdisjoint(unsettled)
        or not fleet.tag
    ):
        return None
    waiting = sorted(node_id for node_id in fleet.pending if node_id in node_ids)
    if any(_shows_done(fleet, node_id) for node_id in waiting):
        return None
    sightings.heard.mark(node_ids, now)
    sightings.samples.record_many(readings[0], now, readings[1])
    return waiting


def of_poll(
    fleet: Fleet, sightings: Sightings, node_id: str, now: datetime, unsettled: frozenset[str]
) -> bool:
    """Mark a poll for which no command waits; False: it has to go through a step."""
    if node_id in fleet.pending:
        return False
    return of_node(fleet, sightings, node_id, None, now, unsettled) is not None


def remember(sightings: Sightings, heartbeat: msg.Heartbeat, now: datetime) -> None:
    """Mark a heartbeat, whatever it taught."""
    sightings.heard[heartbeat.node_id] = now
    if heartbeat.sample is not None:
        sightings.samples.record(heartbeat.node_id, now, heartbeat.sample)
    if heartbeat.serving is not None:
        sightings.serving[heartbeat.node_id] = heartbeat.serving


def _shows_done(fleet: Fleet, node_id: str) -> bool:
    """Whether a sign of life ends a command, of an agent that never acknowledges."""
    return any(
        command.state is CommandState.DELIVERED and not command.acknowledges
        for command in fleet.commands_for(node_id)
    )
