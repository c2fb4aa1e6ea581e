"""Beginning repairs: who is taken, how many, and what is said when nobody is."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from factories import (
    POOL,
    PROVIDER,
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
    issued,
    lost,
    mending,
    name,
    releasing,
    sick,
    sighted,
    well,
)
from navarch.core import health
from navarch.core.model import events as ev
from navarch.core.model.command import CommandType
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Outcome, Told
from navarch.core.model.node import Intent
from navarch.core.model.pool import Disruption
from navarch.core.model.report import Health
from navarch.core.model.sightings import Sightings
from navarch.core.repair import beginning

SILENT = at(minutes=2)
LATER = at(minutes=4)
REBOOT_FIRST = (Remedy.REBOOT, Remedy.REPLACE)


def listing(fleet: Fleet, begun_at: datetime = LATER) -> Sightings:
    """Return the sighting of a list that shows every machine of the fleet."""
    return sighted(fleet, a_list(begun_at, *map(a_machine, range(1, fleet.serial + 1))))


def begun(fleet: Fleet, now: datetime = LATER, seen: Sightings | None = None) -> list[ev.Fact]:
    seen = listing(fleet) if seen is None else seen
    return list(beginning.begun(fleet, seen, now, SETTINGS))


def condemned_ids(fleet: Fleet, now: datetime = LATER, seen: Sightings | None = None) -> list[str]:
    facts = begun(fleet, now, seen)
    return [fact.instance_id for fact in facts if isinstance(fact, ev.InstanceCondemned)]


def budget(at_once: int, percent: float = 0.0, an_hour: int = 6, zone: int = 0) -> ev.Fact:
    """Return the configuration of a pool that may lose so many nodes to repair."""
    disruption = Disruption(at_once, percent, zone, an_hour)
    return ev.PoolConfigured(at(), a_spec(disruption=disruption))


def obstacle(fleet: Fleet, n: int = 1, now: datetime = LATER) -> str:
    node = fleet.nodes[name(n)]
    return beginning.obstacle(fleet, listing(fleet), node, now, SETTINGS)


# --- silence ---------------------------------------------------------------------------------


def test_a_lost_node_is_condemned_and_says_why() -> None:
    because = "silent for 91 s; fake answers and still lists it"
    expected = ev.InstanceCondemned(LATER, name(1), because, cause="silence")
    assert begun(a_fleet(3, lost(1, SILENT))) == [expected]


def test_the_reason_is_the_silence_even_when_something_else_has_happened_since() -> None:
    cordon = ev.IntentChanged(at(minutes=3), name(1), Intent.CORDONED, "cordon by an operator")
    (fact,) = begun(a_fleet(3, lost(1, SILENT), cordon))
    assert isinstance(fact, ev.InstanceCondemned)
    assert "silent" in fact.because


def test_a_lost_node_without_its_second_witness_waits() -> None:
    fleet = a_fleet(3, lost(1, SILENT))
    assert begun(fleet, seen=Sightings()) == []
    assert begun(fleet, seen=sighted(fleet, a_list(LATER, a_machine(2)))) == []


def test_a_node_that_was_sick_and_fell_silent_is_replaced_for_its_silence() -> None:
    """Its verdict needs no confirmation any more: nobody is there to confirm it."""
    fleet = a_fleet(3, sick(1, at(), reports=1), lost(1, SILENT))
    (fact,) = begun(fleet)
    assert isinstance(fact, ev.InstanceCondemned)
    assert (fact.cause, fact.hardware) == ("silence", ())


def test_a_silent_machine_at_the_maximum_is_condemned_all_the_same() -> None:
    assert condemned_ids(a_fleet(3, lost(1, SILENT), spec=a_spec(max_nodes=3))) == [name(1)]


# --- sickness --------------------------------------------------------------------------------


def test_a_sick_node_is_condemned_and_says_why() -> None:
    because = "xid 79 on GPU 0: rule xid-79; confirmed by 2 reports"
    assert begun(a_fleet(3, sick(1, SILENT))) == [
        ev.InstanceCondemned(LATER, name(1), because, cause="sickness", hardware=("GPU-0",))
    ]


def test_a_check_that_failed_says_what_it_saw() -> None:
    seen = a_finding(rule="check:nvml", event=None, because="check nvml: 7 of 8 GPUs")
    (fact,) = begun(a_fleet(3, sick(1, SILENT, seen)))
    assert fact == ev.InstanceCondemned(
        LATER, name(1), "check nvml: 7 of 8 GPUs; confirmed by 2 reports", cause="sickness"
    )


def test_one_report_is_not_enough() -> None:
    fleet = a_fleet(3, sick(1, SILENT, reports=1))
    assert begun(fleet) == []
    assert obstacle(fleet) == "1 of 2 reports have confirmed it"


def test_how_many_reports_are_enough_is_the_pools_own() -> None:
    fleet = a_fleet(3, sick(1, SILENT, reports=2), spec=a_spec(unhealthy_after=3))
    assert begun(fleet) == []
    assert not health.confirmed(fleet, fleet.nodes[name(1)])
    fold_all(ev.PoolConfigured(LATER, a_spec(unhealthy_after=2)), fleet=fleet)
    assert condemned_ids(fleet) == [name(1)]


@pytest.mark.parametrize("remedy", [Remedy.NONE, Remedy.OBSERVE, Remedy.RESTART_APP])
def test_a_sick_node_that_nothing_asks_to_repair_is_left_alone(remedy: Remedy) -> None:
    assert begun(a_fleet(3, sick(1, SILENT, a_finding(remedy)))) == []


def test_a_verdict_of_release_0_1_without_findings_repairs_nothing() -> None:
    judged = ev.HealthJudged(at(), name(1), Health.UNHEALTHY, "79")
    assert begun(a_fleet(3, judged)) == []


def test_lost_nodes_come_before_sick_ones() -> None:
    fleet = a_fleet(5, sick(1, at(minutes=1)), lost(2, SILENT))
    assert condemned_ids(fleet) == [name(2)]


def test_a_repair_in_place_begins_with_a_drain() -> None:
    spec = a_spec(ladder=REBOOT_FIRST, disruption=Disruption(2))
    reboot = a_finding(Remedy.REBOOT, code=119)
    fleet = a_fleet(5, sick(1, SILENT, reboot), sick(2, SILENT, reboot), spec=spec)
    because = "xid 119 on GPU 0: rule xid-119; confirmed by 2 reports"
    facts = begun(fleet)
    expected: list[ev.Fact] = []
    for n in (1, 2):
        expected.append(ev.RepairStarted(LATER, name(n), Remedy.REBOOT, because))
        drain = replace(issued(n, CommandType.DRAIN, LATER, node_id=name(n)), at=LATER)
        expires_at = LATER + SETTINGS.command_timeout
        reason = "to be repaired: reboot"
        expected.append(replace(drain, expires_at=expires_at, reason=reason))
    assert facts == expected
    fold_all(facts, fleet=fleet)
    assert fleet.nodes[name(1)].workload is Told.DRAINING
    assert begun(fleet) == []


@pytest.mark.parametrize(
    "fact",
    [
        ev.PoolPaused(at(), POOL, "maintenance"),
        ev.PoolRetired(at(), POOL, "not in the file"),
        ev.RepairHalted(at(), POOL, "2 of 3 are silent"),
    ],
)
@pytest.mark.parametrize("trouble", [lost(1, SILENT), sick(1, SILENT)])
def test_pools_that_are_not_repaired(fact: ev.Fact, trouble: ev.Fact) -> None:
    fleet = a_fleet(3, trouble, fact)
    assert begun(fleet) == []
    assert obstacle(fleet) != ""


def test_without_auto_replace_a_lost_node_is_waited_for_and_a_sick_one_handed_over() -> None:
    spec = a_spec(auto_replace=False)
    assert begun(a_fleet(3, lost(1, SILENT), spec=spec)) == []
    (fact,) = begun(a_fleet(3, sick(1, SILENT), spec=spec))
    assert isinstance(fact, ev.NodeHandedOver)
    assert fact.because.startswith("its pool allows no repair that would help; xid 79 on GPU 0")


def test_strangers_and_nodes_that_leave_or_end_are_not_repaired() -> None:
    facts: list[ev.Fact] = [sick(1, SILENT), releasing(1, LATER), sick(2, SILENT)]
    judged = ev.HealthJudged(at(), "lab-1", Health.UNHEALTHY, "79", (a_finding(),), bad_reports=9)
    silent: list[ev.Fact] = [ev.NodeLost(SILENT, "lab-1", "silent"), lost(3, SILENT)]
    silent.append(ending(3, LATER))
    fleet = a_fleet(3, a_stranger(), judged, facts, ending(2, LATER), silent, target=0)
    assert begun(fleet) == []


def test_a_node_is_condemned_once() -> None:
    fleet = a_fleet(3, budget(3), lost(1, SILENT), condemned(1, at(minutes=3)))
    assert begun(fleet) == []


# --- the budget ------------------------------------------------------------------------------


def test_one_at_a_time_by_default_the_longest_lost_first() -> None:
    assert condemned_ids(a_fleet(5, lost(2, SILENT), lost(1, at(minutes=3)))) == [name(2)]


@pytest.mark.parametrize(
    "at_once,percent,expected", [(0, 0.0, 0), (2, 0.0, 2), (0, 50.0, 3), (2, 50.0, 3), (1, 16.0, 1)]
)
@pytest.mark.parametrize("trouble", [lost, sick])
def test_the_larger_of_number_and_share_counts(
    at_once: int, percent: float, expected: int, trouble: type
) -> None:
    fleet = a_fleet(7, budget(at_once, percent), *(trouble(n, SILENT) for n in (1, 2, 3, 4)))
    assert len(condemned_ids(fleet)) == expected


def test_a_machine_is_in_replacement_until_it_is_gone() -> None:
    in_replacement: list[ev.Fact] = [condemned(1, SILENT), ending(1, at(minutes=3))]
    fleet = a_fleet(7, lost(1, SILENT), lost(2, SILENT), in_replacement)
    assert begun(fleet) == []


def test_the_hour_has_a_budget_of_its_own() -> None:
    fleet = a_fleet(9, budget(9, an_hour=3), *(lost(n, SILENT) for n in (1, 2, 3, 4)))
    assert len(condemned_ids(fleet)) == 3
    fold_all(condemned(1, SILENT), condemned(2, SILENT), fleet=fleet)
    assert condemned_ids(fleet) == [name(3)]
    late = SILENT + timedelta(hours=1)
    assert condemned_ids(fleet, late) == [name(3), name(4)]


def test_both_rungs_share_the_budgets() -> None:
    spec = a_spec(ladder=REBOOT_FIRST, disruption=Disruption(2, max_replacements_per_hour=3))
    reboot, replace_ = a_finding(Remedy.REBOOT, code=119), a_finding(Remedy.REPLACE)
    found = [reboot, replace_, reboot, replace_]
    fleet = a_fleet(9, *(sick(n, at(seconds=n), one) for n, one in enumerate(found, 1)), spec=spec)
    facts = begun(fleet)
    assert [ev.kind(fact) for fact in facts] == [
        "repair_started",
        "command_issued",
        "instance_condemned",
    ]
    fold_all(facts, ev.RepairEnded(LATER, name(1), Outcome.REVOKED, "well"), fleet=fleet)
    fold_all(well(1, LATER), fleet=fleet)
    assert [ev.subjects(fact)[0] for fact in begun(fleet)] == [name(3), name(3)]
    fold_all(begun(fleet), well(2, LATER), fleet=fleet)
    fold_all(ev.InstanceReprieved(LATER, name(2), "well"), fleet=fleet)
    assert begun(fleet) == []  # the hour's three are spent


def test_a_zone_has_a_budget_of_its_own_while_repairs_are_begun_too() -> None:
    places = [
        ev.NodeRegistered(at(), name(n), PROVIDER, "", "ab"[n % 2], "", POOL, name(n))
        for n in range(1, 11)
    ]
    troubles = [lost(n, SILENT) for n in (2, 4, 1, 3)]
    fleet = a_fleet(10, budget(9, zone=1), places, troubles)
    assert condemned_ids(fleet) == [name(1), name(2)]
    fold_all(condemned(2, LATER), fleet=fleet)
    assert condemned_ids(fleet) == [name(1)]


# --- no room ---------------------------------------------------------------------------------


def test_at_the_maximum_a_sick_node_waits_for_room() -> None:
    """It still serves a little, and its replacement can not be bought before it ends."""
    fleet = a_fleet(3, sick(1, SILENT), spec=a_spec(max_nodes=3))
    assert begun(fleet) == []
    assert obstacle(fleet) == (
        "pool training is at max_nodes 3: no room to buy the replacement first, and "
        "replace_in_place is off"
    )


@pytest.mark.parametrize(
    "change", [{"replace_in_place": True}, {"max_nodes": 4}], ids=["agreed", "room"]
)
def test_with_room_or_leave_it_is_replaced(change: dict[str, object]) -> None:
    spec = a_spec(**{"max_nodes": 3, **change})
    assert condemned_ids(a_fleet(3, sick(1, SILENT), spec=spec)) == [name(1)]


def test_at_the_maximum_a_node_that_is_not_missed_is_replaced() -> None:
    """Two are wanted and three serve: the pool has what it wants without the sick one."""
    fleet = a_fleet(3, sick(1, SILENT), spec=a_spec(max_nodes=3), target=2)
    assert condemned_ids(fleet) == [name(1)]


def test_a_reboot_needs_no_room() -> None:
    spec = a_spec(max_nodes=3, ladder=REBOOT_FIRST)
    (started, _) = begun(a_fleet(3, sick(1, SILENT, a_finding(Remedy.REBOOT)), spec=spec))
    assert isinstance(started, ev.RepairStarted)


def test_no_more_are_condemned_than_replacements_can_be_bought() -> None:
    """Budget for nine and room for two: a third would be closed to work and wait."""
    spec = a_spec(max_nodes=8, disruption=Disruption(9))
    sick_ones = [sick(n, SILENT) for n in (1, 2, 3)]
    assert condemned_ids(a_fleet(8, *sick_ones, spec=spec, target=6)) == [name(1), name(2)]
    assert len(condemned_ids(a_fleet(6, *sick_ones, spec=spec))) == 2
    assert condemned_ids(a_fleet(7, *sick_ones, spec=spec, target=8)) == []


# --- a dry run -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble,rungs,rung",
    [
        (lost(1, SILENT), (Remedy.REPLACE,), Remedy.REPLACE),
        (sick(1, SILENT), (Remedy.REPLACE,), Remedy.REPLACE),
        (sick(1, SILENT, a_finding(Remedy.REBOOT)), REBOOT_FIRST, Remedy.REBOOT),
        (sick(1, SILENT, a_finding(Remedy.INSPECT)), REBOOT_FIRST, Remedy.INSPECT),
    ],
)
def test_a_dry_run_says_once_what_it_would_do(
    trouble: ev.Fact, rungs: tuple[Remedy, ...], rung: Remedy
) -> None:
    fleet = a_fleet(3, trouble, spec=a_spec(dry_run=True, ladder=rungs))
    facts = begun(fleet)
    assert [(type(fact), getattr(fact, "rung", "")) for fact in facts] == [
        (ev.RepairWithheld, rung)
    ]
    fold_all(facts, fleet=fleet)
    assert begun(fleet) == []
    node = fleet.nodes[name(1)]
    assert (node.withheld, node.condemned, node.handed_over) == (rung.value, False, "")
    assert node.workload is Told.OPEN


def test_a_dry_run_says_it_again_when_it_would_do_something_else() -> None:
    spec = a_spec(dry_run=True, ladder=REBOOT_FIRST)
    fleet = a_fleet(3, sick(1, SILENT, a_finding(Remedy.REBOOT)), spec=spec)
    fold_all(begun(fleet), sick(1, at(minutes=3)), fleet=fleet)
    (fact,) = begun(fleet)
    assert isinstance(fact, ev.RepairWithheld)
    assert fact.rung is Remedy.REPLACE


@pytest.mark.parametrize(
    "trouble,end",
    [
        (lost(1, SILENT), ev.NodeReturned(at(minutes=3), name(1), "it speaks")),
        (sick(1, SILENT), well(1, at(minutes=3))),
    ],
)
def test_a_dry_run_says_it_again_after_a_relapse(trouble: ev.Fact, end: ev.Fact) -> None:
    fleet = a_fleet(3, trouble, spec=a_spec(dry_run=True))
    first = begun(fleet)
    fold_all(first, end, replace(trouble, at=at(minutes=3)), fleet=fleet)
    later = at(minutes=9)
    assert [type(fact) for fact in begun(fleet, later, listing(fleet, later))] == [
        ev.RepairWithheld
    ]


def test_a_dry_run_takes_nothing_from_the_budgets() -> None:
    spec = a_spec(dry_run=True)
    fleet = a_fleet(5, sick(1, SILENT), sick(2, SILENT), spec=spec)
    assert [ev.kind(fact) for fact in begun(fleet)] == ["repair_withheld"] * 2


# --- a person --------------------------------------------------------------------------------


def test_a_node_is_handed_over_once_and_kept_from_work() -> None:
    fleet = a_fleet(3, sick(1, SILENT, a_finding(Remedy.INSPECT, code=110)))
    facts = begun(fleet)
    because = "its rule asks for a person; xid 110 on GPU 0: rule xid-110; confirmed by 2 reports"
    assert facts == [ev.NodeHandedOver(LATER, name(1), because)]
    fold_all(facts, fleet=fleet)
    assert begun(fleet) == []
    node = fleet.nodes[name(1)]
    assert (node.handed_over, node.workload) == (because, Told.CORDONED)


def test_a_node_that_repairs_have_not_helped_is_handed_over() -> None:
    spec = a_spec(ladder=(Remedy.REBOOT,))
    failed: list[ev.Fact] = [
        mending(1, at(minutes=1)),
        ev.RepairEnded(SILENT, name(1), Outcome.FAILED, "refused"),
    ]
    fleet = a_fleet(3, sick(1, at(), a_finding(Remedy.REBOOT)), failed, spec=spec)
    (fact,) = begun(fleet)
    assert isinstance(fact, ev.NodeHandedOver)
    assert fact.because.startswith("1 repairs within 1 day, 0:00:00 have not helped; xid 79")
