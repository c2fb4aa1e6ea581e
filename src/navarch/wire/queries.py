"""What a caller wants to read, filters, pages and stretches of the journal, and what to configure.

Reading teaches the fleet nothing, so these are no messages of the core; nor is a configuration,
before somebody has understood it. The codec makes them, and whoever holds the fleet answers them.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from navarch.core.model.instance import InstanceState
from navarch.core.model.node import NodeStatus


class Page(Struct, frozen=True):
    """Which part of a listing is wanted."""

    size: int = 0
    """How many entries at most; 0 means all."""
    after: str = ""
    """The id that the page before ended with; empty for the first page."""

    def of(self, sorted_ids: Sequence[str]) -> tuple[Sequence[str], str]:
        """The ids of this page, and the token of the next; the token is empty on the last page.

        The ids must ascend. What came or went since the page before does no harm: nothing is
        shown twice, and nothing that was there all the time is missed.
        Cost: O(log ids + page).
        """
        start = bisect.bisect_right(sorted_ids, self.after) if self.after else 0
        if not self.size:
            return sorted_ids[start:], ""
        ids = sorted_ids[start : start + self.size]
        more = start + self.size < len(sorted_ids)
        return ids, ids[-1] if more else ""


class NodeQuery(Struct, frozen=True):
    """Which nodes to list. An empty string and None do not filter."""

    provider: str = ""
    region: str = ""
    status: NodeStatus | None = None
    pool: str = ""
    page: Page = Page()


class InstanceQuery(Struct, frozen=True):
    """Which instances to list. An empty string and None do not filter."""

    provider: str = ""
    region: str = ""
    state: InstanceState | None = None
    pool: str = ""
    page: Page = Page()


class EventQuery(Struct, frozen=True):
    """Which facts to list."""

    after_seq: int = 0
    """Only later ones; 0 means from the first that is kept."""
    limit: int = 100
    """How many at most, at least 1."""
    subject: str = ""
    """Only those about this id; empty means all."""
    since: datetime | None = None
    """Only those taken then or later; None means all."""
    newest_first: bool = False
    """Whether the newest are wanted, in descending order, and not the oldest."""


class WatchQuery(Struct, frozen=True):
    """Which facts to follow."""

    after_seq: int | None = 0
    """Only later ones; None means from now on."""
    subject: str = ""
    """Only those about this id; empty means all."""


class SubjectKind(StrEnum):
    """What can be explained."""

    NODE = "node"
    INSTANCE = "instance"
    POOL = "pool"
    AGENT_POOL = "agent-pool"
    REPLICA = "replica"


class Subject(Struct, frozen=True):
    """One thing to explain."""

    kind: SubjectKind
    id: str
    """An id, or the name of a pool; ``namespace/name`` of a pool of agents."""


class Configuration(Struct, frozen=True):
    """A configuration that shall be used from now on, not yet understood."""

    text: str
    source: str
    """What it is called in messages; never empty."""
