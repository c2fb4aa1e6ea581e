"""The ladder: observe, restart the application, reset the GPU, reboot, replace, ask a person.

A rule says which rung would put a fault right. Repair takes the lowest rung that is high enough,
that the pool allows, and that was not tried on this node lately. When none is left, or a node was
repaired too often, a person is asked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from navarch.core.model.finding import RUNG, Finding, Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Outcome
from navarch.core.model.node import Node
from navarch.core.model.pool import Pool
from navarch.core.model.report import Health
from navarch.core.settings import Settings

ACTIVE_RUNGS: Final = (Remedy.RESET_GPU, Remedy.REBOOT, Remedy.REPLACE)
"""What repair does by itself; below there is nothing to do, above it is for a person."""


def gravest(node: Node) -> Finding | None:
    """Return the unhealthy finding that asks for most; None when watching is all they ask for."""
    return max(_asking(node), key=lambda finding: RUNG[finding.remedy], default=None)


def _asking(node: Node) -> list[Finding]:
    return [
        finding
        for finding in node.findings
        if finding.status is Health.UNHEALTHY and RUNG[finding.remedy] >= RUNG[Remedy.RESET_GPU]
    ]


def due(fleet: Fleet, pool: Pool, node: Node, now: datetime, settings: Settings) -> Remedy:
    """Say what is to be done about a sick node; `Remedy.NONE` when nothing is.

    `Remedy.INSPECT` means that a person has to look.
    """
    finding = gravest(node)
    if finding is None:
        return Remedy.NONE
    tried = [
        attempt
        for attempt in node.attempts
        if now - attempt.at < settings.relapse_window and attempt.outcome is not Outcome.REVOKED
    ]
    rungs = allowed(fleet, pool, node)
    if len(tried) >= settings.attempts_max:
        rungs = tuple(rung for rung in rungs if rung is Remedy.REPLACE)
    spent = {attempt.rung for attempt in tried}
    for rung in rungs:
        if RUNG[rung] >= RUNG[finding.remedy] and rung not in spent:
            return rung
    return Remedy.INSPECT


def allowed(fleet: Fleet, pool: Pool, node: Node) -> tuple[Remedy, ...]:
    """Which rungs repair may use on a node, the lowest first."""
    ours = node.instance_id in fleet.instances
    return tuple(
        rung
        for rung in ACTIVE_RUNGS
        if rung in pool.spec.ladder
        and (rung is not Remedy.REPLACE or (pool.spec.auto_replace and ours))
    )


def gpu_of(node: Node) -> int:
    """Which GPU a reset is for: the only one that asks for something; -1 for all of them."""
    indexes = {finding.event.gpu_index if finding.event else -1 for finding in _asking(node)}
    return indexes.pop() if len(indexes) == 1 else -1


def hardware(fleet: Fleet, node: Node) -> tuple[str, ...]:
    """Name the GPUs behind the faults of a node, by UUID; those of no known GPU are left out.

    A GPU that another machine has is not blamed: a node may say more than it can know. One that
    nobody has may have been in this node until it fell off the bus. Cost: O(nodes).
    """
    others = {
        gpu.uuid
        for other in fleet.nodes.values()
        if other.id != node.id and not other.over
        for gpu in other.gpus
    }
    elsewhere = others - {gpu.uuid for gpu in node.gpus}
    uuids = {gpu.index: gpu.uuid for gpu in node.gpus}
    found = (
        finding.event.gpu_uuid or uuids.get(finding.event.gpu_index, "")
        for finding in node.findings
        if finding.status is Health.UNHEALTHY and finding.event is not None
    )
    return tuple(dict.fromkeys(uuid for uuid in found if uuid and uuid not in elsewhere))
