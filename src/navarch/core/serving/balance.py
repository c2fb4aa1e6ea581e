"""Balance: every pool of agents has as many replicas as it wants, and says why it has not.

A replica that has to leave, because its node is drained or because it runs in another way than the
pool wants by now, does not count: another is requested first, and it is stopped when enough others
are ready. Where there is no room for another, one at a time is stopped to make some.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec import Struct

from navarch.core.model import events as ev
from navarch.core.model import ids
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Told
from navarch.core.model.node import Intent
from navarch.core.model.replica import Replica, ReplicaState
from navarch.core.model.resources import AgentPool
from navarch.core.serving import gangs
from navarch.core.serving.recipes import Missing, Recipe, bounded, gang_size, recipe
from navarch.core.settings import Settings


class Standing(Struct, frozen=True):
    """The replicas of a pool that shall serve, sorted by what is to become of them."""

    kept: tuple[Replica, ...]
    """Those that stay, the oldest first."""
    evicted: tuple[Replica, ...]
    """Those whose node is drained, and gangs that are torn."""
    outdated: tuple[Replica, ...]
    """Those that run in another way than is wanted by now."""

    @property
    def ready(self) -> int:
        """How many of those that stay are ready."""
        return sum(each.state is ReplicaState.READY for each in self.kept)


def standing(fleet: Fleet, agent_pool: str, template: str, size: int = 1) -> Standing:
    """Sort a pool's replicas, which are in gangs of this size. Cost: O(its replicas)."""
    replicas = list(fleet.replicas_in(agent_pool))
    leaving = [each for each in replicas if each.wanted and is_evicted(fleet, each)]
    torn = gangs.torn(replicas, size, leaving)
    kept: list[Replica] = []
    evicted: list[Replica] = []
    outdated: list[Replica] = []
    for replica in replicas:
        if not replica.wanted:
            continue
        if is_evicted(fleet, replica) or replica.gang in torn:
            evicted.append(replica)
        elif replica.template != template:
            outdated.append(replica)
        else:
            kept.append(replica)
    return Standing(tuple(kept), tuple(evicted), tuple(outdated))


def is_evicted(fleet: Fleet, replica: Replica) -> bool:
    """Whether a replica's node is being emptied."""
    node = fleet.nodes.get(replica.node_id) if replica.placed else None
    if node is None:
        return False
    return node.workload is Told.DRAINING or node.intent is Intent.DRAINED


def wanted(fleet: Fleet, made: Recipe) -> tuple[int, str]:
    """Say how many replicas a pool shall have, and why."""
    held = fleet.agent_pools.get(made.pool.full_name)
    spec = made.pool.spec
    if held is None:
        return bounded(made.pool, spec.min_replicas), f"minReplicas is {spec.min_replicas}"
    target = bounded(made.pool, held.target)
    if target == held.target:
        return target, held.because
    return target, f"{held.target} is cut to {spec.min_replicas} to {spec.max_replicas} replicas"


def targets(fleet: Fleet) -> Iterator[tuple[str, int]]:
    """Say how many replicas each pool of agents shall have, whether or not it is complete.

    Cost: O(resources).
    """
    for agent_pool in _pools(fleet):
        applied = fleet.resource("AgentPool", agent_pool)
        if applied is not None and isinstance(applied.resource, AgentPool):
            held = fleet.agent_pools.get(agent_pool)
            least = applied.resource.spec.min_replicas
            yield agent_pool, bounded(applied.resource, least if held is None else held.target)


def balanced(fleet: Fleet, now: datetime, settings: Settings) -> Iterator[ev.ServingFact]:
    """Request replicas that are missing, and stop those that are too many or have to leave.

    Cost: O(resources + replicas).
    """
    if not fleet.resources and not fleet.replicas_of:
        return
    serial = fleet.replica_serial
    for agent_pool in sorted({*fleet.replicas_of, *_pools(fleet)}):
        made = recipe(fleet, agent_pool)
        if isinstance(made, Missing):
            yield from _emptied(fleet, agent_pool, made, now)
            continue
        target, because = wanted(fleet, made)
        sorted_ = standing(fleet, agent_pool, made.template, gang_size(made.pool.spec))
        for request in _requests(made, sorted_, target, because, settings):
            serial += 1
            yield ev.ReplicaRequested(
                now,
                ids.replica_id(agent_pool, fleet.tag, serial),
                agent_pool,
                request.because,
                gang=f"{agent_pool}/{fleet.replica_serial + 1 + request.group}"
                if request.grouped
                else "",
                priority=made.pool.spec.scheduling.priority,
                model=made.model.full_name if made.model is not None else "",
                template=made.template,
                runtime=made.pool.spec.runtime.kind,
            )
        yield from _stops(fleet, made, sorted_, target, because, now)


def _pools(fleet: Fleet) -> Iterator[str]:
    prefix = "AgentPool/"
    return (key.removeprefix(prefix) for key in fleet.resources if key.startswith(prefix))


def _emptied(
    fleet: Fleet, agent_pool: str, missing: Missing, now: datetime
) -> Iterator[ev.ReplicaStopping]:
    """Stop everything of a pool that is not wanted; one that lacks something keeps what it has."""
    if fleet.resource("AgentPool", agent_pool) is not None:
        return
    for replica in fleet.replicas_in(agent_pool):
        if replica.wanted:
            yield ev.ReplicaStopping(now, replica.id, missing.text)


class _Request(Struct, frozen=True):
    because: str
    group: int = 0
    grouped: bool = False


def _requests(
    made: Recipe,
    stand: Standing,
    target: int,
    because: str,
    settings: Settings,
) -> Iterator[_Request]:
    missing = target - len(stand.kept)
    if missing <= 0:
        return
    starting = len(stand.kept) - stand.ready
    size = gang_size(made.pool.spec)
    surge = max(1, size, math.ceil(target * settings.replicas_surge_percent / 100))
    turnover = min(len(stand.outdated), max(surge - starting, 0))
    number = min(missing, max(missing - len(stand.outdated), 0) + turnover)
    number = min(number, settings.replicas_requested_max)
    size = size or number
    if size > 1:
        number = number // size * size  # whole gangs only
    why = f"{len(stand.kept)} of {target} replicas: {because}"
    if stand.evicted:
        why = f"{len(stand.evicted)} leave a drained node or a torn gang; {why}"
    elif stand.outdated:
        why = f"{len(stand.outdated)} run in another way than is wanted now; {why}"
    for index in range(number):
        yield _Request(why, index // size * size, grouped=size > 1)


def _stops(
    fleet: Fleet, made: Recipe, stand: Standing, target: int, because: str, now: datetime
) -> Iterator[ev.ReplicaStopping]:
    excess = len(stand.kept) - target
    if excess > 0:
        size = gang_size(made.pool.spec)
        if size > 1:
            excess = excess // size * size
        why = f"{len(stand.kept)} replicas, {target} wanted: {because}"
        useless_first = sorted(stand.kept, key=lambda each: _usefulness(fleet, each))
        for replica in gangs.whole(useless_first, excess, size):
            yield ev.ReplicaStopping(now, replica.id, why)
    yield from _farewells(fleet, stand, target, gang_size(made.pool.spec), now)


def _farewells(
    fleet: Fleet, stand: Standing, target: int, size: int, now: datetime
) -> Iterator[ev.ReplicaStopping]:
    """Stop those that have to leave, as far as others serve in their place."""
    leaving = (*stand.evicted, *stand.outdated)
    if not leaving:
        return
    idle = [each for each in leaving if each.state is not ReplicaState.READY]
    serving = [each for each in leaving if each.state is ReplicaState.READY]
    spare = max(stand.ready + len(serving) - target, 0)
    stuck = any(each.blocker is not None for each in stand.kept) and not idle
    if stuck and not spare and not _is_stopping(fleet, leaving[0].agent_pool):
        spare = max(size, 1)  # there is no room for another: make some
    for replica in (*idle, *gangs.whole(serving, spare, size)):
        why = "it is to run in another way"
        if replica in stand.evicted:
            drained = is_evicted(fleet, replica)
            why = "its node is drained" if drained else "its gang lacks a member, or loses one"
        yield ev.ReplicaStopping(now, replica.id, f"{why}; {stand.ready} others are ready")


def _is_stopping(fleet: Fleet, agent_pool: str) -> bool:
    return any(each.state is ReplicaState.STOPPING for each in fleet.replicas_in(agent_pool))


_RANKS = {
    ReplicaState.PENDING: 0,
    ReplicaState.LOADING: 1,
    ReplicaState.STARTING: 2,
    ReplicaState.READY: 3,
}


def _usefulness(fleet: Fleet, replica: Replica) -> tuple[int, int, float, str]:
    """Rank for keeping; who comes first goes first.

    Those that do not serve yet; then those on the emptiest nodes, which can be given back; then
    the youngest.
    """
    neighbours = len(fleet.replicas_on.get(replica.node_id, ()))
    age = -replica.requested_at.timestamp()
    return _RANKS[replica.state], neighbours, age, _descending(replica.id)


def _descending(text: str) -> str:
    """Turn the order of texts of one length around."""
    return "".join(chr(0x10FFFF - ord(sign)) for sign in text)


def pools_of(fleet: Fleet) -> Sequence[str]:
    """Every pool of agents that is wanted, by ``namespace/name``, in the order of the names."""
    return sorted(_pools(fleet))
