"""Scaling by thresholds: one step up when nodes are too busy, one down when they are too idle.

It needs nothing but the present utilization and promises nothing but to follow it, a boot later.
Utilization says nothing where no node can be measured, so that is looked at first:

================================  ===========================================================
the pool                          the answer
================================  ===========================================================
in its cooldown                   stays
has no node                       the first step up, if jobs are known to wait; else stays
all nodes unhealthy               one more: whatever the load, nothing can carry it
too few healthy for the minimum   one more, if some are unhealthy; those on their way count
utilization above `scale_up_at`   `scale_up_step` more
utilization below `scale_down_at` `scale_down_step` less, but not the last node under waiting jobs
================================  ===========================================================

The maximum bounds them all. Unhealthy nodes are not taken away here: repair does that.
"""

from __future__ import annotations

import math
from typing import ClassVar

from msgspec import Struct

from navarch.core.scaling import limits
from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    PoolState,
    ScaleRecommendation,
)


class ReactiveAutoscaler(Struct, frozen=True):
    """Steps up above one utilization and down below another; in between nothing happens.

    Raises `ValueError` for thresholds that are not ``0 <= down < up <= 100`` and for steps below 1.
    """

    scale_up_at: float = 80.0
    """Percent; at exactly this nothing happens."""
    scale_down_at: float = 20.0
    """Percent; at exactly this nothing happens."""
    scale_up_step: int = 1
    scale_down_step: int = 1

    name: ClassVar[str] = "reactive"

    def __post_init__(self) -> None:
        """Refuse thresholds and steps that make no sense."""
        down, up = self.scale_down_at, self.scale_up_at
        if not 0 <= down < up <= 100:
            raise ValueError(
                f"scale_down_at {down} and scale_up_at {up}: expected percentages, the first lower"
            )
        for field in ("scale_up_step", "scale_down_step"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} {getattr(self, field)}: expected at least 1 node")

    def recommend(self, state: PoolState) -> ScaleRecommendation:
        """Propose one step up, one step down, or to stay."""
        return limits.cooling(state) or self._without_load(state) or self._by_load(state)

    def _without_load(self, state: PoolState) -> ScaleRecommendation | None:
        """Answer where utilization says nothing; None where it does."""
        if state.current_nodes <= 0:
            return self._from_zero(state)
        sick, whole = state.unhealthy_nodes, state.current_nodes - state.unhealthy_nodes
        if sick and whole <= 0:
            return limits.propose(
                state, state.current_nodes + 1, f"all {sick} nodes are unhealthy: one more"
            )
        if sick and whole < state.min_nodes:
            why = f"{whole} of at least {state.min_nodes} nodes are healthy or booting: one more"
            return limits.propose(state, state.current_nodes + 1, why)
        return None

    def _from_zero(self, state: PoolState) -> ScaleRecommendation:
        jobs = jobs_waiting(state)
        if jobs is None:
            return limits.hold(state, "no nodes, and nobody knows whether jobs wait")
        if jobs == 0:
            return limits.propose(state, 0, "no nodes, and no jobs wait")
        return limits.propose(state, self.scale_up_step, f"no nodes, and {jobs} jobs wait")

    def _by_load(self, state: PoolState) -> ScaleRecommendation:
        flaw = limits.flaw(state, UTILIZATION)
        if flaw:
            return limits.hold(state, flaw)
        load, current = state.utilization, state.current_nodes
        if load > self.scale_up_at:
            target = current + self.scale_up_step
            why = f"is above {self.scale_up_at:g}%: {current} + {self.scale_up_step} = {target}"
        elif load < self.scale_down_at:
            target = max(current - self.scale_down_step, 1 if jobs_waiting(state) else 0)
            why = f"is below {self.scale_down_at:g}%: {current} - {current - target} = {target}"
        else:
            target = current
            why = f"is between {self.scale_down_at:g}% and {self.scale_up_at:g}%: stays at {target}"
        return limits.propose(state, target, f"utilization {_shown(load)}% {why}")


def jobs_waiting(state: PoolState) -> int | None:
    """Count the jobs known to need a node; None when no source can tell."""
    known = [
        count
        for name, count in (
            (PENDING_JOBS, state.pending_jobs),
            (QUEUE_DEPTH, state.queue_depth),
        )
        if not limits.flaw(state, name)
    ]
    return max(known, default=None)


def _shown(load: float) -> str:
    """Write a percentage so that it does not look like a threshold that it only approaches."""
    text = f"{load:.1f}"
    return text if math.isclose(float(text), load, abs_tol=1e-9) else f"{load:.4g}"
