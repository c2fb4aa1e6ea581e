"""The journal in PostgreSQL: for a control plane with a standby, and for questions in SQL.

This module decides which connection does what and when; `postgres_journal` knows the rows,
`postgres_schema` the tables, `postgres_lease` who may write, and `postgres_link` the words for
what goes wrong. Four connections, each with work of its own:

- the *writer* appends. Appends that arrive while it is busy wait and are committed together (group
  commit): the flush is what an append costs, and one flush serves them all;
- the *lease* is renewed over another, so that a long append does not delay it;
- the *reader* answers history questions and loads;
- the *listener* hears of new facts (LISTEN), and asks once a second in case it does not.

The fence is in the database: see `postgres_lease`. A connection that breaks is made anew, and what
it was at is done again for as long as the lease counts: nobody else can have written meanwhile, so
the last fact tells whether a commit whose answer was lost has come through. A server that restarts
within the lease costs a wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from navarch.core.model.events import Event
from navarch.errors import JournalConflict, JournalError
from navarch.stores import postgres_brief, postgres_journal, postgres_models, postgres_schema
from navarch.stores.base import (
    Kept,
    Leader,
    Loaded,
    Projection,
    Recorded,
    Snapshot,
    check_question,
)
from navarch.stores.postgres_group import Append, Continuation, continuation
from navarch.stores.postgres_journal import Rows, Written
from navarch.stores.postgres_lease import Lease
from navarch.stores.postgres_link import (
    Address,
    Connection,
    Limits,
    Link,
    driver,
    is_broken,
    is_taken,
)
from navarch.stores.postgres_listener import Listener, channel_of
from navarch.stores.rows import Batch, Encoded, Row, Tail, tail_of
from navarch.telemetry.log import Log

LEASE = timedelta(seconds=6)
"""How long a lease counts after a renewal: so long at most nobody leads after a leader's death."""

RENEW_EVERY = timedelta(seconds=1.5)
"""How often it is renewed: three renewals may fail in a row before it is lost."""

STATEMENT_MAX = timedelta(seconds=60)
"""How long one statement may take: a snapshot of 100,000 nodes takes about one second."""

QUESTION_MAX = timedelta(seconds=20)
"""How long one statement of a question may take: a page of 5,000 facts takes 30 ms."""

RETRY_EVERY = timedelta(seconds=0.1)
"""How soon what a broken connection was at is tried again."""

GROUP_FACTS_MAX = 10_000
"""A group commit takes no further append once it has this many facts, so that none waits long."""

FORGET_SLICE = 1_000
"""Facts that retention removes in one transaction, so that appends get their turn in between."""

_NOTIFY = "SELECT pg_notify($1, $2)"
_T = TypeVar("_T")

log = Log(__name__)


def _no_text(_fact: Event) -> str:
    return ""


class PostgresStore:
    """A journal and its history in one schema of a database; see `navarch.stores.base`."""

    def __init__(
        self,
        url: str,
        *,
        stopwatch: Callable[[], float],
        holder: str = "",
        api_url: str = "",
        lease: timedelta = LEASE,
        renew_every: timedelta = RENEW_EVERY,
        describe: Callable[[Event], str] = _no_text,
        make: bool = True,
    ) -> None:
        """Name the database; nothing is reached before `connect`.

        `url` is ``postgresql://user@host/database?schema=navarch``. `stopwatch` returns seconds
        that only grow. `holder` and `api_url` are what others are told about who leads. `describe`
        says in a sentence what a fact means, for those who read the table of events. Without
        `make` the tables have to be there.

        Raises ConfigError for a URL that cannot be used, and where asyncpg is not installed.
        """
        driver()
        self.address = Address.parse(url)
        limits = Limits(connect=lease / 2, statement=STATEMENT_MAX)
        asked = Limits(connect=lease / 2, statement=QUESTION_MAX)
        brisk = Limits(connect=lease / 2, statement=lease)
        self._writer = Link(self.address, limits, "navarch writer")
        self._reader = Link(self.address, asked, "navarch reader")
        self._listener = Listener(Link(self.address, brisk, "navarch listener"), stopwatch)
        self._lease_link = Link(self.address, brisk, "navarch lease")
        self._lease = Lease(
            self._lease_link,
            holder=holder,
            url=api_url,
            duration=lease,
            renew_every=renew_every,
            stopwatch=stopwatch,
            on_lost=self._writer.drop,  # whatever it waits for, it waits in vain
        )
        self._describe = describe
        self._make = make
        self._patience = lease
        self._is_open = False
        self._signed: Connection | None = None
        self._tail: Tail | None = None
        """What stands behind our own last append; None: look. Nobody else writes in our term."""
        self._waiting: deque[Append] = deque()
        self._staged: Projection | None = None
        self._committing: asyncio.Task[None] | None = None

    # --- who leads -----------------------------------------------------------------------------

    async def connect(self) -> None:
        """Reach the database for reading, and make the tables where there are none."""
        if self._is_open:
            return
        try:
            async with self._reader.use(self._patience) as connection:
                await postgres_schema.prepare(connection, self.address, make=self._make)
        except BaseException:
            self._reader.drop()
            raise
        self._is_open = True

    async def leader(self) -> Leader | None:
        """Return whose lease has not run out, by the database's clock."""
        self._check_open()
        return await self._lease.leader()

    async def acquire(self) -> bool:
        """Take the lease when it is free or has run out; see `SharedStore.acquire`."""
        self._check_open()
        if not self._lease.held():
            self._tail = None
            self._writer.drop()  # its session may be the one that taking the lease ends
        return await self._lease.acquire()

    async def release(self) -> None:
        """Finish what is queued, and give the lease up."""
        await self._finish()
        await self._lease.release()

    def held(self) -> bool:
        """Tell whether the lease still counts, by our own clock."""
        return self._lease.held()

    async def lost(self) -> str:
        """Wait until the lease is lost, and return the reason."""
        return await self._lease.lost()

    # --- journal -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and take the lease.

        Raises JournalConflict, naming the leader, while the lease is held, by this object too.
        """
        await self.connect()
        try:
            if not self._lease.held() and await self.acquire():
                return
        except BaseException:
            await self.close()
            raise
        leader = await self._lease.leader()
        if not self._lease.held():
            await self.close()
        named = (leader.holder if leader else "") or "another control plane"
        where = f" at {leader.url}" if leader and leader.url else ""
        raise JournalConflict(
            f"journal {self.address} is held by {named}{where}: stop it first, or start as its "
            "standby"
        )

    async def load(self) -> Loaded:
        """Return the newest usable snapshot and every fact after it."""
        self._check_open()
        return await self._ask(lambda rows: rows.load())

    async def append(self, events: Sequence[Event], *, after: int) -> int:
        """Add `events` behind fact `after`; see `Journal.append`.

        Cancelled before the writer reached it, nothing was kept; later, it may have been.
        """
        self._check_open()
        self._lease.check()
        batch = Batch.of(events, after=after)
        staged, self._staged = self._staged, None
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(Append(batch, staged, answer))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_all())
        return await answer

    def stage(self, changed: Projection) -> None:
        """Write these records in the transaction of the next append."""
        if self._staged is None:
            self._staged = Projection()
        self._staged.add(changed)

    async def projected_seq(self) -> int:
        """Return the last fact that the tables of records show."""
        self._check_open()
        return await self._ask(lambda rows: rows.projected_seq())

    async def snapshot(self, seq: int, state: bytes) -> None:
        """Keep `state` as the fold of all facts up to and including `seq`."""
        self._check_open()
        self._lease.check()
        packed = await asyncio.to_thread(postgres_journal.packed, state)
        await self._write(lambda _, rows: rows.snapshot(seq, state, packed))

    # --- history -------------------------------------------------------------------------------

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
        """Return up to `limit` facts; see `History.read`. Cost: O(log facts + answer)."""
        check_question(limit, since)
        self._check_open()
        return await self._ask(
            lambda rows: rows.read(
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
        self._check_open()
        return await self._ask(lambda rows: rows.last_seq())

    async def forget(self, *, before: datetime, keep_bytes: int | None = None) -> int:
        """Remove the oldest facts and return how many; see `History.forget`.

        Facts go in slices, so a crash on the way leaves fewer facts and no hole.
        """
        self._check_open()
        self._lease.check()
        up_to = await self._ask(lambda rows: rows.forgettable(before=before, keep_bytes=keep_bytes))
        removed = 0
        while gone := await self._write(
            lambda _, rows: rows.remove(up_to=up_to, limit=FORGET_SLICE)
        ):
            removed += gone
        return removed

    async def snapshots(self) -> list[Kept]:
        """Return all snapshots, the oldest first."""
        self._check_open()
        return await self._ask(lambda rows: rows.snapshots())

    async def restore(
        self, first: int, snapshots: Sequence[Snapshot], pages: Iterable[Sequence[Recorded]]
    ) -> int:
        """Fill the empty journal in one transaction; see `Restorable.restore`."""
        self._check_open()
        self._lease.check()
        async with self._writing() as connection:
            self._tail = None
            rows = Rows(connection, self.address)
            return await rows.restore(first, snapshots, self._rows_of(first, pages))

    def _rows_of(self, first: int, pages: Iterable[Sequence[Recorded]]) -> Iterator[list[Written]]:
        tail = Tail(first - 1)
        for page in pages:
            written: list[Written] = []
            for fact in Batch.of([each.event for each in page], after=tail.seq).facts:
                row = tail.then(fact.raw, fact.at_us)
                tail = tail_of(row)
                written.append(self._row_of(row, fact))
            yield written

    def _row_of(self, row: Row, fact: Encoded) -> Written:
        return Written(row, fact.event, fact.about, self._describe(fact.event))

    async def wait_appended(self, after: int, timeout: timedelta) -> int:  # noqa: ASYNC109
        """Return the newest sequence number once it is above `after`, or at the `timeout`."""
        self._check_open()
        return await self._listener.wait(after, timeout)

    async def close(self) -> None:
        """Finish what is queued, give the lease up and end all connections."""
        if not self._is_open:
            return
        try:
            await self._finish()
            await self._lease.release()
        finally:
            self._is_open = False
            self._lease.forget()
            for link in (self._writer, self._reader, self._listener.link, self._lease_link):
                await link.close()

    # --- inside --------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What people call it: its URL, without a password."""
        return str(self.address)

    def _check_open(self) -> None:
        if not self._is_open:
            raise JournalError(f"journal {self.address} is not open: open it first")

    async def _ask(self, question: Callable[[Rows], Awaitable[_T]]) -> _T:
        """Ask over the reader; once more when its connection had broken, perhaps long ago."""
        try:
            async with self._reader.use() as connection:
                return await question(Rows(connection, self.address))
        except JournalError as error:
            if not is_broken(error) or isinstance(error.__cause__, TimeoutError):
                raise
        async with self._reader.use() as connection:
            return await question(Rows(connection, self.address))

    async def _write(
        self, job: Callable[[Connection, Rows], Awaitable[_T]], *, broke: bool = False
    ) -> _T:
        """Do `job` in a transaction behind the fence, again and again while connections break.

        It must see for itself whether it was done already. `broke`: it may have been begun before.
        """
        while True:
            self._lease.check()
            try:
                async with self._writing() as connection:
                    return await job(connection, Rows(connection, self.address))
            except JournalError as error:
                # Behind the fence, a row that is there already can only be our own.
                again = is_broken(error) or (broke and is_taken(error))
                if not again or not self._lease.held():
                    raise
                log.warning("write_retried", error=str(error))
                broke = True
            await asyncio.sleep(RETRY_EVERY.total_seconds())

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Connection]:
        """Give the writer's connection, in a transaction behind the fence."""
        async with self._signed_writer() as connection, connection.transaction():
            await self._lease.fence(connection)
            yield connection

    @asynccontextmanager
    async def _signed_writer(self) -> AsyncIterator[Connection]:
        """Give the writer's connection, which a successor knows to end."""
        async with self._writer.use() as connection:
            if connection is not self._signed:
                await self._lease.sign(connection)
                self._signed = connection
            yield connection

    async def _finish(self) -> None:
        if self._committing is not None and not self._committing.done():
            await asyncio.wait([self._committing])  # whoever gives up here ends no append

    async def _commit_all(self) -> None:
        while group := self._take_group():
            try:
                answers = await self._commit(group)
            except BaseException as error:  # noqa: BLE001 - not swallowed: every caller gets it
                told = self._reason(error)
                for append in group:
                    if not append.answer.done():
                        append.answer.set_exception(told)
                continue
            for append, answer in zip(group, answers, strict=True):
                if append.answer.done():
                    continue  # its caller was cancelled, and knows nothing
                if isinstance(answer, int):
                    append.answer.set_result(answer)
                else:
                    append.answer.set_exception(answer)

    def _reason(self, error: BaseException) -> BaseException:
        """Return what to say of a failed append: a lost lease explains a broken connection."""
        try:
            self._lease.check()
        except JournalConflict as lost:
            lost.__cause__ = error
            return lost
        return error

    def _take_group(self) -> list[Append]:
        group: list[Append] = []
        size = 0
        while self._waiting and size < GROUP_FACTS_MAX:
            append = self._waiting.popleft()
            if not append.answer.done():  # else its caller was cancelled while waiting
                group.append(append)
                size += len(append.batch.facts)
        return group

    async def _commit(self, group: Sequence[Append]) -> list[int | JournalConflict]:
        """Write a `group` in one transaction and return each one's answer, in order."""
        tried: Continuation | None = None
        tail, self._tail = self._tail, None
        if tail is not None:
            made = continuation(tail, group, self.address, self._row_of)
            if postgres_brief.is_brief(made):
                tried = made
                if await self._write_brief(made, after=tail.seq):
                    self._tail = made.tail
                    return made.answers

        async def job(connection: Connection, rows: Rows) -> list[int | JournalConflict]:
            nonlocal tried
            tail = await rows.tail()
            if tried is not None and tried.written and tail == tried.tail:
                return tried.answers  # it had come through, and only its answer was lost
            tried = continuation(tail, group, self.address, self._row_of)
            if tried.written:
                await rows.write(tried.written)
                if tried.changed is not None:
                    await postgres_models.project(
                        *(connection, self.address, tried.changed),
                        after=tail.seq,
                        seq=tried.tail.seq,
                    )
                await connection.execute(_NOTIFY, channel_of(self.address), str(tried.tail.seq))
            return tried.answers

        answers = await self._write(job, broke=tried is not None)
        self._tail = tried.tail if tried else None
        return answers

    async def _write_brief(self, made: Continuation, *, after: int) -> bool:
        """Write a small group in one statement; False when that has to be looked at closely.

        So it is after a connection broke: the group may have been written, or not.
        """
        self._lease.check()
        try:
            async with self._signed_writer() as connection:
                found = await postgres_brief.write(
                    *(connection, self.address.schema, channel_of(self.address), made),
                    term=self._lease.term,
                    after=after,
                )
        except JournalError as error:
            if not is_broken(error) or not self._lease.held():
                raise
            log.warning("write_retried", error=str(error))
            return False
        self._lease.check_term(found.term)
        return found.seq == after
