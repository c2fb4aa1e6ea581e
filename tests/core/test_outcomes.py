"""Interpreting outcomes: what the answers of providers teach, late and repeated ones too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest

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
    name,
    registered,
    requested,
)
from navarch.core.interpret import Learned, interpret
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.model.sightings import Sightings
from navarch.core.settings import Settings

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
            NOW, name(1), "m-1", "fake launched it", private_ip="10.0.0.1", zone="b"
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


def test_a_launch_that_was_refused_after_its_end_was_requested_has_ended() -> None:
    fleet = a_fleet(0, requested(1), ending(1, at()))
    assert kinds(taught(fleet, REFUSED)) == ["instance_terminated"]


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
