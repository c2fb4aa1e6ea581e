"""Resets and reboots: drained, given, on probation, over; and what ends each stage early."""

from __future__ import annotations

from datetime import datetime

import pytest
from msgspec.structs import replace

from factories import (
    BY_XID,
    POOL,
    SETTINGS,
    a_finding,
    a_fleet,
    a_list,
    a_machine,
    a_spec,
    at,
    check,
    condemned,
    drained,
    fold_all,
    lost,
    mending,
    name,
    releasing,
    sick,
    well,
    xid,
)
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.finding import Finding, Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Outcome, Stage, Told
from navarch.core.model.node import Intent
from navarch.core.model.report import Health
from navarch.core.repair import in_place
from navarch.core.settings import Settings
from navarch.core.strategies import Strategies

BEGUN = at(minutes=1)
DRAINED = at(minutes=2)
PROVED = at(minutes=12)
DRAIN = "cmd-k3f9-000001"
ACT = "cmd-k3f9-000002"
RESET = a_finding(Remedy.RESET_GPU, code=95)
MANAGED = replace(SETTINGS, workload_manager=True)


def advanced(fleet: Fleet, now: datetime = DRAINED, settings: Settings = SETTINGS) -> list[ev.Fact]:
    return list(in_place.advanced(fleet, now, settings))


def to_drain(n: int = 1, nth: int = 1) -> ev.CommandIssued:
    """Return the command that a repair begins with."""
    expires_at = BEGUN + SETTINGS.command_timeout
    command_id = f"cmd-k3f9-00000{nth}"
    return ev.CommandIssued(BEGUN, command_id, name(n), CommandType.DRAIN, expires_at)


def draining(*facts: ev.Fact, finding: Finding = RESET, rung: Remedy = Remedy.RESET_GPU) -> Fleet:
    """Return a fleet whose node 1 is drained to be repaired."""
    return a_fleet(3, sick(1, at(), finding), mending(1, BEGUN, rung), to_drain(), *facts)


def acting(*facts: ev.Fact, rung: Remedy = Remedy.RESET_GPU) -> Fleet:
    """Return a fleet whose node 1 has been given the command that repairs it."""
    finding = RESET if rung is Remedy.RESET_GPU else a_finding(rung, code=119)
    fleet = draining(drained(1, to_drain(), at(minutes=2)), finding=finding, rung=rung)
    return fold_all(advanced(fleet), *facts, fleet=fleet)


def on_probation(*facts: ev.Fact) -> Fleet:
    """Return a fleet whose node 1 was reset at minute 3."""
    fleet = acting(result(CommandState.SUCCEEDED))
    return fold_all(advanced(fleet, at(minutes=3)), *facts, fleet=fleet)


def result(state: CommandState, text: str = "so it was") -> ev.CommandFinished:
    return ev.CommandFinished(at(minutes=3), ACT, name(1), state, text)


def ended(facts: list[ev.Fact]) -> tuple[Outcome, str, bool]:
    """Return how a repair ended, why, and whether the agent is told to take work again."""
    ending, *more = facts
    assert isinstance(ending, ev.RepairEnded)
    for fact in more:
        assert isinstance(fact, ev.CommandIssued)
        assert fact.type is CommandType.UNCORDON
    return ending.outcome, ending.because, bool(more)


# --- draining --------------------------------------------------------------------------------


def test_a_node_that_is_not_empty_is_waited_for() -> None:
    assert advanced(draining()) == []
    assert advanced(draining(), at(minutes=16)) == []


def test_an_empty_node_gets_its_command() -> None:
    fleet = draining(drained(1, to_drain(), at(minutes=2)))
    command = ev.CommandIssued(
        at(minutes=2),
        ACT,
        name(1),
        CommandType.GPU_RESET,
        at(minutes=32),
        {"gpu": "0"},
        "it is sick",
    )
    advance = ev.RepairAdvanced(at(minutes=2), name(1), Stage.ACTING, "it is drained", ACT, "0")
    assert advanced(fleet) == [command, advance]
    fold_all(command, advance, fleet=fleet)
    repair = fleet.nodes[name(1)].repair
    assert repair is not None
    assert (repair.stage, repair.command_id) == (Stage.ACTING, ACT)
    assert advanced(fleet) == []


def test_a_reset_of_several_gpus_is_for_all() -> None:
    other = replace(RESET, event=xid(95, gpu_index=4))
    fleet = draining(drained(1, to_drain(), at(minutes=2)))
    fold_all(sick(1, at(minutes=2), RESET, other), fleet=fleet)
    command = advanced(fleet)[0]
    assert isinstance(command, ev.CommandIssued)
    assert command.parameters == {"gpu": "all"}


def test_a_reboot_has_no_parameters() -> None:
    fleet = draining(drained(1, to_drain(), at(minutes=2)), rung=Remedy.REBOOT)
    command = advanced(fleet)[0]
    assert isinstance(command, ev.CommandIssued)
    assert (command.type, command.parameters) == (CommandType.REBOOT, {})


def test_an_older_drain_does_not_say_that_it_is_empty_now() -> None:
    """The operator's drain was acknowledged before the repair began, and work may have come."""
    before: list[ev.Fact] = [to_drain(), drained(1, to_drain(), at(seconds=30))]
    fleet = a_fleet(3, sick(1, at(), RESET), before, mending(1, BEGUN))
    assert fleet.nodes[name(1)].drained_at is None
    assert advanced(fleet) == []


def test_a_drain_that_takes_too_long_is_over() -> None:
    """Fifteen minutes; a restart of ours is no reason to cut a drain short."""
    facts = advanced(draining(), at(minutes=16, seconds=1))
    assert isinstance(facts[1], ev.RepairAdvanced)
    assert facts[1].because == "not drained within 0:15:00"
    resumed = ev.Resumed(at(minutes=10), "0.1.0")
    assert advanced(draining(resumed), at(minutes=25)) == []
    assert len(advanced(draining(resumed), at(minutes=25, seconds=1))) == 2


def test_where_drains_are_waited_for_it_is_never_over() -> None:
    patient = replace(SETTINGS, drain_overrun="wait")
    assert advanced(draining(), at(hours=99), patient) == []


def test_where_slurm_or_its_like_is_told_it_alone_knows() -> None:
    fleet = draining(drained(1, to_drain(), at(minutes=2)))
    assert advanced(fleet, settings=MANAGED) == []
    fold_all(ev.NodeEmptied(at(minutes=2), name(1), "idle"), fleet=fleet)
    advance = advanced(fleet, settings=MANAGED)[1]
    assert isinstance(advance, ev.RepairAdvanced)
    assert advance.because == "the workload manager has drained it"


def test_a_node_that_is_well_again_is_left_alone() -> None:
    fleet = draining(well(1, at(minutes=2)))
    assert ended(advanced(fleet)) == (Outcome.REVOKED, "it is healthy", True)
    fold_all(advanced(fleet), fleet=fleet)
    node = fleet.nodes[name(1)]
    assert (node.repair, node.workload) == (None, Told.OPEN)
    assert [attempt.outcome for attempt in node.attempts] == [Outcome.REVOKED]


def test_a_node_that_nothing_asks_to_repair_any_more_is_left_alone() -> None:
    """XID 154 has settled the debt; another finding keeps it unhealthy, and is only watched."""
    watched = a_finding(Remedy.OBSERVE)
    fleet = draining(sick(1, at(minutes=2), watched))
    because = "nothing that stands against it asks for a repair any more"
    assert ended(advanced(fleet)) == (Outcome.REVOKED, because, True)


def test_a_node_that_falls_silent_meanwhile_is_left_to_the_silence() -> None:
    """Otherwise its repair would use the budget up that its replacement needs."""
    outcome, because, _ = ended(advanced(draining(lost(1, at(minutes=2)))))
    assert (outcome, because) == (Outcome.REVOKED, "it fell silent, and is replaced for that")


@pytest.mark.parametrize(
    "fact",
    [ev.PoolPaused(BEGUN, POOL, "maintenance"), ev.PoolRetired(BEGUN, POOL, "not in the file")],
)
def test_in_a_sleeping_pool_nothing_is_done_to_a_drained_node(fact: ev.Fact) -> None:
    fleet = draining(drained(1, to_drain(), at(minutes=2)), fact)
    assert advanced(fleet, at(hours=9)) == []
    fold_all(well(1, at(hours=9)), fleet=fleet)
    assert ended(advanced(fleet, at(hours=9)))[0] is Outcome.REVOKED


# --- acting ----------------------------------------------------------------------------------


def test_a_command_that_succeeded_is_followed_by_probation() -> None:
    fleet = acting(result(CommandState.SUCCEEDED, "reset GPU 0"))
    assert advanced(fleet, at(minutes=3)) == [
        ev.RepairAdvanced(at(minutes=3), name(1), Stage.PROBATION, "reset GPU 0", ACT)
    ]
    assert on_probation().nodes[name(1)].workload is Told.CORDONED


@pytest.mark.parametrize("state", [CommandState.FAILED, CommandState.REFUSED, CommandState.EXPIRED])
def test_a_command_that_came_to_nothing_ends_the_repair(state: CommandState) -> None:
    fleet = acting(result(state, "GPU 0 is in use"))
    because = f"command {ACT} {state.value}: GPU 0 is in use"
    assert ended(advanced(fleet, at(minutes=3))) == (Outcome.FAILED, because, False)
    fold_all(advanced(fleet, at(minutes=3)), fleet=fleet)
    node = fleet.nodes[name(1)]
    assert (node.health, node.findings) == (Health.UNHEALTHY, (RESET,))


@pytest.mark.parametrize("rung,minutes", [(Remedy.RESET_GPU, 5), (Remedy.REBOOT, 20)])
def test_each_command_has_its_time(rung: Remedy, minutes: int) -> None:
    fleet = acting(result(CommandState.RUNNING), rung=rung)
    assert advanced(fleet, at(minutes=2 + minutes)) == []
    late = at(minutes=2 + minutes, seconds=1)
    because = f"not done within 0:{minutes:02}:00"
    assert ended(advanced(fleet, late)) == (Outcome.FAILED, because, False)


def test_a_restart_of_ours_gives_a_command_its_time_again() -> None:
    fleet = acting(ev.Resumed(at(minutes=6), "0.1.0"))
    assert advanced(fleet, at(minutes=11)) == []
    assert ended(advanced(fleet, at(minutes=11, seconds=1)))[0] is Outcome.FAILED


def test_a_command_that_is_not_known_any_more_has_failed() -> None:
    forgotten = ev.RecordsForgotten(at(minutes=3), "old", commands=(ACT,))
    because = "nothing is known of the command any more"
    assert ended(advanced(acting(forgotten))) == (Outcome.FAILED, because, False)


def test_a_node_that_is_lost_while_it_reboots_is_not_condemned() -> None:
    """It is silent because it was told to be; it has twenty minutes to come back."""
    machine = Machine(acting(lost(1, at(minutes=4)), rung=Remedy.REBOOT))
    facts: list[ev.Fact] = []
    for minute in range(5, 22):
        listed = a_list(at(minutes=minute), *map(a_machine, (1, 2, 3)))
        beats = [msg.Heartbeat(name(n)) for n in (2, 3)]
        facts += machine.step([listed, *beats, msg.Tick()], at(minutes=minute)).facts
    assert facts == []
    back = result(CommandState.SUCCEEDED, "rebooted")
    acknowledged = msg.AckCommand(name(1), ACT, back.state, back.message)
    step = machine.step([msg.Heartbeat(name(1)), acknowledged], at(minutes=22))
    assert [ev.kind(fact) for fact in step.facts] == [
        "node_returned",
        "command_finished",
        "repair_advanced",
    ]


def test_a_node_that_does_not_come_back_is_replaced_for_its_silence() -> None:
    machine = Machine(acting(lost(1, at(minutes=4)), rung=Remedy.REBOOT))
    now = at(minutes=22, seconds=1)
    listed = a_list(now, *map(a_machine, (1, 2, 3)))
    step = machine.step([listed, *(msg.Heartbeat(name(n)) for n in (2, 3)), msg.Tick()], now)
    kinds = [ev.kind(fact) for fact in step.facts]
    assert kinds == ["repair_ended", "instance_condemned", "launch_requested"]
    assert machine.fleet.instances[name(1)].condemned_for == "silence"


# --- probation -------------------------------------------------------------------------------


def clean(reports: int, when: datetime = PROVED) -> ev.HealthJudged:
    """Return that so many clean reports followed in a row; the debt still stands."""
    return replace(sick(1, when, RESET), clean_reports=reports)


@pytest.mark.parametrize(
    "reports,minutes", [(2, 13), (9, 12.9), (2, 62)], ids=["few", "early", "few for long"]
)
def test_it_has_not_helped_before_there_were_clean_reports_and_a_time(
    reports: int, minutes: float
) -> None:
    """Ten minutes after the reset at minute 3."""
    assert advanced(on_probation(clean(reports)), at(minutes=minutes)) == []


def test_it_has_helped_after_clean_reports_and_a_time() -> None:
    because = "3 clean reports in a row, 0:10:00 after it"
    facts = advanced(on_probation(clean(3)), at(minutes=13))
    assert ended(facts) == (Outcome.SUCCEEDED, because, True)


def test_what_helped_has_paid_what_was_owed() -> None:
    note = a_finding(Remedy.RESTART_APP, code=13, status=Health.HEALTHY)
    judged = replace(clean(3), findings=(note, RESET))
    fleet = on_probation(judged)
    fold_all(advanced(fleet, at(minutes=13)), fleet=fleet)
    node = fleet.nodes[name(1)]
    assert (node.health, node.findings, node.bad_reports) == (Health.HEALTHY, (note,), 0)
    assert (node.repair, node.workload) == (None, Told.OPEN)


def test_clean_reports_are_counted_from_the_beginning_of_probation() -> None:
    before = replace(sick(1, at(minutes=2), RESET), clean_reports=7)
    fleet = acting(before, result(CommandState.SUCCEEDED))
    fold_all(advanced(fleet, at(minutes=3)), fleet=fleet)
    assert fleet.nodes[name(1)].clean_reports == 0


def test_a_node_that_relapses_often_has_to_show_more_of_them() -> None:
    often: list[ev.Fact] = []
    for minute in (4, 5):
        often += [well(1, at(minutes=minute)), sick(1, at(minutes=minute), RESET)]
    fleet = on_probation(*often, clean(11))
    assert advanced(fleet, at(minutes=20)) == []
    fold_all(clean(12), fleet=fleet)
    assert ended(advanced(fleet, at(minutes=20)))[0] is Outcome.SUCCEEDED


def test_the_same_fault_again_ends_it_at_once() -> None:
    again = replace(RESET, seen=at(minutes=4))
    facts = advanced(on_probation(sick(1, at(minutes=4), again)), at(minutes=4))
    assert ended(facts) == (Outcome.FAILED, "sick again: xid-95", False)


def test_another_fault_ends_it_too_but_an_old_one_does_not() -> None:
    heat = a_finding(code=0, rule="thermal", when=at(minutes=4), because="97 °C")
    fleet = on_probation(sick(1, at(minutes=4), RESET, heat))
    assert ended(advanced(fleet, at(minutes=4)))[:2] == (Outcome.FAILED, "sick again: 97 °C")
    degraded = replace(heat, status=Health.DEGRADED)
    assert advanced(on_probation(sick(1, at(minutes=4), RESET, degraded)), at(minutes=4)) == []


def test_an_hour_without_enough_clean_reports_is_too_long() -> None:
    facts = advanced(on_probation(clean(2)), at(minutes=63, seconds=1))
    assert ended(facts) == (Outcome.FAILED, "2 of 3 clean reports within 1:00:00", False)


def test_a_node_that_falls_silent_on_probation_has_not_been_helped() -> None:
    """It is replaced for its silence then, which the budget must not wait an hour for."""
    facts = advanced(on_probation(lost(1, at(minutes=5))), at(minutes=5))
    assert ended(facts) == (Outcome.FAILED, "silent for 91 s", False)


# --- who else has a say ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "fact",
    [
        ev.IntentChanged(at(minutes=5), name(1), Intent.CORDONED, "by an operator"),
        ev.IntentChanged(at(minutes=5), name(1), Intent.DRAINED, "by an operator"),
        releasing(1, at(minutes=5)),
        condemned(1, at(minutes=5)),
    ],
)
def test_a_node_that_somebody_else_has_closed_is_not_opened(fact: ev.Fact) -> None:
    facts = advanced(on_probation(clean(3), fact), at(minutes=13))
    assert ended(facts)[::2] == (Outcome.SUCCEEDED, False)


def test_two_repairs_that_move_in_one_step_have_two_commands() -> None:
    fleet = a_fleet(3, *(sick(n, at(), RESET) for n in (1, 2)), mending(1, BEGUN))
    fold_all(to_drain(1, 1), mending(2, BEGUN), to_drain(2, 2), fleet=fleet)
    fold_all(drained(1, to_drain(1, 1), BEGUN), drained(2, to_drain(2, 2), BEGUN), fleet=fleet)
    facts = advanced(fleet)
    issued = [fact.command_id for fact in facts if isinstance(fact, ev.CommandIssued)]
    assert issued == ["cmd-k3f9-000003", "cmd-k3f9-000004"]


# --- a whole repair --------------------------------------------------------------------------


def world(*facts: ev.Fact) -> Machine:
    """Return a machine that judges by XIDs, and may climb the whole ladder."""
    rungs = (Remedy.RESET_GPU, Remedy.REBOOT, Remedy.REPLACE)
    return Machine(a_fleet(3, *facts, spec=a_spec(ladder=rungs)), Strategies(policy=BY_XID))


def minute_by_minute(
    machine: Machine, begin: int, end: int, *, relapse: bool = False, comply: bool = True
) -> list[str]:
    """Let an agent report each minute and do what it is told; return what happened."""
    told: list[str] = []
    for minute in range(begin, end):
        now = at(minutes=minute)
        batch: list[msg.Message] = [msg.Heartbeat(name(n)) for n in (1, 2, 3)]
        batch.append(msg.PollCommands(name(1)))
        state = CommandState.SUCCEEDED if comply else CommandState.REFUSED
        for command in machine.fleet.commands_for(name(1)):
            done = CommandState.SUCCEEDED if command.type is CommandType.DRAIN else state
            batch.append(msg.AckCommand(name(1), command.id, done, "as told"))
        repair = machine.fleet.nodes[name(1)].repair
        again = relapse and repair is not None and repair.stage is Stage.PROBATION
        events = (xid(95, timestamp=now),) if again else ()
        batch.append(msg.ReportHealth(name(1), (check(),), events))
        step = machine.step([*batch, msg.Tick()], now)
        told += [_told(fact) for fact in step.facts if isinstance(fact, REPAIRS)]
    return told


REPAIRS = (
    ev.RepairStarted,
    ev.RepairAdvanced,
    ev.RepairEnded,
    ev.InstanceCondemned,
    ev.NodeHandedOver,
)


def _told(fact: ev.Fact) -> str:
    match fact:
        case ev.RepairStarted():
            return fact.rung.value
        case ev.RepairAdvanced():
            return fact.stage.value
        case ev.RepairEnded():
            return fact.outcome.value
        case _:
            return ev.kind(fact)


def test_an_xid_is_reported_confirmed_drained_reset_watched_and_paid() -> None:
    machine = world()
    machine.step([msg.ReportHealth(name(1), (check(),), (xid(95),))], at())
    assert minute_by_minute(machine, 1, 20) == ["reset_gpu", "acting", "probation", "succeeded"]
    node = machine.fleet.nodes[name(1)]
    assert (node.health, node.workload, node.intent) == (
        Health.HEALTHY,
        Told.OPEN,
        Intent.IN_SERVICE,
    )
    last = list(machine.fleet.commands.values())[-1]
    assert last.type is CommandType.UNCORDON


@pytest.mark.parametrize("how", [{"relapse": True}, {"comply": False}])
def test_repairs_that_do_not_help_climb_the_ladder(how: dict[str, bool]) -> None:
    machine = world()
    machine.step([msg.ReportHealth(name(1), (check(),), (xid(95),))], at())
    tries = ["acting", "failed"] if "comply" in how else ["acting", "probation", "failed"]
    assert minute_by_minute(machine, 1, 40, **how) == [
        "reset_gpu",
        *tries,
        "reboot",
        *tries,
        "instance_condemned",
    ]
