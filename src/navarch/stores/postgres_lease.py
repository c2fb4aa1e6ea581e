"""The lease on a journal in PostgreSQL: who may write, until when, and in which term.

One row. Taking it makes `term` grow by one, in a transaction that has the row to itself; an append
looks at the term under a lock that shares the row with renewals but not with a taking. So a
leader's last append is either whole before its successor reads, or is refused.

Time is the database's: a lease runs out by the server's clock. Here it counts from before the
renewal was sent, by a clock that only runs, so it ends here before it ends there.

A successor ends its predecessor's session in the server. A process that stands still in the middle
of an append would otherwise keep its locks for as long as it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from navarch.errors import JournalConflict, JournalError
from navarch.stores import postgres_schema
from navarch.stores.base import Leader
from navarch.stores.postgres_link import Connection, Link
from navarch.stores.postgres_renewal import STUCK_AFTER, Pulse, Renewal
from navarch.telemetry.log import Log

log = Log(__name__)

_LEADER = "SELECT holder, url, term FROM {schema}.lease WHERE until > clock_timestamp()"
_STALE = """SELECT backend_pid, backend_start FROM {schema}.lease
    WHERE until <= clock_timestamp()"""
_END_SESSION = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = $1 AND backend_start = $2 AND usename = current_user"""
_LOCK = "SELECT until <= clock_timestamp() FROM {schema}.lease FOR UPDATE"
_TAKE = """UPDATE {schema}.lease SET holder = $1, url = $2, term = term + 1,
    until = clock_timestamp() + $3, backend_pid = NULL, backend_start = NULL RETURNING term"""
_RENEW = """UPDATE {schema}.lease SET until = clock_timestamp() + $2
    WHERE term = $1 AND until > '-infinity' RETURNING term"""
_RELEASE = "UPDATE {schema}.lease SET until = '-infinity' WHERE term = $1"
_SIGN = """UPDATE {schema}.lease SET backend_pid = pg_backend_pid(), backend_start =
    (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()) WHERE term = $1"""
_FENCE = "SELECT term FROM {schema}.lease FOR KEY SHARE"


class Lease:
    """Our hold on the row: takes it, renews it, and notices when it is gone."""

    def __init__(
        self,
        link: Link,
        *,
        holder: str,
        url: str,
        duration: timedelta,
        renew_every: timedelta,
        stopwatch: Callable[[], float],
        on_lost: Callable[[], None],
    ) -> None:
        """Use `link` alone for all of this, so that nothing long delays a renewal.

        `on_lost` is called once when the lease is lost, not when it is given up.
        """
        self.term = 0
        """The term of our last hold; 0 before the first."""
        self._link = link
        self._address = link.address
        self._holder = holder
        self._url = url
        self._duration = duration
        self._renew_every = renew_every
        self._stopwatch = stopwatch
        self._on_lost = on_lost
        self._until = 0.0
        self._lost: asyncio.Future[str] | None = None
        self._renewal: Renewal | None = None
        self._beating: asyncio.Task[None] | None = None

    # --- what the store asks -------------------------------------------------------------------

    async def leader(self) -> Leader | None:
        """Return whose lease has not run out."""
        async with self._link.use(self._duration) as connection:
            row = await connection.fetchrow(self._sql(_LEADER))
        return None if row is None else Leader(row["holder"], row["url"], row["term"])

    def held(self) -> bool:
        """Tell whether the lease still counts."""
        return self._lost is not None and not self._lost.done() and self._stopwatch() < self._until

    async def lost(self) -> str:
        """Wait until it does not."""
        if self._lost is None:
            raise JournalError(f"journal {self._address}: there is no lease to lose: acquire first")
        return await asyncio.shield(self._lost)

    def check(self) -> None:
        """Raise JournalConflict unless the lease counts."""
        if self.held():
            return
        if self._lost is None:
            raise JournalConflict(
                f"journal {self._address} is written by whoever holds its lease, which this "
                "control plane does not: acquire it first"
            )
        reason = self._lost.result() if self._lost.done() else "it was not renewed in time"
        raise JournalConflict(f"journal {self._address}: its lease is lost: {reason}; start again")

    async def acquire(self) -> bool:
        """Take the row if nobody's lease counts, bring the tables up to date, and renew it."""
        if self.held():
            return True
        await self._stop_renewing()
        self._lost = None
        asked = self._stopwatch()
        async with self._link.use(self._duration) as connection:
            if not await self._end_predecessor(connection):
                return False
            async with connection.transaction():
                if not await connection.fetchval(self._sql(_LOCK)):
                    return False
                await postgres_schema.upgrade(connection, self._address)
                self.term = await connection.fetchval(
                    self._sql(_TAKE), self._holder, self._url, self._duration
                )
        self._until = asked + self._duration.total_seconds()
        self._lost = lost = asyncio.get_running_loop().create_future()
        pulse = Pulse(self._stopwatch)
        self._beating = asyncio.create_task(pulse.beat(), name="pulse")
        self._renewal = Renewal(lambda: self._renew(pulse), lambda reason: self._lose(reason, lost))
        return True

    async def release(self) -> None:
        """Give the row up if it is ours."""
        is_ours = self.held()
        if self._lost is not None and not self._lost.done():
            self._lost.set_result("it was given up")
        await self._stop_renewing()
        if is_ours:
            async with self._link.use(self._duration) as connection:
                await connection.execute(self._sql(_RELEASE), self.term)

    def forget(self) -> None:
        """Have no lease to lose any more."""
        self._lost = None

    # --- inside others' transactions -----------------------------------------------------------

    async def sign(self, connection: Connection) -> None:
        """Note that `connection` writes under our term, so that a successor can end it."""
        await connection.execute(self._sql(_SIGN), self.term)

    async def fence(self, connection: Connection) -> None:
        """Hold the row against a taking for the rest of the transaction.

        Raises JournalConflict when the term is not ours any more.
        """
        term = await connection.fetchval(self._sql(_FENCE))
        self.check_term(term)

    def check_term(self, term: int | None) -> None:
        """Raise JournalConflict when `term`, as read under a lock, is not ours."""
        if term != self.term:
            if self._lost is not None and not self._lost.done():
                self._lost.set_result(f"another control plane leads since, in term {term}")
            raise JournalConflict(
                f"journal {self._address}: another control plane has taken the lease (term {term}, "
                f"ours was {self.term}): start again to take up its facts"
            )

    # --- renewing ------------------------------------------------------------------------------

    async def _renew(self, pulse: Pulse) -> str:
        """Renew in a thread of its own until that fails, and return why it does."""
        link = self._link.another()
        try:
            return await self._renew_while_held(link, pulse)
        finally:
            link.drop()

    async def _renew_while_held(self, link: Link, pulse: Pulse) -> str:
        trouble = ""
        while (left := self._until - self._stopwatch()) > 0:
            await asyncio.sleep(min(self._renew_every.total_seconds(), left))
            if pulse.stuck:
                return f"this process has stood still for more than {STUCK_AFTER:g} s"
            asked = self._stopwatch()
            left = self._until - asked
            if left <= 0:
                break
            # Two tries fit into what is left as long as possible: one silence is not the end.
            within = timedelta(seconds=max(left / 2, min(left, 0.2)))
            try:
                async with link.use(within) as connection:
                    term = await connection.fetchval(self._sql(_RENEW), self.term, self._duration)
                    if term is None:
                        return _successor(await connection.fetchrow(self._sql(_LEADER)))
            except JournalError as error:
                trouble = f": {error}"
                log.warning("lease_not_renewed", seconds_left=round(left, 1), error=str(error))
                continue
            self._until, trouble = asked + self._duration.total_seconds(), ""
        return f"it was not renewed in time{trouble}"

    async def _end_predecessor(self, connection: Connection) -> bool:
        """End the session of a leader whose lease has run out; False while one counts."""
        stale = await connection.fetchrow(self._sql(_STALE))
        if stale is None:
            return False
        if stale["backend_pid"] is not None:
            await connection.fetchval(_END_SESSION, stale["backend_pid"], stale["backend_start"])
        return True

    async def _stop_renewing(self) -> None:
        renewal, self._renewal = self._renewal, None
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None
        if renewal is not None:
            await renewal.stop()

    def _lose(self, reason: str, lost: asyncio.Future[str]) -> None:
        if not lost.done():
            lost.set_result(reason)
            self._on_lost()

    def _sql(self, text: str) -> str:
        return text.format(schema=self._address.schema)


def _successor(row: Mapping[str, Any] | None) -> str:
    """Say who leads in our place."""
    if row is None:
        return "another control plane has taken it"
    return f"{row['holder']} leads since, in term {row['term']}"
