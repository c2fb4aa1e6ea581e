"""The breaker: many in trouble together stop repair; one node then shows whether all is well."""

from __future__ import annotations

from datetime import datetime

import pytest

from factories import (
    POOL,
    SETTINGS,
    a_finding,
    a_fleet,
    a_spec,
    a_stranger,
    at,
    condemned,
    ending,
    fold_all,
    lost,
    mending,
    name,
    running,
    sick,
    well,
)
from navarch.core import requests
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Outcome
from navarch.core.model.pool import Disruption, Pool
from navarch.core.repair import breaker

SILENT = at(minutes=2)
LATER = at(minutes=4)


def turned(fleet: Fleet, now: datetime = LATER) -> list[ev.Fact]:
    return list(breaker.turns(fleet, now, SETTINGS))


def halted(fleet: Fleet) -> list[str]:
    """Return the pools that would be halted now."""
    return [fact.pool for fact in turned(fleet) if isinstance(fact, ev.RepairHalted)]


def pool_of(fleet: Fleet) -> Pool:
    return fleet.pools[POOL]


HALTED = ev.RepairHalted(at(), POOL, "2 of 3 are silent")
HALF_OPEN = ev.RepairHalfOpened(at(), POOL, "1 of 3 nodes of the pool are silent now")
LOOKED = ev.RepairAcknowledged(at(), POOL, "acknowledged by an operator")

# --- it opens --------------------------------------------------------------------------------

MAJORITIES = [(1, 1, 0), (1, 2, 0), (2, 2, 1), (2, 3, 1), (2, 4, 0), (3, 4, 1), (6, 10, 1)]


@pytest.mark.parametrize("trouble", [lost, sick], ids=["silent", "ill"])
@pytest.mark.parametrize("number,total,expected", [*MAJORITIES, (5, 10, 0)])
def test_a_majority_stops_repair_but_one_node_never_does(
    number: int, total: int, expected: int, trouble: type
) -> None:
    fleet = a_fleet(total, *(trouble(n, SILENT) for n in range(1, number + 1)))
    assert len(halted(fleet)) == expected


def test_silent_and_ill_nodes_are_counted_together() -> None:
    fleet = a_fleet(5, lost(1, SILENT), sick(2, SILENT))
    assert halted(fleet) == []
    fold_all(sick(3, SILENT), fleet=fleet)
    because = (
        "3 of 5 nodes of the pool are silent or ill together: "
        "a wrong policy or a false alarm is more likely than broken machines"
    )
    assert turned(fleet) == [ev.RepairHalted(LATER, POOL, because)]


def test_a_node_that_is_silent_and_ill_is_one_node() -> None:
    fleet = a_fleet(3, sick(1, at()), lost(1, SILENT))
    assert halted(fleet) == []


def test_it_says_why() -> None:
    because = (
        "2 of 3 nodes of the pool are silent together: "
        "a cut network is more likely than dead machines"
    )
    fleet = a_fleet(3, lost(1, SILENT), lost(2, SILENT))
    assert turned(fleet) == [ev.RepairHalted(LATER, POOL, because)]


@pytest.mark.parametrize(
    "ill,total,expected", [(9, 45, 0), (10, 50, 1), (10, 51, 0), (10, 30, 1), (12, 60, 1)]
)
def test_ten_or_more_are_many_from_a_fifth_on(ill: int, total: int, expected: int) -> None:
    fleet = a_fleet(total, *(sick(n, SILENT) for n in range(1, ill + 1)), spec=a_spec(max_nodes=99))
    assert len(halted(fleet)) == expected


def test_one_confirmed_report_is_not_waited_for() -> None:
    """The alarm must ring before the first verdict is confirmed, not after it."""
    fleet = a_fleet(3, sick(1, SILENT, reports=1), sick(2, SILENT, reports=0))
    assert halted(fleet) == [POOL]


def test_condemned_and_mended_and_handed_over_nodes_do_not_vote() -> None:
    """It is decided about them, and their end must not move the breaker."""
    fleet = a_fleet(6, *(sick(n, SILENT) for n in (1, 2, 3, 4)))
    assert halted(fleet) == [POOL]
    person = ev.NodeHandedOver(SILENT, name(3), "its rule asks for a person")
    fold_all(condemned(1, SILENT, "sickness"), mending(2, SILENT), person, fleet=fleet)
    assert halted(fleet) == []


def test_degraded_nodes_and_strangers_and_ended_ones_do_not_vote() -> None:
    strangers = [a_stranger(f"lab-{n}") for n in (1, 2, 3)]
    silent = [ev.NodeLost(SILENT, f"lab-{n}", "silent") for n in (1, 2, 3)]
    ended: list[ev.Fact] = [ending(1, SILENT), ev.InstanceTerminated(SILENT, name(1), "gone")]
    assert halted(a_fleet(3, strangers, silent, lost(1, SILENT), lost(2, SILENT), ended)) == []


def test_a_majority_of_the_fleet_stops_every_pool_that_is_concerned() -> None:
    others = [ev.PoolConfigured(at(), a_spec(name=pool)) for pool in ("b", "c")]
    nodes = [*running(1), *running(2), *running(3, pool="b"), *running(4, pool="c")]
    silent = [ev.NodeLost(SILENT, node, "silent") for node in (name(1), name(2), "b-k3f9-0003")]
    assert halted(a_fleet(0, others, nodes, silent)) == [POOL, "b"]


def placed(n: int, zone: str, pool: str = POOL) -> list[ev.Fact]:
    """Return that machine n of a pool serves in a zone."""
    requested, launched, registered = running(n, pool=pool)
    assert isinstance(registered, ev.NodeRegistered)
    where = ev.NodeRegistered(
        at(), registered.node_id, "fake", "r", zone, "", pool, f"{pool}-k3f9-000{n}"
    )
    return [requested, launched, where]


@pytest.mark.parametrize("zone,silent,expected", [("a", 3, [POOL, "b"]), ("a", 2, []), ("", 3, [])])
def test_a_zone_that_is_in_trouble_stops_the_pools_that_are_hit_there(
    zone: str, silent: int, expected: list[str]
) -> None:
    """Of four machines in the zone three are silent, but of seven in all."""
    there = [*placed(1, zone), *placed(2, zone), *placed(3, zone, "b"), *placed(4, zone, "b")]
    elsewhere = [fact for n in (5, 6, 7, 8) for fact in placed(n, "z", POOL if n < 7 else "b")]
    hit = [name(1), "b-k3f9-0003", name(2)][:silent]
    lost_ones = [ev.NodeLost(SILENT, id_, "silent") for id_ in hit]
    fleet = a_fleet(0, ev.PoolConfigured(at(), a_spec(name="b")), there, elsewhere, lost_ones)
    assert halted(fleet) == expected
    if expected:
        assert "3 of 4 nodes of zone a are silent together" in pool_because(fleet)


def pool_because(fleet: Fleet) -> str:
    return next(fact.because for fact in turned(fleet) if isinstance(fact, ev.RepairHalted))


def test_a_zone_of_three_says_no_more_than_its_pool() -> None:
    there = [fact for n in (1, 2, 3) for fact in placed(n, "a")]
    elsewhere = [fact for n in (4, 5, 6, 7) for fact in placed(n, "z")]
    assert halted(a_fleet(0, there, elsewhere, lost(1, SILENT), lost(2, SILENT))) == []


def test_a_quiet_fleet_moves_nothing() -> None:
    assert turned(a_fleet(5)) == []
    assert turned(a_fleet(5, lost(1, SILENT))) == []


# --- it stays open ---------------------------------------------------------------------------


def test_while_it_is_open_nothing_passes_and_it_says_so_once() -> None:
    fleet = a_fleet(3, lost(1, SILENT), lost(2, SILENT), HALTED)
    assert turned(fleet) == []
    assert breaker.shut(pool_of(fleet), at(hours=9), SETTINGS) == (
        "repair of pool training is halted: 2 of 3 are silent"
    )
    assert not breaker.half_open(pool_of(fleet))


def test_a_closed_one_lets_all_pass() -> None:
    fleet = a_fleet(3)
    assert breaker.shut(pool_of(fleet), LATER, SETTINGS) == ""
    assert not breaker.half_open(pool_of(fleet))


# --- it half opens ---------------------------------------------------------------------------


def test_it_half_opens_when_the_majority_is_well() -> None:
    fleet = a_fleet(3, lost(1, SILENT), lost(2, SILENT), HALTED)
    fold_all(ev.NodeReturned(LATER, name(1), "it speaks"), fleet=fleet)
    because = "1 of 3 nodes of the pool are silent now"
    assert turned(fleet) == [ev.RepairHalfOpened(LATER, POOL, because)]


def test_it_half_opens_when_a_person_has_looked_whatever_is_still_wrong() -> None:
    fleet = a_fleet(3, sick(1, SILENT), sick(2, SILENT), HALTED, LOOKED)
    because = "a person has looked; 2 of 3 nodes of the pool are ill"
    expected = ev.RepairHalfOpened(LATER, POOL, because, tolerated=2)
    assert turned(fleet) == [expected]
    fold_all(expected, fleet=fleet)
    assert breaker.half_open(pool_of(fleet))
    assert breaker.shut(pool_of(fleet), LATER, SETTINGS) == ""
    assert turned(fleet, at(hours=9)) == []


def test_repair_does_not_start_the_moment_it_half_opens() -> None:
    """The last nodes of a network that has just healed may be about to speak."""
    fleet = a_fleet(3, lost(1, SILENT), HALTED, HALF_OPEN)
    because = "repair of pool training was halted until a moment ago"
    assert breaker.shut(pool_of(fleet), at(seconds=89), SETTINGS) == because
    assert breaker.shut(pool_of(fleet), at(seconds=90), SETTINGS) == ""


def test_an_operator_who_resumes_a_halted_pool_acknowledges_it() -> None:
    fleet = a_fleet(3, sick(1, SILENT), sick(2, SILENT), HALTED)
    resume = msg.PausePool(POOL, paused=False, reason="the policy was wrong")
    facts = requests.interpret(fleet, resume, LATER, SETTINGS)
    because = "acknowledged by an operator: the policy was wrong"
    assert facts == [ev.RepairAcknowledged(LATER, POOL, because)]
    fold_all([ev.RepairAcknowledged(LATER, POOL, because)], fleet=fleet)
    assert requests.interpret(fleet, resume, LATER, SETTINGS) == ()


def test_a_pool_that_is_paused_too_is_let_go_with_the_same_word() -> None:
    fleet = a_fleet(3, HALTED, ev.PoolPaused(at(), POOL, "maintenance"))
    facts = requests.interpret(fleet, msg.PausePool(POOL, paused=False), LATER, SETTINGS)
    assert not isinstance(facts, msg.Refused)
    assert [ev.kind(fact) for fact in facts] == ["repair_acknowledged", "pool_unpaused"]


def test_who_resumes_a_pool_that_is_not_halted_acknowledges_nothing() -> None:
    fleet = a_fleet(3, ev.PoolPaused(at(), POOL, "maintenance"))
    facts = requests.interpret(fleet, msg.PausePool(POOL, paused=False), LATER, SETTINGS)
    assert not isinstance(facts, msg.Refused)
    assert [ev.kind(fact) for fact in facts] == ["pool_unpaused"]


# --- it opens again --------------------------------------------------------------------------


def test_it_opens_again_when_the_trouble_comes_back() -> None:
    fleet = a_fleet(3, lost(1, SILENT), HALTED, HALF_OPEN)
    assert turned(fleet) == []
    fold_all(lost(2, LATER), fleet=fleet)
    (fact,) = turned(fleet)
    assert isinstance(fact, ev.RepairHalted)
    assert fact.because.endswith(", again")
    fold_all(fact, fleet=fleet)
    assert (pool_of(fleet).brake_half_open_at, turned(fleet)) == (None, [])


def test_what_a_person_accepted_does_not_open_it_but_more_than_that_does() -> None:
    looked = ev.RepairHalfOpened(at(), POOL, "a person has looked", tolerated=3)
    fleet = a_fleet(5, *(sick(n, SILENT) for n in (1, 2, 3)), HALTED, LOOKED, looked)
    assert turned(fleet) == []
    fold_all(sick(4, LATER), fleet=fleet)
    assert halted(fleet) == [POOL]
    fold_all(turned(fleet), fleet=fleet)
    assert (pool_of(fleet).brake_acknowledged, pool_of(fleet).brake_tolerated) == (False, 0)


# --- it closes -------------------------------------------------------------------------------


def test_it_closes_when_nothing_is_wrong_any_more() -> None:
    fleet = a_fleet(3, HALTED, HALF_OPEN)
    assert turned(fleet, at(seconds=89)) == []
    because = "nothing is silent or ill any more"
    (fact,) = turned(fleet, at(seconds=90))
    assert fact == ev.RepairContinued(at(seconds=90), POOL, because)
    fold_all(fact, fleet=fleet)
    assert pool_of(fleet).brake_because == ""
    assert turned(fleet, at(seconds=90)) == []


def replaced(n: int, when: datetime) -> list[ev.Fact]:
    """Return that machine n was condemned and is gone."""
    gone = ev.InstanceTerminated(when, name(n), "gone")
    return [condemned(n, when, "sickness"), ending(n, when), gone]


def test_it_closes_when_one_replacement_went_well() -> None:
    fleet = a_fleet(9, sick(1, SILENT), sick(2, SILENT), HALTED, LOOKED)
    fold_all(ev.RepairHalfOpened(at(minutes=3), POOL, "looked", tolerated=2), fleet=fleet)
    fold_all(condemned(1, LATER, "sickness"), fleet=fleet)
    assert turned(fleet, at(hours=1)) == []  # it is under way
    fold_all(replaced(1, LATER)[1:], fleet=fleet)
    because = "one repair went well"
    assert turned(fleet, at(hours=1)) == [ev.RepairContinued(at(hours=1), POOL, because)]


@pytest.mark.parametrize(
    "outcome,closes", [(Outcome.SUCCEEDED, 1), (Outcome.FAILED, 0), (Outcome.REVOKED, 0)]
)
def test_only_a_repair_that_helped_went_well(outcome: Outcome, closes: int) -> None:
    fleet = a_fleet(9, sick(1, SILENT), sick(2, SILENT), HALTED, LOOKED)
    fold_all(ev.RepairHalfOpened(at(minutes=3), POOL, "looked", tolerated=2), fleet=fleet)
    fold_all(mending(1, LATER), fleet=fleet)
    assert turned(fleet, at(hours=1)) == []
    fold_all(ev.RepairEnded(at(minutes=30), name(1), outcome, "so"), fleet=fleet)
    assert len(turned(fleet, at(hours=1))) == closes


def test_what_went_well_before_it_opened_does_not_close_it() -> None:
    fleet = a_fleet(9, *replaced(1, at(minutes=1)), sick(2, SILENT), HALTED, LOOKED)
    fold_all(ev.RepairHalfOpened(at(minutes=3), POOL, "looked", tolerated=2), fleet=fleet)
    assert turned(fleet, at(hours=1)) == []


def test_while_the_alarm_rings_it_goes_on_one_by_one() -> None:
    """One of three went well; two of two are ill still: closing would only open it again."""
    fleet = a_fleet(3, *(sick(n, SILENT) for n in (1, 2, 3)), HALTED, LOOKED)
    fold_all(ev.RepairHalfOpened(at(minutes=3), POOL, "looked", tolerated=3), fleet=fleet)
    fold_all(replaced(1, LATER), fleet=fleet)
    assert turned(fleet, at(hours=1)) == []
    assert breaker.half_open(pool_of(fleet))


def test_the_node_that_is_tried_does_not_close_it_by_being_left_out() -> None:
    fleet = a_fleet(9, sick(1, SILENT), HALTED, HALF_OPEN, condemned(1, LATER, "sickness"))
    assert turned(fleet, at(hours=1)) == []


def test_a_node_that_waits_for_a_person_keeps_it_half_open() -> None:
    person = ev.NodeHandedOver(LATER, name(1), "nothing is left to try")
    fleet = a_fleet(9, sick(1, SILENT), HALTED, HALF_OPEN, person)
    assert turned(fleet, at(hours=1)) == []
    fold_all(well(1, LATER), fleet=fleet)
    assert [ev.kind(fact) for fact in turned(fleet, at(hours=1))] == ["repair_continued"]


# --- all at once -----------------------------------------------------------------------------


def test_fifty_of_fifty_that_turn_bad_at_once_are_not_touched() -> None:
    """A wrong policy judges every node anew in one step; not one is drained, reset or ended."""
    spec = a_spec(
        max_nodes=60,
        ladder=(Remedy.RESET_GPU, Remedy.REBOOT, Remedy.REPLACE),
        disruption=Disruption(9, 100.0, 0, 99),
    )
    machine = Machine(a_fleet(50, spec=spec))
    beats = [msg.Heartbeat(name(n)) for n in range(1, 51)]
    remedies = [Remedy.RESET_GPU, Remedy.REBOOT, Remedy.REPLACE, Remedy.INSPECT]
    for n in range(1, 51):
        fold_all(sick(n, at(), a_finding(remedies[n % 4])), fleet=machine.fleet)
    kinds: list[str] = []
    for minute in range(60):
        step = machine.step([*beats, msg.Tick()], at(minutes=minute))
        kinds += [ev.kind(fact) for fact in step.facts]
    assert kinds == ["repair_halted"]


def test_fifty_of_fifty_that_are_looked_at_are_repaired_one_by_one() -> None:
    spec = a_spec(max_nodes=60, disruption=Disruption(9, 100.0, 0, 99))
    sick_ones = [sick(n, at()) for n in range(1, 51)]
    machine = Machine(a_fleet(50, *sick_ones, spec=spec))
    machine.step([msg.Tick()], at())
    resume = msg.PausePool(POOL, paused=False, reason="they are broken")
    kinds = [ev.kind(fact) for fact in machine.step([resume], at(seconds=1)).facts]
    assert kinds == [
        "repair_acknowledged",
        "repair_half_opened",
        "instance_condemned",
        "launch_requested",
    ]
    assert machine.step([msg.Tick()], at(seconds=2)).facts == []
