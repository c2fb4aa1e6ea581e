"""Older layouts become the present one, newer ones and strangers are refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from navarch.core.model import events
from navarch.errors import JournalCorrupt, JournalError
from navarch.stores import rows, schema
from navarch.stores.base import Recorded, microseconds
from navarch.stores.sqlite import SqliteStore
from stores.facts import at, fact, run


def write_layout_1(journal: Path, count: int) -> None:
    """Write a journal as the first layout had it: facts and snapshots, no index of subjects.

    The statements stand here as text, so that the steps of today cannot change what was.
    """
    db = sqlite3.connect(journal)
    db.execute(
        "CREATE TABLE fact (seq INTEGER PRIMARY KEY, crc INTEGER NOT NULL, "
        "total_bytes INTEGER NOT NULL, latest_us INTEGER NOT NULL, raw BLOB NOT NULL)"
    )
    db.execute(
        "CREATE TABLE snapshot (seq INTEGER PRIMARY KEY, crc INTEGER NOT NULL, state BLOB NOT NULL)"
    )
    total = 0
    for number in range(1, count + 1):
        raw = events.encode(fact(number))
        total += len(raw)
        latest = microseconds(at(number))
        crc = rows.checksum(raw, number, total, latest)
        db.execute("INSERT INTO fact VALUES (?, ?, ?, ?, ?)", (number, crc, total, latest, raw))
    db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()


def number_of(journal: Path, pragma: str) -> int:
    """Ask the file for one of its header's numbers."""
    db = sqlite3.connect(journal)
    answer: int = db.execute(f"PRAGMA {pragma}").fetchone()[0]
    db.close()
    return answer


def look_up(journal: Path, subject: str) -> list[Recorded]:
    """Open the journal, append nothing, and ask for one subject."""

    async def scenario(store: SqliteStore) -> list[Recorded]:
        await store.open()
        try:
            return await store.read(subject=subject)
        finally:
            await store.close()

    return run(scenario(SqliteStore(journal)))


def test_a_new_file_has_the_present_layout(tmp_path: Path) -> None:
    journal = tmp_path / "navarch.db"
    assert look_up(journal, "node-1") == []
    assert number_of(journal, "user_version") == len(schema.STEPS)
    assert number_of(journal, "application_id") == schema.APPLICATION_ID


def test_a_file_without_subjects_gets_them(tmp_path: Path) -> None:
    journal = tmp_path / "navarch.db"
    write_layout_1(journal, 20)
    wanted = [Recorded(n, fact(n)) for n in range(1, 21) if "node-1" in events.subjects(fact(n))]
    assert look_up(journal, "node-1") == wanted
    assert number_of(journal, "user_version") == len(schema.STEPS)
    assert look_up(journal, "node-1") == wanted


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path) -> None:
    journal = tmp_path / "navarch.db"
    write_layout_1(journal, 20)
    db = sqlite3.connect(journal)
    db.execute("UPDATE fact SET raw = x'7b' WHERE seq = 13")
    db.commit()
    db.close()
    with pytest.raises(JournalCorrupt, match="at fact 13: it cannot be decoded") as caught:
        look_up(journal, "node-1")
    assert caught.value.seq == 13
    assert number_of(journal, "user_version") == 1
    db = sqlite3.connect(journal)
    tables = db.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
    db.close()
    assert tables == [("fact",), ("snapshot",)]


def test_a_newer_layout_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "navarch.db"
    look_up(journal, "node-1")
    db = sqlite3.connect(journal)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(JournalError, match=r"has layout 99 .* written by a newer one; upgrade"):
        look_up(journal, "node-1")
    assert number_of(journal, "user_version") == 99


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "music.db"
    db = sqlite3.connect(journal)
    db.execute("CREATE TABLE song (title TEXT)")
    db.commit()
    db.close()
    with pytest.raises(JournalError, match=r"music\.db is a SQLite database of another program"):
        look_up(journal, "node-1")
    assert number_of(journal, "user_version") == 0
