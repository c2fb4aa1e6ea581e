"""Capacity: every pool has as many machines as it wants, and says why it has not.

Booting machines count: they were bought to be there. Condemned ones do not, so that their
replacement is bought first. Machines that are still ending count against the maximum, for they
are still on the bill.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from navarch.core.model import events as ev
from navarch.core.model import ids
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Intent
from navarch.core.model.pool import TROUBLE_MEMORY, Pool
from navarch.core.settings import Settings


class Count(Struct, frozen=True):
    """A pool's machines, counted."""

    current: tuple[Instance, ...]
    """Wanted and not condemned, booting included; oldest first."""
    existing: int
    """All that may exist at the provider: current, condemned and ending."""
    ending: int
    """Those whose end was asked for."""


def count(fleet: Fleet, pool: Pool) -> Count:
    """Count a pool's machines. Cost: O(instances)."""
    instances = [i for i in fleet.instances_of(pool.name) if not i.ended]
    current = tuple(i for i in instances if i.live and not i.condemned)
    ending = sum(i.state is InstanceState.TERMINATING for i in instances)
    return Count(current, len(instances), ending)


def launches(fleet: Fleet, now: datetime, settings: Settings) -> Iterator[ev.LaunchRequested]:
    """Ask for the machines that are missing, inside each pool's maximum."""
    serial = fleet.serial
    for pool in fleet.pools.values():
        if pool.asleep or now < retry_at(pool, now, settings):
            continue
        counted = count(fleet, pool)
        missing = pool.target - len(counted.current)
        for _ in range(min(missing, pool.spec.max_nodes - counted.existing)):
            serial += 1
            yield _launch(fleet, pool, serial, len(counted.current), now)


def _launch(
    fleet: Fleet, pool: Pool, serial: int, current: int, now: datetime
) -> ev.LaunchRequested:
    spec = pool.spec
    zones = spec.zones
    return ev.LaunchRequested(
        now,
        ids.instance_id(pool.name, fleet.tag, serial),
        pool=pool.name,
        provider=spec.provider,
        because=f"{current} of {pool.target} nodes; {pool.target_because}",
        instance_type=spec.instance_type,
        region=spec.region,
        zone=zones[serial % len(zones)] if zones else "",
        labels=spec.labels,
    )


def retry_at(pool: Pool, now: datetime, settings: Settings) -> datetime:
    """When the pool may buy again: at once, or after a wait that doubles with each failure."""
    if pool.failed_at is None or pool.failures <= 1 or now - pool.failed_at >= TROUBLE_MEMORY:
        return now
    return pool.failed_at + _wait(pool.failures, settings)


def _wait(failures: int, settings: Settings) -> timedelta:
    doublings: int = min(failures - 2, 16)
    return min(settings.retry_base * (1 << doublings), settings.retry_max)


def surplus(fleet: Fleet, now: datetime) -> Iterator[ev.TerminationRequested]:
    """End the machines that are too many, those that do least first."""
    for pool in fleet.pools.values():
        if pool.asleep:
            continue
        current = count(fleet, pool).current
        excess = len(current) - pool.target
        if excess <= 0:
            continue
        because = f"{len(current)} nodes, {pool.target} wanted: {pool.target_because}"
        victims = sorted(current, key=lambda instance: _usefulness(fleet, instance))
        for instance in victims[:excess]:
            yield ev.TerminationRequested(now, instance.id, because)


def _usefulness(fleet: Fleet, instance: Instance) -> tuple[int, float, str]:
    """Rank for keeping: unregistered, not serving, out of service by intent, then youngest."""
    node = fleet.node_of(instance)
    if instance.state is not InstanceState.RUNNING or node is None:
        rank = 0
    elif not node.serving:
        rank = 1
    elif node.intent is not Intent.IN_SERVICE:
        rank = 2
    else:
        rank = 3
    return rank, -instance.requested_at.timestamp(), instance.id
