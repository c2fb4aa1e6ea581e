"""What must not be asked right now, because it refused a moment ago.

A stock-out concerns one offer and is short at first, and so does a machine that was gone before its
agent spoke. Bad credentials concern a whole provider and wait for a person, and so does a quota,
which may concern a part of a provider: a region, some types, spot or not. The waits double and are
spread, so that a hundred pools do not come back in the same second; the spread follows from the
name, since chance has no place here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta

from navarch.core.model.fleet import Fleet
from navarch.core.model.offer import VANISHED, Offer, Refusals
from navarch.core.settings import Settings

PERSON_NEEDED = frozenset({"QuotaExceeded", "Unauthorized"})
"""Refusals that last until somebody does something about them."""
SPREAD = 0.2
"""By how much of itself a wait is lengthened at most."""


def blocked_until(
    fleet: Fleet, offer: Offer, now: datetime, settings: Settings
) -> tuple[datetime, str] | None:
    """Say until when an offer is left alone, and why; None when it may be asked.

    Of several reasons it is the one that lasts longest. Cost: O(refusals).
    """
    held = [
        (refusals.at + wait(key, refusals, settings), refusals)
        for key, refusals in held_against(fleet, offer)
    ]
    until, refusals = max(held, key=lambda each: each[0], default=(now, None))
    if refusals is None or until <= now:
        return None
    return until, f"{offer}: {_told(refusals)} {_ago(refusals.at, now)}"


def held_against(fleet: Fleet, offer: Offer) -> Iterator[tuple[str, Refusals]]:
    """Yield what is remembered against an offer, its provider, and quotas that count it, by key."""
    for key in (offer.provider, offer.key):
        refusals = fleet.refusals.get(key)
        if refusals is not None:
            yield key, refusals
    for key, refusals in fleet.refusals.items():
        scope = refusals.scope
        if scope is None or refusals.provider != offer.provider:
            continue
        if scope.covers(offer.region, offer.zone, offer.instance_type, spot=offer.spot):
            yield key, refusals


def _told(refusals: Refusals) -> str:
    """Name a refusal for people, with what it concerns where that is not plain."""
    if refusals.failure == VANISHED:
        return "its machine vanished before it registered,"
    if refusals.scope is not None:
        return f"{refusals.failure} for {refusals.scope},"
    return refusals.failure


def wait(key: str, refusals: Refusals, settings: Settings) -> timedelta:
    """How long to leave alone what was refused so often."""
    if refusals.failure in PERSON_NEEDED or refusals.failure == "InvalidRequest":
        base = settings.provider_block
    elif refusals.failure in {"NoCapacity", VANISHED}:
        doubled = settings.stock_out_base * (1 << min(refusals.count - 1, 16))
        base = min(doubled, settings.stock_out_max)
    else:
        base = min(settings.retry_base * (1 << min(refusals.count - 1, 16)), settings.retry_max)
    share = zlib.crc32(f"{key} {refusals.count}".encode()) / 0xFFFFFFFF
    return max(base, refusals.retry_after) * (1 + SPREAD * share)


def _ago(at: datetime, now: datetime) -> str:
    return f"{(now - at).total_seconds():.0f} s ago"


def conditions(fleet: Fleet) -> dict[str, str]:
    """Providers that need a person, by name, and what each says.

    Where a quota counts a part of what a provider sells, the name has that part.
    """
    return {
        key: f"{refusals.failure}: {refusals.because}"
        for key, refusals in fleet.refusals.items()
        if refusals.failure in PERSON_NEEDED
    }


def provider_of(fleet: Fleet, key: str) -> str:
    """Return the provider that a condition is of."""
    refusals = fleet.refusals.get(key)
    return refusals.provider or key if refusals is not None else key
