"""The workload manager: what it is owed, what its answers teach, and whose wish a refusal ends."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from factories import (
    SETTINGS,
    a_finding,
    a_fleet,
    a_spec,
    at,
    check,
    condemned,
    ending,
    fold_all,
    mending,
    name,
    releasing,
    running,
    sick,
)
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.actions import Action, AskDrained, Tell
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Outcome, Stage, Told
from navarch.core.model.node import Intent, Node
from navarch.core.settings import Settings
from navarch.core.strategies import Strategies

MANAGED = replace(SETTINGS, workload_manager=True)
NODE = name(1)
NOTICES = (Tell, AskDrained)


class World:
    """A control plane that tells a workload manager about two nodes."""

    def __init__(self, *facts: ev.Fact, settings: Settings = MANAGED, **spec: object) -> None:
        """Begin when these facts have been folded."""
        self.machine = Machine(a_fleet(2, *facts, spec=a_spec(**spec)), Strategies(settings))
        self.seconds = 0.0
        self.step()

    @property
    def now(self) -> datetime:
        """The time of the next step."""
        return at(seconds=self.seconds)

    @property
    def node(self) -> Node:
        """The node that it is about."""
        return self.machine.fleet.nodes[NODE]

    def step(self, *batch: msg.Message, after: float = 0) -> list[str]:
        """Step, and return what happened."""
        self.seconds += after
        beats = [msg.Heartbeat(id_) for id_ in self.machine.fleet.nodes]
        facts = self.machine.step([*beats, *batch, msg.Tick()], self.now).facts
        return [ev.kind(fact) for fact in facts]

    def wishes(self, type_: CommandType) -> None:
        """Let an operator ask for this."""
        self.step(msg.IssueCommand(NODE, type_, reason="a test"))

    def owed(self) -> list[Action]:
        """Return what the manager is owed about the node."""
        notices = (each for each in self.machine.owed(self.now) if isinstance(each, NOTICES))
        return [each for each in notices if each.node_id == NODE]

    def telling(self) -> list[Told]:
        """Return what it is to be told."""
        return [each.told for each in self.owed() if isinstance(each, Tell)]

    def agrees(self, told: Told) -> list[str]:
        """Let it agree."""
        return self.step(msg.WorkloadAnswered(NODE, told))

    def refuses(self, told: Told, error: str = "no access") -> list[str]:
        """Let it say no."""
        return self.step(msg.WorkloadAnswered(NODE, told, error, refused=True))

    def is_unavailable(self, told: Told) -> list[str]:
        """Let it say nothing."""
        return self.step(msg.WorkloadAnswered(NODE, told, "timeout"))


def a_repair(rung: Remedy = Remedy.REBOOT) -> list[ev.Fact]:
    return [sick(1, at(), a_finding(rung, code=119)), mending(1, at(), rung)]


# --- what it is to know ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts,expected",
    [
        ([], Told.OPEN),
        ([sick(1, at())], Told.OPEN),
        ([ev.IntentChanged(at(), NODE, Intent.CORDONED, "so")], Told.CORDONED),
        ([ev.IntentChanged(at(), NODE, Intent.DRAINING, "so")], Told.DRAINING),
        ([ev.IntentChanged(at(), NODE, Intent.DRAINED, "so")], Told.CORDONED),
        ([releasing(1)], Told.DRAINING),
        ([sick(1, at()), condemned(1, at(), "sickness")], Told.CORDONED),
        (
            [
                sick(1, at()),
                condemned(1, at(), "sickness"),
                ev.DrainBegun(at(), NODE, "replaced"),
            ],
            Told.DRAINING,
        ),
        (a_repair(), Told.DRAINING),
        ([*a_repair(), ev.RepairAdvanced(at(), NODE, Stage.ACTING, "so", "c")], Told.DRAINING),
        ([*a_repair(), ev.RepairAdvanced(at(), NODE, Stage.PROBATION, "so")], Told.CORDONED),
        ([*a_repair(), ev.RepairEnded(at(), NODE, Outcome.SUCCEEDED, "so")], Told.OPEN),
        ([*a_repair(), ev.RepairEnded(at(), NODE, Outcome.FAILED, "so")], Told.CORDONED),
        ([*a_repair(), ev.RepairEnded(at(), NODE, Outcome.REVOKED, "so")], Told.OPEN),
        ([sick(1, at()), ev.NodeHandedOver(at(), NODE, "a person has to look")], Told.CORDONED),
    ],
)
def test_what_it_has_to_know_follows_from_the_node(facts: list[ev.Fact], expected: Told) -> None:
    """A bad verdict alone closes nothing: only what repair has taken on is kept from work."""
    node = a_fleet(1, *facts).nodes[NODE]
    assert node.workload is expected
    assert node.untold == (expected is not Told.OPEN)


def test_where_nobody_is_to_be_told_nobody_is() -> None:
    world = World(settings=SETTINGS)
    world.wishes(CommandType.CORDON)
    assert world.owed() == []
    assert world.node.telling is None


def test_a_word_is_written_down_before_it_is_said() -> None:
    world = World()
    assert world.owed() == []
    facts = world.step(msg.IssueCommand(NODE, CommandType.CORDON))
    assert facts == ["command_issued", "intent_changed", "workload_telling"]
    assert world.telling() == [Told.CORDONED]
    assert world.agrees(Told.CORDONED) == ["workload_told"]
    assert (world.owed(), world.node.told, world.node.untold) == ([], Told.CORDONED, False)
    assert world.agrees(Told.CORDONED) == []


def test_a_drain_has_a_deadline_unless_it_is_to_be_waited_for() -> None:
    for overrun, deadline in (("end", at() + SETTINGS.drain_timeout), ("wait", None)):
        world = World(settings=replace(MANAGED, drain_overrun=overrun))
        world.wishes(CommandType.DRAIN)
        (tell,) = world.owed()
        assert isinstance(tell, Tell)
        assert (tell.told, tell.deadline) == (Told.DRAINING, deadline)


def test_a_cordon_has_no_deadline_and_each_wish_its_number() -> None:
    world = World()
    numbers = []
    for type_ in (CommandType.CORDON, CommandType.UNCORDON, CommandType.CORDON):
        world.wishes(type_)
        (tell,) = world.owed()
        assert isinstance(tell, Tell)
        assert tell.deadline is None
        numbers.append(tell.intent)
        world.agrees(tell.told)
    assert numbers == [1, 2, 3]


def test_an_ended_node_is_told_of_no_more() -> None:
    world = World()
    world.wishes(CommandType.DRAIN)
    fold_all(ending(1, at()), fleet=world.machine.fleet)
    assert world.owed() == []
    assert "workload_refused" not in world.refuses(Told.DRAINING)


# --- answers ---------------------------------------------------------------------------------


def test_who_can_not_be_reached_is_told_again() -> None:
    world = World()
    world.wishes(CommandType.CORDON)
    assert world.is_unavailable(Told.CORDONED) == []
    assert world.telling() == []
    world.seconds += SETTINGS.effect_retry.total_seconds() - 1
    assert world.telling() == []
    world.seconds += 1
    assert world.telling() == [Told.CORDONED]
    assert world.node.intent is Intent.CORDONED


def test_what_may_have_been_heard_is_taken_back_too() -> None:
    """The answer was lost, and the wish is withdrawn: the manager may hold the node closed."""
    world = World()
    world.wishes(CommandType.CORDON)
    world.is_unavailable(Told.CORDONED)
    world.wishes(CommandType.UNCORDON)
    assert (world.node.told, world.node.workload) == (Told.OPEN, Told.OPEN)
    world.seconds += 60
    assert world.telling() == [Told.OPEN]
    world.agrees(Told.OPEN)
    assert (world.owed(), world.node.telling) == ([], None)


def test_a_crash_between_word_and_answer_owes_it_again() -> None:
    world = World()
    world.wishes(CommandType.CORDON)
    fleet = world.machine.fleet
    world.machine = Machine(fleet, Strategies(MANAGED))
    world.step(msg.Resume("0.1.0"))
    assert world.telling() == [Told.CORDONED]
    world.wishes(CommandType.UNCORDON)
    assert world.telling() == [Told.OPEN]


def test_an_answer_that_comes_late_says_what_it_was_told() -> None:
    world = World()
    world.wishes(CommandType.CORDON)
    world.wishes(CommandType.UNCORDON)
    assert world.agrees(Told.CORDONED) == ["workload_told"]
    assert world.telling() == [Told.OPEN]


def test_answers_about_nobody_teach_nothing_and_leave_nothing() -> None:
    world = World()
    for answer in (
        msg.WorkloadAnswered("nobody", Told.OPEN, "timeout"),
        msg.DrainAnswered("nobody", done=True),
    ):
        assert world.step(answer) == []
    assert (world.machine.sightings.tried, world.machine.sightings.drains) == ({}, {})


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "type_,told", [(CommandType.CORDON, Told.CORDONED), (CommandType.DRAIN, Told.DRAINING)]
)
def test_a_refused_wish_is_taken_back(type_: CommandType, told: Told) -> None:
    """A cordon that does not hold must not look like one."""
    world = World()
    world.wishes(type_)
    assert world.refuses(told)[:2] == ["workload_refused", "intent_changed"]
    node = world.node
    assert (node.intent, node.because) == (
        Intent.IN_SERVICE,
        "the workload manager refuses: no access",
    )


@pytest.mark.parametrize("held", [Intent.DRAINED, Intent.DRAINING, Intent.CORDONED])
def test_what_holds_instead_is_what_it_was_told_before(held: Intent) -> None:
    world = World()
    if held is Intent.CORDONED:
        world.wishes(CommandType.CORDON)
        world.agrees(Told.CORDONED)
    else:
        world.wishes(CommandType.DRAIN)
        world.agrees(Told.DRAINING)
        world.step(msg.DrainAnswered(NODE, done=held is Intent.DRAINED, text="idle"))
    world.wishes(CommandType.UNCORDON)
    world.refuses(Told.OPEN)
    assert world.node.intent is held


def test_the_next_wish_does_not_wait_for_the_refused_one() -> None:
    world = World()
    world.wishes(CommandType.CORDON)
    world.refuses(Told.CORDONED)
    world.step(after=60)
    for told in world.telling():
        world.agrees(told)
    world.wishes(CommandType.DRAIN)
    assert world.telling() == [Told.DRAINING]


def test_what_repair_wants_is_asked_for_again_after_a_while() -> None:
    world = World(*a_repair(), ladder=(Remedy.REBOOT,))
    assert world.telling() == [Told.DRAINING]
    assert world.refuses(Told.DRAINING) == ["workload_refused"]
    node = world.node
    assert (node.intent, node.refusal) == (
        Intent.IN_SERVICE,
        "the workload manager refuses: no access",
    )
    world.step(after=60)
    assert world.telling() == []
    world.step(after=MANAGED.refusal_retry.total_seconds() - 60)
    assert world.telling() == [Told.DRAINING]
    world.agrees(Told.DRAINING)
    assert (world.node.refusal, world.node.refused_at) == ("", None)


@pytest.mark.parametrize("how", ["release", "repair"])
def test_what_nobody_wished_is_not_taken_for_a_wish(how: str) -> None:
    """A release was called back, or a repair has ended: the manager refuses to open the node."""
    world = World(*([releasing(1)] if how == "release" else a_repair()), ladder=(Remedy.REBOOT,))
    if how == "release":
        fold_all(ev.WorkloadTelling(at(), NODE, Told.DRAINING, "so"), fleet=world.machine.fleet)
        fold_all(ev.WorkloadTold(at(), NODE, Told.DRAINING, "so"), fleet=world.machine.fleet)
        fold_all(ev.ReleaseRevoked(at(), NODE, "wanted"), fleet=world.machine.fleet)
    else:
        world.agrees(Told.DRAINING)
        fold_all(ev.RepairEnded(at(), NODE, Outcome.SUCCEEDED, "so"), fleet=world.machine.fleet)
    world.step()
    assert world.telling() == [Told.OPEN]
    assert world.refuses(Told.OPEN) == ["workload_refused"]
    assert world.node.intent is Intent.IN_SERVICE


def test_a_refusal_of_something_that_is_not_wanted_any_more_takes_nothing_back() -> None:
    world = World()
    world.wishes(CommandType.CORDON)
    world.wishes(CommandType.DRAIN)
    assert "intent_changed" not in world.refuses(Told.CORDONED)
    assert world.node.intent is Intent.DRAINING


# --- drains ----------------------------------------------------------------------------------


def test_a_drain_is_asked_about_until_it_is_done() -> None:
    world = World()
    world.wishes(CommandType.DRAIN)
    world.agrees(Told.DRAINING)
    asked = []
    for _ in range(30):
        if AskDrained(NODE) in world.owed():
            asked.append(world.seconds)
            world.step(msg.DrainAnswered(NODE, done=False, text="2 jobs are left"))
        world.seconds += 1
    assert asked == [0, 10, 20]
    assert world.machine.sightings.drains == {NODE: "2 jobs are left"}
    facts = world.step(msg.DrainAnswered(NODE, done=True, text="idle"))
    assert facts == ["node_emptied", "intent_changed"]
    node = world.node
    assert (node.intent, node.workload, node.untold) == (Intent.DRAINED, Told.CORDONED, False)
    assert world.owed() == []


def test_the_agents_word_does_not_count_where_slurm_is_told() -> None:
    world = World()
    world.wishes(CommandType.DRAIN)
    world.agrees(Told.DRAINING)
    (command,) = world.machine.fleet.commands_for(NODE)
    acknowledged = msg.AckCommand(NODE, command.id, CommandState.SUCCEEDED, "drained")
    assert world.step(acknowledged) == ["command_finished"]
    assert world.node.intent is Intent.DRAINING


def test_an_answer_about_a_drain_that_was_called_off_says_nothing() -> None:
    world = World()
    world.wishes(CommandType.DRAIN)
    world.agrees(Told.DRAINING)
    world.wishes(CommandType.UNCORDON)
    world.agrees(Told.OPEN)
    assert world.step(msg.DrainAnswered(NODE, done=True)) == []


def test_a_node_that_repair_has_emptied_is_asked_about_again_when_an_operator_drains_it() -> None:
    world = World(*a_repair(), ladder=(Remedy.REBOOT,))
    world.agrees(Told.DRAINING)
    world.step(msg.DrainAnswered(NODE, done=True))
    assert world.node.emptied_at is not None
    world.wishes(CommandType.DRAIN)
    world.seconds += 60
    assert world.owed() == [AskDrained(NODE)]
    world.step(msg.DrainAnswered(NODE, done=True))
    assert world.node.intent is Intent.DRAINED


def test_a_whole_repair_is_told_drained_held_and_opened() -> None:
    world = World(*a_repair(), ladder=(Remedy.REBOOT,))
    told = []
    for minute in range(16):
        for action in world.owed():
            if isinstance(action, Tell):
                told.append((minute, action.told.value))
                world.agrees(action.told)
            else:
                world.step(msg.DrainAnswered(NODE, done=minute >= 2))
        acks: list[msg.Message] = [
            msg.AckCommand(NODE, command.id, CommandState.SUCCEEDED)
            for command in world.machine.fleet.commands_for(NODE)
        ]
        report = msg.ReportHealth(NODE, (check(),))
        world.step(msg.PollCommands(NODE), *acks, report, after=60)
    assert told == [(0, "draining"), (13, "open")]
    assert world.node.told is Told.OPEN


# --- memory ----------------------------------------------------------------------------------


def test_what_was_seen_of_a_node_is_forgotten_with_it() -> None:
    world = World()
    world.wishes(CommandType.DRAIN)
    world.is_unavailable(Told.DRAINING)
    world.agrees(Told.DRAINING)
    world.step(msg.DrainAnswered(NODE, done=False, text="busy"))
    gone = ev.InstanceTerminated(world.now, NODE, "gone")
    fold_all(ending(1, world.now), gone, fleet=world.machine.fleet)
    world.step(after=(SETTINGS.retain_terminated + timedelta(minutes=1)).total_seconds())
    seen = world.machine.sightings
    assert NODE not in world.machine.fleet.nodes
    assert not [key for key in (*seen.tried, *seen.drains) if NODE in key]


def test_nodes_of_a_fleet_are_told_each_for_itself() -> None:
    fleet: Fleet = a_fleet(0, *running(1), *running(2))
    machine = Machine(fleet, Strategies(MANAGED))
    machine.step([msg.IssueCommand(name(n), CommandType.CORDON) for n in (1, 2)], at())
    keys = [action.key for action in machine.owed(at()) if isinstance(action, Tell)]
    assert keys == [f"tell {name(1)}", f"tell {name(2)}"]
