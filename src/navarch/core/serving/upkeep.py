"""Upkeep: what replicas and models on nodes need, so that what was decided comes true.

Level-triggered: a replica that is LOADING owes its node the weights and then a start, one that is
STOPPING owes it a stop, and a replica on a node that is gone waits for another place. Commands get
lost, and agents forget: what is not seen after a while is ordered again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec

from navarch.core.model import events as ev
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Contact, Node
from navarch.core.model.replica import Replica, ReplicaState
from navarch.core.model.resources import AgentPool, Model
from navarch.core.model.sightings import Sightings
from navarch.core.orders import Orders
from navarch.core.settings import Settings

CACHE_LABEL: Final = "navarch.io/model-cache"
"""The label under which an agent says where others can fetch weights from its cache."""
PEERS_MAX: Final = 3
"""Caches that a node is pointed to: one may be gone, two may be busy."""

Upkeep = (
    ev.ReplicaDisplaced
    | ev.ReplicaEnded
    | ev.ReplicaAdvanced
    | ev.CommandIssued
    | ev.ModelDropped
    | ev.ReplicasForgotten
)


def displaced(fleet: Fleet, now: datetime) -> Iterator[ev.ReplicaDisplaced | ev.ReplicaEnded]:
    """Take replicas off nodes that are gone. Cost: O(nodes with replicas)."""
    for node_id in sorted(fleet.replicas_on):
        because = _gone_because(fleet.nodes.get(node_id))
        if not because:
            continue
        for replica in list(fleet.replicas_at(node_id)):
            if replica.runtime != "process":
                continue
            if replica.wanted:
                yield ev.ReplicaDisplaced(now, replica.id, node_id, because)
            else:
                yield ev.ReplicaEnded(now, replica.id, because)


def _gone_because(node: Node | None) -> str:
    if node is None:
        return "its node is not there any more"
    if node.over:
        return f"its node has ended: {node.because}"
    if node.contact is Contact.LOST:
        return f"its node is lost: {node.lost_because}"
    return ""


def ordered(
    fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings
) -> Iterator[Upkeep]:
    """Give the orders that replicas owe their nodes. Cost: O(replicas + nodes that serve)."""
    if not fleet.replicas_on and not sightings.serving:
        return
    desk = _Desk(fleet, sightings, now, settings)
    for node_id in sorted(fleet.replicas_on):
        node = fleet.nodes.get(node_id)
        if node is None or not node.connected:
            continue
        for replica in list(fleet.replicas_at(node_id)):
            if replica.runtime == "process":
                yield from desk.serve(replica)
    yield from desk.strays()


def forgotten(fleet: Fleet, now: datetime, settings: Settings) -> Iterator[ev.ReplicasForgotten]:
    """Let go of replicas that ended long enough ago; at most one fact a call."""
    limit = now - settings.retain_terminated
    over = tuple(
        id_
        for id_ in fleet.replicas_ended
        if (ended := fleet.replicas[id_]).changed_at is not None and ended.changed_at < limit
    )
    if over:
        yield ev.ReplicasForgotten(now, over)


def retry_at(replica: Replica, now: datetime, settings: Settings) -> datetime:
    """When a replica that has just failed once more may be placed again."""
    doublings = min(replica.failures, 16)
    return now + min(settings.replica_retry_base * (1 << doublings), settings.replica_retry_max)


def has_weights(fleet: Fleet, node_id: str, model: str) -> bool:
    """Whether a node has what a model names now; what came before a change may be something else.

    Loading them again costs nothing where they are the same.
    """
    held = fleet.weights.get(node_id, {}).get(model)
    applied = fleet.resource("Model", model)
    return held is not None and (applied is None or held.since >= applied.changed_at)


def peers_of(fleet: Fleet, model: str, node_id: str) -> Iterator[str]:
    """Find caches that have a model, on other nodes that are heard, three at most."""
    found = 0
    for other, weights in fleet.weights.items():
        node = fleet.nodes.get(other)
        if other == node_id or model not in weights or node is None or not node.connected:
            continue
        address = node.metadata.labels.get(CACHE_LABEL, "")
        if address:
            yield address
            found += 1
        if found >= PEERS_MAX:
            return


class _Desk:
    """Gives orders, and none twice."""

    def __init__(
        self, fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings
    ) -> None:
        self._fleet = fleet
        self._sightings = sightings
        self._now = now
        self._settings = settings
        self._orders = Orders(fleet, now, settings)
        self._given: set[tuple[str, CommandType, str]] = set()

    def serve(self, replica: Replica) -> Iterator[Upkeep]:
        """Order what a placed replica waits for."""
        match replica.state:
            case ReplicaState.LOADING:
                yield from self._load(replica)
            case ReplicaState.STARTING:
                yield from self._remind(replica)
            case ReplicaState.STOPPING:
                reason = f"replica {replica.id}: {replica.because}"
                yield from self._order(
                    replica.node_id, CommandType.STOP_REPLICA, replica.id, reason
                )
            case _:
                return

    def strays(self) -> Iterator[ev.CommandIssued]:
        """Stop what runs on a node without having its place there."""
        for node_id in sorted(self._sightings.serving):
            node = self._fleet.nodes.get(node_id)
            if node is None or node.over or not node.connected:
                continue
            for seen in self._sightings.serving[node_id].replicas:
                replica = self._fleet.replicas.get(seen.id)
                if replica is not None and replica.placed and replica.node_id == node_id:
                    continue
                reason = f"replica {seen.id} has no place here"
                yield from self._order(node_id, CommandType.STOP_REPLICA, seen.id, reason)

    def _load(self, replica: Replica) -> Iterator[Upkeep]:
        node_id, name = replica.node_id, replica.model
        if not name or has_weights(self._fleet, node_id, name):
            yield from self._start(replica, "its weights are there" if name else "nothing to load")
            return
        held = self._fleet.resource("Model", name)
        if held is None or not isinstance(held.resource, Model):
            return
        parameters = {
            "model": name,
            "spec": msgspec.json.encode(held.resource).decode(),
            "peers": ",".join(peers_of(self._fleet, name, node_id)),
        }
        reason = f"replica {replica.id} needs it"
        yield from self._order(node_id, CommandType.LOAD_MODEL, name, reason, parameters)

    def _start(self, replica: Replica, because: str) -> Iterator[Upkeep]:
        applied = self._fleet.resource("AgentPool", replica.agent_pool)
        if applied is None or not isinstance(applied.resource, AgentPool):
            return
        parameters = {
            "replica": replica.id,
            "agent_pool": replica.agent_pool,
            "runtime": msgspec.json.encode(applied.resource.spec.runtime).decode(),
            "gpus": ",".join(map(str, replica.gpus)),
            "share": f"{replica.share:g}",
            "mig": replica.mig,
            "model": replica.model,
        }
        reason = f"replica {replica.id}: {because}"
        started = list(
            self._order(replica.node_id, CommandType.START_REPLICA, replica.id, reason, parameters)
        )
        if started:
            yield ev.ReplicaAdvanced(
                self._now, replica.id, ReplicaState.STARTING, because, restarts=replica.restarts
            )
        yield from started

    def _remind(self, replica: Replica) -> Iterator[Upkeep]:
        """Order a start again that an agent does not seem to have heard of."""
        serving = self._sightings.serving.get(replica.node_id)
        since = replica.changed_at or replica.requested_at
        if serving is None or self._now - since < self._patience:
            return
        if all(seen.id != replica.id for seen in serving.replicas):
            yield from self._start(replica, "its agent does not name it")

    @property
    def _patience(self) -> timedelta:
        return self._settings.replica_unheard

    def _order(
        self,
        node_id: str,
        type_: CommandType,
        what: str,
        reason: str,
        parameters: dict[str, str] | None = None,
    ) -> Iterator[ev.CommandIssued]:
        key = (node_id, type_, what)
        waiting = len(self._fleet.pending.get(node_id, ()))
        if key in self._given or waiting >= self._settings.commands_pending_max:
            return
        if is_ordered(self._fleet, node_id, type_, what):
            return
        self._given.add(key)
        subject = "model" if type_ in _OF_MODELS else "replica"
        yield self._orders.give(node_id, type_, reason, parameters or {subject: what})


_OF_MODELS = frozenset({CommandType.LOAD_MODEL, CommandType.UNLOAD_MODEL})


def is_ordered(fleet: Fleet, node_id: str, type_: CommandType, what: str) -> bool:
    """Whether a command about a replica or a model is under way. Cost: O(the node's commands)."""
    subject = "model" if type_ in _OF_MODELS else "replica"
    return any(
        command.type is type_ and command.parameters.get(subject) == what
        for command in fleet.commands_for(node_id)
    )
