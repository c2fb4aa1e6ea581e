"""How long to wait after a failure: longer each time, up to a limit, and not all agents alike.

Chance arrives as one number an agent. Multiples of the golden ratio added to it fall evenly over
the unit interval, so the waits of one agent differ from failure to failure, and those of many
agents are spread, without another die.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

ANY_TIME: Final = datetime.min.replace(tzinfo=UTC)
"""Before everything: what is due from here on is due at once."""

GOLDEN_RATIO: Final = 0.618033988749895
"""Its fractional part: the multiples of no other number are spread more evenly."""

ADVICE_MAX: Final = timedelta(minutes=5)
"""The longest that a peer's advice is followed: a mistyped number must not silence a node."""

ADVICE_SPREAD: Final = timedelta(seconds=1)
"""Over how long those are spread at least who were given the same advice: it comes in seconds."""

DOUBLINGS_MAX: Final = 20
"""Enough for every limit, and far from any overflow."""


class Backoff(Struct):
    """One thing that may fail, and when it may be tried again."""

    spread: float
    """Chance, from 0 up to and without 1."""
    failures: int = 0
    """How many in a row."""
    until: datetime = ANY_TIME
    """When it may be tried again."""

    def failed(
        self,
        now: datetime,
        *,
        first: timedelta,
        longest: timedelta,
        advice: timedelta | None = None,
    ) -> None:
        """Wait longer than last time: between half and the whole of `first`, doubled, doubled, ...

        The wait never exceeds `longest`, and is at least half of `first` or `longest`. With
        `advice` of a peer it is that, and up to a quarter more: the peer knows better than we do
        when there will be room.
        """
        self.failures += 1
        doublings = min(self.failures - 1, DOUBLINGS_MAX)
        roll = (self.spread + self.failures * GOLDEN_RATIO) % 1.0
        if advice is None:
            self.until = now + min(first * 2**doublings, longest) * (1 + roll) / 2
        else:
            least = min(advice, ADVICE_MAX)
            self.until = now + least + max(least / 4, ADVICE_SPREAD) * roll

    def worked(self) -> None:
        """Forget the failures: it may be tried at once."""
        self.failures = 0
        self.until = ANY_TIME
