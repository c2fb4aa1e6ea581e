"""Folding what is known of a node's health."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model.finding import Tally
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Node
from navarch.core.model.report import Health, HealthEvent, HealthReport

DAY: Final = timedelta(hours=24)
"""For how long counts and relapses are remembered: no rule may ask for a longer window."""

KINDS_MAX: Final = 64
"""Kinds of event counted on one node; of more, those that were not seen for longest are let go."""

TALLIES_MAX: Final = 256
"""Minutes and GPUs counted of one kind; of more, those of more than an hour ago become hours, and
of twice as many the oldest are let go."""

HOUR: Final = timedelta(hours=1)

REPORTS_MAX: Final = 64
"""Reports of one node that wait for a verdict; more came together than one batch holds of sane
agents, and of the rest the newest are judged."""

RULES_MAX: Final = 1_000
"""Rules whose failures are counted: twice as many as a policy may have."""

HealthFact = ev.HealthReported | ev.HealthJudged | ev.HealthCleared


def applied(fleet: Fleet, before: Node, event: HealthFact) -> Node:
    """Return the node after a fact about its health."""
    match event:
        case ev.HealthReported():
            return _reported(fleet, before, event)
        case ev.HealthJudged():
            return _judged(fleet, before, event)
        case ev.HealthCleared():
            for gpu in before.gpus:
                fleet.lemons.pop(gpu.uuid, None)
            return replace(
                before,
                health=Health.UNKNOWN,
                findings=(),
                tallies={},
                bad_reports=0,
                clean_reports=0,
                handed_over="",
                withheld="",
                lemon="",
                attempts=(),
                because=event.because,
            )


def _reported(fleet: Fleet, before: Node, event: ev.HealthReported) -> Node:
    if event.first_number:
        fleet.event_serial = max(fleet.event_serial, event.first_number + len(event.events) - 1)
    report = HealthReport(event.at, event.results, event.events, event.first_number)
    tallies = before.tallies
    for each in event.events:
        tallies = _counted(tallies, each, event.at)
    waiting = (*before.unjudged, report)[-REPORTS_MAX:]
    return replace(before, report=report, report_judged=False, unjudged=waiting, tallies=tallies)


def _counted(
    tallies: dict[str, tuple[Tally, ...]], event: HealthEvent, at: datetime
) -> dict[str, tuple[Tally, ...]]:
    """Count one event under its kind, in the minute in which it came."""
    minute = at.replace(second=0, microsecond=0)
    recent = [tally for tally in tallies.get(event.kind, ()) if at - tally.at < DAY]
    same = next(
        (
            n
            for n, tally in enumerate(recent)
            if (tally.at, tally.gpu_index) == _place(event, minute)
        ),
        None,
    )
    if same is None:
        recent.append(Tally(minute, event.gpu_index, event.count))
    else:
        recent[same] = replace(recent[same], count=recent[same].count + event.count)
    left = {kind: kept for kind, kept in tallies.items() if kind != event.kind}
    while len(left) >= KINDS_MAX:
        del left[min(left, key=lambda kind: left[kind][-1].at)]
    if len(recent) > TALLIES_MAX:
        recent = _coarser(recent, at)
    return {**left, event.kind: tuple(recent[-2 * TALLIES_MAX :])}


def _coarser(tallies: list[Tally], at: datetime) -> list[Tally]:
    """Count whole hours where minutes are more than an hour ago; the oldest come first."""
    hours: dict[tuple[datetime, int], Tally] = {}
    minutes: list[Tally] = []
    for tally in tallies:
        if at - tally.at < HOUR:
            minutes.append(tally)
            continue
        key = (tally.at.replace(minute=0), tally.gpu_index)
        before = hours.get(key)
        count = tally.count + (before.count if before else 0)
        hours[key] = Tally(key[0], tally.gpu_index, count)
    return [*hours.values(), *minutes]


def _place(event: HealthEvent, minute: datetime) -> tuple[datetime, int]:
    return minute, event.gpu_index


def _judged(fleet: Fleet, before: Node, event: ev.HealthJudged) -> Node:
    clean = event.clean_reports
    if clean < 0:  # a journal of version 0.1: what the report itself says
        is_clean = before.report is not None and before.report.clean
        clean = before.clean_reports + 1 if is_clean else 0
    falls_ill = event.health is Health.UNHEALTHY and before.health is not Health.UNHEALTHY
    recent = tuple(at for at in before.unhealthy_at if event.at - at < DAY)
    unhealthy_at = recent or before.unhealthy_at[-1:]
    if falls_ill:
        unhealthy_at = (*recent, event.at)[-TALLIES_MAX:]
    for failure in event.failed:
        rule = failure.partition(":")[0]
        if rule in fleet.rule_failures or len(fleet.rule_failures) < RULES_MAX:
            fleet.rule_failures[rule] = fleet.rule_failures.get(rule, 0) + 1
    still_ill = event.health is Health.UNHEALTHY
    return replace(
        before,
        health=event.health,
        report_judged=not before.unjudged[1:],
        unjudged=before.unjudged[1:],
        because=event.because,
        findings=event.findings,
        clean_reports=clean,
        bad_reports=event.bad_reports,
        bad_at=event.at if event.bad_reports > before.bad_reports else before.bad_at,
        judged_by=event.policy,
        failed_rules=event.failed,
        unhealthy_at=unhealthy_at,
        withheld=before.withheld if still_ill or before.lemon else "",
        handed_over=before.handed_over if still_ill else "",
    )
