"""Readings over time that are in no journal: noted one after the other, kept in bounded memory.

The newest notes are kept one by one; of older ones some are kept, at equal distances. They begin
anew at a restart.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

FINE_MAX: Final = 2_880
"""Notes that are kept one by one: a day of them, one every 30 seconds."""
COARSE: Final = timedelta(minutes=10)
"""How much time older notes have between them."""
COARSE_MAX: Final = 1_008
"""Older notes that are kept: a week of them."""
SERIES_MAX: Final = 500
"""Names under which notes are kept; under others nothing is."""

Row = tuple[float, Sequence[float]]
"""Seconds since 1970 UTC, and what was noted then; NaN: nobody knew."""


class Notes:
    """Rows of so many numbers, by name; at most 62 KB and 31 KB a number for each name.

    Numbers are kept as 32-bit floats.
    """

    def __init__(self, columns: int) -> None:
        """Begin with none; each row has `columns` numbers, at least one."""
        self._columns = columns
        self._fine: dict[str, _Rows] = {}
        self._coarse: dict[str, _Rows] = {}

    def add(self, name: str, at: float, values: Sequence[float]) -> None:
        """Note something. Cost: O(1), amortised."""
        fine = self._fine.get(name)
        if fine is None:
            if len(self._fine) >= SERIES_MAX:
                return
            fine = self._fine[name] = _Rows(self._columns, FINE_MAX)
            self._coarse[name] = _Rows(self._columns, COARSE_MAX)
        fine.add(at, values)
        coarse = self._coarse[name]
        if at - coarse.newest >= COARSE.total_seconds():
            coarse.add(at, values)

    def of(self, name: str, since: datetime) -> Iterator[Row]:
        """Yield what is kept under a name since a moment, the oldest first."""
        fine = self._fine.get(name)
        if fine is None:
            return
        begins, seam = since.timestamp(), fine.oldest
        for at, values in self._coarse[name].rows():
            if begins <= at < seam:
                yield at, values
        for at, values in fine.rows():
            if at >= begins:
                yield at, values

    def newest(self, name: str) -> Row | None:
        """Return the newest note under a name; None: there is none. Cost: O(1)."""
        fine = self._fine.get(name)
        return None if fine is None else fine.last()

    def names(self) -> list[str]:
        """All names, in the order in which they came."""
        return list(self._fine)

    def leave(self, name: str) -> None:
        """Forget what is noted under a name."""
        self._fine.pop(name, None)
        self._coarse.pop(name, None)


class _Rows:
    """Rows, the oldest first; the newest `most` are kept."""

    def __init__(self, columns: int, most: int) -> None:
        self._at: array[float] = array("d")
        self._values: array[float] = array("f")
        self._columns = columns
        self._most = most

    def add(self, at: float, values: Sequence[float]) -> None:
        if len(self._at) >= 2 * self._most:
            self._at = self._at[-self._most :]
            self._values = self._values[-self._most * self._columns :]
        self._at.append(at)
        self._values.extend(values)

    def rows(self) -> Iterator[Row]:
        width = self._columns
        for index in range(self._begin, len(self._at)):
            yield self._at[index], self._values[index * width : (index + 1) * width]

    def last(self) -> Row:
        return self._at[-1], self._values[-self._columns :]

    @property
    def _begin(self) -> int:
        return max(len(self._at) - self._most, 0)

    @property
    def oldest(self) -> float:
        return self._at[self._begin] if self._at else math.inf

    @property
    def newest(self) -> float:
        return self._at[-1] if self._at else -math.inf
