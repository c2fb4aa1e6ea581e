"""Startup: after what time each node of a fleet starts.

===========  ================================================================================
pattern      how the starts are spread over the duration
===========  ================================================================================
instant      all at once
linear       evenly
exponential  few at first, then ever more: half of them in the last tenth of the time or so
wave         in groups of one size, evenly
===========  ================================================================================
"""

from __future__ import annotations

import math
from datetime import timedelta

from navarch.simulator.dice import Stream

MILLISECOND = timedelta(milliseconds=1)
STEEPNESS = 5.0
"""By what power of e an exponential start grows from its beginning to its end."""


def delays(
    count: int,
    pattern: str,
    lasts: timedelta,
    rolls: Stream,
    *,
    jitter_percent: float = 0.0,
    waves: int = 5,
) -> list[timedelta]:
    """Say for each of `count` nodes after what time it starts; never before now."""
    return [
        _jittered(_share(pattern, number, count, waves) * lasts, lasts, jitter_percent, rolls)
        for number in range(count)
    ]


def _share(pattern: str, number: int, count: int, waves: int) -> float:
    """When in the duration, from 0 to 1."""
    place = number / max(count - 1, 1)
    match pattern:
        case "linear":
            return place
        case "exponential":
            return math.log1p(place * math.expm1(STEEPNESS)) / STEEPNESS
        case "wave":
            return min(number * waves // max(count, 1), waves - 1) / max(waves - 1, 1)
        case _:
            return 0.0


def _jittered(
    after: timedelta, lasts: timedelta, jitter_percent: float, rolls: Stream
) -> timedelta:
    if jitter_percent:
        after += (rolls.fraction() - 0.5) * 2 * (jitter_percent / 100) * lasts
    return max(after, timedelta()) // MILLISECOND * MILLISECOND
