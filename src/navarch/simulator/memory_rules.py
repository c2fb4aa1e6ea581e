"""Rules of memory: what a control plane keeps in mind is bounded, and its indexes are right."""

from __future__ import annotations

from datetime import datetime, timedelta

from navarch.core.machine import Machine
from navarch.core.model.actions import ListTypes, Terminate
from navarch.core.model.fleet import Fleet
from navarch.core.settings import Settings
from navarch.simulator.broken import Broken

TOLERANCE = timedelta(minutes=5)
"""How much longer than told something may be kept: until time is looked at again."""

INDEXES = (
    "booting",
    "ending",
    "ended",
    "uncertain",
    "condemned",
    "releasing",
    "lost",
    "gone",
    "unjudged",
    "ailing",
    "repairing",
    "distrusted",
    "untold",
    "emptying",
    "serving",
)


def indexes_agree(fleet: Fleet) -> None:
    """Check that each index says what the records say."""
    anew = Fleet(fleet.records())
    for name in INDEXES:
        if set(getattr(fleet, name)) != set(getattr(anew, name)):
            kept, found = sorted(getattr(fleet, name)), sorted(getattr(anew, name))
            raise Broken("lost", f"index {name}: {kept}, the records: {found}")
    members = {pool: list(ids) for pool, ids in fleet.members.items() if ids}
    if members != {pool: list(ids) for pool, ids in anew.members.items() if ids}:
        raise Broken("lost", f"the members {members} are not those of the records")
    for name in ("current", "bought_from"):
        here, there = (
            {key: set(ids) for key, ids in getattr(each, name).items() if ids}
            for each in (fleet, anew)
        )
        if here != there:
            raise Broken("lost", f"index {name}: {here}, the records: {there}")


def remembers_little(machine: Machine, now: datetime, settings: Settings) -> None:
    """Check that nothing is remembered of what is over. Cost: O(everything remembered)."""
    fleet, seen = machine.fleet, machine.sightings
    for what, ids, known in (
        ("heard", set(seen.heard), set(fleet.nodes)),
        ("samples", set(seen.samples), set(fleet.nodes)),
        ("missing", set(seen.missing), set(fleet.instances)),
        ("held", set(seen.held), set(fleet.nodes)),
        ("said", set(seen.said), set(fleet.nodes)),
        ("drains", set(seen.drains), set(fleet.nodes)),
        ("pending", set(fleet.pending), set(fleet.nodes)),
        ("recommendations", set(seen.recommendations), set(fleet.pools)),
    ):
        if not ids <= known:
            raise Broken("hoarded", f"{what} of {sorted(ids - known)}, which nobody knows")
    limit = now - settings.retain_terminated - TOLERANCE
    finished = (each.finished_at for each in fleet.commands.values())
    ended = (each.ended_at for each in fleet.instances.values())
    gone = (each.ended_at for each in fleet.nodes.values() if not each.instance_id)
    for what, moments in (("command", finished), ("instance", ended), ("node", gone)):
        if any(at is not None and at < limit for at in moments):
            raise Broken("hoarded", f"a {what} that ended before {limit} is still kept")
    idle = set(seen.tried) - _efforts(fleet)
    if idle:
        raise Broken("hoarded", f"{sorted(idle)} is remembered, and nobody waits for it")


def _efforts(fleet: Fleet) -> set[str]:
    """The keys of all that may be tried again."""
    keys: set[str] = set()
    for instance in fleet.instances.values():
        if not instance.ended:
            keys.add(Terminate(instance.provider, instance.ref, instance.id).key)
    for orphan in fleet.orphans.values():
        keys.add(Terminate(orphan.provider, orphan.ref).key)
    for node_id in fleet.nodes:
        keys |= {f"tell {node_id}", f"drained {node_id}"}
    for pool in fleet.pools.values():
        keys |= {ListTypes(source.provider).key for source in pool.sources}
    return keys
