"""Interruptions: replaced at once, drained within the notice, and held back by nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from factories import (
    POOL,
    SETTINGS,
    a_fleet,
    a_spec,
    a_stranger,
    at,
    fold_all,
    lost,
    name,
    requested,
)
from navarch.core import capacity, interruption, purchase
from navarch.core.decide import decide
from navarch.core.interpret import interpret
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import NodeStatus
from navarch.core.model.report import HealthEvent
from navarch.core.model.sightings import Sightings
from navarch.core.strategies import Strategies

NOTICE = HealthEvent(
    "interruption", metrics={"deadline": "2026-05-01T12:04:00Z"}, message="spot: terminate"
)
NOW = at(minutes=1)


def reported(fleet: Fleet, *events: HealthEvent, node_id: str = "") -> list[ev.Fact]:
    message = msg.ReportHealth(node_id or name(1), (), events)
    learned = interpret(fleet, Sightings(), message, NOW, SETTINGS)
    assert not isinstance(learned, msg.Refused)
    return list(learned)


def noticed(fleet: Fleet) -> Fleet:
    return fold_all(ev.InterruptionNoticed(NOW, name(1), "spot", at(minutes=4)), fleet=fleet)


def next_facts(fleet: Fleet, minutes: float = 1) -> list[ev.Fact]:
    return list(interruption.leaving(fleet, at(minutes=minutes), SETTINGS))


def test_a_notice_is_a_fact_once() -> None:
    fleet = a_fleet(2)
    facts = reported(fleet, NOTICE)
    assert facts[0] == ev.InterruptionNoticed(NOW, name(1), "spot: terminate", at(minutes=4))
    fold_all(facts, fleet=fleet)
    assert not any(isinstance(fact, ev.InterruptionNoticed) for fact in reported(fleet, NOTICE))


@pytest.mark.parametrize("deadline", ["", "tomorrow", "2026-05-01T12:04:00", "x" * 5_000])
def test_a_deadline_that_makes_no_sense_is_none(deadline: str) -> None:
    facts = reported(a_fleet(1), HealthEvent("interruption", metrics={"deadline": deadline}))
    assert isinstance(facts[0], ev.InterruptionNoticed)
    assert facts[0].deadline is None


def test_machines_that_are_not_ours_are_nobodys_business() -> None:
    facts = reported(a_fleet(0, a_stranger()), NOTICE, node_id="lab-1")
    assert not any(isinstance(fact, ev.InterruptionNoticed) for fact in facts)


def test_its_pool_buys_another_at_once_and_it_is_told_to_drain() -> None:
    fleet = noticed(a_fleet(2))
    assert fleet.nodes[name(1)].status is NodeStatus.DRAINING
    assert capacity.count(fleet, fleet.pools[POOL]).current == 1
    facts = decide(fleet, Sightings(), NOW, Strategies())
    assert [type(fact) for fact in facts] == [ev.CommandIssued, ev.LaunchRequested]
    fold_all(facts, fleet=fleet)
    assert decide(fleet, Sightings(), NOW, Strategies()) == []


def test_it_takes_nothing_from_the_budget_and_no_breaker_holds_it() -> None:
    fleet = noticed(a_fleet(2, ev.RepairHalted(at(), POOL, "many are silent")))
    facts = decide(fleet, Sightings(), NOW, Strategies())
    assert any(isinstance(fact, ev.LaunchRequested) for fact in facts)
    assert fleet.pools[POOL].replacements == ()


def test_it_is_ended_when_it_is_drained() -> None:
    fleet = noticed(a_fleet(2))
    (drain,) = next_facts(fleet)
    assert isinstance(drain, ev.CommandIssued)
    assert drain.type is CommandType.DRAIN
    fold_all(drain, fleet=fleet)
    assert next_facts(fleet) == []
    done = ev.CommandFinished(NOW, drain.command_id, name(1), CommandState.SUCCEEDED)
    fold_all(done, fleet=fleet)
    because = "its provider takes it away; it is drained"
    assert next_facts(fleet) == [ev.TerminationRequested(NOW, name(1), because)]


def test_it_is_ended_when_it_falls_silent_or_is_overdue() -> None:
    silent = noticed(a_fleet(2, lost(1, at(minutes=1))))
    assert [type(fact) for fact in next_facts(silent)] == [ev.TerminationRequested]
    overdue = fold_all(*next_facts(noticed(a_fleet(2))), fleet=noticed(a_fleet(2)))
    assert next_facts(overdue, minutes=9) == []
    assert [type(fact) for fact in next_facts(overdue, minutes=9.1)] == [ev.TerminationRequested]


def test_a_young_machine_that_was_taken_away_is_no_failed_launch() -> None:
    fleet = noticed(a_fleet(2))
    fold_all(ev.InstanceVanished(at(minutes=5), name(1), "gone"), fleet=fleet)
    assert fleet.pools[POOL].failures == 0


# --- a share of spot machines ----------------------------------------------------------------


def spots(percent: float, number: int, *facts: ev.Fact) -> list[bool]:
    fleet = a_fleet(0, ev.PoolConfigured(at(), a_spec(spot_percent=percent)), *facts)
    chosen = purchase.choices(fleet, Sightings(), fleet.pools[POOL], number, NOW, SETTINGS)
    return [choice.offer.spot for choice in chosen]


@pytest.mark.parametrize(
    "percent,expected",
    [
        (0, [False] * 4),
        (100, [True] * 4),
        (50, [False, True, False, True]),
        (75, [False, True, True, True]),
    ],
)
def test_a_pool_keeps_to_its_share_of_spot_machines(percent: float, expected: list[bool]) -> None:
    assert spots(percent, 4) == expected


def test_where_spot_is_sold_out_others_are_bought() -> None:
    dry = ev.LaunchRequested(
        at(), name(1), POOL, "fake", "wanted", "h100-8x", "us-west-2", spot=True
    )
    refused = ev.LaunchFailed(NOW - timedelta(seconds=5), name(1), "NoCapacity", "none left")
    assert spots(100, 2, dry, refused) == [False, False]
    assert spots(100, 1, requested(1)) == [True]
