"""How long many calls took, in counts that can be added up over processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

FIRST = 50e-6
"""Seconds: everything below is one bucket."""
STEP = 1.1
"""Each bucket ends a tenth later than the one before, so a percentile is right within 10%."""
BUCKETS = 150
"""The last one begins at 70 seconds."""


class Latencies:
    """A histogram."""

    def __init__(self, counts: Sequence[int] | None = None) -> None:
        """Begin with these counts; None: none."""
        self.counts = list(counts) if counts is not None else [0] * BUCKETS

    def add(self, seconds: float) -> None:
        """Count one."""
        bucket = 0 if seconds <= FIRST else int(math.log(seconds / FIRST, STEP)) + 1
        self.counts[min(bucket, BUCKETS - 1)] += 1

    def __len__(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    def plus(self, counts: Sequence[int]) -> Latencies:
        """Both together."""
        return Latencies([a + b for a, b in zip(self.counts, counts, strict=True)])

    def minus(self, earlier: Latencies) -> Latencies:
        """What was counted since."""
        return Latencies([a - b for a, b in zip(self.counts, earlier.counts, strict=True)])

    def at(self, share: float) -> float:
        """How many seconds that share of the calls took at most; 0 where there are none."""
        number = len(self)
        for bucket, below in enumerate(accumulate(self.counts)):
            if number and below >= share * number:
                return FIRST * STEP**bucket
        return 0.0
