"""By availability: who says that it has one first, who does not say next, who has none last."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from navarch.core.model.offer import Offer
from navarch.core.selection.base import Market

_ORDER = {True: 0, None: 1, False: 2}
_WORDS = {True: "has capacity", None: "capacity not known", False: "says it has none"}


class AvailabilityRanker(Struct, frozen=True):
    """Buys where there is something to buy."""

    name: str = "availability"

    def rank(self, offers: Sequence[Offer], market: Market) -> Sequence[Offer]:
        """Order by what providers say of their stock, then by priority."""
        return sorted(offers, key=lambda each: (_ORDER[market.available(each)], each.priority))

    def because(self, offer: Offer, market: Market) -> str:
        """Name what the provider says, and how long ago."""
        available = market.available(offer)
        words = _WORDS[available]
        return words if available is None else f"{words}, {market.age(offer)}"
