"""Preloading: weights are on as many nodes as their model says, before anybody asks for them.

And they leave when nobody wants the model any more: a model that was deleted is unloaded wherever
no replica uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec

from navarch.core.model import events as ev
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Told
from navarch.core.model.resources import Model
from navarch.core.model.sightings import Sightings
from navarch.core.orders import Orders
from navarch.core.serving.upkeep import has_weights, is_ordered, peers_of
from navarch.core.settings import Settings

RETRY: Final = timedelta(minutes=5)
"""How long a node whose load has failed is left alone."""


def preloaded(
    fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings
) -> Iterator[ev.CommandIssued]:
    """Order what is missing, and the end of what nobody wants. Cost: O(models × nodes)."""
    if not fleet.resources and not fleet.weights:
        return
    orders = Orders(fleet, now, settings)
    for key, applied in sorted(fleet.resources.items()):
        if key.startswith("Model/") and isinstance(applied.resource, Model):
            yield from _preload(fleet, sightings, applied.resource, orders, now)
    yield from _unload(fleet, orders)


def _preload(
    fleet: Fleet, sightings: Sightings, model: Model, orders: Orders, now: datetime
) -> Iterator[ev.CommandIssued]:
    wanted = model.spec.cache_policy.preload_nodes
    name = model.full_name
    if wanted <= 0:
        return
    able = [
        node_id
        for node_id in sorted(fleet.serving)
        if node_id in sightings.serving and fleet.nodes[node_id].workload is Told.OPEN
    ]
    there = [
        node_id
        for node_id in able
        if has_weights(fleet, node_id, name)
        or is_ordered(fleet, node_id, CommandType.LOAD_MODEL, name)
    ]
    missing = wanted - len(there)
    candidates = (node_id for node_id in able if node_id not in there)
    for node_id in candidates:
        if missing <= 0:
            return
        if _failed_lately(fleet, node_id, name, now):
            continue
        missing -= 1
        spec = msgspec.json.encode(model).decode()
        parameters = {
            "model": name,
            "spec": spec,
            "peers": ",".join(peers_of(fleet, name, node_id)),
        }
        reason = f"preloadNodes is {wanted}, {len(there)} have it or load it"
        yield orders.give(node_id, CommandType.LOAD_MODEL, reason, parameters)


def _failed_lately(fleet: Fleet, node_id: str, model: str, now: datetime) -> bool:
    """Whether a load has failed there a moment ago. Cost: O(kept commands), where one is due."""
    bad = (CommandState.FAILED, CommandState.REFUSED, CommandState.EXPIRED)
    return any(
        command.node_id == node_id
        and command.type is CommandType.LOAD_MODEL
        and command.parameters.get("model") == model
        and command.state in bad
        and command.finished_at is not None
        and now - command.finished_at < RETRY
        for command in fleet.commands.values()
    )


def _unload(fleet: Fleet, orders: Orders) -> Iterator[ev.CommandIssued]:
    for node_id, weights in fleet.weights.items():
        node = fleet.nodes.get(node_id)
        if node is None or node.over or not node.connected:
            continue
        used = {replica.model for replica in fleet.replicas_at(node_id)}
        for name in sorted(weights):
            if fleet.resource("Model", name) is not None or name in used:
                continue
            if not is_ordered(fleet, node_id, CommandType.UNLOAD_MODEL, name):
                reason = "nobody wants the model any more"
                yield orders.give(node_id, CommandType.UNLOAD_MODEL, reason, {"model": name})
