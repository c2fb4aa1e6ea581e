"""What must not be asked right now, because it refused a moment ago.

A stock-out concerns one offer and is short at first; a quota or bad credentials concern a whole
provider and wait for a person. The waits double and are spread, so that a hundred pools do not come
back in the same second; the spread follows from the name, since chance has no place here.
"""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta

from navarch.core.model.fleet import Fleet
from navarch.core.model.offer import Offer, Refusals
from navarch.core.settings import Settings

PERSON_NEEDED = frozenset({"QuotaExceeded", "Unauthorized"})
"""Refusals that last until somebody does something about them."""
SPREAD = 0.2
"""By how much of itself a wait is lengthened at most."""


def blocked_until(
    fleet: Fleet, offer: Offer, now: datetime, settings: Settings
) -> tuple[datetime, str] | None:
    """Say until when an offer is left alone, and why; None when it may be asked."""
    for key in (offer.provider, offer.key):
        refusals = fleet.refusals.get(key)
        if refusals is None:
            continue
        until = refusals.at + wait(key, refusals, settings)
        if until > now:
            return until, f"{offer}: {refusals.failure} {_ago(refusals.at, now)}"
    return None


def wait(key: str, refusals: Refusals, settings: Settings) -> timedelta:
    """How long to leave alone what was refused so often."""
    if refusals.failure in PERSON_NEEDED or refusals.failure == "InvalidRequest":
        base = settings.provider_block
    elif refusals.failure == "NoCapacity":
        doubled = settings.stock_out_base * (1 << min(refusals.count - 1, 16))
        base = min(doubled, settings.stock_out_max)
    else:
        base = min(settings.retry_base * (1 << min(refusals.count - 1, 16)), settings.retry_max)
    share = zlib.crc32(f"{key} {refusals.count}".encode()) / 0xFFFFFFFF
    return max(base, refusals.retry_after) * (1 + SPREAD * share)


def _ago(at: datetime, now: datetime) -> str:
    return f"{(now - at).total_seconds():.0f} s ago"


def conditions(fleet: Fleet) -> dict[str, str]:
    """Providers that need a person, by name, and what each says."""
    return {
        key: f"{refusals.failure}: {refusals.because}"
        for key, refusals in fleet.refusals.items()
        if "/" not in key and refusals.failure in PERSON_NEEDED
    }
