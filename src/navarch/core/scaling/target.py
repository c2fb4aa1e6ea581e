"""From an autoscaler's word to a pool's target, within the pool's limits.

The autoscaler proposes outside of the core and is heard as a reading; this is where its word
becomes a wish. The minimum is a promise, the maximum a bill: both are kept whatever it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.pool import Pool
from navarch.core.model.sightings import Recommendation, Sightings
from navarch.core.scaling.base import PoolMetrics, PoolState


def targets(fleet: Fleet, sightings: Sightings, now: datetime) -> Iterator[ev.TargetChanged]:
    """Follow the autoscalers' newest words, as far as the limits of their pools allow."""
    for pool in fleet.pools.values():
        word = sightings.recommendations.get(pool.name)
        if word is None or word.held or pool.asleep or not _is_news(pool, word):
            continue
        target, because = within_limits(pool, word)
        if target != pool.target:
            yield ev.TargetChanged(now, pool.name, target, because)


def _is_news(pool: Pool, word: Recommendation) -> bool:
    """Whether it was said after the target last changed: an operator's later word stands."""
    return pool.target_changed_at is None or word.at > pool.target_changed_at


def within_limits(pool: Pool, word: Recommendation) -> tuple[int, str]:
    """Cut a recommendation to the pool's limits, and say so."""
    low, high = pool.spec.min_nodes, pool.spec.max_nodes
    because = f"{word.by}: {word.reason}"
    if word.target < low:
        return low, f"{because}; raised from {word.target} to min_nodes {low}"
    if word.target > high:
        return high, f"{because}; cut from {word.target} to max_nodes {high}"
    return word.target, because


def pool_state(fleet: Fleet, pool: Pool, metrics: PoolMetrics, now: datetime) -> PoolState:
    """Show a pool as autoscalers see it. Cost: O(members).

    Its current nodes are those it wants: what boots counts, and so does what is still to be bought,
    so that an autoscaler that stays where it is never takes a wish back that is not yet met.
    """
    members = fleet.instances_of(pool.name)
    current = [i for i in members if i.live and not i.condemned and not i.releasing]
    nodes = [node for i in current if (node := fleet.nodes.get(i.id)) is not None]
    return PoolState(
        name=pool.name,
        current_nodes=pool.target,
        healthy_nodes=sum(node.serving for node in nodes),
        booting_nodes=max(pool.target - len(nodes), 0),
        min_nodes=pool.spec.min_nodes,
        max_nodes=pool.spec.max_nodes,
        metrics=metrics,
        last_scale_time=pool.target_changed_at,
        cooldown_period=pool.spec.cooldown,
        now=now,
    )
