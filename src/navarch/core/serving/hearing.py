"""Hearing: what agents, and other systems, teach about replicas and weights."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.command import Command, CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.replica import Blocker, NodeServing, Replica, ReplicaSeen, ReplicaState
from navarch.core.serving import upkeep
from navarch.core.settings import Settings

RUNS = frozenset({ReplicaState.STARTING, ReplicaState.READY})
_GAVE_UP = frozenset({CommandState.FAILED, CommandState.REFUSED})


def heard(
    fleet: Fleet, node_id: str, serving: NodeServing | None, now: datetime, settings: Settings
) -> Iterator[ev.ServingFact]:
    """Say what a node's account of what runs there teaches. Cost: O(what it says)."""
    if serving is None:
        return
    seen = {each.id: each for each in serving.replicas}
    for replica in list(fleet.replicas_at(node_id)):
        yield from _of_replica(fleet, replica, seen.get(replica.id), now, settings)
    yield from _of_weights(fleet, node_id, serving, now)


def _of_replica(
    fleet: Fleet, replica: Replica, seen: ReplicaSeen | None, now: datetime, settings: Settings
) -> Iterator[ev.ServingFact]:
    node_id = replica.node_id
    if seen is None or seen.state is ReplicaState.ENDED:
        starts = upkeep.is_ordered(fleet, node_id, CommandType.START_REPLICA, replica.id)
        if replica.state is ReplicaState.STOPPING:
            if not starts:
                yield ev.ReplicaEnded(now, replica.id, replica.because)
        elif seen is not None and replica.state in RUNS and not starts:
            why = seen.message or "its program does not run"
            yield failed(replica, why, now, settings)
        elif replica.state is ReplicaState.READY:
            why = "its agent does not know it any more"
            yield ev.ReplicaAdvanced(now, replica.id, ReplicaState.STARTING, why)
        return
    if replica.state not in RUNS or seen.state not in RUNS:
        return
    port, restarts = seen.port or replica.port, seen.restarts
    if (seen.state, port, restarts) != (replica.state, replica.port, replica.restarts):
        why = seen.message or ("it answers" if seen.state is ReplicaState.READY else "it starts")
        yield ev.ReplicaAdvanced(now, replica.id, seen.state, why, port, restarts)


def failed(
    replica: Replica, because: str, now: datetime, settings: Settings
) -> ev.ReplicaDisplaced:
    """Make the fact that a replica could not be started where it is."""
    retry_at = upkeep.retry_at(replica, now, settings)
    return ev.ReplicaDisplaced(
        now, replica.id, replica.node_id, because, failed=True, retry_at=retry_at
    )


def _of_weights(
    fleet: Fleet, node_id: str, serving: NodeServing, now: datetime
) -> Iterator[ev.ServingFact]:
    known = fleet.weights.get(node_id, {})
    complete = {each.model: each for each in serving.models if each.complete}
    for name, seen in complete.items():
        held = known.get(name)
        if held is None or (seen.digest and held.digest != seen.digest):
            yield ev.ModelCached(now, node_id, name, seen.digest, seen.bytes_total)
    for name in known.keys() - complete.keys():
        yield ev.ModelDropped(now, node_id, name, "its cache does not have it any more")


def answered(
    fleet: Fleet, command: Command, answer: msg.AckCommand, now: datetime, settings: Settings
) -> Iterator[ev.ServingFact]:
    """Say what the outcome of a command teaches about replicas and weights."""
    replica = fleet.replicas.get(command.parameters.get("replica", ""))
    here = replica is not None and replica.placed and replica.node_id == command.node_id
    model = command.parameters.get("model", "")
    gave_up = answer.state in _GAVE_UP
    match command.type:
        case CommandType.START_REPLICA if gave_up and here and replica is not None:
            if replica.state in RUNS:
                yield failed(replica, f"not started: {answer.message}", now, settings)
        case CommandType.STOP_REPLICA if here and replica is not None:
            done = answer.state is CommandState.SUCCEEDED
            if done and replica.state is ReplicaState.STOPPING:
                yield ev.ReplicaEnded(now, replica.id, replica.because)
        case CommandType.LOAD_MODEL if gave_up:
            for waiting in list(fleet.replicas_at(command.node_id)):
                if waiting.model == model and waiting.state is ReplicaState.LOADING:
                    yield failed(waiting, f"no weights: {answer.message}", now, settings)
        case CommandType.LOAD_MODEL if answer.state is CommandState.SUCCEEDED:
            applied = fleet.resource("Model", model)
            current = applied is not None and command.issued_at >= applied.changed_at
            if current and not upkeep.has_weights(fleet, command.node_id, model):
                held = fleet.weights.get(command.node_id, {}).get(model)
                digest, size = (held.digest, held.size) if held is not None else ("", 0)
                yield ev.ModelCached(now, command.node_id, model, digest, size)
        case CommandType.UNLOAD_MODEL if answer.state is CommandState.SUCCEEDED:
            if model in fleet.weights.get(command.node_id, {}):
                yield ev.ModelDropped(now, command.node_id, model, "it was unloaded")
        case _:
            return


def observed(
    fleet: Fleet, message: msg.ReplicasObserved, now: datetime, settings: Settings
) -> Iterator[ev.ServingFact]:
    """Say what another system's account of the replicas that it runs teaches."""
    seen = {each.id: each for each in message.replicas}
    for replica in list(fleet.replicas.values()):
        if replica.runtime != message.runtime or replica.state is ReplicaState.ENDED:
            continue
        yield from _of_another(replica, seen.get(replica.id), now, settings)


def _of_another(
    replica: Replica, seen: ReplicaSeen | None, now: datetime, settings: Settings
) -> Iterator[ev.ServingFact]:
    if seen is None or seen.state is ReplicaState.ENDED:
        why = seen.message if seen is not None and seen.message else "it runs nowhere"
        if replica.state is ReplicaState.STOPPING:
            yield ev.ReplicaEnded(now, replica.id, replica.because)
        elif replica.placed:
            yield failed(replica, why, now, settings)
        return
    if seen.state is ReplicaState.PENDING:
        blocked = replica.blocker.summary if replica.blocker is not None else ""
        if replica.state is ReplicaState.PENDING and seen.message and seen.message != blocked:
            yield ev.ReplicaBlocked(now, replica.id, Blocker(seen.message))
        return
    if replica.state is ReplicaState.STOPPING:
        return
    if replica.state is ReplicaState.PENDING:
        yield ev.ReplicaPlaced(now, replica.id, seen.node, f"{replica.runtime} has placed it")
    known = (replica.state, replica.port, replica.restarts)
    if seen.state in RUNS and known != (seen.state, seen.port or replica.port, seen.restarts):
        why = seen.message or "as its pod says"
        yield ev.ReplicaAdvanced(now, replica.id, seen.state, why, seen.port, seen.restarts)
