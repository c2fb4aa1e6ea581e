"""What refused is left alone: an offer, or its provider; for longer each time, and not for ever."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from factories import (
    PROVIDER,
    SETTINGS,
    START,
    a_fleet,
    an_offer,
    at,
    ending,
    fold_all,
    launched,
    name,
    refused,
    registered,
    requested,
)
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.offer import VANISHED, Offer, Refusals
from navarch.core.selection import memory
from navarch.errors import QuotaScope

HERE = an_offer(region="us-west-2")
"""What `requested` asks for."""


def wait(count: int, failure: str = "NoCapacity", key: str = HERE.key) -> timedelta:
    return memory.wait(key, Refusals(count, at(), failure, "none left"), SETTINGS)


def in_zone(n: int, zone: str) -> ev.LaunchRequested:
    return replace(requested(n), zone=zone)


def blocked(fleet: Fleet, offer: Offer = HERE, *, seconds: float = 1) -> bool:
    return memory.blocked_until(fleet, offer, at(seconds=seconds), SETTINGS) is not None


# --- how long --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure,count,expected",
    [
        ("NoCapacity", 1, timedelta(seconds=30)),
        ("NoCapacity", 2, timedelta(seconds=60)),
        ("NoCapacity", 5, timedelta(minutes=8)),
        ("NoCapacity", 6, timedelta(minutes=15)),
        ("NoCapacity", 10_000, timedelta(minutes=15)),
        ("Throttled", 1, timedelta(seconds=5)),
        ("Unavailable", 3, timedelta(seconds=20)),
        ("NotFound", 10_000, timedelta(minutes=5)),
        ("QuotaExceeded", 1, timedelta(minutes=15)),
        ("Unauthorized", 9, timedelta(minutes=15)),
        ("InvalidRequest", 1, timedelta(minutes=15)),
    ],
)
def test_the_wait_fits_the_failure_and_doubles_up_to_a_limit(
    failure: str, count: int, expected: timedelta
) -> None:
    assert expected <= wait(count, failure) <= expected * (1 + memory.SPREAD)


def test_waits_are_spread_over_the_offers_but_not_by_chance() -> None:
    keys = [an_offer(zone=f"zone-{n}").key for n in range(100)]
    waits = [wait(1, key=key) for key in keys]
    assert waits == [wait(1, key=key) for key in keys]
    assert len(set(waits)) > 90
    assert max(waits) - min(waits) > timedelta(seconds=30) * memory.SPREAD / 2


# --- whom it concerns ------------------------------------------------------------------------


def test_nothing_is_left_alone_that_never_refused() -> None:
    assert memory.blocked_until(a_fleet(0), HERE, at(), SETTINGS) is None


def test_a_stock_out_concerns_one_offer() -> None:
    fleet = a_fleet(0, in_zone(1, "a"), refused(1))
    assert blocked(fleet, replace(HERE, zone="a"))
    others = [{"zone": "b"}, {"zone": "a", "region": "us-east-1"}, {"zone": "a", "provider": "x"}]
    others += [{"zone": "a", "instance_type": "a100-8x"}]
    assert not any(blocked(fleet, replace(HERE, **other)) for other in others)


def test_a_stock_out_of_spot_machines_says_nothing_about_the_others() -> None:
    fleet = a_fleet(0, replace(requested(1), spot=True), refused(1))
    assert (blocked(fleet, replace(HERE, spot=True)), blocked(fleet, HERE)) == (True, False)


@pytest.mark.parametrize("failure", ["QuotaExceeded", "Unauthorized", "Throttled", "Unavailable"])
def test_what_a_provider_as_a_whole_refuses_concerns_all_its_offers(failure: str) -> None:
    fleet = a_fleet(0, requested(1), refused(1, failure))
    assert blocked(fleet, an_offer(PROVIDER, region="anywhere", instance_type="a100-8x"))
    assert not blocked(fleet, an_offer("lambda"))


def test_the_reason_names_the_offer_the_failure_and_its_age() -> None:
    fleet = a_fleet(0, in_zone(1, "a"), refused(1))
    until_because = memory.blocked_until(fleet, replace(HERE, zone="a"), at(seconds=9), SETTINGS)
    assert until_because is not None
    until, because = until_because
    assert at(seconds=30) <= until <= at(seconds=36)
    assert because == "fake/a: NoCapacity 9 s ago"


def test_an_offer_is_asked_again_when_its_time_is_over() -> None:
    fleet = a_fleet(0, requested(1), refused(1))
    assert (blocked(fleet, seconds=30), blocked(fleet, seconds=36)) == (True, False)


# --- how it is remembered --------------------------------------------------------------------


def count(fleet: Fleet, offer: Offer = HERE) -> int:
    return fleet.refusals[offer.key].count


def test_stock_outs_in_a_row_add_up_and_decay() -> None:
    fleet, counted = a_fleet(0), []
    for n, minutes in ((1, 0), (2, 30), (3, 89), (4, 149)):
        when = at(minutes=minutes)
        fold_all(requested(n, when), refused(n, when=when), fleet=fleet)
        counted.append(count(fleet))
    assert counted == [1, 2, 3, 1]


def test_launches_that_were_asked_together_count_once() -> None:
    fleet = a_fleet(0, [requested(n) for n in (1, 2, 3)])
    fold_all(*(refused(n, when=at(seconds=n)) for n in (1, 2, 3)), fleet=fleet)
    assert count(fleet) == 1
    assert fleet.refusals[HERE.key].at == at(seconds=3)


def test_a_success_clears_its_own_memory() -> None:
    stocked_out, throttled = refused(1), refused(2, "Throttled")
    fleet = a_fleet(0, requested(1), stocked_out, requested(2), throttled)
    fold_all(requested(3, at(seconds=40)), fleet=fleet)
    assert set(fleet.refusals) == {HERE.key, PROVIDER}
    fold_all(launched(3), fleet=fleet)
    assert fleet.refusals == {}


def test_a_success_of_a_launch_from_before_the_refusal_clears_nothing() -> None:
    fleet = a_fleet(0, requested(1), requested(2), refused(2, when=at(seconds=2)))
    fold_all(launched(1, at(seconds=3)), fleet=fleet)
    assert blocked(fleet, seconds=4)


def test_a_success_elsewhere_clears_nobody_elses_memory() -> None:
    other = replace(requested(4), provider="third")
    fleet = a_fleet(0, in_zone(1, "a"), refused(1), other, refused(4, "QuotaExceeded"))
    later = at(seconds=2)
    elsewhere = replace(requested(2), at=later, provider="lambda")
    fold_all(elsewhere, replace(in_zone(3, "b"), at=later), fleet=fleet)
    before = fleet.refusals.copy()
    fold_all(launched(2), launched(3), fleet=fleet)
    assert fleet.refusals == before
    assert set(before) == {replace(HERE, zone="a").key, "third"}


def test_memory_survives_a_restart() -> None:
    fleet = a_fleet(0, requested(1), refused(1))
    fold_all(ev.Resumed(at(seconds=5), "0.1.0"), fleet=fleet)
    assert blocked(Fleet(fleet.records()), seconds=6)


# --- machines that never spoke ------------------------------------------------------------------


def on_trial(n: int, when: datetime) -> ev.InstanceLaunched:
    return replace(launched(n, when), on_trial=True, zone="a")


def gone(n: int, when: datetime) -> ev.InstanceVanished:
    return ev.InstanceVanished(when, name(n), "two lists do not show it", VANISHED)


def test_a_machine_that_vanished_before_it_registered_is_held_against_its_offer() -> None:
    fleet = a_fleet(0, requested(1), on_trial(1, at()), gone(1, at()))
    until_because = memory.blocked_until(fleet, HERE, at(seconds=9), SETTINGS)
    assert until_because is not None
    assert until_because[1] == "fake/us-west-2: its machine vanished before it registered, 9 s ago"
    assert blocked(fleet, seconds=29)
    assert not blocked(fleet, replace(HERE, spot=True))


def test_an_offer_whose_machines_vanish_again_and_again_is_left_alone_for_longer() -> None:
    """Each launch worked; only an agent that speaks would begin the count anew."""
    fleet, counted = a_fleet(0), []
    for n, minutes in ((1, 0), (2, 3), (3, 8)):
        when = at(minutes=minutes)
        fold_all(requested(n, when), on_trial(n, when), gone(n, when), fleet=fleet)
        counted.append(count(fleet))
    assert counted == [1, 2, 3]


def test_an_offer_is_forgiven_when_an_agent_speaks() -> None:
    fleet = a_fleet(0, requested(1), on_trial(1, at()), gone(1, at()))
    fold_all(requested(2, at(minutes=1)), on_trial(2, at(minutes=1)), fleet=fleet)
    assert set(fleet.refusals) == {HERE.key}
    fold_all(registered(2, at(minutes=2)), fleet=fleet)
    assert fleet.refusals == {}


def test_a_machine_that_spoke_or_that_we_ended_is_not_held_against_its_offer() -> None:
    known = [fact for n in (1, 2) for fact in (requested(n), on_trial(n, at()))]
    fleet = a_fleet(0, known, registered(1))
    fold_all(ev.NodeLost(at(minutes=1), name(1), "silent"), fleet=fleet)
    fold_all(ev.InstanceVanished(at(minutes=2), name(1), "silent and not listed"), fleet=fleet)
    fold_all(ending(2, at(minutes=1)), fleet=fleet)
    fold_all(ev.InstanceTerminated(at(minutes=2), name(2), "gone"), fleet=fleet)
    assert fleet.refusals == {}


# --- quotas of a part ---------------------------------------------------------------------------


EAST_P = QuotaScope("us-east-1", ("p[0-9]*",), spot=False)


def over_quota(n: int, scope: QuotaScope, when: datetime = START) -> list[ev.Fact]:
    asked = replace(requested(n, when), region="us-east-1", instance_type="p5.48xlarge")
    return [asked, replace(refused(n, "QuotaExceeded", when=when), scope=scope)]


@pytest.mark.parametrize(
    "change,expected",
    [
        ({}, True),
        ({"zone": "us-east-1b"}, True),
        ({"region": "", "zone": "us-east-1b"}, True),
        ({"region": "", "zone": "us-west-2b"}, False),
        ({"region": ""}, True),
        ({"instance_type": "p4d.24xlarge"}, True),
        ({"instance_type": "g6.xlarge"}, False),
        ({"region": "us-west-2"}, False),
        ({"spot": True}, False),
        ({"provider": "lambda"}, False),
    ],
)
def test_a_quota_keeps_from_what_it_counts_and_from_nothing_else(
    change: dict[str, str], *, expected: bool
) -> None:
    fleet = a_fleet(0, over_quota(1, EAST_P))
    offer = an_offer(region="us-east-1", instance_type="p5.48xlarge")
    assert blocked(fleet, replace(offer, **change)) == expected


def test_a_quota_is_named_with_what_it_counts_and_forgiven_by_a_launch_that_it_counts() -> None:
    fleet = a_fleet(0, over_quota(1, EAST_P))
    offer = an_offer(region="us-east-1", instance_type="p5.48xlarge")
    until_because = memory.blocked_until(fleet, offer, at(seconds=9), SETTINGS)
    assert until_because is not None
    told = "fake/us-east-1: QuotaExceeded for p[0-9]* on demand in us-east-1, 9 s ago"
    assert until_because[1] == told
    [key] = memory.conditions(fleet)
    assert key == "fake for p[0-9]* on demand in us-east-1"
    assert memory.provider_of(fleet, key) == PROVIDER
    elsewhere = replace(requested(2, at(hours=1)), region="us-west-2")
    fold_all(elsewhere, replace(launched(2, at(hours=1)), on_trial=True), fleet=fleet)
    assert list(fleet.refusals) == [key]
    [asked, _] = over_quota(3, EAST_P, at(hours=1))
    fold_all(asked, replace(launched(3, at(hours=1)), on_trial=True), fleet=fleet)
    assert fleet.refusals == {}


def test_quotas_of_which_nothing_was_heard_for_an_hour_are_forgotten_when_others_come() -> None:
    fleet = a_fleet(0)
    for n in range(1, 200):
        scope = QuotaScope(instance_types=(f"p5.{n}", "p5.48xlarge"))
        fold_all(over_quota(n, scope, at(minutes=n)), fleet=fleet)
    assert len(fleet.refusals) == 60


# --- what waits for a person -----------------------------------------------------------------


@pytest.mark.parametrize("failure", ["QuotaExceeded", "Unauthorized"])
def test_a_provider_that_needs_somebody_is_named(failure: str) -> None:
    fleet = a_fleet(0, requested(1), refused(1, failure, because="raise limit L-1"))
    assert memory.conditions(fleet) == {PROVIDER: f"{failure}: raise limit L-1"}
    fold_all(requested(2, at(hours=1)), launched(2, at(hours=1)), fleet=fleet)
    assert memory.conditions(fleet) == {}


@pytest.mark.parametrize("failure", ["NoCapacity", "Throttled", "Unavailable", "InvalidRequest"])
def test_what_passes_by_itself_needs_nobody(failure: str) -> None:
    assert memory.conditions(a_fleet(0, requested(1), refused(1, failure))) == {}


def test_a_refusal_ends_the_launch() -> None:
    fleet = a_fleet(0, requested(1), ev.LaunchUncertain(at(), name(1), "timeout"), refused(1))
    instance = fleet.instances[name(1)]
    assert (instance.ended, instance.uncertain_since) == (True, None)
