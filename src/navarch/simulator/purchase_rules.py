"""Rules of purchase: what must hold of each launch that is asked for.

An offer is bought that the pool's configuration has, that did not refuse a moment ago, and the
reason says which one it is and whom it was preferred to. Offers are multiplied out once more here,
for the code under test is not to be believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase

from msgspec import Struct

from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.offer import Refusals
from navarch.core.model.pool import PoolSpec, Source
from navarch.core.settings import Settings
from navarch.errors import QuotaScope
from navarch.simulator.books import (
    Books,
    Bought,
    Refusal,
    is_counted,
    place_key,
    place_of,
    quota_key,
)
from navarch.simulator.broken import Broken

SPREAD_MAX = 1.2
"""What a wait may be longer than its limit by, so that not all ask again at once."""


RETRY_AFTER_MAX = timedelta(minutes=15)
"""No seller is left alone for longer because it says so."""


class Place(Struct, frozen=True):
    """One offer of a pool."""

    provider: str
    region: str
    zone: str
    instance_type: str
    priority: int
    spot: bool

    @property
    def key(self) -> str:
        """What the books remember it under."""
        return place_key(self.provider, self.region, self.zone, self.instance_type, spot=self.spot)

    @property
    def name(self) -> str:
        """What reasons call it."""
        name = f"{self.provider}/{self.zone or self.region}".removesuffix("/")
        return f"{name} (spot)" if self.spot else name


def places(spec: PoolSpec) -> Iterator[Place]:
    """Multiply the sources of a pool out."""
    for source in spec.sources or (Source(spec.provider),):
        regions = source.regions or (spec.region,)
        for region in regions:
            zones = source.zones or spec.zones
            if len(regions) > 1:
                zones = tuple(zone for zone in zones if zone.startswith(region))
            for zone in zones or ("",):
                kind = source.instance_type or spec.instance_type
                for spot in _kinds(spec, source):
                    yield Place(source.provider, region, zone, kind, source.priority, spot)


def _kinds(spec: PoolSpec, source: Source) -> tuple[bool, ...]:
    if spec.spot_percent is None:
        return (source.spot,)
    return (False, True) if spec.spot_percent else (False,)


def may_buy(books: Books, fact: ev.LaunchRequested, settings: Settings) -> None:
    """Check which offer a machine is bought from."""
    spec = books.pools[fact.pool].spec
    key = place_of(fact)
    chosen = next((each for each in places(spec) if each.key == key), None)
    if chosen is None:
        raise Broken("unsafe", f"{fact.instance_id} is bought at {key}, which is not on offer")
    refusal = _newest_refusal(books, chosen)
    if refusal is not None and fact.at - refusal.at < _patience(refusal, settings):
        text = f"{chosen.name} is asked for {fact.instance_id}, and said {refusal.failure} just now"
        raise Broken("unsafe", text)
    if chosen.name not in fact.because:
        raise Broken("opaque", f"the reason of {fact.instance_id} does not name {chosen.name}")
    if spec.strategy == "priority":
        _named_better(books, fact, chosen, settings)
    _keeps_the_share(books, fact)
    _called_back_first(books, fact)


def _named_better(
    books: Books, fact: ev.LaunchRequested, chosen: Place, settings: Settings
) -> None:
    """A better offer is passed over only if it refused lately, and not without a word."""
    passed_over = fact.because.partition("; not ")[2]
    spec = books.pools[fact.pool].spec
    for better in places(spec):
        if better.priority >= chosen.priority:
            continue
        if spec.spot_percent is not None and better.spot is not chosen.spot:
            continue  # the share of the pool decides which kind is bought
        refusal = _newest_refusal(books, better)
        if refusal is None or fact.at - refusal.at > _longest(settings):
            raise Broken("unsafe", f"{better.name} would sell, and {chosen.name} was asked")
        if better.name not in passed_over:
            raise Broken("opaque", f"{fact.instance_id} says nothing of {better.name}")


def _keeps_the_share(books: Books, fact: ev.LaunchRequested) -> None:
    """No more of a pool than it agreed to may be taken away again by its seller."""
    percent = books.pools[fact.pool].spec.spot_percent
    if percent is None or not fact.spot:
        return
    current = [one for one in books.of_pool(fact.pool) if one.current]
    spot = sum(one.spot for one in current) + 1
    if spot * 100 > percent * (len(current) + 1):
        text = f"{fact.instance_id} is spot: {spot} of {len(current) + 1}, {percent}% at most"
        raise Broken("unsafe", text)


def _called_back_first(books: Books, fact: ev.LaunchRequested) -> None:
    """Whoever is being released, and can still be kept, is kept before anything is bought."""
    for one in books.of_pool(fact.pool):
        could_stay = one.interrupted_at is None and not one.sick
        if one.releasing_since is not None and not one.ending and could_stay:
            raise Broken("unsafe", f"{fact.instance_id} is bought while {one.id} is let go")


def _newest_refusal(books: Books, place: Place) -> Refusal | None:
    """The newest of its own, of its seller, and of the quotas that count it."""
    known = [books.refusals.get(key) for key in (place.provider, place.key)]
    known += [
        each
        for each in books.refusals.values()
        if each.scope is not None
        and each.provider == place.provider
        and is_counted(each.scope, place.region, place.zone, place.instance_type, spot=place.spot)
    ]
    return max((each for each in known if each), key=lambda each: each.at, default=None)


def _patience(refusal: Refusal, settings: Settings) -> timedelta:
    """For how long it must not be asked again, at the very least."""
    if refusal.failure in ("QuotaExceeded", "Unauthorized", "InvalidRequest"):
        return settings.provider_block
    if refusal.failure in ("NoCapacity", "Vanished"):
        return min(settings.stock_out_base, settings.stock_out_max)
    asked = min(refusal.retry_after, RETRY_AFTER_MAX)
    return max(min(settings.retry_base, settings.retry_max), asked)


def _longest(settings: Settings) -> timedelta:
    waits = (settings.provider_block, settings.stock_out_max, settings.retry_max)
    return SPREAD_MAX * max(*waits, RETRY_AFTER_MAX)


def refusals_are_heard(
    books: Books, messages: Sequence[msg.Message], facts: Sequence[ev.Event]
) -> None:
    """A refusal ends its launch, and is written down as it was said, whatever lists have shown.

    Only an agent that has spoken knows better: its machine exists.
    """
    for message in messages:
        if not isinstance(message, msg.LaunchRefused):
            continue
        one = books.instances.get(message.instance_id)
        if one is None or one.ended or one.registered or (one.ending and one.ref):
            continue
        about = [each for each in facts if getattr(each, "instance_id", "") == one.id]
        if any(isinstance(each, ev.NodeRegistered | ev.InstanceVanished) for each in about):
            continue
        if one.ending and any(isinstance(each, ev.InstanceLaunched) for each in about):
            continue  # a list of the same step has just shown what is to end
        told = {(each.failure, each.scope) for each in about if isinstance(each, ev.LaunchFailed)}
        scope = message.scope
        if scope is not None and not _counts(scope, one):
            scope = None  # it cannot be right: then the whole provider is meant
        if told != {(message.failure, scope)}:
            raise Broken("lost", f"{one.id} was refused by {message}, and what is known is {told}")


def _counts(scope: QuotaScope, one: Bought) -> bool:
    """Whether a quota can be the one that kept this machine from being made."""
    is_there = scope.region in ("", one.zone[0])
    is_kind = not scope.instance_types or any(
        fnmatchcase(one.kind, each) for each in scope.instance_types
    )
    return is_there and is_kind and scope.spot in (None, one.spot)


def memory_agrees(books: Books, refusals: Mapping[str, Refusals]) -> None:
    """Check that what is remembered of refusals is what the facts have said."""
    remembered = {
        key if each.scope is None else quota_key(each.provider, each.scope): (each.failure, each.at)
        for key, each in refusals.items()
    }
    expected = {key: (each.failure, each.at) for key, each in books.refusals.items()}
    if remembered != expected:
        raise Broken("lost", f"refusals remembered: {remembered}, and told: {expected}")
