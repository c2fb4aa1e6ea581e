"""What operators may ask, and what it means.

An operator's wish is a fact at once: a cordon holds from the moment it is answered, whether or not
the node's agent is there to hear of it. Commands to the agent follow the wish, they do not carry
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet, PluginSetting
from navarch.core.model.node import Intent, Node
from navarch.core.model.pool import Pool
from navarch.core.orders import Orders
from navarch.core.settings import Settings

Request = msg.IssueCommand | msg.ScalePool | msg.PausePool | msg.ClearHealth

INTENTS = {
    CommandType.CORDON: Intent.CORDONED,
    CommandType.UNCORDON: Intent.IN_SERVICE,
    CommandType.DRAIN: Intent.DRAINING,
}
"""The commands that are wishes about a node, and what each wants."""


def interpret(
    fleet: Fleet, request: Request, now: datetime, settings: Settings
) -> Sequence[ev.Fact] | msg.Refused:
    """Say what an operator's request changes, or why it is refused."""
    match request:
        case msg.IssueCommand():
            return _issue(fleet, request, now, settings)
        case msg.ScalePool():
            return _scale(fleet, request, now)
        case msg.PausePool():
            return _pause(fleet, request, now)
        case msg.ClearHealth():
            return _clear(fleet, request, now)
        case _:
            assert_never(request)


# --- nodes -----------------------------------------------------------------------------------


def _node(fleet: Fleet, node_id: str) -> Node | msg.Refused:
    node = fleet.nodes.get(node_id)
    if node is None:
        return msg.Refused(msg.Refusal.NOT_FOUND, f"node {node_id} is not registered")
    if node.over:
        text = f"node {node_id} is {node.phase.value}: {node.because}"
        return msg.Refused(msg.Refusal.FAILED_PRECONDITION, text)
    return node


def _issue(
    fleet: Fleet, request: msg.IssueCommand, now: datetime, settings: Settings
) -> Sequence[ev.Fact] | msg.Refused:
    node = _node(fleet, request.node_id)
    if isinstance(node, msg.Refused):
        return node
    waiting = len(fleet.pending.get(node.id, ()))
    if waiting >= settings.commands_pending_max:
        return msg.Refused(
            msg.Refusal.RESOURCE_EXHAUSTED,
            f"node {node.id} has {waiting} unfinished commands: wait for some to finish",
        )
    command = Orders(fleet, now, settings).give(
        node.id, request.type, request.reason, request.parameters
    )
    return [command, *_wish(fleet, node, request, now)]


def _wish(fleet: Fleet, node: Node, request: msg.IssueCommand, now: datetime) -> list[ev.Fact]:
    because = _by_operator(request.type.value, request)
    intent = INTENTS.get(request.type)
    if intent is not None:
        already = node.intent is intent
        return [] if already else [ev.IntentChanged(now, node.id, intent, because)]
    if request.type is CommandType.TERMINATE:
        return [_end(fleet, node, because, now)]
    return []


def _end(fleet: Fleet, node: Node, because: str, now: datetime) -> ev.Fact:
    if node.instance_id in fleet.instances:
        return ev.TerminationRequested(now, node.instance_id, because)
    return ev.NodeDismissed(now, node.id, because)


def _clear(
    fleet: Fleet, request: msg.ClearHealth, now: datetime
) -> Sequence[ev.Fact] | msg.Refused:
    node = _node(fleet, request.node_id)
    if isinstance(node, msg.Refused):
        return node
    because = _by_operator("its findings were set aside", request)
    return [ev.HealthCleared(now, node.id, because)]


def _by_operator(verb: str, request: Request | msg.SetPlugin) -> str:
    who = f"{verb} by {request.by}" if request.by else f"{verb} by an operator"
    return f"{who}: {request.reason}" if request.reason else who


# --- pools -----------------------------------------------------------------------------------


def _pool(fleet: Fleet, name: str) -> Pool | msg.Refused:
    pool = fleet.pools.get(name)
    if pool is None:
        have = ", ".join(sorted(fleet.pools)) or "none"
        text = f"pool {name} is not configured; there are: {have}"
        return msg.Refused(msg.Refusal.NOT_FOUND, text)
    if pool.retired:
        return msg.Refused(
            msg.Refusal.FAILED_PRECONDITION, f"pool {name} is no longer in the configuration"
        )
    return pool


def _scale(fleet: Fleet, request: msg.ScalePool, now: datetime) -> Sequence[ev.Fact] | msg.Refused:
    pool = _pool(fleet, request.pool)
    if isinstance(pool, msg.Refused):
        return pool
    low, high = pool.spec.min_nodes, pool.spec.max_nodes
    if request.target < low:
        text = f"pool {pool.name}: target {request.target} is below min_nodes {low}"
        return msg.Refused(msg.Refusal.INVALID_ARGUMENT, text)
    if request.target > high:
        text = f"pool {pool.name}: target {request.target} is above max_nodes {high}"
        return msg.Refused(msg.Refusal.INVALID_ARGUMENT, text)
    because = _by_operator(f"scaled to {request.target}", request)
    return [ev.TargetChanged(now, pool.name, request.target, because)]


def _pause(fleet: Fleet, request: msg.PausePool, now: datetime) -> Sequence[ev.Fact] | msg.Refused:
    pool = _pool(fleet, request.pool)
    if isinstance(pool, msg.Refused):
        return pool
    halted = bool(pool.brake_because) and not pool.brake_acknowledged
    if not request.paused and halted:
        because = _by_operator("acknowledged", request)
        looked: list[ev.Fact] = [ev.RepairAcknowledged(now, pool.name, because)]
        if pool.paused:
            looked.append(ev.PoolUnpaused(now, pool.name, because))
        return looked
    if pool.paused == request.paused:
        return ()
    if request.paused:
        because = _by_operator("paused", request)
        return [ev.PoolPaused(now, pool.name, because)]
    return [ev.PoolUnpaused(now, pool.name, _by_operator("resumed", request))]


# --- plugins ---------------------------------------------------------------------------------

PLUGINS_MAX = 10_000
"""Plugins that operators may have decided about."""


def set_plugin(
    fleet: Fleet, request: msg.SetPlugin, now: datetime
) -> Sequence[ev.Fact] | msg.Refused:
    """Say what an operator's wish about a plugin changes: only what is different becomes a fact."""
    key = f"{request.plugin_kind}/{request.name}"
    had = fleet.plugins.get(key)
    if had is None and len(fleet.plugins) >= PLUGINS_MAX:
        text = f"{PLUGINS_MAX:,} plugins have been changed already, the most that are kept"
        return msg.Refused(msg.Refusal.RESOURCE_EXHAUSTED, text)
    before = had or PluginSetting("")
    enabled = None if request.enabled == before.enabled else request.enabled
    priority = None if request.priority == before.priority else request.priority
    shadow = None if request.shadow == before.shadow else request.shadow
    if enabled is None and priority is None and shadow is None:
        return ()
    because = _by_operator("changed", request)
    return [
        ev.PluginChanged(now, request.plugin_kind, request.name, because, enabled, priority, shadow)
    ]
