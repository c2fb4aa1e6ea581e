"""Who may write to a shared store: the lease, its renewal, its loss, and the fence behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from infra.real_postgres import RealPostgres
from navarch.controlplane.clock import stopwatch
from navarch.errors import JournalConflict, JournalError
from navarch.stores.base import Leader, SharedStore
from navarch.stores.postgres import PostgresStore
from stores.facts import fact, facts, run

QUICK = timedelta(seconds=2)
SECOND = timedelta(seconds=1)


def member(
    url: str, name: str, *, lease: timedelta = QUICK, clock: Callable[[], float] = stopwatch
) -> PostgresStore:
    """Return the store as the control plane `name` reaches it."""
    return PostgresStore(
        url,
        stopwatch=clock,
        holder=name,
        api_url=f"http://{name}:50051",
        lease=lease,
        renew_every=lease / 4,
    )


async def both(url: str) -> tuple[SharedStore, SharedStore]:
    """Return two control planes of one fleet, both connected."""
    first, second = member(url, "a"), member(url, "b")
    await first.connect()
    await second.connect()
    return first, second


async def close(*stores: SharedStore) -> None:
    """Close all."""
    for store in stores:
        await store.close()


def test_one_takes_the_lease_and_the_other_reads_who_it_is(new_schema: Callable[[], str]) -> None:
    async def scenario() -> None:
        first, second = await both(new_schema())
        assert await second.leader() is None
        assert (await first.acquire(), await second.acquire()) == (True, False)
        assert (first.held(), second.held()) == (True, False)
        assert await second.leader() == Leader("a", "http://a:50051", 1)
        assert await first.acquire()
        assert await second.leader() == Leader("a", "http://a:50051", 1)
        await close(first, second)

    run(scenario())


def test_of_many_that_ask_at_once_one_leads(new_schema: Callable[[], str]) -> None:
    async def scenario() -> None:
        url = new_schema()
        members = [member(url, f"m{n}") for n in range(5)]
        await asyncio.gather(*(each.connect() for each in members))
        taken = await asyncio.gather(*(each.acquire() for each in members))
        assert sum(taken) == 1
        assert [each.held() for each in members] == taken
        await close(*members)

    run(scenario())


def test_a_lease_is_renewed_for_as_long_as_it_is_wanted(new_schema: Callable[[], str]) -> None:
    async def scenario() -> None:
        first, second = await both(new_schema())
        assert await first.acquire()
        await asyncio.sleep(1.2 * QUICK.total_seconds())
        assert first.held()
        assert not await second.acquire()
        assert await first.append(facts(1, 3), after=0) == 3
        await close(first, second)

    run(scenario())


def test_what_is_given_up_can_be_taken_at_once_and_the_term_grows(
    new_schema: Callable[[], str],
) -> None:
    async def scenario() -> None:
        first, second = await both(new_schema())
        assert await first.acquire()
        await first.append(facts(1, 3), after=0)
        await first.release()
        assert not first.held()
        assert await first.lost() == "it was given up"
        assert await second.acquire()
        assert await first.leader() == Leader("b", "http://b:50051", 2)
        assert (await second.load()).last_seq == 3
        with pytest.raises(JournalConflict, match="its lease is lost: it was given up"):
            await first.append([fact(4)], after=3)
        assert await second.append([fact(4)], after=3) == 4
        await close(first, second)

    run(scenario())


def test_without_the_lease_nothing_is_written_and_everything_can_be_read(
    new_schema: Callable[[], str],
) -> None:
    async def scenario() -> None:
        first, second = await both(new_schema())
        assert await first.acquire()
        await first.append(facts(1, 9), after=0)
        for write in (
            lambda: second.append([fact(10)], after=9),
            lambda: second.snapshot(9, b"state"),
            lambda: second.forget(before=fact(5).at),
        ):
            with pytest.raises(JournalConflict, match="acquire it first"):
                await write()
        with pytest.raises(JournalError, match="there is no lease to lose"):
            await second.lost()
        assert len(await second.read()) == 9
        assert await second.last_seq() == 9
        await close(first, second)

    run(scenario())


def test_a_leader_whose_clock_stands_still_is_fenced_by_the_term(
    new_schema: Callable[[], str], postgres: RealPostgres
) -> None:
    async def scenario() -> None:
        url = new_schema()
        stopped = member(url, "a", clock=lambda: 1000.0)
        second = member(url, "b")
        await stopped.connect()
        await second.connect()
        assert await stopped.acquire()
        await stopped.append(facts(1, 3), after=0)
        schema = stopped.address.schema
        postgres.sql(f"UPDATE {schema}.lease SET until = now() - interval '1 second'")
        assert await second.acquire()
        assert stopped.held()  # it believes so, and is wrong
        with pytest.raises(JournalError):
            await stopped.append([fact(4)], after=3)  # its session was ended
        with pytest.raises(JournalConflict):
            await stopped.append([fact(4)], after=3)
        with pytest.raises(JournalConflict, match="lease"):
            await stopped.snapshot(3, b"state")
        assert await asyncio.wait_for(stopped.lost(), 5)
        assert not stopped.held()
        assert await second.append([fact(4)], after=3) == 4
        await close(stopped, second)

    run(scenario())


def test_a_server_that_stands_still_means_that_the_lease_is_lost_in_time(
    new_schema: Callable[[], str], postgres: RealPostgres
) -> None:
    async def scenario() -> None:
        store = member(new_schema(), "a")
        await store.connect()
        assert await store.acquire()
        await store.append([fact(1)], after=0)
        before = stopwatch()
        postgres.freeze()
        try:
            waiting = asyncio.create_task(store.append([fact(2)], after=1))
            reason = await asyncio.wait_for(store.lost(), 5)
            took = stopwatch() - before
            assert took < 2 * QUICK.total_seconds()
            assert "it was not renewed in time" in reason
            assert not store.held()
            with pytest.raises(JournalConflict, match="lease is lost"):
                await asyncio.wait_for(waiting, 5)
            with pytest.raises(JournalError):
                await asyncio.wait_for(store.leader(), 5)
        finally:
            postgres.thaw()
        assert await store.acquire()
        last = await store.last_seq()
        assert last in {1, 2}  # whether it was kept is for the journal to say
        assert await store.append([fact(3)], after=last) == last + 1
        await store.close()

    run(scenario())


def test_waiting_for_facts_ends_with_the_next_append(new_schema: Callable[[], str]) -> None:
    async def scenario() -> None:
        first, second = await both(new_schema())
        assert await first.acquire()
        await first.append(facts(1, 3), after=0)
        assert await second.wait_appended(2, SECOND) == 3
        waiting = asyncio.create_task(second.wait_appended(3, 20 * SECOND))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        before = stopwatch()
        await first.append(facts(4, 5), after=3)
        assert await waiting == 5
        assert stopwatch() - before < 0.9  # by notification, not by asking again
        assert await second.wait_appended(5, timedelta(seconds=0.1)) == 5
        await close(first, second)

    run(scenario())
