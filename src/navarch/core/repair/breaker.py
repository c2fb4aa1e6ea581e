"""The breaker: when many nodes fall silent or ill together, it is more likely our fault.

::

    closed ──many in trouble together──▶ open ──they are well, or a person looked──▶ half open
       ▲                                  ▲                                            │
       │                                  └───────────── more trouble than before ─────┤
       └────────── one repair went well, or nothing is wrong any more ─────────────────┘

Open, nothing is repaired: a cut network or a wrong policy must not replace a fleet. Half open, one
node at a time is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from msgspec import Struct

from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Outcome
from navarch.core.model.node import Contact, Node, Phase
from navarch.core.model.pool import Pool
from navarch.core.model.report import Health
from navarch.core.settings import Settings

MASS_NODES: Final = 10
"""From so many nodes on, a share below the half counts as many. (Our judgement: at the rates of
published fleets, ten of fifty nodes fail together by chance less than once in a century.)"""

MASS_SHARE: Final = 0.2
"""Which share."""

ZONE_NODES: Final = 4
"""Nodes that a zone must have to be judged as one: below, it says no more than its pool does."""

Turn = ev.RepairHalted | ev.RepairHalfOpened | ev.RepairContinued


class Trouble(Struct):
    """Active nodes in some place, counted."""

    silent: int = 0
    ill: int = 0
    total: int = 0

    @property
    def nodes(self) -> int:
        """How many are silent or ill."""
        return self.silent + self.ill

    @property
    def many(self) -> bool:
        """Whether they are too many to be chance. One node is an event of its own, always."""
        if self.nodes <= 1:
            return False
        return self.nodes * 2 > self.total or (
            self.nodes >= MASS_NODES and self.nodes >= self.total * MASS_SHARE
        )

    def described(self, where: str) -> str:
        """Say it, such as "3 of 4 nodes of the pool are silent"."""
        states = [word for word, count in (("silent", self.silent), ("ill", self.ill)) if count]
        return f"{self.nodes} of {self.total} nodes of {where} are {' or '.join(states) or 'ill'}"


def turns(fleet: Fleet, now: datetime, settings: Settings) -> Iterator[Turn]:
    """Open, half-open and close the breakers of pools."""
    halted = any(pool.brake_because for pool in fleet.pools.values())
    troubled = len(fleet.lost) + sum(_is_ill(fleet.nodes[id_]) for id_ in fleet.ailing)
    if not fleet.pools or not (halted or (troubled > 1 and _may_be_many(fleet))):
        return  # nobody is repaired, or each is an event of its own
    survey = _Survey(fleet)
    for pool in fleet.pools.values():
        because = survey.alarm(pool)
        trouble = survey.of_pool(pool)
        if not pool.brake_because:
            if because:
                yield ev.RepairHalted(now, pool.name, because)
        elif pool.brake_half_open_at is None:
            yield from _half_opened(pool, trouble, because, now)
        else:
            yield from _after_half_opening(fleet, pool, trouble, because, now, settings)


def half_open(pool: Pool) -> bool:
    """Whether one repair at a time is allowed, and no more."""
    return bool(pool.brake_because) and pool.brake_half_open_at is not None


def shut(pool: Pool, now: datetime, settings: Settings) -> str:
    """Say why the breaker lets nothing through now; empty when it does.

    When a silence has just ended, the last nodes may be about to speak: they are given the time
    after which silence counts.
    """
    if pool.brake_because and pool.brake_half_open_at is None:
        return f"repair of pool {pool.name} is halted: {pool.brake_because}"
    if pool.brake_half_open_at is not None and not pool.brake_acknowledged:
        waited = now - pool.brake_half_open_at
        if waited < settings.silence_max:
            return f"repair of pool {pool.name} was halted until a moment ago"
    return ""


def _half_opened(
    pool: Pool, trouble: Trouble, because: str, now: datetime
) -> Iterator[ev.RepairHalfOpened]:
    if pool.brake_acknowledged:
        text = f"a person has looked; {trouble.described('the pool')}"
        yield ev.RepairHalfOpened(now, pool.name, text, tolerated=trouble.nodes)
    elif not because:
        yield ev.RepairHalfOpened(now, pool.name, f"{trouble.described('the pool')} now")


def _after_half_opening(
    fleet: Fleet, pool: Pool, trouble: Trouble, because: str, now: datetime, settings: Settings
) -> Iterator[Turn]:
    assert pool.brake_half_open_at is not None
    if because and trouble.nodes > pool.brake_tolerated:
        yield ev.RepairHalted(now, pool.name, f"{because}, again")
        return
    if because or now - pool.brake_half_open_at < settings.silence_max:
        return
    if _is_under_way(fleet, pool):
        return  # what comes of it decides
    if not trouble.nodes and not _is_handed_over(fleet, pool):
        yield ev.RepairContinued(now, pool.name, "nothing is silent or ill any more")
    elif _one_went_well(fleet, pool, pool.brake_half_open_at):
        yield ev.RepairContinued(now, pool.name, "one repair went well")


def _is_under_way(fleet: Fleet, pool: Pool) -> bool:
    """Whether anything is being repaired or replaced."""
    return any(fleet.nodes[id_].pool == pool.name for id_ in fleet.repairing) or any(
        fleet.instances[id_].pool == pool.name for id_ in fleet.condemned
    )


def _is_handed_over(fleet: Fleet, pool: Pool) -> bool:
    """Whether a sick node waits for a person: it is no trouble any more, but not well either."""
    return any(
        node.pool == pool.name and node.phase is Phase.ACTIVE and bool(node.handed_over)
        for id_ in fleet.ailing
        if (node := fleet.nodes[id_]).health is Health.UNHEALTHY
    )


def _one_went_well(fleet: Fleet, pool: Pool, since: datetime) -> bool:
    """Whether a machine was replaced, or a node repaired, that was in trouble since then."""
    ended = (fleet.instances[id_] for id_ in fleet.ended)
    condemned_at = (i.condemned_at for i in ended if i.pool == pool.name)
    replaced = any(at is not None and at >= since for at in condemned_at)
    mended = any(
        attempt.at >= since and attempt.outcome is Outcome.SUCCEEDED
        for id_ in fleet.members.get(pool.name, ())
        if (node := fleet.nodes.get(id_)) is not None
        for attempt in node.attempts
    )
    return replaced or mended


# --- surveying -------------------------------------------------------------------------------


def _may_be_many(fleet: Fleet) -> bool:
    """Whether in some place so many are in trouble that all of its nodes have to be counted.

    Cost: O(nodes in trouble), as long as they are few among many.
    """
    places: Counter[Place] = Counter()
    for id_ in dict.fromkeys((*fleet.lost, *fleet.ailing)):
        node = fleet.nodes[id_]
        if _in_trouble(node) and _is_surveyed(fleet, node):
            places.update(((), (node.pool,), (node.region, node.zone)))
    return any(
        count > 1 and not _has_nodes(fleet, place, _few_among(count))
        for place, count in places.items()
    )


Place = tuple[()] | tuple[str] | tuple[str, str]
"""The fleet, a pool, or a region and a zone."""


def _few_among(troubled: int) -> int:
    """Among how many nodes so many are not many, by the rule of `Trouble.many`."""
    return 2 * troubled if troubled < MASS_NODES else int(troubled / MASS_SHARE) + 1


def _has_nodes(fleet: Fleet, place: Place, number: int) -> bool:
    """Whether a place has at least so many nodes. Cost: O(nodes looked at until they are found)."""
    nodes: Iterable[Node] = fleet.nodes.values()
    if len(place) == 1:
        ids = fleet.members.get(place[0], {})
        nodes = (fleet.nodes[id_] for id_ in ids if id_ in fleet.nodes)
    found = (
        node
        for node in nodes
        if _is_surveyed(fleet, node) and (len(place) != 2 or (node.region, node.zone) == place)
    )
    return next(islice(found, number - 1, None), None) is not None


def _is_surveyed(fleet: Fleet, node: Node) -> bool:
    instance = fleet.instances.get(node.instance_id)
    return node.phase is Phase.ACTIVE and instance is not None and not instance.condemned


class _Survey:
    """How many active nodes are in trouble, by pool, by zone and in all.

    Condemned ones, and those that are being repaired, are left out: about them it is decided.
    """

    def __init__(self, fleet: Fleet) -> None:
        """Count. Cost: O(nodes)."""
        self._fleet = Trouble()
        self._pools: dict[str, Trouble] = {}
        self._zones: dict[tuple[str, str], Trouble] = {}
        self._zones_of: dict[str, Counter[tuple[str, str]]] = {}
        for node in fleet.nodes.values():
            if not _is_surveyed(fleet, node):
                continue
            zone = (node.region, node.zone)
            pool = self._pools.setdefault(node.pool, Trouble())
            places = [self._fleet, pool, self._zones.setdefault(zone, Trouble())]
            for place in places:
                _count(place, node)
            if _in_trouble(node):
                self._zones_of.setdefault(node.pool, Counter())[zone] += 1

    def of_pool(self, pool: Pool) -> Trouble:
        """Count one pool's."""
        return self._pools.get(pool.name, Trouble())

    def alarm(self, pool: Pool) -> str:
        """Say why a pool should not be repaired; empty when it may."""
        because = ""
        mine = self.of_pool(pool)
        if mine.many:
            because = mine.described("the pool")
        elif mine.nodes and self._fleet.many:
            because = self._fleet.described("the fleet")
        else:
            for zone in sorted(self._zones_of.get(pool.name, ())):
                there = self._zones[zone]
                if zone[1] and there.many and there.total >= ZONE_NODES:
                    because = there.described(f"zone {zone[1]}")
                    break
        if not because:
            return ""
        return f"{because} together: {_suspicion(mine)}"


def _in_trouble(node: Node) -> bool:
    return node.contact is Contact.LOST or _is_ill(node)


def _is_ill(node: Node) -> bool:
    return node.health is Health.UNHEALTHY and node.repair is None and not node.handed_over


def _count(place: Trouble, node: Node) -> None:
    place.total += 1
    if node.contact is Contact.LOST:
        place.silent += 1
    elif _is_ill(node):
        place.ill += 1


def _suspicion(trouble: Trouble) -> str:
    if trouble.silent >= trouble.ill:
        return "a cut network is more likely than dead machines"
    return "a wrong policy or a false alarm is more likely than broken machines"
