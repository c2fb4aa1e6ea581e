"""Concluding: from what a policy and the checks say to the findings that stand against a node."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from navarch.core.judging import Counts, HealthPolicy, Match
from navarch.core.model.finding import Finding, Remedy
from navarch.core.model.node import Node
from navarch.core.model.report import GRAVITY, CheckResult, Health, HealthEvent

FINDINGS_MAX: Final = 32
"""Findings kept of a node: more kinds of fault on more GPUs than one node has at one time."""

NOTE_AGE: Final = timedelta(hours=24)
"""For how long something harmless is remembered."""


def worst(findings: Sequence[Finding]) -> Health:
    """Return the worst status of any finding that is bad; unknown without one."""
    bad = (finding.status for finding in findings if finding.bad)
    return max(bad, key=lambda status: GRAVITY[status], default=Health.UNKNOWN)


def without(findings: Sequence[Finding], number: int) -> Health:
    """What the health would be without one event: the counterfactual of an explanation."""
    left = [finding for finding in findings if finding.number != number]
    found = worst(left)
    return Health.HEALTHY if found is Health.UNKNOWN else found


def text_of(event: HealthEvent, rule: str, because: str) -> str:
    """Say what happened, which rule spoke, and what it says."""
    return f"{event.described}: rule {rule or 'none'}{': ' if because else ''}{because}"


def text_of_check(result: CheckResult) -> str:
    """Say which check, and what it found."""
    return f"check {result.check_name}: {result.message or result.status.value}"


def text_of_worst(findings: Sequence[Finding]) -> str:
    """Say what the gravest finding is about."""
    bad = [finding for finding in findings if finding.bad]
    if not bad:
        return "nothing is wrong by its rules"
    gravest = max(bad, key=lambda finding: GRAVITY[finding.status])
    if gravest.event is None:
        return gravest.because
    return text_of(gravest.event, gravest.rule, gravest.because)


def standing(node: Node, now: datetime) -> Sequence[Finding]:
    """What stands against a node; a verdict that is older than findings are becomes one."""
    ailing = GRAVITY[node.health] >= GRAVITY[Health.DEGRADED]
    if not ailing or any(finding.bad for finding in node.findings):
        return node.findings
    earlier = Finding(
        rule="earlier-verdict",
        status=node.health,
        remedy=Remedy.OBSERVE,
        since=now,
        seen=now,
        because=node.because,
    )
    return (earlier, *node.findings)


def with_matches(
    findings: Sequence[Finding], matches: Sequence[Match], first_number: int, now: datetime
) -> list[Finding]:
    """Add what a policy says of a report's events, in their order."""
    found = {finding.key: finding for finding in findings}
    for number, match in enumerate(matches, start=first_number):
        if match.settles:
            _settle(found, match)
        finding = _finding(match, number if first_number else 0, now)
        before = found.pop(finding.key, None)
        if before is not None:
            count = before.count + finding.count
            finding = replace(finding, since=before.since, count=count)
        found[finding.key] = finding
    return list(found.values())


def _settle(found: dict[tuple[str, str, int], Finding], match: Match) -> None:
    """Let a match speak for the earlier findings of its kind on its GPU: they are kept as notes."""
    for key, finding in found.items():
        event = finding.event
        if (
            event is not None
            and finding.bad
            and event.event_type == match.event.event_type
            and event.gpu_index == match.event.gpu_index
        ):
            found[key] = replace(
                finding,
                status=Health.HEALTHY,
                remedy=Remedy.NONE,
                lasting=False,
                because=f"settled by {match.event.described}: rule {match.rule}",
            )


def _finding(match: Match, number: int, now: datetime) -> Finding:
    return Finding(
        rule=match.rule,
        status=match.status,
        remedy=match.remedy,
        since=now,
        seen=now,
        event=match.event,
        number=number,
        count=match.event.count,
        because=match.because,
        lasting=match.lasting,
        settles=match.settles,
    )


def renewed(
    findings: Sequence[Finding], counts: Counts, policy: HealthPolicy
) -> tuple[Finding, ...]:
    """Ask a policy again about the events behind findings, in their order; checks stay."""
    found: dict[tuple[str, str, int], Finding] = {}
    for finding in findings:
        renewed = finding
        if finding.event is not None:
            (match,) = policy.evaluate((finding.event,), counts).matches
            if match.settles:
                _settle(found, match)
            renewed = _by_match(finding, match)
        before = found.pop(renewed.key, None)
        if before is not None:
            count = before.count + renewed.count
            renewed = replace(renewed, since=min(before.since, renewed.since), count=count)
        found[renewed.key] = renewed
    return tuple(found.values())


def _by_match(finding: Finding, match: Match) -> Finding:
    return replace(
        finding,
        rule=match.rule,
        status=match.status,
        remedy=match.remedy,
        because=match.because,
        lasting=match.lasting,
        settles=match.settles,
    )


def with_checks(
    findings: list[Finding], results: Sequence[CheckResult], now: datetime
) -> list[Finding]:
    """Add what the agent's own checks say; a condition that it sees is nothing that lasts."""
    found = {finding.key: finding for finding in findings}
    for result in results:
        if GRAVITY[result.status] < GRAVITY[Health.DEGRADED]:
            continue
        sick = result.status is Health.UNHEALTHY
        finding = Finding(
            rule=f"check:{result.check_name}",
            status=result.status,
            remedy=Remedy.REBOOT if sick else Remedy.OBSERVE,  # a lost GPU often comes back by it
            since=now,
            seen=now,
            because=text_of_check(result),
        )
        before = found.pop(finding.key, None)
        if before is not None:
            finding = replace(finding, since=before.since, count=before.count + 1)
        found[finding.key] = finding
    return list(found.values())


def kept(findings: Sequence[Finding], now: datetime, *, healed: bool) -> tuple[Finding, ...]:
    """Let go of what is over, and of the oldest harmless ones where there are too many."""
    kept = [
        finding
        for finding in findings
        if (finding.bad and (finding.lasting or not healed))
        or (not finding.bad and now - finding.seen < NOTE_AGE)
    ]
    surplus = len(kept) - FINDINGS_MAX
    if surplus > 0:
        order = sorted(kept, key=lambda each: (GRAVITY[each.status], each.lasting, each.seen))
        dropped = {each.key for each in order[:surplus]}
        kept = [finding for finding in kept if finding.key not in dropped]
    return tuple(kept)
