"""Accepting: what proposals from outside of the core are worth.

Autoscalers and schedulers of others may be slow, and what they propose rests on a reading that is
older than the present. Whatever no longer fits is passed over; the next look sees it again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Told
from navarch.core.model.replica import Blocker, Replica, ReplicaState
from navarch.core.model.resources import AgentPool
from navarch.core.serving.recipes import bounded

ROUNDING: Final = 1e-9
"""Shares are sums of decimal fractions: what is off by less fits."""


def target(
    fleet: Fleet, message: msg.ReplicasRecommended, now: datetime
) -> Iterator[ev.ReplicasWanted]:
    """Take a proposed number of replicas, inside of the pool's limits."""
    applied = fleet.resource("AgentPool", message.agent_pool)
    if applied is None or not isinstance(applied.resource, AgentPool):
        return
    number = bounded(applied.resource, message.target)
    held = fleet.agent_pools.get(message.agent_pool)
    unchanged = held is not None and (held.target, held.needed) == (number, message.needed)
    if held is None and number == bounded(applied.resource, applied.resource.spec.min_replicas):
        unchanged = message.needed <= number
    if not unchanged:
        yield ev.ReplicasWanted(now, message.agent_pool, number, message.because, message.needed)


def placements(
    fleet: Fleet, message: msg.PlacementsProposed, now: datetime
) -> Iterator[ev.ReplicaPlaced | ev.ReplicaBlocked | ev.ReplicaStopping]:
    """Take proposed places that are still free, and reasons that are new.

    Cost: O(proposals + replicas on the nodes that they name).
    """
    gangs: dict[str, list[tuple[Replica, msg.Proposed]]] = defaultdict(list)
    for proposal in message.proposals:
        replica = fleet.replicas.get(proposal.replica_id)
        if replica is not None and replica.state is ReplicaState.PENDING:
            gangs[replica.gang or replica.id].append((replica, proposal))
    taken: dict[str, dict[int, float]] = {}
    for members in gangs.values():
        yield from _together(fleet, members, taken, now)


def _together(
    fleet: Fleet,
    members: list[tuple[Replica, msg.Proposed]],
    taken: dict[str, dict[int, float]],
    now: datetime,
) -> Iterator[ev.ReplicaPlaced | ev.ReplicaBlocked | ev.ReplicaStopping]:
    """Place all of a gang, or none."""
    for replica, proposal in members:
        yield from _preempted(fleet, replica, proposal, now)
        blocker = proposal.blocker
        if blocker is not None and _is_news(replica, blocker):
            yield ev.ReplicaBlocked(now, replica.id, blocker)
    if any(not proposal.node_id or proposal.preempts for _, proposal in members):
        return
    tried = {node: dict(shares) for node, shares in taken.items()}
    if not all(_fits(fleet, proposal, tried) for _, proposal in members):
        return
    taken.update(tried)
    for replica, proposal in members:
        yield ev.ReplicaPlaced(
            now,
            replica.id,
            proposal.node_id,
            proposal.because,
            proposal.gpus,
            proposal.share,
            proposal.mig,
            proposal.score,
        )


def _is_news(replica: Replica, blocker: Blocker) -> bool:
    known = replica.blocker
    if known is None:
        return True
    return (known.summary, known.cure, known.node_pool) != (
        blocker.summary,
        blocker.cure,
        blocker.node_pool,
    )


def _preempted(
    fleet: Fleet, replica: Replica, proposal: msg.Proposed, now: datetime
) -> Iterator[ev.ReplicaStopping]:
    """Stop those of lower priority that are in the way."""
    for victim_id in proposal.preempts:
        victim = fleet.replicas.get(victim_id)
        if victim is None or not victim.wanted or victim.priority >= replica.priority:
            continue
        why = (
            f"replica {replica.id} of priority {replica.priority} needs its place, "
            f"its own is {victim.priority}"
        )
        yield ev.ReplicaStopping(now, victim_id, why)


def _fits(fleet: Fleet, proposal: msg.Proposed, taken: dict[str, dict[int, float]]) -> bool:
    """Whether a place is still free; it is taken if so."""
    node = fleet.nodes.get(proposal.node_id)
    if node is None or not node.serving or node.workload is not Told.OPEN:
        return False
    here = taken.setdefault(node.id, shares_taken(fleet, node.id))
    if not proposal.mig:
        indexes = {gpu.index for gpu in node.gpus}
        for index in proposal.gpus:
            if index not in indexes or here.get(index, 0.0) + proposal.share > 1 + ROUNDING:
                return False
    for index in proposal.gpus:
        here[index] = here.get(index, 0.0) + (0.0 if proposal.mig else proposal.share)
    return True


def shares_taken(fleet: Fleet, node_id: str) -> dict[int, float]:
    """How much of each GPU of a node the replicas there have, by index. Cost: O(those)."""
    shares: dict[int, float] = {}
    for replica in fleet.replicas_at(node_id):
        for index in replica.gpus:
            shares[index] = shares.get(index, 0.0) + (0.0 if replica.mig else replica.share)
    return shares
