"""Purchase: what is missing is bought inside the limits, from the best that may be asked now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

import pytest
from msgspec.structs import replace

from factories import (
    POOL,
    PROVIDER,
    SETTINGS,
    a_fleet,
    a_spec,
    at,
    condemned,
    ending,
    fold_all,
    launched,
    lost,
    name,
    priced,
    refused,
    releasing,
    requested,
)
from navarch.core import purchase
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.messages import Sold
from navarch.core.model.offer import Offer
from navarch.core.model.pool import PoolSpec, Source
from navarch.core.model.sightings import Sightings
from navarch.core.selection import BUILT_IN
from navarch.core.selection.base import Market, Ranker

AB = ("a", "b")


def launches(
    fleet: Fleet,
    now: datetime | None = None,
    seen: Sightings | None = None,
    rankers: Mapping[str, Ranker] = BUILT_IN,
) -> list[ev.LaunchRequested]:
    return list(purchase.launches(fleet, seen or Sightings(), now or at(), SETTINGS, rankers))


def bought(fleet: Fleet, now: datetime | None = None, seen: Sightings | None = None) -> list[str]:
    """Name sellers and places of what is bought."""
    return [f"{fact.provider}/{fact.zone}" for fact in launches(fleet, now, seen)]


def of_sources(*sources: Source, target: int = 1, **changes: object) -> Fleet:
    """Return a fleet whose pool has no machine yet and buys of these sources."""
    return a_fleet(0, target=target, spec=a_spec(sources=sources, **changes))


def refusing(n: int, provider: str, failure: str = "NoCapacity", zone: str = "") -> list[ev.Fact]:
    """Return that this provider would not make machine n."""
    return [replace(requested(n), provider=provider, zone=zone), refused(n, failure)]


# --- how many --------------------------------------------------------------------------------


def test_what_is_missing_is_bought_and_says_why() -> None:
    fleet = a_fleet(1, target=2, spec=a_spec(labels={"team": "ml"}))
    assert launches(fleet) == [
        ev.LaunchRequested(
            at(),
            name(2),
            pool=POOL,
            provider=PROVIDER,
            because="1 of 2 nodes; a test wants so many; fake/us-west-2 by priority: priority 0",
            instance_type="h100-8x",
            region="us-west-2",
            labels={"team": "ml"},
        )
    ]


def test_nothing_is_bought_when_nothing_is_missing() -> None:
    assert launches(a_fleet(2)) == []


def test_booting_machines_count() -> None:
    assert launches(a_fleet(0, requested(1), requested(2), launched(2), target=2)) == []


def test_condemned_machines_do_not_count() -> None:
    fleet = a_fleet(2, lost(1, at()), condemned(1, at()))
    assert [fact.instance_id for fact in launches(fleet)] == [name(3)]


def test_machines_that_are_ending_count_against_the_maximum() -> None:
    fleet = a_fleet(3, ending(1, at()), ending(2, at()), target=3, spec=a_spec(max_nodes=4))
    assert len(launches(fleet)) == 1


def test_machines_that_are_released_count_against_the_maximum() -> None:
    fleet = a_fleet(3, releasing(1), releasing(2), target=3, spec=a_spec(max_nodes=4))
    assert len(launches(fleet)) == 1


def test_a_pool_above_its_maximum_buys_nothing() -> None:
    fleet = a_fleet(3, ending(1, at()), target=3)
    fold_all(ev.PoolConfigured(at(), a_spec(max_nodes=2)), fleet=fleet)
    assert launches(fleet) == []


@pytest.mark.parametrize(
    "fact",
    [ev.PoolPaused(at(), POOL, "maintenance"), ev.PoolRetired(at(), POOL, "not in the file")],
)
def test_a_sleeping_pool_buys_nothing(fact: ev.Fact) -> None:
    assert launches(a_fleet(0, fact, target=2)) == []


def test_an_id_is_never_given_twice() -> None:
    fleet = a_fleet(3)
    gone = [ev.InstanceTerminated(at(), name(n), "gone") for n in (1, 2, 3)]
    names = tuple(name(n) for n in (1, 2, 3))
    fold_all(*gone, ev.RecordsForgotten(at(), "old", names, names), fleet=fleet)
    assert [fact.instance_id for fact in launches(fleet)] == [name(4), name(5), name(6)]


def test_two_pools_share_one_row_of_numbers() -> None:
    other = a_spec(name="serving", min_nodes=2)
    fleet = a_fleet(0, ev.PoolConfigured(at(), other), target=1)
    ids = [fact.instance_id for fact in launches(fleet)]
    assert ids == ["training-k3f9-0001", "serving-k3f9-0002", "serving-k3f9-0003"]


def test_a_pool_whose_machines_do_not_last_waits_before_it_buys() -> None:
    fleet = a_fleet(0, target=1)
    for n in (1, 2, 3):
        when = at(seconds=n)
        gone = ev.TerminationRequested(when, name(n), "it never registered", trouble=True)
        fold_all(requested(n, when), gone, fleet=fleet)
    assert launches(fleet, at(seconds=12)) == []
    assert len(launches(fleet, at(seconds=13))) == 1


# --- from whom -------------------------------------------------------------------------------


def test_an_offer_says_where_and_what_is_bought() -> None:
    cheap = Source("aws", regions=("eu",), zones=("eu-a",), instance_type="p5", spot=True)
    fact = launches(of_sources(cheap))[0]
    assert (fact.provider, fact.instance_type, fact.region, fact.zone, fact.spot) == (
        "aws",
        "p5",
        "eu",
        "eu-a",
        True,
    )


def test_zones_share_the_machines() -> None:
    fleet = a_fleet(0, target=4, spec=a_spec(zones=("a", "b", "c")))
    assert bought(fleet) == ["fake/a", "fake/b", "fake/c", "fake/a"]


def test_zones_go_on_where_they_were() -> None:
    fleet = a_fleet(0, target=2, spec=a_spec(zones=("a", "b", "c")))
    fold_all(launches(fleet), ev.TargetChanged(at(), POOL, 4, "more"), fleet=fleet)
    assert bought(fleet) == ["fake/c", "fake/a"]


def test_zones_share_whatever_else_there_is_to_buy() -> None:
    sources = Source("fake", zones=AB), Source("lambda", 1)
    assert bought(of_sources(*sources, target=4)) == ["fake/a", "fake/b"] * 2


def test_zones_share_whatever_else_their_own_provider_sells() -> None:
    spot, on_demand = Source("fake", zones=AB, spot=True), Source("fake", 1, zones=AB)
    fleet = of_sources(spot, on_demand, target=4)
    facts = launches(fleet)
    assert [(fact.zone, fact.spot) for fact in facts] == [("a", True), ("b", True)] * 2


def test_providers_and_their_zones_take_turns() -> None:
    sources = Source("fake", zones=AB), Source("lambda", zones=AB)
    fleet = of_sources(*sources, strategy="round-robin", target=8)
    assert bought(fleet) == ["fake/a", "lambda/a", "fake/b", "lambda/b"] * 2


def test_turns_go_on_after_a_restart() -> None:
    sources = Source("fake", weight=2), Source("lambda", weight=1)
    fleet = of_sources(*sources, strategy="round-robin", target=9)
    facts = launches(fleet)
    assert [fact.provider for fact in facts] == ["fake", "lambda", "fake"] * 3
    fold_all(facts[:4], fleet=fleet)
    again = Fleet(fleet.records())
    assert [fact.provider for fact in launches(again)] == [fact.provider for fact in facts[4:]]


def test_the_cheapest_known_price_wins() -> None:
    sources = Source("fake"), Source("lambda"), Source("third")
    prices = priced(fake=[Sold("h100-8x", 24.0)], third=[Sold("h100-8x", 16.0)])
    fleet = of_sources(*sources, strategy="cost")
    fact = launches(fleet, at(seconds=30), Sightings(catalogs=prices))[0]
    assert fact.provider == "third"
    assert fact.because.endswith("third/us-west-2 by cost: $16.00 an hour, 30 s old")


def test_capacity_is_bought_where_somebody_says_he_has_it() -> None:
    prices = priced(fake=[Sold("h100-8x", available=False)], third=[Sold("h100-8x")])
    fleet = of_sources(Source("fake"), Source("third"), strategy="availability")
    assert bought(fleet, seen=Sightings(catalogs=prices)) == ["third/"]


class Last:
    """A ranker of somebody else: the last offer first."""

    name = "last"

    def rank(self, offers: Sequence[Offer], market: Market) -> Sequence[Offer]:
        return offers[::-1]

    def because(self, offer: Offer, market: Market) -> str:
        return f"{len(market.bought)} sellers so far"


def test_a_strategy_may_be_somebody_elses_ranker() -> None:
    fleet = of_sources(Source("fake"), Source("lambda"), strategy="last")
    fact = launches(fleet, rankers={"last": Last()})[0]
    assert fact.because.endswith("; lambda/us-west-2 by last: 0 sellers so far")


def test_a_strategy_that_nobody_knows_goes_by_priority() -> None:
    fleet = of_sources(Source("fake", 2), Source("lambda", 1), strategy="last")
    assert bought(fleet) == ["lambda/"]


# --- falling back ----------------------------------------------------------------------------


def spare(*sources: Source) -> PoolSpec:
    return a_spec(sources=sources or (Source("fake"), Source("lambda", 1), Source("third", 2)))


def test_the_next_offer_is_asked_when_the_best_has_none_and_the_reason_says_so() -> None:
    fleet = a_fleet(0, refusing(1, "fake"), target=1, spec=spare())
    fact = launches(fleet, at(seconds=4))[0]
    assert fact.provider == "lambda"
    assert fact.because == (
        "0 of 1 nodes; a test wants so many; lambda/us-west-2 by priority: priority 1; "
        "not fake/us-west-2: NoCapacity 4 s ago"
    )


def test_the_reason_names_all_that_were_better_and_nobody_else() -> None:
    facts = [refusing(1, "fake"), refusing(2, "lambda", "Unauthorized"), refusing(3, "fourth")]
    sources = Source("fake"), Source("lambda", 1), Source("third", 2), Source("fourth", 3)
    fact = launches(a_fleet(0, *facts, target=1, spec=spare(*sources)), at(seconds=4))[0]
    assert fact.because.endswith(
        "third/us-west-2 by priority: priority 2; not fake/us-west-2: NoCapacity 4 s ago, "
        "lambda/us-west-2: Unauthorized 4 s ago"
    )


def test_an_equal_offer_that_was_passed_over_is_named() -> None:
    fleet = a_fleet(0, refusing(1, "fake"), target=1, spec=spare(Source("fake"), Source("lambda")))
    assert launches(fleet, at(seconds=4))[0].because.endswith(
        "not fake/us-west-2: NoCapacity 4 s ago"
    )


def test_a_zone_without_any_leaves_the_others_to_be_asked() -> None:
    spec = a_spec(zones=("a", "b", "c"))
    fleet = a_fleet(0, refusing(1, "fake", zone="b"), target=4, spec=spec)
    assert bought(fleet, at(seconds=1)) == ["fake/c", "fake/a", "fake/c", "fake/a"]


@pytest.mark.parametrize("failure", ["QuotaExceeded", "Unauthorized"])
def test_a_provider_that_needs_somebody_is_asked_for_nothing(failure: str) -> None:
    spec = a_spec(zones=AB, sources=(Source("fake"), Source("lambda", 1)))
    fleet = a_fleet(0, refusing(1, "fake", failure, "a"), target=2, spec=spec)
    assert set(bought(fleet, at(minutes=14))) == {"lambda/a", "lambda/b"}
    assert set(bought(fleet, at(minutes=19))) == {"fake/a", "fake/b"}


def test_one_failure_jams_no_pool() -> None:
    """As long as one offer is open, every round of refusals is followed by a launch at once."""
    fleet = a_fleet(0, target=1, spec=spare())
    providers = []
    for n in (1, 2, 3):
        fact = launches(fleet, at(seconds=n))[0]
        providers.append(fact.provider)
        fold_all(fact, refused(n, when=at(seconds=n)), fleet=fleet)
    assert providers == ["fake", "lambda", "third"]
    assert launches(fleet, at(seconds=4)) == []
    assert bought(fleet, at(seconds=40)) == ["fake/"]


def test_a_pool_is_not_held_up_by_the_failure_of_another() -> None:
    other = ev.PoolConfigured(at(), a_spec(name="serving", region="eu", min_nodes=1))
    fleet = a_fleet(0, refusing(1, "fake"), other, target=1)
    assert [fact.pool for fact in launches(fleet, at(seconds=1))] == ["serving"]


def test_pools_share_what_refusals_taught() -> None:
    other = ev.PoolConfigured(at(), a_spec(name="serving", min_nodes=1))
    assert launches(a_fleet(0, refusing(1, "fake"), other, target=1), at(seconds=1)) == []


def test_when_all_are_left_alone_nothing_is_bought_until_the_first_is_due() -> None:
    fleet = a_fleet(0, target=1)
    tries = []
    for second in range(1200):
        for fact in launches(fleet, at(seconds=second)):
            tries.append(second)
            fold_all(fact, refused(len(tries), when=at(seconds=second)), fleet=fleet)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert [gap // (30 * 2**n) for n, gap in enumerate(gaps)] == [1] * len(gaps)
    assert len(tries) == 6
