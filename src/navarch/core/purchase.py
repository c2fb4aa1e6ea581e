"""Purchase: what is missing is bought, from the best offer that may be asked right now.

The ranker of the pool's strategy puts all offers in order; those that refused a moment ago are
passed over (`navarch.core.selection.memory`), and the reason of each launch names them. One refusal
never jams a pool: the next offer is asked at the next look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from navarch.core import capacity
from navarch.core.model import events as ev
from navarch.core.model import ids
from navarch.core.model.fleet import Fleet
from navarch.core.model.offer import Offer, offers
from navarch.core.model.pool import Pool
from navarch.core.model.sightings import Sightings
from navarch.core.selection import BUILT_IN, memory
from navarch.core.selection.base import Market, Ranker
from navarch.core.settings import Settings


class Choice(Struct, frozen=True):
    """An offer, and why it is the one."""

    offer: Offer
    because: str


def launches(
    fleet: Fleet,
    sightings: Sightings,
    now: datetime,
    settings: Settings,
    rankers: Mapping[str, Ranker] = BUILT_IN,
) -> Iterator[ev.LaunchRequested]:
    """Ask for the machines that are missing, inside each pool's maximum."""
    serial = fleet.serial
    for pool in fleet.pools.values():
        if pool.asleep:
            continue
        counted = capacity.count(fleet, pool)
        missing = pool.target - counted.current
        wanted = min(missing, pool.spec.max_nodes - counted.existing)
        if wanted <= 0 or now < capacity.retry_at(pool, now, settings):
            continue
        why = f"{counted.current} of {pool.target} nodes; {pool.target_because}"
        for choice in choices(fleet, sightings, pool, wanted, now, settings, rankers):
            serial += 1
            yield _launch(fleet, pool, serial, choice, why, now)


def choices(
    fleet: Fleet,
    sightings: Sightings,
    pool: Pool,
    number: int,
    now: datetime,
    settings: Settings,
    rankers: Mapping[str, Ranker] = BUILT_IN,
) -> Iterator[Choice]:
    """Choose an offer for each of `number` machines; none when all must be left alone.

    A strategy that no ranker has goes by priority.
    """
    ranker = rankers.get(pool.spec.strategy) or BUILT_IN["priority"]
    open_offers: list[Offer] = []
    passed_over: dict[Offer, str] = {}
    for offer in offers(pool):
        blocked = memory.blocked_until(fleet, offer, now, settings)
        if blocked is None:
            open_offers.append(offer)
        else:
            passed_over[offer] = blocked[1]
    if not open_offers:
        return
    bought = dict(pool.bought)
    mix = _Mix.of(fleet, pool)
    for _ in range(number):
        market = Market(now, sightings.catalogs, bought)
        candidates = mix.narrowed(open_offers)
        if not candidates:
            return
        best = ranker.rank(_turned(candidates, bought), market)[0]
        yield Choice(best, _because(ranker, best, market, passed_over))
        bought[best.provider] = bought.get(best.provider, 0) + 1
        mix.total += 1
        mix.spot += best.spot


class _Mix(Struct):
    """How many of a pool's nodes may be taken away again, and how many may be at most."""

    percent: float | None
    spot: int
    total: int

    @classmethod
    def of(cls, fleet: Fleet, pool: Pool) -> _Mix:
        """Count a pool. Cost: O(its machines) where a share of spot machines is wanted."""
        current = fleet.current_of(pool.name) if pool.spec.spot_percent is not None else ()
        total = capacity.count(fleet, pool).current
        return cls(pool.spec.spot_percent, sum(i.spot for i in current), total)

    def narrowed(self, offers_open: Sequence[Offer]) -> list[Offer]:
        """Leave the offers of the kind whose turn it is; where spot is dry, the other kind."""
        if self.percent is None:
            return list(offers_open)
        spot = [offer for offer in offers_open if offer.spot]
        may_be_spot = (self.spot + 1) * 100 <= self.percent * (self.total + 1)
        if may_be_spot and spot:
            return spot
        return [offer for offer in offers_open if not offer.spot]


def _turned(open_offers: Sequence[Offer], bought: Mapping[str, int]) -> list[Offer]:
    """Begin each source's offers with another one each time, so that its zones share."""
    of_source: dict[Offer, list[Offer]] = {}
    for offer in open_offers:
        of_source.setdefault(replace(offer, region="", zone=""), []).append(offer)
    turned: list[Offer] = []
    for source, offers_there in of_source.items():
        at = bought.get(source.provider, 0) % len(offers_there)
        turned += offers_there[at:] + offers_there[:at]
    return turned


def _because(ranker: Ranker, best: Offer, market: Market, passed_over: Mapping[Offer, str]) -> str:
    because = f"{best} by {ranker.name}: {ranker.because(best, market)}"
    order = list(ranker.rank([*passed_over, best], market))
    better = [passed_over[offer] for offer in order[: order.index(best)]]
    return f"{because}; not {', '.join(better)}" if better else because


def _launch(
    fleet: Fleet, pool: Pool, serial: int, choice: Choice, why: str, now: datetime
) -> ev.LaunchRequested:
    offer = choice.offer
    return ev.LaunchRequested(
        now,
        ids.instance_id(pool.name, fleet.tag, serial),
        pool=pool.name,
        provider=offer.provider,
        because=f"{why}; {choice.because}",
        instance_type=offer.instance_type,
        region=offer.region,
        zone=offer.zone,
        labels=pool.spec.labels,
        spot=offer.spot,
    )
