"""Offers: one kind of machine from one seller in one place, and what buying it taught.

A pool's sources multiply into offers: provider × region × zone × type. Each failed launch is
remembered for the offer it concerns, for its provider when the provider is what refused, or for
the part of its provider that a used-up quota counts. A success clears its own memory and nobody
else's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from navarch.core.model.pool import Pool, Source
from navarch.errors import QuotaScope


class Offer(Struct, frozen=True, omit_defaults=True):
    """Something that can be bought."""

    provider: str
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    priority: int = 0
    weight: int = 1
    spot: bool = False

    @property
    def key(self) -> str:
        """What it is remembered under."""
        return offer_key(self.provider, self.region, self.zone, self.instance_type, spot=self.spot)

    def __str__(self) -> str:
        """Name it for people: the seller and the place."""
        place = self.zone or self.region
        spot = " (spot)" if self.spot else ""
        return f"{self.provider}/{place}{spot}" if place else f"{self.provider}{spot}"


class Refusals(Struct, frozen=True, omit_defaults=True):
    """What failed launches taught about an offer, or about a provider as a whole."""

    count: int
    """Rounds of launches that were refused in a row."""
    at: datetime
    """When the last one was."""
    failure: str
    """Its kind, as a class name of the provider's errors, or `VANISHED`."""
    because: str
    retry_after: timedelta = timedelta()
    """How long the provider wanted to be left alone then; zero when it did not say."""
    provider: str = ""
    """Whose quota it is, where there is a `scope`."""
    scope: QuotaScope | None = None
    """What it concerns, where that is more than an offer and less than a provider."""


VANISHED = "Vanished"
"""The machine was sold, and was gone before its agent ever spoke: no better than a stock-out."""

PATTERNS_MAX = 32
"""Patterns of types that a quota may have; one with more is read as one of all types."""

PROVIDER_WIDE = frozenset({"QuotaExceeded", "Unauthorized", "Throttled", "Unavailable"})
"""Failures that say something about the seller, not about what is sold."""


def offer_key(provider: str, region: str, zone: str, instance_type: str, *, spot: bool) -> str:
    """Name an offer; a provider as a whole is remembered under its bare name."""
    return f"{provider}/{region}/{zone}/{instance_type}{'/spot' if spot else ''}"


def scope_key(provider: str, scope: QuotaScope) -> str:
    """Name the part of a provider that a quota counts, for memory and for people."""
    return f"{provider} for {scope}"


def offers(pool: Pool) -> Iterator[Offer]:
    """All that a pool may buy, in the order of its configuration."""
    for source in pool.sources:
        regions = source.regions or (pool.spec.region,)
        for region in regions:
            for zone in _zones(pool, source, region, alone=len(regions) == 1):
                for spot in _kinds(pool, source):
                    yield Offer(
                        provider=source.provider,
                        region=region,
                        zone=zone,
                        instance_type=source.instance_type or pool.spec.instance_type,
                        priority=source.priority,
                        weight=source.weight,
                        spot=spot,
                    )


def _kinds(pool: Pool, source: Source) -> tuple[bool, ...]:
    """Whether spot machines are bought of a source: a pool with a share of them buys both."""
    if pool.spec.spot_percent is None:
        return (source.spot,)
    return (True, False) if pool.spec.spot_percent > 0 else (False,)


def _zones(pool: Pool, source: Source, region: str, *, alone: bool) -> tuple[str, ...]:
    """The zones of a region: all that are named when it is the only one, else by their prefix."""
    zones = source.zones or pool.spec.zones
    if not alone:
        zones = tuple(zone for zone in zones if zone.startswith(region))
    return zones or ("",)
