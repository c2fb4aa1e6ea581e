"""When each node was heard last: one packed column, which is marked and searched at once.

A heartbeat is the commonest thing that happens and the least of what is learned. Ten thousand of
them, in one batch, are one assignment to the column, and finding who has been silent for too long
is one comparison with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SINCE_1970 = (EPOCH - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND

NEVER = np.iinfo(np.int64).max
"""What an unused row holds: later than any limit."""

ROWS_FIRST = 64


class LastHeard:
    """The moments, by node; those of nodes that were never heard are absent."""

    def __init__(self, moments: Mapping[str, datetime] | None = None) -> None:
        """Have heard these nodes; None: nobody."""
        self._rows: dict[str, int] = {}
        self._ids: list[str] = []
        """By row; empty for a row that is free."""
        self._free: list[int] = []
        self._at: NDArray[np.int64] = np.full(ROWS_FIRST, NEVER, dtype=np.int64)
        self._batch: frozenset[str] | None = None
        self._batch_rows: NDArray[np.int64] | None = None
        for node_id, at in (moments or {}).items():
            self[node_id] = at

    def __eq__(self, other: object) -> bool:
        """Whether both have heard the same nodes at the same moments."""
        return isinstance(other, LastHeard) and self.moments() == other.moments()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def moments(self) -> dict[str, datetime]:
        """All of it. Cost: O(nodes)."""
        return {node_id: self[node_id] for node_id in self._rows}

    def __getitem__(self, node_id: str) -> datetime:
        """When a node was heard last. Raises `KeyError` for one that never was."""
        return EPOCH + int(self._at[self._rows[node_id]]) * MICROSECOND

    def __iter__(self) -> Iterator[str]:
        """All who were heard."""
        return iter(self._rows)

    def __len__(self) -> int:
        """How many were heard."""
        return len(self._rows)

    def __contains__(self, node_id: object) -> bool:
        """Whether a node was heard."""
        return node_id in self._rows

    def get(self, node_id: str, default: datetime | None = None) -> datetime | None:
        """When a node was heard last; the default when it never was."""
        return self[node_id] if node_id in self._rows else default

    def microseconds(self, node_ids: Sequence[str]) -> list[int | None]:
        """When each of these was heard last, in microseconds since 1970; None: never."""
        rows = [self._rows.get(node_id, -1) for node_id in node_ids]
        moments: list[int | None] = (self._at[rows] + SINCE_1970).tolist() if rows else []
        if -1 in rows:
            moments = [None if row < 0 else at for row, at in zip(rows, moments, strict=True)]
        return moments

    def __setitem__(self, node_id: str, at: datetime) -> None:
        """Mark one node. Cost: O(1), amortised."""
        row = self._rows.get(node_id)
        if row is None:
            row = self._new_row(node_id)
        self._at[row] = (at - EPOCH) // MICROSECOND

    def mark(self, node_ids: frozenset[str], at: datetime) -> None:
        """Mark many nodes at once.

        Cost: O(nodes) the first time, and one assignment when the same set comes again while
        nobody was added or forgotten.
        """
        if self._batch is not node_ids or self._batch_rows is None:
            if not self._rows.keys() >= node_ids:
                for node_id in sorted(node_ids - self._rows.keys()):
                    self._new_row(node_id)
            rows = [self._rows[node_id] for node_id in node_ids]
            self._batch, self._batch_rows = node_ids, np.array(rows, dtype=np.int64)
        self._at[self._batch_rows] = (at - EPOCH) // MICROSECOND

    def pop(self, node_id: str) -> None:
        """Forget a node."""
        row = self._rows.pop(node_id, None)
        if row is None:
            return
        self._ids[row] = ""
        self._at[row] = NEVER
        self._free.append(row)
        self._batch_rows = None

    def before(self, limit: datetime) -> list[str]:
        """Who was heard last before `limit`. Cost: one comparison, and O(those)."""
        rows = np.nonzero(self._at < (limit - EPOCH) // MICROSECOND)[0]
        return [self._ids[row] for row in rows.tolist()]

    def _new_row(self, node_id: str) -> int:
        if self._free:
            row = self._free.pop()
            self._ids[row] = node_id
        else:
            row = len(self._ids)
            self._ids.append(node_id)
            if row == len(self._at):
                self._at = np.concatenate((self._at, np.full(row, NEVER, dtype=np.int64)))
        self._rows[node_id] = row
        return row
