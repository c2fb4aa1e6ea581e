"""Explaining the serving plane: why a pool of agents or a replica is as it is, down to the clouds.

The chain is walked from load to machines: what was read, what it needs, where replicas run, why
others do not, which pool of machines grows for them, and what that pool does about it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from navarch.core.model.fleet import Fleet
from navarch.core.model.replica import Replica, ReplicaState
from navarch.core.model.sightings import Sightings
from navarch.core.serving.balance import is_evicted
from navarch.core.serving.recipes import Missing, recipe
from navarch.core.serving_sentences import place


def explain_agent_pool(
    fleet: Fleet, sightings: Sightings, agent_pool: str, now: datetime
) -> Iterator[str]:
    """Say how many replicas a pool has and wants, why, and what holds it back, line by line."""
    made = recipe(fleet, agent_pool)
    replicas = list(fleet.replicas_in(agent_pool))
    states = Counter(replica.state.value for replica in replicas)
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
    if isinstance(made, Missing):
        yield f"agent pool {agent_pool}: {made.text}; replicas: {counted}"
        return
    held = fleet.agent_pools.get(agent_pool)
    spec = made.pool.spec
    if held is None:
        target, why = spec.min_replicas, f"minReplicas is {spec.min_replicas}"
    else:
        ago = (now - held.changed_at).total_seconds()
        target, why = held.target, f"{held.because} ({ago:.0f} s ago)"
    yield f"agent pool {agent_pool} wants {target} replicas, has {counted}: {why}"
    model = made.model.full_name if made.model is not None else "no weights"
    named = made.agent_class.full_name if made.agent_class is not None else "no class"
    yield f"it runs {named} on {model}, {spec.min_replicas} to {spec.max_replicas} replicas"
    if made.model is not None:
        name = made.model.full_name
        there = sum(name in weights for weights in fleet.weights.values())
        yield f"its weights are on {_counted(there, 'node')}"
    for replica in replicas:
        yield from _line(fleet, sightings, replica, now)
    yield from _below(fleet, replicas)
    yield from _machines(fleet, replicas)


def explain_replica(
    fleet: Fleet, sightings: Sightings, replica: Replica, now: datetime
) -> Iterator[str]:
    """Say where a replica is, or why it is nowhere, line by line."""
    yield from _line(fleet, sightings, replica, now)
    held = fleet.agent_pools.get(replica.agent_pool)
    if held is not None:
        yield f"its pool {replica.agent_pool} wants {held.target} replicas: {held.because}"
    if replica.failed_nodes:
        yield f"it could not be started on {', '.join(replica.failed_nodes)}"
    if replica.retry_at is not None and replica.retry_at > now:
        wait = (replica.retry_at - now).total_seconds()
        yield f"it is placed again in {wait:.0f} s, after {replica.failures} failures in a row"
    yield from _below(fleet, [replica])
    yield from _machines(fleet, [replica])


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _below(fleet: Fleet, replicas: list[Replica]) -> Iterator[str]:
    """Say on whose machines replicas run, and why there are so many of those."""
    nodes = Counter(replica.node_id for replica in replicas if replica.placed)
    pools: dict[str, list[str]] = {}
    for node_id in nodes:
        node = fleet.nodes.get(node_id)
        pools.setdefault(node.pool if node is not None else "", []).append(node_id)
    for name, node_ids in sorted(pools.items()):
        running = sum(nodes[node_id] for node_id in node_ids)
        told = f"{_counted(running, 'replica')} on {_counted(len(node_ids), 'node')}"
        pool = fleet.pools.get(name)
        if pool is None:
            yield f"{told} that belong to no pool of machines"
            continue
        sellers = sorted({fleet.nodes[node_id].provider for node_id in node_ids})
        yield (
            f"{told} of pool {name}, bought from {', '.join(sellers)}; it wants {pool.target} of "
            f"at most {pool.spec.max_nodes} nodes: {pool.target_because}"
        )


def _line(fleet: Fleet, sightings: Sightings, replica: Replica, now: datetime) -> Iterator[str]:
    since = (now - (replica.changed_at or replica.requested_at)).total_seconds()
    where = f" on {place(replica)}" if replica.placed else ""
    yield (
        f"replica {replica.id} is {replica.state.value}{where} for {since:.0f} s: {replica.because}"
    )
    if replica.blocker is not None and replica.blocker.cure:
        yield f"  it would fit with {replica.blocker.cure}"
    if is_evicted(fleet, replica):
        yield "  its node is drained: another takes its place, then it stops"
    if replica.state is ReplicaState.LOADING:
        yield from _loading(sightings, replica)
    yield from _said(sightings, replica)


def _said(sightings: Sightings, replica: Replica) -> Iterator[str]:
    """Say what a replica's agent says of it now: why it does not start, before that is a fact."""
    serving = sightings.serving.get(replica.node_id) if replica.placed else None
    for seen in serving.replicas if serving is not None else ():
        if seen.id == replica.id and seen.message and seen.message != replica.because:
            yield f"  its agent says: {seen.message}"


def _loading(sightings: Sightings, replica: Replica) -> Iterator[str]:
    serving = sightings.serving.get(replica.node_id)
    for seen in serving.models if serving is not None else ():
        if seen.model == replica.model:
            share = seen.bytes_done / seen.bytes_total if seen.bytes_total else 0.0
            rate = seen.bytes_per_second / 1e6
            problem = f"; {seen.problem}" if seen.problem else ""
            yield f"  weights: {share:.0%} of {seen.bytes_total} bytes, {rate:.1f} MB/s{problem}"


def _machines(fleet: Fleet, replicas: list[Replica]) -> Iterator[str]:
    """Say what the pools of machines do about replicas that have no place."""
    waiting = Counter(
        replica.blocker.node_pool
        for replica in replicas
        if replica.state is ReplicaState.PENDING and replica.blocker is not None
    )
    for name, count in sorted(waiting.items()):
        pool = fleet.pools.get(name)
        if pool is None:
            yield f"{count} wait, and no pool of machines would fit them if it grew"
            continue
        booting = sum(id_ in fleet.booting for id_ in fleet.members.get(name, {}))
        yield (
            f"{count} wait for pool {name}, which wants {pool.target} of at most "
            f"{pool.spec.max_nodes} nodes and boots {booting}: {pool.target_because}"
        )
        if pool.failure:
            yield f"the last launch of pool {name} failed: {pool.failure}"
