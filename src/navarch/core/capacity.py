"""Capacity: every pool has as many machines as it wants, and says why it has not.

Booting machines count: they were bought to be there. Condemned ones do not, so that their
replacement is bought first; nor do those that are being released. Machines that are still ending
count against the maximum, for they are still on the bill.

A pool that shrinks *releases*: what serves nobody ends at once, what may have work is drained
first, and called back before anything is bought if the pool grows again meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from navarch.core import drain
from navarch.core.model import events as ev
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Intent
from navarch.core.model.pool import TROUBLE_MEMORY, Pool
from navarch.core.model.report import Health
from navarch.core.model.sightings import Sightings
from navarch.core.orders import Orders
from navarch.core.settings import Settings


class Count(Struct, frozen=True):
    """A pool's machines, counted."""

    current: int
    """Wanted and not condemned, released or taken away, booting included."""
    existing: int
    """All that may exist at the provider."""
    ending: int
    """Those whose end was asked for."""


def count(fleet: Fleet, pool: Pool) -> Count:
    """Count a pool's machines. Cost: O(1); O(machines that are ending) while there are any."""
    current = len(fleet.current.get(pool.name, ()))
    members = fleet.members.get(pool.name, {})
    ending = 0
    if current < len(members):
        ending = sum(id_ in members for id_ in fleet.ending)
    return Count(current, len(members), ending)


# --- growing ---------------------------------------------------------------------------------


def called_back(
    fleet: Fleet, now: datetime, settings: Settings
) -> Iterator[ev.ReleaseRevoked | ev.CommandIssued]:
    """Keep machines that were to be released, before others are bought; the oldest first."""
    orders = Orders(fleet, now, settings)
    for pool_name in sorted({fleet.instances[id_].pool for id_ in fleet.releasing}):
        pool = fleet.pools.get(pool_name)
        if pool is None or pool.asleep:
            continue
        counted = count(fleet, pool)
        missing = pool.target - counted.current
        releasing = [i for i in fleet.instances_of(pool_name) if _may_stay(fleet, i)]
        for instance in releasing[: max(missing, 0)]:
            because = f"{counted.current} of {pool.target} nodes: {pool.target_because}"
            yield ev.ReleaseRevoked(now, instance.id, because)
            node = fleet.node_of(instance)
            if node is not None and node.intent is Intent.IN_SERVICE and node.repair is None:
                yield orders.give(instance.id, CommandType.UNCORDON, "the pool grows again")


def _may_stay(fleet: Fleet, instance: Instance) -> bool:
    """Whether a released machine can be called back: it is heard, well, and nobody has ended it.

    A sick one would have to be repaired at once, or gives nothing.
    """
    node = fleet.node_of(instance)
    wanted = instance.releasing and instance.live and not instance.interrupted
    return wanted and node is not None and node.connected and node.health is not Health.UNHEALTHY


def retry_at(pool: Pool, now: datetime, settings: Settings) -> datetime:
    """When the pool may buy again: at once, or after a wait that doubles with each failure."""
    if pool.failed_at is None or pool.failures <= 1 or now - pool.failed_at >= TROUBLE_MEMORY:
        return now
    return pool.failed_at + _wait(pool.failures, settings)


def _wait(failures: int, settings: Settings) -> timedelta:
    doublings: int = min(failures - 2, 16)
    return min(settings.retry_base * (1 << doublings), settings.retry_max)


# --- shrinking -------------------------------------------------------------------------------


def surplus(
    fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings
) -> Iterator[ev.ReleaseRequested | ev.TerminationRequested | ev.CommandIssued]:
    """Let go of the machines that are too many, those that do least first."""
    orders = Orders(fleet, now, settings)
    for pool in fleet.pools.values():
        if pool.asleep:
            continue
        excess = count(fleet, pool).current - pool.target
        if excess <= 0:
            continue
        current = list(fleet.current_of(pool.name))
        because = f"{len(current)} nodes, {pool.target} wanted: {pool.target_because}"
        victims = sorted(current, key=lambda each: usefulness(fleet, sightings, each))
        for instance in victims[:excess]:
            node = fleet.node_of(instance)
            if node is None or not node.connected:
                yield ev.TerminationRequested(now, instance.id, because)
                continue
            yield ev.ReleaseRequested(now, instance.id, because)
            yield orders.give(instance.id, CommandType.DRAIN, "the pool shrinks")


def usefulness(
    fleet: Fleet, sightings: Sightings, instance: Instance
) -> tuple[int, int, float, float, str]:
    """Rank for keeping; who comes first goes first.

    Not registered, not serving, drained by an operator, cordoned; then by the replicas that run
    there, by load, and the youngest. A load that nobody has measured counts as full.
    """
    node = fleet.node_of(instance)
    if instance.state is not InstanceState.RUNNING or node is None:
        rank = 0
    elif not node.serving:
        rank = 1
    else:
        rank = _RANKS[node.intent]
    load = sightings.samples.load(instance.id)
    replicas = len(fleet.replicas_on.get(instance.id, ()))
    age = -instance.requested_at.timestamp()
    return rank, replicas, 100.0 if load is None else load, age, instance.id


_RANKS = {Intent.DRAINED: 2, Intent.DRAINING: 3, Intent.CORDONED: 4, Intent.IN_SERVICE: 5}


def released(fleet: Fleet, now: datetime, settings: Settings) -> Iterator[ev.TerminationRequested]:
    """End the released machines that are empty, silent, or have had their time."""
    for instance_id in sorted(fleet.releasing):
        instance = fleet.instances[instance_id]
        pool = fleet.pools.get(instance.pool)
        if pool is not None and pool.asleep:
            continue
        if instance.interrupted_until is not None:
            continue  # its work has until then
        node = fleet.node_of(instance)
        since = instance.releasing_since or instance.requested_at
        because = drain.over_because(fleet, node, since, now, settings)
        if because:
            yield ev.TerminationRequested(now, instance.id, f"{because}; {instance.because}")
