"""Scaling ahead of the load: enough nodes for what will be wanted once new ones could have booted.

What is forecast is demand (see `forecast`), since utilization would fall by the very nodes that the
forecast asks for. The pool gets nodes for the highest of

- the present demand, which must be carried until a smaller number is right, and
- the demand expected between one lead time from now, when a node bought now would be ready, and one
  cooldown later, when a node bought at the next chance would be: the growth up to then times
  `growth_factor`, and by how much the model is usually off,

each at `target_utilization`. It says which model spoke. Where the history is too short, says
nothing or cannot be right, the fallback speaks, and the reason says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from navarch.core.scaling import forecast, limits
from navarch.core.scaling.base import (
    UTILIZATION,
    UTILIZATION_HISTORY,
    Answer,
    Autoscaler,
    PoolState,
    Quality,
    ScaleRecommendation,
    revised,
)
from navarch.core.scaling.reactive import ReactiveAutoscaler

SHRINK_MARGIN = 1.1
"""A smaller number must do for this much more than is expected, so that noise does not sell nodes.

Chosen by replaying weeks of load: without it the number of scalings doubles.
"""

STEPS_AHEAD = 4
"""At how many moments between lead time and the next chance the forecast is read."""


class PredictiveAutoscaler(Struct, frozen=True):
    """Forecasts the demand and buys for it one lead time ahead.

    Raises `ValueError` for numbers outside of their ranges.
    """

    lookback: int = 30
    """The recent past, in samples, at least 2: what trends are drawn through.

    Also the shortest history to say anything about. Seasons read all of a longer one.
    """
    growth_factor: float = 1.5
    """By how much expected growth is multiplied, at least 0; 1 trusts the forecast as it is."""
    fallback: Autoscaler = ReactiveAutoscaler()
    """Who speaks while nothing can be forecast."""
    lead_time: timedelta = timedelta(minutes=5)
    """From wanting a node to having it: what the pool's machines take to boot."""
    target_utilization: float = 75.0
    """How busy nodes shall be, in percent, above 0 and at most 100; the rest is for surprises."""
    seasons: Sequence[timedelta] = (timedelta(days=1), timedelta(days=7))
    """After what times demand may repeat itself. Kept as a tuple."""
    sample_interval: timedelta = timedelta(seconds=30)
    """The time between two samples where the metrics do not say it: the autoscaling interval."""

    name: ClassVar[str] = "predictive"

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        force_setattr(self, "seasons", tuple(self.seasons))
        zero = timedelta()
        if self.lookback < 2:
            raise ValueError(f"lookback {self.lookback}: expected at least 2 samples")
        if not (self.growth_factor >= 0 and math.isfinite(self.growth_factor)):
            raise ValueError(f"growth_factor {self.growth_factor}: expected a number from 0 on")
        if not 0 < self.target_utilization <= 100:
            raise ValueError(
                f"target_utilization {self.target_utilization}: expected a percentage above 0"
            )
        if self.lead_time < zero:
            raise ValueError(f"lead_time {self.lead_time}: expected a duration from 0 on")
        if self.sample_interval <= zero or any(season <= zero for season in self.seasons):
            raise ValueError("sample_interval and seasons: expected durations above 0")

    def recommend(self, state: PoolState) -> Answer:
        """Propose nodes for the demand ahead; to be awaited when the fallback has to be."""
        cooling = limits.cooling(state)
        if cooling is not None:
            return cooling
        flaw = limits.flaw(state, UTILIZATION)
        if flaw:
            return limits.hold(state, flaw)
        gap = self._gap(state)
        return self._fall_back(state, gap) if gap else self._by_forecast(state)

    def _gap(self, state: PoolState) -> str:
        """Say why nothing can be forecast; empty when something can."""
        history = state.utilization_history
        quality = state.metrics.quality(UTILIZATION_HISTORY)
        if quality is not Quality.OK:
            return f"the history is {quality}"
        if len(history) < self.lookback:
            return f"the history has {len(history)} of {self.lookback} samples"
        if not math.isfinite(sum(history) + sum(state.metrics.capacity_history)):
            return "the history has values that are no numbers"
        if state.current_nodes > 0 and state.unhealthy_nodes >= state.current_nodes:
            return "no node is healthy"
        return ""

    def _by_forecast(self, state: PoolState) -> Answer:
        demand = demand_of(state)
        known = state.metrics.history_interval
        interval = known if known and known > timedelta() else self.sample_interval
        steps = self._steps(state, interval)
        candidates = forecast.models(interval, self.seasons, self.lookback, 2 * steps[-1])
        choice = forecast.choose(demand, candidates, self.lookback, steps[-1])
        if isinstance(choice.model, forecast.Season):
            # A morning may come earlier than the last one: by as much as is looked ahead.
            steps += [steps[-1] + step for step in steps]
        outlook = choice.model.outlook(demand, len(demand), self.lookback, steps)
        newest = demand.mean(len(demand) - 1, len(demand))
        present = max(newest, state.utilization * state.live_nodes / 100)
        growth = self.growth_factor * max(max(outlook.ahead) - outlook.level, 0.0)
        margin = choice.error or 0.0
        wanted = max(present, outlook.level + growth + margin)
        if not math.isfinite(wanted) or (state.current_nodes <= 0 and wanted <= 0):
            return self._fall_back(state, "the history tells nothing")
        ahead = limits.format_duration(steps[-1] * interval)
        why = (
            f"{choice.model.name} expects {max(outlook.ahead):.1f} nodes of work within {ahead}, "
            f"usually {margin:.1f} off; now {present:.1f}; with growth × {self.growth_factor:g}: "
            f"{wanted:.1f}"
        )
        return self._sized(state, wanted, why)

    def _steps(self, state: PoolState, interval: timedelta) -> list[int]:
        """List how many samples ahead to look: from the lead time to the next chance to buy."""
        near = self.lead_time / interval
        far = (self.lead_time + max(state.cooldown_period, interval)) / interval
        reach = [near + (far - near) * index / (STEPS_AHEAD - 1) for index in range(STEPS_AHEAD)]
        return sorted({max(math.ceil(step), 1) for step in reach})

    def _sized(self, state: PoolState, demand: float, why: str) -> ScaleRecommendation:
        """Turn demand into nodes; going down takes a margin."""
        most = max(state.max_nodes, state.current_nodes, 0) + 1
        exact = demand * 100 / self.target_utilization
        grown, shrunk = nodes_for(exact, most), nodes_for(exact * SHRINK_MARGIN, most)
        target = max(grown, min(state.current_nodes, shrunk))
        return limits.propose(
            state,
            target,
            f"{why}, at {self.target_utilization:g}% on {limits.format_nodes(target)}",
        )

    def _fall_back(self, state: PoolState, why: str) -> Answer:
        def named(answer: ScaleRecommendation) -> ScaleRecommendation:
            reason = f"{why}, so {self.fallback.name} decides: {answer.reason}"
            target = limits.within(state, answer.target_nodes)
            held = answer.held and target == answer.target_nodes
            return replace(answer, target_nodes=target, reason=reason, held=held)

        return revised(self.fallback.recommend(state), named)


def demand_of(state: PoolState) -> forecast.Demand:
    """Return the demand of the past; without the capacity of then that of now stands for it."""
    history, capacity = state.utilization_history, state.metrics.capacity_history
    if len(capacity) != len(history):
        capacity = (float(state.live_nodes),) * len(history)
    return forecast.Demand(history, capacity)


def nodes_for(exact: float, most: int) -> int:
    """Round nodes up, forgiving the last digits of floating point; at most `most`."""
    return most if exact >= most else math.ceil(exact - 1e-9)
