"""What a pool may buy, what it would buy next, and why: asked of the very functions that buy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct

from navarch.core import capacity, purchase
from navarch.core.model.fleet import Fleet
from navarch.core.model.offer import Offer, offers
from navarch.core.model.pool import Pool
from navarch.core.model.sightings import Catalog, Sightings
from navarch.core.selection import BUILT_IN, memory
from navarch.core.selection.base import Market, Ranker
from navarch.core.settings import Settings

NEXT_MIN: Final = 3
"""Machines of which it is said from whom they would be bought, though none may be missing."""
NEXT_MAX: Final = 8
OFFERS_MAX: Final = 200
"""Offers that are shown, in the order of the pool's strategy."""


class OfferRow(Struct):
    """One offer, and what is known of it."""

    rank: int
    """Its place in the order of the pool's strategy, from 1, whoever refused a moment ago."""
    offer: str
    """How reasons name it."""
    provider: str
    region: str
    zone: str
    instance_type: str
    spot: bool
    price: float | None
    """US dollars an hour; null: nobody knows."""
    price_because: str
    available: bool | None
    """What the provider says of its stock; null: it does not say."""
    because: str
    """Why it has this rank."""
    refused_until: datetime | None = None
    """Until when it is passed over; null: it may be asked."""
    refused_because: str = ""
    refusals: int = 0
    """Rounds of launches in a row that were refused."""
    needs_person: bool = False
    """Whether it is refused until somebody does something about it."""


class NextRow(Struct):
    """The next machine that would be bought."""

    offer: str
    price: float | None
    because: str


class Buying(Struct):
    """What a pool buys now, or what keeps it from it."""

    missing: int
    """Machines that it wants and does not have, at least 0."""
    room: int
    """Machines that may be bought inside of its maximum, those that end counted in."""
    because: str
    """One sentence: what happens at the next look, or what is waited for."""
    retry_at: datetime | None
    """When it buys again after failures; null: at once."""
    next: list[NextRow]
    """The next machines, in order: those missing, or what would follow if some were."""


def offer_rows(
    fleet: Fleet,
    sightings: Sightings,
    pool: Pool,
    now: datetime,
    settings: Settings,
    rankers: Mapping[str, Ranker] = BUILT_IN,
    catalogs: Mapping[str, Catalog] | None = None,
) -> tuple[list[OfferRow], int]:
    """Show all offers in the order of the pool's strategy, and how many were left out.

    `catalogs` may have prices that the strategy does not look at; None: no others.
    """
    ranker = ranker_of(pool, rankers)
    market = Market(now, sightings.catalogs, pool.bought)
    shown = Market(now, catalogs if catalogs is not None else sightings.catalogs)
    ranked = list(ranker.rank(list(offers(pool)), market))
    rows = [
        _row(fleet, offer, rank, now, settings, shown, ranker.because(offer, market))
        for rank, offer in enumerate(ranked[:OFFERS_MAX], start=1)
    ]
    return rows, len(ranked) - len(rows)


def ranker_of(pool: Pool, rankers: Mapping[str, Ranker]) -> Ranker:
    """Return whose order counts, as in `navarch.core.purchase`."""
    return rankers.get(pool.spec.strategy) or BUILT_IN["priority"]


def _row(
    fleet: Fleet,
    offer: Offer,
    rank: int,
    now: datetime,
    settings: Settings,
    market: Market,
    because: str,
) -> OfferRow:
    row = OfferRow(
        rank=rank,
        offer=str(offer),
        provider=offer.provider,
        region=offer.region,
        zone=offer.zone,
        instance_type=offer.instance_type,
        spot=offer.spot,
        price=market.price(offer),
        price_because=market.price_because(offer),
        available=market.available(offer),
        because=because,
    )
    blocked = memory.blocked_until(fleet, offer, now, settings)
    if blocked is not None:
        row.refused_until, row.refused_because = blocked
        against = [refusals for _, refusals in memory.held_against(fleet, offer)]
        row.refusals = max(refusals.count for refusals in against)
        row.needs_person = any(each.failure in memory.PERSON_NEEDED for each in against)
    return row


def buying(
    fleet: Fleet,
    sightings: Sightings,
    pool: Pool,
    now: datetime,
    settings: Settings,
    rankers: Mapping[str, Ranker] = BUILT_IN,
    catalogs: Mapping[str, Catalog] | None = None,
) -> Buying:
    """Say what is bought next, and why, or why nothing is."""
    counted = capacity.count(fleet, pool)
    missing = max(pool.target - counted.current, 0)
    room = max(pool.spec.max_nodes - counted.existing, 0)
    retry_at = capacity.retry_at(pool, now, settings)
    number = min(max(missing, NEXT_MIN), NEXT_MAX)
    shown = Market(now, catalogs if catalogs is not None else sightings.catalogs)
    chosen = [
        NextRow(str(choice.offer), shown.price(choice.offer), choice.because)
        for choice in purchase.choices(fleet, sightings, pool, number, now, settings, rankers)
    ]
    return Buying(
        missing=missing,
        room=room,
        because=_because(pool, missing, room, counted.current, chosen, retry_at, now),
        retry_at=retry_at if retry_at > now else None,
        next=chosen,
    )


def _because(
    pool: Pool,
    missing: int,
    room: int,
    current: int,
    chosen: list[NextRow],
    retry_at: datetime,
    now: datetime,
) -> str:
    """Say what stands in the way first, in the order in which `navarch.core.purchase` looks."""
    if pool.retired:
        return "nothing is bought: the pool is no longer in the configuration"
    if pool.paused:
        return f"nothing is bought: the pool is paused: {pool.paused_because}"
    if not missing:
        return f"nothing is missing: {current} of {pool.target} nodes are there or on their way"
    if not room:
        most = pool.spec.max_nodes
        return (
            f"{missing} missing, and no room: {most} machines may exist, ending and condemned "
            "ones counted in"
        )
    if retry_at > now:
        wait = (retry_at - now).total_seconds()
        failures = f"{pool.failures} failed rounds, the last: {pool.failure}"
        return f"{missing} missing; buys again in {wait:.0f} s, after {failures}"
    if not chosen:
        return f"{missing} missing, and every offer has refused a moment ago"
    return f"{missing} missing: {min(missing, room)} will be asked for at the next look"
