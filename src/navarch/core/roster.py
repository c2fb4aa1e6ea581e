"""The roster: a fleet's nodes in the order of their ids, and by what people filter for.

Listing a page of ten thousand nodes must not sort and sift ten thousand nodes, and neither must
counting them. The roster follows the fleet: it looks at the nodes that changed since it was last
asked, and at no other.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from itertools import chain, islice
from typing import Final, NamedTuple

from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Node, NodeStatus

_NARROW: Final = 16
"""A filter that keeps fewer than one in so many is sorted by itself: it costs less than a pass."""


class Group(NamedTuple):
    """What people filter for, and what is counted."""

    provider: str
    region: str
    pool: str
    status: NodeStatus


class _Members(set[str]):
    """The ids of a group's nodes."""

    def __init__(self, group: Group) -> None:
        """Begin empty."""
        super().__init__()
        self.group = group


class Roster:
    """The nodes of one fleet, as they were at the last `refresh`."""

    def __init__(self, fleet: Fleet) -> None:
        """Follow this fleet. Cost of the first look: O(nodes log nodes)."""
        self._fleet = fleet
        self._touched = fleet.follow()
        self._ids: list[str] = []
        self._of: dict[str, _Members] = {}
        """The members among whom each node is."""
        self._members: dict[tuple[str, str, str, NodeStatus], _Members] = {}

    def refresh(self) -> None:
        """Look at what changed. Cost: O(those), and one pass when nodes came or went."""
        touched = self._touched.take()
        nodes = self._fleet.nodes
        looked_at = self._of.keys() | nodes.keys() if touched is None else touched
        came: list[str] = []
        gone: set[str] = set()
        for node_id in looked_at:
            node = nodes.get(node_id)
            if node is None:
                if self._leave(node_id):
                    gone.add(node_id)
            elif self._join(node):
                came.append(node_id)
        if gone:
            self._ids = [each for each in self._ids if each not in gone]
        if came:
            self._ids.extend(came)
            self._ids.sort()

    def __len__(self) -> int:
        """How many nodes there are."""
        return len(self._ids)

    def counts(self) -> dict[Group, int]:
        """How many nodes are in each group that has any. Cost: O(groups)."""
        return {members.group: len(members) for members in self._members.values()}

    def page(
        self,
        *,
        size: int = 0,
        after: str = "",
        provider: str = "",
        region: str = "",
        pool: str = "",
        status: NodeStatus | None = None,
    ) -> tuple[list[str], str]:
        """The ids of a page, ascending, and the token of the next; empty on the last page.

        `size` 0 means all, `after` is the id that the page before ended with; an empty filter, or
        a status of None, keeps everything. Cost: O(log nodes + page) without a filter, else O(the
        nodes that are kept) where those are few, and O(page) where they are many.
        """
        kept = self._kept(provider, region, pool, status)
        found = self._behind(after, kept)
        if not size:
            return list(found), ""
        ids = list(islice(found, size + 1))
        if len(ids) <= size:
            return ids, ""
        return ids[:size], ids[size - 1]

    def _behind(self, after: str, kept: list[_Members] | None) -> Iterator[str]:
        ids, whose = self._ids, self._of
        if kept is not None and sum(map(len, kept)) * _NARROW < len(ids):
            ids, kept = sorted(chain.from_iterable(kept)), None
        start = bisect.bisect_right(ids, after) if after else 0
        behind = islice(ids, start, None)
        if kept is None:
            return behind
        if len(kept) == 1:
            return filter(kept[0].__contains__, behind)
        # Not their union: a page of few is found before all would be counted up.
        own = {id(members) for members in kept}
        return (node_id for node_id in behind if id(whose[node_id]) in own)

    def _kept(
        self, provider: str, region: str, pool: str, status: NodeStatus | None
    ) -> list[_Members] | None:
        """The groups that a filter keeps; None: all of them."""
        if not (provider or region or pool or status):
            return None
        return [
            members
            for members in self._members.values()
            if provider in ("", members.group.provider)
            and region in ("", members.group.region)
            and pool in ("", members.group.pool)
            and status in (None, members.group.status)
        ]

    def _join(self, node: Node) -> bool:
        """Have a node in its group; whether it is new."""
        node_id, group = node.id, (node.provider, node.region, node.pool, node.status)
        before = self._of.get(node_id)
        members = self._members.get(group)
        if members is None:
            members = self._members[group] = _Members(Group(*group))
        elif members is before:
            return False
        if before is not None:
            self._part(before, node_id)
        members.add(node_id)
        self._of[node_id] = members
        return before is None

    def _leave(self, node_id: str) -> bool:
        """Forget a node; whether it was known."""
        before = self._of.pop(node_id, None)
        if before is None:
            return False
        self._part(before, node_id)
        return True

    def _part(self, members: _Members, node_id: str) -> None:
        members.discard(node_id)
        if not members:
            del self._members[members.group]
