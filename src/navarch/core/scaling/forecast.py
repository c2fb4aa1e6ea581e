"""Forecasting the demand on a pool from its own past, in nodes' worth of work.

Demand is utilization times the live nodes of its time: 50% of eight nodes is four nodes' worth. It
is what stays the same when nodes are added, which utilization is not. Nobody can see above
capacity: a saturated past reads as exactly full.

A few simple models compete, and the one that would have been nearest in the past speaks; of equals
the simplest:

- *steady*: the recent past goes on as it is;
- *trend*: a straight line through the recent past by the Theil-Sen estimator, the median of the
  slopes between all pairs (Theil 1950, Sen 1968), which one odd block cannot turn;
- *season*: what was at this time of earlier days (or weeks), shifted by how far the recent past
  lies from what was then.

Samples count from the oldest, 0, and are evenly spaced. Means over a few neighbouring samples
(blocks) are compared rather than single ones. It is plain Python: with running sums every mean
costs the same, and ten thousand samples take about a millisecond.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import Protocol

from msgspec import Struct

BLOCKS = 6
"""The blocks that the recent past is cut into: 15 slopes, which one odd block cannot turn."""

SEASONS_MAX = 3
"""How many earlier days or weeks are asked: their median forgets one odd one."""

TRIALS = 4
"""How many moments of one stretch of the past the models are tried at."""

CLEARLY_BETTER = 0.98
"""A less simple model must come down to this part of the error, or it is taken to be equal."""

DUST = 1e-9
"""Nodes: smaller errors are those of floating point."""

WORDS = {timedelta(days=1): "daily season", timedelta(days=7): "weekly season"}


class Demand:
    """The demand of the past, one value a sample."""

    def __init__(self, utilization: Sequence[float], capacity: Sequence[float]) -> None:
        """Take utilization in percent and as many counts of live nodes, oldest first, finite."""
        pairs = zip(utilization, capacity, strict=True)
        self._sums = list(accumulate([load * nodes / 100 for load, nodes in pairs], initial=0.0))
        """At each index the sum of all samples before it."""

    def __len__(self) -> int:
        """Count the samples."""
        return len(self._sums) - 1

    def mean(self, start: int, end: int) -> float:
        """Return the mean over the samples from `start` to before `end`, in nodes."""
        return (self._sums[end] - self._sums[start]) / (end - start)


class Outlook(Struct, frozen=True):
    """What one model says, standing at one moment."""

    level: float
    """The demand at that moment, without its noise."""
    ahead: tuple[float, ...]
    """The demand at each of the steps asked for; at least 0."""


class Model(Protocol):
    """One way to tell the future from the past."""

    @property
    def name(self) -> str:
        """What it is called in reasons."""
        ...

    def first(self, lookback: int) -> int:
        """Return how many samples it must have seen to say anything."""
        ...

    def outlook(self, demand: Demand, end: int, lookback: int, steps: Sequence[int]) -> Outlook:
        """Say what comes `steps` samples after the last before `end`, knowing only those."""
        ...


class Steady(Struct, frozen=True):
    """Everything stays as it lately was."""

    name: str = "steady demand"

    def first(self, lookback: int) -> int:
        """Return the samples it needs: the recent past."""
        return lookback

    def outlook(self, demand: Demand, end: int, lookback: int, steps: Sequence[int]) -> Outlook:
        """Say the mean of the newer half of the recent past."""
        level = demand.mean(end - max(lookback // 2, 1), end)
        return Outlook(level, (level,) * len(steps))


class Trend(Struct, frozen=True):
    """A straight line through the recent past goes on."""

    name: str = "linear trend"

    def first(self, lookback: int) -> int:
        """Return the samples it needs: the recent past."""
        return lookback

    def outlook(self, demand: Demand, end: int, lookback: int, steps: Sequence[int]) -> Outlook:
        """Draw the line on."""
        count = min(BLOCKS, lookback)
        edges = [end - lookback + lookback * index // count for index in range(count + 1)]
        # Each block stands at its middle; the last sample stands at 0, the future above.
        points = [
            ((start + stop + 1) / 2 - end, demand.mean(start, stop))
            for start, stop in pairwise(edges)
        ]
        slope = median(
            [
                (there - here) / (later - sooner)
                for index, (sooner, here) in enumerate(points)
                for later, there in points[index + 1 :]
            ]
        )
        level = median([value - slope * moment for moment, value in points])
        return Outlook(max(level, 0.0), tuple([max(level + slope * step, 0.0) for step in steps]))


class Season(Struct, frozen=True):
    """Each day, or week, repeats the earlier ones, higher or lower as it has begun."""

    name: str
    period: int
    """In samples; more than the steps asked for and a lookback together."""

    def first(self, lookback: int) -> int:
        """Return the samples it needs: one whole season and the recent past."""
        return self.period + lookback

    def outlook(self, demand: Demand, end: int, lookback: int, steps: Sequence[int]) -> Outlook:
        """Take what was then, and shift it by the recent difference."""
        recent = (end - max(lookback // 2, 1), end)
        shift = demand.mean(*recent) - self._earlier(demand, *recent)
        half = lookback // BLOCKS // 2

        def at(moment: int) -> float:
            usual = self._earlier(demand, moment - half, moment + half + 1)
            return max(usual + shift, 0.0)

        return Outlook(at(end - 1), tuple([at(end - 1 + step) for step in steps]))

    def _earlier(self, demand: Demand, start: int, stop: int) -> float:
        """Return the median over earlier seasons of the mean of the same samples."""
        count = min(start // self.period, SEASONS_MAX)
        backs = range(self.period, self.period * (count + 1), self.period)
        return median([demand.mean(start - back, stop - back) for back in backs])


class Choice(Struct, frozen=True):
    """The model that speaks, and how well it would have spoken."""

    model: Model
    error: float | None
    """Its root mean square error in nodes in the trials; None where it could not be tried."""


def models(
    interval: timedelta, seasons: Sequence[timedelta], lookback: int, step: int
) -> list[Model]:
    """List the models that can look up to `step` samples ahead, simplest first."""
    periods = [(round(season / interval), season) for season in seasons]
    return [
        Steady(),
        Trend(),
        *(
            Season(WORDS.get(season, f"season of {season}"), period)
            for period, season in sorted(periods)
            if period >= step + 2 * lookback
        ),
    ]


def choose(demand: Demand, candidates: Sequence[Model], lookback: int, step: int) -> Choice:
    """Choose the model that was nearest when tried on the past; of equals the simplest.

    Each trial stands at one moment of the past, forecasts `step` samples ahead from what was known
    then, and is compared with what came. Large errors count more than many small ones, since those
    are what a pool is too small for. There must be `lookback` samples; with too few to try anything
    the trend speaks.
    """
    ends = trials(len(demand), candidates, lookback, step)
    best = Choice(Trend(), None)
    if not ends:
        return best
    width = max(lookback // BLOCKS, 1)
    came = [demand.mean(end + step - width, end + step) for end in ends]
    for model in candidates:
        if model.first(lookback) > min(ends):
            continue
        said = [model.outlook(demand, end, lookback, (step,)).ahead[0] for end in ends]
        missed_by = [there - here for here, there in zip(said, came, strict=True)]
        error = math.hypot(*missed_by) / math.sqrt(len(ends))
        if best.error is None or error < best.error * CLEARLY_BETTER - DUST:
            best = Choice(model, error)
    return best


def trials(length: int, candidates: Sequence[Model], lookback: int, step: int) -> list[int]:
    """List the ends of the pasts to try; empty when the history is too short.

    Some lie in the recent past. Others lie around this time of the last day, and week, as soon as
    the season itself can be tried there: what counts at eight in the morning is who knew about
    mornings, not who was best in the quiet of the night.
    """
    last = length - step
    ends = spread(max(lookback, last - 2 * lookback), last)
    for model in candidates:
        if isinstance(model, Season):
            then = length - model.period
            if then - step >= model.first(lookback):
                ends += spread(then - step, then + step)
    return ends


def spread(first: int, last: int) -> list[int]:
    """List up to `TRIALS` moments from `first` to `last`, evenly; none where `last` is before."""
    count = min(TRIALS, last - first + 1)
    if count <= 1:
        return [last] * max(count, 0)
    return [first + (last - first) * index // (count - 1) for index in range(count)]


def median(values: Sequence[float]) -> float:
    """Return the middle of the values; there must be one."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
