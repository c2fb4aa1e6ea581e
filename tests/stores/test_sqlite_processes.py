"""Real processes on one file: who may write, and what a killed writer leaves behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from navarch.errors import JournalConflict
from navarch.stores.base import Loaded, Recorded, Snapshot
from navarch.stores.sqlite import SqliteStore
from stores.facts import fact, facts, run

WRITER = """
import asyncio, os, sys
from navarch.stores.sqlite import SqliteStore
from stores.facts import facts

async def main():
    store = SqliteStore(sys.argv[1], holder=f"pid {os.getpid()} on host a since noon")
    await store.open()
    last = (await store.load()).last_seq
    while True:
        last = await store.append(facts(last + 1, last + last % 7 + 1), after=last)
        if last % 5 == 0:
            await store.snapshot(last, b"state at %d" % last)
        print(last, flush=True)

asyncio.run(main())
"""


@contextmanager
def writer(journal: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that appends without end and prints each number that it was promised."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, journal],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def promised(process: subprocess.Popen[str], lines: int | None = None) -> int:
    """Return the last number the writer printed, of `lines` lines or of all until it ended."""
    assert process.stdout is not None
    last = 0
    for count, line in enumerate(process.stdout, start=1):
        if line.endswith("\n"):  # a line cut short by the kill may be a cut number
            last = int(line)
        if count == lines:
            break
    return last


async def load(journal: Path) -> Loaded:
    """Open the journal as a restarted control plane does."""
    store = SqliteStore(journal)
    await store.open()
    try:
        return await store.load()
    finally:
        await store.close()


def test_what_a_killed_writer_was_promised_is_there(tmp_path: Path) -> None:
    journal = tmp_path / "navarch.db"
    for kill_after in (1, 13, 40, 41, 97):
        with writer(journal) as process:
            early = promised(process, kill_after)
            process.kill()
            last = max(early, promised(process))
        loaded = run(load(journal))
        assert loaded.last_seq >= last
        assert loaded.last_seq <= last + 7  # at most the append that was under way
        start = loaded.snapshot.seq if loaded.snapshot else 0
        if loaded.snapshot:
            assert loaded.snapshot == Snapshot(start, b"state at %d" % start)
        wanted = [Recorded(n, fact(n)) for n in range(start + 1, loaded.last_seq + 1)]
        assert loaded.events == wanted


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    journal = tmp_path / "navarch.db"
    with writer(journal) as process:
        promised(process, 1)
        with pytest.raises(JournalConflict) as caught:
            run(load(journal))
        process.kill()
        process.wait()
        loaded = run(load(journal))
    assert str(caught.value) == (
        f"journal {journal} is held by pid {process.pid} on host a since noon: "
        "stop it first or use another --data"
    )
    assert loaded.last_seq > 0


def test_a_process_started_by_the_holder_does_not_inherit_the_hold(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore) -> None:
        await store.open()
        child = await asyncio.create_subprocess_exec("sleep", "60", close_fds=False)
        await store.close()
        await store.open()
        child.kill()
        await child.wait()
        await store.close()

    run(scenario(SqliteStore(tmp_path / "navarch.db")))


def test_the_fence_holds_even_where_the_hold_was_removed(tmp_path: Path) -> None:
    journal = tmp_path / "navarch.db"

    async def scenario() -> list[Recorded]:
        first, second = SqliteStore(journal), SqliteStore(journal)
        await first.open()
        await first.append(facts(1, 3), after=0)
        journal.with_name("navarch.db.lock").unlink()
        await second.open()
        await second.append([fact(4)], after=3)
        with pytest.raises(JournalConflict, match="ends at fact 4, not at 3: another control"):
            await first.append([fact(7)], after=3)
        history = await second.read()
        await first.close()
        await second.close()
        return history

    assert run(scenario()) == [Recorded(n, fact(n)) for n in range(1, 5)]


def test_the_lock_file_says_who_holds_and_how_much_was_promised(tmp_path: Path) -> None:
    lock = tmp_path / "navarch.db.lock"

    async def scenario(store: SqliteStore) -> str:
        await store.open()
        await store.append(facts(1, 12), after=0)
        held = lock.read_text()
        await store.close()
        return held

    assert run(scenario(SqliteStore(tmp_path / "navarch.db", holder="pid 1 on host a"))) == (
        "00000000000000000012 facts acknowledged\npid 1 on host a\n"
    )
    assert lock.read_text() == "00000000000000000012 facts acknowledged\n"


def test_an_unreadable_promise_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "navarch.db.lock").write_bytes(b"\x00" * 40)
    assert run(load(tmp_path / "navarch.db")) == Loaded(None, [], 0)


def test_an_append_cancelled_while_it_waits_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore) -> list[Recorded]:
        await store.open()
        session = store._opened()  # noqa: SLF001 - the only way to keep the writer busy
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()
        busy = asyncio.ensure_future(
            session.write(asyncio.run_coroutine_threadsafe(gate.wait(), loop).result)
        )
        doomed = asyncio.ensure_future(store.append([fact(1)], after=0))
        await asyncio.sleep(0)
        doomed.cancel()
        await asyncio.gather(doomed, return_exceptions=True)
        kept = asyncio.ensure_future(store.append([fact(5)], after=0))
        gate.set()
        await asyncio.gather(busy, kept)
        history = await store.read()
        await store.close()
        return history

    assert run(scenario(SqliteStore(tmp_path / "navarch.db"))) == [Recorded(1, fact(5))]


def test_appends_that_wait_are_committed_together(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore) -> int:
        await store.open()
        session = store._opened()  # noqa: SLF001 - the only way to see the transactions
        commits: list[str] = []
        database = session.journal._db  # noqa: SLF001 - as above
        await session.write(lambda: database.set_trace_callback(commits.append))
        await asyncio.gather(*(store.append([fact(n)], after=n - 1) for n in range(1, 101)))
        await store.close()
        return commits.count("COMMIT")

    # The first finds the writer idle and goes alone; the others gather behind its flush.
    assert run(scenario(SqliteStore(tmp_path / "navarch.db"))) <= 20
