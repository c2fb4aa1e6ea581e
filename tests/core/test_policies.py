"""Policies: what another one makes of standing findings, rules that fail, and counterfactuals."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from factories import (
    BY_XID,
    SETTINGS,
    ByXid,
    a_finding,
    a_fleet,
    at,
    check,
    fold_all,
    name,
    recovery,
    sick,
    thermal,
    xid,
)
from navarch.core import concluding, health
from navarch.core.judging import Counts, HealthPolicy, Match, Unjudged, Verdict, verdict_of
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.finding import Remedy
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


LENIENT = ByXid("lenient", xid79=Health.HEALTHY)


def adopted(policy: HealthPolicy) -> ev.PolicyAdopted:
    return ev.PolicyAdopted(at(minutes=9), policy.name, policy.digest, "the file has changed")


def judged_anew(fleet: Fleet, policy: HealthPolicy) -> list[ev.HealthJudged]:
    facts = list(health.judge(fleet, at(minutes=9), policy, SETTINGS))
    fold_all(facts, fleet=fleet)
    return facts


def test_the_mistakes_of_a_policy_end_with_it() -> None:
    fleet = a_fleet(1, adopted(BY_XID))
    judged(fleet, xid(79))
    fold_all(adopted(LENIENT), fleet=fleet)
    (fact,) = judged_anew(fleet, LENIENT)
    assert fact.because == "judged anew by policy lenient: nothing is wrong by its rules"
    node = fleet.nodes[name(1)]
    assert (node.health, node.bad_reports, node.judged_by) == (
        Health.HEALTHY,
        0,
        LENIENT.digest,
    )
    assert rules(node) == {"xid-79": "healthy"}
    assert judged_anew(fleet, LENIENT) == []


def test_a_stricter_one_makes_it_worse_and_what_confirmed_it_counts() -> None:
    fleet = a_fleet(1, adopted(LENIENT))
    judged(fleet, xid(79), xid(48), policy=LENIENT)
    fold_all(adopted(BY_XID), fleet=fleet)
    (fact,) = judged_anew(fleet, BY_XID)
    assert fact.because == "judged anew by policy by xid: xid 79 on GPU 0: rule xid-79"
    assert (fact.health, fact.bad_reports) == (Health.UNHEALTHY, 0)


def test_checks_stand_whatever_the_policy() -> None:
    fleet = a_fleet(1, adopted(BY_XID))
    judged(fleet, xid(79), results=(check(Health.DEGRADED),))
    fold_all(adopted(LENIENT), fleet=fleet)
    judged_anew(fleet, LENIENT)
    assert fleet.nodes[name(1)].health is Health.DEGRADED


def test_what_was_settled_stays_settled() -> None:
    fleet = a_fleet(1, adopted(BY_XID))
    judged(fleet, xid(95), recovery("none"), xid(48, gpu_index=3))
    other = ByXid("other")
    fold_all(adopted(other), fleet=fleet)
    (fact,) = judged_anew(fleet, other)
    assert fact.health is Health.DEGRADED
    assert [finding.because[:7] for finding in fact.findings] == ["settled", "", ""]


class Coarse:
    """A policy of one rule for everything."""

    name = "coarse"
    digest = "c0a25e"

    def evaluate(self, events: Sequence[HealthEvent], counts: Counts | None = None) -> Verdict:
        """Call everything degraded."""
        return verdict_of([Match(event, "any", Health.DEGRADED) for event in events])


def test_findings_that_become_the_same_are_one() -> None:
    few = a_finding(Remedy.OBSERVE, at(), event=thermal(), rule="few", count=3)
    many = a_finding(Remedy.OBSERVE, at(minutes=1), event=thermal(), rule="many", count=5)
    fleet = a_fleet(1, sick(1, at(minutes=1), few, many), adopted(Coarse()))
    (fact,) = judged_anew(fleet, Coarse())
    (finding,) = fact.findings
    assert (finding.rule, finding.count, finding.since) == ("any", 8, at())


def test_a_policy_that_was_not_adopted_judges_nothing_anew() -> None:
    fleet = a_fleet(1, adopted(BY_XID))
    judged(fleet, xid(79))
    assert judged_anew(fleet, LENIENT) == []
    assert judged_anew(fleet, Unjudged()) == []


def test_a_report_in_the_step_of_the_change_leaves_nothing_of_the_old_policy() -> None:
    machine = Machine(a_fleet(1), Strategies(policy=BY_XID))
    machine.step([msg.ReportHealth(name(1), CLEAN, (xid(79),))], at())
    machine.offer_policy(LENIENT)
    report = msg.ReportHealth(name(1), CLEAN, (xid(48, gpu_index=3),))
    adopt = msg.AdoptPolicy(LENIENT.name, LENIENT.digest, "the file has changed")
    machine.step([report, adopt], at(minutes=1))
    node = machine.fleet.nodes[name(1)]
    assert rules(node) == {"xid-79": "healthy", "xid-48": "degraded"}
    assert (node.health, node.judged_by) == (Health.DEGRADED, LENIENT.digest)


def test_a_policy_is_adopted_once_and_again_after_a_restart() -> None:
    machine = Machine(a_fleet(1))
    adopt = msg.AdoptPolicy(BY_XID.name, BY_XID.digest, "read from the file")
    kinds = []
    for _ in range(2):
        machine.offer_policy(BY_XID)
        kinds += [ev.kind(fact) for fact in machine.step([adopt], at()).facts]
    assert kinds == ["policy_adopted"]
    restarted = Machine(machine.fleet)
    assert restarted.strategies.policy.digest == ""
    restarted.offer_policy(BY_XID)
    assert restarted.step([adopt], at()).facts == []
    assert restarted.strategies.policy is BY_XID


def test_a_policy_that_was_not_offered_is_not_used() -> None:
    machine = Machine(a_fleet(1))
    machine.offer_policy(LENIENT)
    machine.step([msg.AdoptPolicy(BY_XID.name, BY_XID.digest, "so")], at())
    assert machine.strategies.policy.digest == ""


# --- rules that fail -------------------------------------------------------------------------


class Broken:
    """A policy one rule of which can never be evaluated."""

    name = "broken"
    digest = "b20ce9"

    def evaluate(self, events: Sequence[HealthEvent], counts: Counts | None = None) -> Verdict:
        """Call everything degraded, and name the rule that failed."""
        failed = ("site-rule: no such key: serial",)
        return verdict_of(
            [Match(event, "rest", Health.DEGRADED, failed=failed) for event in events]
        )


def test_rules_that_could_not_be_evaluated_are_named_and_counted() -> None:
    fleet = a_fleet(1)
    node = judged(fleet, xid(79), xid(48), policy=Broken())
    assert node.failed_rules == ("site-rule: no such key: serial",)
    judged(fleet, xid(79), policy=Broken(), minute=1)
    assert fleet.rule_failures == {"site-rule": 2}


# --- what would be otherwise -----------------------------------------------------------------


@pytest.mark.parametrize(
    "number,expected",
    [(1, Health.DEGRADED), (2, Health.UNHEALTHY), (3, Health.UNHEALTHY), (9, Health.UNHEALTHY)],
)
def test_the_counterfactual_leaves_one_event_out(number: int, expected: Health) -> None:
    node = judged(a_fleet(1), xid(79), xid(48), xid(13))
    assert concluding.without(node.findings, number) is expected


def test_without_its_only_fault_a_node_would_be_healthy() -> None:
    node = judged(a_fleet(1), xid(79))
    assert concluding.without(node.findings, 1) is Health.HEALTHY
    assert concluding.worst(()) is Health.UNKNOWN
    assert concluding.worst([replace(a_finding(), status=Health.HEALTHY)]) is Health.UNKNOWN
