"""Interruptions: what happens when a provider takes a machine away, and says so beforehand.

The notice is short (two minutes on AWS, half a minute on Google Cloud), so nothing is weighed: the
machine stops counting, its pool buys another at once, and its work is drained until it is gone.
That is no repair: it takes nothing from a budget, and no breaker holds it back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from navarch.core.model import events as ev
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Node, Phase
from navarch.core.model.report import HealthEvent
from navarch.core.orders import Orders
from navarch.core.settings import Settings

NOTICE: Final = "interruption"
"""The type of the event in which an agent passes the notice on."""

OVERDUE: Final = timedelta(minutes=5)
"""How long after its deadline we end a machine: it was replaced, and is still on the bill."""


def noticed(
    fleet: Fleet, node: Node, events: Sequence[HealthEvent], now: datetime
) -> Iterator[ev.InterruptionNoticed]:
    """Say that a machine of ours will be taken away, once."""
    instance = fleet.instances.get(node.instance_id)
    if instance is None or not instance.live or instance.interrupted:
        return
    for event in events:
        if event.event_type == NOTICE:
            because = event.message or "its provider has given notice"
            yield ev.InterruptionNoticed(now, node.id, because, _deadline(event))
            return


def _deadline(event: HealthEvent) -> datetime | None:
    """Read when the machine will be gone; None where the notice says it wrongly, or not at all."""
    text = str(event.metrics.get("deadline", ""))
    try:
        deadline = datetime.fromisoformat(text)
    except ValueError:
        return None
    return deadline if deadline.tzinfo is not None else None


def leaving(
    fleet: Fleet, now: datetime, settings: Settings
) -> Iterator[ev.CommandIssued | ev.TerminationRequested]:
    """Drain machines that will be taken away, and end those that are empty, silent or overdue."""
    orders = Orders(fleet, now, settings)
    for instance_id in sorted(fleet.interrupted):
        instance = fleet.instances[instance_id]
        node = fleet.node_of(instance)
        because = _over_because(node, instance.interrupted_until, now, settings)
        if because:
            text = f"its provider takes it away; {because}"
            yield ev.TerminationRequested(now, instance_id, text)
        elif node is not None and not _was_told(node, instance.interrupted_at or now):
            yield orders.give(instance_id, CommandType.DRAIN, "its provider takes it away")


def _was_told(node: Node, since: datetime) -> bool:
    return node.drain_ordered_at is not None and node.drain_ordered_at >= since


def _over_because(
    node: Node | None, deadline: datetime | None, now: datetime, settings: Settings
) -> str:
    if node is None or not node.connected:
        return "nothing is heard from it any more"
    if node.phase is Phase.LEAVING:
        emptied = node.emptied_at if settings.workload_manager else node.drained_at
        if emptied is not None:
            return "it is drained"
    if deadline is not None and now - deadline > OVERDUE:
        return f"that was due {OVERDUE} ago, and it is still there"
    return ""
