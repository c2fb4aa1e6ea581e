"""A `SharedStore` without a database server: several stores of one process over one journal.

`LeasedJournal` stands for the database: facts, the lease, and a clock of its own. Each control
plane has a `LeasedMemoryStore` over it, which can be cut off from it, and which stands still while
its process does. It keeps the same contract as the store over PostgreSQL
(`tests/contracts/test_lease_contract.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from navarch.core.model.events import Event
from navarch.errors import JournalConflict, JournalError
from navarch.stores.base import Leader, Loaded, Recorded
from navarch.stores.memory import MemoryStore

LEASE = timedelta(seconds=6)


class Time(Protocol):
    """Tells the time, and waits."""

    def now(self) -> datetime: ...

    async def sleep(self, duration: timedelta) -> None: ...


class LeasedJournal:
    """What several control planes reach: the facts, and who may write."""

    def __init__(
        self, clock: Time, lease: timedelta = LEASE, latency: timedelta = timedelta()
    ) -> None:
        """Begin empty, by this clock. A renewal arrives `latency` after it was sent."""
        self.latency = latency
        self.facts = MemoryStore()
        self.clock = clock
        self.lease = lease
        self.term = 0
        self.appended = asyncio.Event()
        self._leader: Leader | None = None
        self._until: datetime | None = None

    @property
    def leader(self) -> Leader | None:
        """Whose lease counts."""
        if self._until is None or self.clock.now() >= self._until:
            return None
        return self._leader

    def take(self, holder: str, url: str) -> bool:
        """Give the lease to a new holder, if it is free."""
        if self.leader is not None:
            return False
        self.term += 1
        self._leader = Leader(holder, url, self.term)
        self._until = self.clock.now() + self.lease
        return True

    def renew(self, term: int) -> bool:
        """Make the lease of a term last on, if no other was begun."""
        if term != self.term or self._until is None:
            return False
        self._until = self.clock.now() + self.lease
        return True

    def give_up(self, term: int) -> None:
        """Free the lease of a term."""
        if term == self.term:
            self._until = None

    def append(self, events: Sequence[Event], *, after: int, term: int) -> int:
        """Add facts of a term."""
        if term != self.term:
            raise JournalConflict(f"term {term} is over: the lease was taken in term {self.term}")
        seq = self.facts.append_now(events, after=after)
        if events:
            self.appended.set()
            self.appended = asyncio.Event()
        return seq


class LeasedMemoryStore:
    """One control plane's store; `navarch.stores.base.SharedStore` has the contract."""

    def __init__(
        self, journal: LeasedJournal, *, holder: str = "", url: str = "", clock: Time | None = None
    ) -> None:
        """Reach `journal`; `clock` is the process's own, None: the journal's."""
        self.journal = journal
        self.reachable = True
        """Set it to False to cut the store off: nothing is answered then."""
        self.term = 0
        self._holder = holder
        self._url = url
        self._clock = clock or journal.clock
        self._connected = False
        self._counts_until: datetime | None = None
        self._lost: asyncio.Future[str] | None = None
        self._renewing: asyncio.Task[None] | None = None

    # --- reading -------------------------------------------------------------------------------

    async def connect(self) -> None:
        await self._reach()
        self._connected = True

    async def load(self) -> Loaded:
        await self._ask()
        return self.journal.facts.load_now()

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
        await self._ask()
        return self.journal.facts.read_now(
            after=after,
            before=before,
            limit=limit,
            subject=subject,
            since=since,
            newest_first=newest_first,
        )

    async def last_seq(self) -> int:
        await self._ask()
        return self.journal.facts.last_seq_now

    async def wait_appended(self, after: int, timeout: timedelta) -> int:  # noqa: ASYNC109
        """Wait in the journal's own time."""
        await self._ask()
        due = asyncio.ensure_future(self._clock.sleep(timeout))
        try:
            while self.journal.facts.last_seq_now <= after and not due.done():
                grown = asyncio.ensure_future(self.journal.appended.wait())
                await asyncio.wait([grown, due], return_when=asyncio.FIRST_COMPLETED)
                grown.cancel()
        finally:
            due.cancel()
        await self._ask()
        return self.journal.facts.last_seq_now

    # --- the lease -----------------------------------------------------------------------------

    async def leader(self) -> Leader | None:
        await self._ask()
        return self.journal.leader

    async def acquire(self) -> bool:
        await self._ask()
        if self.held():
            return True
        await self._stop_renewing()
        asked_at = self._clock.now()
        if not self.journal.take(self._holder, self._url):
            return False
        self.term = self.journal.term
        self._counts_until = asked_at + self.journal.lease - self.journal.latency
        self._lost = asyncio.get_running_loop().create_future()
        self._renewing = asyncio.create_task(self._renew(self._lost))
        return True

    async def release(self) -> None:
        held = self.held()
        if self._lost is not None and not self._lost.done():
            self._lost.set_result("it was given up")
        await self._stop_renewing()
        if held:
            await self._reach()
            self.journal.give_up(self.term)

    def held(self) -> bool:
        return (
            self._lost is not None
            and not self._lost.done()
            and self._counts_until is not None
            and self._clock.now() < self._counts_until
        )

    async def lost(self) -> str:
        if self._lost is None:
            raise JournalError("there is no lease to lose: acquire it first")
        return await asyncio.shield(self._lost)

    # --- writing -------------------------------------------------------------------------------

    async def open(self) -> None:
        await self.connect()
        if not await self.acquire():
            leader = self.journal.leader
            await self.close()
            who = leader.holder if leader is not None else "nobody"
            raise JournalConflict(f"the shared journal is held by {who}")

    async def append(self, events: Sequence[Event], *, after: int) -> int:
        await self._ask()
        self._check_held()
        return self.journal.append(events, after=after, term=self.term)

    async def snapshot(self, seq: int, state: bytes) -> None:
        await self._ask()
        self._check_held()
        self.journal.facts.snapshot_now(seq, state)

    async def forget(self, *, before: datetime, keep_bytes: int | None = None) -> int:
        await self._ask()
        self._check_held()
        return self.journal.facts.forget_now(before=before, keep_bytes=keep_bytes)

    async def close(self) -> None:
        if self._connected:
            await self.release()
        self._connected = False
        self._lost = None

    # --- inside --------------------------------------------------------------------------------

    async def _ask(self) -> None:
        if not self._connected:
            raise JournalError("the shared journal is not open: connect first")
        await self._reach()

    async def _reach(self) -> None:
        """Get through to the journal, when our process runs and the network lets us."""
        await self._clock.sleep(timedelta())
        if not self.reachable:
            raise JournalError("the shared journal does not answer")

    def _check_held(self) -> None:
        if not self.held():
            raise JournalConflict("the lease on the shared journal is not ours: start again")

    async def _renew(self, lost: asyncio.Future[str]) -> None:
        while not lost.done():
            await self._clock.sleep(self._pause())
            sent_at = self._clock.now()
            with suppress(JournalError):
                await self._reach()
                if not self.journal.renew(self.term):
                    self._lose(lost, f"another leads, in term {self.journal.term}")
                    return
                self._counts_until = sent_at + self.journal.lease - self.journal.latency
            if not self.held():
                self._lose(lost, "it could not be renewed in time")

    def _pause(self) -> timedelta:
        """How long until the next renewal is due, or the lease has run out."""
        assert self._counts_until is not None, "renewed before it was taken"
        return min(self.journal.lease / 4, self._counts_until - self._clock.now())

    def _lose(self, lost: asyncio.Future[str], because: str) -> None:
        if not lost.done():
            lost.set_result(because)

    async def _stop_renewing(self) -> None:
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            renewing.cancel()
            await asyncio.wait([renewing])
