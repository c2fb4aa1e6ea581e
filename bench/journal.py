"""What it costs to make a fact durable, beside the floor that SQLite itself sets.

    python bench/journal.py [--folder DIR] [--runs 5] [--rounds 200] [--json FILE]

Appends node facts in groups of 1, 100 and 1,000 and prints, for each group size, the CPU time and
the wall time a fact, as medians over the runs. The floor is a bare `sqlite3` connection with the
same pragmas that writes ready-made bytes into one table with `executemany`: no encoding, checksum,
index of subjects, thread or fence. No two facts are equal, so every row changes a page. A durable
append waits for the disk's flush: measure on the disk you will run on.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from figures import Figure, options, write

from navarch.core.model import events
from navarch.core.model.events import Event
from navarch.stores.memory import MemoryStore
from navarch.stores.sqlite import SqliteStore

START = datetime(2026, 5, 1, tzinfo=UTC)
GROUPS = (1, 100, 1_000)


class Cost(NamedTuple):
    """What one run took, a fact, in microseconds."""

    cpu_us: float
    wall_us: float


def facts(first: int, count: int) -> list[Event]:
    """Return `count` facts that differ from all others, about ten thousand nodes."""
    return [
        events.NodeLost(
            at=START + timedelta(milliseconds=number),
            node_id=f"demo-{number * 7919 % 10_000:05}",
            because=f"silent for {number % 90} s, three heartbeats were missed by {number}",
        )
        for number in range(first, first + count)
    ]


def measured(work: Callable[[], None], count: int) -> Cost:
    """Run `work` and return what it cost for each of its `count` facts, all threads together."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Cost(cpu / count * 1e6, wall / count * 1e6)


def floor(path: Path, groups: list[list[Event]]) -> Cost:
    """Write the encoded facts with nothing but sqlite3."""
    db = sqlite3.connect(path, isolation_level=None)
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


def sqlite_store(path: Path, groups: list[list[Event]]) -> Cost:
    """Append through the store, one group after the other, as the control plane does."""
    store = SqliteStore(path)
    with asyncio.Runner() as runner:
        runner.run(store.open())

        async def append() -> None:
            last = 0
            for group in groups:
                last = await store.append(group, after=last)

        cost = measured(lambda: runner.run(append()), sum(map(len, groups)))
        runner.run(store.close())
    return cost


def memory_store(_path: Path, groups: list[list[Event]]) -> Cost:
    """Append to memory, as the simulator does."""
    store = MemoryStore()

    def work() -> None:
        for group in groups:
            store.append_now(group, after=store.last_seq_now)

    return measured(work, sum(map(len, groups)))


def main() -> None:
    """Measure and print one line for each store and group size."""
    asked = options("what it costs to make a fact durable")
    asked.add_argument("--folder", help="where to write; its disk is what is measured")
    asked.add_argument("--rounds", type=int, default=200, help="appends a run")
    given = asked.parse_args()
    figures: list[Figure] = []
    print(f"{'group':>6}  {'store':<12} {'CPU µs/fact':>12} {'wall µs/fact':>13} {'facts/s':>10}")
    for size in GROUPS:
        groups = [facts(start * size, size) for start in range(given.rounds)]
        for name, append in (("floor", floor), ("sqlite", sqlite_store), ("memory", memory_store)):
            costs: list[Cost] = []
            for _ in range(given.runs):
                with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                    costs.append(append(Path(folder) / "bench.db", groups))
            what = f"a fact, {name}, {size:,} at once"
            cpu = Figure(f"{what}, CPU", "µs", [cost.cpu_us for cost in costs])
            wall = Figure(f"{what}, wall", "µs", [cost.wall_us for cost in costs])
            rate = 1e6 / wall.value
            print(f"{size:>6}  {name:<12} {cpu.value:>12.2f} {wall.value:>13.2f} {rate:>10,.0f}")
            figures += [cpu, wall]
    write(figures, given.json)


if __name__ == "__main__":
    main()
