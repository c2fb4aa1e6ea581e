"""Inventories: every row of the table of witnesses, and how lists are remembered."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from factories import (
    POOL,
    PROVIDER,
    SETTINGS,
    TAG,
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
    registered,
    requested,
    sighted,
)
from navarch.core import inventory
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.model.sightings import Sightings

LAG = timedelta(seconds=30)


def taught(
    fleet: Fleet, taken: msg.InventoryTaken, sightings: Sightings | None = None
) -> list[ev.Fact]:
    seen = sightings or Sightings()
    return list(inventory.learned(fleet, seen, taken, taken.begun_at, SETTINGS))


def kinds(facts: list[ev.Fact]) -> list[str]:
    return [ev.kind(fact) for fact in facts]


def uncertain(n: int, when: datetime) -> ev.LaunchUncertain:
    return ev.LaunchUncertain(when, name(n), "the connection broke")


# --- adopting --------------------------------------------------------------------------------


def test_a_list_that_shows_what_is_known_teaches_nothing() -> None:
    fleet = a_fleet(2, requested(3))
    assert taught(fleet, a_list(at(minutes=1), a_machine(1), a_machine(2))) == []


def test_a_machine_is_adopted_by_our_id() -> None:
    fleet = a_fleet(0, requested(1), uncertain(1, at()))
    found = a_machine(1, zone="b", public_ip="198.51.100.7", private_ip="10.0.0.7")
    now = at(minutes=1)
    assert taught(fleet, a_list(now, found)) == [
        ev.InstanceLaunched(
            now,
            name(1),
            "m-1",
            because="found by our id in the list of fake",
            public_ip="198.51.100.7",
            private_ip="10.0.0.7",
            zone="b",
            on_trial=True,
        )
    ]


def test_a_launch_that_has_not_answered_yet_is_adopted_too() -> None:
    assert kinds(taught(a_fleet(0, requested(1)), a_list(at(), a_machine(1)))) == [
        "instance_launched"
    ]


def test_an_ending_machine_is_adopted_so_that_it_can_be_ended() -> None:
    fleet = a_fleet(0, requested(1), ending(1, at()))
    assert kinds(taught(fleet, a_list(at(minutes=1), a_machine(1)))) == ["instance_launched"]


@pytest.mark.parametrize(
    "changes", [{"fleet": "z9z9"}, {"fleet": ""}, {"instance_id": name(2)}, {"instance_id": ""}]
)
def test_a_machine_that_is_not_labelled_as_ours_is_not_adopted(changes: dict[str, str]) -> None:
    fleet = a_fleet(0, requested(1))
    assert taught(fleet, a_list(at(), a_machine(1, **changes))) == []


def test_of_two_machines_with_one_label_the_one_that_stays_is_adopted() -> None:
    twins = (a_machine(1, ref="m-a", going=True), a_machine(1, ref="m-c"), a_machine(1, ref="m-b"))
    facts = taught(a_fleet(0, requested(1)), a_list(at(), *twins))
    assert [fact.ref for fact in facts if isinstance(fact, ev.InstanceLaunched)] == ["m-b"]


def test_the_list_of_another_provider_says_nothing() -> None:
    fleet = a_fleet(1, lost(1, at()), requested(2), uncertain(2, at()))
    assert taught(fleet, msg.InventoryTaken("lambda", at(hours=1), timedelta())) == []


# --- looking up a launch ---------------------------------------------------------------------


@pytest.mark.parametrize("seconds,expected", [(29, []), (30, ["launch_cleared"])])
def test_a_launch_is_repeated_after_a_list_late_enough_does_not_show_it(
    seconds: int, expected: list[str]
) -> None:
    fleet = a_fleet(0, requested(1), uncertain(1, at()))
    assert kinds(taught(fleet, a_list(at(seconds=seconds), lag=LAG))) == expected


def test_a_launch_under_way_is_not_looked_up() -> None:
    assert taught(a_fleet(0, requested(1)), a_list(at(hours=1))) == []


@pytest.mark.parametrize("seconds,expected", [(89, []), (90, ["instance_terminated"])])
def test_an_ending_machine_that_never_existed_has_ended(seconds: int, expected: list[str]) -> None:
    fleet = a_fleet(0, requested(1), ending(1, at()), uncertain(1, at(minutes=1)))
    assert kinds(taught(fleet, a_list(at(seconds=seconds), lag=LAG))) == expected


def test_an_ending_machine_whose_launch_may_be_under_way_is_waited_for() -> None:
    fleet = a_fleet(0, requested(1), ending(1, at(minutes=1)))
    assert taught(fleet, a_list(at(hours=1), lag=LAG)) == []


def test_a_node_whose_launch_was_lost_vanishes_only_when_it_is_silent() -> None:
    fleet = a_fleet(0, requested(1), registered(1), uncertain(1, at()))
    assert taught(fleet, a_list(at(hours=1))) == []
    fold_all(lost(1, at(minutes=50)), fleet=fleet)
    assert kinds(taught(fleet, a_list(at(hours=1)))) == ["instance_vanished"]


# --- vanishing -------------------------------------------------------------------------------


def test_absent_and_silent_is_vanished() -> None:
    now = at(minutes=5)
    because = "its agent is silent and fake does not list it any more"
    facts = taught(a_fleet(1, lost(1, at(minutes=2))), a_list(now))
    assert facts == [ev.InstanceVanished(now, name(1), because)]


def test_absent_while_its_agent_speaks_is_a_fault_of_the_list() -> None:
    fleet = a_fleet(1)
    seen = sighted(fleet, a_list(at(minutes=1)), a_list(at(minutes=2)))
    assert taught(fleet, a_list(at(hours=9)), seen) == []


def test_silent_and_listed_has_not_vanished() -> None:
    fleet = a_fleet(1, lost(1, at(minutes=2)))
    assert taught(fleet, a_list(at(minutes=5), a_machine(1))) == []


def test_listed_under_another_ref_is_absent() -> None:
    fleet = a_fleet(1, lost(1, at(minutes=2)))
    facts = taught(fleet, a_list(at(minutes=5), a_machine(1, ref="m-x")))
    assert kinds(facts) == ["instance_vanished"]


@pytest.mark.parametrize("seconds,expected", [(14, []), (15, ["instance_vanished"])])
def test_without_an_agent_it_takes_two_lists_some_time_apart(
    seconds: int, expected: list[str]
) -> None:
    fleet = a_fleet(0, requested(1), launched(1))
    seen = sighted(fleet, a_list(at(minutes=1)))
    assert taught(fleet, a_list(at(minutes=1))) == []
    assert kinds(taught(fleet, a_list(at(minutes=1, seconds=seconds)), seen)) == expected


def test_an_absence_that_was_interrupted_counts_anew() -> None:
    fleet = a_fleet(0, requested(1), launched(1))
    lists = a_list(at(minutes=1)), a_list(at(minutes=2), a_machine(1)), a_list(at(minutes=3))
    seen = sighted(fleet, *lists)
    assert seen.missing == {name(1): at(minutes=3)}
    assert taught(fleet, a_list(at(minutes=3, seconds=14)), seen) == []


@pytest.mark.parametrize("seconds,expected", [(14, []), (15, ["instance_vanished"])])
def test_while_repair_is_halted_silence_is_a_weak_witness_and_a_second_list_must_agree(
    seconds: int, expected: list[str]
) -> None:
    halted = ev.RepairHalted(at(minutes=2), POOL, "2 of 3 nodes of the pool are silent")
    fleet = a_fleet(3, lost(1, at(minutes=2)), lost(2, at(minutes=2)), halted)
    rest = a_machine(2), a_machine(3)
    assert taught(fleet, a_list(at(minutes=5), *rest)) == []
    seen = sighted(fleet, a_list(at(minutes=5), *rest))
    again = a_list(at(minutes=5, seconds=seconds), *rest)
    assert kinds(taught(fleet, again, seen)) == expected


def test_when_repair_goes_on_one_list_is_enough_again() -> None:
    halted = ev.RepairHalted(at(minutes=2), POOL, "2 of 3 nodes of the pool are silent")
    let_go = ev.RepairContinued(at(minutes=3), POOL, "1 of 3 nodes of the pool are silent now")
    fleet = a_fleet(3, lost(1, at(minutes=2)), halted, let_go)
    facts = taught(fleet, a_list(at(minutes=5), a_machine(2), a_machine(3)))
    assert kinds(facts) == ["instance_vanished"]


def test_the_brake_of_another_pool_asks_for_no_second_list() -> None:
    other = ev.PoolConfigured(at(), a_spec(name="serving"))
    halted = ev.RepairHalted(at(minutes=2), "serving", "2 of 2 nodes of the pool are silent")
    fleet = a_fleet(1, lost(1, at(minutes=2)), other, halted)
    assert kinds(taught(fleet, a_list(at(minutes=5)))) == ["instance_vanished"]


@pytest.mark.parametrize("seconds,expected", [(29, []), (30, ["instance_vanished"])])
def test_a_list_that_lags_does_not_count_against_a_young_machine(
    seconds: int, expected: list[str]
) -> None:
    """Its launch was answered after three minutes; its agent never spoke again."""
    answered: list[ev.Fact] = [requested(1), registered(1), launched(1, at(minutes=3))]
    fleet = a_fleet(0, answered, lost(1, at(minutes=2)))
    assert kinds(taught(fleet, a_list(at(minutes=3, seconds=seconds), lag=LAG))) == expected


def test_a_list_that_lags_does_not_count_against_a_young_machine_that_is_ending() -> None:
    accepted = ev.TerminationAccepted(at(seconds=10), name(1), "agreed")
    fleet = a_fleet(1, ending(1, at(seconds=5)), accepted)
    assert taught(fleet, a_list(at(seconds=29), lag=LAG)) == []
    assert kinds(taught(fleet, a_list(at(seconds=30), lag=LAG))) == ["instance_terminated"]


def test_a_restart_starts_the_silence_of_a_missing_machine_anew() -> None:
    fleet = a_fleet(1, lost(1, at(minutes=2)), ev.Resumed(at(hours=1), "0.1.0"))
    assert taught(fleet, a_list(at(hours=1, seconds=89))) == []
    assert kinds(taught(fleet, a_list(at(hours=1, seconds=90)))) == ["instance_vanished"]


# --- ending ----------------------------------------------------------------------------------


def test_an_end_takes_an_agreement_and_a_later_list() -> None:
    fleet = a_fleet(1, ending(1, at(minutes=1)))
    assert taught(fleet, a_list(at(hours=1))) == []
    fold_all(ev.TerminationAccepted(at(minutes=2), name(1), "agreed"), fleet=fleet)
    assert taught(fleet, a_list(at(minutes=2), a_machine(1))) == []
    assert taught(fleet, a_list(at(minutes=1, seconds=59))) == []
    now = at(minutes=2)
    because = "gone from the list of fake"
    assert taught(fleet, a_list(now)) == [ev.InstanceTerminated(now, name(1), because)]


def test_a_silent_machine_that_is_ending_does_not_vanish() -> None:
    fleet = a_fleet(1, lost(1, at(minutes=1)), ending(1, at(minutes=2)))
    assert taught(fleet, a_list(at(hours=1))) == []


def test_an_ended_machine_teaches_nothing_more() -> None:
    gone = ev.InstanceTerminated(at(), name(1), "gone")
    assert taught(a_fleet(1, gone), a_list(at(hours=1), a_machine(1))) == []


# --- orphans ---------------------------------------------------------------------------------


def condemned(fleet: Fleet, *lists: msg.InventoryTaken) -> list[ev.OrphanCondemned]:
    seen = sighted(fleet, *lists)
    return list(inventory.condemned_orphans(fleet, seen, lists[-1].begun_at, SETTINGS))


def test_a_stray_is_condemned_when_two_lists_have_shown_it() -> None:
    fleet, stray = a_fleet(0), a_machine(9)
    first = a_list(at(minutes=1), stray)
    assert condemned(fleet, first) == []
    assert condemned(fleet, first, a_list(at(minutes=1, seconds=14), stray)) == []
    now = at(minutes=1, seconds=15)
    because = f"labelled {name(9)}, which no live instance owns, in lists 15 s apart"
    assert condemned(fleet, first, a_list(now, stray)) == [
        ev.OrphanCondemned(now, PROVIDER, "m-9", because)
    ]


def test_a_stray_that_went_and_came_counts_anew() -> None:
    stray = a_machine(9)
    lists = [a_list(at(minutes=n), *shown) for n, shown in ((1, [stray]), (2, []), (3, [stray]))]
    assert condemned(a_fleet(0), *lists) == []


def test_a_stray_in_the_lists_of_two_providers_is_two_strays() -> None:
    elsewhere = msg.InventoryTaken("lambda", at(minutes=1), timedelta(), (a_machine(9),))
    assert condemned(a_fleet(0), elsewhere, a_list(at(minutes=2), a_machine(9))) == []


def test_an_orphan_is_condemned_once() -> None:
    already = ev.OrphanCondemned(at(), PROVIDER, "m-9", "nobody owns it")
    lists = [a_list(at(minutes=n), a_machine(9)) for n in (1, 2)]
    assert condemned(a_fleet(0, already), *lists) == []


def test_a_stray_that_finds_its_owner_is_spared() -> None:
    fleet = a_fleet(0)
    seen = sighted(fleet, *(a_list(at(minutes=n), a_machine(1)) for n in (1, 2)))
    fold_all(requested(1), fleet=fleet)
    assert list(inventory.condemned_orphans(fleet, seen, at(minutes=2), SETTINGS)) == []


def test_an_orphan_is_removed_when_its_list_does_not_show_it() -> None:
    fleet = a_fleet(0, ev.OrphanCondemned(at(), PROVIDER, "m-9", "nobody owns it"))
    assert taught(fleet, a_list(at(minutes=1), a_machine(9))) == []
    assert taught(fleet, msg.InventoryTaken("lambda", at(minutes=1), timedelta())) == []
    now = at(minutes=1)
    assert taught(fleet, a_list(now)) == [
        ev.OrphanRemoved(now, PROVIDER, "m-9", "gone from the list")
    ]


@pytest.mark.parametrize(
    "machine,expected",
    [
        (a_machine(9), True),
        (a_machine(9, instance_id=""), True),
        (a_machine(9, going=True), False),
        (a_machine(9, fleet="z9z9"), False),
        (a_machine(9, fleet=""), False),
        (a_machine(1), False),
        (a_machine(1, ref="m-x"), True),
        (a_machine(2), False),
        (a_machine(2, ref="m-x"), False),
        (a_machine(3), True),
    ],
)
def test_who_is_a_stray(machine: msg.Machine, *, expected: bool) -> None:
    """Machine 1 runs, 2 is being launched, 3 has ended, 9 is unknown."""
    refused = ev.LaunchFailed(at(), name(3), "NoCapacity", "none left")
    fleet = a_fleet(1, requested(2), requested(3), refused)
    assert inventory.is_stray(fleet, PROVIDER, machine) == expected


def test_a_machine_at_another_provider_than_its_owner_is_a_stray() -> None:
    assert inventory.is_stray(a_fleet(1), "lambda", a_machine(1))


def test_a_fleet_without_a_tag_owns_nothing() -> None:
    theirs = msg.Machine("i-0abc")
    assert not inventory.is_stray(Fleet(), PROVIDER, theirs)
    assert condemned(Fleet(), a_list(at(), theirs), a_list(at(hours=1), theirs)) == []


# --- remembering -----------------------------------------------------------------------------


def test_the_newest_list_is_remembered() -> None:
    fleet = a_fleet(2)
    seen = Sightings(troubles={PROVIDER: "timeout"})
    inventory.observe(fleet, seen, a_list(at(minutes=1), a_machine(1), lag=LAG), at(minutes=2))
    kept = seen.inventories[PROVIDER]
    assert (kept.begun_at, kept.taken_at, kept.list_lag) == (at(minutes=1), at(minutes=2), LAG)
    assert kept.machines == {"m-1": a_machine(1)}
    assert (seen.asked, seen.troubles) == ({PROVIDER: at(minutes=2)}, {})
    assert (seen.missing, seen.strays) == ({name(2): at(minutes=1)}, {})


def test_an_absence_is_counted_from_the_first_list() -> None:
    fleet = a_fleet(1)
    seen = sighted(fleet, *(a_list(at(minutes=n)) for n in (1, 2, 3)))
    assert seen.missing == {name(1): at(minutes=1)}


def test_an_ended_machine_is_not_missed() -> None:
    fleet = a_fleet(1)
    seen = sighted(fleet, a_list(at(minutes=1)))
    fold_all(ev.InstanceTerminated(at(), name(1), "gone"), fleet=fleet)
    inventory.observe(fleet, seen, a_list(at(minutes=2)), at(minutes=2))
    assert seen.missing == {}


def test_strays_are_remembered_for_each_provider() -> None:
    fleet = a_fleet(0)
    theirs = msg.InventoryTaken("lambda", at(), timedelta(), (msg.Machine("i-1", TAG),))
    seen = sighted(fleet, theirs, a_list(at(minutes=1), a_machine(9)))
    assert seen.strays == {("lambda", "i-1"): at(), (PROVIDER, "m-9"): at(minutes=1)}
    inventory.observe(fleet, seen, a_list(at(minutes=2)), at(minutes=2))
    assert seen.strays == {("lambda", "i-1"): at()}
