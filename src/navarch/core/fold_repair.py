"""Folding what is done about a node: repairs, and what the workload manager knows of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model.finding import Finding
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Attempt, Lemon, Outcome, Repair, Stage, Told
from navarch.core.model.node import Node
from navarch.core.model.pool import HOUR
from navarch.core.model.report import GRAVITY, Health

ATTEMPT_MEMORY: Final = timedelta(hours=24)
"""For how long ended repairs of a node are remembered."""

ATTEMPTS_MAX: Final = 32
"""Ended repairs of one node that are remembered."""

LEMONS_MAX: Final = 10_000
"""GPUs that are distrusted; of more, those that gave trouble longest ago are forgotten."""

LEMON_COUNT: Final = 2
"""How many machines a GPU must have made sick before one that has it is refused.

Once may be the machine around it; what follows the GPU into a second machine is the GPU.
"""

RepairFact = (
    ev.RepairStarted | ev.RepairAdvanced | ev.RepairEnded | ev.RepairWithheld | ev.NodeHandedOver
)


def applied(fleet: Fleet, before: Node, event: RepairFact) -> Node:
    """Return the node after a fact about its repair."""
    match event:
        case ev.RepairStarted():
            count_replacement(fleet, before.pool, event)
            repair = Repair(event.rung, event.at, Stage.DRAINING, event.at, event.because)
            return replace(before, repair=repair, drained_at=None, emptied_at=None)
        case ev.RepairAdvanced():
            if before.repair is None:
                return before
            repair = replace(
                before.repair,
                stage=event.stage,
                stage_since=event.at,
                command_id=event.command_id or before.repair.command_id,
                gpu=event.gpu or before.repair.gpu,
            )
            return replace(before, repair=repair, clean_reports=0)
        case ev.RepairEnded():
            return _ended(before, event)
        case ev.RepairWithheld():
            return replace(before, withheld=event.rung.value, because=event.because)
        case ev.NodeHandedOver():
            return replace(before, handed_over=event.because, because=event.because)


def _ended(before: Node, event: ev.RepairEnded) -> Node:
    """A repair that helped has paid what was owed; one that has not leaves everything as it is."""
    if before.repair is None:
        return before
    recent = (each for each in before.attempts if event.at - each.at < ATTEMPT_MEMORY)
    attempt = Attempt(before.repair.rung, event.at, event.outcome)
    after = replace(
        before,
        repair=None,
        attempts=(*recent, attempt)[-ATTEMPTS_MAX:],
        because=event.because,
    )
    if event.outcome is not Outcome.SUCCEEDED:
        return after
    gpu = before.repair.gpu or "all"
    left = tuple(each for each in after.findings if not each.bad or not _is_paid(each, gpu))
    worst = max(
        (each.status for each in left if each.bad), key=lambda status: GRAVITY[status], default=None
    )
    return replace(
        after,
        health=worst or Health.HEALTHY,
        findings=left,
        bad_reports=0,
        handed_over="",
        withheld="",
    )


def _is_paid(finding: Finding, gpu: str) -> bool:
    """Whether a repair that helped has put this right; a reset of one GPU mends no other."""
    if gpu == "all" or finding.event is None or finding.event.gpu_index < 0:
        return True
    return str(finding.event.gpu_index) == gpu


WorkloadFact = ev.WorkloadTelling | ev.WorkloadTold | ev.WorkloadRefused | ev.NodeEmptied


def told(before: Node, event: WorkloadFact) -> Node:
    """Return the node after a word to the workload manager, or one of it."""
    match event:
        case ev.WorkloadTelling():
            return replace(before, telling=event.told)
        case ev.WorkloadTold():
            emptied_at = before.emptied_at if event.told is not Told.DRAINING else None
            return replace(
                before,
                told=event.told,
                wished=False,
                telling=None if before.telling is event.told else before.telling,
                tellings=before.tellings + 1,
                refusal="",
                refused_at=None,
                emptied_at=emptied_at,
            )
        case ev.WorkloadRefused():
            # `telling` stays: an earlier try of the same word may have been heard
            return replace(before, refusal=event.because, refused_at=event.at)
        case ev.NodeEmptied():
            return replace(before, emptied_at=event.at)


def count_replacement(fleet: Fleet, pool_name: str, event: ev.Event) -> None:
    """Take one from the pool's budget of the hour."""
    pool = fleet.pools.get(pool_name)
    if pool is not None:
        recent = tuple(at for at in pool.replacements if event.at - at < HOUR)
        fleet.pools[pool_name] = replace(pool, replacements=(*recent, event.at))


def remember_lemon(fleet: Fleet, uuid: str, event: ev.InstanceCondemned) -> None:
    """Remember a GPU that made its machine sick."""
    before = fleet.lemons.pop(uuid, None)
    count = 1
    if before is not None:
        count = before.count + (before.instance_id != event.instance_id)
    fleet.lemons[uuid] = Lemon(count, event.at, event.because, event.instance_id)
    while len(fleet.lemons) > LEMONS_MAX:
        del fleet.lemons[next(iter(fleet.lemons))]


def lemon_because(fleet: Fleet, uuid: str) -> str:
    """Say why a GPU is distrusted; empty if it is not."""
    lemon = fleet.lemons.get(uuid)
    if lemon is None or lemon.count < LEMON_COUNT:
        return ""
    return f"GPU {uuid} has made {lemon.count} machines sick, last at {lemon.at:%Y-%m-%d %H:%M}"
