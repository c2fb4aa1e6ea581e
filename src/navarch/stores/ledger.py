"""The rows of a SQLite journal: adding, reading and judging them, on one connection.

`HistoryFile` reads and `JournalFile` also writes; both are plain blocking code for one thread at a
time, and `sqlite` decides which thread. Nothing here believes what it reads: every row is checked
against its checksum, its place and its decoder, and the first bad one ends the question with
JournalCorrupt. A list with a hole in it is never an answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from msgspec import DecodeError

from navarch.core.model import events
from navarch.errors import JournalConflict, JournalCorrupt, JournalError
from navarch.stores import faults, schema
from navarch.stores.base import (
    SNAPSHOTS_KEPT,
    Kept,
    Loaded,
    Recorded,
    Snapshot,
    microseconds,
    not_empty,
)
from navarch.stores.rows import Batch, Row, Tail, checksum, is_intact, tail_of

_ROW = "SELECT seq, total_bytes, latest_us, crc, raw FROM fact "
_UP = _ROW + "WHERE seq >= ? AND seq < ? ORDER BY seq"
_DOWN = _UP + " DESC"
_BEYOND: Final = 2**62
"""A number that no fact has."""
_OLDEST = _ROW + "WHERE seq <= ? ORDER BY seq LIMIT ?"
# The join is outer: an index entry whose fact is gone is damage, not an absence.
_ABOUT_UP = (
    "SELECT s.seq, total_bytes, latest_us, crc, raw FROM fact_subject AS s "
    "LEFT JOIN fact ON fact.seq = s.seq WHERE s.subject = ? AND s.seq >= ? AND s.seq < ? "
    "ORDER BY s.seq"
)
_ABOUT_DOWN = _ABOUT_UP + " DESC"
# Two questions, because SQLite answers min and max in one by reading the whole table.
_ENDS = "SELECT (SELECT min(seq) FROM fact), (SELECT max(seq) FROM fact)"


def connect(journal: Path, *, mode: str, busy: timedelta) -> sqlite3.Connection:
    """Open `journal` in SQLite's `mode` ("rwc" or "ro"), waiting up to `busy` for its locks."""
    db = sqlite3.connect(
        f"{journal.as_uri()}?mode={mode}",
        uri=True,
        timeout=busy.total_seconds(),
        isolation_level=None,  # transactions begin where we say so
    )
    db.text_factory = bytes  # a damaged text column is judged by us, not by a failing decoder
    db.execute("PRAGMA cell_size_check = ON")  # damage is found before it is followed
    db.execute("PRAGMA trusted_schema = OFF")
    return db


class HistoryFile:
    """The reading side: facts by place, time and subject."""

    def __init__(self, journal: Path, db: sqlite3.Connection) -> None:
        """Read `journal` through `db`, which this object owns from now on."""
        self._journal = journal
        self._db = db

    @classmethod
    def open(cls, journal: Path, *, busy: timedelta) -> HistoryFile:
        """Open an existing journal for reading. Raises JournalError when that fails."""
        with faults.translated(journal):
            return cls(journal, connect(journal, mode="ro", busy=busy))

    def close(self) -> None:
        """Close the connection. Raises JournalError when SQLite cannot."""
        with faults.translated(self._journal):
            self._db.close()

    def last_seq(self) -> int:
        """Return the sequence number of the newest fact, 0 when there is none."""
        with faults.translated(self._journal):
            return self._last_seq()

    def snapshots(self) -> list[Kept]:
        """Return all snapshots, the oldest first; a damaged one without its state."""
        with faults.translated(self._journal):
            rows = self._db.execute("SELECT seq, crc, state FROM snapshot ORDER BY seq").fetchall()
        return [
            Kept(seq, state if is_intact(crc, state, seq) else None) for seq, crc, state in rows
        ]

    def read(
        self,
        *,
        after: int,
        before: int | None = None,
        limit: int,
        subject: str | None,
        since: datetime | None,
        newest_first: bool,
    ) -> list[Recorded]:
        """Answer `History.read`. Cost: O(log facts + answer), and what `since` must pass over."""
        with self._transaction("BEGIN"):
            first = max(after + 1, self._ends()[0])
            if since is not None:
                first = max(first, self._first_since(microseconds(since)))
            found: list[Recorded] = []
            end = _BEYOND if before is None else before
            for record in self._scan(first, end, subject=subject, newest_first=newest_first):
                if since is None or record.event.at >= since:
                    found.append(record)
                    if len(found) == limit:
                        break
            return found

    def _scan(
        self, first: int, end: int, *, subject: str | None, newest_first: bool
    ) -> Iterator[Recorded]:
        if subject is None:
            return self._scan_all(first, end, newest_first=newest_first)
        rows = self._db.execute(_ABOUT_DOWN if newest_first else _ABOUT_UP, (subject, first, end))
        return (self._about(Row(*row), subject) for row in rows)

    def _scan_all(
        self, first: int, end: int = _BEYOND, *, newest_first: bool = False
    ) -> Iterator[Recorded]:
        """Yield every fact from `first` on and before `end`, in order; a hole is damage."""
        step = -1 if newest_first else 1
        expected = min(self._last_seq(), end - 1) if newest_first else first
        try:
            for row in self._db.execute(_DOWN if newest_first else _UP, (first, end)):
                if row[0] != expected:
                    raise faults.damage(self._journal, expected, "it is missing")
                yield self._record(Row(*row))
                expected += step
        except sqlite3.DatabaseError:
            with faults.translated(self._journal, first_bad=expected):
                raise

    def _about(self, row: Row, subject: str) -> Recorded:
        record = self._record(row)
        if subject not in events.subjects(record.event):
            raise faults.damage(self._journal, row.seq, f"it is not about {subject!r}")
        return record

    def _record(self, row: Row) -> Recorded:
        if not row.is_intact():
            raise faults.damage(self._journal, row.seq, "its checksum does not fit")
        try:
            return Recorded(row.seq, events.decode(row.raw))
        except DecodeError as error:
            raise faults.damage(
                self._journal, row.seq, f"this version cannot decode it ({error})"
            ) from error

    def _row(self, seq: int) -> Row:
        found = self._db.execute(_ROW + "WHERE seq = ?", (seq,)).fetchone()
        if found is None or not Row(*found).is_intact():
            raise faults.damage(self._journal, seq, "it is missing or its checksum does not fit")
        return Row(*found)

    def _ends(self) -> tuple[int, int]:
        """Return the first sequence number there is, and the one after the last."""
        first, last = self._db.execute(_ENDS).fetchone()
        if first is not None:
            return first, last + 1
        # Retention may have taken every fact: then the newest snapshot knows how far they went.
        folded = self._db.execute("SELECT max(seq) FROM snapshot").fetchone()[0] or 0
        return folded + 1, folded + 1

    def _last_seq(self) -> int:
        return self._ends()[1] - 1

    def _first_since(self, moment_us: int) -> int:
        return self._first(lambda row: row.latest_us >= moment_us)

    def _first(self, reached: Callable[[Row], bool]) -> int:
        """Return the first fact for which `reached` holds, or the one after the last.

        `reached` must never turn false again as `seq` grows. Cost: O(log facts) rows.
        """
        low, high = self._ends()
        while low < high:
            middle = (low + high) // 2
            if reached(self._row(middle)):
                high = middle
            else:
                low = middle + 1
        return low

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        with faults.translated(self._journal):
            self._db.execute(begin)
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite has ended it itself after some errors
                    self._db.execute("ROLLBACK")
                raise


class JournalFile(HistoryFile):
    """The writing side: appends, snapshots and retention, and the load after a restart."""

    @classmethod
    def open(cls, journal: Path, *, busy: timedelta) -> JournalFile:
        """Open or create the journal and bring it to the present layout.

        Raises JournalError when it cannot be opened or belongs to somebody else.
        """
        with faults.translated(journal):
            db = connect(journal, mode="rwc", busy=busy)
            try:
                _use_write_ahead_log(journal, db)
                # Every commit is flushed: an append that returned is on the disk.
                db.execute("PRAGMA synchronous = FULL")
                schema.migrate(db, journal)
            except BaseException:
                db.close()
                raise
            return cls(journal, db)

    def load(self, *, acknowledged: int) -> Loaded:
        """Return what `Journal.load` promises.

        `acknowledged` is the highest sequence number known to have been promised; a journal that
        ends before it has lost facts, which is JournalCorrupt like any other damage.
        """
        with self._transaction("BEGIN"):
            snapshot, damaged = self._usable_snapshot()
            start = snapshot.seq if snapshot else 0
            if self._last_seq() < start:
                raise faults.damage(self._journal, self._last_seq() + 1, "it is missing")
            facts = list(self._scan_all(start + 1))
            last = facts[-1].seq if facts else start
            self._check_end(last, max([acknowledged, *damaged]))
            return Loaded(snapshot, facts, last, damaged)

    def append(self, batches: Sequence[Batch]) -> list[int | JournalConflict]:
        """Write all `batches` in one transaction and return each one's answer, in order.

        A batch that does not follow the fact before it is answered with its JournalConflict and
        left out; the others go in. Raises JournalError when nothing at all was written.
        """
        rows: list[Row] = []
        index: list[tuple[str, int]] = []
        answers: list[int | JournalConflict] = []
        with self._transaction("BEGIN IMMEDIATE"):
            tail = self._tail()
            for batch in batches:
                if batch.after != tail.seq:
                    answers.append(self._conflict(batch.after, tail.seq))
                    continue
                tail = _continue(tail, batch, rows, index)
                answers.append(tail.seq)
            self._insert(rows, index)
        return answers

    def restore(
        self, first: int, snapshots: Sequence[Snapshot], pages: Iterable[Sequence[Recorded]]
    ) -> int:
        """Fill the empty journal, as `Restorable.restore` promises, in one transaction."""
        with self._transaction("BEGIN IMMEDIATE"):
            if self._last_seq() or self.snapshots():
                raise not_empty(self._journal)
            tail = Tail(first - 1)
            for page in pages:
                rows: list[Row] = []
                index: list[tuple[str, int]] = []
                batch = Batch.of([each.event for each in page], after=tail.seq)
                tail = _continue(tail, batch, rows, index)
                self._insert(rows, index)
            self._db.executemany(
                "INSERT INTO snapshot (seq, crc, state) VALUES (?, ?, ?)",
                [(each.seq, checksum(each.state, each.seq), each.state) for each in snapshots],
            )
            return max([tail.seq, *(each.seq for each in snapshots)])

    def _insert(self, rows: Sequence[Row], index: list[tuple[str, int]]) -> None:
        """Write rows, and which subjects they are about."""
        index.sort()  # neighbours in the tree share a page, which halves the cost of a row
        self._db.executemany(
            "INSERT INTO fact (seq, total_bytes, latest_us, crc, raw) VALUES (?, ?, ?, ?, ?)",
            rows,
        )
        self._db.executemany("INSERT INTO fact_subject VALUES (?, ?)", index)

    def snapshot(self, seq: int, state: bytes) -> None:
        """Keep `state` as `Journal.snapshot` promises."""
        with self._transaction("BEGIN IMMEDIATE"):
            newest = self._db.execute("SELECT max(seq) FROM snapshot").fetchone()[0] or 0
            last = self._last_seq()
            if not newest <= seq <= last:
                raise JournalError(
                    f"journal {self._journal}: a snapshot at {seq} is refused, it must lie between "
                    f"the newest snapshot ({newest}) and the newest fact ({last})"
                )
            self._db.execute(
                "INSERT OR REPLACE INTO snapshot (seq, crc, state) VALUES (?, ?, ?)",
                (seq, checksum(state, seq), state),
            )
            self._db.execute(
                "DELETE FROM snapshot WHERE seq NOT IN "
                "(SELECT seq FROM snapshot ORDER BY seq DESC LIMIT ?)",
                (SNAPSHOTS_KEPT,),
            )

    def forgettable(self, *, before: datetime, keep_bytes: int | None) -> int:
        """Return the newest fact that `History.forget` may remove, 0 when there is none."""
        with self._transaction("BEGIN"):
            snapshot, _ = self._usable_snapshot()
            first_kept = self._first_since(microseconds(before))
            if keep_bytes is not None:
                total = self._tail().total_bytes
                fits = self._first(lambda row: total - row.total_bytes + len(row.raw) <= keep_bytes)
                first_kept = max(first_kept, fits)
            return min(first_kept - 1, snapshot.seq if snapshot else 0)

    def remove(self, *, up_to: int, limit: int) -> int:
        """Remove up to `limit` of the oldest facts, none newer than `up_to`; return how many."""
        with self._transaction("BEGIN IMMEDIATE"):
            rows = self._db.execute(_OLDEST, (up_to, limit)).fetchall()
            if not rows:
                return 0
            facts = [self._record(Row(*row)) for row in rows]
            self._db.executemany(
                "DELETE FROM fact_subject WHERE subject = ? AND seq = ?",
                [(about, fact.seq) for fact in facts for about in set(events.subjects(fact.event))],
            )
            self._db.execute("DELETE FROM fact WHERE seq <= ?", (facts[-1].seq,))
            return len(facts)

    def _tail(self) -> Tail:
        first, end = self._ends()
        if first == end:
            return Tail(end - 1)
        return tail_of(self._row(end - 1))

    def _usable_snapshot(self) -> tuple[Snapshot | None, tuple[int, ...]]:
        """Return the newest intact snapshot, and the places of damaged ones that are newer."""
        damaged: list[int] = []
        for seq, crc, state in self._db.execute(
            "SELECT seq, crc, state FROM snapshot ORDER BY seq DESC"
        ):
            if is_intact(crc, state, seq):
                return Snapshot(seq, state), tuple(damaged)
            damaged.append(seq)
        return None, tuple(damaged)

    def _check_end(self, last: int, promised: int) -> None:
        if last < promised:
            raise JournalCorrupt(
                f"journal {self._journal} ends at fact {last}, but {promised} were acknowledged: "
                f"facts {last + 1} to {promised} are lost. Restore the file from a newer backup; "
                f"to carry on without them, remove {self._journal}.lock and start again",
                seq=last + 1,
            )

    def _conflict(self, after: int, last: int) -> JournalConflict:
        return JournalConflict(
            f"journal {self._journal} ends at fact {last}, not at {after}: another control plane "
            "has written to it; start again to take up its facts"
        )


def _use_write_ahead_log(journal: Path, db: sqlite3.Connection) -> None:
    mode: bytes = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != b"wal":
        raise JournalError(
            f"journal {journal}: its file system allows no write-ahead log (SQLite stays in "
            f"{mode.decode()} mode); put the data on a local disk"
        )


def _continue(tail: Tail, batch: Batch, rows: list[Row], index: list[tuple[str, int]]) -> Tail:
    """Add the rows of `batch` behind `tail` and return the new tail."""
    for fact in batch.facts:
        row = tail.then(fact.raw, fact.at_us)
        tail = tail_of(row)
        rows.append(row)
        index.extend((subject, row.seq) for subject in fact.about)
    return tail
