"""Candidates: two witnesses for a silence, enough reports for a sickness, and who comes first."""

from __future__ import annotations

from datetime import datetime

import pytest

from factories import (
    POOL,
    SETTINGS,
    a_finding,
    a_fleet,
    a_list,
    a_machine,
    a_spec,
    a_stranger,
    at,
    condemned,
    ending,
    fold_all,
    lost,
    mending,
    name,
    sick,
    sighted,
    well,
)
from navarch.core.model import events as ev
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Stage
from navarch.core.model.pool import Disruption
from navarch.core.model.report import Health
from navarch.core.model.sightings import Sightings
from navarch.core.repair import candidates

SILENT = at(minutes=2)
LATER = at(minutes=4)


def listing(fleet: Fleet, begun_at: datetime = LATER) -> Sightings:
    """Return the sighting of a list that shows every machine of the fleet."""
    return sighted(fleet, a_list(begun_at, *map(a_machine, range(1, fleet.serial + 1))))


def unwitnessed(fleet: Fleet, seen: Sightings, now: datetime = LATER) -> str:
    return candidates.unwitnessed(fleet, seen, fleet.nodes[name(1)], now, SETTINGS)


# --- silence ---------------------------------------------------------------------------------


def test_silence_and_a_list_that_still_shows_it_are_two_witnesses() -> None:
    fleet = a_fleet(3, lost(1, SILENT))
    assert unwitnessed(fleet, listing(fleet)) == ""


def test_a_silence_that_has_just_begun_is_given_grace() -> None:
    """Node 1 was heard last at the beginning: lost after 90 s, a candidate 30 s later."""
    fleet = a_fleet(3, lost(1, at(seconds=91)))
    seen = listing(fleet, at(seconds=91))
    because = "silent for less than 0:02:00, restarts of ours and a grace counted in"
    assert unwitnessed(fleet, seen, at(seconds=119)) == because
    assert unwitnessed(fleet, seen, at(seconds=120)) == ""


def test_a_restart_starts_the_grace_anew() -> None:
    fleet = a_fleet(3, lost(1, SILENT), ev.Resumed(at(hours=1), "0.1.0"))
    seen = listing(fleet, at(hours=1, seconds=119))
    assert unwitnessed(fleet, seen, at(hours=1, seconds=119)) != ""
    assert unwitnessed(fleet, seen, at(hours=1, seconds=120)) == ""


def test_silence_alone_is_one_witness() -> None:
    fleet = a_fleet(3, lost(1, SILENT))
    because = "no list of fake has been read since it counts as silent"
    assert unwitnessed(fleet, Sightings()) == because
    assert unwitnessed(fleet, listing(fleet, at(seconds=89))) == because
    assert unwitnessed(fleet, listing(fleet, at(seconds=90))) == ""


def test_a_machine_that_the_list_does_not_show_is_left_to_the_inventory() -> None:
    fleet = a_fleet(3, lost(1, SILENT))
    because = "fake does not list it: waiting for that to be settled"
    assert unwitnessed(fleet, sighted(fleet, a_list(LATER, a_machine(2)))) == because


def silent_ones(fleet: Fleet) -> list[str]:
    return [node.id for node in candidates.lost(fleet)]


def test_the_longest_lost_comes_first() -> None:
    fleet = a_fleet(5, lost(2, SILENT), lost(1, at(minutes=3)), lost(3, SILENT))
    assert silent_ones(fleet) == [name(2), name(3), name(1)]


def test_strangers_and_condemned_and_ending_machines_are_none() -> None:
    silent = [ev.NodeLost(SILENT, "lab-1", "silent"), lost(1, SILENT), lost(2, SILENT)]
    fleet = a_fleet(3, a_stranger(), silent, ending(1, LATER), condemned(2, LATER))
    assert silent_ones(fleet) == []


def test_a_node_that_is_silent_because_it_reboots_is_none() -> None:
    advanced = ev.RepairAdvanced(at(minutes=1), name(1), Stage.ACTING, "drained", "cmd-1")
    fleet = a_fleet(3, sick(1, at()), mending(1, at()), advanced, lost(1, SILENT))
    assert silent_ones(fleet) == []


@pytest.mark.parametrize("stage", [Stage.ACTING, Stage.PROBATION, None])
def test_a_node_that_has_no_reason_to_be_silent_is_one(stage: Stage | None) -> None:
    """A GPU reset does not silence an agent, and one on probation has come back already."""
    rung = Remedy.REBOOT if stage is Stage.PROBATION else Remedy.RESET_GPU
    facts: list[ev.Fact] = [sick(1, at()), mending(1, at(), rung)]
    if stage is not None:
        facts.append(ev.RepairAdvanced(at(minutes=1), name(1), stage, "so far", "cmd-1"))
    assert silent_ones(a_fleet(3, *facts, lost(1, SILENT))) == [name(1)]


# --- sickness --------------------------------------------------------------------------------


def sick_ones(fleet: Fleet) -> list[str]:
    return [node.id for node in candidates.sick(fleet)]


def test_the_longest_sick_comes_first() -> None:
    fleet = a_fleet(5, sick(2, at(minutes=1)), sick(1, at(minutes=3)), sick(3, at(minutes=2)))
    assert sick_ones(fleet) == [name(2), name(3), name(1)]


def test_who_was_well_meanwhile_is_sick_since_the_relapse() -> None:
    relapse = [sick(1, at(minutes=1)), well(1, at(minutes=2)), sick(1, at(minutes=5))]
    fleet = a_fleet(5, relapse, sick(2, at(minutes=3)))
    assert sick_ones(fleet) == [name(2), name(1)]


def test_degraded_lost_condemned_and_mended_nodes_are_none() -> None:
    degraded = ev.HealthJudged(at(), name(4), Health.DEGRADED, "xid 48")
    facts: list[ev.Fact] = [sick(n, at()) for n in (1, 2, 3, 5)]
    facts += [lost(1, SILENT), condemned(2, LATER, "sickness"), mending(3, LATER), degraded]
    assert sick_ones(a_fleet(5, *facts)) == [name(5)]


def test_strangers_are_none() -> None:
    judged = ev.HealthJudged(at(), "lab-1", Health.UNHEALTHY, "xid 79", (a_finding(),))
    assert sick_ones(a_fleet(1, a_stranger(), judged)) == []


@pytest.mark.parametrize(
    "reports,after,expected",
    [(1, 2, "1 of 2 reports have confirmed it"), (2, 2, ""), (0, 1, "0 of 1"), (1, 1, "")],
)
def test_a_verdict_has_to_be_confirmed(reports: int, after: int, expected: str) -> None:
    spec = a_spec(unhealthy_after=after)
    fleet = a_fleet(1, sick(1, at(), reports=reports), spec=spec)
    because = candidates.unconfirmed(fleet, fleet.nodes[name(1)])
    assert because.startswith(expected)
    assert bool(because) == bool(expected)


# --- what is due, and the budget -------------------------------------------------------------


def remedy(fleet: Fleet, now: datetime = LATER) -> Remedy:
    return candidates.remedy(fleet, fleet.pools[POOL], fleet.nodes[name(1)], now, SETTINGS)


def test_a_lost_machine_can_only_be_replaced() -> None:
    spec = a_spec(ladder=(Remedy.REBOOT,))
    assert remedy(a_fleet(3, lost(1, SILENT), spec=spec)) is Remedy.REPLACE
    assert remedy(a_fleet(3, lost(1, SILENT), spec=a_spec(auto_replace=False))) is Remedy.NONE


def test_a_sick_one_gets_what_the_ladder_says() -> None:
    spec = a_spec(ladder=(Remedy.REBOOT, Remedy.REPLACE))
    assert remedy(a_fleet(3, sick(1, at(), a_finding(Remedy.REBOOT)), spec=spec)) is Remedy.REBOOT


def test_the_budget_that_is_spent_is_named() -> None:
    spent = [
        (Disruption(0), "as many nodes of pool training as may be are under repair"),
        (Disruption(5, max_replacements_per_hour=0), "0 repairs were begun within the hour"),
        (Disruption(5), ""),
    ]
    for disruption, expected in spent:
        fleet = a_fleet(3, sick(1, at()), spec=a_spec(disruption=disruption))
        pool, node = fleet.pools[POOL], fleet.nodes[name(1)]
        assert candidates.over_budget(fleet, pool, node, LATER) == expected


def test_the_budget_of_a_zone_is_named() -> None:
    spec = a_spec(disruption=Disruption(5, max_unavailable_per_zone=1))
    fleet = a_fleet(3, spec=spec)
    here = [
        ev.NodeRegistered(at(), name(n), pool=POOL, instance_id=name(n), region="r", zone="a")
        for n in (1, 2)
    ]
    fold_all(here, sick(1, at()), sick(2, at()), condemned(2, at(), "sickness"), fleet=fleet)
    because = candidates.over_budget(fleet, fleet.pools[POOL], fleet.nodes[name(1)], LATER)
    assert because == "1 nodes of zone a are under repair, no more may be"
    node = fleet.nodes[name(3)]
    assert candidates.over_budget(fleet, fleet.pools[POOL], node, LATER) == ""
