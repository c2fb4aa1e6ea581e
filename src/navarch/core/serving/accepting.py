"""Accepting: what proposals from outside of the core are worth.

Autoscalers and schedulers of others may be slow, and what they propose rests on a reading that is
older than the present. Whatever no longer fits is passed over; the next look sees it again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Told
from navarch.core.model.node import Node
from navarch.core.model.replica import Blocker, Replica, ReplicaState
from navarch.core.model.resources import AgentPool
from navarch.core.serving.layout import layout_of
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
    taken: dict[str, _Room] = {}
    for members in gangs.values():
        yield from _together(fleet, members, taken, now)


def _together(
    fleet: Fleet,
    members: list[tuple[Replica, msg.Proposed]],
    taken: dict[str, _Room],
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
    tried = {node: room.copy() for node, room in taken.items()}
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


def _fits(fleet: Fleet, proposal: msg.Proposed, taken: dict[str, _Room]) -> bool:
    """Whether a place is still free; it is taken if so."""
    node = fleet.nodes.get(proposal.node_id)
    if node is None or not node.serving or node.workload is not Told.OPEN:
        return False
    if node.id not in taken:
        taken[node.id] = _room(fleet, node)
    return taken[node.id].take(proposal)


class _Room:
    """What is left of a node."""

    def __init__(
        self,
        mig: Mapping[int, Mapping[str, int]],
        shares: dict[int, float],
        slices: Counter[tuple[int, str]],
    ) -> None:
        """Divided GPUs have their slices by profile, and are not had otherwise."""
        self._mig = mig
        self._shares = shares
        """How much of each GPU that is not divided is free, by index."""
        self._slices = slices
        """Slices that are taken."""

    def copy(self) -> _Room:
        """Make one that can be tried out."""
        return _Room(self._mig, dict(self._shares), Counter(self._slices))

    def take(self, proposal: msg.Proposed) -> bool:
        """Take what a proposal says; where that is not free, this is of no use any more."""
        for index in proposal.gpus:
            if proposal.mig:
                key = index, proposal.mig
                self._slices[key] += 1
                if self._slices[key] > self._mig.get(index, {}).get(proposal.mig, 0):
                    return False
            else:
                left = self._shares.get(index, 0.0) - proposal.share
                if not left >= -ROUNDING:
                    return False
                self._shares[index] = left
        return True


def _room(fleet: Fleet, node: Node) -> _Room:
    """See what the replicas of a node have left. Cost: O(those, and its GPUs)."""
    mig = {index: slices for index, slices in layout_of(fleet, node).mig.items() if slices}
    shares = {gpu.index: 1.0 for gpu in node.gpus if gpu.index not in mig}
    here = {gpu.index for gpu in node.gpus}
    taken: Counter[tuple[int, str]] = Counter()
    for replica in fleet.replicas_at(node.id):
        for index in replica.gpus:
            if replica.mig:
                taken[index, replica.mig] += 1
            elif index in shares:
                shares[index] -= replica.share
    return _Room({index: mig[index] for index in mig.keys() & here}, shares, taken)
