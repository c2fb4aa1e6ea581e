"""The budget: how many nodes a pool may lose to repair, at one time and in an hour."""

from __future__ import annotations

from datetime import datetime

from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Node
from navarch.core.model.pool import HOUR, Pool
from navarch.core.repair import breaker


def at_once(fleet: Fleet, pool: Pool) -> int:
    """How many more nodes may be under repair at one time. Cost: O(instances)."""
    instances = list(fleet.instances_of(pool.name))
    running = sum(
        i.state is InstanceState.RUNNING for i in instances
    )  # the others serve nobody yet
    out = sum(i.condemned for i in instances) + len(_in_place(fleet, pool))
    return allowed(pool, running) - out


def allowed(pool: Pool, running: int) -> int:
    """How many nodes may be under repair at one time, of so many machines that run."""
    disruption = pool.spec.disruption
    share = int(running * disruption.max_unavailable_percent / 100)
    most = max(disruption.max_unavailable, share)
    return min(most, 1) if breaker.half_open(pool) else most


def in_zone(fleet: Fleet, pool: Pool, node: Node) -> int:
    """How many more nodes may be under repair in the zone of this one. Cost: O(instances)."""
    limit = pool.spec.disruption.max_unavailable_per_zone
    if limit == 0:
        return at_once(fleet, pool)
    busy = sum(
        i.condemned and _place(fleet, i) == (node.region, node.zone)
        for i in fleet.instances_of(pool.name)
    )
    busy += sum(
        (other.region, other.zone) == (node.region, node.zone) for other in _in_place(fleet, pool)
    )
    return limit - busy


def _place(fleet: Fleet, instance: Instance) -> tuple[str, str]:
    """Where a machine is, by its agent's word where there is one: providers may name no zone."""
    node = fleet.node_of(instance)
    return (node.region, node.zone) if node is not None else (instance.region, instance.zone)


def this_hour(pool: Pool, now: datetime) -> int:
    """How many more nodes may be taken on within the hour that ends now."""
    recent = sum(now - at < HOUR for at in pool.replacements)
    return pool.spec.disruption.max_replacements_per_hour - recent


def _in_place(fleet: Fleet, pool: Pool) -> list[Node]:
    nodes = (fleet.nodes[id_] for id_ in fleet.repairing)
    return [node for node in nodes if node.pool == pool.name]
