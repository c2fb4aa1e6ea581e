"""The journal in PostgreSQL: for a control plane with a standby, and for questions in SQL.

This module decides which connection does what and when; `postgres_journal` knows the rows,
`postgres_schema` the tables, `postgres_lease` who may write, and `postgres_link` the words for
what goes wrong. Four connections, each with work of its own:

- the *writer* appends. Appends that arrive while it is busy wait and are committed together (group
  commit): the flush is what an append costs, and one flush serves them all;
- the *lease* is renewed over another, so that a long append does not delay it;
- the *reader* answers history questions and loads;
- the *listener* hears of new facts (LISTEN), and asks once a second in case it does not.

The fence is in the database: see `postgres_lease`. A connection that breaks is made anew by the
next question. An append whose connection broke is an error: whether it was kept shows when the
journal is loaded again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from navarch.core.model.events import Event
from navarch.errors import JournalConflict, JournalError
from navarch.stores import postgres_journal, postgres_schema
from navarch.stores.base import Leader, Loaded, Recorded, check_question
from navarch.stores.postgres_journal import Rows
from navarch.stores.postgres_lease import Lease
from navarch.stores.postgres_link import Address, Connection, Limits, Link, driver
from navarch.stores.rows import Batch, Row, tail_of

LEASE = timedelta(seconds=6)
"""How long a lease counts after a renewal: so long at most nobody leads after a leader's death."""

RENEW_EVERY = timedelta(seconds=1.5)
"""How often it is renewed: three renewals may fail in a row before it is lost."""

STATEMENT_MAX = timedelta(seconds=60)
"""How long one statement may take: a snapshot of 100,000 nodes takes about one second."""

POLL_EVERY = timedelta(seconds=1)
"""How often the newest number is asked for where no notification comes."""

GROUP_FACTS_MAX = 10_000
"""A group commit takes no further append once it has this many facts, so that none waits long."""

FORGET_SLICE = 1_000
"""Facts that retention removes in one transaction, so that appends get their turn in between."""

_NOTIFY = "SELECT pg_notify($1, $2)"
_Written = list[tuple[Row, Event, tuple[str, ...], str]]


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
    ) -> None:
        """Name the database; nothing is reached before `connect`.

        `url` is ``postgresql://user@host/database?schema=navarch``. `stopwatch` returns seconds
        that only grow. `holder` and `api_url` are what others are told about who leads. `describe`
        says in a sentence what a fact means, for those who read the table of events.

        Raises ConfigError for a URL that cannot be used, and where asyncpg is not installed.
        """
        driver()
        self.address = Address.parse(url)
        limits = Limits(connect=lease / 2, statement=STATEMENT_MAX)
        brisk = Limits(connect=lease / 2, statement=lease)
        self._writer = Link(self.address, limits, "navarch writer")
        self._reader = Link(self.address, limits, "navarch reader")
        self._listener = Link(self.address, brisk, "navarch listener")
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
        self._patience = lease
        self._stopwatch = stopwatch
        self._is_open = False
        self._signed: Connection | None = None
        self._waiting: deque[tuple[Batch, asyncio.Future[int]]] = deque()
        self._committing: asyncio.Task[None] | None = None

    # --- who leads -----------------------------------------------------------------------------

    async def connect(self) -> None:
        """Reach the database for reading, and make the tables where there are none."""
        if self._is_open:
            return
        async with self._reader.use(self._patience) as connection:
            await postgres_schema.prepare(connection, self.address)
        self._is_open = True

    async def leader(self) -> Leader | None:
        """Return whose lease has not run out, by the database's clock."""
        self._check_open()
        return await self._lease.leader()

    async def acquire(self) -> bool:
        """Take the lease when it is free or has run out; see `SharedStore.acquire`."""
        self._check_open()
        if not self._lease.held():
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
        if not self._lease.held() and await self._lease.acquire():
            return
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
        async with self._reader.use() as connection:
            return await Rows(connection, self.address).load()

    async def append(self, events: Sequence[Event], *, after: int) -> int:
        """Add `events` behind fact `after`; see `Journal.append`.

        Cancelled before the writer reached it, nothing was kept; later, it may have been.
        """
        self._check_open()
        self._lease.check()
        batch = Batch.of(events, after=after)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, answer))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_all())
        return await answer

    async def snapshot(self, seq: int, state: bytes) -> None:
        """Keep `state` as the fold of all facts up to and including `seq`."""
        self._check_open()
        packed = await asyncio.to_thread(postgres_journal.packed, state)
        async with self._writing() as (_, rows):
            await rows.snapshot(seq, state, packed)

    # --- history -------------------------------------------------------------------------------

    async def read(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        subject: str | None = None,
        since: datetime | None = None,
        newest_first: bool = False,
    ) -> list[Recorded]:
        """Return up to `limit` facts; see `History.read`. Cost: O(log facts + answer)."""
        check_question(limit, since)
        self._check_open()
        async with self._reader.use() as connection:
            return await Rows(connection, self.address).read(
                after=after, limit=limit, subject=subject, since=since, newest_first=newest_first
            )

    async def last_seq(self) -> int:
        """Return the sequence number of the newest fact, 0 for an empty journal."""
        self._check_open()
        async with self._reader.use() as connection:
            return await Rows(connection, self.address).last_seq()

    async def forget(self, *, before: datetime, keep_bytes: int | None = None) -> int:
        """Remove the oldest facts and return how many; see `History.forget`.

        Facts go in slices, so a crash on the way leaves fewer facts and no hole.
        """
        self._check_open()
        self._lease.check()
        async with self._reader.use() as connection:
            up_to = await Rows(connection, self.address).forgettable(
                before=before, keep_bytes=keep_bytes
            )
        removed = 0
        while True:
            async with self._writing() as (_, rows):
                gone = await rows.remove(up_to=up_to, limit=FORGET_SLICE)
            if gone == 0:
                return removed
            removed += gone

    async def wait_appended(self, after: int, timeout: timedelta) -> int:  # noqa: ASYNC109
        """Return the newest sequence number once it is above `after`, or at the `timeout`."""
        self._check_open()
        deadline = self._stopwatch() + timeout.total_seconds()
        async with self._listener.use() as connection:
            heard = asyncio.Event()

            def hear(*_told: object) -> None:
                heard.set()

            await connection.add_listener(self._channel, hear)
            connection.add_termination_listener(hear)
            try:
                while True:
                    heard.clear()
                    last = await Rows(connection, self.address).last_seq()
                    left = deadline - self._stopwatch()
                    if last > after or left <= 0:
                        return last
                    await _wait(heard, min(left, POLL_EVERY.total_seconds()))
            finally:
                connection.remove_termination_listener(hear)
                if not connection.is_closed():
                    await connection.remove_listener(self._channel, hear)

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
            for link in (self._writer, self._reader, self._listener, self._lease_link):
                await link.close()

    # --- inside --------------------------------------------------------------------------------

    @property
    def _channel(self) -> str:
        return f"navarch_{self.address.schema}"

    def _check_open(self) -> None:
        if not self._is_open:
            raise JournalError(f"journal {self.address} is not open: open it first")

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[tuple[Connection, Rows]]:
        """Give the writer's connection, signed with our term, in a transaction behind the fence."""
        self._lease.check()
        async with self._writer.use() as connection:
            if connection is not self._signed:
                await self._lease.sign(connection)
                self._signed = connection
            async with connection.transaction():
                await self._lease.fence(connection)
                yield connection, Rows(connection, self.address)

    async def _finish(self) -> None:
        if self._committing is not None:
            await self._committing

    async def _commit_all(self) -> None:
        while group := self._take_group():
            try:
                answers = await self._commit([batch for batch, _ in group])
            except BaseException as error:  # noqa: BLE001 - not swallowed: every caller gets it
                told = self._reason(error)
                for _, waiter in group:
                    if not waiter.done():
                        waiter.set_exception(told)
                continue
            for (_, waiter), answer in zip(group, answers, strict=True):
                if waiter.done():
                    continue  # its caller was cancelled, and knows nothing
                if isinstance(answer, int):
                    waiter.set_result(answer)
                else:
                    waiter.set_exception(answer)

    def _reason(self, error: BaseException) -> BaseException:
        """Return what to say of a failed append: a lost lease explains a broken connection."""
        try:
            self._lease.check()
        except JournalConflict as lost:
            lost.__cause__ = error
            return lost
        return error

    def _take_group(self) -> list[tuple[Batch, asyncio.Future[int]]]:
        group: list[tuple[Batch, asyncio.Future[int]]] = []
        size = 0
        while self._waiting and size < GROUP_FACTS_MAX:
            batch, answer = self._waiting.popleft()
            if not answer.done():  # else its caller was cancelled while waiting
                group.append((batch, answer))
                size += len(batch.facts)
        return group

    async def _commit(self, batches: Sequence[Batch]) -> list[int | JournalConflict]:
        """Write all `batches` in one transaction and return each one's answer, in order."""
        async with self._writing() as (connection, rows):
            tail = await rows.tail()
            written: _Written = []
            answers: list[int | JournalConflict] = []
            for batch in batches:
                if batch.after != tail.seq:
                    answers.append(rows.conflict(batch.after, tail.seq))
                    continue
                for fact in batch.facts:
                    row = tail.then(fact.raw, fact.at_us)
                    tail = tail_of(row)
                    written.append((row, fact.event, fact.about, self._describe(fact.event)))
                answers.append(tail.seq)
            if written:
                await rows.write(written)
                await connection.execute(_NOTIFY, self._channel, str(tail.seq))
        return answers


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
