"""The tables of a journal in PostgreSQL, and how older ones become the present ones.

::

    layout          version                                        one row
    lease           holder, url, term, until, ...                  one row: who may write
    fact            seq, crc, total_bytes, latest_us, raw, ...     one row a fact
    fact_subject    subject, seq                                   which facts are about what
    snapshot        seq, crc, bytes, chunks                        the newest two
    snapshot_chunk  seq, number, content                           their bytes, compressed
    events, nodes, instances, pools, projection                    see `postgres_models`

All lie in one schema, so one database holds as many fleets as it has schemas. `seq`, `crc`,
`total_bytes`, `latest_us` and `raw` are what the store reads back, and the checksum covers them.
The other columns of `fact` are derived, for people who ask in SQL.

The version is a row of `layout`: how many of STEPS the tables have been through. A step, once
released, never changes; a new layout is a new step at the end. Tables are made by whoever comes
first, and upgraded only by whoever has taken the lease: nobody changes them under a leader.
"""

from __future__ import annotations

from collections.abc import Sequence

from navarch.errors import JournalError
from navarch.stores import postgres_models
from navarch.stores.postgres_link import Address, Connection

_FIRST = (
    """CREATE TABLE {schema}.lease (
        id boolean PRIMARY KEY DEFAULT true CHECK (id),
        holder text NOT NULL, url text NOT NULL, term bigint NOT NULL,
        until timestamptz NOT NULL, backend_pid integer, backend_start timestamptz)""",
    "INSERT INTO {schema}.lease (holder, url, term, until) VALUES ('', '', 0, '-infinity')",
    """CREATE TABLE {schema}.fact (
        seq bigint PRIMARY KEY, crc bigint NOT NULL,
        total_bytes bigint NOT NULL, latest_us bigint NOT NULL,
        at timestamptz NOT NULL, kind text NOT NULL, subjects text[] NOT NULL,
        text text NOT NULL, raw bytea NOT NULL)""",
    "CREATE INDEX fact_at ON {schema}.fact USING brin (at)",
    """CREATE TABLE {schema}.fact_subject (
        subject text NOT NULL, seq bigint NOT NULL, PRIMARY KEY (subject, seq))""",
    """CREATE TABLE {schema}.snapshot (
        seq bigint PRIMARY KEY, crc bigint NOT NULL,
        bytes bigint NOT NULL, chunks integer NOT NULL)""",
    """CREATE TABLE {schema}.snapshot_chunk (
        seq bigint NOT NULL REFERENCES {schema}.snapshot ON DELETE CASCADE,
        number integer NOT NULL, content bytea NOT NULL, PRIMARY KEY (seq, number))""",
    # The bytes are compressed already; the server need not try again.
    "ALTER TABLE {schema}.snapshot_chunk ALTER COLUMN content SET STORAGE EXTERNAL",
    *postgres_models.MADE,
)

STEPS: tuple[Sequence[str], ...] = (_FIRST,)
"""Of each layout the statements that make it out of the one before."""

_BEGIN = "INSERT INTO {schema}.layout (version) VALUES (0)"
_READ = "SELECT * FROM {schema}.layout"
_ADVANCE = "UPDATE {schema}.layout SET version = $1"
_HAS_SCHEMA = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
# Asked of the catalogue itself: to_regclass may answer out of a cache that is a commit behind.
_HAS_TABLE = """SELECT EXISTS (SELECT FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2)"""
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('navarch ' || $1, 0))"


async def prepare(connection: Connection, address: Address, *, make: bool) -> None:
    """Make the tables where there are none; refuse those of a newer Navarch or of another program.

    Without `make` none are made: that there are none is a JournalError. Safe to call by several at
    once. Tables of an older layout are left alone: see `upgrade`.
    """
    async with connection.transaction():
        if not await _exists(connection, address, "layout"):
            if not make:
                raise JournalError(
                    f"journal {address} does not exist: there are no tables in the schema "
                    f"{address.schema}"
                )
            await connection.execute(_LOCK, address.schema)
            if not await _exists(connection, address, "layout"):
                await _make(connection, address)
        await _version(connection, address)


async def upgrade(connection: Connection, address: Address) -> None:
    """Bring older tables to the present layout, inside the transaction that takes the lease."""
    version = await _version(connection, address)
    for step in STEPS[version:]:
        for statement in step:
            await connection.execute(statement.format(schema=address.schema))
    if version < len(STEPS):
        await connection.execute(_ADVANCE.format(schema=address.schema), len(STEPS))


async def _make(connection: Connection, address: Address) -> None:
    if not await connection.fetchval(_HAS_SCHEMA, address.schema):
        await connection.execute(f"CREATE SCHEMA {address.schema}")
    if await _exists(connection, address, "fact") or await _exists(connection, address, "lease"):
        raise _foreign(address)
    await connection.execute(
        f"CREATE TABLE {address.schema}.layout ("
        "id boolean PRIMARY KEY DEFAULT true CHECK (id), version integer NOT NULL)"
    )
    await connection.execute(_BEGIN.format(schema=address.schema))
    await upgrade(connection, address)


async def _exists(connection: Connection, address: Address, table: str) -> bool:
    return bool(await connection.fetchval(_HAS_TABLE, address.schema, table))


async def _version(connection: Connection, address: Address) -> int:
    rows = [dict(row) for row in await connection.fetch(_READ.format(schema=address.schema))]
    if len(rows) != 1 or "version" not in rows[0]:
        raise _foreign(address)
    version = int(rows[0]["version"])
    if not 0 <= version <= len(STEPS):
        raise JournalError(
            f"journal {address} has layout {version} and this Navarch knows up to {len(STEPS)}: "
            "it was written by a newer one; upgrade, or name another schema"
        )
    return version


def _foreign(address: Address) -> JournalError:
    return JournalError(
        f"journal {address}: the schema {address.schema} has tables of another program: name "
        "another with ?schema="
    )
