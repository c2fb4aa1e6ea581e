"""Decisions about pools, as marks on a chart: each with its reason, in the words of the journal."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.sentences import sentence

NAMED_MAX: Final = 20
"""Machines that one decision names; the others are counted."""


class Decision(Struct):
    """Something that was decided about a pool, once or for several machines at one moment."""

    seq: int
    """Its place in the journal; of several, the first."""
    at: datetime
    kind: str
    """One of `LETTERS`."""
    title: str
    because: str
    count: int = 1
    subjects: list[str] = []
    """The machines that it is about, the first of them."""
    target: int | None = None
    """How many nodes the pool wants from now on; None: that did not change."""
    before: int | None = None
    """How many it wanted before; None: that is not known, or did not change."""


LETTERS: Final = {
    "scaled": "T",
    "bought": "B",
    "released": "R",
    "replaced": "X",
    "breaker": "!",
    "paused": "P",
    "configured": "C",
}
"""The kinds of decisions, and the letter of each on a chart."""

_POOL_FACTS: Final = {
    ev.TargetChanged: "scaled",
    ev.PoolPaused: "paused",
    ev.PoolUnpaused: "paused",
    ev.RepairHalted: "breaker",
    ev.RepairAcknowledged: "breaker",
    ev.RepairHalfOpened: "breaker",
    ev.RepairContinued: "breaker",
    ev.PoolConfigured: "configured",
    ev.PoolRetired: "configured",
}

_MACHINE_FACTS: Final = {
    ev.LaunchRequested: "bought",
    ev.ReleaseRequested: "released",
    ev.InstanceCondemned: "replaced",
}


def read(seq: int, fact: ev.Event, fleet: Fleet) -> tuple[str, Decision] | None:
    """Return the pool that a fact decides about, and the decision; None for any other fact."""
    kind = _POOL_FACTS.get(type(fact))
    if kind is not None:
        pool = fact.spec.name if isinstance(fact, ev.PoolConfigured) else _pool_named(fact)
        target = fact.target if isinstance(fact, ev.TargetChanged) else None
        because = getattr(fact, "because", "")
        return pool, Decision(seq, fact.at, kind, _titled(fact), because, target=target)
    kind = _MACHINE_FACTS.get(type(fact))
    if kind is None:
        return None
    id_ = str(getattr(fact, "instance_id", ""))
    because = str(getattr(fact, "because", ""))
    decision = Decision(seq, fact.at, kind, _titled(fact), because, subjects=[id_])
    if isinstance(fact, ev.LaunchRequested):
        return fact.pool, decision
    instance = fleet.instances.get(id_)
    pool = instance.pool if instance is not None else id_.rpartition(f"-{fleet.tag}-")[0]
    return pool, decision


def joined(before: Decision, after: Decision) -> bool:
    """Count `after` in with `before`, where both are one decision about several machines."""
    same = before.kind == after.kind and before.at == after.at and bool(after.subjects)
    if not same:
        return False
    before.count += after.count
    if len(before.subjects) < NAMED_MAX:
        before.subjects += after.subjects
    words = {"bought": "asked for", "released": "drained to be ended", "replaced": "to be replaced"}
    before.title = f"{before.count} machines {words[before.kind]}"
    return True


def _pool_named(fact: ev.Event) -> str:
    return str(getattr(fact, "pool", ""))


def _titled(fact: ev.Event) -> str:
    """Say a fact without its reason, which stands beside it."""
    match fact:
        case ev.TargetChanged():
            return f"target {fact.target}"
        case ev.LaunchRequested():
            return f"1 machine asked for at {fact.provider}"
        case ev.ReleaseRequested():
            return f"{fact.instance_id} drained to be ended"
        case ev.InstanceCondemned():
            return f"{fact.instance_id} to be replaced"
        case ev.RepairHalted():
            return "breaker opened: repair is halted"
        case ev.RepairHalfOpened():
            return "breaker half open: one repair is tried"
        case ev.RepairContinued():
            return "breaker closed: repair goes on"
        case ev.RepairAcknowledged():
            return "somebody has looked at the halted repair"
        case ev.PoolPaused():
            return "paused"
        case ev.PoolUnpaused():
            return "resumed"
        case _:
            return sentence(fact)
