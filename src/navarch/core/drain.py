"""Drains: when a node is empty, or has had its time.

Who knows is either the node's agent, which answers the command to drain, or the workload manager,
where one is told of drains: then nobody else is believed. Replicas of ours that run there are known
in any case, and are waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from navarch.core.model import events as ev
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Stage
from navarch.core.model.node import Node, Phase
from navarch.core.orders import Orders
from navarch.core.settings import Settings


def over_because(
    fleet: Fleet, node: Node | None, since: datetime, now: datetime, settings: Settings
) -> str:
    """Say why a drain that began at `since` is over; empty while it has to be waited for."""
    if node is None or not node.connected:
        return "nothing is heard from it"
    if node.id not in fleet.replicas_on:
        if settings.workload_manager and node.emptied_at is not None and node.emptied_at >= since:
            return "the workload manager has drained it"
        if not settings.workload_manager and node.drained_at is not None:
            return "it is drained"
    since = max(since, fleet.resumed_at or since)
    if settings.drain_overrun == "end" and now - since > settings.drain_timeout:
        return f"not drained within {settings.drain_timeout}"
    return ""


def ordered_again(fleet: Fleet, now: datetime, settings: Settings) -> Iterator[ev.CommandIssued]:
    """Tell agents again to drain that were told long ago and have not done it: orders get lost.

    An order that is not finished is handed out by itself; this is for one that expired or failed.
    """
    if settings.workload_manager:
        return
    orders = Orders(fleet, now, settings)
    waiting = {*fleet.repairing, *fleet.condemned, *fleet.releasing, *fleet.interrupted}
    for node_id in sorted(waiting):
        node = fleet.nodes.get(node_id)
        if node is None or not _waits(fleet, node, now, settings):
            continue
        yield orders.give(node_id, CommandType.DRAIN, "it was told before and has not done it")


def _waits(fleet: Fleet, node: Node, now: datetime, settings: Settings) -> bool:
    drains = node.phase is Phase.LEAVING or (
        node.repair is not None and node.repair.stage is Stage.DRAINING
    )
    if not drains or not node.connected or node.drained_at is not None:
        return False
    under_way = any(each.type is CommandType.DRAIN for each in fleet.commands_for(node.id))
    told_at = node.drain_ordered_at
    return not under_way and told_at is not None and now - told_at > settings.command_timeout
