"""By cost: the cheapest known price first, unknown prices last."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from navarch.core.model.offer import Offer
from navarch.core.selection.base import Market


class CostRanker(Struct, frozen=True):
    """Buys where a machine costs least."""

    name: str = "cost"

    def rank(self, offers: Sequence[Offer], market: Market) -> Sequence[Offer]:
        """Order by price, then by priority."""

        def cost(offer: Offer) -> tuple[float, int]:
            price = market.price(offer)
            return (math.inf if price is None else price, offer.priority)

        return sorted(offers, key=cost)

    def because(self, offer: Offer, market: Market) -> str:
        """Name the price, and its age or its list."""
        return market.price_because(offer)
