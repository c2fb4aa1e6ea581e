"""Heartbeats that wait for the next batch: of each node the newest, within a bound of bytes.

A heartbeat is held as the bytes of a ``HeartbeatRequest``. A batch is these bytes, each behind its
tag and length, one after the other, so that nothing is read or written twice on the way
(protobuf.dev/programming-guides/encoding, "Length-Delimited Records", read 2026-11-22).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

BATCH_HEARTBEATS_MAX: Final = 10_000
"""Heartbeats of one batch: what a control plane takes."""

BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of one batch: what a control plane reads."""

BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes that may wait: 20,000 nodes of eight GPUs that serve two replicas are 15 MB."""

_TAG: Final = b"\x0a"
"""Field 1, length-delimited: ``HeartbeatBatchRequest.heartbeats``."""


class Held(Struct, frozen=True):
    """One heartbeat."""

    received_at: float
    """Seconds, by our own clock."""
    body: bytes


Batch = dict[str, Held]
"""Heartbeats by node."""


class Full(Exception):
    """There is no room for another heartbeat."""


class Gathering:
    """The newest heartbeat of each node, in the order in which nodes began to wait."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        """Hold at most `bytes_max` of heartbeats."""
        self._bytes_max = bytes_max
        self._held: Batch = {}
        self._bytes = 0

    def __len__(self) -> int:
        """How many nodes wait."""
        return len(self._held)

    def __contains__(self, node_id: str) -> bool:
        """Whether a heartbeat of this node waits."""
        return node_id in self._held

    @property
    def size(self) -> int:
        """How many bytes wait."""
        return self._bytes

    def add(self, node_id: str, body: bytes, now: float) -> None:
        """Hold a heartbeat in the place of an older one of the same node.

        Raises `Full`, and holds the older one still.
        """
        older = self._held.get(node_id)
        grown = self._bytes + len(body) - (len(older.body) if older is not None else 0)
        if grown > self._bytes_max:
            raise Full
        self._held[node_id] = Held(now, body)
        self._bytes = grown

    def discard(self, node_id: str) -> None:
        """Hold nothing of this node any more."""
        held = self._held.pop(node_id, None)
        if held is not None:
            self._bytes -= len(held.body)

    def expire(self, since: float) -> int:
        """Hold nothing any more that is older than `since`; return how many that were."""
        old = [node_id for node_id, held in self._held.items() if held.received_at < since]
        for node_id in old:
            self.discard(node_id)
        return len(old)

    def take(self) -> list[Batch]:
        """Give everything away, in batches that a control plane takes, oldest first."""
        batches: list[Batch] = []
        size = BATCH_BYTES_MAX + 1
        for node_id, held in self._held.items():
            more = _framed_bytes(held.body)
            if size + more > BATCH_BYTES_MAX or len(batches[-1]) >= BATCH_HEARTBEATS_MAX:
                batches.append({})
                size = 0
            batches[-1][node_id] = held
            size += more
        self._held, self._bytes = {}, 0
        return batches

    def give_back(self, batches: Iterable[Batch], *, since: float) -> int:
        """Hold again what could not be passed on, but for what is older than `since`.

        A node that has spoken meanwhile keeps its newer heartbeat. Returns how many were dropped:
        a sighting must not be told as fresh when it is not, and what finds no room is told again
        by its node.
        """
        fresher, self._held, self._bytes = self._held, {}, 0
        dropped = 0
        for batch in batches:
            for node_id, held in batch.items():
                if node_id in fresher:
                    continue
                if held.received_at < since or self._bytes + len(held.body) > self._bytes_max:
                    dropped += 1
                    continue
                self._held[node_id] = held
                self._bytes += len(held.body)
        for node_id, held in fresher.items():
            if self._bytes + len(held.body) > self._bytes_max:
                dropped += 1
                continue
            self._held[node_id] = held
            self._bytes += len(held.body)
        return dropped


def fits(body: bytes) -> bool:
    """Whether a heartbeat can be part of any batch."""
    return _framed_bytes(body) <= BATCH_BYTES_MAX


def encoded(bodies: Iterable[bytes]) -> bytes:
    """Write heartbeats as one ``HeartbeatBatchRequest``."""
    parts: list[bytes] = []
    for body in bodies:
        parts += (_TAG, _varint(len(body)), body)
    return b"".join(parts)


def halves(batch: Batch) -> Sequence[Batch]:
    """Split a batch of two or more."""
    items = list(batch.items())
    middle = len(items) // 2
    return dict(items[:middle]), dict(items[middle:])


def _framed_bytes(body: bytes) -> int:
    return 1 + (max(len(body).bit_length(), 1) + 6) // 7 + len(body)


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
