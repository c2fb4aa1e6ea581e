"""A journal in this process's memory, held to the same contract as one on a disk.

The simulator runs whole weeks against it, and tests need no folder. Facts are really encoded and
decoded, so what would not survive a disk does not survive here; nothing else is durable: the bytes
end with the object.

The contract's methods are thin covers of the `..._now` ones, which need no event loop, wait for
nobody and ask for no hold: a simulator is one thread that crashes and resumes control planes over
the same object. The same facts in the same order give the same `raw` bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate

from navarch.core.model import events as facts
from navarch.core.model.events import Event
from navarch.errors import JournalConflict, JournalError
from navarch.stores.base import (
    SNAPSHOTS_KEPT,
    Kept,
    Loaded,
    Recorded,
    Snapshot,
    check_question,
    not_empty,
)


class MemoryStore:
    """A journal and its history in memory; `navarch.stores.base` has the contract."""

    def __init__(self, *, holder: str = "") -> None:
        """Begin empty; `holder` is what a second `open` is told about the first."""
        self._holder = holder
        self._is_held = False
        self._records: list[bytes] = []
        self._forgotten = 0
        self._snapshots: list[Snapshot] = []

    # --- the contract ----------------------------------------------------------------------

    async def open(self) -> None:
        """Take the hold. Raises JournalConflict while it is held."""
        if self._is_held:
            raise JournalConflict(
                f"the journal in memory is held by {self._holder or 'another control plane'}: "
                "close it first"
            )
        self._is_held = True

    async def load(self) -> Loaded:
        """Return the newest snapshot and every fact after it."""
        self._check_held()
        return self.load_now()

    async def append(self, events: Sequence[Event], *, after: int) -> int:
        """Add `events` behind fact `after` and return the new last sequence number."""
        self._check_held()
        return self.append_now(events, after=after)

    async def snapshot(self, seq: int, state: bytes) -> None:
        """Keep `state` as the fold of all facts up to and including `seq`."""
        self._check_held()
        self.snapshot_now(seq, state)

    async def read(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 1000,
        subject: str | None = None,
        since: datetime | None = None,
        newest_first: bool = False,
    ) -> list[Recorded]:
        """Return up to `limit` facts; see `History.read`. Cost: O(facts), there is no index."""
        self._check_held()
        return self.read_now(
            after=after,
            before=before,
            limit=limit,
            subject=subject,
            since=since,
            newest_first=newest_first,
        )

    async def last_seq(self) -> int:
        """Return the sequence number of the newest fact, 0 for an empty journal."""
        self._check_held()
        return self.last_seq_now

    async def forget(self, *, before: datetime, keep_bytes: int | None = None) -> int:
        """Remove the oldest facts and return how many; see `History.forget`. Cost: O(facts)."""
        self._check_held()
        return self.forget_now(before=before, keep_bytes=keep_bytes)

    async def snapshots(self) -> list[Kept]:
        """Return all snapshots, the oldest first."""
        self._check_held()
        return [Kept(each.seq, each.state) for each in self._snapshots]

    async def restore(
        self, first: int, snapshots: Sequence[Snapshot], pages: Iterable[Sequence[Recorded]]
    ) -> int:
        """Fill the empty journal; see `Restorable.restore`."""
        self._check_held()
        if self.last_seq_now or self._snapshots:
            raise not_empty("in memory")
        records = [facts.encode(each.event) for page in pages for each in page]
        self._records, self._forgotten = records, first - 1
        self._snapshots = list(snapshots)
        return self.last_seq_now

    async def close(self) -> None:
        """Free the hold. The facts stay for the next `open` of this object."""
        self._is_held = False

    # --- the same without an event loop ----------------------------------------------------

    @property
    def raw(self) -> bytes:
        """All facts as they were encoded, oldest first, one a line.

        Equal runs have equal bytes. Cost: O(facts).
        """
        return b"".join(record + b"\n" for record in self._records)

    @property
    def last_seq_now(self) -> int:
        """The sequence number of the newest fact, 0 for an empty journal."""
        return self._forgotten + len(self._records)

    def load_now(self) -> Loaded:
        """Do what `load` does."""
        snapshot = self._snapshots[-1] if self._snapshots else None
        start = snapshot.seq if snapshot else 0
        return Loaded(snapshot, list(self._facts(start + 1)), self.last_seq_now)

    def append_now(self, events: Sequence[Event], *, after: int) -> int:
        """Do what `append` does."""
        if after != self.last_seq_now:
            raise JournalConflict(
                f"the journal in memory ends at fact {self.last_seq_now}, not at {after}: another "
                "control plane has written to it"
            )
        self._records += [facts.encode(event) for event in events]
        return self.last_seq_now

    def snapshot_now(self, seq: int, state: bytes) -> None:
        """Do what `snapshot` does."""
        newest = self._snapshots[-1].seq if self._snapshots else 0
        if not newest <= seq <= self.last_seq_now:
            raise JournalError(
                f"a snapshot at {seq} is refused, it must lie between the newest snapshot "
                f"({newest}) and the newest fact ({self.last_seq_now})"
            )
        older = [snapshot for snapshot in self._snapshots if snapshot.seq != seq]
        self._snapshots = [*older, Snapshot(seq, state)][-SNAPSHOTS_KEPT:]

    def read_now(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 1000,
        subject: str | None = None,
        since: datetime | None = None,
        newest_first: bool = False,
    ) -> list[Recorded]:
        """Do what `read` does."""
        check_question(limit, since)
        found: list[Recorded] = []
        for record in self._facts(after + 1, before, newest_first=newest_first):
            if subject is not None and subject not in facts.subjects(record.event):
                continue
            if since is not None and record.event.at < since:
                continue
            found.append(record)
            if len(found) == limit:
                break
        return found

    def forget_now(self, *, before: datetime, keep_bytes: int | None = None) -> int:
        """Do what `forget` does."""
        folded = self._snapshots[-1].seq if self._snapshots else 0
        count = max(self._older_than(before), self._beyond(keep_bytes))
        count = min(count, max(folded - self._forgotten, 0))
        del self._records[:count]
        self._forgotten += count
        return count

    def _facts(
        self, first: int, before: int | None = None, *, newest_first: bool = False
    ) -> Iterator[Recorded]:
        end = self.last_seq_now + 1
        places = range(max(first, self._forgotten + 1), end if before is None else min(before, end))
        for seq in reversed(places) if newest_first else places:
            yield Recorded(seq, facts.decode(self._records[seq - self._forgotten - 1]))

    def _older_than(self, before: datetime) -> int:
        """Count the leading facts that happened before `before`."""
        for count, record in enumerate(self._facts(1)):
            if record.event.at >= before:
                return count
        return len(self._records)

    def _beyond(self, keep_bytes: int | None) -> int:
        """Count the leading facts that do not fit when the newest may fill `keep_bytes`."""
        if keep_bytes is None:
            return 0
        sizes = accumulate(len(record) for record in reversed(self._records))
        return sum(size > keep_bytes for size in sizes)

    def _check_held(self) -> None:
        if not self._is_held:
            raise JournalError("the journal in memory is not open: open it first")
