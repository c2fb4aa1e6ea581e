"""Real processes and a real server that end without a word: what was promised is there.

The server flushes here, as it does where nobody has told it not to.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from infra.real_postgres import RealPostgres
from navarch.controlplane.clock import stopwatch
from navarch.errors import JournalConflict
from navarch.stores.base import Loaded, Recorded, Snapshot
from navarch.stores.postgres import PostgresStore
from stores.facts import fact, facts, run

WRITER = """
import asyncio, os, sys
from datetime import timedelta
from navarch.controlplane.clock import stopwatch
from navarch.errors import JournalError
from navarch.stores.postgres import PostgresStore
from stores.facts import facts

async def main():
    store = PostgresStore(
        sys.argv[1], stopwatch=stopwatch, holder=f"pid {os.getpid()}",
        lease=timedelta(seconds=0.5), renew_every=timedelta(seconds=0.1),
    )
    await store.connect()
    while not await store.acquire():
        await asyncio.sleep(0.05)
    last = (await store.load()).last_seq
    print("leads", flush=True)
    while True:
        last = await store.append(facts(last + 1, last + last % 7 + 1), after=last)
        if last % 5 == 0:
            await store.snapshot(last, b"state at %d" % last)
        print(last, flush=True)

try:
    asyncio.run(main())
except JournalError as error:
    print("refused", error, flush=True)
"""

_schemas = itertools.count(1)


@pytest.fixture(scope="module")
def durable() -> Iterator[RealPostgres]:
    """Run a server with the settings that it comes with."""
    server = RealPostgres()
    yield server
    server.stop()


@contextmanager
def writer(url: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that appends without end and prints each number that it was promised."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, url],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def promised(process: subprocess.Popen[str], lines: int | None = None) -> list[int]:
    """Return the numbers that the writer printed, of `lines` lines or of all until it ended."""
    assert process.stdout is not None
    told: list[int] = []
    for count, line in enumerate(process.stdout, start=1):
        if line.endswith("\n") and line.strip().isdigit():  # a kill may cut a line short
            told.append(int(line))
        if count == lines:
            break
    return told


async def load(url: str) -> Loaded:
    """Take the journal up as a successor does, as soon as the lease has run out."""
    store = PostgresStore(url, stopwatch=stopwatch, lease=timedelta(seconds=2))
    await store.connect()
    try:
        async with asyncio.timeout(10):
            while not await store.acquire():  # noqa: ASYNC110 - another process has to run out
                await asyncio.sleep(0.05)
        return await store.load()
    finally:
        await store.close()


def check(loaded: Loaded, last: int) -> None:
    """Fail unless all up to `last`, and at most one append more, is there and is right."""
    assert last <= loaded.last_seq <= last + 7
    start = loaded.snapshot.seq if loaded.snapshot else 0
    if loaded.snapshot:
        assert loaded.snapshot == Snapshot(start, b"state at %d" % start)
    wanted = [Recorded(n, fact(n)) for n in range(start + 1, loaded.last_seq + 1)]
    assert loaded.events == wanted


def test_what_a_killed_writer_was_promised_is_there(durable: RealPostgres) -> None:
    url = durable.url(f"killed_{next(_schemas)}")
    for kill_after in (3, 29):
        with writer(url) as process:
            early = promised(process, kill_after)
            process.kill()
            last = max([*early, *promised(process)])
        check(run(load(url)), last)


@pytest.mark.soak
def test_what_many_killed_writers_were_promised_is_there(durable: RealPostgres) -> None:
    url = durable.url(f"killed_{next(_schemas)}")
    for kill_after in range(2, 120, 3):
        with writer(url) as process:
            early = promised(process, kill_after)
            process.kill()
            last = max([*early, *promised(process)])
        check(run(load(url)), last)


async def live_through_crashes(server: RealPostgres, url: str, crashes: list[int]) -> None:
    """Append without end while the server crashes, each time when it has promised so much."""
    store = PostgresStore(url, stopwatch=stopwatch, lease=timedelta(seconds=30))
    await store.open()
    last = 0
    for crash_at in [*crashes, 0]:
        while last < crash_at:
            last = await store.append(facts(last + 1, last + 2), after=last)
        crashing = asyncio.create_task(asyncio.to_thread(crash_and_start, server))
        while not crashing.done():
            last = await store.append(facts(last + 1, last + 2), after=last)
        await crashing
    assert store.held()
    assert await store.read(limit=10**6) == [Recorded(n, fact(n)) for n in range(1, last + 1)]
    await store.close()


def crash_and_start(server: RealPostgres) -> None:
    """End the server at once, and have it again."""
    server.crash()
    server.start()


def test_a_server_that_crashes_loses_nothing_and_the_writer_carries_on(
    durable: RealPostgres,
) -> None:
    url = durable.url(f"crashed_{next(_schemas)}")
    run(live_through_crashes(durable, url, []))


@pytest.mark.soak
def test_a_server_that_crashes_often_loses_nothing(durable: RealPostgres) -> None:
    url = durable.url(f"crashed_{next(_schemas)}")
    run(live_through_crashes(durable, url, list(range(10, 1_500, 113))))


def test_of_two_processes_one_writes_until_it_is_killed(durable: RealPostgres) -> None:
    url = durable.url(f"raced_{next(_schemas)}")
    with writer(url) as first:
        promised(first, 3)
        with writer(url) as second:
            early = promised(first, 20)
            first.kill()
            before = max([*early, *promised(first)])
            after = promised(second, 10)  # it leads now, and has appended
            second.kill()
            after += promised(second)
    assert min(after) > before
    check(run(load(url)), max(after))


def test_a_process_that_stood_still_finds_its_lease_taken_and_its_session_ended(
    durable: RealPostgres,
) -> None:
    url = durable.url(f"stood_{next(_schemas)}")
    with writer(url) as process:
        told = promised(process, 20)
        process.send_signal(signal.SIGSTOP)
        loaded = run(load(url))  # at once, although a stopped process may hold locks
        process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        rest = process.stdout.read()
        assert "refused" in rest
        told += [int(line) for line in rest.splitlines() if line.isdigit()]
    check(loaded, max(told))
    assert run(load(url)).last_seq == loaded.last_seq


def test_each_number_is_won_by_one_of_two_who_both_believe_to_lead(
    durable: RealPostgres,
) -> None:
    """No lease runs out here: the clock of each stands still, and only the term tells."""
    url = durable.url(f"both_{next(_schemas)}")

    async def scenario() -> None:
        before: PostgresStore | None = None
        for turn in range(6):
            taker = PostgresStore(url, stopwatch=lambda: 1000.0, holder=f"m{turn}")
            await taker.connect()
            durable.sql(f"UPDATE {taker.address.schema}.lease SET until = now()")
            assert await taker.acquire()
            rivals = [taker] if before is None else [before, taker]
            answers = await asyncio.gather(
                *(store.append([fact(turn + 1)], after=turn) for store in rivals),
                return_exceptions=True,
            )
            assert answers[-1] == turn + 1
            if before is not None:
                assert isinstance(answers[0], JournalConflict)
                assert "another control plane" in str(answers[0])
                await before.close()
            before = taker
        assert before is not None
        assert await before.read() == [Recorded(n, fact(n)) for n in range(1, 7)]
        await before.close()

    run(scenario())
