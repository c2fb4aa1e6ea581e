"""Lifecycle: every row of the table of deadlines, and what is kept how long."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from factories import (
    SETTINGS,
    a_fleet,
    a_stranger,
    at,
    ending,
    fold_all,
    issued,
    launched,
    lost,
    name,
    registered,
    requested,
)
from navarch.core import lifecycle
from navarch.core.model import events as ev
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.fleet import Fleet

DAY = timedelta(hours=24)


def overdue(fleet: Fleet, now: datetime) -> list[ev.TerminationRequested]:
    return list(lifecycle.overdue(fleet, now, SETTINGS))


def test_an_end_whose_launch_never_had_an_outcome_is_looked_up() -> None:
    fleet = a_fleet(0, requested(1), ending(1, at(minutes=1)))
    late = at(minutes=1) + SETTINGS.provisioning_timeout
    assert list(lifecycle.unanswered(fleet, late, SETTINGS)) == []
    (fact,) = lifecycle.unanswered(fleet, late + timedelta(seconds=1), SETTINGS)
    assert fact.instance_id == name(1)
    fold_all(fact, fleet=fleet)
    assert list(lifecycle.unanswered(fleet, late + timedelta(hours=1), SETTINGS)) == []


def test_an_end_whose_machine_is_known_needs_no_look() -> None:
    fleet = a_fleet(1, ending(1, at(minutes=1)))
    assert list(lifecycle.unanswered(fleet, at(hours=5), SETTINGS)) == []


def forgotten(fleet: Fleet, now: datetime) -> list[ev.RecordsForgotten]:
    return list(lifecycle.forgotten(fleet, now, SETTINGS))


# --- machines --------------------------------------------------------------------------------


def test_a_launch_without_outcome_is_given_up() -> None:
    fleet = a_fleet(0, requested(1))
    assert overdue(fleet, at(minutes=10)) == []
    now = at(minutes=10, seconds=1)
    because = "its launch had no outcome within 0:10:00"
    assert overdue(fleet, now) == [ev.TerminationRequested(now, name(1), because, trouble=True)]


def test_an_uncertain_launch_has_the_same_deadline() -> None:
    unknown = ev.LaunchUncertain(at(minutes=5), name(1), "the connection broke")
    assert len(overdue(a_fleet(0, requested(1), unknown), at(minutes=11))) == 1


def test_a_machine_that_never_registers_is_given_up() -> None:
    fleet = a_fleet(0, requested(1), launched(1, at(minutes=5)))
    assert overdue(fleet, at(minutes=15)) == []
    now = at(minutes=15, seconds=1)
    because = "it never registered within 0:10:00"
    assert overdue(fleet, now) == [ev.TerminationRequested(now, name(1), because, trouble=True)]


def test_a_registered_machine_has_no_deadline() -> None:
    assert overdue(a_fleet(3), at(hours=1_000)) == []


def test_a_registered_machine_whose_launch_never_answered_has_no_deadline() -> None:
    assert overdue(a_fleet(0, requested(1), registered(1)), at(hours=1_000)) == []


def test_a_machine_is_given_up_once() -> None:
    fleet = a_fleet(0, requested(1))
    now = at(minutes=11)
    assert overdue(fold_all(overdue(fleet, now), fleet=fleet), now) == []


def test_a_restart_gives_booting_machines_their_time_again() -> None:
    fleet = a_fleet(0, requested(1), launched(1), ev.Resumed(at(hours=1), "0.1.0"))
    assert overdue(fleet, at(hours=1, minutes=10)) == []
    assert len(overdue(fleet, at(hours=1, minutes=10, seconds=1))) == 1


def test_a_restart_gives_launches_their_time_again() -> None:
    fleet = a_fleet(0, requested(1), ev.Resumed(at(hours=1), "0.1.0"))
    assert overdue(fleet, at(hours=1, minutes=10)) == []
    assert len(overdue(fleet, at(hours=1, minutes=10, seconds=1))) == 1


# --- commands --------------------------------------------------------------------------------


def settled(fleet: Fleet, now: datetime) -> list[tuple[CommandState, str]]:
    return [(fact.state, fact.message) for fact in lifecycle.settled_commands(fleet, now)]


@pytest.mark.parametrize("delivered", [False, True])
def test_a_command_expires_whether_or_not_it_was_delivered(*, delivered: bool) -> None:
    command = issued(1, CommandType.RUN_DIAGNOSTIC)
    fleet = a_fleet(1, command)
    if delivered:
        fold_all(ev.CommandDelivered(at(), command.command_id, name(1)), fleet=fleet)
    assert settled(fleet, command.expires_at) == []
    late = command.expires_at + timedelta(seconds=1)
    assert settled(fleet, late) == [(CommandState.EXPIRED, "no result in time")]


def test_a_finished_command_does_not_expire() -> None:
    command = issued(1, CommandType.RUN_DIAGNOSTIC)
    done = ev.CommandFinished(at(), command.command_id, name(1), CommandState.SUCCEEDED)
    assert settled(a_fleet(1, command, done), at(hours=9)) == []


def test_the_end_of_a_node_fulfils_its_termination_and_nothing_else() -> None:
    commands = [issued(1, CommandType.RUN_DIAGNOSTIC), issued(2, CommandType.TERMINATE)]
    gone = ev.InstanceTerminated(at(), name(1), "gone")
    fleet = a_fleet(1, commands, ending(1, at()))
    assert settled(fleet, at()) == []
    assert settled(fold_all(gone, fleet=fleet), at()) == [
        (CommandState.EXPIRED, "the node has ended"),
        (CommandState.SUCCEEDED, "the node has ended"),
    ]


# --- strangers -------------------------------------------------------------------------------


def test_a_stranger_that_was_told_to_end_and_fell_silent_has_ended() -> None:
    fleet = a_fleet(0, a_stranger(), ev.NodeDismissed(at(), "lab-1", "not needed"))
    assert list(lifecycle.retired(fleet, at(minutes=2))) == []
    fold_all(ev.NodeLost(at(minutes=2), "lab-1", "silent"), fleet=fleet)
    because = "told to terminate, and silent since"
    assert list(lifecycle.retired(fleet, at(minutes=2))) == [
        ev.NodeRetired(at(minutes=2), "lab-1", because)
    ]


def test_a_stranger_that_only_fell_silent_has_not_ended() -> None:
    fleet = a_fleet(0, a_stranger(), ev.NodeLost(at(minutes=2), "lab-1", "silent"))
    assert list(lifecycle.retired(fleet, at(hours=99))) == []


def test_a_machine_of_ours_ends_with_its_instance_only() -> None:
    fleet = a_fleet(1, ending(1, at()), lost(1, at(minutes=2)))
    assert list(lifecycle.retired(fleet, at(hours=99))) == []


# --- memory ----------------------------------------------------------------------------------


def test_nothing_that_lives_is_forgotten() -> None:
    fleet = a_fleet(2, requested(3), a_stranger(), issued(1, CommandType.REBOOT), ending(2, at()))
    assert forgotten(fleet, at(hours=9_999)) == []


def test_an_ended_machine_and_its_node_are_forgotten_a_day_later() -> None:
    gone = ev.InstanceTerminated(at(hours=1), name(1), "gone")
    fleet = a_fleet(2, ending(1, at()), gone)
    assert forgotten(fleet, at(hours=25)) == []
    now = at(hours=25, seconds=1)
    because = "ended more than 1 day, 0:00:00 ago"
    assert forgotten(fleet, now) == [ev.RecordsForgotten(now, because, (name(1),), (name(1),))]


def test_a_refused_launch_is_forgotten_a_day_later() -> None:
    refused = ev.LaunchFailed(at(), name(1), "NoCapacity", "none left")
    fleet = a_fleet(0, requested(1), refused)
    assert forgotten(fleet, at() + DAY) == []
    assert forgotten(fleet, at(hours=24, seconds=1))[0].instances == (name(1),)


def test_a_finished_command_is_forgotten_a_day_later() -> None:
    command = issued(1, CommandType.REBOOT)
    done = ev.CommandFinished(at(hours=1), command.command_id, name(1), CommandState.FAILED)
    fleet = a_fleet(1, command, done)
    assert forgotten(fleet, at(hours=25)) == []
    assert forgotten(fleet, at(hours=25, seconds=1))[0].commands == (command.command_id,)


def test_a_stranger_is_remembered_from_its_end() -> None:
    fleet = a_fleet(0, a_stranger(), ev.NodeRetired(at(hours=48), "lab-1", "has ended"))
    assert forgotten(fleet, at(hours=72)) == []
    assert forgotten(fleet, at(hours=72, seconds=1))[0].nodes == ("lab-1",)


def test_forgetting_is_one_fact_and_happens_once() -> None:
    gone = [ev.InstanceTerminated(at(), name(n), "gone") for n in (1, 2, 3)]
    fleet = a_fleet(3, gone)
    now = at(hours=25)
    first = forgotten(fleet, now)
    assert [fact.instances for fact in first] == [(name(1), name(2), name(3))]
    assert forgotten(fold_all(first, fleet=fleet), now) == []
