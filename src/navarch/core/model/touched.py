"""Which nodes have changed since somebody last looked: for what is kept of them elsewhere."""

from __future__ import annotations

from typing import Final

TOUCHED_MAX: Final = 20_000
"""Ids that are remembered; beyond, everything counts as changed and is looked at again."""


class Touched:
    """The nodes that were put or dropped since the last look; at first, all of them."""

    __slots__ = ("_all", "_ids")

    def __init__(self) -> None:
        """Begin with everything to look at."""
        self._ids: set[str] = set()
        self._all = True

    def add(self, node_id: str) -> None:
        """Note a node that was put or dropped. Cost: O(1)."""
        if not self._all:
            self._ids.add(node_id)
            if len(self._ids) > TOUCHED_MAX:
                self._ids.clear()
                self._all = True

    def take(self) -> set[str] | None:
        """The ids since the last look, and begin anew; None: any node may have changed."""
        ids, self._ids = self._ids, set()
        everything, self._all = self._all, False
        return None if everything else ids
