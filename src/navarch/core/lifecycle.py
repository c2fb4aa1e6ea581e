"""Lifecycle: no state waits for ever, and nothing ended is kept for ever.

=====================  ===========================  ==========================================
waiting for            at most                      then
=====================  ===========================  ==========================================
a launch's outcome     `provisioning_timeout`       its end is requested; it is looked up
a registration         `registration_timeout`       its end is requested
an outcome, to end     `provisioning_timeout`       it is looked up
an end                 `termination_retry`          it is asked for again (`owed`), for ever
a command's result     `command_timeout`            the command expires
to be forgotten        `retain_terminated`          the record goes, its facts stay
=====================  ===========================  ==========================================
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from navarch.core.model import events as ev
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Contact, Node, Phase
from navarch.core.settings import Settings


def overdue(fleet: Fleet, now: datetime, settings: Settings) -> Iterator[ev.TerminationRequested]:
    """Give up on launches without outcome and on machines that never registered."""
    for instance_id in fleet.booting:
        instance = fleet.instances[instance_id]
        because = _overdue_because(instance, fleet.resumed_at, now, settings)
        if because:
            yield ev.TerminationRequested(now, instance.id, because, trouble=True)


def _overdue_because(
    instance: Instance, resumed_at: datetime | None, now: datetime, settings: Settings
) -> str:
    """While we were away nobody could answer or register: waiting begins anew at a restart."""
    match instance.state:
        case InstanceState.PROVISIONING:
            since, limit = instance.requested_at, settings.provisioning_timeout
            text = "its launch had no outcome"
        case InstanceState.PENDING_REGISTRATION:
            since, limit = instance.launched_at or now, settings.registration_timeout
            text = "it never registered"
        case _:
            return ""
    waited = now - max(since, resumed_at or since)
    return f"{text} within {limit}" if waited > limit else ""


def unanswered(fleet: Fleet, now: datetime, settings: Settings) -> Iterator[ev.LaunchUncertain]:
    """Look up machines that are to end, whose launch never had an outcome.

    As long as the launch may be under way, its absence from a list says nothing.
    """
    for instance_id in fleet.ending:
        instance = fleet.instances[instance_id]
        if instance.ref or instance.uncertain_since is not None:
            continue
        since = instance.terminating_since or instance.requested_at
        if now - since > settings.provisioning_timeout:
            because = f"its launch had no outcome within {settings.provisioning_timeout}"
            yield ev.LaunchUncertain(now, instance.id, f"{because}: looking it up")


def settled_commands(fleet: Fleet, now: datetime) -> Iterator[ev.CommandFinished]:
    """Close commands whose time is over or whose node is."""
    for node_id, command_ids in fleet.pending.items():
        node = fleet.nodes.get(node_id)
        gone = node is None or node.phase is Phase.TERMINATED
        for command_id in command_ids:
            command = fleet.commands[command_id]
            if gone and command.type is CommandType.TERMINATE:
                yield ev.CommandFinished(
                    now, command_id, node_id, CommandState.SUCCEEDED, "the node has ended"
                )
            elif gone:
                yield ev.CommandFinished(
                    now, command_id, node_id, CommandState.EXPIRED, "the node has ended"
                )
            elif now > command.expires_at:
                yield ev.CommandFinished(
                    now, command_id, node_id, CommandState.EXPIRED, "no result in time"
                )


def retired(fleet: Fleet, now: datetime) -> Iterator[ev.NodeRetired]:
    """Close the records of foreign machines that were told to end and fell silent."""
    for node_id in sorted(fleet.lost):
        node = fleet.nodes[node_id]
        told = node.phase is Phase.TERMINATING and not node.instance_id
        if told and node.contact is Contact.LOST:
            yield ev.NodeRetired(now, node.id, "told to terminate, and silent since")


def forgotten(fleet: Fleet, now: datetime, settings: Settings) -> Iterator[ev.RecordsForgotten]:
    """Let go of records that ended long enough ago; at most one fact a call."""
    limit = now - settings.retain_terminated
    instances = tuple(
        instance.id
        for instance_id in sorted(fleet.ended)
        if (instance := fleet.instances[instance_id]).ended_at is not None
        and instance.ended_at < limit
    )
    ended = set(instances)
    nodes = tuple(id_ for id_ in sorted(fleet.gone) if _is_over(fleet.nodes[id_], ended, limit))
    commands = tuple(
        command.id
        for command in fleet.commands.values()
        if command.finished_at is not None and command.finished_at < limit
    )
    if instances or nodes or commands:
        because = f"ended more than {settings.retain_terminated} ago"
        yield ev.RecordsForgotten(now, because, instances, nodes, commands)


def _is_over(node: Node, ended: set[str], limit: datetime) -> bool:
    if node.instance_id:
        return node.instance_id in ended
    return node.ended_at is not None and node.ended_at < limit
