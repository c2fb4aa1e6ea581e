"""Beginning repairs: as many as breakers and budgets allow, the longest in trouble first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain

from msgspec import Struct, field

from navarch.core import capacity
from navarch.core.model import events as ev
from navarch.core.model.command import CommandType
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Contact, Node
from navarch.core.model.pool import Pool
from navarch.core.model.report import Health
from navarch.core.model.sightings import Sightings
from navarch.core.orders import Orders
from navarch.core.repair import breaker, budget, candidates, ladder
from navarch.core.settings import Settings

Begun = (
    ev.InstanceCondemned
    | ev.RepairStarted
    | ev.RepairWithheld
    | ev.NodeHandedOver
    | ev.CommandIssued
)


class _Room(Struct):
    """What is left of one pool's budget while repairs are begun in it."""

    at_once: int
    this_hour: int
    spare: int
    """Replacements that can be bought before anything ends."""
    taken_by_zone: dict[tuple[str, str], int] = field(default_factory=dict)


def begun(fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings) -> Iterator[Begun]:
    """Begin what is due and allowed: lost nodes first, for they give nothing at all."""
    rooms: dict[str, _Room] = {}
    orders = Orders(fleet, now, settings)
    everyone = chain(candidates.lost(fleet), candidates.sick(fleet), candidates.distrusted(fleet))
    seen: set[str] = set()
    for node in everyone:
        pool = fleet.pools.get(node.pool)
        if pool is None or node.id in seen:
            continue
        rung = due(fleet, pool, node, now, settings)
        if rung is Remedy.NONE or obstacle(fleet, sightings, node, now, settings):
            continue
        because = _because(node)
        seen.add(node.id)
        if pool.spec.dry_run:
            if node.withheld != rung.value:
                yield ev.RepairWithheld(
                    now, node.id, rung, f"pool {pool.name} is a dry run; {because}"
                )
            continue
        if rung is Remedy.INSPECT:
            if not node.handed_over:
                yield ev.NodeHandedOver(now, node.id, f"{_why_person(node, settings)}; {because}")
            continue
        if not _take(rooms, fleet, pool, node, rung, now):
            continue
        if rung is Remedy.REPLACE:
            yield _condemned(fleet, node, because, now)
            continue
        yield ev.RepairStarted(now, node.id, rung, because)
        yield orders.give(node.id, CommandType.DRAIN, f"to be repaired: {rung.value}")


def obstacle(
    fleet: Fleet, sightings: Sightings, node: Node, now: datetime, settings: Settings
) -> str:
    """Say why a repair that is due is not begun, budgets aside; empty if nothing is in the way."""
    pool = fleet.pools.get(node.pool)
    if pool is None:
        return "its pool is not known"
    if pool.retired:
        return f"pool {pool.name} is no longer in the configuration"
    if pool.paused:
        return f"pool {pool.name} is paused: {pool.paused_because}"
    if shut := breaker.shut(pool, now, settings):
        return shut
    if node.contact is Contact.LOST:
        return candidates.unwitnessed(fleet, sightings, node, now, settings)
    sick = node.health is Health.UNHEALTHY
    if sick and (waiting := candidates.unconfirmed(fleet, node)):
        return waiting
    if due(fleet, pool, node, now, settings) is Remedy.REPLACE:
        return _no_room_because(fleet, pool)
    return ""


def due(fleet: Fleet, pool: Pool, node: Node, now: datetime, settings: Settings) -> Remedy:
    """Say what is due for a candidate; distrusted hardware can only be replaced."""
    rung = candidates.remedy(fleet, pool, node, now, settings)
    distrusted = rung is Remedy.NONE and node.lemon and node.connected
    if distrusted and Remedy.REPLACE in ladder.allowed(fleet, pool, node):
        return Remedy.REPLACE
    return rung


def _no_room_because(fleet: Fleet, pool: Pool) -> str:
    """A node that still serves a little is not ended for want of room, unless that was agreed."""
    if pool.spec.replace_in_place or _spare_room(fleet, pool) > 0:
        return ""
    return (
        f"pool {pool.name} is at max_nodes {pool.spec.max_nodes}: no room to buy the replacement "
        f"first, and replace_in_place is off"
    )


def _spare_room(fleet: Fleet, pool: Pool) -> int:
    """How many replacements a pool has room to buy beside what it misses already."""
    counted = capacity.count(fleet, pool)
    room = pool.spec.max_nodes - counted.existing
    return room - (pool.target - counted.current)


def _take(
    rooms: dict[str, _Room], fleet: Fleet, pool: Pool, node: Node, rung: Remedy, now: datetime
) -> bool:
    """Take one place in the pool's budget; False when there is none left for this node."""
    room = rooms.get(pool.name)
    if room is None:
        room = _Room(
            budget.at_once(fleet, pool), budget.this_hour(pool, now), _spare_room(fleet, pool)
        )
        rooms[pool.name] = room
    zone = (node.region, node.zone)
    taken = room.taken_by_zone.get(zone, 0)
    in_zone = room.at_once
    if pool.spec.disruption.max_unavailable_per_zone:
        in_zone = budget.in_zone(fleet, pool, node) - taken
    if min(room.at_once, room.this_hour, in_zone) <= 0:
        return False
    replaces = rung is Remedy.REPLACE
    if replaces and node.connected and room.spare <= 0 and not pool.spec.replace_in_place:
        return False
    room.spare -= replaces
    room.at_once -= 1
    room.this_hour -= 1
    room.taken_by_zone[zone] = taken + 1
    return True


def _because(node: Node) -> str:
    if node.contact is Contact.LOST:
        return f"{node.lost_because}; {node.provider} answers and still lists it"
    finding = ladder.gravest(node)
    if finding is None:
        return node.lemon
    what = finding.because or f"rule {finding.rule}"
    if finding.event is not None:
        what = f"{finding.event.described}: rule {finding.rule}"
    return f"{what}; confirmed by {node.bad_reports} reports"


def _condemned(fleet: Fleet, node: Node, because: str, now: datetime) -> ev.InstanceCondemned:
    if node.contact is Contact.LOST:
        return ev.InstanceCondemned(now, node.instance_id, because, cause="silence")
    if ladder.gravest(node) is None:
        return ev.InstanceCondemned(now, node.instance_id, because, cause="lemon")
    hardware = ladder.hardware(fleet, node)
    return ev.InstanceCondemned(now, node.instance_id, because, cause="sickness", hardware=hardware)


def _why_person(node: Node, settings: Settings) -> str:
    finding = ladder.gravest(node)
    if finding is not None and finding.remedy is Remedy.INSPECT:
        return "its rule asks for a person"
    if node.attempts:
        return f"{len(node.attempts)} repairs within {settings.relapse_window} have not helped"
    return "its pool allows no repair that would help"
