"""Condemned machines: kept if they are well again; else replaced, then drained, then ended."""

from __future__ import annotations

from datetime import datetime

import pytest
from msgspec.structs import replace

from factories import (
    BY_XID,
    POOL,
    SETTINGS,
    a_fleet,
    a_list,
    a_machine,
    a_spec,
    at,
    check,
    condemned,
    drained,
    fold_all,
    launched,
    lost,
    name,
    registered,
    requested,
    running,
    sick,
    sighted,
    well,
    xid,
)
from navarch.core.decide import decide
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Lemon, Told
from navarch.core.model.last_heard import LastHeard
from navarch.core.model.node import Contact, Intent, Phase
from navarch.core.model.report import Health
from navarch.core.model.sightings import Sightings
from navarch.core.repair import replacing
from navarch.core.settings import Settings
from navarch.core.strategies import Strategies

SILENT = at(minutes=2)
LATER = at(minutes=4)
MANAGED = replace(SETTINGS, workload_manager=True)
IN_PLACE = "replaced in place: the pool is at max_nodes"


def replaced(fleet: Fleet, now: datetime = LATER, settings: Settings = SETTINGS) -> list[ev.Fact]:
    return list(replacing.replaced(fleet, now, settings))


def ended(fleet: Fleet, now: datetime = LATER, settings: Settings = SETTINGS) -> list[str]:
    facts = replaced(fleet, now, settings)
    return [fact.instance_id for fact in facts if isinstance(fact, ev.TerminationRequested)]


def a_sick_fleet(*facts: ev.Fact, nodes: int = 2, target: int | None = None) -> Fleet:
    """Return a fleet whose node 1 is sick and condemned for it."""
    doomed: list[ev.Fact] = [sick(1, SILENT), condemned(1, at(minutes=3), "sickness")]
    return a_fleet(nodes, *doomed, *facts, target=target)


# --- silent ones -----------------------------------------------------------------------------


def test_a_silent_machine_waits_until_its_replacement_serves() -> None:
    fleet = a_fleet(2, lost(1, SILENT), condemned(1, at(minutes=3)), requested(3), launched(3))
    assert replaced(fleet) == []
    fold_all(registered(3), fleet=fleet)
    because = "replaced: 2 nodes serve, 2 wanted; silent for 91 s"
    assert replaced(fleet) == [ev.TerminationRequested(LATER, name(1), because)]


@pytest.mark.parametrize(
    "fact", [ev.HealthJudged(at(), name(3), Health.UNHEALTHY, "XID 79"), lost(3, SILENT)]
)
def test_another_node_in_trouble_does_not_hold_the_end_up(fact: ev.Fact) -> None:
    """Its own repair waits for the budget, which the condemned one uses up until it has ended."""
    fleet = a_fleet(3, lost(1, SILENT), condemned(1, at(minutes=3)), fact, target=2)
    because = "replaced: 2 of 2 nodes, none of them boots; silent for 91 s"
    assert replaced(fleet) == [ev.TerminationRequested(LATER, name(1), because)]


def test_a_condemned_machine_goes_when_nothing_is_wanted() -> None:
    fleet = a_fleet(1, lost(1, SILENT), condemned(1, at(minutes=3)), target=0)
    assert ended(fleet) == [name(1)]


def test_a_pool_at_its_maximum_is_repaired_in_place() -> None:
    spec = a_spec(max_nodes=2)
    fleet = a_fleet(2, lost(1, SILENT), condemned(1, at(minutes=3)), spec=spec)
    because = f"{IN_PLACE} 2; silent for 91 s"
    assert replaced(fleet) == [ev.TerminationRequested(LATER, name(1), because)]


@pytest.mark.parametrize("target,expected", [(4, 2), (3, 1), (2, 2), (0, 2)])
def test_in_place_no_more_are_ended_than_are_missing(target: int, expected: int) -> None:
    """Two of four are condemned; what serves already needs no place, and then both may go."""
    doomed = [condemned(1, SILENT), condemned(2, SILENT)]
    spec = a_spec(max_nodes=4)
    fleet = a_fleet(4, lost(1, SILENT), lost(2, SILENT), doomed, target=target, spec=spec)
    facts = replaced(fleet)
    assert len(facts) == expected
    assert replaced(fold_all(facts, fleet=fleet)) == []


def test_a_replacement_that_fills_the_pool_is_waited_for() -> None:
    spec = a_spec(max_nodes=4)
    fleet = a_fleet(3, lost(1, SILENT), condemned(1, at(minutes=3)), requested(4), spec=spec)
    assert replaced(fleet) == []


def test_a_sleeping_pool_ends_nothing() -> None:
    paused = ev.PoolPaused(at(), POOL, "maintenance")
    fleet = a_fleet(3, lost(1, SILENT), condemned(1, at(minutes=3)), paused, target=2)
    assert replaced(fleet) == []
    assert replaced(a_sick_fleet(paused, nodes=3, target=2)) == []


def test_a_silent_node_that_speaks_again_is_kept_and_its_replacement_goes() -> None:
    fleet = a_fleet(2, lost(1, SILENT), condemned(1, at(minutes=3)), requested(3, LATER))
    fold_all(ev.NodeReturned(LATER, name(1), "it speaks"), fleet=fleet)
    seen = sighted(fleet, a_list(LATER, *map(a_machine, (1, 2, 3))))
    seen.heard = LastHeard(dict.fromkeys(fleet.nodes, LATER))
    facts = decide(fleet, seen, LATER, Strategies())
    assert [(type(fact), ev.subjects(fact)) for fact in facts] == [
        (ev.TerminationRequested, (name(3),))
    ]


# --- sick ones are drained first -------------------------------------------------------------


def test_a_sick_machine_waits_until_its_replacement_serves_and_is_drained_then() -> None:
    fleet = a_sick_fleet(requested(3), launched(3))
    assert replaced(fleet) == []
    assert fleet.nodes[name(1)].phase is Phase.ACTIVE
    fold_all(registered(3), fleet=fleet)
    facts = replaced(fleet)
    because = "replaced: 2 nodes serve, 2 wanted"
    drain = ev.CommandIssued(
        LATER,
        "cmd-k3f9-000001",
        name(1),
        CommandType.DRAIN,
        LATER + SETTINGS.command_timeout,
        reason="it is replaced",
    )
    assert facts == [ev.DrainBegun(LATER, name(1), because), drain]
    fold_all(facts, fleet=fleet)
    node = fleet.nodes[name(1)]
    assert (node.phase, node.workload) == (Phase.LEAVING, Told.DRAINING)
    assert replaced(fleet) == []


def drains(fleet: Fleet) -> Fleet:
    """Begin the drains that are due."""
    return fold_all(replaced(fleet), fleet=fleet)


def test_a_drained_machine_is_ended_and_says_all_its_reasons() -> None:
    fleet = drains(a_sick_fleet(*running(3)))
    drain = ev.CommandIssued(LATER, "cmd-k3f9-000001", name(1), CommandType.DRAIN, at(hours=1))
    fold_all(drained(1, drain, at(minutes=5)), fleet=fleet)
    because = "replaced: 2 nodes serve, 2 wanted; it is drained; it is sick"
    assert replaced(fleet, at(minutes=5)) == [
        ev.TerminationRequested(at(minutes=5), name(1), because)
    ]


def test_a_drain_of_before_does_not_count() -> None:
    before = ev.CommandIssued(at(), "cmd-k3f9-000001", name(1), CommandType.DRAIN, at(hours=1))
    fleet = drains(a_sick_fleet(before, drained(1, before, at(minutes=1)), *running(3)))
    assert ended(fleet, at(minutes=5)) == []


def test_a_drain_that_takes_too_long_ends_in_the_end_unless_it_is_to_be_waited_for() -> None:
    fleet = drains(a_sick_fleet(*running(3)))
    assert ended(fleet, at(minutes=19)) == []
    assert ended(fleet, at(minutes=19, seconds=1)) == [name(1)]
    assert ended(fleet, at(hours=99), replace(SETTINGS, drain_overrun="wait")) == []


def test_a_machine_that_falls_silent_while_it_is_drained_is_ended() -> None:
    fleet = drains(a_sick_fleet(*running(3)))
    assert ended(fold_all(lost(1, at(minutes=5)), fleet=fleet), at(minutes=5)) == [name(1)]


def test_slurm_or_its_like_says_when_a_machine_is_empty() -> None:
    fleet = drains(a_sick_fleet(*running(3)))
    drain = ev.CommandIssued(LATER, "cmd-k3f9-000001", name(1), CommandType.DRAIN, at(hours=1))
    fold_all(drained(1, drain, at(minutes=5)), fleet=fleet)
    assert ended(fleet, at(minutes=5), MANAGED) == []
    fold_all(ev.NodeEmptied(at(minutes=6), name(1), "idle"), fleet=fleet)
    assert ended(fleet, at(minutes=6), MANAGED) == [name(1)]


def test_a_machine_that_an_operator_had_emptied_is_asked_about_again() -> None:
    """The manager was told to drain it before: nothing new is told, so it has to be asked."""
    emptied: list[ev.Fact] = [
        ev.IntentChanged(at(), name(1), Intent.DRAINING, "drain by an operator"),
        ev.WorkloadTold(at(), name(1), Told.DRAINING, "it has agreed"),
        ev.NodeEmptied(at(), name(1), "idle"),
        ev.IntentChanged(at(), name(1), Intent.DRAINED, "idle"),
    ]
    fleet = drains(a_sick_fleet(*emptied, *running(3)))
    assert not fleet.nodes[name(1)].untold
    assert list(fleet.emptying) == [name(1)]
    fold_all(ev.NodeEmptied(at(minutes=5), name(1), "idle"), fleet=fleet)
    assert ended(fleet, at(minutes=5), MANAGED) == [name(1)]


def test_a_replacement_that_dies_meanwhile_holds_the_end_up() -> None:
    fleet = drains(a_sick_fleet(*running(3)))
    drain = ev.CommandIssued(LATER, "cmd-k3f9-000001", name(1), CommandType.DRAIN, at(hours=1))
    vanished = ev.InstanceVanished(at(minutes=5), name(3), "gone")
    fold_all(drained(1, drain, at(minutes=5)), vanished, fleet=fleet)
    assert ended(fleet, at(minutes=5)) == []


# --- at the maximum --------------------------------------------------------------------------


def test_at_the_maximum_a_sick_machine_makes_room_only_where_that_was_agreed() -> None:
    doomed: list[ev.Fact] = [sick(1, SILENT), condemned(1, at(minutes=3), "sickness")]
    assert replaced(a_fleet(2, *doomed, spec=a_spec(max_nodes=2))) == []
    spec = a_spec(max_nodes=2, replace_in_place=True)
    begun, _ = replaced(a_fleet(2, *doomed, spec=spec))
    assert begun == ev.DrainBegun(LATER, name(1), f"{IN_PLACE} 2")


def test_at_the_maximum_silent_ones_go_before_sick_ones() -> None:
    """Only one place is missing, and the silent machine gives nothing."""
    doomed: list[ev.Fact] = [sick(1, SILENT), condemned(1, SILENT, "sickness")]
    doomed += [lost(2, SILENT), condemned(2, SILENT)]
    for agreed in (False, True):
        spec = a_spec(max_nodes=4, replace_in_place=agreed)
        facts = replaced(a_fleet(4, *doomed, target=3, spec=spec))
        assert [ev.subjects(fact) for fact in facts] == [(name(2),)]


# --- reprieves -------------------------------------------------------------------------------


def reprieved(fleet: Fleet) -> list[ev.Fact]:
    return list(replacing.reprieved(fleet, LATER, SETTINGS))


@pytest.mark.parametrize("health", [Health.UNKNOWN, Health.HEALTHY, Health.DEGRADED])
def test_a_machine_whose_verdict_ends_is_kept(health: Health) -> None:
    fleet = a_sick_fleet(ev.HealthJudged(LATER, name(1), health, "so"))
    because = f"it is {health.value} now"
    assert reprieved(fleet) == [ev.InstanceReprieved(LATER, name(1), because)]
    fold_all(reprieved(fleet), fleet=fleet)
    instance, node = fleet.instances[name(1)], fleet.nodes[name(1)]
    assert (instance.condemned, instance.condemned_for, node.condemned) == (False, "", False)
    assert reprieved(fleet) == []


def test_a_machine_that_was_drained_already_takes_work_again() -> None:
    fleet = drains(a_sick_fleet(*running(3)))
    facts = reprieved(fold_all(well(1, LATER), fleet=fleet))
    assert [ev.kind(fact) for fact in facts] == ["instance_reprieved", "command_issued"]
    uncordon = facts[1]
    assert isinstance(uncordon, ev.CommandIssued)
    assert uncordon.type is CommandType.UNCORDON
    fold_all(facts, fleet=fleet)
    node = fleet.nodes[name(1)]
    assert (node.phase, node.workload, node.drained_at) == (Phase.ACTIVE, Told.OPEN, None)
    assert fleet.instances[name(1)].draining_since is None


def test_a_machine_that_an_operator_has_closed_stays_closed() -> None:
    cordoned = ev.IntentChanged(SILENT, name(1), Intent.CORDONED, "by an operator")
    fleet = drains(a_sick_fleet(*running(3), cordoned))
    assert len(reprieved(fold_all(well(1, LATER), fleet=fleet))) == 1


@pytest.mark.parametrize("cause", ["", "silence"])
def test_a_silent_machine_is_kept_only_when_it_speaks(cause: str) -> None:
    fleet = a_fleet(2, lost(1, SILENT), condemned(1, at(minutes=3), cause))
    assert reprieved(fleet) == []
    fold_all(ev.NodeReturned(LATER, name(1), "it speaks"), fleet=fleet)
    assert not fleet.instances[name(1)].condemned


def test_a_sick_machine_that_falls_silent_and_speaks_again_is_still_sick() -> None:
    fleet = a_sick_fleet(lost(1, at(minutes=3)), ev.NodeReturned(LATER, name(1), "it speaks"))
    assert fleet.instances[name(1)].condemned
    assert fleet.nodes[name(1)].contact is Contact.CONNECTED
    assert reprieved(fleet) == []


def test_a_machine_that_is_well_but_silent_is_not_kept_for_that() -> None:
    assert reprieved(a_sick_fleet(well(1, at(minutes=3)), lost(1, LATER))) == []


def test_a_lemon_is_kept_when_it_is_trusted_again() -> None:
    fleet = a_fleet(0)
    fleet.lemons["GPU-0"] = Lemon(2, at(), "xid 79")
    fold_all(running(1), condemned(1, LATER, "lemon"), fleet=fleet)
    assert reprieved(fleet) == []
    fold_all(ev.HealthCleared(LATER, name(1), "it was the slot"), fleet=fleet)
    because = "its hardware is trusted again"
    assert reprieved(fleet) == [ev.InstanceReprieved(LATER, name(1), because)]


def test_a_machine_whose_room_was_bought_away_waits_like_any_other_that_is_sick() -> None:
    """The pool has grown to its maximum meanwhile: it would hold the budget for ever."""
    fleet = a_fleet(2, sick(1, SILENT), condemned(1, SILENT, "sickness"), target=2)
    assert reprieved(fleet) == []
    full = ev.PoolConfigured(LATER, a_spec(max_nodes=2))
    fold_all(full, fleet=fleet)
    because = "there is no room to replace it: the pool is at max_nodes 2"
    assert reprieved(fleet) == [ev.InstanceReprieved(LATER, name(1), because)]
    seen = Sightings(heard=LastHeard(dict.fromkeys(fleet.nodes, LATER)))
    facts = decide(fleet, seen, LATER, Strategies())
    assert [ev.kind(fact) for fact in facts] == ["instance_reprieved"]
    fold_all(facts, fleet=fleet)
    assert decide(fleet, seen, LATER, Strategies()) == []


def test_what_was_bought_for_a_reprieved_machine_goes_in_the_same_decision() -> None:
    fleet = a_sick_fleet(requested(3, LATER), well(1, LATER))
    seen = Sightings(heard=LastHeard(dict.fromkeys(fleet.nodes, LATER)))
    facts = decide(fleet, seen, LATER, Strategies())
    assert [ev.kind(fact) for fact in facts] == ["instance_reprieved", "termination_requested"]
    fold_all(facts, fleet=fleet)
    assert decide(fleet, seen, LATER, Strategies()) == []


# --- a whole replacement ---------------------------------------------------------------------


def test_an_xid_is_reported_confirmed_replaced_drained_and_ended() -> None:
    """The replacement serves before the sick node is drained, and that before it is ended."""
    machine = Machine(a_fleet(2), Strategies(policy=BY_XID))
    told: list[str] = []
    for minute in range(8):
        now = at(minutes=minute)
        batch: list[msg.Message] = [msg.Heartbeat(id_) for id_ in machine.fleet.nodes]
        events = (xid(79, timestamp=now),) if minute == 0 else ()
        batch += [msg.ReportHealth(name(1), (check(),), events), msg.PollCommands(name(1))]
        batch += [
            msg.AckCommand(name(1), command.id, CommandState.SUCCEEDED, "drained")
            for command in machine.fleet.commands_for(name(1))
        ]
        if minute == 3:
            batch.append(msg.Launched(name(3), a_machine(3)))
        if minute == 4:
            batch.append(msg.RegisterNode(name(3)))
        step = machine.step([*batch, msg.Tick()], now)
        told += [f"{minute} {ev.kind(fact)}" for fact in step.facts]
    unimportant = ("health_reported", "health_judged", "command_delivered", "instance_launched")
    assert [line for line in told if line.split()[1] not in unimportant] == [
        "1 instance_condemned",
        "1 launch_requested",
        "4 node_registered",
        "4 drain_begun",
        "4 command_issued",
        "5 command_finished",
        "5 termination_requested",
    ]
