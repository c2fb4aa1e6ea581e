"""How resources stand: statements that follow from the fleet, and are facts when they change.

A statement has a type, a status, one word for programs and a sentence for people, as in Kubernetes.
Whether another resource is missing is a statement too, so documents may come in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model import resources as res
from navarch.core.model.fleet import Applied, Fleet
from navarch.core.model.replica import Replica, ReplicaState
from navarch.core.model.resources import Condition
from navarch.core.model.sightings import Sightings
from navarch.core.serving.recipes import bounded

Status = Literal["True", "False", "Unknown"]


class Count(Struct, frozen=True):
    """The replicas of a pool of agents, counted."""

    target: int
    """How many there shall be."""
    needed: int
    """How many the load alone needs."""
    replicas: int
    """How many there are that shall serve."""
    ready: int
    pending: int


def changed(fleet: Fleet, now: datetime) -> Iterator[ev.Fact]:
    """Say which statements are new or different.

    Cost: O(resources + replicas + weights on nodes); nothing without resources.
    """
    if not fleet.resources:
        return
    copies = _copies(fleet)
    for key, applied in fleet.resources.items():
        before = {each.type: each for each in applied.conditions}
        for condition in _conditions(fleet, applied, copies):
            known = before.get(condition.type)
            if known is not None and _says_the_same(known, condition):
                continue
            same = known is not None and known.status == condition.status
            since = known.last_transition_time if known is not None and same else now
            kind, _, name = key.partition("/")
            yield ev.ConditionChanged(
                now, kind, name, replace(condition, last_transition_time=since)
            )


def shown(fleet: Fleet, sightings: Sightings, applied: Applied) -> res.Resource:
    """Put a resource together with its status.

    Cost: O(replicas of the pool), for a model O(nodes + models that they see).
    """
    resource = applied.resource
    match resource:
        case res.AgentPool():
            return replace(resource, status=_pool_status(fleet, resource, applied.conditions))
        case res.Model():
            return replace(resource, status=_model_status(fleet, sightings, resource, applied))
        case _:
            return replace(resource, status=res.ClassStatus(applied.conditions))


def count(fleet: Fleet, pool: res.AgentPool) -> Count:
    """Count the replicas of a pool of agents. Cost: O(those)."""
    replicas = [each for each in fleet.replicas_in(pool.full_name) if each.wanted]
    wanted = fleet.agent_pools.get(pool.full_name)
    return Count(
        target=bounded(pool, pool.spec.min_replicas if wanted is None else wanted.target),
        needed=0 if wanted is None else wanted.needed,
        replicas=len(replicas),
        ready=sum(each.state is ReplicaState.READY for each in replicas),
        pending=sum(each.state is ReplicaState.PENDING for each in replicas),
    )


def _pool_status(
    fleet: Fleet, pool: res.AgentPool, conditions: Sequence[Condition]
) -> res.AgentPoolStatus:
    counted = count(fleet, pool)
    known = pool.full_name in fleet.agent_pools
    return res.AgentPoolStatus(
        replicas=counted.replicas,
        ready_replicas=counted.ready,
        prewarmed_replicas=max(counted.ready - counted.needed, 0) if known else 0,
        pending=counted.pending,
        conditions=tuple(conditions),
    )


def _model_status(
    fleet: Fleet, sightings: Sightings, model: res.Model, applied: Applied
) -> res.ModelStatus:
    name = model.full_name
    cached = sorted(node for node, models in _disks(fleet) if name in models)
    loading = {
        node_id
        for node_id, serving in sightings.serving.items()
        if any(each.model == name and not each.complete for each in serving.models)
    }
    return res.ModelStatus(
        cached_nodes=tuple(cached),
        loading_nodes=tuple(sorted(loading.difference(cached))),
        conditions=applied.conditions,
    )


# --- what is said of whom --------------------------------------------------------------------


def _conditions(fleet: Fleet, applied: Applied, copies: dict[str, int]) -> Iterator[Condition]:
    resource = applied.resource
    space = resource.metadata.namespace
    match resource:
        case res.AgentPool():
            yield from _of_pool(fleet, resource)
        case res.AgentClass():
            yield _model_found(fleet, space, resource.spec.model_ref.name)
        case res.Model():
            yield from _of_model(resource, copies.get(resource.full_name, 0))
        case res.ToolBinding():
            name = f"{space}/{resource.spec.agent_pool_ref.name}"
            yield _found(fleet, "PoolFound", "AgentPool", name)


def _of_pool(fleet: Fleet, pool: res.AgentPool) -> Iterator[Condition]:
    space = pool.metadata.namespace
    class_name = f"{space}/{pool.spec.agent_class_ref.name}"
    yield _found(fleet, "ClassFound", "AgentClass", class_name)
    applied = fleet.resource("AgentClass", class_name)
    if applied is None or not isinstance(applied.resource, res.AgentClass):
        text = f"AgentClass {class_name} would name it"
        yield Condition("ModelFound", "Unknown", "ClassNotFound", text)
    else:
        yield _model_found(fleet, space, applied.resource.spec.model_ref.name)
    counted = count(fleet, pool)
    yield _scheduled(fleet, pool, counted)
    yield _ready(counted)
    yield _limited(pool, counted)


def _of_model(model: res.Model, copies: int) -> Iterator[Condition]:
    wanted = model.spec.cache_policy.preload_nodes
    where = f"on the disks of {copies} nodes" if copies != 1 else "on the disk of one node"
    if copies:
        yield Condition("Loaded", "True", "Cached", where)
    else:
        yield Condition("Loaded", "False", "NotCached", "on no node's disk")
    if not wanted:
        yield Condition("Preloaded", "True", "NotAsked", "preloadNodes is 0")
    elif copies >= wanted:
        yield Condition("Preloaded", "True", "Cached", f"{where}, of {wanted} wanted")
    else:
        yield Condition("Preloaded", "False", "Loading", f"{where}, of {wanted} wanted")


def _found(fleet: Fleet, type_: str, kind: str, name: str) -> Condition:
    if fleet.resource(kind, name) is None:
        return Condition(type_, "False", "NotFound", f"there is no {kind} {name}")
    return Condition(type_, "True", "Found", f"{kind} {name}")


def _model_found(fleet: Fleet, namespace: str, name: str) -> Condition:
    if not name:
        return Condition("ModelFound", "True", "NotAsked", "modelRef is empty: nothing is loaded")
    return _found(fleet, "ModelFound", "Model", f"{namespace}/{name}")


def _scheduled(fleet: Fleet, pool: res.AgentPool, counted: Count) -> Condition:
    if not counted.pending:
        text = "every replica has a place" if counted.replicas else "no replica is there yet"
        return Condition("Scheduled", "True", "AllPlaced", text)
    waiting = [
        each for each in fleet.replicas_in(pool.full_name) if each.state is ReplicaState.PENDING
    ]
    blocked = next((each for each in waiting if each.blocker is not None), None)
    head = f"{counted.pending} of {counted.replicas} replicas have no place"
    if blocked is None:
        return Condition("Scheduled", "False", "Waiting", head)
    return Condition("Scheduled", "False", "Unschedulable", f"{head}: {_why(blocked)}")


def _why(replica: Replica) -> str:
    if replica.blocker is None:
        return replica.because
    cure = f"; {replica.blocker.cure}" if replica.blocker.cure else ""
    return f"{replica.blocker.summary}{cure}"


def _ready(counted: Count) -> Condition:
    text = f"{counted.ready} of {counted.target} replicas are ready"
    if not counted.target:
        return Condition("Ready", "True", "ScaledToZero", "no replica is wanted")
    if counted.ready >= counted.target:
        return Condition("Ready", "True", "AllReady", text)
    return Condition("Ready", "False", "SomeReady" if counted.ready else "NoneReady", text)


def _limited(pool: res.AgentPool, counted: Count) -> Condition:
    most = pool.spec.max_replicas
    if counted.needed > most:
        text = f"the load needs {counted.needed} replicas, maxReplicas is {most}"
        return Condition("ScalingLimited", "True", "AtMaximum", text)
    return Condition("ScalingLimited", "False", "WithinLimits", f"maxReplicas is {most}")


def _copies(fleet: Fleet) -> dict[str, int]:
    """On how many nodes each model is."""
    counts: dict[str, int] = {}
    for _, models in _disks(fleet):
        for name in models:
            counts[name] = counts.get(name, 0) + 1
    return counts


def _disks(fleet: Fleet) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the nodes that have models, with their names; nodes that have ended have none."""
    for node_id, models in fleet.weights.items():
        node = fleet.nodes.get(node_id)
        if node is not None and not node.over:
            yield node_id, models


def _says_the_same(one: Condition, other: Condition) -> bool:
    return (one.status, one.reason, one.message) == (other.status, other.reason, other.message)
