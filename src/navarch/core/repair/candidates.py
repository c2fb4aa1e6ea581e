"""Candidates: nodes that ought to be repaired, and what stands in the way of each.

Four things hold a repair back, and each says so:

- **witnesses**: a lost node is silent, *and* the provider's list, read since, still works; a sick
  one has had its verdict confirmed by as many reports as its pool demands;
- **grace**: a silence that has just begun may be the first of many;
- **the breaker** of the pool;
- **the budget** of the pool.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from navarch.core import health, liveness
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Stage
from navarch.core.model.node import Contact, Node, Phase
from navarch.core.model.pool import Pool
from navarch.core.model.report import Health
from navarch.core.model.sightings import Sightings
from navarch.core.repair import budget, ladder
from navarch.core.settings import Settings


def lost(fleet: Fleet) -> Iterator[Node]:
    """Yield silent nodes about which nothing was decided yet, longest lost first."""
    nodes = [fleet.nodes[id_] for id_ in fleet.lost]
    for node in sorted(nodes, key=lambda node: (node.lost_at or node.heard_at, node.id)):
        if node.contact is Contact.LOST and _is_undecided(fleet, node) and not _reboots(node):
            yield node


def sick(fleet: Fleet) -> Iterator[Node]:
    """Yield unhealthy nodes that speak, about which nothing was decided yet, longest sick first."""
    nodes = [fleet.nodes[id_] for id_ in fleet.ailing]
    for node in sorted(nodes, key=lambda node: (sick_since(node), node.id)):
        unhealthy = node.health is Health.UNHEALTHY and node.connected
        if unhealthy and _is_undecided(fleet, node) and node.repair is None:
            yield node


def distrusted(fleet: Fleet) -> Iterator[Node]:
    """Yield machines whose hardware made others sick before, and that may be replaced for it."""
    for node_id in sorted(fleet.distrusted):
        node = fleet.nodes[node_id]
        if node.connected and _is_undecided(fleet, node) and node.repair is None:
            yield node


def sick_since(node: Node) -> datetime:
    """When a node became unhealthy last; when it registered, if that is not known any more."""
    return node.unhealthy_at[-1] if node.unhealthy_at else node.registered_at


def _is_undecided(fleet: Fleet, node: Node) -> bool:
    instance = fleet.instances.get(node.instance_id)
    return node.phase is Phase.ACTIVE and instance is not None and not instance.condemned


def _reboots(node: Node) -> bool:
    """Whether a node is silent because it was told to reboot."""
    repair = node.repair
    return repair is not None and repair.rung is Remedy.REBOOT and repair.stage is Stage.ACTING


def unwitnessed(
    fleet: Fleet, sightings: Sightings, node: Node, now: datetime, settings: Settings
) -> str:
    """Say why a lost node may not be condemned yet; empty if silence and list agree."""
    silent_since = liveness.heard_last(fleet, sightings, node)
    patience = settings.silence_max + settings.lost_grace
    if now - silent_since < patience:
        return f"silent for less than {patience}, restarts of ours and a grace counted in"
    inventory = sightings.inventories.get(node.provider)
    if inventory is None or inventory.begun_at < silent_since + settings.silence_max:
        return f"no list of {node.provider} has been read since it counts as silent"
    instance = fleet.instances[node.instance_id]
    if instance.ref not in inventory.machines:
        return f"{node.provider} does not list it: waiting for that to be settled"
    return ""


def unconfirmed(fleet: Fleet, node: Node) -> str:
    """Say why a sick node is not repaired yet; empty once its verdict is confirmed."""
    if health.confirmed(fleet, node):
        return ""
    pool = fleet.pools.get(node.pool)
    needed = pool.spec.unhealthy_after if pool is not None else 0
    return f"{node.bad_reports} of {needed} reports have confirmed it"


def over_budget(fleet: Fleet, pool: Pool, node: Node, now: datetime) -> str:
    """Say which budget of the pool is spent; empty when there is room for this node."""
    disruption = pool.spec.disruption
    if budget.at_once(fleet, pool) <= 0:
        return f"as many nodes of pool {pool.name} as may be are under repair"
    if budget.in_zone(fleet, pool, node) <= 0:
        limit = disruption.max_unavailable_per_zone
        return f"{limit} nodes of zone {node.zone} are under repair, no more may be"
    if budget.this_hour(pool, now) <= 0:
        return f"{disruption.max_replacements_per_hour} repairs were begun within the hour"
    return ""


def remedy(fleet: Fleet, pool: Pool, node: Node, now: datetime, settings: Settings) -> Remedy:
    """Say what is due for a candidate: a lost machine can only be replaced."""
    if node.contact is Contact.LOST:
        return Remedy.REPLACE if pool.spec.auto_replace else Remedy.NONE
    return ladder.due(fleet, pool, node, now, settings)
