"""A pool in one row: what it wants, what it has, what is wrong with it, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct

from navarch.core import capacity
from navarch.core.model.fleet import Fleet
from navarch.core.model.pool import Pool
from navarch.core.model.sightings import Sightings
from navarch.core.repair import breaker
from navarch.core.selection import memory
from navarch.core.selection.base import Market
from navarch.core.settings import Settings
from navarch.dashboard.past.kept import Past
from navarch.dashboard.past.lives import LIVE, ON_THEIR_WAY, PAID, Present, Stage
from navarch.dashboard.past.prices import price_of

TROUBLES_MAX: Final = 8
"""Troubles of one pool that are named."""


class Word(Struct):
    """What a pool's autoscaler said last."""

    by: str
    at: datetime
    target: int
    reason: str
    held: bool


class PoolRow(Struct):
    """One pool."""

    name: str
    providers: list[str]
    instance_type: str
    region: str
    strategy: str
    autoscaling: str
    """What scales it; empty: nothing does, and its minimum is held."""
    min_nodes: int
    max_nodes: int
    target: int
    because: str
    """Why the target is what it is."""
    target_changed_at: datetime | None
    current: int
    """Machines that are wanted, those on their way counted in."""
    healthy: int
    booting: int
    lost: int
    sick: int
    leaving: int
    """Drained, to be ended or replaced."""
    ending: int
    persons: int
    """Nodes that wait for a person."""
    paused: bool
    breaker: str
    """``closed``, ``open`` or ``half_open``."""
    troubles: list[str]
    """What is wrong, the gravest first, each with its reason; empty: nothing."""
    dollars_per_hour: float | None
    """What the machines with a known price cost; null: no price is known."""
    unpriced: int
    """Machines whose price nobody knows."""
    utilization: float | None
    """Percent, of the newest evaluation; null: nobody knows."""
    pending: int | None
    """Jobs that waited then."""
    word: Word | None


def summary_of(
    fleet: Fleet,
    sightings: Sightings,
    pool: Pool,
    past: Past,
    present: Present,
    market: Market,
    settings: Settings,
) -> PoolRow:
    """Sum a pool up; `present` has its machines, `market` the moment and the prices.

    Cost: O(kinds of machines + nodes in trouble).
    """
    stages, now = present.of_pool(pool.name), market.now
    dollars, priced, unpriced = _money(present, pool.name, market)
    counts = {
        "lost": stages[Stage.SILENT],
        "sick": stages[Stage.SICK],
        "persons": _persons(fleet, pool.name),
    }
    spec, last = pool.spec, past.demand.newest(pool.name)
    return PoolRow(
        name=pool.name,
        providers=list(dict.fromkeys(source.provider for source in pool.sources)),
        instance_type=spec.instance_type,
        region=spec.region,
        strategy=spec.strategy,
        autoscaling=spec.autoscaling,
        min_nodes=spec.min_nodes,
        max_nodes=spec.max_nodes,
        target=pool.target,
        because=pool.target_because,
        target_changed_at=pool.target_changed_at,
        current=sum(stages[stage] for stage in LIVE),
        healthy=stages[Stage.SERVING],
        booting=sum(stages[stage] for stage in ON_THEIR_WAY),
        lost=counts["lost"],
        sick=counts["sick"],
        leaving=stages[Stage.LEAVING],
        ending=stages[Stage.ENDING],
        persons=counts["persons"],
        paused=pool.paused,
        breaker=_breaker(pool),
        troubles=list(_troubles(fleet, sightings, pool, counts, now, settings))[:TROUBLES_MAX],
        dollars_per_hour=round(dollars, 4) if priced or not unpriced else None,
        unpriced=unpriced,
        utilization=None if last is None else last.utilization,
        pending=None if last is None else last.pending,
        word=_word(sightings, pool),
    )


def _money(present: Present, pool: str, market: Market) -> tuple[float, int, int]:
    """Dollars an hour, and how many machines have a known price, and how many have not."""
    dollars, priced, unpriced = 0.0, 0, 0
    for kind, stages in present.counts.items():
        if kind.pool != pool:
            continue
        number, price = sum(stages[stage] for stage in PAID), price_of(kind, market)
        if price is None:
            unpriced += number
        else:
            priced += number
            dollars += number * price
    return dollars, priced, unpriced


def _persons(fleet: Fleet, pool: str) -> int:
    """How many nodes of a pool wait for a person. Cost: O(nodes of the fleet that are not well)."""
    nodes = (fleet.nodes[id_] for id_ in fleet.ailing)
    return sum(node.pool == pool and bool(node.handed_over) and not node.over for node in nodes)


def _breaker(pool: Pool) -> str:
    if not pool.brake_because:
        return "closed"
    return "half_open" if breaker.half_open(pool) else "open"


def _word(sightings: Sightings, pool: Pool) -> Word | None:
    word = sightings.recommendations.get(pool.name)
    if word is None:
        return None
    return Word(word.by, word.at, word.target, word.reason, word.held)


def _troubles(
    fleet: Fleet,
    sightings: Sightings,
    pool: Pool,
    counts: Mapping[str, int],
    now: datetime,
    settings: Settings,
) -> Iterator[str]:
    """Say what is wrong, the gravest first."""
    if pool.brake_because and not breaker.half_open(pool):
        yield f"repair is halted: {pool.brake_because}"
    if pool.brake_because and breaker.half_open(pool):
        yield f"repair tries one node at a time, after it was halted: {pool.brake_because}"
    if pool.retired:
        yield "it is no longer in the configuration: its machines stay until somebody decides"
    if pool.paused:
        yield f"paused, nothing is bought or repaired: {pool.paused_because}"
    if counts["persons"]:
        yield f"{_nodes(counts['persons'])} for a person to look at"
    if counts["lost"]:
        yield f"{_nodes(counts['lost'])} silent"
    if counts["sick"]:
        yield f"{_nodes(counts['sick'])} unhealthy"
    missing = pool.target - capacity.count(fleet, pool).current
    retry_at = capacity.retry_at(pool, now, settings)
    if missing > 0 and retry_at > now:
        wait = (retry_at - now).total_seconds()
        yield (
            f"{missing} missing; buys again in {wait:.0f} s after {pool.failures} failures, the "
            f"last: {pool.failure}"
        )
    elif missing > 0 and pool.failure:
        yield f"{missing} missing; the last failure: {pool.failure}"
    sellers = dict.fromkeys(source.provider for source in pool.sources)
    for key, text in memory.conditions(fleet).items():
        if memory.provider_of(fleet, key) in sellers:
            yield f"{key} needs somebody: {text}"
    for provider in sellers:
        trouble = sightings.troubles.get(provider)
        if trouble:
            yield f"{provider} can not be asked: {trouble}"


def _nodes(count: int) -> str:
    return "1 node is" if count == 1 else f"{count} nodes are"
