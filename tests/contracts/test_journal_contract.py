"""What every store promises: the same suite over each of them.

The stores differ in what they survive, never in what they answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest

from navarch.controlplane.clock import stopwatch
from navarch.core.model import events
from navarch.errors import JournalConflict, JournalError
from navarch.stores.base import Loaded, Recorded, Snapshot, Store
from navarch.stores.memory import MemoryStore
from navarch.stores.postgres import PostgresStore
from navarch.stores.sqlite import SqliteStore
from stores.facts import START, at, fact, facts, run

HOLDER = "pid 4242 on host a since 2026-05-01T12:00:00Z"


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Give a closed, empty store of each kind."""
    makers: dict[str, Callable[[], Store]] = {
        "memory": lambda: MemoryStore(holder=HOLDER),
        "sqlite": lambda: SqliteStore(tmp_path / "navarch.db", holder=HOLDER),
        "postgres": lambda: PostgresStore(
            request.getfixturevalue("new_schema")(), holder=HOLDER, stopwatch=stopwatch
        ),
    }
    return makers[request.param]()


@asynccontextmanager
async def opened(store: Store, count: int = 0) -> AsyncIterator[Store]:
    """Open `store` and put `count` facts into it."""
    await store.open()
    try:
        await store.append(facts(1, count), after=0)
        yield store
    finally:
        await store.close()


def recorded(first: int, last: int) -> list[Recorded]:
    """Return what a store must answer for the facts `first` to `last`."""
    return [Recorded(number, fact(number)) for number in range(first, last + 1)]


# --- journal ---------------------------------------------------------------------------------


def test_an_empty_journal_loads_as_nothing(store: Store) -> None:
    async def scenario() -> Loaded:
        async with opened(store):
            return await store.load()

    assert run(scenario()) == Loaded(None, [], 0)


def test_what_was_appended_is_there_after_a_restart(store: Store) -> None:
    async def scenario() -> tuple[int, int, Loaded]:
        async with opened(store):
            first = await store.append(facts(1, 3), after=0)
            second = await store.append(facts(4, 10), after=3)
        await store.open()
        loaded = await store.load()
        await store.close()
        return first, second, loaded

    first, second, loaded = run(scenario())
    assert (first, second) == (3, 10)
    assert loaded == Loaded(None, recorded(1, 10), 10)


@pytest.mark.parametrize("after", [0, 2, 4])
def test_an_append_that_has_not_seen_the_last_fact_is_refused_whole(
    store: Store, after: int
) -> None:
    async def scenario() -> list[Recorded]:
        async with opened(store, count=3):
            with pytest.raises(JournalConflict, match=f"ends at fact 3, not at {after}"):
                await store.append(facts(4, 5), after=after)
            return await store.read()

    assert run(scenario()) == recorded(1, 3)


def test_appending_nothing_keeps_the_number_and_still_checks_the_fence(store: Store) -> None:
    async def scenario() -> int:
        async with opened(store, count=3):
            with pytest.raises(JournalConflict):
                await store.append([], after=2)
            return await store.append([], after=3)

    assert run(scenario()) == 3


def test_appends_in_flight_together_keep_their_order(store: Store) -> None:
    async def scenario() -> tuple[list[int], list[Recorded]]:
        async with opened(store):
            waiting = [store.append([fact(n)], after=n - 1) for n in range(1, 41)]
            return list(await asyncio.gather(*waiting)), await store.read()

    numbers, there = run(scenario())
    assert numbers == list(range(1, 41))
    assert there == recorded(1, 40)


def test_of_two_writers_in_flight_one_wins_and_the_other_leaves_nothing(store: Store) -> None:
    async def scenario() -> tuple[list[int | BaseException], list[Recorded]]:
        async with opened(store):
            rivals = [
                store.append(facts(1, 2), after=0),
                store.append(facts(7, 9), after=0),
                store.append(facts(3, 4), after=2),
            ]
            answers = await asyncio.gather(*rivals, return_exceptions=True)
            return answers, await store.read()

    answers, there = run(scenario())
    assert [answers[0], type(answers[1]), answers[2]] == [2, JournalConflict, 4]
    assert there == recorded(1, 4)


def test_a_fact_that_cannot_be_encoded_leaves_nothing_of_its_append(store: Store) -> None:
    bad = events.NodeLost(at=START, node_id="node-1", because="\ud800 is no text")

    async def scenario() -> list[Recorded]:
        async with opened(store, count=2):
            with pytest.raises(UnicodeEncodeError):
                await store.append([fact(3), bad], after=2)
            await store.append([fact(3)], after=2)
            return await store.read()

    assert run(scenario()) == recorded(1, 3)


def test_a_second_open_is_refused_and_names_the_holder(store: Store) -> None:
    async def scenario() -> int:
        async with opened(store):
            with pytest.raises(JournalConflict, match="pid 4242 on host a since 2026-05-01T12"):
                await store.open()
            return await store.append([fact(1)], after=0)

    assert run(scenario()) == 1


def test_a_closed_journal_answers_nothing_and_may_be_closed_again(store: Store) -> None:
    async def scenario() -> None:
        async with opened(store):
            pass
        await store.close()
        for question in (
            store.load,
            store.read,
            store.last_seq,
            lambda: store.append([], after=0),
            lambda: store.snapshot(0, b""),
            lambda: store.forget(before=START),
        ):
            with pytest.raises(JournalError, match="open it first"):
                await question()

    run(scenario())


# --- snapshots -------------------------------------------------------------------------------


def test_a_load_begins_at_the_newest_snapshot(store: Store) -> None:
    async def scenario() -> tuple[Loaded, list[Recorded]]:
        async with opened(store, count=10):
            for seq in (0, 2, 5, 8):
                await store.snapshot(seq, b"fleet at %d" % seq)
            return await store.load(), await store.read()

    loaded, history = run(scenario())
    assert loaded == Loaded(Snapshot(8, b"fleet at 8"), recorded(9, 10), 10)
    assert history == recorded(1, 10)


def test_a_snapshot_at_the_last_fact_leaves_nothing_to_replay(store: Store) -> None:
    async def scenario() -> Loaded:
        async with opened(store, count=4):
            await store.snapshot(4, b"first")
            await store.snapshot(4, b"again")
            return await store.load()

    assert run(scenario()) == Loaded(Snapshot(4, b"again"), [], 4)


@pytest.mark.parametrize("seq", [4, 11])
def test_a_snapshot_older_than_the_newest_or_ahead_of_the_facts_is_refused(
    store: Store, seq: int
) -> None:
    async def scenario() -> Loaded:
        async with opened(store, count=10):
            await store.snapshot(5, b"five")
            with pytest.raises(JournalError, match=f"a snapshot at {seq} is refused"):
                await store.snapshot(seq, b"bad")
            return await store.load()

    assert run(scenario()) == Loaded(Snapshot(5, b"five"), recorded(6, 10), 10)


# --- history ---------------------------------------------------------------------------------


def test_history_is_read_in_pages(store: Store) -> None:
    async def scenario() -> list[list[Recorded]]:
        async with opened(store, count=10):
            return [await store.read(after=after, limit=4) for after in (0, 4, 8, 10, 99)]

    pages = run(scenario())
    assert pages == [recorded(1, 4), recorded(5, 8), recorded(9, 10), [], []]


def test_the_newest_facts_come_first_when_asked(store: Store) -> None:
    async def scenario() -> list[Recorded]:
        async with opened(store, count=10):
            return await store.read(newest_first=True, limit=3, after=1)

    assert run(scenario()) == recorded(8, 10)[::-1]


QUESTIONS = list(
    product(
        [0, 11],
        [None, 1, 30],
        [None, "node-2", "training", "nobody"],
        [None, at(-5), at(17), at(99)],
        [False, True],
    )
)


def test_questions_combine(store: Store) -> None:
    async def scenario() -> list[list[Recorded]]:
        async with opened(store, count=40):
            return [
                await store.read(
                    after=after, before=before, subject=subject, since=since, newest_first=newest
                )
                for after, before, subject, since, newest in QUESTIONS
            ]

    for asked, answer in zip(QUESTIONS, run(scenario()), strict=True):
        after, before, subject, since, newest = asked
        wanted = [
            record
            for record in recorded(after + 1, 40)
            if (before is None or record.seq < before)
            and (subject is None or subject in events.subjects(record.event))
            and (since is None or record.event.at >= since)
        ]
        assert answer == (wanted[::-1] if newest else wanted), asked


def test_since_finds_every_fact_although_the_clock_stepped_back(store: Store) -> None:
    minutes = [1, 2, 30, 3, 4, 31, 5, 32]
    taken = [events.Resumed(at=at(m), version=str(m)) for m in minutes]

    async def scenario() -> list[Recorded]:
        async with opened(store):
            await store.append(taken[:4], after=0)
            for seq, event in enumerate(taken[4:], start=4):
                await store.append([event], after=seq)
            return await store.read(since=at(30))

    assert [record.seq for record in run(scenario())] == [3, 6, 8]


def test_the_last_number_is_told(store: Store) -> None:
    async def scenario() -> list[int]:
        async with opened(store) as empty:
            before = await empty.last_seq()
            await store.append(facts(1, 7), after=0)
            return [before, await store.last_seq()]

    assert run(scenario()) == [0, 7]


def test_a_question_that_makes_no_sense_is_refused(store: Store) -> None:
    async def scenario() -> None:
        async with opened(store):
            with pytest.raises(ValueError, match="limit 0 is below 1"):
                await store.read(limit=0)
            with pytest.raises(ValueError, match="has no time zone"):
                await store.read(since=START.replace(tzinfo=None))

    run(scenario())


# --- retention -------------------------------------------------------------------------------


async def forget(
    store: Store, *, before: int, keep_bytes: int | None = None, folded: int | None = 30
) -> tuple[int, list[Recorded], Loaded]:
    """Forget out of 40 facts, and say what is left."""
    async with opened(store, count=40):
        if folded is not None:
            await store.snapshot(folded, b"state")
        removed = await store.forget(before=at(before), keep_bytes=keep_bytes)
        return removed, await store.read(), await store.load()


@pytest.mark.parametrize(
    "before, gone", [(-9, 0), (1, 0), (2, 1), (13, 12), (31, 30), (32, 30), (999, 30)]
)
def test_facts_older_than_an_age_go_but_none_after_the_snapshot(
    store: Store, before: int, gone: int
) -> None:
    removed, left, loaded = run(forget(store, before=before))
    assert (removed, left) == (gone, recorded(gone + 1, 40))
    assert loaded == Loaded(Snapshot(30, b"state"), recorded(31, 40), 40)


@pytest.mark.parametrize("kept", [0, 5, 10, 11, 25, 39, 40])
def test_facts_beyond_a_size_go_but_none_after_the_snapshot(store: Store, kept: int) -> None:
    exactly = sum(len(events.encode(fact(number))) for number in range(41 - kept, 41))
    removed, left, _ = run(forget(store, before=-9, keep_bytes=exactly))
    assert removed == min(40 - kept, 30)
    assert left == recorded(removed + 1, 40)


def test_one_byte_less_costs_one_fact_more(store: Store) -> None:
    exactly = sum(len(events.encode(fact(number))) for number in range(21, 41))
    removed, _, _ = run(forget(store, before=-9, keep_bytes=exactly - 1))
    assert removed == 21


def test_without_a_snapshot_nothing_is_forgotten(store: Store) -> None:
    removed, left, _ = run(forget(store, before=999, keep_bytes=0, folded=None))
    assert (removed, left) == (0, recorded(1, 40))


def test_a_young_fact_shields_the_older_ones_behind_it(store: Store) -> None:
    minutes = [1, 2, 90, 3, 4]
    taken = [events.Resumed(at=at(m), version=str(m)) for m in minutes]

    async def scenario() -> int:
        async with opened(store):
            await store.append(taken, after=0)
            await store.snapshot(5, b"state")
            return await store.forget(before=at(80))

    assert run(scenario()) == 2


def test_the_numbers_go_on_after_everything_was_forgotten(store: Store) -> None:
    async def scenario() -> tuple[int, list[Recorded], Loaded, int, list[Recorded]]:
        async with opened(store, count=12):
            await store.snapshot(12, b"all")
            removed = await store.forget(before=at(0) + timedelta(days=9))
            left, loaded = await store.read(), await store.load()
            last = await store.append(facts(13, 14), after=12)
            return removed, left, loaded, last, await store.read(since=at(14))

    removed, left, loaded, last, newest = run(scenario())
    assert (removed, left, last) == (12, [], 14)
    assert loaded == Loaded(Snapshot(12, b"all"), [], 12)
    assert newest == recorded(14, 14)


def test_what_was_forgotten_is_gone_for_every_question(store: Store) -> None:
    async def scenario() -> list[Recorded]:
        async with opened(store, count=40):
            await store.snapshot(40, b"state")
            await store.forget(before=at(21))
            return await store.read(subject="node-2")

    assert [record.seq for record in run(scenario())] == [22, 27, 32, 37]
