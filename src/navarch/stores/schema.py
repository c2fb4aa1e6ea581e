"""The tables of a SQLite journal, and how an older file becomes the present one.

::

    fact          seq, crc, total_bytes, latest_us, raw     one row a fact
    snapshot      seq, crc, state                           the newest two
    fact_subject  subject, seq                              which facts are about what

`rows` says what `total_bytes` and `latest_us` (microseconds since 1970 UTC) are for: they need no
index of their own. `fact_subject` is derived from the facts; everything else is covered by a
checksum.

The version is `PRAGMA user_version`: how many of STEPS a file has been through. A step, once
released, never changes; a new layout is a new step at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import DecodeError

from navarch.core.model import events
from navarch.errors import JournalCorrupt, JournalError
from navarch.stores import faults

APPLICATION_ID = 0x4E617661
"""What `file` and SQLite see in the header: this database is a Navarch journal ("Nava")."""


# The blob stands last: a long one spills to other pages, and the numbers stay near the key.
_FACT = (
    "CREATE TABLE fact (seq INTEGER PRIMARY KEY, crc INTEGER NOT NULL, "
    "total_bytes INTEGER NOT NULL, latest_us INTEGER NOT NULL, raw BLOB NOT NULL)"
)
_SNAPSHOT = (
    "CREATE TABLE snapshot (seq INTEGER PRIMARY KEY, crc INTEGER NOT NULL, state BLOB NOT NULL)"
)
_FACT_SUBJECT = (
    "CREATE TABLE fact_subject (subject TEXT NOT NULL, seq INTEGER NOT NULL, "
    "PRIMARY KEY (subject, seq)) WITHOUT ROWID"
)
_PRESENT = {_FACT, _SNAPSHOT, _FACT_SUBJECT}


def _add_facts_and_snapshots(db: sqlite3.Connection, _journal: Path) -> None:
    db.execute(_FACT)
    db.execute(_SNAPSHOT)


def _add_subjects(db: sqlite3.Connection, journal: Path) -> None:
    db.execute(_FACT_SUBJECT)
    db.executemany("INSERT INTO fact_subject VALUES (?, ?)", _subjects_of_all(db, journal))


def _subjects_of_all(db: sqlite3.Connection, journal: Path) -> Iterator[tuple[str, int]]:
    for seq, raw in db.execute("SELECT seq, raw FROM fact ORDER BY seq"):
        try:
            about = set(events.subjects(events.decode(raw)))
        except DecodeError as error:
            raise faults.damage(journal, seq, f"it cannot be decoded ({error})") from error
        yield from ((subject, seq) for subject in about)


STEPS: tuple[Callable[[sqlite3.Connection, Path], None], ...] = (
    _add_facts_and_snapshots,
    _add_subjects,
)


def migrate(db: sqlite3.Connection, journal: Path) -> None:
    """Bring the database to the present layout, in one transaction; a present one is left alone.

    After an error the connection must be closed, which takes back a half-done upgrade.

    Raises JournalError when it belongs to another program or to a newer Navarch, and
    JournalCorrupt when an old fact cannot be decoded or the tables are not what they should be.
    Cost: O(facts) for a file without subjects, O(1) otherwise.
    """
    version = _number(db, "PRAGMA user_version")
    _check_owner(db, journal, version)
    if version < len(STEPS):
        _upgrade(db, journal, version)
    _check_tables(db, journal)


def _upgrade(db: sqlite3.Connection, journal: Path, version: int) -> None:
    db.execute("BEGIN IMMEDIATE")  # whoever opened the connection closes it when a step fails
    for step in STEPS[version:]:
        step(db, journal)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {len(STEPS)}")
    db.execute("COMMIT")


def _check_owner(db: sqlite3.Connection, journal: Path, version: int) -> None:
    is_new = version == 0 and _number(db, "SELECT count(*) FROM sqlite_master") == 0
    if not is_new and _number(db, "PRAGMA application_id") != APPLICATION_ID:
        raise JournalError(
            f"journal {journal} is a SQLite database of another program: name another file"
        )
    if not 0 <= version <= len(STEPS):
        raise JournalError(
            f"journal {journal} has layout {version} and this Navarch knows up to {len(STEPS)}: "
            "it was written by a newer one; upgrade, or use another --data"
        )


def _check_tables(db: sqlite3.Connection, journal: Path) -> None:
    """Refuse tables that are not letter for letter as the steps made them.

    A damaged definition may still be a definition, under which rows read as something else.
    """
    found = {bytes(sql) for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE sql != ''")}
    if found != {sql.encode() for sql in _PRESENT}:
        raise JournalCorrupt(
            f"journal {journal} is damaged: its tables are not as they were made. Keep a copy, "
            "then restore the file from a backup",
            seq=faults.WHERE_UNKNOWN,
        )


def _number(db: sqlite3.Connection, question: str) -> int:
    answer: int = db.execute(question).fetchone()[0]
    return answer
