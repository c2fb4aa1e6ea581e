"""What one machine of a kind costs, by the price lists that were read.

A price that nobody knows stays unknown; it is never zero.
"""

from __future__ import annotations

from navarch.core.model.offer import Offer
from navarch.core.selection.base import Market
from navarch.dashboard.past.lives import Kind


def price_of(kind: Kind, market: Market) -> float | None:
    """US dollars an hour of one such machine; None: nobody knows."""
    return market.price(_offer(kind))


def price_because(kind: Kind, market: Market) -> str:
    """Say for people what it costs, and who says so."""
    return market.price_because(_offer(kind))


def _offer(kind: Kind) -> Offer:
    return Offer(kind.provider, kind.region, "", kind.instance_type, spot=kind.spot)
