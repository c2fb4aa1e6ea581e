"""Chance: every die that a simulation rolls, from one seed.

Nobody else in the simulator, and nobody at all in the core, holds a source of chance. A stream has
a name and belongs to one purpose, so that one more roll in one place shifts no roll in another:
a seed that once showed a fault goes on showing it while the simulator grows.

What the dice have brought about is counted beside them: a fault that is drawn and never happens
proves nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import TypeVar

T = TypeVar("T")

MILLISECOND = timedelta(milliseconds=1)


class Stream:
    """The dice of one purpose."""

    def __init__(self, name: str) -> None:
        """Begin the stream of this name; equal names roll alike, in every process."""
        self._random = Random(name)

    def fraction(self) -> float:
        """Roll a number from 0 up to and without 1."""
        return self._random.random()

    def chance(self, probability: float) -> bool:
        """Roll whether something happens; the roll is made even for 0 and 1."""
        return self._random.random() < probability

    def integer(self, low: int, high: int) -> int:
        """Roll a whole number; both ends are possible."""
        return low + int(self._random.random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        """Roll one of the options; there must be one."""
        return options[int(self._random.random() * len(options))]

    def some(self, options: Sequence[T], count: int) -> tuple[T, ...]:
        """Roll `count` different options, in a rolled order; all when there are fewer."""
        left = list(options)
        return tuple(
            left.pop(int(self._random.random() * len(left)))
            for _ in range(min(count, len(options)))
        )

    def between(self, low: timedelta, high: timedelta) -> timedelta:
        """Roll a duration in whole milliseconds, from `low` up to `high`."""
        return low + int(self._random.random() * ((high - low) / MILLISECOND)) * MILLISECOND


class Dice:
    """All streams of one seed."""

    def __init__(self, seed: int) -> None:
        """Take the seed that everything follows from."""
        self.seed = seed
        self.happened: Counter[str] = Counter()
        """What has gone wrong in this run so far, and how often, as `simulator.incidents` names it.

        Counted by whoever lets it happen; nothing in a run depends on it.
        """

    def stream(self, *purpose: str) -> Stream:
        """Begin the stream for a purpose. Asking for it again begins it anew."""
        return Stream("/".join((str(self.seed), *purpose)))
