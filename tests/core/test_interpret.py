"""Interpreting: what each message teaches, what repeats and strays teach, and who is refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest
from msgspec.structs import replace

from factories import (
    PROVIDER,
    SETTINGS,
    TAG,
    a_fleet,
    a_spec,
    a_stranger,
    at,
    check,
    condemned,
    ending,
    fold_all,
    gpus,
    issued,
    launched,
    lost,
    name,
    registered,
    requested,
    xid,
)
from navarch.core import health
from navarch.core.interpret import Learned, interpret
from navarch.core.judging import Unjudged
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Contact, Intent, Metadata
from navarch.core.model.report import CheckResult, Health, HealthEvent
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


def introduction(n: int, **changes: object) -> msg.RegisterNode:
    """Return what the agent of machine n says when it starts."""
    message = msg.RegisterNode(name(n), gpus=gpus(), metadata=Metadata(f"host-{n}"))
    return replace(message, **changes)


# --- registering -----------------------------------------------------------------------------


def test_a_machine_of_ours_registers_with_what_we_know_of_it() -> None:
    fleet = a_fleet(0, requested(1), launched(1))
    facts = taught(fleet, introduction(1, provider="somebody else", zone="b"))
    expected = replace(registered(1, NOW), zone="b")
    assert facts == [expected]


def test_a_stranger_registers_with_what_it_says() -> None:
    message = msg.RegisterNode("lab-1", "lab", "here", "a", "dgx", gpus(1))
    assert taught(a_fleet(0), message) == [
        ev.NodeRegistered(NOW, "lab-1", "lab", "here", "a", "dgx", gpus=gpus(1))
    ]


def test_registering_the_same_again_teaches_nothing() -> None:
    fleet = a_fleet(0, requested(1))
    assert kinds(taught(fleet, introduction(1))) == ["node_registered"]
    assert taught(fleet, introduction(1)) == []


def test_registering_with_a_gpu_less_is_news() -> None:
    fleet = a_fleet(1)
    facts = taught(fleet, introduction(1, gpus=gpus(7)))
    assert kinds(facts) == ["node_registered"]
    assert len(fleet.nodes[name(1)].gpus) == 7


def test_registering_again_undoes_neither_cordon_nor_verdict() -> None:
    sick = ev.HealthJudged(at(), name(1), Health.UNHEALTHY, "XID 79")
    cordoned = ev.IntentChanged(at(), name(1), Intent.CORDONED, "for a look")
    fleet = a_fleet(1, sick, cordoned)
    taught(fleet, introduction(1, gpus=gpus(7)))
    node = fleet.nodes[name(1)]
    assert (node.health, node.intent) == (Health.UNHEALTHY, Intent.CORDONED)


def test_a_lost_node_that_registers_has_returned() -> None:
    fleet = a_fleet(1, lost(1, at(minutes=2)))
    assert kinds(taught(fleet, introduction(1))) == ["node_returned"]
    fold_all(lost(1, NOW), fleet=fleet)
    again = introduction(1, gpus=gpus(7))
    assert kinds(taught(fleet, again)) == ["node_returned", "node_registered"]
    assert fleet.nodes[name(1)].contact is Contact.CONNECTED


@pytest.mark.parametrize(
    "fact",
    [
        ending(1, at()),
        ev.InstanceTerminated(at(), name(1), "gone"),
        ev.InstanceVanished(at(), name(1), "gone"),
    ],
)
def test_an_ending_or_ended_machine_is_not_registered(fact: ev.Fact) -> None:
    refusal = heard(a_fleet(1, fact), introduction(1))
    assert isinstance(refusal, msg.Refused)
    assert refusal.code is msg.Refusal.FAILED_PRECONDITION


def test_a_machine_whose_record_was_forgotten_is_no_stranger() -> None:
    gone = ev.InstanceTerminated(at(), name(1), "gone")
    fleet = a_fleet(1, gone, ev.RecordsForgotten(at(), "old", (name(1),), (name(1),)))
    assert isinstance(heard(fleet, introduction(1)), msg.Refused)


def test_nobody_takes_the_name_of_a_machine_before_it_is_bought() -> None:
    assert isinstance(heard(a_fleet(0), introduction(1)), msg.Refused)


def test_a_dismissed_stranger_is_not_registered() -> None:
    fleet = a_fleet(0, a_stranger(), ev.NodeDismissed(at(), "lab-1", "not needed"))
    refusal = heard(fleet, msg.RegisterNode("lab-1"))
    expected = msg.Refused(msg.Refusal.FAILED_PRECONDITION, "node lab-1 has ended: not needed")
    assert refusal == expected


def test_only_so_many_strangers_are_welcome() -> None:
    settings = replace(Settings(), external_nodes_max=2)
    fleet = a_fleet(3, a_stranger("lab-1"), requested(4))
    assert kinds(taught(fleet, msg.RegisterNode("lab-2"), settings=settings)) == ["node_registered"]
    refusal = heard(fleet, msg.RegisterNode("lab-3"), settings=settings)
    assert isinstance(refusal, msg.Refused)
    assert refusal.code is msg.Refusal.RESOURCE_EXHAUSTED
    assert taught(fleet, msg.RegisterNode("lab-1", "lab", gpus=gpus(1)), settings=settings) == []
    assert len(taught(fleet, introduction(4), settings=settings)) == 1


# --- heartbeats ------------------------------------------------------------------------------


def test_a_heartbeat_teaches_nothing() -> None:
    assert taught(a_fleet(1), msg.Heartbeat(name(1))) == []


def test_a_heartbeat_of_a_lost_node_is_its_return() -> None:
    fleet = a_fleet(1, lost(1, at(minutes=2)), condemned(1, at(minutes=3)))
    because = "it speaks again after 480 s"
    assert taught(fleet, msg.Heartbeat(name(1))) == [ev.NodeReturned(NOW, name(1), because)]
    assert taught(fleet, msg.Heartbeat(name(1))) == []


@pytest.mark.parametrize(
    "message",
    [msg.RegisterNode(name(1), gpus=gpus(7)), msg.ReportHealth(name(1)), msg.PollCommands(name(1))],
    ids=lambda message: type(message).__name__,
)
def test_whatever_a_lost_node_says_is_its_return(message: msg.Message) -> None:
    assert kinds(taught(a_fleet(1, lost(1, at())), message))[0] == "node_returned"


@pytest.mark.parametrize("type_", [msg.Heartbeat, msg.ReportHealth, msg.PollCommands])
def test_who_is_not_registered_is_told_to(
    type_: type[msg.Heartbeat | msg.ReportHealth | msg.PollCommands],
) -> None:
    expected = msg.Refused(msg.Refusal.NOT_FOUND, "node lab-9 is not registered: register it first")
    assert heard(a_fleet(1), type_("lab-9")) == expected


@pytest.mark.parametrize("type_", [msg.Heartbeat, msg.ReportHealth, msg.PollCommands])
def test_who_has_ended_is_refused(
    type_: type[msg.Heartbeat | msg.ReportHealth | msg.PollCommands],
) -> None:
    fleet = a_fleet(1, ev.InstanceTerminated(at(), name(1), "gone"))
    expected = msg.Refused(msg.Refusal.FAILED_PRECONDITION, f"node {name(1)} has ended: gone")
    assert heard(fleet, type_(name(1))) == expected


def test_an_ending_node_may_still_speak() -> None:
    assert taught(a_fleet(1, ending(1, at())), msg.Heartbeat(name(1))) == []


# --- health reports --------------------------------------------------------------------------


def report(*results: CheckResult, events: tuple[HealthEvent, ...] = ()) -> msg.ReportHealth:
    return msg.ReportHealth(name(1), results, events)


def now_is(status: Health) -> ev.HealthJudged:
    return ev.HealthJudged(at(), name(1), status, "so it was")


def test_a_bad_report_is_news() -> None:
    facts = taught(a_fleet(1), report(check(), events=(xid(79),)))
    assert facts == [ev.HealthReported(NOW, name(1), (check(),), (xid(79),), first_number=1)]


def test_a_flood_of_one_fault_is_one_event() -> None:
    flood = tuple(xid(79, timestamp=at(seconds=n)) for n in range(500))
    fact = taught(a_fleet(1), report(events=flood))[0]
    assert isinstance(fact, ev.HealthReported)
    assert fact.events == (xid(79, timestamp=at(seconds=499), count=500),)


def test_a_clean_report_of_a_healthy_node_is_no_news() -> None:
    assert taught(a_fleet(1, now_is(Health.HEALTHY)), report(check())) == []


def test_the_first_clean_report_is_news() -> None:
    assert kinds(taught(a_fleet(1), report(check()))) == ["health_reported"]


def test_a_report_without_any_result_is_no_news() -> None:
    unknown = check(Health.UNKNOWN)
    for status in Health:
        assert taught(a_fleet(1, now_is(status)), report()) == []
        assert taught(a_fleet(1, now_is(status)), report(unknown)) == []


def test_a_repeated_bad_report_teaches_nothing() -> None:
    fleet = a_fleet(1, now_is(Health.DEGRADED))
    bad = report(check(Health.DEGRADED), events=(xid(48),))
    assert len(taught(fleet, bad)) == 1
    assert taught(fleet, bad) == []


def test_a_check_that_says_the_same_later_teaches_nothing() -> None:
    fleet = a_fleet(1)
    learned = [
        len(taught(fleet, report(check(Health.DEGRADED, at=at(minutes=minute)))))
        for minute in (1, 2, 3)
    ]
    assert learned == [1, 0, 0]


def test_an_event_that_happens_again_is_news() -> None:
    fleet = a_fleet(1)
    first, again = (report(events=(xid(48, timestamp=at(minutes=minute)),)) for minute in (1, 2))
    moments = (NOW, NOW, NOW + SETTINGS.report_fold)
    learned = [
        len(taught(fleet, said, when))
        for said, when in zip((first, first, again), moments, strict=True)
    ]
    assert learned == [1, 0, 1]


def test_another_fault_is_news() -> None:
    fleet = a_fleet(1)
    assert len(taught(fleet, report(events=(xid(48),)))) == 1
    assert len(taught(fleet, report(events=(xid(79),)))) == 1
    assert len(taught(fleet, report(events=(xid(48),)))) == 1


def test_clean_reports_count_one_by_one_while_a_node_is_sick() -> None:
    fleet = a_fleet(1, now_is(Health.UNHEALTHY))
    for _ in range(3):
        assert len(taught(fleet, report(check()))) == 1
        fold_all(health.judge(fleet, NOW, Unjudged(), SETTINGS), fleet=fleet)
    assert fleet.nodes[name(1)].clean_reports == 3
    assert taught(fleet, report(check())) == []


# --- commands --------------------------------------------------------------------------------

COMMAND = issued(1, CommandType.DRAIN)
ID = COMMAND.command_id


def ack(state: CommandState = CommandState.SUCCEEDED, n: int = 1) -> msg.AckCommand:
    return msg.AckCommand(name(n), ID, state, "done", "output")


def test_a_poll_delivers_once() -> None:
    fleet = a_fleet(1, COMMAND)
    assert taught(fleet, msg.PollCommands(name(1))) == [ev.CommandDelivered(NOW, ID, name(1))]
    assert taught(fleet, msg.PollCommands(name(1))) == []


def test_a_poll_delivers_nothing_to_another() -> None:
    assert taught(a_fleet(2, COMMAND), msg.PollCommands(name(2))) == []


def test_an_acknowledgement_is_the_result() -> None:
    fleet = a_fleet(1, COMMAND, ev.CommandDelivered(at(), ID, name(1)))
    result = ev.CommandFinished(NOW, ID, name(1), CommandState.FAILED, "done", "output")
    assert taught(fleet, ack(CommandState.FAILED)) == [result]


def test_progress_is_reported_before_the_result() -> None:
    fleet = a_fleet(1, COMMAND)
    assert kinds(taught(fleet, ack(CommandState.RUNNING))) == ["command_finished"]
    assert fleet.pending == {name(1): (ID,)}
    taught(fleet, ack(CommandState.FAILED))
    assert fleet.pending == {}


def test_an_acknowledgement_that_comes_twice_counts_once() -> None:
    fleet = a_fleet(1, COMMAND)
    assert len(taught(fleet, ack())) == 1
    assert taught(fleet, ack()) == []
    assert taught(fleet, ack(CommandState.FAILED)) == []
    assert fleet.commands[ID].state is CommandState.SUCCEEDED


def test_the_acknowledgement_of_an_unknown_command_is_refused() -> None:
    expected = msg.Refused(msg.Refusal.NOT_FOUND, f"command {ID} is not known")
    assert heard(a_fleet(1), ack()) == expected


def test_the_acknowledgement_of_anothers_command_is_refused() -> None:
    text = f"command {ID} was not given to node {name(2)}"
    expected = msg.Refused(msg.Refusal.PERMISSION_DENIED, text)
    assert heard(a_fleet(2, COMMAND), ack(n=2)) == expected


@pytest.mark.parametrize(
    "state", [CommandState.ISSUED, CommandState.DELIVERED, CommandState.EXPIRED]
)
def test_states_that_only_we_give_are_refused(state: CommandState) -> None:
    running = ev.CommandFinished(at(), ID, name(1), CommandState.RUNNING)
    refusal = heard(a_fleet(1, COMMAND, running), ack(state))
    assert isinstance(refusal, msg.Refused)
    assert refusal.code is msg.Refusal.INVALID_ARGUMENT


def test_a_drain_is_finished_by_its_acknowledgement() -> None:
    fleet = a_fleet(1, ev.IntentChanged(at(), name(1), Intent.DRAINING, "update"), COMMAND)
    emptied = ev.IntentChanged(NOW, name(1), Intent.DRAINED, "done", wish=False)
    assert taught(fleet, ack())[1:] == [emptied]


def test_a_drain_that_takes_longer_than_its_command_is_finished_all_the_same() -> None:
    draining = ev.IntentChanged(at(), name(1), Intent.DRAINING, "update")
    expired = ev.CommandFinished(at(), ID, name(1), CommandState.EXPIRED, "no result in time")
    fleet = a_fleet(1, draining, COMMAND, expired)
    taught(fleet, ack())
    assert fleet.nodes[name(1)].intent is Intent.DRAINED


@pytest.mark.parametrize(
    "intent,state",
    [
        (Intent.IN_SERVICE, CommandState.SUCCEEDED),
        (Intent.CORDONED, CommandState.SUCCEEDED),
        (Intent.DRAINING, CommandState.FAILED),
        (Intent.DRAINING, CommandState.RUNNING),
    ],
)
def test_a_drain_that_failed_or_was_called_off_changes_no_intent(
    intent: Intent, state: CommandState
) -> None:
    fleet = a_fleet(1, ev.IntentChanged(at(), name(1), intent, "an operator"), COMMAND)
    assert kinds(taught(fleet, ack(state))) == ["command_finished"]


def test_a_stranger_that_ended_as_told_is_retired() -> None:
    told = issued(1, CommandType.TERMINATE, node_id="lab-1")
    fleet = a_fleet(0, a_stranger(), told, ev.NodeDismissed(at(), "lab-1", "not needed"))
    message = msg.AckCommand("lab-1", ID, CommandState.SUCCEEDED)
    assert kinds(taught(fleet, message)) == ["command_finished", "node_retired"]


def test_a_machine_of_ours_ends_at_its_provider_not_by_its_word() -> None:
    fleet = a_fleet(1, issued(1, CommandType.TERMINATE), ending(1, at()))
    assert kinds(taught(fleet, ack())) == ["command_finished"]


@pytest.mark.parametrize("sign", [msg.Heartbeat(name(1)), msg.ReportHealth(name(1))])
def test_an_agent_that_never_acknowledges_shows_by_living_on(sign: msg.Message) -> None:
    fleet = a_fleet(1, COMMAND)
    assert taught(fleet, sign) == []
    taught(fleet, msg.PollCommands(name(1), acknowledges=False))
    text = "delivered; its agent does not acknowledge"
    assert taught(fleet, sign) == [
        ev.CommandFinished(NOW, ID, name(1), CommandState.SUCCEEDED, text)
    ]
    assert taught(fleet, sign) == []


def test_an_agent_that_acknowledges_is_waited_for() -> None:
    fleet = a_fleet(1, COMMAND, ev.CommandDelivered(at(), ID, name(1)))
    assert taught(fleet, msg.Heartbeat(name(1))) == []


# --- the process itself ----------------------------------------------------------------------


def test_a_fleet_is_founded_once() -> None:
    fleet = Fleet()
    assert taught(fleet, msg.Found(TAG)) == [ev.FleetFounded(NOW, TAG)]
    assert taught(fleet, msg.Found("z9z9")) == []


def test_every_start_is_a_fact() -> None:
    fleet = a_fleet(0)
    resume = msg.Resume("0.1.0", "host-a:1")
    assert taught(fleet, resume) == [ev.Resumed(NOW, "0.1.0", "host-a:1")]
    assert taught(fleet, resume) == [ev.Resumed(NOW, "0.1.0", "host-a:1")]


def test_configuring_says_what_is_new_what_has_changed_and_what_is_gone() -> None:
    fleet = a_fleet(0, ev.PoolConfigured(at(), a_spec(name="b")))
    wider, new = a_spec(max_nodes=20), a_spec(name="c")
    because = "the configuration does not name it any more"
    message = msg.ConfigurePools((wider, new))
    assert taught(fleet, message) == [
        ev.PoolConfigured(NOW, wider),
        ev.PoolConfigured(NOW, new),
        ev.PoolRetired(NOW, "b", because),
    ]
    assert taught(fleet, message) == []
    back = msg.ConfigurePools((wider, new, a_spec(name="b")))
    assert taught(fleet, back) == [ev.PoolConfigured(NOW, a_spec(name="b"))]


@pytest.mark.parametrize("message", [msg.Tick(), msg.InventoryFailed(PROVIDER, "timeout")])
def test_what_teaches_nothing(message: msg.Message) -> None:
    assert taught(a_fleet(1), message) == ()
