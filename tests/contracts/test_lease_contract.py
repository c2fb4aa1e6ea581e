"""What a store promises that several control planes share: the same suite over each of them.

The double in memory keeps it too, for whole control planes are tested over it in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from doubles.leased_store import LeasedJournal, LeasedMemoryStore
from navarch.controlplane.clock import RealClock, stopwatch
from navarch.errors import JournalConflict, JournalError
from navarch.stores.base import Leader, SharedStore
from navarch.stores.postgres import PostgresStore
from stores.facts import fact, facts, run

LEASE = timedelta(seconds=1.6)
SECOND = timedelta(seconds=1)
Member = Callable[[str], SharedStore]
T = TypeVar("T")


@pytest.fixture(params=["memory", "postgres"])
def story(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run a story about members of one fleet, each a store of its own; close them afterwards."""
    if request.param == "postgres":
        new_schema = request.getfixturevalue("new_schema")

    def tell(work: Callable[[Member], Coroutine[Any, Any, T]]) -> T:
        stores: list[SharedStore] = []

        async def told() -> T:
            journal = LeasedJournal(RealClock(), LEASE)
            url = new_schema() if request.param == "postgres" else ""

            def member(name: str) -> SharedStore:
                api = f"http://{name}:50051"
                store: SharedStore
                if request.param == "memory":
                    store = LeasedMemoryStore(journal, holder=name, url=api)
                else:
                    store = PostgresStore(
                        url,
                        stopwatch=stopwatch,
                        holder=name,
                        api_url=api,
                        lease=LEASE,
                        renew_every=LEASE / 4,
                    )
                stores.append(store)
                return store

            try:
                return await work(member)
            finally:
                for store in stores:
                    await store.close()

        return run(told())

    return tell


async def connected(member: Member, *names: str) -> list[SharedStore]:
    """Return the stores of these members, which reach the journal."""
    stores = [member(name) for name in names]
    for store in stores:
        await store.connect()
    return stores


def test_one_of_two_leads_and_both_know_who(story: Callable[..., Any]) -> None:
    async def work(member: Member) -> None:
        a, b = await connected(member, "a", "b")
        assert await b.leader() is None
        assert (await a.acquire(), await b.acquire(), await a.acquire()) == (True, False, True)
        assert (a.held(), b.held()) == (True, False)
        assert await a.leader() == await b.leader() == Leader("a", "http://a:50051", 1)

    story(work)


def test_the_lease_lasts_while_its_holder_lives(story: Callable[..., Any]) -> None:
    async def work(member: Member) -> None:
        a, b = await connected(member, "a", "b")
        await a.acquire()
        await asyncio.sleep(1.6 * LEASE.total_seconds())
        assert a.held()
        assert not await b.acquire()

    story(work)


def test_a_lease_that_is_given_up_is_free_at_once(story: Callable[..., Any]) -> None:
    async def work(member: Member) -> None:
        a, b = await connected(member, "a", "b")
        await a.acquire()
        await a.release()
        assert not a.held()
        assert await b.acquire()
        assert (await b.leader() or Leader("", "", 0)).term == 2
        with pytest.raises(JournalConflict):
            await a.append([fact(1)], after=0)
        assert await b.append([fact(1)], after=0) == 1

    story(work)


def test_only_the_leader_writes_and_everybody_reads(story: Callable[..., Any]) -> None:
    async def work(member: Member) -> None:
        a, b = await connected(member, "a", "b")
        await a.acquire()
        assert await a.append(facts(1, 5), after=0) == 5
        with pytest.raises(JournalConflict):
            await b.append([fact(6)], after=5)
        with pytest.raises(JournalConflict):
            await b.snapshot(5, b"state")
        assert [each.seq for each in await b.read()] == [1, 2, 3, 4, 5]
        assert (await b.load()).last_seq == await b.last_seq() == 5

    story(work)


def test_a_term_that_is_over_writes_nothing_though_its_place_is_right(
    story: Callable[..., Any],
) -> None:
    async def work(member: Member) -> None:
        a, b = await connected(member, "a", "b")
        await a.acquire()
        await a.append([fact(1)], after=0)
        await a.release()
        assert await b.acquire()
        with pytest.raises(JournalConflict):
            await a.append([fact(2)], after=1)
        assert await b.append([fact(2)], after=1) == 2
        with pytest.raises(JournalConflict):
            await b.append([fact(4)], after=3)

    story(work)


def test_whoever_waits_hears_of_the_next_fact(story: Callable[..., Any]) -> None:
    async def work(member: Member) -> None:
        a, b = await connected(member, "a", "b")
        await a.acquire()
        waiting = asyncio.create_task(b.wait_appended(0, 20 * SECOND))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await a.append(facts(1, 2), after=0)
        assert await waiting == 2
        assert await b.wait_appended(1, 20 * SECOND) == 2
        assert await b.wait_appended(2, SECOND / 10) == 2

    story(work)


def test_a_second_open_is_told_who_leads(story: Callable[..., Any]) -> None:
    async def work(member: Member) -> None:
        a, b = member("a"), member("b")
        await a.open()
        with pytest.raises(JournalConflict, match="held by a"):
            await b.open()
        with pytest.raises(JournalError, match="not open"):
            await b.last_seq()

    story(work)


def test_whoever_has_no_lease_has_none_to_lose(story: Callable[..., Any]) -> None:
    async def work(member: Member) -> None:
        a, b = await connected(member, "a", "b")
        assert await a.acquire()
        losing = asyncio.create_task(a.lost())
        with pytest.raises(JournalError, match="no lease to lose"):
            await b.lost()
        await asyncio.sleep(0)
        assert not losing.done()
        await a.release()
        assert await losing == "it was given up"

    story(work)
