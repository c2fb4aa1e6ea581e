"""What a relay knows of its nodes: whose token was checked, and for whom commands wait.

All of it was learned from the control plane and is forgotten without harm: a node of which nothing
is known has its next call passed on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import Final

from msgspec import Struct

NODES_MAX: Final = 20_000
"""Nodes of one relay: a data hall, and about 5 MB."""

TRUSTED: Final = 1800.0
"""Seconds for which a checked token counts, give or take a quarter.

Node tokens are derived from the fleet's secret, so that one ends only when the secret does, and
that takes a restart of the control plane. Half an hour keeps the calls that only check a token
below 2% of those that are saved.
"""

FORGOTTEN: Final = 600.0
"""Seconds of silence after which a node makes room for another, where there is none."""

LOOK_EVERY: Final = 10.0
"""Seconds between two looks for room: each costs as much as there are nodes."""

TOLD_INTERVALS: Final = 2.5
"""Heartbeat intervals for which the last word on waiting commands counts: one heartbeat may be
late, none may be missing."""

INTERVAL_USUAL: Final = 30.0
"""Seconds between heartbeats, as long as the control plane has not said it."""


class _Node(Struct):
    """One node."""

    credentials: bytes
    """The digest of what it showed when it was let in."""
    until: float
    """When that has to be checked again."""
    heard_at: float
    told_at: float = float("-inf")
    """When the control plane last said whether commands wait for it."""
    pending: bool = False
    """What it said."""


class Roster:
    """The nodes that speak to one relay. A time is in seconds, of a clock that never goes back."""

    def __init__(self, nodes_max: int = NODES_MAX) -> None:
        """Know at most `nodes_max` at once; calls of further ones are passed on."""
        self._nodes_max = nodes_max
        self._nodes: dict[str, _Node] = {}
        self._looked_at = float("-inf")
        self.interval = 0
        """Seconds between heartbeats, as the control plane wants them; 0: it has not said."""

    def __len__(self) -> int:
        """How many nodes are known."""
        return len(self._nodes)

    def admits(self, node_id: str, credentials: bytes, now: float) -> bool:
        """Whether a caller with these `credentials` may speak for the node without being asked."""
        node = self._nodes.get(node_id)
        if node is None or node.credentials != credentials or node.until <= now:
            return False
        node.heard_at = now
        return True

    def admitted(self, node_id: str, credentials: bytes, now: float) -> None:
        """Take note that the control plane has let a caller speak for the node."""
        until = now + TRUSTED * (0.75 + credentials[0] / 510)
        node = self._nodes.get(node_id)
        if node is not None:
            node.credentials, node.until, node.heard_at = credentials, until, now
        elif len(self._nodes) < self._nodes_max or self._made_room(now):
            self._nodes[node_id] = _Node(credentials, until, now)

    def forget(self, node_ids: Iterable[str]) -> None:
        """Have the next call of these nodes passed on: the control plane does not know them."""
        for node_id in node_ids:
            self._nodes.pop(node_id, None)

    def told(self, node_ids: Iterable[str], waiting: Collection[str], now: float) -> None:
        """Take note for whom commands wait, of these nodes."""
        for node_id in node_ids:
            node = self._nodes.get(node_id)
            if node is not None:
                node.told_at, node.pending = now, node_id in waiting

    def polled(self, node_id: str) -> None:
        """Take note that a poll of the node was answered by the control plane."""
        node = self._nodes.get(node_id)
        if node is not None:
            node.pending = False

    def is_pending(self, node_id: str) -> bool:
        """Whether a command waits for the node, as far as is known."""
        node = self._nodes.get(node_id)
        return node is not None and node.pending

    def has_nothing(self, node_id: str, now: float) -> bool:
        """Whether it is known, and not long ago, that no command waits for the node."""
        node = self._nodes.get(node_id)
        if node is None or node.pending:
            return False
        return now - node.told_at <= TOLD_INTERVALS * (self.interval or INTERVAL_USUAL)

    def _made_room(self, now: float) -> bool:
        """Drop who has been silent for long. Costs O(nodes), at most every `LOOK_EVERY`."""
        if now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            silent = [id_ for id_, node in self._nodes.items() if now - node.heard_at > FORGOTTEN]
            self.forget(silent)
        return len(self._nodes) < self._nodes_max


def digest(authorization: bytes | None) -> bytes:
    """What is kept of a caller's ``Authorization`` header; None: it sent none."""
    return sha256(b"" if authorization is None else b"\0" + authorization).digest()
