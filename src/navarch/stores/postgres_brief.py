"""A small append as one statement: one way to the server and back instead of a dozen.

Most appends are a few facts, and wait for the network more than for the disk. So the fence, the
facts, their subjects, the records that changed and the notification are parts of one statement,
which is a transaction by itself. It writes nothing unless the term is ours and the journal ends
where the caller believes; what it answers says which of the two was not so.

COPY costs less for each fact, and takes over where there are many.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from navarch.core.model import events
from navarch.stores.base import Projection
from navarch.stores.postgres_group import Continuation
from navarch.stores.postgres_link import Connection
from navarch.stores.postgres_models import INSTANCES, NODES, POOLS, Table, columns_of, key_of, plain

ROWS_MAX = 100
"""The most facts and records that go this way: about where COPY has caught up."""

_TABLES: tuple[tuple[str, Table[Any]], ...] = (
    *(("nodes", NODES), ("instances", INSTANCES), ("pools", POOLS)),
)
_FACTS = """WITH held AS MATERIALIZED (SELECT term FROM {schema}.lease FOR KEY SHARE),
    place AS MATERIALIZED (SELECT coalesce((SELECT max(seq) FROM {schema}.fact),
        (SELECT max(seq) FROM {schema}.snapshot), 0) AS seq),
    may AS MATERIALIZED (SELECT FROM held, place WHERE term = $1 AND seq = $2),
    about AS (SELECT * FROM unnest($5::text[], $6::bigint[]) AS a (subject, seq)),
    facts AS (INSERT INTO {schema}.fact
        (seq, crc, total_bytes, latest_us, at, kind, text, raw, subjects)
        SELECT u.*, ARRAY(SELECT subject FROM about WHERE about.seq = u.seq)
        FROM unnest($7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::timestamptz[],
            $12::text[], $13::text[], $14::bytea[]) AS u (seq) WHERE EXISTS (SELECT FROM may)),
    subjects AS (INSERT INTO {schema}.fact_subject (subject, seq)
        SELECT subject, seq FROM about WHERE EXISTS (SELECT FROM may))"""
_FACTS_END = 14
_ANSWER = """SELECT (SELECT term FROM held), (SELECT seq FROM place),
    CASE WHEN EXISTS (SELECT FROM may) THEN pg_notify($3::text, $4::text) END"""
_MAY = "EXISTS (SELECT FROM may)"
_MARK = """mark AS (UPDATE {schema}.projection SET seq = $4::text::bigint
    WHERE seq = $2 AND EXISTS (SELECT FROM may))"""


class Answer(NamedTuple):
    """What the statement saw. It has written if both are as they were believed to be."""

    term: int
    seq: int


def is_brief(made: Continuation) -> bool:
    """Tell whether what is to be written is little enough."""
    count = len(made.written)
    if made.changed is not None:
        changed = made.changed
        count += len(changed.nodes) + len(changed.instances) + len(changed.pools)
    return len(made.written) > 0 and count <= ROWS_MAX and not (made.changed and made.changed.whole)


async def write(
    connection: Connection, schema: str, channel: str, made: Continuation, *, term: int, after: int
) -> Answer:
    """Write what a group adds behind fact `after`, in term `term`; say what was found there."""
    written = made.written
    about = sorted((key_of(each), row.row.seq) for row in written for each in row.about)
    arguments: list[object] = [
        *(term, after, channel, str(made.tail.seq)),
        *([subject for subject, _ in about], [seq for _, seq in about]),
        [each.row.seq for each in written],
        [each.row.crc for each in written],
        [each.row.total_bytes for each in written],
        [each.row.latest_us for each in written],
        [each.event.at for each in written],
        [events.kind(each.event) for each in written],
        [plain(each.text) for each in written],
        [each.row.raw for each in written],
    ]
    shape = _changes(made.changed, arguments)
    statement = _statement(schema, shape)
    found = await connection.fetchrow(statement, *arguments)
    return Answer(found[0], found[1])


def _changes(changed: Projection | None, arguments: list[object]) -> tuple[str, ...]:
    """Add the arguments of records that have changed, and name the parts that they need."""
    if changed is None:
        return ()
    parts: list[str] = []
    for name, table in _TABLES:
        records: Mapping[str, Any] = getattr(changed, name)
        there = [record for record in records.values() if record is not None]
        gone = [plain(key) for key, record in records.items() if record is None]
        if there:
            parts.append(f"put {name}")
            arguments += columns_of(table, there)
        if gone:
            parts.append(f"remove {name}")
            arguments.append(gone)
    return (*parts, "mark")


@lru_cache(maxsize=256)
def _statement(schema: str, shape: tuple[str, ...]) -> str:
    """Return the statement for facts and these parts."""
    tables = dict(_TABLES)
    parts = [_FACTS]
    first = _FACTS_END + 1
    for each in shape:
        verb, _, name = each.partition(" ")
        if verb == "put":
            parts.append(f"put_{name} AS ({tables[name].put(first=first, where=_MAY)})")
            first += len(tables[name].columns)
        elif verb == "remove":
            parts.append(f"remove_{name} AS ({tables[name].removed(first=first, where=_MAY)})")
            first += 1
        else:
            parts.append(_MARK)
    return (", ".join(parts) + " " + _ANSWER).format(schema=schema)
