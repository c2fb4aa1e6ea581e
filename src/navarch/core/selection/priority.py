"""By priority: the lowest number first, in the order of the configuration otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from navarch.core.model.offer import Offer
from navarch.core.selection.base import Market


class PriorityRanker(Struct, frozen=True):
    """The documents' default."""

    name: str = "priority"

    def rank(self, offers: Sequence[Offer], market: Market) -> Sequence[Offer]:
        """Order by priority."""
        del market  # prices and stock do not matter here
        return sorted(offers, key=lambda offer: offer.priority)

    def because(self, offer: Offer, market: Market) -> str:
        """Name the priority."""
        del market
        return f"priority {offer.priority}"
