"""Pool states and stand-in autoscalers for tests of scaling."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from navarch.core.scaling.base import (
    Answer,
    Autoscaler,
    PoolMetrics,
    PoolState,
    Quality,
    Reading,
    ScaleRecommendation,
)

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
"""A Monday."""


def a_state(**changes: object) -> PoolState:
    """Return a pool of four of one to ten nodes, at noon on a Monday, never scaled."""
    state = PoolState("training", current_nodes=4, min_nodes=1, max_nodes=10, now=NOON)
    return replace(state, **changes)


def busy(utilization: float, **changes: object) -> PoolMetrics:
    """Return metrics with this utilization."""
    return replace(PoolMetrics(utilization=utilization), **changes)


def flawed(name: str, quality: Quality = Quality.STALE, detail: str = "") -> dict[str, Reading]:
    """Return readings of which one is not good."""
    return {name: Reading(0.0, "", quality=quality, detail=detail)}


def answer_of(autoscaler: Autoscaler, state: PoolState) -> ScaleRecommendation:
    """Ask an autoscaler that answers at once."""
    answer = autoscaler.recommend(state)
    assert isinstance(answer, ScaleRecommendation)
    return answer


class Fixed:
    """Always wants the same, and remembers what it was asked."""

    def __init__(self, target: int, name: str = "fixed", *, held: bool = False) -> None:
        self.name = name
        self.asked: list[PoolState] = []
        self._answer = ScaleRecommendation(target, "as ever", held=held)

    def recommend(self, state: PoolState) -> ScaleRecommendation:
        self.asked.append(state)
        return self._answer


class Slow:
    """Always wants the same, and has to be awaited."""

    def __init__(self, target: int, name: str = "slow") -> None:
        self.name = name
        self._target = target

    async def recommend(self, state: PoolState) -> ScaleRecommendation:
        return ScaleRecommendation(self._target, "after asking")


class Broken:
    """Raises, at once or when awaited."""

    def __init__(self, error: Exception, name: str = "broken", *, awaited: bool = False) -> None:
        self.name = name
        self._error = error
        self._awaited = awaited

    def recommend(self, state: PoolState) -> Answer:
        if self._awaited:
            return self._later()
        raise self._error

    async def _later(self) -> ScaleRecommendation:
        raise self._error


def samples(values: Sequence[float], capacity: float) -> PoolMetrics:
    """Return metrics whose history was this demand, in nodes, on so many nodes."""
    history = tuple(value * 100 / capacity for value in values)
    return PoolMetrics(
        utilization=history[-1],
        utilization_history=history,
        capacity_history=(capacity,) * len(values),
    )
