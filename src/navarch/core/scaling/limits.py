"""What every autoscaler owes the pool: cooldown, limits, and honesty about bad readings.

Each built-in autoscaler asks the same questions before it thinks and bends its answer the same way
afterwards, so both stand here once:

- during a cooldown nothing changes, whatever the metrics say;
- otherwise no answer lies outside of the pool's limits; where they contradict each other, the
  maximum wins, because it guards the bill;
- a reading that is not good, or not a number, moves nothing; only the limits do.
"""

from __future__ import annotations

import math
from datetime import timedelta

from navarch.core.scaling.base import PoolState, Quality, ScaleRecommendation


def cooling(state: PoolState) -> ScaleRecommendation | None:
    """Return the answer that a cooldown forces; None when there is no cooldown."""
    left = state.cooldown_left
    if not left:
        return None
    reason = f"cooldown for another {format_duration(left)}: stays at {state.current_nodes}"
    return ScaleRecommendation(state.current_nodes, reason, held=True)


def hold(state: PoolState, why: str) -> ScaleRecommendation:
    """Propose no change because nothing is known; `why` says what is missing.

    A count outside of the limits goes inside all the same: limits are wishes, not readings.
    """
    answer = propose(state, state.current_nodes, f"{why}: holds at {state.current_nodes}")
    held = answer.target_nodes == state.current_nodes
    return ScaleRecommendation(answer.target_nodes, answer.reason, held=held)


def propose(state: PoolState, wanted: int, why: str) -> ScaleRecommendation:
    """Propose a count, bent into the limits; the reason says when and by which one."""
    target = within(state, wanted)
    if target > wanted:
        why = f"{why}; the minimum is {target}"
    elif target < wanted:
        why = f"{why}; the maximum is {target}"
    return ScaleRecommendation(target, why)


def within(state: PoolState, wanted: int) -> int:
    """Bend a count into the limits of the pool; never below 0."""
    return max(min(max(wanted, state.min_nodes), state.max_nodes), 0)


def flaw(state: PoolState, name: str) -> str:
    """Say in a few words what is wrong with the reading of a number; empty when it is good."""
    reading = state.metrics.readings.get(name)
    quality = state.metrics.quality(name)
    if quality is not Quality.OK:
        detail = "" if reading is None or not reading.detail else f" ({reading.detail})"
        words = {Quality.STALE: "is stale", Quality.ABSENT: "is absent"}
        return f"{name} {words.get(quality, 'could not be read')}{detail}"
    value: float = getattr(state.metrics, name)
    if not 0 <= value < math.inf:
        return f"{name} is {value}, which cannot be"
    return ""


def format_duration(duration: timedelta) -> str:
    """Write a duration for people, such as ``4m 30s``; a started second counts whole."""
    seconds = math.ceil(duration.total_seconds())
    parts = [(seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    return " ".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def format_nodes(count: float) -> str:
    """Write a number of nodes for people, such as ``1 node`` and ``2.5 nodes``."""
    text = f"{count:.1f}".removesuffix(".0")
    return f"{text} node" if text == "1" else f"{text} nodes"
