"""What rankers are given, and what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct, field

from navarch.core.model.messages import Sold
from navarch.core.model.offer import Offer
from navarch.core.model.sightings import Catalog


class Market(Struct, frozen=True):
    """What is known when a machine is about to be bought."""

    now: datetime
    catalogs: Mapping[str, Catalog] = field(default_factory=dict)
    """The newest price list of each provider that has one."""
    bought: Mapping[str, int] = field(default_factory=dict)
    """Launches that the pool has asked of each provider, ever."""

    def sold(self, offer: Offer) -> Sold | None:
        """The offer's line in its provider's price list; None when nothing is known."""
        catalog = self.catalogs.get(offer.provider)
        line = catalog.types.get(offer.instance_type) if catalog else None
        if line is None or (line.regions and offer.region and offer.region not in line.regions):
            return None
        return line

    def price(self, offer: Offer) -> float | None:
        """US dollars an hour; None when the provider does not say."""
        line = self.sold(offer)
        if line is None:
            return None
        return line.spot_price_usd_per_hour if offer.spot else line.price_usd_per_hour

    def price_because(self, offer: Offer) -> str:
        """Say for people what it costs, and who says so: the provider now, or a list once."""
        price, line = self.price(offer), self.sold(offer)
        if price is None or line is None:
            return "price not known"
        if line.listed and not offer.spot:
            return f"${price:.2f} an hour, list price of {line.listed}"
        return f"${price:.2f} an hour, {self.age(offer)}"

    def available(self, offer: Offer) -> bool | None:
        """Whether the provider says that it has one; None when it does not say."""
        catalog = self.catalogs.get(offer.provider)
        if catalog is None or offer.instance_type not in catalog.types:
            return None
        line = self.sold(offer)
        return line is not None and line.available

    def age(self, offer: Offer) -> str:
        """How old the provider's price list is, for people."""
        catalog = self.catalogs.get(offer.provider)
        return f"{(self.now - catalog.at).total_seconds():.0f} s old" if catalog else "not known"


class Ranker(Protocol):
    """Puts offers in the order in which they should be asked.

    Pure and total: the same offers and market give the same order, every offer is in it once, and
    equal offers keep their order.
    """

    @property
    def name(self) -> str:
        """What a pool's strategy calls it; never empty."""
        ...

    def rank(self, offers: Sequence[Offer], market: Market) -> Sequence[Offer]:
        """Return all offers, the best first."""
        ...

    def because(self, offer: Offer, market: Market) -> str:
        """Say in a few words why an offer is where it is."""
        ...
