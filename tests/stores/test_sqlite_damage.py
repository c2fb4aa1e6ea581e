"""A damaged file is refused with the place of the damage, or it still tells the whole truth.

There is no third outcome: a store that quietly answers with fewer or other facts would make the
control plane launch and terminate machines by a fleet that never was.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from navarch.core.model import events
from navarch.errors import JournalCorrupt, JournalError
from navarch.stores.base import Loaded, Recorded, Snapshot
from navarch.stores.sqlite import SqliteStore
from stores.facts import fact, facts, run

COUNT = 40
FOLDED = 30
WHOLE = Loaded(
    Snapshot(FOLDED, b"state at 30"),
    [Recorded(number, fact(number)) for number in range(FOLDED + 1, COUNT + 1)],
    COUNT,
)
HISTORY = [Recorded(number, fact(number)) for number in range(1, COUNT + 1)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a sound journal, cleanly closed; copy it, do not touch it."""

    async def scenario(store: SqliteStore) -> None:
        await store.open()
        await store.append(facts(1, FOLDED), after=0)
        await store.snapshot(20, b"state at 20")
        await store.snapshot(FOLDED, b"state at 30")
        for number in range(FOLDED + 1, COUNT + 1):
            await store.append([fact(number)], after=number - 1)
        await store.close()

    folder = tmp_path_factory.mktemp("sound")
    run(scenario(SqliteStore(folder / "navarch.db")))
    return folder


@pytest.fixture
def journal(sound: Path, tmp_path: Path) -> Path:
    """Give a copy of the sound journal to damage."""
    return copied(sound, tmp_path / "copy")


def copied(sound: Path, folder: Path) -> Path:
    """Copy the sound journal with its lock file and return the path of the database."""
    shutil.copytree(sound, folder)
    return folder / "navarch.db"


def tell(journal: Path) -> tuple[Loaded, list[Recorded]]:
    """Load the journal and read its history, as a restart and a reader would."""

    async def scenario(store: SqliteStore) -> tuple[Loaded, list[Recorded]]:
        await store.open()
        try:
            return await store.load(), await store.read(limit=10 * COUNT)
        finally:
            await store.close()

    return run(scenario(SqliteStore(journal)))


def tell_or_refuse(journal: Path) -> tuple[Loaded, list[Recorded]] | JournalError:
    """Do what `tell` does, with the refusal as a value."""
    try:
        return tell(journal)
    except JournalError as error:
        return error


def alter(journal: Path, statement: str, *values: int) -> None:
    """Change the database behind the store's back."""
    db = sqlite3.connect(journal)
    with closing(db), db:
        db.execute(statement, values)


def test_the_sound_journal_tells_everything(journal: Path) -> None:
    assert tell(journal) == (WHOLE, HISTORY)


def test_a_flipped_bit_anywhere_is_found_or_harmless(sound: Path, tmp_path: Path) -> None:
    clean = (sound / "navarch.db").read_bytes()
    journal = copied(sound, tmp_path / "copy")
    found = harmless = 0
    for place in [*range(0, 110, 3), *range(110, len(clean), 97)]:
        damaged = bytearray(clean)
        damaged[place] ^= 1 << place % 8
        journal.write_bytes(damaged)
        outcome = tell_or_refuse(journal)
        if isinstance(outcome, JournalError):
            assert "\n" not in str(outcome), f"byte {place}"
            assert str(journal) in str(outcome), f"byte {place}"
            found += 1
        else:
            loaded, history = outcome
            assert history == HISTORY, f"byte {place}"
            assert loaded.last_seq == COUNT, f"byte {place}"
            assert loaded.events == HISTORY[COUNT - len(loaded.events) :], f"byte {place}"
            harmless += 1
        for name in ("navarch.db-wal", "navarch.db-shm"):
            journal.with_name(name).unlink(missing_ok=True)
    assert found > 30
    assert harmless > 30  # free space within pages, and the index of subjects


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_file_cut_short_is_damage(journal: Path, share: float) -> None:
    raw = journal.read_bytes()
    journal.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(JournalCorrupt) as caught:
        tell(journal)
    assert "\n" not in str(caught.value)


def test_a_text_file_is_no_journal(journal: Path) -> None:
    journal.write_text("pools: {training: {min_nodes: 3}}\n" * 30)
    with pytest.raises(JournalCorrupt, match=r"cannot be read \(file is not a database\)"):
        tell(journal)


@pytest.mark.parametrize("seq", [31, 35, 40])
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE fact SET raw = substr(raw, 1, 9) || x'00' || substr(raw, 11)",
        "UPDATE fact SET crc = crc + 1",
        "UPDATE fact SET raw = 7",
        "UPDATE fact SET latest_us = 'noon'",
        "UPDATE fact SET total_bytes = total_bytes + 1",
    ],
)
def test_a_changed_row_is_named(journal: Path, seq: int, damage: str) -> None:
    alter(journal, f"{damage} WHERE seq = ?", seq)
    with pytest.raises(JournalCorrupt, match=f"damaged at fact {seq}: its checksum") as caught:
        tell(journal)
    assert caught.value.seq == seq
    assert f"the last good fact is {seq - 1}" in str(caught.value)


@pytest.mark.parametrize("seq", [31, 33, 39])
def test_a_missing_fact_is_named(journal: Path, seq: int) -> None:
    alter(journal, "DELETE FROM fact WHERE seq = ?", seq)
    with pytest.raises(JournalCorrupt, match=f"damaged at fact {seq}: it is missing") as caught:
        tell(journal)
    assert caught.value.seq == seq


@pytest.mark.parametrize("last", [39, 31, 30])
def test_a_lost_tail_is_seen_although_the_rest_is_sound(journal: Path, last: int) -> None:
    alter(journal, "DELETE FROM fact WHERE seq > ?", last)
    with pytest.raises(JournalCorrupt, match=f"ends at fact {last}, but 40 were ack") as caught:
        tell(journal)
    assert caught.value.seq == last + 1


def test_facts_that_end_before_the_snapshot_are_damage(journal: Path) -> None:
    alter(journal, "DELETE FROM fact WHERE seq > 25")
    with pytest.raises(JournalCorrupt, match="damaged at fact 26: it is missing"):
        tell(journal)


def test_an_older_copy_can_be_taken_up_by_removing_the_lock_file(journal: Path) -> None:
    alter(journal, "DELETE FROM fact WHERE seq > 35")
    journal.with_name("navarch.db.lock").unlink()
    loaded, history = tell(journal)
    assert loaded.last_seq == 35
    assert history == HISTORY[:35]


def test_a_fact_that_this_version_cannot_decode_is_named(tmp_path: Path) -> None:
    journal = tmp_path / "navarch.db"

    class FromTheFuture(events.Event, frozen=True, tag="from_the_future"):
        """A fact that only a later release knows."""

    async def scenario(store: SqliteStore) -> None:
        await store.open()
        await store.append([fact(1), FromTheFuture(at=fact(2).at)], after=0)
        await store.close()

    run(scenario(SqliteStore(journal)))
    with pytest.raises(JournalCorrupt, match="at fact 2: this version cannot decode it") as caught:
        tell(journal)
    assert caught.value.seq == 2


def test_a_damaged_snapshot_gives_way_to_the_older_one(journal: Path) -> None:
    alter(journal, "UPDATE snapshot SET state = x'00' WHERE seq = 30")
    loaded, _ = tell(journal)
    assert loaded == Loaded(Snapshot(20, b"state at 20"), HISTORY[20:], COUNT, (30,))


def test_without_a_sound_snapshot_everything_is_replayed(journal: Path) -> None:
    alter(journal, "UPDATE snapshot SET crc = crc + 1")
    loaded, _ = tell(journal)
    assert loaded == Loaded(None, HISTORY, COUNT, (30, 20))


def test_a_damaged_snapshot_whose_facts_are_forgotten_is_damage(journal: Path) -> None:
    async def forget(store: SqliteStore) -> int:
        await store.open()
        removed = await store.forget(before=fact(28).at)
        await store.close()
        return removed

    assert run(forget(SqliteStore(journal))) == 27
    alter(journal, "UPDATE snapshot SET state = x'00' WHERE seq = 30")
    with pytest.raises(JournalCorrupt, match="damaged at fact 21: it is missing") as caught:
        tell(journal)
    assert caught.value.seq == 21


def test_a_damaged_snapshot_still_says_how_far_the_facts_went(journal: Path) -> None:
    alter(journal, "UPDATE snapshot SET state = x'00' WHERE seq = 30")
    alter(journal, "DELETE FROM fact WHERE seq > 25")
    journal.with_name("navarch.db.lock").unlink()
    with pytest.raises(JournalCorrupt, match="ends at fact 25, but 30 were acknowledged") as caught:
        tell(journal)
    assert caught.value.seq == 26


def test_retention_counts_on_sound_snapshots_only(journal: Path) -> None:
    alter(journal, "UPDATE snapshot SET state = x'00' WHERE seq = 30")

    async def forget(store: SqliteStore) -> int:
        await store.open()
        removed = await store.forget(before=fact(99).at)
        await store.close()
        return removed

    assert run(forget(SqliteStore(journal))) == 20


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("CREATE TABLE fact", "CREATE\udca0TABLE fact", "its text is no UTF-8"),
        ("CREATE TABLE fact", "CREATE TABLE feet", "cannot be read"),
        ("seq INTEGER PRIMARY", "sea INTEGER PRIMARY", "tables are not as they were made"),
        ("seq INTEGER PRIMARY", "seq INTEFER PRIMARY", "tables are not as they were made"),
    ],
)
def test_a_damaged_definition_of_a_table_is_seen(
    journal: Path, old: str, new: str, words: str
) -> None:
    raw = journal.read_bytes()
    assert old.encode() in raw
    journal.write_bytes(raw.replace(old.encode(), new.encode(errors="surrogateescape")))
    with pytest.raises(JournalCorrupt, match=words):
        tell(journal)


@pytest.mark.parametrize("column", ["total_bytes", "latest_us"])
def test_nothing_is_appended_behind_a_damaged_fact(journal: Path, column: str) -> None:
    alter(journal, f"UPDATE fact SET {column} = 7 WHERE seq = ?", COUNT)

    async def append(store: SqliteStore) -> int:
        await store.open()
        try:
            return await store.append([fact(COUNT + 1)], after=COUNT)
        finally:
            await store.close()

    with pytest.raises(JournalCorrupt, match=f"damaged at fact {COUNT}"):
        run(append(SqliteStore(journal)))


@pytest.mark.parametrize(
    "damage, words",
    [
        ("DELETE FROM fact WHERE seq = 12", "damaged at fact 12"),
        ("UPDATE fact_subject SET subject = 'node-2' WHERE seq = 8", "not about 'node-2'"),
    ],
)
def test_a_look_up_by_subject_checks_what_it_finds(journal: Path, damage: str, words: str) -> None:
    alter(journal, damage)

    async def look_up(store: SqliteStore) -> list[Recorded]:
        await store.open()
        try:
            return await store.read(subject="node-2")
        finally:
            await store.close()

    with pytest.raises(JournalCorrupt, match=words):
        run(look_up(SqliteStore(journal)))


def test_a_torn_log_is_seen(tmp_path: Path) -> None:
    journal = tmp_path / "live" / "navarch.db"
    numbers = []

    async def scenario(store: SqliteStore) -> None:
        await store.open()
        for number in range(1, COUNT + 1):
            await store.append([fact(number)], after=number - 1)
        shutil.copytree(journal.parent, tmp_path / "crashed")  # as kill -9 leaves it
        await store.close()

    run(scenario(SqliteStore(journal)))
    size = (tmp_path / "crashed" / "navarch.db-wal").stat().st_size
    for cut in (1, 4000, size // 3, size // 2, size - 40):
        torn = copied(tmp_path / "crashed", tmp_path / f"cut{cut}")
        with torn.with_name("navarch.db-wal").open("r+b") as log:
            log.truncate(size - cut)
        with pytest.raises(JournalCorrupt, match="but 40 were acknowledged") as caught:
            tell(torn)
        numbers.append(caught.value.seq)
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] == COUNT
    assert numbers[-1] == 1
    assert tell(copied(tmp_path / "crashed", tmp_path / "uncut"))[1] == HISTORY
