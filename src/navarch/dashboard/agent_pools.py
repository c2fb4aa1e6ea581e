"""Pools of agents as pages show them: their replicas, the load by which they are scaled, and why.

Also where the weights of models are, by model and by node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from navarch.core.model.fleet import Applied, Fleet
from navarch.core.model.replica import ModelSeen, Replica, ReplicaState
from navarch.core.model.resources import AgentPool, Condition, Model
from navarch.core.scaling.base import Quality
from navarch.core.serving import balance, conditions
from navarch.core.serving.recipes import Missing, recipe
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.series import Series
from navarch.core.serving_sentences import place
from navarch.dashboard.seen import Seen

POOLS_MAX: Final = 200
"""Pools of agents that are shown, by name."""
REPLICAS_MAX: Final = 500
"""Replicas that are shown; those without a place come first, the longest waiting before others."""
MODELS_MAX: Final = 100
"""Models that are shown, by name."""
NODES_MAX: Final = 200
"""Nodes whose cache is shown, those that load something first."""
POINTS_MAX: Final = 60
"""Samples of a signal that are shown, the newest."""

_RANKS: Final = {state: rank for rank, state in enumerate(ReplicaState)}


class SignalRow(Struct, frozen=True):
    """One signal of a pool."""

    name: str
    about: str
    unit: str
    value: float | None
    """None: there is none."""
    target: float | None
    """What one replica should have of it; None: nobody says."""
    quality: str
    detail: str
    """Why it is not good; empty when it is."""
    source: str
    observed_at: datetime | None
    times: list[datetime]
    """Of the good samples that are kept, oldest first."""
    values: list[float]


class ConditionRow(Struct, frozen=True):
    """One statement about a resource."""

    type: str
    status: str
    reason: str
    message: str
    since: datetime | None


class AgentPoolRow(Struct, frozen=True):
    """One pool of agents."""

    name: str
    agent_class: str
    model: str
    """Empty: nothing is loaded."""
    wanted: int
    needed: int
    """What the load alone needs."""
    min_replicas: int
    max_replicas: int
    replicas: int
    ready: int
    pending: int
    states: dict[str, int]
    because: str
    """Why so many are wanted: the last decision."""
    decided_at: datetime | None
    """When it was taken; None: the number is that of the resource."""
    problem: str
    """What is wrong, the gravest; empty: nothing is."""
    waits_for: dict[str, int]
    """How many replicas wait for each pool of machines to grow."""
    conditions: list[ConditionRow]
    signals: list[SignalRow]


class Loading(Struct, frozen=True):
    """Weights that are on their way."""

    node: str
    bytes_done: int
    bytes_total: int
    """0: not known."""
    bytes_per_second: int
    problem: str


class ReplicaRow(Struct, frozen=True):
    """One replica that has not ended."""

    id: str
    agent_pool: str
    state: str
    node: str
    """Empty while it has no place."""
    place: str
    """Which part of the node it has."""
    because: str
    blocked: str
    """Why no node fits it; empty: it has one, or nobody has looked."""
    counts: dict[str, int]
    """Nodes by what rules them out, the most frequent first."""
    cure: str
    """What single change would let it fit."""
    waits_for: str
    """The pool of machines that would fit it if it grew."""
    retry_at: datetime | None
    since: datetime
    restarts: int
    gang: str
    loading: Loading | None


class CachedOn(Struct, frozen=True):
    """A model on a node's disk."""

    node: str
    since: datetime
    bytes: int
    digest: str


class ModelRow(Struct, frozen=True):
    """One model, and where it is."""

    name: str
    uri: str
    """Empty: no resource of this name is wanted any more."""
    bytes: int
    """0: not known."""
    format: str
    preload_nodes: int
    cached: int
    """On how many nodes it is complete."""
    loading: list[Loading]
    problem: str


class NodeCache(Struct, frozen=True):
    """What is on the disk of one node."""

    node: str
    pool: str
    replicas: int
    bytes: int
    models: dict[str, int]
    """The bytes of each complete model."""
    loading: list[str]
    """Models that are on their way."""


def pools_of(seen: Seen, read: Mapping[str, Mapping[str, Series]]) -> list[AgentPoolRow]:
    """Show every pool of agents, by name; `read` has the signals of each, by pool and signal."""
    fleet = seen.fleet
    names = sorted({*balance.pools_of(fleet), *fleet.replicas_of})
    return [_pool(seen, name, read.get(name, {})) for name in names[:POOLS_MAX]]


def count_of_pools(fleet: Fleet) -> int:
    """How many pools of agents there are."""
    return len({*balance.pools_of(fleet), *fleet.replicas_of})


def _pool(seen: Seen, name: str, read: Mapping[str, Series]) -> AgentPoolRow:
    fleet = seen.fleet
    made, held = recipe(fleet, name), fleet.agent_pools.get(name)
    applied = fleet.resource("AgentPool", name)
    pool = applied.resource if applied is not None else None
    pool = pool if isinstance(pool, AgentPool) else None
    replicas = list(fleet.replicas_in(name))
    if pool is None:
        wanted, why, needed = 0, "it is wanted no more", 0
    else:
        counted = conditions.count(fleet, pool)
        wanted, needed = counted.target, counted.needed
        why = f"minReplicas is {pool.spec.min_replicas}" if held is None else held.because
    waiting = Counter(
        each.blocker.node_pool
        for each in replicas
        if each.state is ReplicaState.PENDING and each.blocker and each.blocker.node_pool
    )
    told = [] if applied is None else [_condition(each) for each in applied.conditions]
    missing = made.text if isinstance(made, Missing) and pool is not None else ""
    ready = sum(each.state is ReplicaState.READY for each in replicas if each.wanted)
    return AgentPoolRow(
        name=name,
        agent_class="" if pool is None else pool.spec.agent_class_ref.name,
        model="" if isinstance(made, Missing) or made.model is None else made.model.full_name,
        wanted=wanted,
        needed=needed,
        min_replicas=0 if pool is None else pool.spec.min_replicas,
        max_replicas=0 if pool is None else pool.spec.max_replicas,
        replicas=sum(each.wanted for each in replicas),
        ready=ready,
        pending=sum(each.state is ReplicaState.PENDING for each in replicas),
        states=dict(Counter(each.state.value for each in replicas)),
        because=why,
        decided_at=None if held is None else held.changed_at,
        problem=missing or _problem(told),
        waits_for=dict(waiting),
        conditions=told,
        signals=[] if pool is None else signals_of(pool, read, seen.now),
    )


_BAD_WHEN: Final = {
    "ClassFound": "False",
    "ModelFound": "False",
    "Scheduled": "False",
    "ScalingLimited": "True",
    "Ready": "False",
    "Preloaded": "False",
}
"""Statements that say that something is wrong, and when they do; the gravest first."""


def _problem(told: Sequence[ConditionRow]) -> str:
    by_type = {each.type: each for each in told}
    for type_, status in _BAD_WHEN.items():
        found = by_type.get(type_)
        if found is not None and found.status == status:
            return found.message or found.reason
    return ""


def _condition(condition: Condition) -> ConditionRow:
    return ConditionRow(
        condition.type,
        condition.status,
        condition.reason,
        condition.message,
        condition.last_transition_time,
    )


def signals_of(pool: AgentPool, read: Mapping[str, Series], now: datetime) -> list[SignalRow]:
    """Show what was read of a pool's load, and what it is scaled by and was not read."""
    targets = {
        signals.canonical(metric.type): metric.target for metric in pool.spec.autoscaling.metrics
    }
    return [
        _signal(read.get(name) or Series(name), targets.get(name), now)
        for name in dict.fromkeys([*targets, *read])
    ]


def _signal(series: Series, target: float | None, now: datetime) -> SignalRow:
    known = signals.signal_of(series.signal)
    reading = series.reading(now)
    good = [
        (each.observed_at, each.value)
        for each in series.samples
        if each.quality is Quality.OK and each.observed_at is not None
    ][-POINTS_MAX:]
    there = reading.quality in (Quality.OK, Quality.STALE)
    return SignalRow(
        series.signal,
        known.about,
        reading.unit or known.unit,
        reading.value if there else None,
        target or None,
        reading.quality.value,
        reading.detail,
        reading.source,
        reading.observed_at,
        [at for at, _ in good],
        [value for _, value in good],
    )


# --- replicas --------------------------------------------------------------------------------


def replicas_of(seen: Seen, agent_pool: str = "") -> tuple[list[ReplicaRow], int]:
    """Show replicas that have not ended, of one pool or of all, and say how many are left out.

    Cost: O(replicas log replicas).
    """
    fleet = seen.fleet
    pools = [agent_pool] if agent_pool else sorted(fleet.replicas_of)
    found = [each for name in pools for each in fleet.replicas_in(name)]
    found.sort(key=lambda each: (_RANKS[each.state], each.requested_at, each.id))
    rows = [_replica(seen, each) for each in found[:REPLICAS_MAX]]
    return rows, len(found) - len(rows)


def _replica(seen: Seen, replica: Replica) -> ReplicaRow:
    blocker = replica.blocker
    return ReplicaRow(
        id=replica.id,
        agent_pool=replica.agent_pool,
        state=replica.state.value,
        node=replica.node_id if replica.placed else "",
        place=place(replica) if replica.placed else "",
        because=replica.because,
        blocked="" if blocker is None else blocker.summary,
        counts={} if blocker is None else blocker.counts,
        cure="" if blocker is None else blocker.cure,
        waits_for="" if blocker is None else blocker.node_pool,
        retry_at=replica.retry_at,
        since=replica.changed_at or replica.requested_at,
        restarts=replica.restarts,
        gang=replica.gang,
        loading=_loading_of(seen, replica),
    )


def _loading_of(seen: Seen, replica: Replica) -> Loading | None:
    serving = seen.sightings.serving.get(replica.node_id) if replica.placed else None
    if serving is None or not replica.model:
        return None
    said = (each for each in serving.models if each.model == replica.model and not each.complete)
    return next((_loading(replica.node_id, each) for each in said), None)


def _loading(node_id: str, said: ModelSeen) -> Loading:
    return Loading(node_id, said.bytes_done, said.bytes_total, said.bytes_per_second, said.problem)


# --- weights ---------------------------------------------------------------------------------


def models_of(seen: Seen) -> tuple[list[ModelRow], int]:
    """Show each model and where it is, and how many are left out. Cost: O(models on nodes)."""
    fleet = seen.fleet
    prefix = "Model/"
    named = {
        key.removeprefix(prefix): each
        for key, each in fleet.resources.items()
        if key.startswith(prefix)
    }
    cached = Counter(name for _, models in _disks(fleet) for name in models)
    loading = _on_their_way(seen)
    names = sorted({*named, *cached, *loading})
    rows = [_model(name, named.get(name), cached[name], loading.get(name, [])) for name in names]
    return rows[:MODELS_MAX], max(len(rows) - MODELS_MAX, 0)


def _model(name: str, applied: Applied | None, cached: int, loading: list[Loading]) -> ModelRow:
    resource = applied.resource if applied is not None else None
    model = resource if isinstance(resource, Model) else None
    told = [] if applied is None else [_condition(each) for each in applied.conditions]
    return ModelRow(
        name,
        "" if model is None else model.spec.weights_uri,
        0 if model is None else model.spec.size,
        "" if model is None else model.spec.format,
        0 if model is None else model.spec.cache_policy.preload_nodes,
        cached,
        loading[:NODES_MAX],
        next((each.problem for each in loading if each.problem), "") or _problem(told),
    )


def caches_of(seen: Seen) -> tuple[list[NodeCache], int]:
    """Show what is on each node's disk, and how many nodes are left out."""
    fleet = seen.fleet
    loading: dict[str, list[str]] = {}
    for name, where in _on_their_way(seen).items():
        for each in where:
            loading.setdefault(each.node, []).append(name)
    disks = dict(_disks(fleet))
    nodes = sorted({*disks, *loading}, key=lambda id_: (id_ not in loading, id_))
    rows = [
        _cache(fleet, id_, disks.get(id_, {}), loading.get(id_, [])) for id_ in nodes[:NODES_MAX]
    ]
    return rows, max(len(nodes) - NODES_MAX, 0)


def _cache(fleet: Fleet, node_id: str, models: Mapping[str, int], loading: list[str]) -> NodeCache:
    node = fleet.nodes.get(node_id)
    return NodeCache(
        node_id,
        "" if node is None else node.pool,
        len(fleet.replicas_on.get(node_id, ())),
        sum(models.values()),
        dict(sorted(models.items())),
        sorted(loading),
    )


def _disks(fleet: Fleet) -> list[tuple[str, dict[str, int]]]:
    """Nodes that have models on their disks, with the bytes of each; ended nodes have none."""
    return [
        (node_id, {name: each.size for name, each in models.items()})
        for node_id, models in fleet.weights.items()
        if models and (node := fleet.nodes.get(node_id)) is not None and not node.over
    ]


def _on_their_way(seen: Seen) -> dict[str, list[Loading]]:
    """Models that nodes say they load, by name."""
    found: dict[str, list[Loading]] = {}
    for node_id, serving in seen.sightings.serving.items():
        held = seen.fleet.weights.get(node_id, {})
        for said in serving.models:
            if not said.complete and said.model not in held:
                found.setdefault(said.model, []).append(_loading(node_id, said))
    return found
