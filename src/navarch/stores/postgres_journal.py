"""The rows of a PostgreSQL journal: adding, reading and judging them, over one connection.

Plain questions and statements; `postgres` decides over which connection and when, and
`postgres_lease` who may. Nothing here believes what it reads: every row is checked against its
checksum, its place and its decoder, and the first bad one ends the question with JournalCorrupt.
A list with a hole in it is never an answer.

Facts are written with COPY, which costs the client a fifth of what INSERT does.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import NamedTuple

from msgspec import DecodeError

from navarch.core.model import events
from navarch.core.model.events import Event
from navarch.errors import JournalError
from navarch.stores import postgres_link as link
from navarch.stores.base import (
    SNAPSHOTS_KEPT,
    Kept,
    Loaded,
    Recorded,
    Snapshot,
    microseconds,
    not_empty,
)
from navarch.stores.postgres_link import Address, Connection
from navarch.stores.postgres_models import key_of, plain, projected_seq
from navarch.stores.rows import Row, Tail, checksum, is_intact, tail_of

PAGE_FACTS = 5_000
"""Facts that are fetched at once: about 2 MB."""

CHUNK_BYTES = 4 * 2**20
"""The most of a compressed snapshot that goes into one row."""

_ROW = "SELECT seq, total_bytes, latest_us, crc, raw FROM {schema}.fact "
_UP = _ROW + "WHERE seq >= $1 ORDER BY seq LIMIT $2"
_DOWN = _ROW + "WHERE seq >= $1 AND seq <= $3 ORDER BY seq DESC LIMIT $2"
_ONE = _ROW + "WHERE seq = $1"
# The join is outer: an index entry whose fact is gone is damage, not an absence.
_ABOUT = (
    "SELECT s.seq, total_bytes, latest_us, crc, raw FROM {schema}.fact_subject AS s "
    "LEFT JOIN {schema}.fact AS f ON f.seq = s.seq WHERE s.subject = $1 AND s.seq >= $2 "
)
_ABOUT_UP = _ABOUT + "ORDER BY s.seq LIMIT $3"
_ABOUT_DOWN = _ABOUT + "AND s.seq <= $4 ORDER BY s.seq DESC LIMIT $3"
_PAGES = {
    (False, False): _UP,
    (False, True): _DOWN,
    (True, False): _ABOUT_UP,
    (True, True): _ABOUT_DOWN,
}
"""The question for a page: is it about one subject, and does the newest come first?"""
_ENDS = """SELECT (SELECT min(seq) FROM {schema}.fact), (SELECT max(seq) FROM {schema}.fact),
    (SELECT max(seq) FROM {schema}.snapshot)"""
_SNAPSHOTS = "SELECT seq, crc, bytes, chunks FROM {schema}.snapshot ORDER BY seq DESC"
_CHUNK = "SELECT content FROM {schema}.snapshot_chunk WHERE seq = $1 AND number = $2"
_FACT_COLUMNS = (
    *("seq", "crc", "total_bytes", "latest_us", "at", "kind", "subjects", "text", "raw"),
)
_OLD_SNAPSHOTS = """DELETE FROM {schema}.snapshot WHERE seq NOT IN
    (SELECT seq FROM {schema}.snapshot ORDER BY seq DESC LIMIT $1)"""
_REMOVE = """WITH gone AS (
        DELETE FROM {schema}.fact WHERE seq IN
            (SELECT seq FROM {schema}.fact WHERE seq <= $1 ORDER BY seq LIMIT $2)
        RETURNING seq, subjects),
    about AS (SELECT seq, unnest(subjects) AS subject FROM gone),
    unlinked AS (
        DELETE FROM {schema}.fact_subject AS s USING about AS a
        WHERE s.subject = a.subject AND s.seq = a.seq)
    SELECT count(*) FROM gone"""


class Written(NamedTuple):
    """A row that is to be written, and what is derived of its fact."""

    row: Row
    event: Event
    about: tuple[str, ...]
    text: str


class Rows:
    """A journal's rows, as one connection shows them. Cheap to make: it holds nothing."""

    def __init__(self, connection: Connection, address: Address) -> None:
        """Ask over `connection`; `address` has the schema, and is named in errors."""
        self._db = connection
        self._address = address

    # --- reading -------------------------------------------------------------------------------

    async def last_seq(self) -> int:
        """Return the sequence number of the newest fact, 0 when there is none."""
        return (await self._ends())[1] - 1

    async def projected_seq(self) -> int:
        """Return the last fact that the tables of records show."""
        return await projected_seq(self._db, self._address)

    async def read(
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
        async with self._frozen():
            start, end = await self._ends()
            end = end if before is None else min(end, before)
            first = max(after + 1, start)
            if since is not None:
                first = max(first, await self._first_since(microseconds(since)))
            found: list[Recorded] = []
            pages = self._scan(first, end - 1, subject, newest_first=newest_first, limit=limit)
            async for record in pages:
                if record.seq >= end:
                    break
                if since is None or record.event.at >= since:
                    found.append(record)
                    if len(found) == limit:
                        break
            await pages.aclose()
            return found

    async def load(self) -> Loaded:
        """Return what `Journal.load` promises."""
        async with self._frozen():
            snapshot, damaged = await self._usable_snapshot()
            start = snapshot.seq if snapshot else 0
            last = await self.last_seq()
            if last < start:
                raise link.damage(self._address, last + 1, "it is missing")
            facts = [each async for each in self._scan(start + 1, last, None, limit=PAGE_FACTS)]
            if damaged and last < max(damaged):
                raise link.damage(self._address, last + 1, "it is missing")
            return Loaded(snapshot, facts, last, damaged)

    async def _scan(
        self, first: int, last: int, subject: str | None, *, limit: int, newest_first: bool = False
    ) -> AsyncGenerator[Recorded, None]:
        """Yield the facts from `first` to `last` that are about `subject`, in order.

        Fetches up to `limit` at once. A hole is damage.
        """
        page = min(limit, PAGE_FACTS)
        expected = last if newest_first else first
        while first <= last:
            rows = await self._page(first, last, page, subject, newest_first=newest_first)
            for row in rows:
                if subject is None and row.seq != expected:
                    raise link.damage(self._address, expected, "it is missing")
                yield self._about(row, subject)
                expected += -1 if newest_first else 1
            if len(rows) < page:
                break
            if newest_first:
                last = rows[-1].seq - 1
            else:
                first = rows[-1].seq + 1
            page = PAGE_FACTS
        if subject is None and first <= expected <= last:
            raise link.damage(self._address, expected, "it is missing")

    async def _page(
        self, first: int, last: int, limit: int, subject: str | None, *, newest_first: bool
    ) -> list[Row]:
        question = _PAGES[subject is not None, newest_first]
        asked: list[object] = [] if subject is None else [key_of(subject)]
        asked += [first, limit, last] if newest_first else [first, limit]
        return [Row(*row) for row in await self._db.fetch(self._sql(question), *asked)]

    def _about(self, row: Row, subject: str | None) -> Recorded:
        record = self._record(row)
        if subject is not None and subject not in events.subjects(record.event):
            raise link.damage(self._address, row.seq, f"it is not about {subject!r}")
        return record

    def _record(self, row: Row) -> Recorded:
        if not row.is_intact():
            raise link.damage(self._address, row.seq, "its checksum does not fit")
        try:
            return Recorded(row.seq, events.decode(row.raw))
        except DecodeError as error:
            raise link.damage(
                self._address, row.seq, f"this version cannot decode it ({error})"
            ) from error

    async def _row(self, seq: int) -> Row:
        found = await self._db.fetchrow(self._sql(_ONE), seq)
        if found is None or not Row(*found).is_intact():
            raise link.damage(self._address, seq, "it is missing or its checksum does not fit")
        return Row(*found)

    async def _ends(self) -> tuple[int, int]:
        """Return the first sequence number there is, and the one after the last."""
        first, last, folded = await self._db.fetchrow(self._sql(_ENDS))
        if first is not None:
            return first, last + 1
        # Retention may have taken every fact: then the newest snapshot knows how far they went.
        return (folded or 0) + 1, (folded or 0) + 1

    async def _first_since(self, moment_us: int) -> int:
        return await self._first(lambda row: row.latest_us >= moment_us)

    async def _first(self, reached: Callable[[Row], bool]) -> int:
        """Return the first fact for which `reached` holds, or the one after the last.

        `reached` must never turn false again as `seq` grows. Cost: O(log facts) rows.
        """
        low, high = await self._ends()
        while low < high:
            middle = (low + high) // 2
            if reached(await self._row(middle)):
                high = middle
            else:
                low = middle + 1
        return low

    # --- writing, inside a transaction that has passed the fence --------------------------------

    async def tail(self) -> Tail:
        """Return where the next fact goes."""
        first, end = await self._ends()
        return Tail(end - 1) if first == end else tail_of(await self._row(end - 1))

    async def write(self, rows: Sequence[Written]) -> None:
        """Write rows that continue the tail, with what is derived of them: subjects and text."""
        await self._db.copy_records_to_table(
            "fact",
            schema_name=self._address.schema,
            columns=_FACT_COLUMNS,
            records=[
                (
                    *(row.seq, row.crc, row.total_bytes, row.latest_us),
                    *(event.at, events.kind(event), [key_of(each) for each in about]),
                    *(plain(text), row.raw),
                )
                for row, event, about, text in rows
            ],
        )
        # Neighbours in the tree share a page.
        index = sorted((key_of(each), row.seq) for row, _, about, _ in rows for each in about)
        if index:
            await self._db.copy_records_to_table(
                "fact_subject", schema_name=self._address.schema, records=index
            )

    async def snapshot(
        self, seq: int, state: bytes, pieces: Sequence[bytes], *, last: int | None = None
    ) -> None:
        """Keep `state`, of which `pieces` are the compressed bytes, as `Journal.snapshot` says.

        `last` is the newest fact; None: look.
        """
        newest = await self._db.fetchval(self._sql("SELECT max(seq) FROM {schema}.snapshot")) or 0
        last = await self.last_seq() if last is None else last
        if not newest <= seq <= last:
            raise JournalError(
                f"journal {self._address}: a snapshot at {seq} is refused, it must lie between "
                f"the newest snapshot ({newest}) and the newest fact ({last})"
            )
        await self._db.execute(self._sql("DELETE FROM {schema}.snapshot WHERE seq = $1"), seq)
        await self._db.execute(
            self._sql("INSERT INTO {schema}.snapshot VALUES ($1, $2, $3, $4)"),
            *(seq, checksum(state, seq), len(state), len(pieces)),
        )
        for number, content in enumerate(pieces):
            await self._db.execute(
                self._sql("INSERT INTO {schema}.snapshot_chunk VALUES ($1, $2, $3)"),
                *(seq, number, content),
            )
        await self._db.execute(self._sql(_OLD_SNAPSHOTS), SNAPSHOTS_KEPT)

    async def restore(
        self, first: int, snapshots: Sequence[Snapshot], pages: Iterable[Sequence[Written]]
    ) -> int:
        """Fill the empty journal with rows that begin at `first`."""
        if await self.last_seq():
            raise not_empty(self._address)
        last = first - 1
        for page in pages:
            await self.write(page)
            last = page[-1].row.seq
        for each in sorted(snapshots, key=lambda each: each.seq):
            await self.snapshot(each.seq, each.state, packed(each.state), last=max(last, each.seq))
        return max([last, *(each.seq for each in snapshots)])

    async def snapshots(self) -> list[Kept]:
        """Return all snapshots, the oldest first; a damaged one without its state."""
        found: list[Kept] = []
        async with self._frozen():
            for seq, crc, size, chunks in await self._db.fetch(self._sql(_SNAPSHOTS)):
                state = await self._unpacked(seq, size, chunks)
                sound = state is not None and is_intact(crc, state, seq)
                found.append(Kept(seq, state if sound else None))
        return found[::-1]

    async def forgettable(self, *, before: datetime, keep_bytes: int | None) -> int:
        """Return the newest fact that `History.forget` may remove, 0 when there is none."""
        async with self._frozen():
            snapshot, _ = await self._usable_snapshot()
            first_kept = await self._first_since(microseconds(before))
            if keep_bytes is not None:
                total = (await self.tail()).total_bytes
                fits = await self._first(
                    lambda row: total - row.total_bytes + len(row.raw) <= keep_bytes
                )
                first_kept = max(first_kept, fits)
            return min(first_kept - 1, snapshot.seq if snapshot else 0)

    async def remove(self, *, up_to: int, limit: int) -> int:
        """Remove up to `limit` of the oldest facts, none newer than `up_to`; return how many."""
        return int(await self._db.fetchval(self._sql(_REMOVE), up_to, limit))

    # --- inside --------------------------------------------------------------------------------

    async def _usable_snapshot(self) -> tuple[Snapshot | None, tuple[int, ...]]:
        """Return the newest intact snapshot, and the places of damaged ones that are newer."""
        damaged: list[int] = []
        for seq, crc, size, chunks in await self._db.fetch(self._sql(_SNAPSHOTS)):
            state = await self._unpacked(seq, size, chunks)
            if state is not None and is_intact(crc, state, seq):
                return Snapshot(seq, state), tuple(damaged)
            damaged.append(seq)
        return None, tuple(damaged)

    async def _unpacked(self, seq: int, size: int, chunks: int) -> bytes | None:
        """Return a snapshot's bytes, None when they are damaged."""
        packed: list[bytes] = []
        for number in range(chunks):
            content = await self._db.fetchval(self._sql(_CHUNK), seq, number)
            if content is None:
                return None
            packed.append(content)
        unpacker = zlib.decompressobj()
        try:
            state = unpacker.decompress(b"".join(packed), size)
        except (zlib.error, ValueError):
            return None
        return state if len(state) == size else None

    def _frozen(self) -> AbstractAsyncContextManager[object]:
        """Begin a transaction in which all questions see the same journal."""
        return self._db.transaction(isolation="repeatable_read", readonly=True)

    def _sql(self, text: str) -> str:
        return text.format(schema=self._address.schema)


def packed(state: bytes) -> list[bytes]:
    """Compress a snapshot and cut it into pieces. Blocks for about 10 ms a megabyte."""
    content = zlib.compress(state, 1)
    return [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
