"""What happens often is logged sparingly: the first few, then one a second, with a count.

A caller that is refused ten thousand times a second must not be able to fill a disk with that. The
events that are left out are counted, and the next one of the same key says how many they were.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BURST: Final = 10.0
"""Events of one key that are logged one after the other."""
EACH_SECONDS: Final = 1.0
"""After a burst: how long until the next one is logged."""
KEYS_MAX: Final = 1_000
"""Keys that are counted apart; the one that was heard of least lately gives way."""


class Sparing:
    """A bucket of events for each key."""

    def __init__(self, timer: Callable[[], float]) -> None:
        """Count by `timer`, in seconds."""
        self._timer = timer
        self._buckets: dict[object, tuple[float, float, int]] = {}

    def __len__(self) -> int:
        """How many keys are counted."""
        return len(self._buckets)

    def take(self, key: object) -> int | None:
        """Return how many events of this key were left out before; None: leave this one out too."""
        now = self._timer()
        left, at, missed = self._buckets.pop(key, (BURST, now, 0))
        left = min(BURST, left + (now - at) / EACH_SECONDS)
        lets = left >= 1
        self._buckets[key] = (left - 1, now, 0) if lets else (left, now, missed + 1)
        if len(self._buckets) > KEYS_MAX:
            del self._buckets[next(iter(self._buckets))]
        return missed if lets else None
