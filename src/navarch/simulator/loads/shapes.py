"""Made-up loads: each is a function of time, its parameters and its seed, and nothing else.

A load can be asked about any moment in any order and answers alike each time. Chance is rolled per
slot of time from streams of its own, so that a question costs the same early and late.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache

from msgspec import Struct

from navarch.config.values import format_duration
from navarch.simulator.dice import Dice, Stream
from navarch.simulator.timeline import EPOCH
from navarch.simulator.twin.demand import Demand

LEVEL_MAX = 1e9
"""More work than any fleet has; a larger number is a slip of the keyboard."""

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)

LONGEST = timedelta(days=3650)
"""No time in a load is longer."""

BURSTS_PER_DAY_MAX = 2_000.0
PARTS_MAX = 100
STEPS_MAX = 100_000


class OutOfBounds(ValueError):
    """A parameter that cannot be used."""

    def __init__(self, key: str, text: str) -> None:
        """Say which one, and what was expected instead of what."""
        self.key = key
        self.text = text
        super().__init__(f"{key}: {text}")


def check_number(key: str, value: float, low: float, high: float, *, above: bool = False) -> None:
    """Raise `OutOfBounds` unless a number lies in its bounds; `above`: the lower is excluded."""
    if not (low < value if above else low <= value) or not value <= high:
        bounds = f"above {low:g}" if above else f"from {low:g}"
        raise OutOfBounds(key, f"expected a number {bounds} up to {high:g}, not {value:g}")


def check_duration(key: str, value: timedelta, low: timedelta, high: timedelta = LONGEST) -> None:
    """Raise `OutOfBounds` unless a duration lies in its bounds, both included."""
    if not low <= value <= high:
        bounds = f"from {format_duration(low)} up to {format_duration(high)}"
        raise OutOfBounds(key, f"expected a duration {bounds}, not {format_duration(value)}")


class Constant(Struct, frozen=True):
    """The same load all the time."""

    level: float
    jobs_per_node: float = 1.0

    def __post_init__(self) -> None:
        """Check the bounds."""
        check_number("level", self.level, 0, LEVEL_MAX)
        check_number("jobs_per_node", self.jobs_per_node, 0, LEVEL_MAX, above=True)

    def __str__(self) -> str:
        """Describe it, for people."""
        return f"{self.level:g} all the time"

    def jobs(self, since: timedelta) -> float:
        """The work that wants to run."""
        return self.level


class Ramp(Struct, frozen=True):
    """A load that changes evenly from one level to another, and stays there."""

    low: float
    """Before it begins."""
    high: float
    """After it has ended; it may be the lower of the two."""
    begins: timedelta
    lasts: timedelta
    jobs_per_node: float = 1.0

    def __post_init__(self) -> None:
        """Check the bounds."""
        check_number("from", self.low, 0, LEVEL_MAX)
        check_number("to", self.high, 0, LEVEL_MAX)
        check_duration("begins", self.begins, timedelta())
        check_duration("lasts", self.lasts, timedelta())
        check_number("jobs_per_node", self.jobs_per_node, 0, LEVEL_MAX, above=True)

    def __str__(self) -> str:
        """Describe it, for people."""
        times = f"from +{format_duration(self.begins)} within {format_duration(self.lasts)}"
        return f"from {self.low:g} to {self.high:g}, {times}"

    def jobs(self, since: timedelta) -> float:
        """The work that wants to run."""
        if since < self.begins:
            return self.low
        if since >= self.begins + self.lasts:
            return self.high
        return self.low + (self.high - self.low) * ((since - self.begins) / self.lasts)


class Steps(Struct, frozen=True):
    """A load that holds each level until the next one."""

    times: tuple[timedelta, ...]
    """When each begins, ascending; before the first it is 0."""
    levels: tuple[float, ...]
    jobs_per_node: float = 1.0

    def __post_init__(self) -> None:
        """Check the bounds."""
        check_number("steps", len(self.times), 1, STEPS_MAX)
        if len(self.times) != len(self.levels):
            text = f"expected as many levels as times, not {len(self.levels)}"
            raise OutOfBounds("steps", f"{text} for {len(self.times)}")
        for index, (time, level) in enumerate(zip(self.times, self.levels, strict=True)):
            check_duration(f"steps[{index}].at", time, timedelta())
            check_number(f"steps[{index}].level", level, 0, LEVEL_MAX)
            if index and time <= self.times[index - 1]:
                raise OutOfBounds(f"steps[{index}].at", "expected a later time than the one before")
        check_number("jobs_per_node", self.jobs_per_node, 0, LEVEL_MAX, above=True)

    def __str__(self) -> str:
        """Describe it, for people."""
        return f"{len(self.times)} steps between {min(self.levels):g} and {max(self.levels):g}"

    def jobs(self, since: timedelta) -> float:
        """The work that wants to run. Cost: O(log steps)."""
        place = bisect_right(self.times, since) - 1
        return self.levels[place] if place >= 0 else 0.0


class Diurnal(Struct, frozen=True):
    """A load that goes up and down with the day, less at weekends, with noise.

    Each cycle is a cosine from `base` up to `peak` and back; one whose highest moment falls on a
    Saturday or Sunday (UTC) is `weekend` times as high above the base. Noise multiplies all of it,
    by a factor that is rolled anew every `noise_lasts` and goes evenly from one roll to the next.
    """

    base: float
    peak: float
    period: timedelta = DAY
    peak_at: timedelta = 14 * HOUR
    """How long after the beginning of each cycle (of a day: midnight UTC) the load is highest."""
    weekend: float = 1.0
    """How high weekends are, as a part of other days; 1: as high."""
    noise: float = 0.0
    """The standard deviation of the rolls, as a part of the load."""
    noise_lasts: timedelta = 20 * MINUTE
    jobs_per_node: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the bounds."""
        check_number("base", self.base, 0, LEVEL_MAX)
        check_number("peak", self.peak, self.base, LEVEL_MAX)
        check_duration("period", self.period, MINUTE)
        check_duration("peak_at", self.peak_at, timedelta(), self.period)
        check_number("weekend", self.weekend, 0, 10)
        check_number("noise", self.noise, 0, 1)
        check_duration("noise_lasts", self.noise_lasts, timedelta(seconds=1))
        check_number("jobs_per_node", self.jobs_per_node, 0, LEVEL_MAX, above=True)

    def __str__(self) -> str:
        """Describe it, for people."""
        parts = [f"between {self.base:g} and {self.peak:g} every {format_duration(self.period)}"]
        if self.weekend != 1:
            parts.append(f"{self.weekend:.0%} of that at weekends")
        if self.noise:
            parts.append(f"noise of {self.noise:.0%}")
        return ", ".join(parts)

    def jobs(self, since: timedelta) -> float:
        """The work that wants to run."""
        trough = self.peak_at - self.period / 2
        cycle = (since - trough) // self.period
        part = (since - trough - cycle * self.period) / self.period
        height = (1 - math.cos(2 * math.pi * part)) / 2
        highest = EPOCH + trough + cycle * self.period + self.period / 2
        if highest.weekday() >= 5:
            height *= self.weekend
        level = self.base + (self.peak - self.base) * height
        return max(level * (1 + self._noise(since)), 0.0)

    def _noise(self, since: timedelta) -> float:
        if not self.noise:
            return 0.0
        slot = since // self.noise_lasts
        part = (since - slot * self.noise_lasts) / self.noise_lasts
        here, next_ = self._roll(slot), self._roll(slot + 1)
        return self.noise * (here + (next_ - here) * part)

    def _roll(self, slot: int) -> float:
        """Roll a number around 0 with deviation 1: the sum of twelve rolls is near enough."""
        rolls = Dice(self.seed).stream("diurnal load", str(slot))
        return sum(rolls.fraction() for _ in range(12)) - 6


class Bursty(Struct, frozen=True):
    """A level with bursts on it: they come at any moment, and a few are very large.

    Bursts are a Poisson process. Their sizes follow Pareto's law with the exponent `tail`, from
    `size` upwards and cut at `largest`; their lengths are exponential, cut at `longest`.
    """

    per_day: float
    size: float
    """The smallest burst."""
    base: float = 0.0
    tail: float = 1.5
    """The smaller, the more of the load is in few bursts; at 2 and below the variance has no bound
    but the cut."""
    largest: float = 0.0
    """No burst is larger; 0: a hundred times the smallest."""
    lasts: timedelta = 10 * MINUTE
    """On average."""
    longest: timedelta = 12 * HOUR
    jobs_per_node: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the bounds."""
        check_number("base", self.base, 0, LEVEL_MAX)
        check_number("per_day", self.per_day, 0, BURSTS_PER_DAY_MAX, above=True)
        check_number("size", self.size, 0, LEVEL_MAX, above=True)
        check_number("tail", self.tail, 1, 10, above=True)
        if self.largest:
            check_number("largest", self.largest, self.size, LEVEL_MAX)
        check_duration("lasts", self.lasts, timedelta(seconds=1))
        check_duration("longest", self.longest, self.lasts)
        check_number("jobs_per_node", self.jobs_per_node, 0, LEVEL_MAX, above=True)

    def __str__(self) -> str:
        """Describe it, for people."""
        how_long = format_duration(self.lasts)
        return (
            f"{self.base:g} with {self.per_day:g} bursts a day, each from {self.size:g} up to "
            f"{self.cut:g} for {how_long} on average"
        )

    @property
    def cut(self) -> float:
        """No burst is larger than this."""
        return self.largest or 100 * self.size

    def jobs(self, since: timedelta) -> float:
        """The work that wants to run. Cost: O(log bursts), besides rolling each burst once."""
        return self.base + bursts_of(self).level(since)


class Bursts:
    """The bursts of one load, rolled as far as anybody has asked.

    What was rolled does not depend on how far, or in which order, questions go.
    """

    def __init__(self, shape: Bursty) -> None:
        """Have rolled none yet."""
        self._shape = shape
        self._rolls = Dice(shape.seed).stream("bursty load")
        self._next = self._wait()
        self._begins: list[timedelta] = []
        self._begun: list[float] = [0.0]
        """The sizes of the first so many bursts, summed."""
        self._open: list[tuple[timedelta, float]] = []
        self._ends: list[timedelta] = []
        self._ended: list[float] = [0.0]

    def level(self, since: timedelta) -> float:
        """How much all bursts are in sum at a moment."""
        self._roll(since)
        begun = self._begun[bisect_right(self._begins, since)]
        return max(begun - self._ended[bisect_right(self._ends, since)], 0.0)

    def _roll(self, since: timedelta) -> None:
        """Roll every burst up to a moment, and settle which ends come before the next begins."""
        if self._next > since:
            self._settle(since)
            return
        while self._next <= since:
            self._settle(self._next)
            size, lasts = _pareto(self._rolls, self._shape), self._length()
            self._begins.append(self._next)
            self._begun.append(self._begun[-1] + size)
            self._open.append((self._next + lasts, size))
            self._next += self._wait()
        self._settle(since)

    def _settle(self, until: timedelta) -> None:
        """Sort in the ends up to a moment: no later burst can end before it."""
        over = sorted(each for each in self._open if each[0] <= until)
        if over:
            self._open = [each for each in self._open if each[0] > until]
        for end, size in over:
            self._ends.append(end)
            self._ended.append(self._ended[-1] + size)

    def _wait(self) -> timedelta:
        return -math.log1p(-self._rolls.fraction()) * (DAY / self._shape.per_day)

    def _length(self) -> timedelta:
        lasts = -math.log1p(-self._rolls.fraction()) * self._shape.lasts
        return min(lasts, self._shape.longest)


@lru_cache(maxsize=64)
def bursts_of(shape: Bursty) -> Bursts:
    """The bursts of a load, as far as they were rolled: equal loads have the same."""
    return Bursts(shape)


def _pareto(rolls: Stream, shape: Bursty) -> float:
    size = shape.size * math.pow(1 - rolls.fraction(), -1 / shape.tail)
    return min(size, shape.cut)


class Total(Struct, frozen=True):
    """Loads on top of each other, in nodes' worth of work."""

    parts: tuple[Demand, ...]

    def __post_init__(self) -> None:
        """Check the bounds."""
        check_number("sum", len(self.parts), 1, PARTS_MAX)

    def __str__(self) -> str:
        """Describe it, for people."""
        return " + ".join(f"({part})" for part in self.parts)

    @property
    def jobs_per_node(self) -> float:
        """As the first part counts."""
        return self.parts[0].jobs_per_node

    def jobs(self, since: timedelta) -> float:
        """The work that wants to run, each part's worth of nodes counted as the first counts."""
        nodes = _nodes(self.parts, since)
        return nodes * self.jobs_per_node


def _nodes(parts: Sequence[Demand], since: timedelta) -> float:
    return sum(part.jobs(since) / part.jobs_per_node for part in parts)
