"""What SQLite's error codes mean to an operator, in one line each.

SQLite speaks of pages and statements; whoever is woken needs to know what happened to which
journal and what to do. The codes are those of SQLite's "Result and Error Codes" page (read
2026-11); extended codes are reduced to their primary one, and SQLite's own words are kept in
brackets for whoever must dig.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from navarch.errors import JournalConflict, JournalCorrupt, JournalError

WHERE_UNKNOWN = 0
"""The `seq` of a JournalCorrupt when the damage cannot be pinned to a record."""

_PRIMARY = 0xFF
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full, nothing was kept; free some space and start again",
    sqlite3.SQLITE_READONLY: "it is read-only; make the file and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that the folder exists and is yours",
    sqlite3.SQLITE_PERM: "access is not permitted; make the file and its folder yours",
    sqlite3.SQLITE_AUTH: "access is not permitted; make the file and its folder yours",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write; check it, then start again",
}


@contextmanager
def translated(journal: Path, *, first_bad: int = WHERE_UNKNOWN) -> Iterator[None]:
    """Turn every sqlite3 error inside into a JournalError of one clear line.

    Raises JournalCorrupt with `first_bad` as its `seq` where SQLite found damage, JournalConflict
    where another program locks the database, and JournalError for everything else.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(journal, error, first_bad) from error
    except UnicodeDecodeError as error:  # SQLite quoted damaged text in its own error
        raise _unreadable(journal, "its text is no UTF-8", first_bad) from error


def damage(journal: Path, seq: int, what: str) -> JournalCorrupt:
    """Return the error for a record `seq` that is not as it was written; `what` says how."""
    return JournalCorrupt(
        f"journal {journal} is damaged at fact {seq}: {what}; the last good fact is {seq - 1}. "
        "Keep a copy, then restore the file from a backup",
        seq=seq,
    )


def _translate(journal: Path, error: sqlite3.Error, first_bad: int) -> JournalError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
    if code in _DAMAGED and first_bad != WHERE_UNKNOWN:
        return damage(journal, first_bad, str(error))
    if code in _DAMAGED:
        return _unreadable(journal, str(error), first_bad)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return JournalConflict(
            f"journal {journal} is locked by another program ({error}): stop it and start again"
        )
    advice = _ADVICE.get(code, "SQLite refused; check the file, or restore it from a backup")
    return JournalError(f"journal {journal}: {advice} ({error})")


def _unreadable(journal: Path, what: str, first_bad: int) -> JournalCorrupt:
    return JournalCorrupt(
        f"journal {journal} is damaged and cannot be read ({what}). Keep a copy, then restore the "
        "file from a backup",
        seq=first_bad,
    )
