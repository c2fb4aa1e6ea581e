"""A stretch of a growing series, as a sequence that never changes and is not copied.

An autoscaler is shown a week of values every half minute, and most never look at them. A `Stretch`
knows where it begins and ends in a series that only grows behind it, so that showing it costs the
same for a week as for a minute. It equals the tuple of its values, and slices of it are tuples.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import overload


class Stretch(Sequence[float]):
    """Values from one place of a series to another, oldest first."""

    __slots__ = ("_start", "_stop", "_values")

    def __init__(self, values: array[float], start: int, stop: int) -> None:
        """Show ``values[start:stop]``, which nobody changes or removes as long as this is there."""
        self._values = values
        self._start = start
        self._stop = stop

    def __len__(self) -> int:
        """How many values there are."""
        return self._stop - self._start

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[float, ...]: ...
    def __getitem__(self, index: int | slice) -> float | tuple[float, ...]:
        """Return a value, or some as a tuple. Raises `IndexError` beyond the ends."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return tuple(self._values[self._start + at] for at in range(start, stop, step))
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"{index} of {len(self)} values")
        return self._values[self._start + at]

    def __iter__(self) -> Iterator[float]:
        """Go through all values."""
        return iter(self._values[self._start : self._stop])

    def __eq__(self, other: object) -> bool:
        """Whether the other one, a stretch or a tuple, has the same values in the same order."""
        return isinstance(other, Stretch | tuple) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        """The hash of the tuple of its values."""
        return hash(tuple(self))

    def __add__(self, other: Sequence[float]) -> tuple[float, ...]:
        """Return a tuple with other values behind."""
        return (*self, *other)

    def __radd__(self, other: Sequence[float]) -> tuple[float, ...]:
        """Return a tuple with other values in front."""
        return (*other, *self)

    def __repr__(self) -> str:
        """Show it as the tuple of its values."""
        return repr(tuple(self))

    def __reduce__(self) -> tuple[type[tuple[float, ...]], tuple[tuple[float, ...]]]:
        """Be copied, and sent elsewhere, as a tuple."""
        return tuple, (tuple(self),)


class Growing:
    """A series of which the newest values are kept."""

    __slots__ = ("_kept_max", "_values")

    def __init__(self, kept_max: int) -> None:
        """Keep the newest `kept_max` values, at least one. Takes 4 to 8 bytes for each of them."""
        if kept_max < 1:
            raise ValueError(f"{kept_max} values: expected at least 1")
        self._kept_max = kept_max
        self._values: array[float] = array("f")

    def add(self, value: float) -> None:
        """Add the newest value, as a 32-bit float. Cost: O(1), amortised."""
        if len(self._values) >= 2 * self._kept_max:
            # A new series: those who were shown the old one keep it.
            self._values = self._values[1 - self._kept_max :] if self._kept_max > 1 else array("f")
        self._values.append(value)

    def newest(self) -> Stretch:
        """Return what is kept. Cost: O(1)."""
        count = len(self._values)
        return Stretch(self._values, max(count - self._kept_max, 0), count)
