"""Repair: replacing lost nodes without ever making things worse.

A lost node is *condemned* first: it no longer counts, so its pool buys another, and only when the
other one serves is the lost one ended. (A pool that is at its maximum ends first: there is no room
to buy.) Four things hold repair back, and each says so:

- **two witnesses**: the agent is silent, *and* the provider's list, read since, still works;
- **grace**: a silence that has just begun may be the first of many, and when a brake has just been
  let go, the last ones may be about to speak;
- **the budget** of the pool: how many at one time, and how many an hour;
- **the brake**: when most nodes of a pool, or of the fleet, are silent together, it is more
  likely our network than their hardware.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from navarch.core import capacity, liveness
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Contact, Node, Phase
from navarch.core.model.pool import HOUR, Pool
from navarch.core.model.sightings import Sightings
from navarch.core.settings import Settings

# --- the brake -------------------------------------------------------------------------------


def brakes(fleet: Fleet, now: datetime) -> Iterator[ev.RepairHalted | ev.RepairContinued]:
    """Halt repair of pools in which a majority is silent, and let it go on afterwards."""
    if not fleet.lost and not any(pool.brake_because for pool in fleet.pools.values()):
        return
    counts = _silence_by_pool(fleet)
    fleet_silent = sum(silent for silent, _ in counts.values())
    fleet_total = sum(total for _, total in counts.values())
    for pool in fleet.pools.values():
        silent, total = counts.get(pool.name, (0, 0))
        because = ""
        if _is_majority(silent, total):
            because = f"{silent} of {total} nodes of the pool are silent"
        elif silent and _is_majority(fleet_silent, fleet_total):
            because = f"{fleet_silent} of {fleet_total} nodes of the fleet are silent"
        if because and not pool.brake_because:
            because += " together: a cut network is more likely than dead machines"
            yield ev.RepairHalted(now, pool.name, because)
        elif pool.brake_because and not because:
            because = f"{silent} of {total} nodes of the pool are silent now"
            yield ev.RepairContinued(now, pool.name, because)


def _is_majority(silent: int, total: int) -> bool:
    """One silent node is an event of its own, whatever the size of the pool."""
    return silent > 1 and silent * 2 > total


def _silence_by_pool(fleet: Fleet) -> dict[str, tuple[int, int]]:
    """How many active nodes of each pool are silent, and how many there are.

    Condemned ones are left out: about them it is decided.
    """
    counts: dict[str, tuple[int, int]] = {}
    for node in fleet.nodes.values():
        instance = fleet.instances.get(node.instance_id)
        if node.phase is Phase.ACTIVE and instance is not None and not instance.condemned:
            silent, total = counts.get(node.pool, (0, 0))
            counts[node.pool] = (silent + (node.contact is Contact.LOST), total + 1)
    return counts


# --- condemning ------------------------------------------------------------------------------


def condemned(
    fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings
) -> Iterator[ev.InstanceCondemned]:
    """Condemn lost nodes, longest lost first, as far as each pool's budget goes."""
    for pool_name, nodes in _lost_by_pool(fleet).items():
        pool = fleet.pools.get(pool_name)
        if pool is None or pool.asleep or not pool.spec.auto_replace:
            continue
        if pool.brake_because or released_lately(pool, now, settings):
            continue
        room = _room(fleet, pool, now)
        for node in sorted(nodes, key=lambda node: (node.lost_at or now, node.id)):
            if room <= 0:
                break
            if obstacle(fleet, sightings, node, now, settings):
                continue
            because = f"{node.lost_because}; {node.provider} answers and still lists it"
            yield ev.InstanceCondemned(now, node.instance_id, because)
            room -= 1


def _lost_by_pool(fleet: Fleet) -> dict[str, list[Node]]:
    lost: dict[str, list[Node]] = {}
    for node_id in sorted(fleet.lost):
        node = fleet.nodes[node_id]
        instance = fleet.instances.get(node.instance_id)
        silent = node.contact is Contact.LOST and node.phase is Phase.ACTIVE
        if silent and instance is not None and not instance.condemned:
            lost.setdefault(node.pool, []).append(node)
    return lost


def obstacle(
    fleet: Fleet, sightings: Sightings, node: Node, now: datetime, settings: Settings
) -> str:
    """Say why a lost node may not be condemned yet, budget and brake aside; empty if it may."""
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


def released_lately(pool: Pool, now: datetime, settings: Settings) -> bool:
    """Whether the brake has only just been let go: the last ones may be about to speak again."""
    ended_at = pool.brake_ended_at
    return ended_at is not None and now - ended_at < settings.silence_max


def _room(fleet: Fleet, pool: Pool, now: datetime) -> int:
    """How many more nodes of the pool may be condemned now."""
    return min(budget_at_once(fleet, pool), budget_this_hour(pool, now))


def budget_at_once(fleet: Fleet, pool: Pool) -> int:
    """How many more nodes may be in replacement at one time. Cost: O(instances)."""
    instances = list(fleet.instances_of(pool.name))
    disruption = pool.spec.disruption
    live = sum(i.live for i in instances)
    share = int(live * disruption.max_unavailable_percent / 100)
    return max(disruption.max_unavailable, share) - sum(i.condemned for i in instances)


def budget_this_hour(pool: Pool, now: datetime) -> int:
    """How many more nodes may be condemned within the hour that ends now."""
    recent = sum(now - at < HOUR for at in pool.replacements)
    return pool.spec.disruption.max_replacements_per_hour - recent


# --- ending ----------------------------------------------------------------------------------


def replaced(fleet: Fleet, now: datetime) -> Iterator[ev.TerminationRequested]:
    """End condemned machines whose pool has what it wants without them, or has no room to buy."""
    for pool_name in sorted({fleet.instances[id_].pool for id_ in fleet.condemned}):
        pool = fleet.pools.get(pool_name)
        if pool is None:
            continue
        counted = capacity.count(fleet, pool)
        doomed = [i for i in fleet.instances_of(pool.name) if i.live and i.condemned]
        if not doomed or pool.asleep:
            continue
        because = _end_because(fleet, pool, counted)
        if not because:
            doomed = doomed[: _in_the_way(pool, counted)]
            because = f"replaced in place: the pool is at max_nodes {pool.spec.max_nodes}"
        for instance in doomed:
            text = f"{because}; {instance.condemned_because}"
            yield ev.TerminationRequested(now, instance.id, text)


def _in_the_way(pool: Pool, counted: capacity.Count) -> int:
    """How many machines must end before what is missing can be bought; ending ones have begun."""
    missing = pool.target - len(counted.current)
    room = pool.spec.max_nodes - counted.existing + counted.ending
    return max(missing - room, 0)


def _end_because(fleet: Fleet, pool: Pool, counted: capacity.Count) -> str:
    """Why the condemned are not needed any more; empty while they are.

    Nodes that are lost or sick themselves do not hold the end up: it frees the budget for them.
    """
    serving = sum(_serves(fleet, instance) for instance in counted.current)
    booting = sum(instance.state is not InstanceState.RUNNING for instance in counted.current)
    if serving >= pool.target:
        return f"replaced: {serving} nodes serve, {pool.target} wanted"
    if len(counted.current) >= pool.target and not booting:
        return f"replaced: {len(counted.current)} of {pool.target} nodes, none of them boots"
    return ""


def _serves(fleet: Fleet, instance: Instance) -> bool:
    node = fleet.node_of(instance)
    return instance.state is InstanceState.RUNNING and node is not None and node.serving
