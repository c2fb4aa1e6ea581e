"""Health: from a report to a verdict over the node.

A policy judges events, one by one; here its matches become *findings*, and the worst finding is the
node's health. Three rules make a verdict trustworthy:

- it gets worse at once, and better only after several clean reports in a row; more of them for a
  node that falls ill again and again;
- a *lasting* finding, such as an XID, is a debt: a GPU that idles cleanly afterwards has not paid
  it. What pays is the remedy, a word of the driver (a rule that *settles*), or an operator;
- a report without any result says nothing, and an event that no rule could judge is never healthy.

A verdict moves nothing by itself. Repair acts on one that enough reports have confirmed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from navarch.core import concluding
from navarch.core.judging import HealthPolicy, Match
from navarch.core.model import events as ev
from navarch.core.model.finding import Finding, Tally
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Stage
from navarch.core.model.node import Node, Phase
from navarch.core.model.pool import PoolSpec
from navarch.core.model.report import GRAVITY, Health, HealthReport
from navarch.core.model.sightings import Sightings
from navarch.core.settings import Settings

SENSED_BY: Final = {
    **dict.fromkeys(("thermal", "power", "memory", "nvlink", "pcie", "driver_error"), "nvml"),
    "system": "system",
}
"""Which check goes on saying that a condition stands, by the type of its event."""

FLAPS_MAX: Final = 4
"""How often the number of clean reports doubles at most: 48 of them, an hour by default."""


MINUTE: Final = timedelta(minutes=1)
"""What a tally covers: a window counts each minute that it touches, and never too few."""


class NodeCounts:
    """How often things happened on one node, from its tallies."""

    def __init__(self, tallies: dict[str, tuple[Tally, ...]], now: datetime) -> None:
        """Count back from `now`."""
        self._tallies = tallies
        self._now = now

    def of(self, kind: str, gpu_index: int | None, window: timedelta) -> int:
        """Count events of a type or kind within the window, of one GPU or of all."""
        begin = self._now - window
        return sum(
            tally.count
            for name, tallies in self._tallies.items()
            if kind in (name, name.partition(":")[0])
            for tally in tallies
            if tally.at + MINUTE > begin and gpu_index in (None, tally.gpu_index)
        )


# --- stages of deciding ----------------------------------------------------------------------


def gathered(
    fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings
) -> Iterator[ev.HealthReported]:
    """Make one fact of the repetitions that a node has sent since its last report."""
    serial = fleet.event_serial
    for node_id in sorted(sightings.held):
        node = fleet.nodes.get(node_id)
        if node is None or node.over or node.report is None:
            continue
        if now - node.report.received_at >= settings.report_fold:
            events = sightings.held[node_id]
            yield ev.HealthReported(now, node_id, (), events, serial + 1)
            serial += len(events)


def judge(
    fleet: Fleet, now: datetime, policy: HealthPolicy, settings: Settings
) -> Iterator[ev.HealthJudged]:
    """Give a verdict over every node whose newest report has none yet.

    Nodes that ail by the verdict of another policy are judged anew, by the events that they ail
    from; that policy's mistakes should end with it.
    """
    for node_id in sorted(fleet.unjudged):
        node = fleet.nodes[node_id]
        if node.report is None or node.report_judged or node.phase is Phase.TERMINATED:
            continue
        for report in node.unjudged or (node.report,):
            judged = _judged(node, report, now, policy, settings)
            yield judged
            node = _after(node, judged)
    if fleet.policy and fleet.policy == policy.digest:
        for node_id in sorted(fleet.ailing):
            node = fleet.nodes[node_id]
            if node.report_judged and node.findings and node.judged_by != policy.digest:
                yield _judged_anew(node, now, policy)


def awaits_report(fleet: Fleet, node: Node, settings: Settings, *, bad: bool) -> bool:
    """Whether one more report, which says nothing new, can still change anything about a node."""
    if node.repair is not None and node.repair.stage is Stage.PROBATION:
        return True
    confirming = node.health is Health.UNHEALTHY and node.bad_reports < _confirmations(fleet, node)
    if bad:
        return confirming
    if node.health is Health.HEALTHY:
        return False
    return confirming or node.clean_reports < clean_reports_needed(node, settings)


def confirmed(fleet: Fleet, node: Node) -> bool:
    """Whether enough reports in a row have confirmed that a node is unhealthy."""
    return node.health is Health.UNHEALTHY and node.bad_reports >= _confirmations(fleet, node)


def _confirmations(fleet: Fleet, node: Node) -> int:
    pool = fleet.pools.get(node.pool)
    return pool.spec.unhealthy_after if pool is not None else PoolSpec("", "").unhealthy_after


def clean_reports_needed(node: Node, settings: Settings) -> int:
    """How many clean reports in a row heal this node: twice as many each time it relapses."""
    relapses: int = min(max(len(node.unhealthy_at) - 1, 0), FLAPS_MAX)
    return settings.clean_reports_to_heal << relapses


# --- one verdict -----------------------------------------------------------------------------


def _judged(
    node: Node, report: HealthReport, now: datetime, policy: HealthPolicy, settings: Settings
) -> ev.HealthJudged:
    verdict = policy.evaluate(report.events, NodeCounts(node.tallies, now))
    standing = concluding.standing(node, now)
    if node.judged_by != policy.digest and policy.digest:
        standing = concluding.renewed(standing, NodeCounts(node.tallies, now), policy)
    found = concluding.with_matches(standing, verdict.matches, report.first_number, now)
    found = concluding.with_checks(found, report.results, now)
    calm = _is_calm(report, verdict.matches)
    mere_notes = not report.results and _are_harmless(verdict.matches)
    clean = node.clean_reports + calm if calm or mere_notes else 0
    healed = calm and clean >= clean_reports_needed(node, settings)
    findings = concluding.kept(found, now, healed=healed)
    health = _health(node, findings, report, verdict.matches)
    because = _because(node, health, findings, report, verdict.matches, clean, settings)
    owes = any(each.lasting and each.status is Health.UNHEALTHY for each in findings)
    bad = 0
    again = _is_another(node, report, settings)
    stands = _still_stands(findings, report)
    if health is Health.UNHEALTHY and (owes or stands or _is_grave(report, verdict.matches)):
        bad = node.bad_reports + again
    elif health is Health.UNHEALTHY and mere_notes:
        bad = node.bad_reports
    failed = tuple(dict.fromkeys(text for match in verdict.matches for text in match.failed))
    return ev.HealthJudged(
        now,
        node.id,
        health,
        because,
        findings=findings,
        clean_reports=clean,
        bad_reports=bad,
        policy=policy.digest,
        failed=failed[: concluding.FINDINGS_MAX],
    )


def _after(node: Node, judged: ev.HealthJudged) -> Node:
    """The node as the next of several reports finds it."""
    return replace(
        node,
        health=judged.health,
        findings=judged.findings,
        clean_reports=judged.clean_reports,
        bad_reports=judged.bad_reports,
        bad_at=judged.at if judged.bad_reports > node.bad_reports else node.bad_at,
        judged_by=judged.policy,
    )


def _is_another(node: Node, report: HealthReport, settings: Settings) -> bool:
    """Whether a report may confirm the one before: two of one cascade are one and the same."""
    if not node.bad_reports or node.bad_at is None:
        return True
    return report.received_at - node.bad_at >= settings.report_fold


def _still_stands(findings: Sequence[Finding], report: HealthReport) -> bool:
    """Whether the check of the sensor that saw a condition is still not satisfied.

    A condition, such as heat, is an event once; while it lasts, its sensor's check says so.
    """
    dissatisfied = {
        result.check_name
        for result in report.results
        if GRAVITY[result.status] >= GRAVITY[Health.DEGRADED]
    }
    return any(
        finding.status is Health.UNHEALTHY
        and finding.event is not None
        and SENSED_BY.get(finding.event.event_type) in dissatisfied
        for finding in findings
    )


def _judged_anew(node: Node, now: datetime, policy: HealthPolicy) -> ev.HealthJudged:
    """Ask another policy about the events behind a node's findings; checks stay as they are."""
    findings = concluding.renewed(node.findings, NodeCounts(node.tallies, now), policy)
    found = concluding.worst(findings)
    health = Health.HEALTHY if found is Health.UNKNOWN else found
    because = f"judged anew by policy {policy.name}: {concluding.text_of_worst(findings)}"
    return ev.HealthJudged(
        now,
        node.id,
        health,
        because,
        findings=findings,
        clean_reports=node.clean_reports,
        bad_reports=node.bad_reports if health is Health.UNHEALTHY else 0,
        policy=policy.digest,
    )


def _is_calm(report: HealthReport, matches: Sequence[Match]) -> bool:
    """Whether a report positively says that all is well; noise of applications does not disturb."""
    return (
        bool(report.results)
        and all(result.status is Health.HEALTHY for result in report.results)
        and _are_harmless(matches)
    )


def _are_harmless(matches: Sequence[Match]) -> bool:
    return all(match.status is Health.HEALTHY for match in matches)


def _is_grave(report: HealthReport, matches: Sequence[Match]) -> bool:
    """Whether a report itself says that the node is unhealthy."""
    said = [result.status for result in report.results] + [match.status for match in matches]
    return Health.UNHEALTHY in said


def _health(
    node: Node, findings: Sequence[Finding], report: HealthReport, matches: Sequence[Match]
) -> Health:
    found = concluding.worst(findings)
    if found is not Health.UNKNOWN:
        return found
    ailing = GRAVITY[node.health] >= GRAVITY[Health.DEGRADED]
    harmless = any(match.status is Health.HEALTHY for match in matches)
    fine = any(result.status is Health.HEALTHY for result in report.results)
    return Health.HEALTHY if harmless or fine or ailing else node.health


def _because(
    node: Node,
    health: Health,
    findings: Sequence[Finding],
    report: HealthReport,
    matches: Sequence[Match],
    clean: int,
    settings: Settings,
) -> str:
    needed = clean_reports_needed(node, settings)
    ailing = GRAVITY[node.health] >= GRAVITY[Health.DEGRADED]
    news = _news(report, matches)
    if GRAVITY[health] > GRAVITY[node.health] and GRAVITY[health] >= GRAVITY[Health.DEGRADED]:
        return news
    if health is Health.HEALTHY and ailing:
        return f"{clean} clean reports in a row" if clean >= needed else news
    if health is Health.HEALTHY:
        return news if matches else "its checks found nothing wrong"
    if clean and ailing:
        debts = [finding for finding in findings if finding.bad and finding.lasting]
        if debts:
            return f"still {health.value}: {debts[-1].because or debts[-1].rule}"
        return f"clean report {clean} of {needed}"
    return f"still {health.value}: {news}"


def _news(report: HealthReport, matches: Sequence[Match]) -> str:
    """The gravest thing that a report brought."""
    gravest, text = Health.UNKNOWN, "nothing conclusive was reported"
    for result in report.results:
        if GRAVITY[result.status] > GRAVITY[gravest]:
            gravest, text = result.status, concluding.text_of_check(result)
    for match in matches:
        if GRAVITY[match.status] > GRAVITY[gravest]:
            gravest, text = match.status, concluding.text_of(match.event, match.rule, match.because)
    return text
