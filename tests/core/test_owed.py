"""Owing: what the state alone says is to be done, and how often it is asked for."""

from __future__ import annotations

from datetime import datetime

import pytest
from msgspec.structs import replace

from factories import (
    POOL,
    PROVIDER,
    SETTINGS,
    a_fleet,
    a_list,
    a_machine,
    a_spec,
    at,
    ending,
    fold_all,
    launched,
    lost,
    name,
    priced,
    registered,
    requested,
    sighted,
)
from navarch.core.model import events as ev
from navarch.core.model.actions import Action, Launch, ListTypes, TakeInventory, Terminate
from navarch.core.model.fleet import Fleet
from navarch.core.model.pool import Source
from navarch.core.model.sightings import Sightings
from navarch.core.owed import owed

END_1 = Terminate(PROVIDER, "m-1", name(1))


def owes(
    fleet: Fleet, now: datetime | None = None, sightings: Sightings | None = None
) -> list[Action]:
    """Say what is owed, a look at the list left out if it was taken just now."""
    now = now or at()
    seen = sightings or Sightings(asked={PROVIDER: now})
    return list(owed(fleet, seen, now, SETTINGS))


def test_an_empty_fleet_owes_nothing() -> None:
    assert owes(Fleet()) == []


# --- launches --------------------------------------------------------------------------------


def test_a_requested_machine_owes_a_launch() -> None:
    spec = a_spec(ssh_key_names=("ops",), user_data="#!/bin/sh")
    wish = ev.LaunchRequested(
        at(), name(1), POOL, PROVIDER, "too few", "h100-8x", "us-west-2", "a", {"team": "ml"}
    )
    assert owes(a_fleet(0, wish, spec=spec)) == [
        Launch(
            PROVIDER,
            name(1),
            POOL,
            instance_type="h100-8x",
            region="us-west-2",
            zone="a",
            labels={"team": "ml"},
            ssh_key_names=("ops",),
            user_data="#!/bin/sh",
        )
    ]


def test_a_launch_is_owed_until_its_outcome_is_known() -> None:
    fleet = a_fleet(0, requested(1))
    assert owes(fleet) == owes(fleet)
    assert owes(fold_all(launched(1), fleet=fleet)) == []


def test_an_uncertain_launch_is_not_owed_but_a_look_at_the_list_is() -> None:
    unknown = ev.LaunchUncertain(at(), name(1), "the connection broke")
    fleet = a_fleet(0, requested(1), unknown)
    assert owes(fleet) == []
    assert owes(fleet, at(seconds=10), Sightings(asked={PROVIDER: at()})) == [
        TakeInventory(PROVIDER)
    ]
    cleared = ev.LaunchCleared(at(minutes=1), name(1), "it does not exist")
    assert [action.key for action in owes(fold_all(cleared, fleet=fleet))] == [f"launch {name(1)}"]


def test_no_launch_under_way_is_repeated_blindly_after_a_crash() -> None:
    assert owes(a_fleet(0, requested(1), ev.Resumed(at(minutes=1), "0.1.0"))) == []


@pytest.mark.parametrize(
    "fact",
    [
        ev.LaunchFailed(at(), name(1), "NoCapacity", "none left"),
        ending(1, at()),
        registered(1),
    ],
)
def test_a_launch_that_is_settled_or_given_up_is_not_owed(fact: ev.Fact) -> None:
    assert owes(a_fleet(0, requested(1), fact)) == []


# --- terminations ----------------------------------------------------------------------------


def test_a_machine_that_is_not_wanted_owes_its_end() -> None:
    assert owes(a_fleet(1, ending(1, at()))) == [END_1]


def test_an_end_is_owed_as_soon_as_the_ref_is_known() -> None:
    fleet = a_fleet(0, requested(1), ending(1, at()))
    assert owes(fleet) == []
    assert owes(fold_all(launched(1), fleet=fleet)) == [END_1]


def test_an_end_that_was_agreed_to_is_asked_for_again_after_a_while() -> None:
    accepted = ev.TerminationAccepted(at(), name(1), "agreed")
    fleet = a_fleet(1, ending(1, at()), accepted)
    assert owes(fleet, at(seconds=59)) == []
    assert owes(fleet, at(seconds=60)) == [END_1]


def test_an_end_that_was_tried_in_vain_waits_a_little() -> None:
    fleet = a_fleet(1, ending(1, at()))
    seen = Sightings(asked={PROVIDER: at(hours=1)}, tried={END_1.key: at()})
    assert owes(fleet, at(seconds=9), seen) == []
    assert owes(fleet, at(seconds=10), seen) == [END_1]


def test_an_ended_machine_owes_nothing() -> None:
    gone = ev.InstanceTerminated(at(), name(1), "gone")
    assert owes(a_fleet(1, ending(1, at()), gone)) == []


def test_an_orphan_owes_its_end_until_it_is_gone() -> None:
    fleet = a_fleet(0, ev.OrphanCondemned(at(), PROVIDER, "m-9", "nobody owns it"))
    assert owes(fleet) == [Terminate(PROVIDER, "m-9")]
    assert owes(fold_all(ev.OrphanRemoved(at(), PROVIDER, "m-9", "gone"), fleet=fleet)) == []


def test_ends_come_before_launches() -> None:
    fleet = a_fleet(1, requested(2), ending(1, at()))
    assert [type(action) for action in owes(fleet)] == [Terminate, Launch]


# --- inventories -----------------------------------------------------------------------------


def first_look(fleet: Fleet, sightings: Sightings | None = None) -> int | None:
    """Return after how many seconds a look at the provider's list is owed again; None for never."""
    seen = sightings or Sightings()
    seen.asked[PROVIDER] = at()
    for seconds in (9, 10, 59, 60):
        if TakeInventory(PROVIDER) in owed(fleet, seen, at(seconds=seconds), SETTINGS):
            return seconds
    return None


def test_a_list_that_was_never_read_is_owed_at_once() -> None:
    assert owes(a_fleet(1), at(), Sightings()) == [TakeInventory(PROVIDER)]


def test_a_list_is_read_every_minute() -> None:
    assert first_look(a_fleet(2, requested(3))) == 60


@pytest.mark.parametrize(
    "fact",
    [
        ev.LaunchUncertain(at(), name(3), "the connection broke"),
        ending(3, at()),
        ending(1, at()),
        lost(1, at()),
        ev.OrphanCondemned(at(), PROVIDER, "m-9", "nobody owns it"),
    ],
)
def test_a_list_is_read_every_ten_seconds_while_something_waits_for_it(fact: ev.Fact) -> None:
    assert first_look(a_fleet(2, requested(3), fact)) == 10


def test_a_missing_machine_and_a_stray_are_waited_for_too() -> None:
    fleet = a_fleet(1)
    assert first_look(fleet, sighted(fleet, a_list(at(), a_machine(1)))) == 60
    assert first_look(fleet, sighted(fleet, a_list(at()))) == 10
    assert first_look(fleet, sighted(fleet, a_list(at(), a_machine(1), a_machine(9)))) == 10


def test_a_provider_without_anything_of_ours_is_not_asked() -> None:
    retired = ev.PoolRetired(at(), POOL, "not in the file")
    assert first_look(a_fleet(0, retired)) is None
    assert first_look(a_fleet(1, retired)) == 60


def test_every_provider_is_asked_by_itself() -> None:
    other = ev.PoolConfigured(at(), a_spec(name="b", provider="lambda"))
    seen = Sightings(asked={PROVIDER: at()})
    assert owes(a_fleet(1, other), at(), seen) == [TakeInventory("lambda")]


# --- price lists -----------------------------------------------------------------------------


def price_lists(fleet: Fleet, seen: Sightings | None = None, *, seconds: float = 0) -> list[str]:
    """Name the providers whose price list is owed."""
    actions = owed(fleet, seen or Sightings(), at(seconds=seconds), SETTINGS)
    return [action.provider for action in actions if isinstance(action, ListTypes)]


def by(strategy: str, *providers: str) -> Fleet:
    """Return a fleet whose pool buys of these providers by this strategy."""
    spec = a_spec(strategy=strategy, sources=tuple(Source(each) for each in providers))
    return a_fleet(0, spec=spec)


@pytest.mark.parametrize("strategy", ["cost", "availability", "of-a-plugin"])
def test_strategies_that_may_go_by_prices_owe_every_price_list(strategy: str) -> None:
    assert price_lists(by(strategy, "a", "b", "a")) == ["a", "b"]


@pytest.mark.parametrize("strategy", ["priority", "round-robin"])
def test_strategies_that_never_look_at_prices_owe_none(strategy: str) -> None:
    assert price_lists(by(strategy, "a", "b")) == []


def test_a_sleeping_pool_owes_no_price_list() -> None:
    paused = ev.PoolPaused(at(), POOL, "maintenance")
    assert price_lists(fold_all(paused, fleet=by("cost", "a"))) == []


@pytest.mark.parametrize("seconds,expected", [(599, []), (600, ["a"])])
def test_a_price_list_is_read_again_when_it_is_old(seconds: int, expected: list[str]) -> None:
    seen = Sightings(catalogs=priced(a=[]))
    assert price_lists(by("cost", "a"), seen, seconds=seconds) == expected


@pytest.mark.parametrize("seconds,expected", [(59, []), (60, ["a"])])
def test_a_price_list_that_could_not_be_read_is_tried_again_a_minute_later(
    seconds: int, expected: list[str]
) -> None:
    seen = Sightings(tried={ListTypes("a").key: at()})
    assert price_lists(by("cost", "a"), seen, seconds=seconds) == expected


# --- keys and spot ---------------------------------------------------------------------------


def test_a_spot_machine_is_launched_as_one() -> None:
    fleet = a_fleet(0, replace(requested(1), spot=True), requested(2))
    actions = [action for action in owes(fleet) if isinstance(action, Launch)]
    assert [action.spot for action in actions] == [True, False]


def test_a_pool_asks_all_its_sellers_for_their_lists() -> None:
    fleet = by("priority", "a", "b")
    assert owes(fleet, at(), Sightings()) == [TakeInventory("a"), TakeInventory("b")]


def test_keys_tell_actions_apart() -> None:
    actions: list[Action] = [
        Launch(PROVIDER, name(1), POOL),
        Launch(PROVIDER, name(2), POOL),
        END_1,
        Terminate("lambda", "m-1"),
        Terminate(PROVIDER, "m-2"),
        TakeInventory(PROVIDER),
        TakeInventory("lambda"),
        ListTypes(PROVIDER),
        ListTypes("lambda"),
    ]
    assert len({action.key for action in actions}) == len(actions)
    assert Terminate(PROVIDER, "m-1").key == END_1.key
