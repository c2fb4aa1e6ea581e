"""A fact as a row of a table: its number, its running sums and its checksum, in every database.

`total_bytes` is the size of all facts ever appended up to this one, and `latest_us` the latest
time that any of them carries. Both only grow with `seq`, so "since when" and "the last so many
bytes" are binary searches over the primary key.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from msgspec import Struct

from navarch.core.model import events
from navarch.core.model.events import Event
from navarch.stores.base import microseconds

LONG_AGO_US = -(2**63)
"""The least that a column holds: any fact is later."""


def checksum(payload: bytes, *place: int) -> int:
    """Return the CRC-32 of a row: its bytes and its numbers, so a moved row is bad too."""
    return crc32(payload, crc32(struct.pack(f">{len(place)}q", *place)))


def is_intact(crc: int, payload: bytes, *place: int) -> bool:
    """Tell whether a row is as it was written. Damage may also have changed its columns' types."""
    try:
        return checksum(payload, *place) == crc
    except (TypeError, struct.error):
        return False


class Row(NamedTuple):
    """A fact as it lies in its table; the fields are only as right as the table is."""

    seq: int
    total_bytes: int
    latest_us: int
    crc: int
    raw: bytes

    def is_intact(self) -> bool:
        """Tell whether the row is as it was written."""
        return is_intact(self.crc, self.raw, self.seq, self.total_bytes, self.latest_us)


class Tail(NamedTuple):
    """Where the next fact goes: what its row must continue."""

    seq: int
    total_bytes: int = 0
    latest_us: int = LONG_AGO_US

    def then(self, raw: bytes, at_us: int) -> Row:
        """Return the row of a fact of these bytes and this time that stands right behind."""
        seq = self.seq + 1
        total_bytes = self.total_bytes + len(raw)
        latest_us = max(self.latest_us, at_us)
        return Row(seq, total_bytes, latest_us, checksum(raw, seq, total_bytes, latest_us), raw)


class Encoded(NamedTuple):
    """A fact, ready to be written."""

    event: Event
    raw: bytes
    at_us: int
    """When it happened, in microseconds since 1970 UTC."""
    about: tuple[str, ...]
    """What it is about, without repeats."""


class Batch(Struct, frozen=True):
    """One caller's append, encoded and ready to be written."""

    after: int
    facts: list[Encoded]

    @classmethod
    def of(cls, facts: Sequence[Event], *, after: int) -> Batch:
        """Encode `facts`; what cannot be encoded fails here, before anything is written."""
        encode, subjects = events.encode, events.subjects
        return cls(
            after,
            [Encoded(f, encode(f), microseconds(f.at), tuple(set(subjects(f)))) for f in facts],
        )


def tail_of(row: Row) -> Tail:
    """Return what stands behind `row`."""
    return Tail(row.seq, row.total_bytes, row.latest_us)
