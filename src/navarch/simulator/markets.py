"""Markets: from whom pools may buy, and when and where each cloud sells nothing.

Most troubles end by themselves: shelves fill up, somebody raises the quota, a key is renewed. Some
never do. One cloud, the *steady* one, is always among the sources of a pool and has no trouble
that stays, so that every pool can be filled once the faults have ended.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from navarch.core.model.pool import PoolSpec, Source
from navarch.errors import (
    NoCapacity,
    ProviderError,
    QuotaExceeded,
    QuotaScope,
    Throttled,
    Unauthorized,
)
from navarch.simulator.dice import Stream

ZERO = timedelta()
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

REGIONS = ("r1", "r2")
ZONES = ("r1-a", "r1-b", "r2-a")
PLACES = ("", *REGIONS, *ZONES)

STRATEGIES = ("priority", "priority", "cost", "availability", "round-robin")


class Trouble(Struct, frozen=True):
    """A time in which a cloud refuses launches, for one reason."""

    failure: type[ProviderError]
    begins: timedelta
    lasts: timedelta | None = None
    """None: for ever, even when all other faults have ended."""
    place: str = ""
    """The region or zone where it does; empty: everywhere."""
    spot: bool | None = None
    """True: of spot machines alone; False: of ordinary ones alone; None: of both."""
    instance_type: str = ""
    """The type that it is of; empty: all."""

    def concerns(self, region: str, zone: str, instance_type: str, *, spot: bool) -> bool:
        """Whether such a machine is refused."""
        is_here = self.place in ("", region, zone)
        return is_here and self.spot in (None, spot) and self.instance_type in ("", instance_type)

    def error(self, text: str) -> ProviderError:
        """Refuse; a quota says what it counts, where that is not everything."""
        if self.failure is not QuotaExceeded:
            return self.failure(text)
        types = (self.instance_type,) if self.instance_type else ()
        scope = QuotaScope(region=self.place, instance_types=types, spot=self.spot)
        return QuotaExceeded(text, scope=None if scope.is_everything else scope)


class Habits(Struct, frozen=True):
    """What is peculiar about how a cloud sells, besides its troubles."""

    boot_spread: float = 0.0
    """How much longer than its boot time a machine may take: a tail of this weight, from 0 to 1."""
    quota: int | None = None
    """How many machines of ours there may be at once while faults happen; None: any number."""
    calls_a_minute: int | None = None
    """How many calls it answers while faults happen; None: any number."""
    price_factor: float = 1.0
    """What becomes of its price at `price_changes_at`."""
    price_changes_at: timedelta = ZERO
    twins: float = 0.0
    """How often one launch makes two machines, because its own front asks twice; 0 to 1."""


ORDINARY = Habits()

BOOT_MAX = 4 * MINUTE
"""The longest that a tail makes a machine boot."""


def draw_habits(rolls: Stream, lasts: timedelta) -> Habits:
    """Draw how a cloud sells; like all others, as a rule."""
    return Habits(
        boot_spread=rolls.pick((0.0, 0.0, 0.3, 1.0)),
        quota=rolls.integer(1, 6) if rolls.chance(0.15) else None,
        calls_a_minute=rolls.pick((4, 8, 20)) if rolls.chance(0.15) else None,
        price_factor=rolls.pick((1.0, 0.5, 2.0)),
        price_changes_at=rolls.between(MINUTE, lasts),
        twins=rolls.pick((0.1, 0.4)) if rolls.chance(0.1) else 0.0,
    )


def draw_sources(
    rolls: Stream, clouds: tuple[str, ...], steady: str, *, most: int
) -> tuple[Source, ...]:
    """Draw the sellers of a pool; the steady one is among them. Empty: it buys of one alone."""
    if rolls.chance(0.4):
        return ()
    others = rolls.some([name for name in clouds if name != steady], rolls.integer(0, most - 1))
    return tuple(_source(rolls, name) for name in rolls.some((steady, *others), most))


def _source(rolls: Stream, cloud: str) -> Source:
    regions: tuple[str, ...] = rolls.pick(((), REGIONS[:1], REGIONS, REGIONS))
    zones = tuple(zone for zone in ZONES if zone.startswith(regions)) if regions else ()
    return Source(
        cloud,
        priority=rolls.integer(0, 2),
        weight=rolls.integer(1, 3),
        regions=regions,
        zones=zones if rolls.chance(0.6) else (),
        instance_type=f"{cloud}-gpu" if rolls.chance(0.5) else "",
        spot=rolls.chance(0.2),
    )


def with_spot(rolls: Stream, pool: PoolSpec) -> PoolSpec:
    """Draw how many machines of a pool may be taken away again; mostly its sources say that."""
    if not rolls.chance(0.3):
        return pool
    sources = tuple(replace(source, spot=False) for source in pool.sources)
    return replace(pool, sources=sources, spot_percent=rolls.pick((0.0, 30.0, 60.0, 100.0)))


def draw_troubles(
    rolls: Stream, lasts: timedelta, types: tuple[str, ...], *, steady: bool
) -> tuple[Trouble, ...]:
    """Draw when a cloud will not sell."""
    troubles = [
        Trouble(
            NoCapacity,
            rolls.between(ZERO, lasts),
            rolls.between(30 * SECOND, 6 * MINUTE),
            rolls.pick(PLACES),
        )
        for _ in range(rolls.pick((0, 0, 1, 3)))
    ]
    passing: tuple[tuple[type[ProviderError], float, timedelta], ...] = (
        (QuotaExceeded, 0.15, 5 * MINUTE),
        (Unauthorized, 0.15, 5 * MINUTE),
        (Throttled, 0.2, 40 * SECOND),
    )
    for failure, chance, longest in passing:
        if rolls.chance(chance):
            begins = rolls.between(ZERO, lasts)
            troubles.append(Trouble(failure, begins, rolls.between(10 * SECOND, longest)))
    stays = rolls.chance(0.4)
    if stays and not steady:
        lasting: tuple[type[ProviderError], ...] = (NoCapacity, QuotaExceeded, Unauthorized)
        troubles.append(Trouble(rolls.pick(lasting), rolls.between(ZERO, lasts)))
    quotas = (_quota(rolls, lasts, types) for _ in range(rolls.pick((0, 0, 1, 2))))
    return (*troubles, *quotas)


def _quota(rolls: Stream, lasts: timedelta, types: tuple[str, ...]) -> Trouble:
    """Draw a time in which a quota of some region, type or kind is used up."""
    return Trouble(
        QuotaExceeded,
        rolls.between(ZERO, lasts),
        rolls.between(30 * SECOND, 8 * MINUTE),
        rolls.pick(("", *REGIONS)),
        rolls.pick((None, True, False)),
        rolls.pick(("", *types)),
    )
