"""Gangs: replicas that are one thing, such as the workers of a model that is split among them.

A gang of a number is useless while a member is missing. So when one loses its place, because its
node is gone or it cannot be started there, the others give theirs up, and all are placed together
again, after a while in which what runs of them can stop. ``gang: true`` only says that what is
wanted at one time is placed at one time: there who keeps a place goes on serving.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.replica import Replica, ReplicaState
from navarch.core.model.resources import AgentPool
from navarch.core.serving.recipes import gang_size
from navarch.core.settings import Settings


def parted(fleet: Fleet, now: datetime, settings: Settings) -> Iterator[ev.ReplicaDisplaced]:
    """Have those give up their places whose gang has lost a member's.

    Gangs are placed all at once, so one with members that wait and others that do not has lost
    some. Cost: O(replicas of pools with a gang that waits).
    """
    waiting: dict[str, dict[str, Replica]] = {}
    for id_ in fleet.replicas_pending:
        replica = fleet.replicas[id_]
        if replica.gang and replica.runtime == "process":
            waiting.setdefault(replica.agent_pool, {}).setdefault(replica.gang, replica)
    for agent_pool in sorted(waiting):
        if _size(fleet, agent_pool) < 2:
            continue
        for mate in list(fleet.replicas_in(agent_pool)):
            apart = waiting[agent_pool].get(mate.gang)
            if apart is None or not mate.placed or not mate.wanted:
                continue
            because = f"replica {apart.id} of its gang has lost its place: {apart.because}"
            retry_at = max(apart.retry_at or now, now + settings.replica_retry_base)
            yield ev.ReplicaDisplaced(now, mate.id, mate.node_id, because, retry_at=retry_at)


def torn(replicas: Iterable[Replica], size: int, leaving: Iterable[Replica]) -> frozenset[str]:
    """Name the gangs that are to be replaced as a whole.

    Those with a member that is `leaving`, and those that lack one, such as one that had to make
    room for somebody else. Cost: O(replicas).
    """
    if size < 2:
        return frozenset()
    there = Counter(each.gang for each in replicas if each.gang and each.wanted)
    torn = {gang for gang, count in there.items() if count < size}
    return frozenset(torn | {each.gang for each in leaving if each.gang})


def due(fleet: Fleet, now: datetime) -> list[Replica]:
    """List the replicas that are to be looked for a place now, those that wait longest first.

    Of a gang of a number all or none. Cost: O(replicas that wait).
    """
    waiting = [fleet.replicas[id_] for id_ in fleet.replicas_pending]
    late = {each.gang for each in waiting if each.gang and not is_due(each, now)}
    sizes = {each.agent_pool: _size(fleet, each.agent_pool) for each in waiting if late}
    return [
        each
        for each in waiting
        if is_due(each, now) and (each.gang not in late or sizes[each.agent_pool] < 2)
    ]


def is_due(replica: Replica, now: datetime) -> bool:
    """Whether a pending replica may be looked for a place now."""
    if replica.runtime != "process" or replica.state is not ReplicaState.PENDING:
        return False
    return replica.retry_at is None or replica.retry_at <= now


def whole(replicas: Iterable[Replica], number: int, size: int) -> list[Replica]:
    """Take at most so many of the replicas in their order, and of a gang all or none.

    A gang stands where its first member does.
    """
    listed = list(replicas)
    if size < 2:
        return listed[:number]
    groups: dict[str, list[Replica]] = {}
    for each in listed:
        groups.setdefault(each.gang or each.id, []).append(each)
    taken: list[Replica] = []
    for group in groups.values():
        if len(taken) + len(group) <= number:
            taken += group
    return taken


def _size(fleet: Fleet, agent_pool: str) -> int:
    applied = fleet.resource("AgentPool", agent_pool)
    if applied is None or not isinstance(applied.resource, AgentPool):
        return 1
    return gang_size(applied.resource.spec)
