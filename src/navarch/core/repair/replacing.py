"""Condemned machines: kept after all, or replaced, then drained, then ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from navarch.core import capacity, drain
from navarch.core.model import events as ev
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance
from navarch.core.model.node import Intent, Node
from navarch.core.model.pool import Pool
from navarch.core.model.report import Health
from navarch.core.orders import Orders
from navarch.core.settings import Settings


def reprieved(
    fleet: Fleet, now: datetime, settings: Settings
) -> Iterator[ev.InstanceReprieved | ev.CommandIssued]:
    """Keep machines whose sickness or distrust is over, or that there is no room to replace."""
    orders = Orders(fleet, now, settings)
    for instance_id in sorted(fleet.condemned):
        instance = fleet.instances[instance_id]
        node = fleet.node_of(instance)
        if node is None or not instance.live or not node.connected:
            continue
        because = _over_because(instance, node) or _stuck_because(fleet, instance)
        if not because:
            continue
        yield ev.InstanceReprieved(now, instance.id, because)
        if instance.draining_since is not None and node.intent is Intent.IN_SERVICE:
            yield orders.give(node.id, CommandType.UNCORDON, "it is kept after all")


def _over_because(instance: Instance, node: Node) -> str:
    """Say why what a machine was condemned for is over; empty while it is not."""
    if instance.condemned_for == "sickness" and node.health is not Health.UNHEALTHY:
        return f"it is {node.health.value} now"
    if instance.condemned_for == "lemon" and not node.lemon:
        return "its hardware is trusted again"
    return ""


def _stuck_because(fleet: Fleet, instance: Instance) -> str:
    """Say that a sick machine can not be replaced any more: its room was bought away.

    It waits for room like any other that is sick, and does not hold the budget meanwhile.
    """
    pool = fleet.pools.get(instance.pool)
    if pool is None or pool.asleep or pool.spec.replace_in_place:
        return ""
    if instance.draining_since is not None:
        return ""
    counted = capacity.count(fleet, pool)
    if _replaced_because(fleet, pool, counted) or not _in_the_way(pool, counted):
        return ""
    return f"there is no room to replace it: the pool is at max_nodes {pool.spec.max_nodes}"


def replaced(
    fleet: Fleet, now: datetime, settings: Settings
) -> Iterator[ev.DrainBegun | ev.TerminationRequested | ev.CommandIssued]:
    """Drain and end condemned machines whose pool has what it wants without them.

    Where there is no room to buy, machines that give nothing are ended first, and sick ones if
    their pool says so.
    """
    orders = Orders(fleet, now, settings)
    for pool_name in sorted({fleet.instances[id_].pool for id_ in fleet.condemned}):
        pool = fleet.pools.get(pool_name)
        if pool is None or pool.asleep:
            continue
        for instance, because in _dispensable(fleet, pool):
            node = fleet.node_of(instance)
            if node is None or not node.connected:
                text = f"{because}; {instance.condemned_because}"
                yield ev.TerminationRequested(now, instance.id, text)
            elif instance.draining_since is None:
                yield ev.DrainBegun(now, instance.id, because)
                yield orders.give(instance.id, CommandType.DRAIN, "it is replaced")
            elif instance.interrupted_until is None:  # else its work has until then
                since = instance.draining_since
                empty = drain.over_because(fleet, node, since, now, settings)
                if empty:
                    text = f"{because}; {empty}; {instance.condemned_because}"
                    yield ev.TerminationRequested(now, instance.id, text)


def _dispensable(fleet: Fleet, pool: Pool) -> list[tuple[Instance, str]]:
    """Which condemned machines of a pool may go now, and why."""
    counted = capacity.count(fleet, pool)
    doomed = [i for i in fleet.instances_of(pool.name) if i.live and i.condemned]
    because = _replaced_because(fleet, pool, counted)
    if because:
        return [(instance, because) for instance in doomed]
    because = f"replaced in place: the pool is at max_nodes {pool.spec.max_nodes}"
    in_the_way = _in_the_way(pool, counted)
    may_go = [
        instance
        for instance in doomed
        if _gives_nothing(fleet, instance)
        or instance.draining_since is not None  # it serves nobody any more
        or pool.spec.replace_in_place
    ]
    may_go.sort(key=lambda instance: not _gives_nothing(fleet, instance))
    return [(instance, because) for instance in may_go[:in_the_way]]


def _gives_nothing(fleet: Fleet, instance: Instance) -> bool:
    node = fleet.node_of(instance)
    return node is None or not node.connected


def _in_the_way(pool: Pool, counted: capacity.Count) -> int:
    """How many machines must end before what is missing can be bought; ending ones have begun."""
    missing = pool.target - counted.current
    room = pool.spec.max_nodes - counted.existing + counted.ending
    return max(missing - room, 0)


def _replaced_because(fleet: Fleet, pool: Pool, counted: capacity.Count) -> str:
    """Why the condemned are not needed any more; empty while they are.

    Nodes that are lost or sick themselves do not hold the end up: it frees the budget for them.
    """
    current = fleet.current.get(pool.name, {}).keys()
    booting = len(current & fleet.booting.keys())
    serving = len((current & fleet.serving.keys()) - fleet.booting.keys())
    if serving >= pool.target:
        return f"replaced: {serving} nodes serve, {pool.target} wanted"
    if counted.current >= pool.target and not booting:
        return f"replaced: {counted.current} of {pool.target} nodes, none of them boots"
    return ""
