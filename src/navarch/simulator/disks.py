"""Disks: a journal that cannot be written for a while, because the disk is full."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from msgspec import Struct

from navarch.core.model.events import Event
from navarch.errors import JournalError
from navarch.simulator.dice import Stream
from navarch.simulator.markets import MINUTE, SECOND
from navarch.stores.memory import MemoryStore


class FullDisk(Struct, frozen=True):
    """A time for which there is no room."""

    begins: timedelta
    lasts: timedelta


class Disk(MemoryStore):
    """A journal on a disk that may be full; what is there can be read all the same."""

    def __init__(self) -> None:
        """Begin empty, with room."""
        super().__init__()
        self.is_full = False

    def append_now(self, events: Sequence[Event], *, after: int) -> int:
        """Do what `append` does. Raises JournalError while the disk is full."""
        self._check_room()
        return super().append_now(events, after=after)

    def snapshot_now(self, seq: int, state: bytes) -> None:
        """Do what `snapshot` does. Raises JournalError while the disk is full."""
        self._check_room()
        super().snapshot_now(seq, state)

    def _check_room(self) -> None:
        if self.is_full:
            raise JournalError("the journal in memory: the disk is full, nothing was kept")


def draw_full_disks(rolls: Stream, lasts: timedelta) -> tuple[FullDisk, ...]:
    """Draw when the disk of the journal is full; in most runs it never is."""
    count = rolls.integer(1, 2) if rolls.chance(0.15) else 0
    return tuple(
        FullDisk(rolls.between(MINUTE, lasts), rolls.between(5 * SECOND, 3 * MINUTE))
        for _ in range(count)
    )
