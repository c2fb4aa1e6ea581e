"""What it costs to make a fact durable in each store, beside the floors that the databases set.

    python bench/stores.py [--folder DIR] [--runs 5] [--rounds 200] [--json FILE]

Appends node facts in groups of 1, 100 and 1,000, one after the other as the control plane does, and
gives CPU and wall time a fact, as medians over the runs. PostgreSQL is a throw-away server with the
settings it comes with, so it flushes; its own CPU time is a figure of its own. The floors:

- ``sqlite floor``: a bare `sqlite3` connection with the same pragmas that writes ready-made bytes
  into one table with `executemany`;
- ``postgres floor``: a bare asyncpg connection that writes them into one table by COPY.

Neither encodes, checks, indexes subjects or has a fence. ``postgres tables`` is the store that also
writes a node of the tables that people read for each fact. No two facts are equal, so every row
changes a page. A durable append waits for the disk's flush: measure on the disk you will run on.
Without PostgreSQL on this machine its rows are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import pytest

from infra.real_postgres import RealPostgres
from navarch.controlplane.clock import stopwatch
from navarch.core.model import events
from navarch.core.model.events import Event
from navarch.core.model.node import Node
from navarch.core.sentences import sentence
from navarch.stores.base import Projection
from navarch.stores.memory import MemoryStore
from navarch.stores.postgres import PostgresStore
from navarch.stores.postgres_link import driver
from navarch.stores.sqlite import SqliteStore

START = datetime(2026, 5, 1, tzinfo=UTC)
GROUPS = {1: 300, 100: 50, 1_000: 20}
"""Facts in an append, and appends in a run."""
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

Groups = list[list[Event]]


class Cost(NamedTuple):
    """What one run took, a fact, in microseconds."""

    cpu: float
    wall: float
    server: float | None = None
    """The CPU time of the database's own processes; None: it has none."""


@dataclass
class Place:
    """Where to write."""

    folder: Path
    postgres: RealPostgres | None
    schemas: Iterator[int]

    def url(self) -> str:
        """Return a schema that is not there yet."""
        assert self.postgres is not None
        return self.postgres.url(f"bench_{next(self.schemas)}")


def facts(first: int, number: int) -> list[Event]:
    """Return `number` facts that differ from all others, about ten thousand nodes."""
    return [
        events.NodeLost(
            at=START + timedelta(milliseconds=each),
            node_id=name(each),
            because=f"silent for {each % 90} s, three heartbeats were missed by {each}",
        )
        for each in range(first, first + number)
    ]


def name(number: int) -> str:
    """Return the node that a fact is about."""
    return f"demo-{number * 7919 % 10_000:05}"


def server_seconds(server: RealPostgres) -> float:
    """Return the CPU time that the server's processes have taken, ended ones included."""
    ticks = 0
    for pid in server.pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        ticks += sum(map(int, fields[11:15]))  # user and system, its own and its children's
    return ticks / TICKS_PER_SECOND


def measured(work: Callable[[], None], number: int, server: RealPostgres | None = None) -> Cost:
    """Run `work` and return what it cost for each of its facts, all threads together."""
    before = server_seconds(server) if server else 0.0
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    after = server_seconds(server) - before if server else None
    scale = 1e6 / number
    return Cost(cpu * scale, wall * scale, None if after is None else after * scale)


# --- what is measured --------------------------------------------------------------------------


def sqlite_floor(place: Place, groups: Groups) -> Cost:
    """Write the encoded facts with nothing but sqlite3."""
    db = sqlite3.connect(place.folder / "floor.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE fact (seq INTEGER PRIMARY KEY, raw BLOB NOT NULL)")
    encoded = [[(events.encode(event),) for event in group] for group in groups]

    def work() -> None:
        for rows in encoded:
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO fact (raw) VALUES (?)", rows)
            db.execute("COMMIT")

    cost = measured(work, sum(map(len, groups)))
    db.close()
    return cost


def sqlite_store(place: Place, groups: Groups) -> Cost:
    """Append through the store."""
    store = SqliteStore(place.folder / "bench.db")
    return appended(store.open, store.append, store.close, groups)


def memory_store(_place: Place, groups: Groups) -> Cost:
    """Append to memory, as the simulator does."""
    store = MemoryStore()

    def work() -> None:
        for group in groups:
            store.append_now(group, after=store.last_seq_now)

    return measured(work, sum(map(len, groups)))


def postgres_floor(place: Place, groups: Groups) -> Cost:
    """Write the encoded facts with nothing but asyncpg."""
    seq = count(1)
    encoded = [[(next(seq), events.encode(event)) for event in group] for group in groups]
    url = place.url()
    with asyncio.Runner() as runner:
        db: Any = runner.run(driver().connect(url.partition("?")[0]))
        schema = url.partition("=")[2]
        runner.run(db.execute(f"CREATE SCHEMA {schema}"))
        runner.run(
            db.execute(f"CREATE TABLE {schema}.fact (seq bigint PRIMARY KEY, raw bytea NOT NULL)")
        )

        async def append() -> None:
            for rows in encoded:
                await db.copy_records_to_table("fact", schema_name=schema, records=rows)

        cost = measured(lambda: runner.run(append()), sum(map(len, groups)), place.postgres)
        runner.run(db.close())
    return cost


def postgres_store(place: Place, groups: Groups) -> Cost:
    """Append through the store."""
    store = PostgresStore(place.url(), stopwatch=stopwatch, describe=sentence)
    return appended(store.open, store.append, store.close, groups, server=place.postgres)


def postgres_tables(place: Place, groups: Groups) -> Cost:
    """Append through the store, and write a node of its tables with each fact."""
    store = PostgresStore(place.url(), stopwatch=stopwatch, describe=sentence)
    records = {name(n): Node(name(n), START, START, pool="demo") for n in range(10_000)}

    async def append(group: Sequence[Event], *, after: int) -> int:
        about = [events.subjects(each)[0] for each in group]
        store.stage(Projection({each: records[each] for each in about}))
        return await store.append(group, after=after)

    return appended(store.open, append, store.close, groups, server=place.postgres)


def appended(
    begin: Callable[[], Awaitable[None]],
    append: Callable[..., Awaitable[int]],
    end: Callable[[], Awaitable[None]],
    groups: Groups,
    server: RealPostgres | None = None,
) -> Cost:
    """Append one group after the other."""

    async def write() -> None:
        last = 0
        for group in groups:
            last = await append(group, after=last)

    with asyncio.Runner() as runner:
        runner.run(_awaited(begin()))
        cost = measured(lambda: runner.run(write()), sum(map(len, groups)), server)
        runner.run(_awaited(end()))
    return cost


async def _awaited(work: Awaitable[None]) -> None:
    await work


STORES: dict[str, Callable[[Place, Groups], Cost]] = {
    "memory": memory_store,
    "sqlite floor": sqlite_floor,
    "sqlite": sqlite_store,
    "postgres floor": postgres_floor,
    "postgres": postgres_store,
    "postgres tables": postgres_tables,
}


@contextmanager
def a_server() -> Iterator[RealPostgres | None]:
    """Run a throw-away PostgreSQL that flushes; None where there is none."""
    try:
        server = RealPostgres()
    except pytest.skip.Exception as absent:
        print(f"without PostgreSQL: {absent}", file=sys.stderr)
        yield None
        return
    try:
        yield server
    finally:
        server.stop()


def figures_of(label: str, costs: Sequence[Cost]) -> list[dict[str, object]]:
    """Return the figures of one store and group size."""
    found: list[dict[str, object]] = []
    for part in ("cpu", "server", "wall"):
        runs = [getattr(cost, part) for cost in costs]
        if None not in runs:
            figure = {"name": f"{label}, {part}", "value": statistics.median(runs)}
            found.append({**figure, "unit": "us/fact", "runs": runs})
    return found


def main() -> None:
    """Measure, print one line for each store and group size, and write the figures."""
    asked = argparse.ArgumentParser(description="what it costs to make a fact durable")
    asked.add_argument("--folder", help="where SQLite writes; its disk is what is measured")
    asked.add_argument("--runs", type=int, default=5)
    asked.add_argument("--rounds", type=int, help="appends a run; else 300, 50 and 20")
    asked.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    options = asked.parse_args()
    figures: list[dict[str, object]] = []
    print("microseconds a fact; medians")
    print(f"{'group':>6}  {'store':<16} {'CPU':>9} {'server':>9} {'wall':>10} {'facts/s':>10}")
    with a_server() as server:
        for size, rounds in GROUPS.items():
            groups = [facts(at * size, size) for at in range(options.rounds or rounds)]
            for label, write in STORES.items():
                if server is None and label.startswith("postgres"):
                    continue
                costs: list[Cost] = []
                for run in range(options.runs):
                    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                        place = Place(Path(folder), server, count(size * 10_000 + 100 * run))
                        if server is not None:
                            server.sql(DROP.format(schema=f"bench_{size * 10_000 + 100 * run}"))
                        costs.append(write(place, groups))
                found = figures_of(f"append {label}, groups of {size}", costs)
                figures += found
                shown = {str(each["name"]).rpartition(" ")[2]: each["value"] for each in found}
                wall = float(str(shown["wall"]))
                its = f"{shown['server']:>9.2f}" if "server" in shown else f"{'-':>9}"
                cells = f"{shown['cpu']:>9.2f} {its} {wall:>10.2f} {1e6 / wall:>10,.0f}"
                print(f"{size:>6}  {label:<16} {cells}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


DROP = "SET client_min_messages = warning; DROP SCHEMA IF EXISTS {schema} CASCADE"


if __name__ == "__main__":
    main()
