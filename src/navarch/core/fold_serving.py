"""Folding the facts of the serving plane: resources, replicas, weights and plugins."""

from __future__ import annotations

from typing import Final, assert_never

from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model.fleet import Applied, Fleet, PluginSetting, Wanted, Weights
from navarch.core.model.replica import Replica, ReplicaState
from navarch.core.model.resources import kind_of

FAILED_NODES_KEPT: Final = 8
"""Nodes that a replica remembers as bad for it."""


def apply(fleet: Fleet, event: ev.ServingFact) -> None:
    """Change `fleet` as the fact says. Cost: O(1)."""
    match event:
        case ev.ResourceApplied():
            _apply_resource(fleet, event)
        case ev.ResourceDeleted():
            fleet.resources.pop(f"{event.resource_kind}/{event.name}", None)
            if event.resource_kind == "AgentPool":
                fleet.agent_pools.pop(event.name, None)
        case ev.ConditionChanged():
            _change_condition(fleet, event)
        case ev.ReplicasWanted():
            fleet.agent_pools[event.agent_pool] = Wanted(
                event.target, event.because, event.at, event.needed
            )
        case ev.ReplicasForgotten():
            fleet.drop_replicas(event.replicas)
        case ev.ModelCached():
            weights = Weights(event.at, event.digest, event.size)
            fleet.weights.setdefault(event.node_id, {})[event.model] = weights
        case ev.ModelDropped():
            here = fleet.weights.get(event.node_id, {})
            here.pop(event.model, None)
            if not here:
                fleet.weights.pop(event.node_id, None)
        case ev.PluginChanged():
            _change_plugin(fleet, event)
        case ev.ReplicaRequested():
            fleet.replica_serial += 1
            fleet.put_replica(
                Replica(
                    event.replica_id,
                    event.agent_pool,
                    event.at,
                    because=event.because,
                    gang=event.gang,
                    priority=event.priority,
                    model=event.model,
                    template=event.template,
                    runtime=event.runtime,
                )
            )
        case _:
            fleet.put_replica(_moved(fleet.replicas[event.replica_id], event))


def _apply_resource(fleet: Fleet, event: ev.ResourceApplied) -> None:
    key = f"{kind_of(event.resource)}/{event.resource.full_name}"
    before = fleet.resources.get(key)
    if before is None:
        fleet.resources[key] = Applied(event.resource, event.at, event.at)
        return
    fleet.resources[key] = replace(
        before,
        resource=event.resource,
        changed_at=event.at,
        generation=before.generation + 1,
    )


def _change_condition(fleet: Fleet, event: ev.ConditionChanged) -> None:
    key = f"{event.resource_kind}/{event.name}"
    applied = fleet.resources.get(key)
    if applied is None:
        return  # it was deleted in the same step
    others = [each for each in applied.conditions if each.type != event.condition.type]
    conditions = sorted([*others, event.condition], key=lambda each: each.type)
    fleet.resources[key] = replace(applied, conditions=tuple(conditions))


def _change_plugin(fleet: Fleet, event: ev.PluginChanged) -> None:
    key = f"{event.plugin_kind}/{event.name}"
    before = fleet.plugins.get(key) or PluginSetting("")
    fleet.plugins[key] = PluginSetting(
        event.because,
        before.enabled if event.enabled is None else event.enabled,
        before.priority if event.priority is None else event.priority,
        before.shadow if event.shadow is None else event.shadow,
    )


def _moved(
    replica: Replica,
    event: ev.ReplicaPlaced
    | ev.ReplicaBlocked
    | ev.ReplicaAdvanced
    | ev.ReplicaDisplaced
    | ev.ReplicaStopping
    | ev.ReplicaEnded,
) -> Replica:
    match event:
        case ev.ReplicaPlaced():
            return replace(
                replica,
                state=ReplicaState.LOADING,
                because=event.because,
                changed_at=event.at,
                node_id=event.node_id,
                gpus=event.gpus,
                share=event.share,
                mig=event.mig,
                port=0,
                restarts=0,
                blocker=None,
                retry_at=None,
            )
        case ev.ReplicaBlocked():
            return replace(replica, because=event.blocker.summary, blocker=event.blocker)
        case ev.ReplicaAdvanced():
            ready = event.state is ReplicaState.READY
            return replace(
                replica,
                state=event.state,
                because=event.because,
                changed_at=event.at,
                port=event.port or replica.port,
                restarts=event.restarts,
                failures=0 if ready else replica.failures,
                failed_nodes=() if ready else replica.failed_nodes,
            )
        case ev.ReplicaDisplaced():
            return _displaced(replica, event)
        case ev.ReplicaStopping():
            state = ReplicaState.STOPPING if replica.placed else ReplicaState.ENDED
            return replace(replica, state=state, because=event.because, changed_at=event.at)
        case ev.ReplicaEnded():
            return replace(
                replica, state=ReplicaState.ENDED, because=event.because, changed_at=event.at
            )
        case _:
            assert_never(event)


def _displaced(replica: Replica, event: ev.ReplicaDisplaced) -> Replica:
    failed = (*replica.failed_nodes, event.node_id) if event.failed else replica.failed_nodes
    return replace(
        replica,
        state=ReplicaState.PENDING,
        because=event.because,
        changed_at=event.at,
        node_id="",
        gpus=(),
        share=1.0,
        mig="",
        port=0,
        restarts=0,
        failures=replica.failures + event.failed,
        failed_nodes=failed[-FAILED_NODES_KEPT:],
        retry_at=event.retry_at,
    )
