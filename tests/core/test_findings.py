"""Findings: what stands against a node, and what ends it."""

from __future__ import annotations

import pytest

from factories import (
    BY_XID,
    SETTINGS,
    a_fleet,
    a_spec,
    at,
    check,
    fold_all,
    name,
    recovery,
    thermal,
    xid,
)
from navarch.core import concluding, health
from navarch.core.judging import HealthPolicy, Unjudged
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.finding import Finding, Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Node
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.core.strategies import Strategies

CLEAN = (check(),)


def judged(
    fleet: Fleet,
    *events: HealthEvent,
    results: tuple[CheckResult, ...] = CLEAN,
    minute: float = 0,
    policy: HealthPolicy = BY_XID,
) -> Node:
    """Report, judge, and return the node."""
    now = at(minutes=minute)
    number = fleet.event_serial + 1 if events else 0
    fold_all(ev.HealthReported(now, name(1), results, events, number), fleet=fleet)
    fold_all(health.judge(fleet, now, policy, SETTINGS), fleet=fleet)
    return fleet.nodes[name(1)]


def rules(node: Node) -> dict[str, str]:
    """Return what stands in a node's findings: the status by rule."""
    return {finding.rule: finding.status.value for finding in node.findings}


# --- what a finding says ---------------------------------------------------------------------


def test_a_finding_says_rule_event_number_and_remedy() -> None:
    node = judged(a_fleet(1), xid(79), minute=3)
    assert node.findings == (
        Finding(
            "xid-79",
            Health.UNHEALTHY,
            Remedy.REPLACE,
            since=at(minutes=3),
            seen=at(minutes=3),
            event=xid(79),
            number=1,
            lasting=True,
        ),
    )
    assert (node.health, node.judged_by) == (Health.UNHEALTHY, BY_XID.digest)


def test_equal_findings_are_one_that_counts() -> None:
    fleet = a_fleet(1)
    judged(fleet, xid(48, count=3))
    node = judged(fleet, xid(48, message="again"), minute=5)
    (finding,) = node.findings
    assert (finding.count, finding.number) == (4, 2)
    assert (finding.since, finding.seen) == (at(), at(minutes=5))
    assert finding.event == xid(48, message="again")


def test_other_gpus_kinds_and_rules_are_other_findings() -> None:
    node = judged(a_fleet(1), xid(48), xid(48, gpu_index=1), xid(63), thermal())
    assert [finding.number for finding in node.findings] == [1, 2, 3, 4]
    assert len({finding.key for finding in node.findings}) == 4


def test_the_newest_findings_come_last() -> None:
    fleet = a_fleet(1)
    judged(fleet, xid(48), xid(63))
    node = judged(fleet, xid(48), minute=1)
    assert [finding.rule for finding in node.findings] == ["xid-63", "xid-48"]


@pytest.mark.parametrize(
    "events,expected",
    [
        ((xid(13), xid(31)), Health.HEALTHY),
        ((xid(13), xid(48)), Health.DEGRADED),
        ((xid(48), xid(79), xid(13)), Health.UNHEALTHY),
        ((xid(9999),), Health.DEGRADED),
    ],
)
def test_health_is_the_worst_of_them(events: tuple[HealthEvent, ...], expected: Health) -> None:
    node = judged(a_fleet(1), *events)
    assert node.health is expected
    assert len(node.findings) == len(events)


@pytest.mark.parametrize(
    "status,remedy", [(Health.DEGRADED, Remedy.OBSERVE), (Health.UNHEALTHY, Remedy.REBOOT)]
)
def test_a_check_of_the_agents_own_is_a_finding_too(status: Health, remedy: Remedy) -> None:
    bad = check(status, message="7 of 8 GPUs")
    node = judged(a_fleet(1), results=(bad,))
    assert node.findings == (
        Finding("check:nvml", status, remedy, at(), at(), because="check nvml: 7 of 8 GPUs"),
    )
    (again,) = judged(a_fleet(1, *_reports_of(bad)), results=(bad,), minute=1).findings
    assert (again.count, again.since, again.seen) == (2, at(), at(minutes=1))


def _reports_of(result: CheckResult) -> list[ev.Fact]:
    fleet = a_fleet(1)
    reported = ev.HealthReported(at(), name(1), (result,))
    fold_all(reported, fleet=fleet)
    return [reported, *health.judge(fleet, at(), BY_XID, SETTINGS)]


def test_a_check_that_got_better_by_half_leaves_the_worse_finding_until_it_is_clean() -> None:
    fleet = a_fleet(1)
    judged(fleet, results=(check(Health.UNHEALTHY),))
    node = judged(fleet, results=(check(Health.DEGRADED),), minute=1)
    assert (node.health, rules(node)) == (Health.DEGRADED, {"check:nvml": "degraded"})


def test_without_a_policy_an_event_is_news_and_no_death() -> None:
    node = judged(a_fleet(1), xid(79), policy=Unjudged())
    (finding,) = node.findings
    assert (node.health, finding.rule, finding.remedy) == (
        Health.DEGRADED,
        "unjudged",
        Remedy.OBSERVE,
    )


# --- notes -----------------------------------------------------------------------------------


def test_noise_of_applications_is_noted_and_changes_nothing() -> None:
    fleet = a_fleet(1)
    for minute in range(50):
        judged(fleet, xid(13, count=1_000), xid(31, gpu_index=5), minute=minute)
        assert fleet.nodes[name(1)].health is Health.HEALTHY
    node = fleet.nodes[name(1)]
    assert [finding.count for finding in node.findings] == [50_000, 50]
    assert (node.bad_reports, node.unhealthy_at) == (0, ())


def test_noise_does_not_disturb_who_is_healing() -> None:
    fleet = a_fleet(1)
    judged(fleet, xid(48))
    seen = [judged(fleet, xid(13), minute=minute).clean_reports for minute in (1, 2)]
    seen.append(judged(fleet, xid(13), results=(), minute=3).clean_reports)
    node = judged(fleet, xid(13), minute=4)
    assert (seen, node.clean_reports, node.health) == ([1, 2, 2], 3, Health.HEALTHY)
    assert rules(node) == {"xid-13": "healthy"}


def test_a_note_is_forgotten_after_a_day() -> None:
    fleet = a_fleet(1)
    judged(fleet, xid(13))
    assert rules(judged(fleet, minute=60 * 24 - 1)) == {"xid-13": "healthy"}
    assert rules(judged(fleet, minute=60 * 24)) == {}


# --- debts and conditions --------------------------------------------------------------------


def test_a_condition_ends_with_clean_reports() -> None:
    fleet = a_fleet(1)
    judged(fleet, thermal())
    seen = [judged(fleet, minute=minute).health for minute in (1, 2, 3)]
    assert seen == [Health.UNHEALTHY, Health.UNHEALTHY, Health.HEALTHY]
    assert fleet.nodes[name(1)].findings == ()


@pytest.mark.parametrize("code,status", [(79, Health.UNHEALTHY), (63, Health.DEGRADED)])
def test_a_debt_does_not(code: int, status: Health) -> None:
    fleet = a_fleet(1)
    judged(fleet, xid(code))
    for minute in range(1, 30):
        assert judged(fleet, minute=minute).health is status
    because = fleet.nodes[name(1)].because
    assert because.startswith(f"still {status.value}: xid-{code}")


def test_of_a_debt_and_a_condition_the_condition_ends() -> None:
    fleet = a_fleet(1)
    judged(fleet, xid(63), thermal())
    judged(fleet, minute=1)
    judged(fleet, minute=2)
    node = judged(fleet, minute=3)
    assert (node.health, rules(node)) == (Health.DEGRADED, {"xid-63": "degraded"})


def test_an_operator_sets_everything_aside() -> None:
    fleet = a_fleet(1)
    judged(fleet, xid(79))
    fold_all(ev.HealthCleared(at(), name(1), "a loose cable"), fleet=fleet)
    node = fleet.nodes[name(1)]
    assert (node.health, node.findings, node.because) == (Health.UNKNOWN, (), "a loose cable")
    assert judged(fleet, minute=1).health is Health.HEALTHY


def test_an_old_verdict_without_findings_becomes_one_that_clean_reports_end() -> None:
    fleet = a_fleet(1, ev.HealthJudged(at(), name(1), Health.UNHEALTHY, "xid 79: rule fatal"))
    node = judged(fleet, minute=1)
    (finding,) = node.findings
    assert (finding.rule, finding.status, finding.remedy, finding.because) == (
        "earlier-verdict",
        Health.UNHEALTHY,
        Remedy.OBSERVE,
        "xid 79: rule fatal",
    )
    judged(fleet, minute=2)
    assert judged(fleet, minute=3).health is Health.HEALTHY


def test_there_are_never_more_than_so_many_and_the_worst_are_kept() -> None:
    fleet = a_fleet(1)
    judged(fleet, xid(79), xid(63), *(xid(13, gpu_index=n) for n in range(99)))
    for minute in range(1, 5):
        events = tuple(xid(1_000 + minute, gpu_index=n) for n in range(20))
        assert len(judged(fleet, *events, minute=minute).findings) <= concluding.FINDINGS_MAX
    kept = rules(fleet.nodes[name(1)])
    assert {"xid-79", "xid-63"} <= set(kept)
    assert "healthy" not in kept.values()


# --- what settles ----------------------------------------------------------------------------


def test_the_drivers_word_that_nothing_is_needed_settles_what_came_before() -> None:
    fleet = a_fleet(1)
    judged(fleet, xid(79), xid(95))
    node = judged(fleet, recovery("none"), minute=1)
    assert node.health is Health.HEALTHY
    assert rules(node) == {
        "xid-79": "healthy",
        "xid-95": "healthy",
        "xid-154-none": "healthy",
    }
    settled = node.findings[0]
    assert (settled.remedy, settled.lasting) == (Remedy.NONE, False)
    assert settled.because == "settled by xid 154 on GPU 0: rule xid-154-none"


def test_it_settles_within_one_report_too_but_not_what_came_after_it() -> None:
    assert judged(a_fleet(1), xid(79), recovery("none")).health is Health.HEALTHY
    assert judged(a_fleet(1), recovery("none"), xid(79)).health is Health.UNHEALTHY


def test_it_speaks_for_its_gpu_and_for_xids_only() -> None:
    fleet = a_fleet(1)
    judged(fleet, xid(79), xid(79, gpu_index=1), thermal())
    node = judged(fleet, recovery("none"), minute=1)
    bad = [finding for finding in node.findings if finding.bad]
    assert [(finding.rule, finding.event and finding.event.gpu_index) for finding in bad] == [
        ("xid-79", 1),
        ("thermal", 0),
    ]


def test_the_drivers_verdict_takes_the_place_of_our_own() -> None:
    fleet = a_fleet(1)
    judged(fleet, xid(79))
    node = judged(fleet, recovery("reset_gpu"), minute=1)
    asking = [finding.remedy for finding in node.findings if finding.bad]
    assert (node.health, asking) == (Health.UNHEALTHY, [Remedy.RESET_GPU])
    node = judged(fleet, recovery("none"), minute=2)
    assert (node.health, [finding for finding in node.findings if finding.bad]) == (
        Health.HEALTHY,
        [],
    )


def test_what_is_settled_can_happen_again() -> None:
    fleet = a_fleet(1)
    judged(fleet, xid(79))
    judged(fleet, recovery("none"), minute=1)
    node = judged(fleet, xid(79), minute=2)
    assert node.health is Health.UNHEALTHY
    assert node.findings[-1].lasting


# --- relapses --------------------------------------------------------------------------------


def ill_and_well(fleet: Fleet, minute: int) -> int:
    """Let a node fall ill and heal; return how many clean reports it took."""
    judged(fleet, thermal(), minute=minute)
    for clean in range(1, 99):
        if judged(fleet, minute=minute + clean).health is Health.HEALTHY:
            return clean
    raise AssertionError("it never healed")


def test_a_node_that_falls_ill_again_and_again_heals_ever_more_slowly() -> None:
    fleet = a_fleet(1)
    assert [ill_and_well(fleet, 100 * n) for n in range(7)] == [3, 6, 12, 24, 48, 48, 48]


def test_after_a_day_its_relapses_are_forgotten() -> None:
    fleet = a_fleet(1)
    assert [ill_and_well(fleet, minute) for minute in (0, 100, 100 + 60 * 25)] == [3, 6, 3]
    assert len(fleet.nodes[name(1)].unhealthy_at) == 1


def test_a_lighter_illness_is_not_slowed_by_relapses_of_last_week() -> None:
    fleet = a_fleet(1)
    for n in range(3):
        ill_and_well(fleet, 100 * n)
    week = 60 * 24 * 7
    judged(fleet, xid(48), minute=week)
    seen = [judged(fleet, minute=week + clean).health for clean in (1, 2, 3)]
    assert seen[-1] is Health.HEALTHY


# --- several reports at one time -------------------------------------------------------------


def test_two_reports_of_one_batch_are_both_judged() -> None:
    machine = Machine(a_fleet(1, spec=a_spec(unhealthy_after=9)), Strategies(policy=BY_XID))
    first = msg.ReportHealth(name(1), CLEAN, (xid(79),))
    second = msg.ReportHealth(name(1), CLEAN, (xid(48, gpu_index=3),))
    facts = machine.step([first, second], at()).facts
    assert [ev.kind(fact) for fact in facts] == ["health_reported"] * 2 + ["health_judged"] * 2
    node = machine.fleet.nodes[name(1)]
    assert rules(node) == {"xid-79": "unhealthy", "xid-48": "degraded"}
    assert (node.report_judged, node.bad_reports) == (True, 1)  # one cascade is one


def test_events_are_numbered_through_the_fleet() -> None:
    machine = Machine(a_fleet(2), Strategies(policy=BY_XID))
    reports = [msg.ReportHealth(name(n), CLEAN, (xid(79), xid(48))) for n in (1, 2)]
    machine.step(reports, at())
    numbers = [[f.number for f in machine.fleet.nodes[name(n)].findings] for n in (1, 2)]
    assert (numbers, machine.fleet.event_serial) == ([[1, 2], [3, 4]], 4)
