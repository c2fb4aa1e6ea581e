"""The journal as one SQLite file on this machine: the default store.

SQLite gives what a journal needs with nothing to install: atomic commits, one file to copy, tools
that everyone has. This module decides which thread touches the file and when; `ledger` knows the
rows, `schema` the tables, `hold` the lock and `faults` the words for what goes wrong.

Two threads, each with a connection of its own:

- The *writer* does everything that changes the file, and the load. Appends that arrive while it is
  busy wait in a queue and are committed together (group commit): the flush is what an append
  costs, and one flush serves them all. Each is still checked against its own `after`.
- The *reader* answers history questions. In WAL mode a reader sees the last commit and blocks no
  writer, so a long question never delays an append; it only keeps the log from being folded into
  the main file for as long as it lasts, which `limit` bounds.

An append returns after a flushed commit (WAL, ``synchronous=FULL``) and after the hold has noted
its number. A process that dies at any point leaves a file that opens without care.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from navarch.core.model.events import Event
from navarch.errors import JournalError
from navarch.stores.base import Kept, Loaded, Recorded, Snapshot, check_question
from navarch.stores.hold import Hold
from navarch.stores.ledger import HistoryFile, JournalFile
from navarch.stores.rows import Batch

GROUP_FACTS_MAX = 10_000
"""A group commit takes no further append once it has this many facts, so that none waits long."""

FORGET_SLICE = 1_000
"""Facts that retention removes in one transaction, so that appends get their turn in between."""

_T = TypeVar("_T")
_Waiting = tuple[Batch, "Future[int]"]


class SqliteStore:
    """A journal and its history in the file `path`; `navarch.stores.base` has the contract."""

    def __init__(
        self, path: str | Path, *, holder: str = "", busy: timedelta = timedelta(seconds=5)
    ) -> None:
        """Name the file; nothing is touched before `open`.

        `holder` is what a second control plane is told about this one ("pid 4242 on host a since
        ..."), empty for "another process". `busy` is how long to wait for other programs that
        lock the database, such as a backup.
        """
        self.path = Path(path).absolute()
        self._holder = holder
        self._busy = busy
        self._session: _Session | None = None

    async def open(self) -> None:
        """Take the hold and open the file, creating it and its folders when they do not exist.

        Raises JournalConflict while it is held, by this object too, and JournalError when it
        cannot be used: a folder, read-only, another program's, damaged.
        """
        session = _Session(self.path, self._holder, self._busy)
        try:
            await session.write(session.take)
            await session.ask(session.look)
        except BaseException:
            session.abandon()
            raise
        self._session = session

    async def load(self) -> Loaded:
        """Return the newest usable snapshot and every fact after it."""
        session = self._opened()
        return await session.write(session.load)

    async def append(self, events: Sequence[Event], *, after: int) -> int:
        """Add `events` behind fact `after`; see `Journal.append`.

        Cancelled before the writer reached it, nothing was kept; later, it may have been.
        """
        return await asyncio.wrap_future(self._opened().enqueue(Batch.of(events, after=after)))

    async def snapshot(self, seq: int, state: bytes) -> None:
        """Keep `state` as the fold of all facts up to and including `seq`."""
        session = self._opened()
        await session.write(lambda: session.journal.snapshot(seq, state))

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
        """Return up to `limit` facts; see `History.read`.

        Cost: O(log facts + answer). A clock that once ran ahead makes `since` pass over the facts
        that were taken meanwhile.
        """
        check_question(limit, since)
        session = self._opened()
        return await session.ask(
            lambda: session.history.read(
                after=after,
                before=before,
                limit=limit,
                subject=subject,
                since=since,
                newest_first=newest_first,
            )
        )

    async def last_seq(self) -> int:
        """Return the sequence number of the newest fact, 0 for an empty journal."""
        session = self._opened()
        return await session.ask(session.history.last_seq)

    def size_bytes(self) -> int:
        """Bytes of the file and its log on the disk. Cost: O(1)."""
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(each.stat().st_size for each in files if each.exists())

    async def forget(self, *, before: datetime, keep_bytes: int | None = None) -> int:
        """Remove the oldest facts and return how many; see `History.forget`.

        The file does not shrink: its free pages are used again. Facts go in slices, so a crash
        on the way leaves fewer facts and no hole. Cost: O(removed).
        """
        session = self._opened()
        up_to = await session.write(
            lambda: session.journal.forgettable(before=before, keep_bytes=keep_bytes)
        )
        removed = 0
        while True:
            gone = await session.write(
                lambda: session.journal.remove(up_to=up_to, limit=FORGET_SLICE)
            )
            if gone == 0:
                return removed
            removed += gone

    async def snapshots(self) -> list[Kept]:
        """Return all snapshots, the oldest first."""
        session = self._opened()
        return await session.ask(session.history.snapshots)

    async def restore(
        self, first: int, snapshots: Sequence[Snapshot], pages: Iterable[Sequence[Recorded]]
    ) -> int:
        """Fill the empty journal; see `Restorable.restore`. `pages` is read by the writer."""
        session = self._opened()
        return await session.write(lambda: session.restore(first, snapshots, pages))

    async def close(self) -> None:
        """Finish what is queued, close the file and free the hold; nothing when not open."""
        session, self._session = self._session, None
        if session is not None:
            try:
                await session.ask(session.look_away)
            finally:
                await session.write(session.drop)
                session.end()

    def _opened(self) -> _Session:
        if self._session is None:
            raise JournalError(f"journal {self.path} is not open: open it first")
        return self._session


class SqliteReading:
    """A journal file as others read it while its holder writes: it takes no hold, changes nothing.

    Blocks whoever asks: it is for programs that do nothing else.
    """

    def __init__(self, path: str | Path) -> None:
        """Open the existing file. Raises JournalError when there is none, or it is another's."""
        self.path = Path(path).absolute()
        if not self.path.is_file():
            raise JournalError(f"journal {self.path} does not exist: name an existing file")
        self.name = f"sqlite:///{self.path}"
        self._history = HistoryFile.open(self.path, busy=timedelta(seconds=5))

    async def read(self, *, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Return up to `limit` facts with a number above `after`, oldest first."""
        return self._history.read(
            after=after, limit=limit, subject=None, since=None, newest_first=False
        )

    async def last_seq(self) -> int:
        """Return the sequence number of the newest fact, 0 for an empty journal."""
        return self._history.last_seq()

    async def snapshots(self) -> list[Kept]:
        """Return all snapshots, the oldest first."""
        return self._history.snapshots()

    async def close(self) -> None:
        """Close the file."""
        self._history.close()


class _Session:
    """One open journal file: its hold, its two connections and their threads.

    Methods without `async` run on the thread that the comment above them names.
    """

    journal: JournalFile
    history: HistoryFile

    def __init__(self, path: Path, holder: str, busy: timedelta) -> None:
        self._path = path
        self._holder = holder
        self._busy = busy
        self._hold: Hold | None = None
        self._waiting: deque[_Waiting] = deque()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal-writer")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="journal-reader")

    # The event loop's thread.

    async def write(self, job: Callable[[], _T]) -> _T:
        """Run `job` on the writer, behind everything that waits there."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, job)

    async def ask(self, job: Callable[[], _T]) -> _T:
        """Run `job` on the reader."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, job)

    def enqueue(self, batch: Batch) -> Future[int]:
        """Queue an append. The writer takes all that are queued by the time it gets there."""
        answer: Future[int] = Future()
        self._waiting.append((batch, answer))
        self._writer.submit(self._commit_waiting)
        return answer

    def abandon(self) -> None:
        """Let go of whatever was opened, as soon as the threads have ended what they are at."""
        self._reader.submit(self.look_away)
        self._reader.shutdown(wait=True)
        self._writer.submit(self.drop)
        self._writer.shutdown(wait=True)

    def end(self) -> None:
        """End both threads, which have nothing left to do."""
        self._reader.shutdown()
        self._writer.shutdown()

    # The reader's thread.

    def look(self) -> None:
        """Open the reading connection."""
        self.history = HistoryFile.open(self._path, busy=self._busy)

    def look_away(self) -> None:
        """Close the reading connection, if there is one."""
        if hasattr(self, "history"):
            self.history.close()

    # The writer's thread.

    def take(self) -> None:
        """Take the hold and open the writing connection."""
        _prepare_place(self._path)
        self._hold = Hold.take(self._path, self._holder)
        self.journal = JournalFile.open(self._path, busy=self._busy)

    def drop(self) -> None:
        """Close the writing connection and free the hold, as far as they were taken."""
        hold, self._hold = self._hold, None
        try:
            if hasattr(self, "journal"):
                self.journal.close()
        finally:
            if hold is not None:
                hold.free()

    def load(self) -> Loaded:
        """Load, and hold the file to what was acknowledged."""
        return self.journal.load(acknowledged=self._held().acknowledged)

    def restore(
        self, first: int, snapshots: Sequence[Snapshot], pages: Iterable[Sequence[Recorded]]
    ) -> int:
        """Fill the file, and note how far it goes."""
        last = self.journal.restore(first, snapshots, pages)
        self._held().acknowledge(last)
        return last

    def _commit_waiting(self) -> None:
        group = self._take_group()
        try:
            answers = self.journal.append([batch for batch, _ in group]) if group else []
            written = [answer for answer in answers if isinstance(answer, int)]
            self._held().acknowledge(max(written, default=0))
        except BaseException as error:  # noqa: BLE001 - not swallowed: every caller gets it
            for _, waiter in group:
                waiter.set_exception(error)
            return
        for (_, waiter), answer in zip(group, answers, strict=True):
            if isinstance(answer, int):
                waiter.set_result(answer)
            else:
                waiter.set_exception(answer)

    def _take_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._waiting and size < GROUP_FACTS_MAX:
            batch, answer = self._waiting.popleft()
            if answer.set_running_or_notify_cancel():  # else its caller was cancelled while waiting
                group.append((batch, answer))
                size += len(batch.facts)
        return group

    def _held(self) -> Hold:
        assert self._hold is not None, "the journal is written without its hold"
        return self._hold


def _prepare_place(path: Path) -> None:
    if path.is_dir():
        raise JournalError(f"journal {path} is a folder: name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JournalError(
            f"journal {path}: its folder cannot be made: {error.strerror} ({error.filename}); "
            "make it, or use another --data"
        ) from error
    # Asked first, because SQLite would open it for reading and leave read-only files beside it.
    if path.exists() and not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise JournalError(
            f"journal {path} is read-only or not readable: make the file yours and writable, or "
            "use another --data"
        )
