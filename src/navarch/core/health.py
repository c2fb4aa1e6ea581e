"""Health: from a report to a verdict over the node.

A verdict is sticky: it gets worse at once, and better only after several clean reports in a row.
A report without any result says nothing, and an event that no rule could judge is never healthy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Node, Phase
from navarch.core.model.report import GRAVITY, Health, HealthEvent, HealthReport
from navarch.core.settings import Settings


class Verdict(Struct, frozen=True):
    """What a policy makes of a report's events."""

    status: Health
    rule: str = ""
    """The rule that spoke; empty when none did."""
    event: HealthEvent | None = None
    """The event it spoke about; None when there was none."""


class HealthPolicy(Protocol):
    """Judges raw events. Must be pure: the same events give the same verdict, for ever."""

    def evaluate(self, events: Sequence[HealthEvent]) -> Verdict:
        """Judge events together; the worst speaks. No events are healthy."""
        ...


class Unjudged:
    """The policy of a control plane that has none: every event is news, none is a death."""

    def evaluate(self, events: Sequence[HealthEvent]) -> Verdict:
        """Call any event degraded, and say that nobody judged it."""
        if not events:
            return Verdict(Health.HEALTHY)
        return Verdict(Health.DEGRADED, rule="unjudged", event=events[0])


def judge(
    fleet: Fleet, now: datetime, policy: HealthPolicy, settings: Settings
) -> Iterator[ev.HealthJudged]:
    """Give a verdict over every node whose newest report has none yet."""
    for node_id in sorted(fleet.unjudged):
        node = fleet.nodes[node_id]
        if node.report is None or node.report_judged or node.phase is Phase.TERMINATED:
            continue
        health, because = _verdict(node, node.report, policy, settings)
        yield ev.HealthJudged(now, node.id, health, because)


def _verdict(
    node: Node, report: HealthReport, policy: HealthPolicy, settings: Settings
) -> tuple[Health, str]:
    if report.clean:
        return _after_clean_report(node, settings)
    found, because = _worst(report, policy)
    if GRAVITY[found] > GRAVITY[node.health]:
        return found, because
    return node.health, f"still {node.health.value}: {because}"


def _after_clean_report(node: Node, settings: Settings) -> tuple[Health, str]:
    needed = settings.clean_reports_to_heal
    if node.health in {Health.UNKNOWN, Health.HEALTHY}:
        return Health.HEALTHY, "its checks found nothing wrong"
    if node.clean_reports >= needed:
        return Health.HEALTHY, f"{node.clean_reports} clean reports in a row"
    return node.health, f"clean report {node.clean_reports} of {needed}"


def _worst(report: HealthReport, policy: HealthPolicy) -> tuple[Health, str]:
    worst, because = Health.UNKNOWN, "nothing conclusive was reported"
    for result in report.results:
        if GRAVITY[result.status] > GRAVITY[worst]:
            worst = result.status
            because = f"check {result.check_name}: {result.message or result.status.value}"
    verdict = policy.evaluate(report.events)
    if report.events and GRAVITY[verdict.status] > GRAVITY[worst]:
        worst = verdict.status
        because = f"{_described(verdict.event)}: rule {verdict.rule or 'none'}"
    return worst, because


def _described(event: HealthEvent | None) -> str:
    if event is None:
        return "no event"
    where = "node" if event.gpu_index < 0 else f"GPU {event.gpu_index}"
    code = event.metrics.get("xid_code", "")
    times = f" ×{event.count}" if event.count > 1 else ""
    return f"{event.event_type}{' ' + code if code else ''} on {where}{times}"
