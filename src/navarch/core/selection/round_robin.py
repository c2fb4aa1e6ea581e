"""In turns: each provider gets its share of the launches, smoothly, by weight.

The turn follows from how many launches each was asked for, which facts remember: a restart does
not begin anew with the first. A provider that could not be asked for a while, or is new, catches
up: it gets the next turns until its share is right.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from navarch.core.model.offer import Offer
from navarch.core.selection.base import Market


class RoundRobinRanker(Struct, frozen=True):
    """Spreads the launches of a pool."""

    name: str = "round-robin"

    def rank(self, offers: Sequence[Offer], market: Market) -> Sequence[Offer]:
        """Order by how far each provider is behind its share, the furthest first."""
        weights: dict[str, int] = {}
        for offer in offers:
            weights[offer.provider] = max(weights.get(offer.provider, 0), offer.weight)
        whole = sum(weights.values()) or 1
        turn = sum(market.bought.get(provider, 0) for provider in weights) + 1

        def ahead(offer: Offer) -> float:
            due = turn * weights[offer.provider] / whole
            return round(market.bought.get(offer.provider, 0) - due, 9)

        return sorted(offers, key=ahead)

    def because(self, offer: Offer, market: Market) -> str:
        """Name the share and what was bought."""
        bought = market.bought.get(offer.provider, 0)
        return f"its turn: weight {offer.weight}, {bought} asked of it so far"
