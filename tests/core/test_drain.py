"""Drains: who says when they are over, how long they may take, and orders that got lost."""

from __future__ import annotations

from datetime import datetime

import pytest
from msgspec.structs import replace

from factories import (
    SETTINGS,
    a_finding,
    a_fleet,
    a_spec,
    at,
    condemned,
    drained,
    fold_all,
    lost,
    mending,
    name,
    releasing,
    sick,
)
from navarch.core import drain
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.settings import Settings
from navarch.core.strategies import Strategies

MANAGED = replace(SETTINGS, workload_manager=True)
WAITING = replace(SETTINGS, drain_overrun="wait")
ORDER = "cmd-k3f9-000001"
LATE = at(minutes=31)


def over(fleet: Fleet, now: datetime, settings: Settings = SETTINGS) -> str:
    return drain.over_because(fleet, fleet.nodes.get(name(1)), at(), now, settings)


def told(expires_at: datetime) -> ev.CommandIssued:
    return ev.CommandIssued(at(), ORDER, name(1), CommandType.DRAIN, expires_at)


def test_nobody_waits_for_a_node_that_is_not_there() -> None:
    assert over(a_fleet(0), at()) == "nothing is heard from it"
    assert over(a_fleet(1, lost(1, at())), at()) == "nothing is heard from it"


def test_the_agent_says_so_or_slurm_where_that_is_told() -> None:
    by_agent = a_fleet(1, told(LATE), drained(1, told(LATE), at(minutes=1)))
    by_manager = a_fleet(1, ev.NodeEmptied(at(minutes=1), name(1), "idle"))
    assert over(by_agent, at(minutes=1)) == "it is drained"
    assert over(by_agent, at(minutes=1), MANAGED) == ""
    assert over(by_manager, at(minutes=1)) == ""
    assert over(by_manager, at(minutes=1), MANAGED) == "the workload manager has drained it"


def test_it_may_take_its_time_and_no_longer() -> None:
    fleet = a_fleet(1)
    assert over(fleet, at(minutes=15)) == ""
    assert over(fleet, at(minutes=15, seconds=1)) == "not drained within 0:15:00"
    assert over(fleet, at(hours=99), WAITING) == ""
    fold_all(ev.Resumed(at(minutes=10), "0.1.0"), fleet=fleet)
    assert over(fleet, at(minutes=25)) == ""


# --- orders that got lost --------------------------------------------------------------------

EXPIRED = ev.CommandFinished(at(minutes=30), ORDER, name(1), CommandState.EXPIRED, "no result")


def awaited(why: str) -> list[ev.Fact]:
    """Return that node 1 is drained, and the order to do so has expired."""
    begun: list[ev.Fact]
    if why == "repair":
        begun = [sick(1, at(), a_finding(Remedy.REBOOT)), mending(1, at())]
    elif why == "replacement":
        begun = [sick(1, at()), condemned(1, at(), "sickness")]
        begun.append(ev.DrainBegun(at(), name(1), "replaced"))
    else:
        begun = [releasing(1)]
    return [*begun, told(at(minutes=30)), EXPIRED]


def again(fleet: Fleet, now: datetime = LATE, settings: Settings = WAITING) -> list[str]:
    facts = list(drain.ordered_again(fleet, now, settings))
    assert all(fact.type is CommandType.DRAIN for fact in facts)
    return [fact.node_id for fact in facts]


@pytest.mark.parametrize("why", ["repair", "replacement", "release"])
def test_an_order_that_expired_is_given_again(why: str) -> None:
    fleet = a_fleet(2, *awaited(why))
    assert again(fleet, at(minutes=30)) == []
    assert again(fleet) == [name(1)]
    fold_all(drain.ordered_again(fleet, LATE, WAITING), fleet=fleet)
    assert again(fleet) == []


def test_an_order_that_is_under_way_is_not() -> None:
    fleet = a_fleet(2, releasing(1), told(at(hours=9)))
    assert again(fleet, at(hours=8)) == []


@pytest.mark.parametrize(
    "fact",
    [
        lost(1, at(minutes=30)),
        ev.CommandFinished(at(minutes=30), ORDER, name(1), CommandState.SUCCEEDED, "drained"),
        ev.ReleaseRevoked(at(minutes=30), name(1), "wanted"),
    ],
)
def test_nor_where_nobody_waits_for_it(fact: ev.Fact) -> None:
    assert again(a_fleet(2, releasing(1), told(at(minutes=30)), fact)) == []


def test_where_slurm_or_its_like_is_told_it_is_asked_instead() -> None:
    assert again(a_fleet(2, *awaited("release")), settings=MANAGED) == []


def test_a_repair_that_waits_for_ever_goes_on_when_the_agent_hears_the_second_order() -> None:
    """The agent was restarted while it drained, and forgot; nobody cuts the drain short."""
    spec = a_spec(ladder=(Remedy.REBOOT, Remedy.REPLACE))
    fleet = a_fleet(2, sick(1, at(), a_finding(Remedy.REBOOT)), mending(1, at()), spec=spec)
    machine = Machine(fold_all(told(at(minutes=30)), fleet=fleet), Strategies(WAITING))
    kinds: list[str] = []
    for minute in range(1, 70):
        beats: list[msg.Message] = [msg.Heartbeat(name(n)) for n in (1, 2)]
        if minute >= 60:
            beats += [
                msg.AckCommand(name(1), command.id, CommandState.SUCCEEDED)
                for command in machine.fleet.commands_for(name(1))
                if command.type is CommandType.DRAIN
            ]
        step = machine.step([*beats, msg.Tick()], at(minutes=minute))
        kinds += [ev.kind(fact) for fact in step.facts]
    assert kinds[:5] == [
        "command_finished",
        "command_issued",
        "command_finished",
        "command_issued",
        "repair_advanced",
    ]
