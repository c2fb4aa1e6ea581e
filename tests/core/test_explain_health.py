"""Explaining health: event, rule, verdict, budget, action, and what would be otherwise."""

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
    condemned,
    fold_all,
    mending,
    name,
    running,
    sick,
    sighted,
    well,
    xid,
)
from navarch.core import explain
from navarch.core.explain_health import REMEDIES, RULES_SHOWN
from navarch.core.model import events as ev
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Lemon, Outcome, Stage, Told
from navarch.core.model.node import Intent
from navarch.core.model.pool import Disruption
from navarch.core.model.report import Health
from navarch.core.model.sightings import Sightings
from navarch.core.repair import beginning

NOW = at(minutes=5)
SICK = at(minutes=4)


def of_node(fleet: Fleet, now: datetime = NOW, seen: Sightings | None = None) -> list[str]:
    seen = seen or sighted(fleet, a_list(now, a_machine(1)))
    return list(explain.explain_node(fleet, seen, fleet.nodes[name(1)], now, SETTINGS))


def of_pool(fleet: Fleet) -> list[str]:
    return list(explain.explain_pool(fleet, Sightings(), fleet.pools[POOL], NOW, SETTINGS))


def adopted(name_: str = "by xid") -> ev.PolicyAdopted:
    return ev.PolicyAdopted(at(), name_, BY_XID.digest, "read from a file")


# --- findings --------------------------------------------------------------------------------


def test_a_finding_is_told_with_event_rule_verdict_and_remedy() -> None:
    thrice = a_finding(when=SICK, count=3, because="the catalog of XIDs asks for it")
    lines = of_node(a_fleet(3, sick(1, SICK, thrice)))
    assert (
        "event 1: xid 79 on GPU 0, 3 times, the last 60 s ago: rule xid-79: unhealthy, only "
        "another machine puts it right (the catalog of XIDs asks for it)"
    ) in lines


def test_a_check_is_told_as_the_agent_put_it() -> None:
    seven = a_finding(event=None, number=0, when=SICK, because="check nvml: 7 of 8 GPUs")
    lines = of_node(a_fleet(3, sick(1, SICK, seven)))
    text = "check nvml: 7 of 8 GPUs, 60 s ago: unhealthy, only another machine puts it right"
    assert text in lines


def test_the_newest_finding_comes_first_and_notes_are_told_too() -> None:
    note = a_finding(Remedy.RESTART_APP, SICK, 13, status=Health.HEALTHY, number=2)
    lines = of_node(a_fleet(3, sick(1, SICK, a_finding(when=SICK), note)))
    told = [line for line in lines if line.startswith("event ")]
    assert [line[:7] for line in told] == ["event 2", "event 1"]
    assert told[0].endswith("the application has to be restarted, the node is fine")


def test_every_remedy_has_its_words() -> None:
    assert set(REMEDIES) == set(Remedy)


def test_the_policy_that_judged_is_named() -> None:
    lines = of_node(a_fleet(3, adopted(), sick(1, SICK)))
    assert f"judged by policy by xid ({BY_XID.digest})" in lines
    later = ev.PolicyAdopted(at(), "other", "0the2", "so")
    lines = of_node(a_fleet(3, later, sick(1, SICK)))
    assert f"judged by policy an earlier one ({BY_XID.digest})" in lines


def test_a_rule_that_could_not_be_evaluated_is_named() -> None:
    failed = replace(sick(1, SICK), failed=("site: no such key",))
    fleet = a_fleet(3, adopted(), failed)
    assert "a rule could not be evaluated: site: no such key" in of_node(fleet)
    assert "rule site could not be evaluated in 1 verdicts of the fleet" in of_pool(fleet)


def test_what_another_policys_rules_could_not_do_is_forgotten() -> None:
    failed = replace(sick(1, SICK), failed=("site: no such key",))
    later = ev.PolicyAdopted(at(), "other", "0the2", "so")
    fleet = fold_all([later], fleet=a_fleet(3, adopted(), failed))
    assert not any("could not be evaluated" in line for line in of_pool(fleet))


def test_only_the_rules_that_fail_most_are_named_for_a_pool() -> None:
    failed = [f"rule-{n}: no such key" for n in range(RULES_SHOWN + 2)]
    first = replace(sick(1, SICK), failed=tuple(failed))
    lines = of_pool(a_fleet(3, first, replace(first, failed=(failed[-1],))))
    told = [line.split()[1] for line in lines if "could not be evaluated" in line]
    assert told == [f"rule-{RULES_SHOWN + 1}", *(f"rule-{n}" for n in range(RULES_SHOWN - 1))]


# --- what would be otherwise -----------------------------------------------------------------


@pytest.mark.parametrize(
    "others,expected",
    [
        ([], ["without event 1 it would be healthy"]),
        (
            [a_finding(code=48, status=Health.DEGRADED, number=2)],
            ["without event 1 it would be degraded"],
        ),
        ([a_finding(code=95, number=2)], []),
        ([a_finding(event=None, number=0)], []),
    ],
)
def test_the_event_that_decides_is_named(others: list[object], expected: list[str]) -> None:
    judged = replace(sick(1, SICK), findings=(a_finding(), *others))
    lines = of_node(a_fleet(3, judged))
    assert [line for line in lines if line.startswith("without")] == expected


def test_the_way_back_of_a_condition_is_counted() -> None:
    hot = a_finding(rule="thermal", lasting=False)
    lines = of_node(a_fleet(3, replace(sick(1, SICK, hot), clean_reports=2)))
    assert "2 of the 3 clean reports in a row that end it" in lines


def test_a_debt_names_what_ends_it() -> None:
    lines = of_node(a_fleet(3, sick(1, SICK)))
    text = f"clean reports alone do not end xid-79: its remedy does, or `navarch clear {name(1)}`"
    assert text in lines


def test_a_node_that_relapses_says_why_it_takes_longer() -> None:
    hot = a_finding(rule="thermal", lasting=False)
    again = [sick(1, at(minutes=1)), well(1, at(minutes=2)), sick(1, SICK, hot)]
    lines = of_node(a_fleet(3, again))
    assert "0 of the 6 clean reports in a row that end it" in lines
    assert "it fell ill 2 times within a day: it takes more to heal" in lines


# --- what is done, and what is not -----------------------------------------------------------


@pytest.mark.parametrize(
    "spec,judged,expected",
    [
        (
            {},
            sick(1, SICK, reports=1),
            "not repaired yet (replace): 1 of 2 reports have confirmed it",
        ),
        (
            {"dry_run": True},
            sick(1, SICK),
            "it would be repaired (replace), but pool training is a dry run",
        ),
        (
            {"disruption": Disruption(0)},
            sick(1, SICK),
            (
                "not repaired yet (replace): as many nodes of pool training as may be are under "
                "repair"
            ),
        ),
        (
            {"max_nodes": 3},
            sick(1, SICK),
            (
                "not repaired yet (replace): pool training is at max_nodes 3: no room to buy the "
                "replacement first, and replace_in_place is off"
            ),
        ),
        (
            {},
            sick(1, SICK, a_finding(Remedy.OBSERVE)),
            "nothing that stands against it asks for a repair",
        ),
        (
            {"auto_replace": False},
            sick(1, SICK, reports=0),
            "not repaired yet (inspect): 0 of 2 reports have confirmed it",
        ),
    ],
)
def test_a_sick_node_says_why_it_is_not_repaired(
    spec: dict[str, object], judged: ev.Fact, expected: str
) -> None:
    assert expected in of_node(a_fleet(3, judged, spec=a_spec(**spec)))


def test_a_halted_pool_is_named_with_the_way_out() -> None:
    halted = ev.RepairHalted(SICK, POOL, "3 of 3 nodes are ill")
    fleet = a_fleet(3, sick(1, SICK), halted)
    text = "repair of pool training is halted: 3 of 3 nodes are ill"
    assert f"not repaired yet (replace): {text}" in of_node(fleet)
    lines = of_pool(fleet)
    assert "repair is halted: 3 of 3 nodes are ill" in lines
    assert f"`navarch pool resume {POOL}` says that you have looked" in lines
    fold_all(ev.RepairHalfOpened(NOW, POOL, "a person has looked"), fleet=fleet)
    text = "repair tries one node at a time, after it was halted: 3 of 3 nodes are ill"
    assert text in of_pool(fleet)


def test_a_repair_says_how_far_it_has_come() -> None:
    fleet = a_fleet(3, sick(1, SICK), mending(1, SICK))
    assert "repair reboot is draining since 60 s: it is sick" in of_node(fleet)
    fold_all(ev.RepairAdvanced(NOW, name(1), Stage.PROBATION, "done"), fleet=fleet)
    assert "repair reboot is probation since 0 s: it is sick" in of_node(fleet)


def test_ended_repairs_and_a_handover_are_told() -> None:
    ended = ev.RepairEnded(SICK, name(1), Outcome.FAILED, "refused")
    person = ev.NodeHandedOver(NOW, name(1), "nothing is left to try")
    lines = of_node(a_fleet(3, sick(1, SICK), mending(1, SICK), ended, person))
    assert "reboot failed 60 s ago" in lines
    assert "a person has to look: nothing is left to try" in lines
    assert not any(line.startswith("not repaired yet") for line in lines)


def test_a_condemned_machine_says_whether_it_is_drained() -> None:
    doomed: list[ev.Fact] = [sick(1, SICK), condemned(1, SICK, "sickness")]
    fleet = a_fleet(3, *doomed, ev.DrainBegun(SICK, name(1), "replaced"))
    lines = of_node(fleet)
    assert "it will be replaced: it is sick" in lines
    assert "its replacement serves; it is drained since 60 s" in lines


def test_distrusted_hardware_is_named_and_why_it_is_not_replaced() -> None:
    fleet = a_fleet(0, spec=a_spec(disruption=Disruption(0)), target=1)
    fleet.lemons["GPU-0"] = Lemon(2, at(), "xid 79")
    lines = of_node(fold_all(running(1), fleet=fleet))
    because = "GPU GPU-0 has made 2 machines sick, last at 2026-05-01 12:00"
    assert f"its hardware is distrusted: {because}" in lines
    text = "as many nodes of pool training as may be are under repair"
    assert f"not repaired yet (replace): {text}" in lines


# --- the workload manager --------------------------------------------------------------------


def test_what_slurm_or_its_like_was_told_is_told() -> None:
    told = ev.WorkloadTold(SICK, name(1), Told.DRAINING, "it has agreed")
    fleet = a_fleet(3, ev.IntentChanged(SICK, name(1), Intent.DRAINING, "so"), told)
    seen = Sightings(drains={name(1): "2 jobs are left"})
    lines = of_node(fleet, seen=seen)
    assert "the workload manager was told that it is draining" in lines
    assert "the workload manager says: 2 jobs are left" in lines


def test_what_it_is_being_told_and_has_not_agreed_to_is_told() -> None:
    telling = ev.WorkloadTelling(SICK, name(1), Told.CORDONED, "by an operator")
    lines = of_node(a_fleet(3, ev.IntentChanged(SICK, name(1), Intent.CORDONED, "so"), telling))
    text = "the workload manager, told that it is cordoned, has not agreed yet"
    assert text in lines


def test_a_refusal_that_stands_is_told() -> None:
    refused = ev.WorkloadRefused(SICK, name(1), Told.DRAINING, "slurm refuses: no access")
    lines = of_node(a_fleet(3, sick(1, SICK), mending(1, SICK), refused))
    assert "it should be draining: slurm refuses: no access" in lines


def test_a_refusal_that_has_been_given_in_to_is_not() -> None:
    because = "slurm refuses: no access"
    facts: list[ev.Fact] = [
        ev.IntentChanged(SICK, name(1), Intent.CORDONED, "cordon by an operator"),
        ev.WorkloadRefused(SICK, name(1), Told.CORDONED, because),
        ev.IntentChanged(SICK, name(1), Intent.IN_SERVICE, because, wish=False),
    ]
    lines = of_node(a_fleet(3, *facts))
    assert lines[0] == f"node {name(1)} is active: {because}"
    assert not any(line.startswith("it should be") for line in lines)


# --- pools -----------------------------------------------------------------------------------


def test_a_pool_counts_its_sick_and_what_was_decided_about_them() -> None:
    degraded = ev.HealthJudged(SICK, name(4), Health.DEGRADED, "xid 48")
    person = ev.NodeHandedOver(SICK, name(3), "nothing is left to try")
    facts: list[ev.Fact] = [*(sick(n, SICK) for n in (1, 2, 3)), degraded, person, mending(2, SICK)]
    spec = a_spec(dry_run=True)
    lines = of_pool(a_fleet(5, *facts, condemned(1, SICK, "sickness"), spec=spec))
    for line in (
        "3 nodes are unhealthy, 1 degraded",
        "1 are being replaced, 1 repaired where they are",
        "1 need a person",
        "it is a dry run: repair only says what it would do",
    ):
        assert line in lines


def test_a_pool_that_is_well_says_nothing_of_it() -> None:
    lines = of_pool(a_fleet(2, well(1, SICK)))
    assert not any("unhealthy" in line or "person" in line for line in lines)


# --- explanation and decision tell one story -------------------------------------------------


@pytest.mark.parametrize("reports", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "spec", [{}, {"max_nodes": 3}, {"dry_run": True}, {"disruption": Disruption(0)}]
)
def test_what_is_not_done_is_explained_and_what_is_done_is_not(
    reports: int, spec: dict[str, object]
) -> None:
    fleet = a_fleet(3, sick(1, SICK, reports=reports), spec=a_spec(**spec))
    seen = sighted(fleet, a_list(NOW, *map(a_machine, (1, 2, 3))))
    done = [
        fact
        for fact in beginning.begun(fleet, seen, NOW, SETTINGS)
        if isinstance(fact, ev.InstanceCondemned)
    ]
    told = [line for line in of_node(fleet, seen=seen) if "repaired" in line]
    assert bool(done) != bool(told)


def test_an_event_without_a_number_is_told_without_one() -> None:
    finding = a_finding(event=xid(79, gpu_index=2), number=0, when=SICK)
    lines = of_node(a_fleet(3, sick(1, SICK, finding)))
    assert any(line.startswith("xid 79 on GPU 2, 60 s ago: rule xid-79") for line in lines)
