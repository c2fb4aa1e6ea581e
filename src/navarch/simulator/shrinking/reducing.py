"""Reducing: delta debugging, whatever it is that is reduced.

The algorithm is that of Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input"
(IEEE Transactions on Software Engineering 28, 2002). Everything is deterministic but for
`Limits.seconds`: a slower machine tries less within them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import process_time
from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")

RUNS_MAX = 200


class Limits(Struct, frozen=True):
    """How much may be tried."""

    runs: int = RUNS_MAX
    seconds: float | None = None
    """Of processor time; None: any."""


class Attempts(Generic[T]):
    """Tries candidates, each once and within limits; beyond them nothing fails any more."""

    def __init__(
        self,
        fails: Callable[[T], bool | None],
        key: Callable[[T], str],
        limits: Limits,
        tell: Callable[[str], None],
    ) -> None:
        """`fails` says whether a candidate fails in the same way; None: it cannot be run.

        `key` tells candidates apart, `tell` hears of progress.
        """
        self.runs = 0
        """How many were run."""
        self._fails = fails
        self._key = key
        self._limits = limits
        self._tell = tell
        self._known: dict[str, bool] = {}
        self._began = process_time()

    @property
    def spent(self) -> bool:
        """Whether the limits are reached."""
        seconds = self._limits.seconds
        late = seconds is not None and process_time() - self._began >= seconds
        return late or self.runs >= self._limits.runs

    def fails(self, candidate: T) -> bool:
        """Whether a candidate fails in the same way."""
        key = self._key(candidate)
        if key in self._known:
            return self._known[key]
        if self.spent:
            return False
        found = self._fails(candidate)
        self.runs += found is not None
        self._known[key] = bool(found)
        return bool(found)

    def tell(self, what: str) -> None:
        """Say how far it is."""
        self._tell(f"{self.runs} of {self._limits.runs} runs: {what}")


def ddmin(items: Sequence[T], fails: Callable[[list[T]], bool]) -> list[T]:
    """Find a part of `items` of which no piece can be left out, if tries suffice.

    `items` as a whole fails, and is never asked about. Cost: O(items²) tries at worst, O(log items)
    where few of them matter.
    """
    kept = list(items)
    if not kept or fails([]):
        return []
    pieces = 2
    while len(kept) >= 2:
        size = -(-len(kept) // pieces)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if rest and fails(rest):
                kept = rest
                pieces = max(pieces - 1, 2)
                break
        else:
            if size == 1:
                break
            pieces = min(pieces * 2, len(kept))
    return kept


def least(low: int, high: int, fails: Callable[[int], bool]) -> int:
    """Find the least number that fails, from `low` to `high`, which fails, by halving."""
    while low < high:
        middle = (low + high) // 2
        if fails(middle):
            high = middle
        else:
            low = middle + 1
    return high
