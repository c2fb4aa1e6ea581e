"""What machines cost: the control plane's own price lists, and those that only people ask for.

A pool whose strategy does not look at prices has nobody read them. When somebody looks at a page
with prices, the lists of its providers are read too, at most once an hour each. They decide
nothing. A price that nobody knows stays unknown; it is never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from navarch.core.model.fleet import Fleet
from navarch.core.model.messages import Sold
from navarch.core.model.offer import Offer
from navarch.core.model.sightings import Catalog, Sightings
from navarch.core.selection.base import Market
from navarch.dashboard.past.lives import Kind

AGE_MAX: Final = timedelta(hours=1)
"""How old a list may get before it is read again: prices on demand change by the month."""
RETRY: Final = timedelta(minutes=5)
"""After how long a list is asked for again that could not be read."""
WANTED_FOR: Final = timedelta(minutes=10)
"""For how long lists are kept up to date after somebody looked at a page with prices."""
PROVIDERS_MAX: Final = 100
"""Providers whose lists are kept."""


class Prices:
    """Price lists that were read for people."""

    def __init__(self) -> None:
        """Begin with none."""
        self._own: dict[str, Catalog] = {}
        self._tried: dict[str, datetime] = {}
        self._wanted_at: datetime | None = None

    def want(self, now: datetime) -> None:
        """Have lists read that are missing: somebody looks."""
        self._wanted_at = now

    def catalogs(self, sightings: Sightings) -> Mapping[str, Catalog]:
        """All lists there are; where the control plane has one of its own, that counts."""
        return {**self._own, **sightings.catalogs}

    def due(self, fleet: Fleet, sightings: Sightings, now: datetime) -> list[str]:
        """Whose lists should be read now; none while nobody looks."""
        if self._wanted_at is None or now - self._wanted_at > WANTED_FOR:
            return []
        sellers = dict.fromkeys(
            source.provider
            for pool in fleet.pools.values()
            if not pool.retired
            for source in pool.sources
        )
        return [each for each in sellers if self._is_due(each, sightings, now)][:PROVIDERS_MAX]

    def _is_due(self, provider: str, sightings: Sightings, now: datetime) -> bool:
        if provider in sightings.catalogs:
            return False
        own, tried_at = self._own.get(provider), self._tried.get(provider)
        is_old = own is None or now - own.at >= AGE_MAX
        return is_old and (tried_at is None or now - tried_at >= RETRY)

    def learn(self, provider: str, types: tuple[Sold, ...] | None, now: datetime) -> None:
        """Take a list; None: it could not be read, and the one before stays."""
        self._tried[provider] = now
        if types is not None and (provider in self._own or len(self._own) < PROVIDERS_MAX):
            self._own[provider] = Catalog(now, {each.name: each for each in types})


def price_of(kind: Kind, market: Market) -> float | None:
    """US dollars an hour of one such machine; None: nobody knows."""
    return market.price(_offer(kind))


def price_because(kind: Kind, market: Market) -> str:
    """Say for people what it costs, and who says so."""
    return market.price_because(_offer(kind))


def _offer(kind: Kind) -> Offer:
    return Offer(kind.provider, kind.region, "", kind.instance_type, spot=kind.spot)
