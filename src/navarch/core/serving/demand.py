"""Demand: what replicas want of the pools of machines.

A replica that fits nowhere waits for the pool of machines that its blocker names; one that has a
place is work of that node's pool. Together they are the pool's queue, so that whatever scales
machines by a queue buys for replicas, and gives back what they leave.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from navarch.core.model.fleet import Fleet


class Demand(Struct, frozen=True):
    """What replicas want of one pool of machines."""

    waiting: int
    """Replicas that would fit if the pool grew."""
    running: int
    """Replicas that have a place on its nodes."""
    unsure: int
    """Replicas that nobody has looked for a place for yet: they may want this pool or another."""


def of_pool(fleet: Fleet, pool: str, now: datetime) -> Demand | None:
    """Count what is wanted of a pool; None where nothing is served at all.

    Cost: O(replicas that wait + nodes with replicas).
    """
    if not fleet.resources and not fleet.replicas_of:
        return None
    waiting = unsure = 0
    for id_ in fleet.replicas_pending:
        replica = fleet.replicas[id_]
        if replica.runtime != "process":
            continue
        if replica.blocker is not None:
            waiting += replica.blocker.node_pool == pool
        elif replica.retry_at is None or replica.retry_at <= now:
            unsure += 1
    running = 0
    for node_id, replicas in fleet.replicas_on.items():
        node = fleet.nodes.get(node_id)
        if node is not None and node.pool == pool:
            running += len(replicas)
    return Demand(waiting, running, unsure)
