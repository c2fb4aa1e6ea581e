"""The machine: the verbs in their order, one answer a message, and whole lives of small fleets."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pytest

from factories import (
    PROVIDER,
    TAG,
    a_fleet,
    a_list,
    a_machine,
    a_spec,
    a_stranger,
    at,
    ending,
    fold_all,
    gpus,
    issued,
    name,
    sighted,
)
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.actions import Launch, ListTypes, TakeInventory, Terminate
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.gpu import NodeSample
from navarch.core.model.node import Intent
from navarch.core.model.sightings import Catalog, Recommendation


def kinds(machine: Machine, now: datetime, *batch: msg.Message) -> list[str]:
    """Step, and name the facts."""
    return [ev.kind(fact) for fact in machine.step(batch, now).facts]


def answers(machine: Machine, now: datetime, *batch: msg.Message) -> list[msg.Answer]:
    return machine.step(batch, now).answers


def beats(*numbers: int) -> list[msg.Message]:
    return [msg.Heartbeat(name(n)) for n in numbers]


# --- one step --------------------------------------------------------------------------------


def test_a_new_machine_has_an_empty_fleet() -> None:
    machine = Machine()
    assert (machine.fleet, machine.step([], at()).facts) == (Fleet(), [])


def test_a_step_folds_its_own_facts() -> None:
    machine = Machine()
    pools = msg.ConfigurePools((a_spec(min_nodes=2),))
    step = machine.step([msg.Found(TAG), msg.Resume("0.1.0"), pools], at())
    assert [ev.kind(fact) for fact in step.facts] == [
        "fleet_founded",
        "resumed",
        "pool_configured",
        "launch_requested",
        "launch_requested",
    ]
    assert machine.fleet == fold_all(step.facts)


def test_a_message_is_understood_in_the_light_of_those_before_it() -> None:
    machine = Machine(a_fleet(0))
    register, again = msg.RegisterNode("lab-1"), msg.RegisterNode("lab-1", zone="b")
    facts = kinds(machine, at(), register, register, again, msg.Heartbeat("lab-1"))
    assert facts == ["node_registered", "node_registered"]


def test_heartbeats_alone_do_not_make_it_decide() -> None:
    machine = Machine(a_fleet(2, target=3))
    assert kinds(machine, at(), *beats(1, 2)) == []
    assert kinds(machine, at(), msg.Tick()) == ["launch_requested"]


def test_a_refused_message_teaches_nothing_and_is_not_a_sighting() -> None:
    machine = Machine(a_fleet(1, ev.InstanceTerminated(at(), name(1), "gone")))
    given = answers(machine, at(), msg.Heartbeat(name(1)), msg.Heartbeat("lab-9"))
    assert [type(answer) for answer in given] == [msg.Refused, msg.Refused]
    assert machine.sightings.heard.moments() == {}


def test_every_message_has_its_answer_in_order() -> None:
    machine = Machine(a_fleet(1, issued(1, CommandType.REBOOT)))
    batch: list[msg.Message] = [
        msg.Heartbeat(name(1)),
        msg.Heartbeat("lab-9"),
        msg.RegisterNode("lab-1"),
        msg.ReportHealth(name(1)),
        msg.Tick(),
        msg.IssueCommand(name(1), CommandType.CORDON),
    ]
    unknown = msg.Refused(msg.Refusal.NOT_FOUND, "node lab-9 is not registered: register it first")
    assert answers(machine, at(minutes=1), *batch) == [
        msg.HeartbeatAccepted(commands_pending=True),
        unknown,
        msg.Accepted(),
        msg.Accepted(),
        msg.Accepted(),
        msg.CommandAccepted("cmd-k3f9-000002", at(minutes=1)),
    ]


def test_two_commands_of_one_batch_have_two_ids() -> None:
    cordon = msg.IssueCommand(name(1), CommandType.CORDON)
    given = answers(Machine(a_fleet(1)), at(), cordon, cordon)
    assert given == [
        msg.CommandAccepted("cmd-k3f9-000001", at()),
        msg.CommandAccepted("cmd-k3f9-000002", at()),
    ]


# --- sightings -------------------------------------------------------------------------------


def test_the_newest_sample_is_kept() -> None:
    machine = Machine(a_fleet(1))
    first, second = NodeSample(cpu_percent=1.0), NodeSample(cpu_percent=2.0)
    machine.step([msg.Heartbeat(name(1), first), msg.Heartbeat(name(1), second)], at())
    machine.step([msg.Heartbeat(name(1))], at(seconds=30))
    samples = machine.sightings.samples
    assert samples.history(name(1)) == [(at(), first), (at(), second)]
    assert samples.newest(name(1)) == second
    assert machine.sightings.heard.moments() == {name(1): at(seconds=30)}


@pytest.mark.parametrize(
    "message",
    [
        msg.Heartbeat(name(1)),
        msg.RegisterNode(name(1), gpus=gpus(7)),
        msg.ReportHealth(name(1)),
        msg.PollCommands(name(1)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_whatever_an_agent_says_is_a_sign_of_life(message: msg.Message) -> None:
    machine = Machine(a_fleet(1))
    machine.step([message], at(seconds=80))
    assert kinds(machine, at(seconds=120), msg.Tick()) == []


def test_the_time_of_the_sender_is_not_a_sign_of_life() -> None:
    machine = Machine(a_fleet(1))
    machine.step([msg.Heartbeat(name(1), sent_at=at(hours=5))], at())
    assert kinds(machine, at(minutes=2), msg.Tick()) == ["node_lost"]


def test_a_list_that_failed_is_remembered_until_one_works() -> None:
    machine = Machine(a_fleet(1))
    machine.step([msg.InventoryFailed(PROVIDER, "timeout")], at())
    assert machine.sightings.troubles == {PROVIDER: "timeout"}
    assert list(machine.owed(at(seconds=59))) == []
    assert list(machine.owed(at(seconds=60))) == [TakeInventory(PROVIDER)]
    machine.step([a_list(at(minutes=1), a_machine(1))], at(minutes=1))
    assert machine.sightings.troubles == {}


def test_an_end_that_could_not_be_asked_for_is_tried_again_a_little_later() -> None:
    machine = Machine(a_fleet(1, ending(1, at())))
    end = Terminate(PROVIDER, "m-1", name(1))
    assert end in machine.owed(at())
    machine.step([msg.TerminateAnswered(PROVIDER, "m-1", name(1), error="timeout")], at())
    assert end not in machine.owed(at(seconds=9))
    assert end in machine.owed(at(seconds=10))


def test_an_end_that_is_answered_late_is_not_remembered() -> None:
    gone = ev.InstanceTerminated(at(minutes=1), name(1), "gone")
    machine = Machine(a_fleet(1, ending(1, at()), gone))
    late = [msg.TerminateAnswered(PROVIDER, "m-1", name(1), error="timeout")]
    machine.step([*late, msg.TerminateAnswered(PROVIDER, "m-9")], at(minutes=2))
    assert machine.sightings.tried == {}


def test_nothing_is_remembered_of_who_was_forgotten() -> None:
    machine = Machine(a_fleet(1, target=0))
    machine.step([msg.Heartbeat(name(1), NodeSample()), a_list(at(minutes=1))], at(minutes=1))
    fold_all(ending(1, at(minutes=2)), fleet=machine.fleet)
    machine.step([msg.TerminateAnswered(PROVIDER, "m-1", name(1))], at(minutes=3))
    machine.step([a_list(at(minutes=4)), msg.Tick()], at(minutes=4))
    machine.step([msg.Tick()], at(hours=48))
    assert machine.fleet.instances == {}
    seen = machine.sightings
    kept = (seen.heard.moments(), list(seen.samples), seen.missing, seen.tried)
    assert kept == ({}, [], {}, {})


# --- commands --------------------------------------------------------------------------------


def handed(machine: Machine, now: datetime, *batch: msg.Message) -> list[str]:
    """Step, and return the ids that the last message, a poll, was answered with."""
    answer = machine.step(batch, now).answers[-1]
    assert isinstance(answer, msg.CommandsHanded)
    return [command.id for command in answer.commands]


def test_a_command_is_handed_out_until_it_has_a_result() -> None:
    first, second = issued(1, CommandType.REBOOT), issued(2, CommandType.GPU_RESET)
    machine = Machine(a_fleet(1, first, second))
    poll = msg.PollCommands(name(1))
    assert handed(machine, at(), poll) == [first.command_id, second.command_id]
    assert handed(machine, at(seconds=1), poll) == [first.command_id, second.command_id]
    machine.step([msg.AckCommand(name(1), first.command_id, CommandState.SUCCEEDED)], at())
    assert handed(machine, at(seconds=2), poll) == [second.command_id]


def test_a_command_that_has_expired_is_not_handed_out() -> None:
    machine = Machine(a_fleet(1, issued(1, CommandType.REBOOT)))
    assert handed(machine, at(hours=2), msg.Tick(), msg.PollCommands(name(1))) == []


def test_what_is_handed_out_counts_as_delivered() -> None:
    machine = Machine(a_fleet(1))
    poll = msg.PollCommands(name(1), acknowledges=False)
    step = machine.step([poll, msg.IssueCommand(name(1), CommandType.REBOOT)], at())
    answer = step.answers[0]
    assert isinstance(answer, msg.CommandsHanded)
    assert [command.state for command in answer.commands if not command.delivered_at] == []


def test_a_drain_from_wish_to_end() -> None:
    machine = Machine(a_fleet(1))
    machine.step([msg.IssueCommand(name(1), CommandType.DRAIN)], at())
    intents = [machine.fleet.nodes[name(1)].intent]
    command_id = handed(machine, at(seconds=1), msg.PollCommands(name(1)))[0]
    machine.step([msg.AckCommand(name(1), command_id, CommandState.SUCCEEDED)], at(seconds=9))
    intents.append(machine.fleet.nodes[name(1)].intent)
    assert intents == [Intent.DRAINING, Intent.DRAINED]


def test_a_stranger_that_was_terminated_after_a_long_life_stays_away() -> None:
    machine = Machine(a_fleet(0, a_stranger()))
    for hours in range(49):
        machine.step([msg.Heartbeat("lab-1"), msg.Tick()], at(hours=hours))
    order = msg.IssueCommand("lab-1", CommandType.TERMINATE)
    machine.step([msg.Heartbeat("lab-1"), order], at(hours=49))
    command_id = handed(machine, at(hours=49), msg.PollCommands("lab-1"))[0]
    machine.step([msg.AckCommand("lab-1", command_id, CommandState.SUCCEEDED)], at(hours=49))
    again: list[msg.Message] = [msg.Heartbeat("lab-1"), msg.RegisterNode("lab-1")]
    codes = [getattr(answer, "code", None) for answer in machine.step(again, at(hours=49)).answers]
    assert codes == [msg.Refusal.FAILED_PRECONDITION] * 2


# --- whole lives -----------------------------------------------------------------------------


_WITH_ONE_NODE = msg.ConfigurePools((a_spec(min_nodes=1),))
_WITHOUT_ANY = msg.ConfigurePools((a_spec(),))


def test_from_nothing_to_a_serving_node_and_back() -> None:
    machine = Machine()
    machine.step([msg.Found(TAG), msg.Resume("0.1.0"), _WITH_ONE_NODE], at())
    assert [type(action) for action in machine.owed(at())] == [Launch, TakeInventory]
    assert kinds(machine, at(seconds=5), msg.Launched(name(1), a_machine(1))) == [
        "instance_launched"
    ]
    assert kinds(machine, at(minutes=1), msg.RegisterNode(name(1))) == ["node_registered"]
    assert kinds(machine, at(minutes=2), _WITHOUT_ANY) == [
        "pool_configured",
        "release_requested",
        "command_issued",
    ]
    drained = drain(machine, 1, at(minutes=2))
    assert kinds(machine, at(minutes=3), drained) == ["command_finished", "termination_requested"]
    end = Terminate(PROVIDER, "m-1", name(1))
    assert end in machine.owed(at(minutes=3))
    answered = msg.TerminateAnswered(PROVIDER, "m-1", name(1))
    assert kinds(machine, at(seconds=181), answered) == ["termination_accepted"]
    assert kinds(machine, at(seconds=190), a_list(at(seconds=190))) == ["instance_terminated"]
    assert kinds(machine, at(hours=25), msg.Tick()) == ["records_forgotten"]
    assert (machine.fleet.instances, machine.fleet.nodes) == ({}, {})


def drain(machine: Machine, n: int, now: datetime) -> msg.AckCommand:
    """Let the agent of machine n fetch its command; return how it says that it has drained."""
    command_id = handed(machine, now, msg.PollCommands(name(n)))[-1]
    assert machine.fleet.commands[command_id].type is CommandType.DRAIN
    return msg.AckCommand(name(n), command_id, CommandState.SUCCEEDED)


def advice(target: int) -> msg.Recommended:
    return msg.Recommended("training", target, f"queue {target}", "queue")


def test_an_autoscaler_shrinks_and_grows_a_pool_without_buying_back_what_it_had() -> None:
    machine = Machine(a_fleet(2))
    machine.step([*beats(1, 2), msg.Tick()], at(minutes=1))
    shrunk = kinds(machine, at(minutes=1, seconds=5), advice(1))
    assert shrunk == ["target_changed", "release_requested", "command_issued"]
    again = kinds(machine, at(minutes=1, seconds=10), *beats(1, 2), advice(2))
    assert again == ["target_changed", "release_revoked", "command_issued"]
    types = [machine.fleet.commands[id_].type for id_ in sorted(machine.fleet.commands)]
    assert types == [CommandType.DRAIN, CommandType.UNCORDON]
    assert list(machine.fleet.releasing) == []


def test_an_operators_word_stands_until_the_autoscaler_speaks_again() -> None:
    machine = Machine(a_fleet(2))
    machine.step([*beats(1, 2), advice(2)], at(minutes=1))
    scale = msg.ScalePool("training", 3, "a big run")
    assert kinds(machine, at(seconds=70), scale) == ["target_changed", "launch_requested"]
    assert kinds(machine, at(seconds=80), msg.Tick()) == []
    assert machine.fleet.pools["training"].target == 3
    assert kinds(machine, at(seconds=90), advice(4)) == ["target_changed", "launch_requested"]


def test_a_word_for_a_pool_that_is_not_there_is_refused_and_not_remembered() -> None:
    machine = Machine(a_fleet(0))
    word = msg.Recommended("serving", 3, "queue 3", "queue")
    refused = msg.Refused(msg.Refusal.NOT_FOUND, "pool serving is not configured")
    assert answers(machine, at(), word) == [refused]
    assert machine.sightings.recommendations == {}


def test_the_newest_word_of_an_autoscaler_is_remembered() -> None:
    machine = Machine(a_fleet(0))
    machine.step([advice(0)], at())
    held = msg.Recommended("training", 0, "cooldown 20 s", "queue", held=True)
    machine.step([held], at(seconds=30))
    expected = Recommendation(at(seconds=30), 0, "cooldown 20 s", "queue", held=True)
    assert machine.sightings.recommendations == {"training": expected}


def test_a_price_list_is_remembered_and_one_that_failed_does_not_erase_it() -> None:
    machine = Machine(a_fleet(0, spec=a_spec(strategy="cost")))
    assert ListTypes(PROVIDER) in machine.owed(at())
    sold = msg.Sold("h100-8x", 16.0)
    machine.step([msg.TypesListed(PROVIDER, (sold,))], at(seconds=1))
    assert ListTypes(PROVIDER) not in machine.owed(at(seconds=2))
    machine.step([msg.TypesListed(PROVIDER, None)], at(minutes=11))
    assert machine.sightings.catalogs == {PROVIDER: Catalog(at(seconds=1), {"h100-8x": sold})}
    assert ListTypes(PROVIDER) not in machine.owed(at(minutes=11, seconds=59))
    assert ListTypes(PROVIDER) in machine.owed(at(minutes=12))


def test_a_dead_node_is_replaced_before_it_is_ended() -> None:
    machine = Machine(a_fleet(3))
    listed = [a_machine(n) for n in (1, 2, 3)]
    assert kinds(machine, at(minutes=2), *beats(2, 3), msg.Tick()) == ["node_lost"]
    seen = at(minutes=2, seconds=10)
    assert kinds(machine, seen, a_list(seen, *listed)) == []
    assert kinds(machine, at(minutes=3), *beats(2, 3), msg.Tick()) == [
        "instance_condemned",
        "launch_requested",
    ]
    assert kinds(machine, at(minutes=4), msg.Launched(name(4), a_machine(4)), *beats(2, 3)) == [
        "instance_launched"
    ]
    assert kinds(machine, at(minutes=5), msg.RegisterNode(name(4)), *beats(2, 3)) == [
        "node_registered",
        "termination_requested",
    ]
    assert machine.fleet.nodes[name(1)].status == "terminated"


def test_a_machine_that_the_cloud_took_is_bought_again() -> None:
    machine = Machine(a_fleet(3))
    machine.step([*beats(2, 3), msg.Tick()], at(minutes=12))
    rest = a_list(at(minutes=12), a_machine(2), a_machine(3))
    assert kinds(machine, at(minutes=12), rest) == ["instance_vanished", "launch_requested"]


def test_a_restart_restarts_every_silence() -> None:
    fleet = a_fleet(3)
    machine = Machine(fleet)
    assert kinds(machine, at(hours=8), msg.Resume("0.1.0"), msg.Tick()) == ["resumed"]
    assert kinds(machine, at(hours=8, seconds=80), *beats(1, 2, 3), msg.Tick()) == []
    assert kinds(machine, at(hours=8, minutes=2), msg.Tick()) == []


def test_a_cut_network_ends_no_machine() -> None:
    machine = Machine(a_fleet(5))
    listed = [a_machine(n) for n in range(1, 6)]
    facts = [*kinds(machine, at(minutes=2), *beats(1), msg.Tick())]
    for minute in range(3, 60):
        now = at(minutes=minute)
        facts += kinds(machine, now, a_list(now, *listed), *beats(1), msg.Tick())
    assert facts == ["node_lost"] * 4 + ["repair_halted"]
    healed = kinds(machine, at(hours=1), *beats(1, 2, 3, 4, 5))
    assert healed == ["node_returned"] * 4 + ["repair_half_opened"]
    everybody = [*beats(1, 2, 3, 4, 5), msg.Tick()]
    assert kinds(machine, at(hours=1, seconds=89), *everybody) == []
    assert kinds(machine, at(hours=1, seconds=90), *everybody) == ["repair_continued"]


def test_an_orphan_is_found_ended_and_forgotten() -> None:
    machine = Machine(a_fleet(1))
    stray = a_list(at(minutes=1), a_machine(1), a_machine(9))
    assert kinds(machine, at(minutes=1), *beats(1), stray, msg.Tick()) == []
    again = a_list(at(minutes=2), a_machine(1), a_machine(9))
    assert kinds(machine, at(minutes=2), *beats(1), again, msg.Tick()) == ["orphan_condemned"]
    assert Terminate(PROVIDER, "m-9") in machine.owed(at(minutes=2))
    machine.step([msg.TerminateAnswered(PROVIDER, "m-9")], at(minutes=2))
    gone = a_list(at(minutes=3), a_machine(1))
    assert kinds(machine, at(minutes=3), *beats(1), gone) == ["orphan_removed"]
    assert sighted(machine.fleet, gone).strays == {}


def tries(machine: Machine, failure: str, seconds: int) -> list[int]:
    """Refuse every launch in this way, and return the seconds in which one was owed."""
    tried = []
    for second in range(seconds):
        now = at(seconds=second)
        machine.step([msg.Tick()], now)
        for action in list(machine.owed(now)):
            if isinstance(action, Launch):
                tried.append(second)
                machine.step([msg.LaunchRefused(action.instance_id, failure, "no")], now)
    return tried


@pytest.mark.parametrize(
    "failure,first,number",
    [("NoCapacity", 30, 6), ("Throttled", 5, 9), ("Unauthorized", 900, 2), ("NotFound", 5, 9)],
)
def test_a_provider_that_refuses_is_asked_less_and_less_often(
    failure: str, first: int, number: int
) -> None:
    tried = tries(Machine(a_fleet(0, target=1)), failure, 1200)
    assert (tried[0], len(tried)) == (0, number)
    assert first <= tried[1] <= first * 1.2 + 1
    gaps = [later - earlier for earlier, later in pairwise(tried)]
    assert gaps[:6] == sorted(gaps[:6])
    assert max(gaps) <= 900 * 1.2 + 1
