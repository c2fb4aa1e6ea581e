"""Repair: two witnesses, grace, budget and brake; buy first, then end."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from factories import (
    POOL,
    SETTINGS,
    a_fleet,
    a_list,
    a_machine,
    a_spec,
    a_stranger,
    at,
    condemned,
    ending,
    fold_all,
    launched,
    lost,
    name,
    registered,
    requested,
    running,
    sighted,
)
from navarch.core import repair
from navarch.core.decide import decide
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Intent
from navarch.core.model.pool import Disruption
from navarch.core.model.report import Health
from navarch.core.model.sightings import Sightings
from navarch.core.strategies import Strategies

SILENT = at(minutes=2)
LATER = at(minutes=4)


def listing(fleet: Fleet, begun_at: datetime = LATER) -> Sightings:
    """Return the sighting of a list that shows every machine of the fleet."""
    return sighted(fleet, a_list(begun_at, *map(a_machine, range(1, fleet.serial + 1))))


def condemned_ids(fleet: Fleet, now: datetime = LATER, seen: Sightings | None = None) -> list[str]:
    seen = listing(fleet) if seen is None else seen
    return [fact.instance_id for fact in repair.condemned(fleet, seen, now, SETTINGS)]


def budget(at_once: int, percent: float = 0.0, an_hour: int = 6) -> ev.PoolConfigured:
    """Return the configuration of a pool that may lose so many nodes to repair."""
    return ev.PoolConfigured(at(), a_spec(disruption=Disruption(at_once, percent, an_hour)))


def braked(fleet: Fleet) -> list[ev.Fact]:
    return list(repair.brakes(fleet, LATER))


# --- witnesses and grace ---------------------------------------------------------------------


def test_a_lost_node_is_condemned_and_says_why() -> None:
    fleet = a_fleet(3, lost(1, SILENT))
    facts = list(repair.condemned(fleet, listing(fleet), LATER, SETTINGS))
    because = "silent for 91 s; fake answers and still lists it"
    assert facts == [ev.InstanceCondemned(LATER, name(1), because)]


def test_the_reason_is_the_silence_even_when_something_else_has_happened_since() -> None:
    cordon = ev.IntentChanged(at(minutes=3), name(1), Intent.CORDONED, "cordon by an operator")
    fleet = a_fleet(3, lost(1, SILENT), cordon)
    fact = next(iter(repair.condemned(fleet, listing(fleet), LATER, SETTINGS)))
    assert "silent" in fact.because


def test_a_silence_that_has_just_begun_is_given_grace() -> None:
    """Node 1 was heard last at the beginning: lost after 90 s, condemned 30 s later."""
    fleet = a_fleet(3, lost(1, at(seconds=91)))
    seen = listing(fleet, at(seconds=91))
    assert condemned_ids(fleet, at(seconds=119), seen) == []
    assert condemned_ids(fleet, at(seconds=120), seen) == [name(1)]


def test_a_restart_starts_the_grace_anew() -> None:
    fleet = a_fleet(3, lost(1, SILENT), ev.Resumed(at(hours=1), "0.1.0"))
    seen = listing(fleet, at(hours=1, seconds=119))
    assert condemned_ids(fleet, at(hours=1, seconds=119), seen) == []
    assert condemned_ids(fleet, at(hours=1, seconds=120), seen) == [name(1)]


def test_silence_alone_is_one_witness() -> None:
    fleet = a_fleet(3, lost(1, SILENT))
    assert condemned_ids(fleet, seen=Sightings()) == []
    assert condemned_ids(fleet, seen=listing(fleet, at(seconds=89))) == []
    assert condemned_ids(fleet, seen=listing(fleet, at(seconds=90))) == [name(1)]


def test_a_machine_that_the_list_does_not_show_is_left_to_the_inventory() -> None:
    fleet = a_fleet(3, lost(1, SILENT))
    assert condemned_ids(fleet, seen=sighted(fleet, a_list(LATER, a_machine(2)))) == []


@pytest.mark.parametrize(
    "list_at,now,expected",
    [
        (
            LATER,
            at(seconds=100),
            "silent for less than 0:02:00, restarts of ours and a grace counted in",
        ),
        (at(minutes=1), LATER, "no list of fake has been read since it counts as silent"),
        (LATER, LATER, ""),
    ],
)
def test_the_obstacle_is_named(list_at: datetime, now: datetime, expected: str) -> None:
    fleet = a_fleet(3, lost(1, at(seconds=91)))
    node = fleet.nodes[name(1)]
    assert repair.obstacle(fleet, listing(fleet, list_at), node, now, SETTINGS) == expected


def test_a_node_is_condemned_once() -> None:
    fleet = a_fleet(3, budget(3), lost(1, SILENT), condemned(1, at(minutes=3)))
    assert condemned_ids(fleet) == []


def test_strangers_and_ending_machines_are_not_condemned() -> None:
    silent = [ev.NodeLost(SILENT, "lab-1", "silent"), lost(1, SILENT)]
    fleet = a_fleet(3, a_stranger(), silent, ending(1, at(minutes=3)))
    assert condemned_ids(fleet) == []


def test_sick_nodes_that_speak_are_not_condemned() -> None:
    assert condemned_ids(a_fleet(3, ev.HealthJudged(at(), name(1), Health.UNHEALTHY, "79"))) == []


@pytest.mark.parametrize(
    "fact",
    [
        ev.PoolPaused(at(), POOL, "maintenance"),
        ev.PoolRetired(at(), POOL, "not in the file"),
        ev.RepairHalted(at(), POOL, "2 of 3 are silent"),
        ev.PoolConfigured(at(), a_spec(auto_replace=False)),
    ],
)
def test_pools_that_are_not_repaired(fact: ev.Fact) -> None:
    assert condemned_ids(a_fleet(3, lost(1, SILENT), fact)) == []


# --- the budget ------------------------------------------------------------------------------


def test_one_at_a_time_by_default_the_longest_lost_first() -> None:
    fleet = a_fleet(5, lost(2, SILENT), lost(1, at(minutes=3)))
    assert condemned_ids(fleet) == [name(2)]


@pytest.mark.parametrize(
    "at_once,percent,expected", [(0, 0.0, 0), (2, 0.0, 2), (0, 50.0, 3), (2, 50.0, 3), (1, 16.0, 1)]
)
def test_the_larger_of_number_and_share_counts(at_once: int, percent: float, expected: int) -> None:
    fleet = a_fleet(7, budget(at_once, percent), *(lost(n, SILENT) for n in (1, 2, 3, 4)))
    assert len(condemned_ids(fleet)) == expected


def test_machines_in_replacement_use_the_budget_up() -> None:
    fleet = a_fleet(7, budget(2), *(lost(n, SILENT) for n in (1, 2, 3)), condemned(1, SILENT))
    assert condemned_ids(fleet) == [name(2)]


def test_a_machine_is_in_replacement_until_it_is_gone() -> None:
    in_replacement: list[ev.Fact] = [condemned(1, SILENT), ending(1, at(minutes=3))]
    fleet = a_fleet(7, lost(1, SILENT), lost(2, SILENT), in_replacement)
    assert condemned_ids(fleet) == []


def test_the_hour_has_a_budget_of_its_own() -> None:
    fleet = a_fleet(9, budget(9, an_hour=3), *(lost(n, SILENT) for n in (1, 2, 3, 4)))
    assert len(condemned_ids(fleet)) == 3
    fold_all(condemned(1, SILENT), condemned(2, SILENT), fleet=fleet)
    assert condemned_ids(fleet) == [name(3)]
    late = SILENT + timedelta(hours=1)
    assert condemned_ids(fleet, late) == [name(3), name(4)]


def test_a_reprieve_does_not_give_the_hour_its_budget_back() -> None:
    back = ev.NodeReturned(at(minutes=3), name(1), "it speaks")
    fleet = a_fleet(5, budget(1, an_hour=1), lost(1, SILENT), condemned(1, SILENT), back)
    assert repair.budget_at_once(fleet, fleet.pools[POOL]) == 1
    assert repair.budget_this_hour(fleet.pools[POOL], LATER) == 0
    assert condemned_ids(fold_all(lost(2, SILENT), fleet=fleet)) == []


# --- the brake -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "silent,total,expected",
    [(1, 1, 0), (1, 2, 0), (2, 2, 1), (2, 3, 1), (2, 4, 0), (3, 4, 1), (5, 10, 0), (6, 10, 1)],
)
def test_a_silent_majority_stops_repair_but_one_silent_node_never_does(
    silent: int, total: int, expected: int
) -> None:
    fleet = a_fleet(total, *(lost(n, SILENT) for n in range(1, silent + 1)))
    assert len(braked(fleet)) == expected


def test_the_brake_says_why() -> None:
    fleet = a_fleet(3, lost(1, SILENT), lost(2, SILENT))
    because = (
        "2 of 3 nodes of the pool are silent together: "
        "a cut network is more likely than dead machines"
    )
    assert braked(fleet) == [ev.RepairHalted(LATER, POOL, because)]


def test_the_brake_is_let_go_when_the_majority_speaks() -> None:
    fleet = a_fleet(3, lost(1, SILENT), lost(2, SILENT), ev.RepairHalted(at(), POOL, "2 of 3"))
    assert braked(fleet) == []
    fold_all(ev.NodeReturned(LATER, name(1), "it speaks"), fleet=fleet)
    because = "1 of 3 nodes of the pool are silent now"
    assert braked(fleet) == [ev.RepairContinued(LATER, POOL, because)]


def test_repair_does_not_start_the_moment_the_brake_is_let_go() -> None:
    """The last nodes of a network that has just healed may be about to speak."""
    halted = ev.RepairHalted(SILENT, POOL, "2 of 3 are silent")
    continued = ev.RepairContinued(at(minutes=10), POOL, "1 of 3 is silent now")
    fleet = a_fleet(3, lost(1, SILENT), halted, continued)
    assert condemned_ids(fleet, at(minutes=11, seconds=29)) == []
    assert condemned_ids(fleet, at(minutes=11, seconds=30)) == [name(1)]


def test_condemned_machines_do_not_vote() -> None:
    """It is decided about them, and their end must not move the brake."""
    fleet = a_fleet(4, lost(1, SILENT), lost(2, SILENT), lost(3, SILENT))
    assert len(braked(fleet)) == 1
    assert braked(fold_all(condemned(1, SILENT), condemned(2, SILENT), fleet=fleet)) == []


def test_a_silent_majority_of_the_fleet_stops_every_pool_that_is_concerned() -> None:
    others = [ev.PoolConfigured(at(), a_spec(name=pool)) for pool in ("b", "c")]
    nodes = [*running(1), *running(2), *running(3, pool="b"), *running(4, pool="c")]
    silent = [ev.NodeLost(SILENT, node, "silent") for node in (name(1), name(2), "b-k3f9-0003")]
    fleet = a_fleet(0, others, nodes, silent)
    halted = [fact.pool for fact in braked(fleet) if isinstance(fact, ev.RepairHalted)]
    assert halted == [POOL, "b"]


def test_strangers_and_ended_nodes_do_not_vote() -> None:
    strangers = [a_stranger(f"lab-{n}") for n in (1, 2, 3)]
    silent = [ev.NodeLost(SILENT, f"lab-{n}", "silent") for n in (1, 2, 3)]
    ended: list[ev.Fact] = [ending(1, SILENT), ev.InstanceTerminated(SILENT, name(1), "gone")]
    assert braked(a_fleet(3, strangers, silent, lost(1, SILENT), lost(2, SILENT), ended)) == []


# --- ending ----------------------------------------------------------------------------------


def replaced(fleet: Fleet) -> list[ev.TerminationRequested]:
    return list(repair.replaced(fleet, LATER))


def test_a_condemned_machine_waits_until_its_replacement_serves() -> None:
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
    assert [fact.instance_id for fact in replaced(fleet)] == [name(1)]


def test_a_pool_at_its_maximum_is_repaired_in_place() -> None:
    spec = a_spec(max_nodes=2)
    fleet = a_fleet(2, lost(1, SILENT), condemned(1, at(minutes=3)), spec=spec)
    because = "replaced in place: the pool is at max_nodes 2; silent for 91 s"
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


def test_a_node_that_speaks_again_is_kept_and_its_replacement_goes() -> None:
    fleet = a_fleet(2, lost(1, SILENT), condemned(1, at(minutes=3)), requested(3, LATER))
    fold_all(ev.NodeReturned(LATER, name(1), "it speaks"), fleet=fleet)
    seen = listing(fleet)
    seen.heard = dict.fromkeys(fleet.nodes, LATER)
    facts = decide(fleet, seen, LATER, Strategies())
    assert [(type(fact), ev.subjects(fact)) for fact in facts] == [
        (ev.TerminationRequested, (name(3),))
    ]
