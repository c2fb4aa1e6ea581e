"""Applying and deleting resources: what of a document is news, and what is refused.

References between resources are not looked at here: in which order a class, its model and its pools
are applied does not matter. That one is missing shows as a condition (`conditions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, assert_never

from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model import resources as res
from navarch.core.model.fleet import Fleet

RESOURCES_MAX: Final = 5_000
"""Resources that a fleet has: each is looked at whenever something is decided."""
SHOWN_MAX: Final = 10
"""Names that a refusal lists."""


def key_of(resource: res.Resource) -> str:
    """Where the fleet keeps a resource: ``Kind/namespace/name``."""
    return f"{res.kind_of(resource)}/{resource.full_name}"


def bare(resource: res.Resource) -> res.Resource:
    """What of a resource is wanted: all but its status."""
    match resource:
        case res.AgentPool():
            return replace(resource, status=res.AgentPoolStatus())
        case res.Model():
            return replace(resource, status=res.ModelStatus())
        case res.AgentClass() | res.ToolBinding():
            return replace(resource, status=res.ClassStatus())
        case _:
            assert_never(resource)


def learned(
    fleet: Fleet, message: msg.ApplyResources | msg.DeleteResource, now: datetime
) -> Sequence[ev.Fact] | msg.Refused:
    """Say what a request changes, or why it is refused. Cost: O(resources of the request)."""
    if isinstance(message, msg.DeleteResource):
        return _delete(fleet, message, now)
    wanted = {key_of(resource): bare(resource) for resource in message.resources}
    refusal = _unwelcome(fleet, message, wanted)
    if refusal is not None:
        return refusal
    because = _by_operator("applied", message.reason)
    return [
        ev.ResourceApplied(now, resource, because)
        for key, resource in wanted.items()
        if key not in fleet.resources or not _is_same(fleet.resources[key].resource, resource)
    ]


def _is_same(before: res.Resource, after: res.Resource) -> bool:
    """Whether two are equal, and 1 is not taken for true: a gang of one is not a gang of all."""
    if isinstance(before, res.AgentPool) and isinstance(after, res.AgentPool):
        gangs = (before.spec.scheduling.gang, after.spec.scheduling.gang)
        if isinstance(gangs[0], bool) is not isinstance(gangs[1], bool):
            return False
    return before == after


def _unwelcome(
    fleet: Fleet, message: msg.ApplyResources, wanted: dict[str, res.Resource]
) -> msg.Refused | None:
    invalid = msg.Refusal.INVALID_ARGUMENT
    for resource in message.resources:
        if not resource.name or not resource.metadata.namespace:
            kind = res.kind_of(resource)
            return msg.Refused(invalid, f"{kind} {resource.full_name!r} has no whole name")
    if len(wanted) < len(message.resources):
        seen: set[str] = set()
        for resource in message.resources:
            key = key_of(resource)
            if key in seen:
                return msg.Refused(invalid, f"{key} is there twice")
            seen.add(key)
    total = len(fleet.resources.keys() | wanted.keys())
    if total > RESOURCES_MAX and not wanted.keys() <= fleet.resources.keys():
        text = f"there would be {total:,} resources, at most {RESOURCES_MAX:,} may be"
        return msg.Refused(msg.Refusal.RESOURCE_EXHAUSTED, text)
    return None


def _delete(
    fleet: Fleet, message: msg.DeleteResource, now: datetime
) -> Sequence[ev.Fact] | msg.Refused:
    if message.kind not in res.KINDS:
        text = f"{message.kind!r} is no kind of resource; there are: {', '.join(res.KINDS)}"
        return msg.Refused(msg.Refusal.INVALID_ARGUMENT, text)
    if fleet.resource(message.kind, message.name) is None:
        return msg.Refused(msg.Refusal.NOT_FOUND, unknown(fleet, message.kind, message.name))
    because = _by_operator("deleted", message.reason)
    return [ev.ResourceDeleted(now, message.kind, message.name, because)]


def unknown(fleet: Fleet, kind: str, name: str) -> str:
    """Say that there is no such resource, and which ones there are."""
    have = sorted(key.partition("/")[2] for key in fleet.resources if key.startswith(f"{kind}/"))
    more = f" and {len(have) - SHOWN_MAX} more" if len(have) > SHOWN_MAX else ""
    return f"there is no {kind} {name}; there are: {', '.join(have[:SHOWN_MAX]) or 'none'}{more}"


def answer(
    fleet: Fleet, message: msg.ApplyResources, facts: Sequence[ev.Fact]
) -> msg.ResourcesApplied:
    """Say what became of each resource, after its facts were folded."""
    new = {key_of(fact.resource) for fact in facts if isinstance(fact, ev.ResourceApplied)}
    return msg.ResourcesApplied(
        tuple(
            _outcome(fleet, resource, changed=key_of(resource) in new, first=1)
            for resource in message.resources
        )
    )


def foretold(
    fleet: Fleet, message: msg.ApplyResources, now: datetime
) -> msg.ResourcesApplied | msg.Refused:
    """Say what would become of each resource if they were applied; nothing changes."""
    facts = learned(fleet, message, now)
    if isinstance(facts, msg.Refused):
        return facts
    new = {key_of(fact.resource) for fact in facts if isinstance(fact, ev.ResourceApplied)}
    return msg.ResourcesApplied(
        tuple(
            _outcome(fleet, resource, changed=key_of(resource) in new, first=0)
            for resource in message.resources
        )
    )


def _outcome(fleet: Fleet, resource: res.Resource, *, changed: bool, first: int) -> msg.Outcome:
    """Name an outcome; `first` is the generation of a resource that was not there before."""
    kind, name = res.kind_of(resource), resource.full_name
    applied = fleet.resource(kind, name)
    if not changed:
        return msg.Outcome(kind, name, "unchanged")
    generation = 0 if applied is None else applied.generation
    return msg.Outcome(kind, name, "created" if generation <= first else "configured")


def _by_operator(verb: str, reason: str) -> str:
    return f"{verb} by an operator: {reason}" if reason else f"{verb} by an operator"
