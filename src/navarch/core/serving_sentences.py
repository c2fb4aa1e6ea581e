"""The facts of the serving plane in one sentence each."""

from __future__ import annotations

from typing import assert_never

from navarch.core.model import events as ev
from navarch.core.model.replica import Replica
from navarch.core.model.resources import kind_of


def sentence(event: ev.ServingFact) -> str:
    """Say a fact of the serving plane, its reason included, without a full stop."""
    match event:
        case ev.ResourceApplied():
            because = f": {event.because}" if event.because else ""
            return f"{kind_of(event.resource)} {event.resource.full_name} is wanted{because}"
        case ev.ResourceDeleted():
            because = f": {event.because}" if event.because else ""
            return f"{event.resource_kind} {event.name} is wanted no more{because}"
        case ev.ConditionChanged():
            said = event.condition
            text = f": {said.message}" if said.message else ""
            return f"{event.resource_kind} {event.name} is {said.type}={said.status}{text}"
        case ev.ReplicasWanted():
            return f"agent pool {event.agent_pool} wants {event.target} replicas: {event.because}"
        case ev.ReplicasForgotten():
            return f"{len(event.replicas)} ended replicas let go"
        case ev.ModelCached():
            return f"node {event.node_id} has the weights of {event.model}"
        case ev.ModelDropped():
            return f"node {event.node_id} has {event.model} no more: {event.because}"
        case ev.PluginChanged():
            return f"{event.plugin_kind} {event.name} {_plugin(event)}: {event.because}"
        case _:
            return _of_replica(event)


def _plugin(event: ev.PluginChanged) -> str:
    words = []
    if event.enabled is not None:
        words.append("is switched on" if event.enabled else "is switched off")
    if event.priority is not None:
        words.append(f"has priority {event.priority}")
    if event.shadow is not None:
        words.append("only watches" if event.shadow else "counts")
    return ", ".join(words) or "is as it was"


def place(replica: Replica | ev.ReplicaPlaced) -> str:
    """Say which part of its node a replica has."""
    if not replica.gpus:
        return replica.node_id
    which = ",".join(map(str, replica.gpus))
    noun = "GPU" if len(replica.gpus) == 1 else "GPUs"
    if replica.mig:
        return f"{replica.node_id} ({replica.mig} of {noun} {which})"
    share = f"{replica.share:.0%} of " if replica.share < 1 else ""
    return f"{replica.node_id} ({share}{noun} {which})"


def _of_replica(
    event: ev.ReplicaRequested
    | ev.ReplicaPlaced
    | ev.ReplicaBlocked
    | ev.ReplicaAdvanced
    | ev.ReplicaDisplaced
    | ev.ReplicaStopping
    | ev.ReplicaEnded,
) -> str:
    name = f"replica {event.replica_id}"
    match event:
        case ev.ReplicaRequested():
            return f"{name} of {event.agent_pool} is wanted: {event.because}"
        case ev.ReplicaPlaced():
            return f"{name} goes to {place(event)}: {event.because}"
        case ev.ReplicaBlocked():
            return f"{name} fits nowhere: {event.blocker.summary}"
        case ev.ReplicaAdvanced():
            return f"{name} is {event.state.value}: {event.because}"
        case ev.ReplicaDisplaced():
            return f"{name} lost its place on {event.node_id}: {event.because}"
        case ev.ReplicaStopping():
            return f"{name} is to end: {event.because}"
        case ev.ReplicaEnded():
            return f"{name} has ended: {event.because}"
        case _:
            assert_never(event)
