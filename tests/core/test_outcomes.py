"""Interpreting outcomes: what the answers of providers teach, late and repeated ones too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest
from msgspec import structs

from factories import (
    POOL,
    PROVIDER,
    SETTINGS,
    a_fleet,
    a_list,
    a_machine,
    at,
    ending,
    fold_all,
    launched,
    name,
    registered,
    requested,
)
from navarch.core.interpret import Learned, interpret
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.actions import Terminate
from navarch.core.model.fleet import Fleet
from navarch.core.model.sightings import Sightings
from navarch.core.settings import Settings
from navarch.errors import QuotaScope

NOW = at(minutes=10)


def heard(
    fleet: Fleet, message: msg.Message, now: datetime = NOW, settings: Settings = SETTINGS
) -> Learned:
    return interpret(fleet, Sightings(), message, now, settings)


def taught(
    fleet: Fleet, message: msg.Message, now: datetime = NOW, settings: Settings = SETTINGS
) -> Sequence[ev.Fact]:
    """Return the facts of a message that is not refused, and fold them."""
    learned = heard(fleet, message, now, settings)
    assert not isinstance(learned, msg.Refused), learned
    fold_all(learned, fleet=fleet)
    return learned


def kinds(facts: Sequence[ev.Fact]) -> list[str]:
    return [ev.kind(fact) for fact in facts]


def answer(n: int) -> msg.Launched:
    return msg.Launched(name(n), a_machine(n, zone="b", private_ip="10.0.0.1"))


LOST = msg.LaunchLost(name(1), "timeout")
REFUSED = msg.LaunchRefused(name(1), "NoCapacity", "none left")


def test_a_launch_that_worked() -> None:
    assert taught(a_fleet(0, requested(1)), answer(1)) == [
        ev.InstanceLaunched(
            NOW,
            name(1),
            "m-1",
            "fake launched it",
            private_ip="10.0.0.1",
            zone="b",
            on_trial=True,
        )
    ]


def test_a_launch_that_was_refused() -> None:
    expected = ev.LaunchFailed(NOW, name(1), "NoCapacity", "fake: none left")
    assert taught(a_fleet(0, requested(1)), REFUSED) == [expected]


def test_a_launch_that_was_lost() -> None:
    fleet = a_fleet(0, requested(1))
    expected = ev.LaunchUncertain(NOW, name(1), "fake: timeout: looking it up")
    assert taught(fleet, LOST) == [expected]
    assert taught(fleet, LOST) == ()


@pytest.mark.parametrize("message", [answer(1), REFUSED, LOST])
def test_late_answers_teach_nothing(message: msg.Message) -> None:
    refused = ev.LaunchFailed(at(), name(1), "NoCapacity", "none left")
    assert taught(a_fleet(1), message) == ()
    assert taught(a_fleet(0, requested(1), refused), message) == ()
    assert taught(a_fleet(0), message) == ()


def test_a_launch_that_worked_after_its_end_was_requested_gives_the_ref_to_end_it_by() -> None:
    fleet = a_fleet(0, requested(1), ending(1, at()))
    assert kinds(taught(fleet, answer(1))) == ["instance_launched"]


def test_a_launch_that_was_refused_after_its_end_was_requested_has_failed() -> None:
    fleet = a_fleet(0, requested(1), ending(1, at()))
    assert kinds(taught(fleet, REFUSED)) == ["launch_failed"]
    assert [each.failure for each in fleet.refusals.values()] == ["NoCapacity"]


def test_a_launch_that_was_refused_after_a_list_has_shown_it_has_failed_all_the_same() -> None:
    fleet = a_fleet(0, requested(1))
    taught(fleet, a_list(NOW, a_machine(1)))
    because = "fake: none left (a list has shown it half-made, as m-1)"
    assert taught(fleet, REFUSED) == [ev.LaunchFailed(NOW, name(1), "NoCapacity", because)]
    assert (fleet.instances[name(1)].ended, len(fleet.refusals)) == (True, 1)


def test_a_half_made_machine_that_lists_go_on_showing_is_ended_as_nobodys() -> None:
    machine = Machine(a_fleet(0, requested(1), target=1))
    machine.step([a_list(at(minutes=1), a_machine(1))], at(minutes=1))
    machine.step([REFUSED], at(minutes=1, seconds=2))
    machine.step([a_list(at(minutes=2), a_machine(1))], at(minutes=2))
    machine.step([a_list(at(minutes=3), a_machine(1))], at(minutes=3))
    machine.step([msg.Tick()], at(minutes=3, seconds=1))
    assert list(machine.fleet.orphans) == [f"{PROVIDER}/m-1"]
    assert Terminate(PROVIDER, "m-1") in list(machine.owed(at(minutes=3, seconds=1)))


def test_a_half_made_machine_that_lists_show_no_more_is_over() -> None:
    machine = Machine(a_fleet(0, requested(1), target=1))
    machine.step([a_list(at(minutes=1), a_machine(1))], at(minutes=1))
    machine.step([REFUSED], at(minutes=1, seconds=2))
    for minute in (2, 3):
        facts = machine.step([a_list(at(minutes=minute))], at(minutes=minute)).facts
        assert [fact for fact in facts if not isinstance(fact, ev.LaunchRequested)] == []
    assert machine.fleet.orphans == {}


def test_a_refusal_is_heard_although_lists_have_shown_the_machine_and_show_it_no_more() -> None:
    gone = ev.InstanceVanished(at(minutes=9), name(1), "two lists", "Vanished")
    fleet = a_fleet(0, requested(1), launched(1), gone)
    assert [fact.failure for fact in taught(fleet, REFUSED) if isinstance(fact, ev.LaunchFailed)]
    [held] = fleet.refusals.values()
    assert (held.failure, held.count) == ("NoCapacity", 1)
    assert taught(fleet, REFUSED) == ()


@pytest.mark.parametrize("is_over", [False, True])
def test_a_launch_that_broke_off_because_we_ended_the_machine_says_nothing_of_its_offer(
    *, is_over: bool
) -> None:
    fleet = a_fleet(0, requested(1), launched(1), ending(1, at()))
    if is_over:
        fold_all(ev.InstanceTerminated(at(), name(1), "gone"), fleet=fleet)
    assert taught(fleet, REFUSED) == ()
    assert fleet.refusals == {}


@pytest.mark.parametrize(
    "scope,expected",
    [
        (QuotaScope("r1", ("p*",), spot=False), QuotaScope("r1", ("p*",), spot=False)),
        (QuotaScope(spot=False), QuotaScope(spot=False)),
        (QuotaScope(), None),
        (None, None),
        (QuotaScope("r2"), None),
        (QuotaScope(spot=True), None),
        (QuotaScope(instance_types=("g*",)), None),
        (QuotaScope(instance_types=("p5.large",) * 33), None),
    ],
)
def test_a_quota_that_does_not_count_what_was_refused_is_the_providers(
    scope: QuotaScope | None, expected: QuotaScope | None
) -> None:
    asked = structs.replace(requested(1), region="r1", instance_type="p5.48xlarge")
    message = msg.LaunchRefused(name(1), "QuotaExceeded", "no more", scope=scope)
    [fact] = taught(a_fleet(0, asked), message)
    assert isinstance(fact, ev.LaunchFailed)
    assert fact.scope == expected


def test_a_node_that_speaks_was_launched_whatever_the_provider_says() -> None:
    assert taught(a_fleet(0, requested(1), registered(1)), REFUSED) == ()


def test_an_end_that_was_agreed_to() -> None:
    fleet = a_fleet(1, ending(1, at()))
    message = msg.TerminateAnswered(PROVIDER, "m-1", name(1))
    because = "fake agreed to end it"
    assert taught(fleet, message) == [ev.TerminationAccepted(NOW, name(1), because)]


@pytest.mark.parametrize(
    "message",
    [
        msg.TerminateAnswered(PROVIDER, "m-1", name(1), error="timeout"),
        msg.TerminateAnswered(PROVIDER, "m-x", name(1)),
        msg.TerminateAnswered(PROVIDER, "m-2", name(2)),
        msg.TerminateAnswered(PROVIDER, "m-9"),
    ],
)
def test_answers_that_end_nothing(message: msg.TerminateAnswered) -> None:
    assert taught(a_fleet(2, ending(1, at())), message) == ()


def test_a_list_is_read_by_the_rules_of_inventories() -> None:
    fleet = a_fleet(0, requested(1))
    assert kinds(taught(fleet, a_list(NOW, a_machine(1)))) == ["instance_launched"]
    assert fleet.pools[POOL].target == 0
