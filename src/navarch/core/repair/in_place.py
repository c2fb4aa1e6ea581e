"""Resets and reboots: the node is drained, the command is given, and then it has to be clean."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from navarch.core import drain, health
from navarch.core.model import events as ev
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Outcome, Repair, Stage
from navarch.core.model.node import Intent, Node, Phase
from navarch.core.model.report import Health
from navarch.core.orders import Orders
from navarch.core.repair import ladder
from navarch.core.settings import Settings

COMMANDS = {Remedy.RESET_GPU: CommandType.GPU_RESET, Remedy.REBOOT: CommandType.REBOOT}
"""What the agent is told for each rung."""

Progress = ev.RepairAdvanced | ev.RepairEnded | ev.CommandIssued


def advanced(fleet: Fleet, now: datetime, settings: Settings) -> Iterator[Progress]:
    """Move every repair that can move one stage on."""
    orders = Orders(fleet, now, settings)
    for node_id in sorted(fleet.repairing):
        node = fleet.nodes[node_id]
        if node.repair is None:
            continue
        yield from _next(fleet, node, node.repair, orders, now, settings)


def _next(
    fleet: Fleet, node: Node, repair: Repair, orders: Orders, now: datetime, settings: Settings
) -> list[Progress]:
    match repair.stage:
        case Stage.DRAINING:
            return _after_drain(fleet, node, repair, orders, now, settings)
        case Stage.ACTING:
            return _after_command(fleet, node, repair, orders, now, settings)
        case Stage.PROBATION:
            return _after_probation(node, repair, orders, now, settings)


def _after_drain(
    fleet: Fleet, node: Node, repair: Repair, orders: Orders, now: datetime, settings: Settings
) -> list[Progress]:
    pool = fleet.pools.get(node.pool)
    needless = _needless_because(node)
    if needless:
        return _ended(node, Outcome.REVOKED, needless, orders, now)
    if pool is not None and pool.asleep:
        return []
    because = drain.over_because(fleet, node, repair.begun_at, now, settings)
    if not because:
        return []
    parameters = {}
    if repair.rung is Remedy.RESET_GPU:
        index = ladder.gpu_of(node)
        parameters = {"gpu": str(index) if index >= 0 else "all"}
    command = orders.give(node.id, COMMANDS[repair.rung], repair.because, parameters)
    return [
        command,
        ev.RepairAdvanced(
            now, node.id, Stage.ACTING, because, command.command_id, parameters.get("gpu", "")
        ),
    ]


def _needless_because(node: Node) -> str:
    """Say why nothing needs to be done to a node that is drained for it; empty if it has to be."""
    if node.health is not Health.UNHEALTHY:
        return f"it is {node.health.value}"
    if ladder.gravest(node) is None:
        return "nothing that stands against it asks for a repair any more"
    if not node.connected:
        return "it fell silent, and is replaced for that"
    return ""


def _after_command(
    fleet: Fleet, node: Node, repair: Repair, orders: Orders, now: datetime, settings: Settings
) -> list[Progress]:
    command = fleet.commands.get(repair.command_id)
    if command is not None and command.state is CommandState.SUCCEEDED:
        because = command.message or f"{repair.rung.value} is done"
        return [ev.RepairAdvanced(now, node.id, Stage.PROBATION, because, command.id)]
    limit = settings.reset_timeout
    if repair.rung is Remedy.REBOOT:
        limit = settings.reboot_timeout
    if command is None:
        because = "nothing is known of the command any more"
    elif command.finished:
        because = f"command {command.id} {command.state.value}: {command.message}"
    elif now - max(repair.stage_since, fleet.resumed_at or repair.stage_since) > limit:
        because = f"not done within {limit}"
    else:
        return []
    return _ended(node, Outcome.FAILED, because, orders, now)


def _after_probation(
    node: Node, repair: Repair, orders: Orders, now: datetime, settings: Settings
) -> list[Progress]:
    relapse = next(
        (
            finding
            for finding in node.findings
            if finding.status is Health.UNHEALTHY
            # what was held back while it was repaired is told a little later
            and finding.seen > repair.stage_since + settings.report_fold
        ),
        None,
    )
    waited = now - repair.stage_since
    needed = health.clean_reports_needed(node, settings)
    if not node.connected:
        return _ended(node, Outcome.FAILED, node.lost_because, orders, now)
    if relapse is not None:
        because = f"sick again: {relapse.because or relapse.rule}"
        return _ended(node, Outcome.FAILED, because, orders, now)
    if waited >= settings.probation and node.clean_reports >= needed:
        because = f"{node.clean_reports} clean reports in a row, {settings.probation} after it"
        return _ended(node, Outcome.SUCCEEDED, because, orders, now)
    if waited > settings.probation_max:
        because = f"{node.clean_reports} of {needed} clean reports within {settings.probation_max}"
        return _ended(node, Outcome.FAILED, because, orders, now)
    return []


def _ended(
    node: Node, outcome: Outcome, because: str, orders: Orders, now: datetime
) -> list[Progress]:
    """End a repair; a node that is well, and that nobody else has closed, takes work again."""
    facts: list[Progress] = [ev.RepairEnded(now, node.id, outcome, because)]
    wanted = node.phase is Phase.ACTIVE and not node.condemned
    if outcome is not Outcome.FAILED and node.intent is Intent.IN_SERVICE and wanted:
        facts.append(orders.give(node.id, CommandType.UNCORDON, because))
    return facts
