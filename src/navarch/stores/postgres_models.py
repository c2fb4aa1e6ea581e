"""The fleet as tables of PostgreSQL, for people and charts: nodes, instances and pools.

They say what the facts up to `projection.seq` have come to, and are written in the transaction of
those facts. Nothing here folds: whoever folds the fleet hands over the records that have changed.
Nothing is read back either: the journal alone is what a control plane starts from.

The columns are an interface: they are added to, never renamed. ``docs/postgres.md`` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Generic, TypeVar

from msgspec import Struct

from navarch.core.model.instance import Instance
from navarch.core.model.node import Node
from navarch.core.model.pool import Pool
from navarch.stores.base import Projection
from navarch.stores.postgres_link import Address, Connection

SLICE_ROWS = 5_000
"""Rows that go out in one statement: what is encoded at once, so the loop gets its turn."""

_Record = TypeVar("_Record", Node, Instance, Pool)


class Table(Struct, Generic[_Record], frozen=True):
    """A table of records: its name and its columns, the first of which is the key."""

    name: str
    columns: tuple[tuple[str, str, Callable[[_Record], Any]], ...]
    """Name, type, and where the value comes from."""

    def made(self) -> str:
        """Return the statement that makes the table."""
        columns = ", ".join(f"{name} {kind}" for name, kind, _ in self.columns)
        return f"CREATE TABLE {{schema}}.{self.name} ({columns}, PRIMARY KEY ({self.key}))"

    def emptied(self) -> str:
        """Return the statement that removes every row."""
        return f"DELETE FROM {{schema}}.{self.name}"  # noqa: S608 - made of constants

    def removed(self, *, first: int = 1, where: str = "true") -> str:
        """Return the statement that removes the rows of these keys, argument `first`."""
        keys = f"{self.key} = ANY(${first}::text[])"
        return f"DELETE FROM {{schema}}.{self.name} WHERE {keys} AND {where}"  # noqa: S608

    def put(self, *, first: int = 1, where: str = "true") -> str:
        """Return the statement that writes rows over those that are there, if `where` holds.

        One array a column, from argument `first` on.
        """
        names = [name for name, _, _ in self.columns]
        arrays = ", ".join(f"${n}::{kind}[]" for n, (_, kind, _) in enumerate(self.columns, first))
        news = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
        return (
            f"INSERT INTO {{schema}}.{self.name} ({', '.join(names)}) "  # noqa: S608 - constants
            f"SELECT * FROM unnest({arrays}) WHERE {where} "
            f"ON CONFLICT ({self.key}) DO UPDATE SET {news}"
        )

    @property
    def key(self) -> str:
        """The column that tells rows apart."""
        return self.columns[0][0]


NODES: Table[Node] = Table(
    "nodes",
    (
        ("id", "text", lambda n: n.id),
        ("pool", "text", lambda n: n.pool),
        ("provider", "text", lambda n: n.provider),
        ("region", "text", lambda n: n.region),
        ("zone", "text", lambda n: n.zone),
        ("instance_type", "text", lambda n: n.instance_type),
        ("instance_id", "text", lambda n: n.instance_id),
        ("hostname", "text", lambda n: n.metadata.hostname),
        ("gpus", "integer", lambda n: len(n.gpus)),
        ("gpu_model", "text", lambda n: n.gpus[0].name if n.gpus else ""),
        ("status", "text", lambda n: n.status.value),
        ("phase", "text", lambda n: n.phase.value),
        ("health", "text", lambda n: n.health.value),
        ("intent", "text", lambda n: n.intent.value),
        ("contact", "text", lambda n: n.contact.value),
        ("because", "text", lambda n: n.because),
        ("repair", "text", lambda n: n.repair.stage.value if n.repair else None),
        ("condemned", "boolean", lambda n: n.condemned),
        ("handed_over", "text", lambda n: n.handed_over),
        ("registered_at", "timestamptz", lambda n: n.registered_at),
        ("lost_at", "timestamptz", lambda n: n.lost_at),
        ("ended_at", "timestamptz", lambda n: n.ended_at),
    ),
)

INSTANCES: Table[Instance] = Table(
    "instances",
    (
        ("id", "text", lambda i: i.id),
        ("pool", "text", lambda i: i.pool),
        ("provider", "text", lambda i: i.provider),
        ("region", "text", lambda i: i.region),
        ("zone", "text", lambda i: i.zone),
        ("instance_type", "text", lambda i: i.instance_type),
        ("spot", "boolean", lambda i: i.spot),
        ("ref", "text", lambda i: i.ref),
        ("state", "text", lambda i: i.state.value),
        ("because", "text", lambda i: i.because),
        ("condemned_because", "text", lambda i: i.condemned_because),
        ("public_ip", "text", lambda i: i.public_ip),
        ("private_ip", "text", lambda i: i.private_ip),
        ("requested_at", "timestamptz", lambda i: i.requested_at),
        ("launched_at", "timestamptz", lambda i: i.launched_at),
        ("registered_at", "timestamptz", lambda i: i.registered_at),
        ("condemned_at", "timestamptz", lambda i: i.condemned_at),
        ("interrupted_at", "timestamptz", lambda i: i.interrupted_at),
        ("terminating_since", "timestamptz", lambda i: i.terminating_since),
        ("ended_at", "timestamptz", lambda i: i.ended_at),
    ),
)

POOLS: Table[Pool] = Table(
    "pools",
    (
        ("name", "text", lambda p: p.name),
        ("providers", "text", lambda p: ",".join(source.provider for source in p.sources)),
        ("instance_type", "text", lambda p: p.spec.instance_type),
        ("region", "text", lambda p: p.spec.region),
        ("min_nodes", "integer", lambda p: p.spec.min_nodes),
        ("max_nodes", "integer", lambda p: p.spec.max_nodes),
        ("target", "integer", lambda p: p.target),
        ("target_because", "text", lambda p: p.target_because),
        ("target_changed_at", "timestamptz", lambda p: p.target_changed_at),
        ("paused", "boolean", lambda p: p.paused),
        ("paused_because", "text", lambda p: p.paused_because),
        ("retired", "boolean", lambda p: p.retired),
        ("repair_halted_because", "text", lambda p: p.brake_because),
        ("failures", "integer", lambda p: p.failures),
        ("failed_at", "timestamptz", lambda p: p.failed_at),
        ("failure", "text", lambda p: p.failure),
    ),
)

# JSON may hold a character that PostgreSQL's texts have no place for.
EVENTS = """CREATE VIEW {schema}.events AS
    SELECT seq, at, kind, subjects, payload ->> 'because' AS because, text, payload FROM (
        SELECT seq, at, kind, subjects, text,
            replace(convert_from(raw, 'UTF8'), '\\u0000', '\\ufffd')::jsonb AS payload
        FROM {schema}.fact) AS written"""

MADE = (
    EVENTS,
    NODES.made(),
    INSTANCES.made(),
    POOLS.made(),
    """CREATE TABLE {schema}.projection (
        id boolean PRIMARY KEY DEFAULT true CHECK (id), seq bigint NOT NULL)""",
    "INSERT INTO {schema}.projection (seq) VALUES (0)",
)
"""The statements that make all of it."""

# Whoever has missed facts stays where it is, which shows.
MARK = "UPDATE {schema}.projection SET seq = $1 WHERE seq = $2 OR $3"
_SEQ = "SELECT seq FROM {schema}.projection"


async def projected_seq(connection: Connection, address: Address) -> int:
    """Return the last fact that the tables show."""
    seq: int = await connection.fetchval(_SEQ.format(schema=address.schema))
    return seq


async def project(
    connection: Connection, address: Address, changed: Projection, *, after: int, seq: int
) -> None:
    """Write the records that have `changed` by the facts behind `after` up to `seq`.

    Inside the transaction of those facts.
    """
    await _put(connection, address, NODES, changed.nodes, whole=changed.whole)
    await _put(connection, address, INSTANCES, changed.instances, whole=changed.whole)
    await _put(connection, address, POOLS, changed.pools, whole=changed.whole)
    await connection.execute(MARK.format(schema=address.schema), seq, after, changed.whole)


async def _put(
    connection: Connection,
    address: Address,
    table: Table[_Record],
    records: Mapping[str, _Record | None],
    *,
    whole: bool,
) -> None:
    if whole:
        await connection.execute(table.emptied().format(schema=address.schema))
    gone = [plain(key) for key, record in records.items() if record is None]
    if gone and not whole:
        await connection.execute(table.removed().format(schema=address.schema), gone)
    there = [record for record in records.values() if record is not None]
    statement = table.put().format(schema=address.schema)
    for first in range(0, len(there), SLICE_ROWS):
        await connection.execute(statement, *columns_of(table, there[first : first + SLICE_ROWS]))


def columns_of(table: Table[_Record], records: Sequence[_Record]) -> list[list[object]]:
    """Return the values of each column, sorted by key: neighbours share a page."""
    key = table.columns[0][2]
    ordered = sorted(records, key=key)
    return [
        [plain(value) for value in map(value_of, ordered)]
        if kind == "text"
        else list(map(value_of, ordered))
        for _, kind, value_of in table.columns
    ]


def plain(text: str) -> str:
    """Return `text` as PostgreSQL can hold it: without the character that it has no place for."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") if text and "\0" in text else text


KEY_BYTES_MAX = 1_000
"""The longest subject that is indexed as it is: an index takes 2,704 bytes at most (PostgreSQL 15,
documentation of B-trees, read 2026-11), and what strangers write has up to 4,096."""


def key_of(subject: str) -> str:
    """Return what stands for `subject` in columns that have an index."""
    key = plain(subject)
    raw = key.encode()
    if len(raw) <= KEY_BYTES_MAX:
        return key
    return f"{key[:200]}... sha256:{sha256(raw).hexdigest()}"
