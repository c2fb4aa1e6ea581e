"""Explaining health: event, rule, verdict, budget, action, and what would be otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from msgspec import Struct

from navarch.core import concluding, health
from navarch.core.model.finding import Finding, Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Told
from navarch.core.model.node import Contact, Intent, Node
from navarch.core.model.pool import Pool
from navarch.core.model.report import GRAVITY, Health
from navarch.core.model.sightings import Sightings
from navarch.core.repair import beginning, candidates
from navarch.core.settings import Settings

REMEDIES: Final = {
    Remedy.NONE: "nothing has to be done",
    Remedy.OBSERVE: "it is watched",
    Remedy.RESTART_APP: "the application has to be restarted, the node is fine",
    Remedy.RESET_GPU: "a GPU reset puts it right",
    Remedy.REBOOT: "a reboot puts it right",
    Remedy.REPLACE: "only another machine puts it right",
    Remedy.INSPECT: "a person has to look at it",
}
"""What each remedy means for somebody who reads it at night."""

RULES_SHOWN: Final = 5
"""Rules that fail and are named for a pool, those that fail most: one mistake fails in many."""


class Otherwise(Struct, frozen=True):
    """Something that would have to be different for a node to stand better, and what then."""

    what: str
    then: str
    number: int = 0
    """The number of the health event that it is about; 0: it is about none."""


def lines(fleet: Fleet, node: Node, now: datetime, settings: Settings) -> Iterator[str]:
    """Say what stands against a node, line by line, the newest first."""
    for finding in reversed(node.findings):
        yield _finding(finding, now)
    yield from _counterfactuals(node)
    if node.findings and node.judged_by:
        named = fleet.policy_name if node.judged_by == fleet.policy else "an earlier one"
        yield f"judged by policy {named} ({node.judged_by})"
    for failure in node.failed_rules:
        yield f"a rule could not be evaluated: {failure}"
    if node.health in (Health.DEGRADED, Health.UNHEALTHY) and not node.over:
        yield from _way_back(node, settings)
    if node.repair is not None:
        waited = (now - node.repair.stage_since).total_seconds()
        yield (
            f"repair {node.repair.rung.value} is {node.repair.stage.value} since {waited:.0f} s: "
            f"{node.repair.because}"
        )
    for attempt in node.attempts:
        ago = (now - attempt.at).total_seconds()
        yield f"{attempt.rung.value} {attempt.outcome.value} {ago:.0f} s ago"
    if node.handed_over:
        yield f"a person has to look: {node.handed_over}"
    if node.lemon:
        yield f"its hardware is distrusted: {node.lemon}"


def _finding(finding: Finding, now: datetime) -> str:
    ago = (now - finding.seen).total_seconds()
    times = f"{finding.count} times, the last " if finding.count > 1 else ""
    says = f"{finding.status.value}, {REMEDIES[finding.remedy]}"
    because = f" ({finding.because})" if finding.because else ""
    if finding.event is None:
        return f"{finding.because}, {times}{ago:.0f} s ago: {says}"
    number = f"event {finding.number}: " if finding.number else ""
    what = finding.event.described.partition(" ×")[0]
    return f"{number}{what}, {times}{ago:.0f} s ago: rule {finding.rule}: {says}{because}"


def _counterfactuals(node: Node) -> Iterator[str]:
    """What the health would be without the event that decides it; only where one event does."""
    for finding in node.findings:
        if _decides(finding, node):
            then = concluding.without(node.findings, finding.number)
            yield f"without event {finding.number} it would be {then.value}"


def _way_back(node: Node, settings: Settings) -> Iterator[str]:
    needed = health.clean_reports_needed(node, settings)
    debts = [finding for finding in node.findings if finding.bad and finding.lasting]
    if debts:
        yield (
            f"clean reports alone do not end {debts[-1].rule}: its remedy does, or "
            f"`navarch clear {node.id}`"
        )
    else:
        yield f"{node.clean_reports} of the {needed} clean reports in a row that end it"
    if len(node.unhealthy_at) > 1:
        yield f"it fell ill {len(node.unhealthy_at)} times within a day: it takes more to heal"


def otherwise(
    fleet: Fleet, sightings: Sightings, node: Node, now: datetime, settings: Settings
) -> Iterator[Otherwise]:
    """Say what would have to be different for a node to serve; nothing for one that does.

    What has ended does not come back, so nothing is said of it.
    """
    if node.over:
        return
    if node.contact is Contact.LOST:
        yield Otherwise("a heartbeat of its agent", "it is connected again")
    if node.health in (Health.DEGRADED, Health.UNHEALTHY):
        yield from _healed(node, settings)
    if node.intent is not Intent.IN_SERVICE:
        word = node.intent.value
        yield Otherwise(f"an operator's uncordon: it is {word} by intent", "it takes work again")
    pool = fleet.pools.get(node.pool)
    if pool is None or not _is_in_trouble(node):
        return
    if node.repair is not None or node.condemned or node.handed_over:
        return
    rung = beginning.due(fleet, pool, node, now, settings)
    hindrance = _hindrance(fleet, sightings, pool, node, now, settings)
    if rung is not Remedy.NONE and hindrance:
        yield Otherwise(f"not this: {hindrance}", f"its repair ({rung.value}) begins")


def _healed(node: Node, settings: Settings) -> Iterator[Otherwise]:
    """What would end a bad verdict: events that had not happened, clean reports, a remedy."""
    alone = [each for each in node.findings if _decides(each, node)]
    for finding in alone:
        event = finding.event
        what = event.described.partition(" ×")[0] if event is not None else finding.rule
        yield Otherwise(
            f"no event {finding.number} ({what})",
            f"it is {concluding.without(node.findings, finding.number).value}",
            finding.number,
        )
    gravest = [each for each in node.findings if each.bad and each.status is node.health]
    if not alone and len(gravest) > 1:
        left = concluding.worst([each for each in node.findings if each not in gravest])
        healthy = GRAVITY[left] < GRAVITY[Health.DEGRADED]
        then = Health.HEALTHY if healthy else left
        rules = ", ".join(dict.fromkeys(each.rule for each in gravest))
        yield Otherwise(f"none of {len(gravest)} findings ({rules})", f"it is {then.value}")
    debts = [each for each in node.findings if each.bad and each.lasting]
    if debts:
        remedy = debts[-1].remedy.value
        yield Otherwise(
            f"a {remedy} that succeeds, or `navarch clear {node.id}`: clean reports alone do not "
            f"end {debts[-1].rule}",
            "it is judged anew",
        )
    else:
        missing = max(health.clean_reports_needed(node, settings) - node.clean_reports, 1)
        noun = "report" if missing == 1 else "reports in a row"
        yield Otherwise(f"{missing} more clean {noun}", "it is healthy")


def _decides(finding: Finding, node: Node) -> bool:
    """Whether a node's health would be another without the one event of this finding."""
    if not finding.number or finding.status is not node.health or not finding.bad:
        return False
    return concluding.without(node.findings, finding.number) is not node.health


def prospects(
    fleet: Fleet, sightings: Sightings, node: Node, now: datetime, settings: Settings
) -> Iterator[str]:
    """Say why a lost, sick or distrusted node is not being repaired."""
    if not _is_in_trouble(node):
        return
    pool = fleet.pools.get(node.pool)
    if pool is None:
        yield "its pool is not known: nothing will be done"
    elif node.repair is not None or node.handed_over:
        return
    elif (rung := beginning.due(fleet, pool, node, now, settings)) is Remedy.NONE:
        yield _nothing_due(pool, lost=node.contact is Contact.LOST)
    elif pool.spec.dry_run and not beginning.obstacle(fleet, sightings, node, now, settings):
        yield f"it would be repaired ({rung.value}), but pool {pool.name} is a dry run"
    elif hindrance := _hindrance(fleet, sightings, pool, node, now, settings):
        yield f"not repaired yet ({rung.value}): {hindrance}"


def _is_in_trouble(node: Node) -> bool:
    lost = node.contact is Contact.LOST
    return lost or node.health is Health.UNHEALTHY or bool(node.lemon)


def _hindrance(
    fleet: Fleet,
    sightings: Sightings,
    pool: Pool,
    node: Node,
    now: datetime,
    settings: Settings,
) -> str:
    """Say what keeps a repair that is due from beginning; empty when nothing does."""
    if obstacle := beginning.obstacle(fleet, sightings, node, now, settings):
        return obstacle
    if pool.spec.dry_run:
        return f"pool {pool.name} is a dry run"
    return candidates.over_budget(fleet, pool, node, now)


def _nothing_due(pool: Pool, *, lost: bool) -> str:
    if lost and not pool.spec.auto_replace:
        return f"not replaced: auto_replace is off in pool {pool.name}"
    return "nothing that stands against it asks for a repair"


def workload_lines(sightings: Sightings, node: Node) -> Iterator[str]:
    """Say what the workload manager knows of a node, and whether it agrees."""
    if node.refusal:
        yield f"it should be {node.workload.value}: {node.refusal}"
    elif node.telling is not None:
        yield f"the workload manager, told that it is {node.telling.value}, has not agreed yet"
    elif node.told is not Told.OPEN:
        yield f"the workload manager was told that it is {node.told.value}"
    if node.id in sightings.drains:
        yield f"the workload manager says: {sightings.drains[node.id]}"


def pool_lines(fleet: Fleet, pool: Pool) -> Iterator[str]:
    """Say how many of a pool's nodes are sick, and what was decided about them."""
    nodes = [node for id_ in fleet.members.get(pool.name, ()) if (node := fleet.nodes.get(id_))]
    ill = sum(node.health is Health.UNHEALTHY for node in nodes)
    degraded = sum(node.health is Health.DEGRADED for node in nodes)
    if ill or degraded:
        yield f"{ill} nodes are unhealthy, {degraded} degraded"
    mending = sum(node.repair is not None for node in nodes)
    replacing = sum(node.condemned for node in nodes)
    if mending or replacing:
        yield f"{replacing} are being replaced, {mending} repaired where they are"
    persons = sum(bool(node.handed_over) for node in nodes)
    if persons:
        yield f"{persons} need a person"
    if pool.spec.dry_run:
        yield "it is a dry run: repair only says what it would do"
    failing = sorted(fleet.rule_failures.items(), key=lambda each: (-each[1], each[0]))
    for rule, times in failing[:RULES_SHOWN]:
        yield f"rule {rule} could not be evaluated in {times} verdicts of the fleet"
