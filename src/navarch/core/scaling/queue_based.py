"""Scaling by the queue: as many nodes as its jobs need at a fixed number of jobs a node."""

from __future__ import annotations

import math
from typing import ClassVar

from msgspec import Struct

from navarch.core.scaling import limits
from navarch.core.scaling.base import QUEUE_DEPTH, PoolState, ScaleRecommendation

JOBS_COUNTED_MAX = 10**15
"""Longer queues count as this long: beyond, floating point cannot tell one job more."""


class QueueBasedAutoscaler(Struct, frozen=True):
    """Wants ``ceil(queue_depth / jobs_per_node)`` nodes. Waiting and running jobs both count.

    Raises `ValueError` unless `jobs_per_node` is a finite number above 0.
    """

    jobs_per_node: float = 100
    """Below 1 where one job takes several nodes."""

    name: ClassVar[str] = "queue"

    def __post_init__(self) -> None:
        """Refuse what cannot be divided by."""
        if not (self.jobs_per_node > 0 and math.isfinite(self.jobs_per_node)):
            raise ValueError(f"jobs_per_node {self.jobs_per_node}: expected a number above 0")

    def recommend(self, state: PoolState) -> ScaleRecommendation:
        """Propose what the queue needs."""
        return limits.cooling(state) or self._by_queue(state)

    def _by_queue(self, state: PoolState) -> ScaleRecommendation:
        flaw = limits.flaw(state, QUEUE_DEPTH)
        if flaw:
            return limits.hold(state, flaw)
        jobs = state.queue_depth
        needed = min(min(jobs, JOBS_COUNTED_MAX) / self.jobs_per_node, JOBS_COUNTED_MAX)
        target = math.ceil(needed)
        noun = "job" if jobs == 1 else "jobs"
        why = f"{jobs} {noun} at {self.jobs_per_node:g} a node need {limits.format_nodes(target)}"
        return limits.propose(state, target, why)
