"""Folding what becomes of commands, and what their ends say about nodes."""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model.command import Command, CommandState, CommandType
from navarch.core.model.fleet import Fleet


def apply(fleet: Fleet, event: ev.CommandFact) -> None:
    """Change `fleet` as the fact says. Cost: O(commands that wait for the node)."""
    if isinstance(event, ev.CommandIssued):
        _issue(fleet, event)
        return
    before = fleet.commands[event.command_id]
    match event:
        case ev.CommandDelivered():
            after = replace(
                before,
                state=CommandState.DELIVERED,
                delivered_at=event.at,
                acknowledges=event.acknowledges,
            )
        case ev.CommandFinished():
            after = _finished(fleet, before, event)
        case _:
            assert_never(event)
    fleet.commands[event.command_id] = after


def _issue(fleet: Fleet, event: ev.CommandIssued) -> None:
    fleet.command_serial += 1
    fleet.commands[event.command_id] = Command(
        id=event.command_id,
        node_id=event.node_id,
        type=event.type,
        issued_at=event.at,
        expires_at=event.expires_at,
        parameters=event.parameters,
        reason=event.reason,
    )
    fleet.pending[event.node_id] = (*fleet.pending.get(event.node_id, ()), event.command_id)
    node = fleet.nodes.get(event.node_id)
    if node is not None and event.type is CommandType.DRAIN:
        fleet.put_node(replace(node, drain_ordered_at=event.at))


def _finished(fleet: Fleet, before: Command, event: ev.CommandFinished) -> Command:
    after = replace(before, state=event.state, message=event.message, output=event.output)
    if not after.finished:
        return after
    node = fleet.nodes.get(before.node_id)
    if node is not None and _is_emptied_by(fleet, after):
        fleet.put_node(replace(node, drained_at=event.at))
    left = tuple(id_ for id_ in fleet.pending.get(before.node_id, ()) if id_ != before.id)
    if left:
        fleet.pending[before.node_id] = left
    else:
        fleet.pending.pop(before.node_id, None)
    return replace(after, finished_at=event.at)


def _is_emptied_by(fleet: Fleet, command: Command) -> bool:
    """Whether a command that ended has emptied its node; an older drain says nothing any more."""
    if command.type is not CommandType.DRAIN or command.state is not CommandState.SUCCEEDED:
        return False
    instance = fleet.instances.get(command.node_id)
    node = fleet.nodes.get(command.node_id)
    begun = [
        instance.releasing_since or instance.draining_since if instance is not None else None,
        instance.interrupted_at if instance is not None else None,
        node.repair.begun_at if node is not None and node.repair is not None else None,
    ]
    return all(since is None or command.issued_at >= since for since in begun)
