"""Samples: what was counted over time, in bounded memory."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

SAMPLES_MAX = 8_192
"""Samples that one scope keeps. When there are more, every two neighbours become one: a month of
minutes comes to 5,400."""

WARM_UP = 3600.0
"""Seconds that a scope may take to be full for the first time before it counts as missing."""

STATES = ("serving", "undetected", "booting", "unhealthy", "held", "silent", "ending")
"""What a machine can be at a sample, in the order in which charts stack them."""


class Sample(Struct, frozen=True):
    """The machines of one scope at one moment."""

    seconds: float
    states: tuple[int, ...]
    """How many are in each of `STATES`."""
    target: int
    demand: float
    counts: bool = True
    """Whether it says anything of availability and capacity: a fleet that boots for the first time
    is not missing yet."""

    @property
    def serving(self) -> int:
        """Nodes that are open for work and well."""
        return self.states[0]

    @property
    def is_full(self) -> bool:
        """Whether the scope has what it wants, or what there is work for."""
        return self.serving >= min(self.target, self.demand) - 1e-9

    @property
    def delivered(self) -> float:
        """For how much of the demand serving nodes are there, in nodes."""
        return min(self.demand, self.serving)


class Samples:
    """The samples of one scope, and what they come to."""

    def __init__(self) -> None:
        """Have none."""
        self.count = 0
        self.counted = 0
        """Those that say something of availability."""
        self.full = 0
        self.first_full: float | None = None
        self._wanted = [0.0, 0.0]
        """Node-seconds of demand: during the first boot, and after it."""
        self._delivered = [0.0, 0.0]
        self.most_nodes = 0
        self.last_target = 0
        self._last_at = 0.0
        self._columns = [array("d") for _ in range(len(STATES) + 3)]

    def counts(self, sample: Sample) -> bool:
        """Whether a new sample says anything of availability: the scope is or was full, or late."""
        is_there = self.first_full is not None or sample.is_full
        return is_there or sample.seconds >= WARM_UP

    def add(self, sample: Sample, parts: Sequence[Sample] = ()) -> None:
        """Count one in; it speaks for the time since the one before. Cost: O(1), amortized.

        A scope that has `parts` is full when all of them are: one pool's surplus helps no other.
        """
        parts = parts or (sample,)
        counts = all(part.counts for part in parts)
        lasted = sample.seconds - self._last_at
        self._last_at, self.last_target = sample.seconds, sample.target
        self.count += 1
        self._wanted[counts] += sample.demand * lasted
        self._delivered[counts] += sample.delivered * lasted
        self.most_nodes = max(self.most_nodes, sum(sample.states))
        is_full = all(part.is_full for part in parts)
        if counts:
            self.counted += 1
            self.full += is_full
        if is_full and self.first_full is None:
            self.first_full = sample.seconds
        row = (sample.seconds, *sample.states, sample.target, sample.demand)
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)
        if len(self._columns[0]) >= 2 * SAMPLES_MAX:
            self._keep(range(0, 2 * SAMPLES_MAX + 1, 2))

    def condensed(self, most: int) -> list[Sample]:
        """At most so many samples: of each stretch, the one in which most was missing."""
        length = len(self._columns[0])
        count = min(most, length)
        edges = [length * index // count for index in range(count + 1)] if count else [0]
        return [self._at(self._worst(start, stop)) for start, stop in pairwise(edges)]

    @property
    def availability(self) -> float:
        """The share of samples that count in which the scope was full; 1 before the first of all.

        Where none counts as the scope was never full: 0.
        """
        if not self.counted:
            return 0.0 if self.count else 1.0
        return self.full / self.counted

    @property
    def wanted(self) -> float:
        """Node-seconds of demand since the first boot; of all the time where that never ended."""
        return self._wanted[self.counted > 0]

    @property
    def delivered(self) -> float:
        """Node-seconds of it that serving nodes were there for."""
        return self._delivered[self.counted > 0]

    def _keep(self, edges: range) -> None:
        kept = [self._worst(start, stop) for start, stop in pairwise(edges)]
        self._columns = [array("d", [column[at] for at in kept]) for column in self._columns]

    def _worst(self, start: int, stop: int) -> int:
        serving, (target, demand) = self._columns[1], self._columns[-2:]
        return max(range(start, stop), key=lambda at: min(target[at], demand[at]) - serving[at])

    def _at(self, index: int) -> Sample:
        seconds, *states, target, demand = (column[index] for column in self._columns)
        return Sample(seconds, tuple(int(each) for each in states), int(target), demand)
