"""Damaged tables are refused with the place of the damage, or they still tell the whole truth."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import shake_256

import pytest

from infra.real_postgres import RealPostgres
from navarch.controlplane.clock import stopwatch
from navarch.core.model import events
from navarch.errors import JournalCorrupt, JournalError
from navarch.stores.base import Loaded, Recorded, Snapshot
from navarch.stores.postgres import PostgresStore
from navarch.stores.rows import checksum
from stores.facts import fact, facts, run

COUNT = 40
FOLDED = 30
SINCE = [Recorded(number, fact(number)) for number in range(FOLDED + 1, COUNT + 1)]
HISTORY = [Recorded(number, fact(number)) for number in range(1, COUNT + 1)]


@pytest.fixture
def url(new_schema: Callable[[], str]) -> str:
    """Return where a sound journal with two snapshots is."""

    async def scenario() -> str:
        where = new_schema()
        store = PostgresStore(where, stopwatch=stopwatch)
        await store.open()
        await store.append(facts(1, COUNT), after=0)
        await store.snapshot(20, b"state at 20")
        await store.snapshot(FOLDED, b"state at 30")
        await store.close()
        return where

    return run(scenario())


@pytest.fixture
def alter(url: str, postgres: RealPostgres) -> Callable[[str], None]:
    """Return what changes the tables behind the store's back."""
    schema = url.rpartition("=")[2]

    def change(statement: str) -> None:
        postgres.sql(f"SET search_path = {schema}; {statement}")

    return change


def tell(url: str, *, subject: str | None = None) -> tuple[Loaded, list[Recorded]]:
    """Load the journal and read its history, as a restart and a reader would."""

    async def scenario() -> tuple[Loaded, list[Recorded]]:
        store = PostgresStore(url, stopwatch=stopwatch)
        await store.connect()
        try:
            return await store.load(), await store.read(subject=subject)
        finally:
            await store.close()

    return run(scenario())


def test_the_sound_journal_tells_everything(url: str) -> None:
    assert tell(url) == (Loaded(Snapshot(FOLDED, b"state at 30"), SINCE, COUNT), HISTORY)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fact SET raw = set_byte(raw, 9, get_byte(raw, 9) # 4) WHERE seq = 35",
        "UPDATE fact SET crc = crc # 1 WHERE seq = 35",
        "UPDATE fact SET total_bytes = total_bytes + 1 WHERE seq = 35",
        "UPDATE fact SET latest_us = latest_us - 1 WHERE seq = 35",
        "UPDATE fact AS f SET raw = o.raw FROM fact AS o WHERE f.seq = 35 AND o.seq = 36",
        "DELETE FROM fact WHERE seq = 35",
        "UPDATE fact SET seq = 1000 WHERE seq = 35",
    ],
)
def test_a_changed_fact_is_named(url: str, alter: Callable[[str], None], statement: str) -> None:
    alter(statement)
    with pytest.raises(JournalCorrupt, match=r"damaged at fact 35: .*last good fact is 34") as told:
        tell(url)
    assert told.value.seq == 35


def test_a_fact_of_an_unknown_kind_is_named(url: str, alter: Callable[[str], None]) -> None:
    raw = events.encode(fact(35)).replace(b"launch_requested", b"lunch_requested")
    raw = raw.replace(b"resumed", b"resummed").replace(b"node_lost", b"node_lots")
    assert raw != events.encode(fact(35))
    literal = f"'\\x{raw.hex()}'::bytea"
    alter(f"UPDATE fact SET raw = {literal}, total_bytes = 7, latest_us = 8 WHERE seq = 35")
    alter(f"UPDATE fact SET crc = {checksum(raw, 35, 7, 8)} WHERE seq = 35")
    with pytest.raises(JournalCorrupt, match="fact 35: this version cannot decode it"):
        tell(url)


def test_facts_that_are_missing_at_the_end_are_noticed_where_a_snapshot_knows_better(
    url: str, alter: Callable[[str], None]
) -> None:
    alter("DELETE FROM fact WHERE seq > 25")
    with pytest.raises(JournalCorrupt, match="damaged at fact 26: it is missing"):
        tell(url)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE snapshot_chunk SET content = set_byte(content, 3, 255) WHERE seq = 30",
        "UPDATE snapshot_chunk SET content = '' WHERE seq = 30",
        "UPDATE snapshot SET crc = crc + 1 WHERE seq = 30",
        "UPDATE snapshot SET bytes = bytes + 1 WHERE seq = 30",
        "UPDATE snapshot SET bytes = 3 WHERE seq = 30",
        "DELETE FROM snapshot_chunk WHERE seq = 30",
    ],
)
def test_a_damaged_snapshot_is_passed_over_and_told(
    url: str, alter: Callable[[str], None], statement: str
) -> None:
    alter(statement)
    loaded, _ = tell(url)
    assert loaded == Loaded(Snapshot(20, b"state at 20"), HISTORY[20:], COUNT, (30,))


def test_an_index_that_lies_is_damage(url: str, alter: Callable[[str], None]) -> None:
    alter("UPDATE fact_subject SET seq = 32 WHERE subject = 'node-1' AND seq = 31")
    with pytest.raises(JournalCorrupt, match="fact 32: it is not about 'node-1'"):
        tell(url, subject="node-1")
    alter("DELETE FROM fact_subject WHERE seq = 32; INSERT INTO fact_subject VALUES ('node-1', 99)")
    with pytest.raises(JournalCorrupt, match="damaged at fact 99"):
        tell(url, subject="node-1")


def test_a_table_that_is_missing_is_said_in_words(url: str, alter: Callable[[str], None]) -> None:
    alter("DROP TABLE fact CASCADE")
    with pytest.raises(JournalError, match="a table is missing; restore the schema"):
        tell(url)


def test_a_large_snapshot_comes_back_in_pieces(new_schema: Callable[[], str]) -> None:
    state = shake_256(b"noise").digest(9 * 2**20)  # what does not compress takes three pieces

    async def scenario() -> Loaded:
        store = PostgresStore(new_schema(), stopwatch=stopwatch)
        await store.open()
        await store.append(facts(1, 2), after=0)
        await store.snapshot(2, b"")
        assert (await store.load()).snapshot == Snapshot(2, b"")
        await store.snapshot(2, state)
        loaded = await store.load()
        await store.close()
        return loaded

    assert run(scenario()) == Loaded(Snapshot(2, state), [], 2)
