"""What retention leaves in the file itself, which no question to the store would show."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from navarch.core.model import events
from navarch.stores import sqlite
from navarch.stores.sqlite import SqliteStore
from stores.facts import at, facts, run


def test_a_forgotten_fact_leaves_neither_row_nor_index_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FORGET_SLICE", 8)  # several slices, the last one not full
    journal = tmp_path / "navarch.db"

    async def scenario(store: SqliteStore) -> int:
        await store.open()
        await store.append(facts(1, 40), after=0)
        await store.snapshot(40, b"state")
        removed = await store.forget(before=at(31))
        await store.close()
        return removed

    assert run(scenario(SqliteStore(journal))) == 30
    with closing(sqlite3.connect(journal)) as db:
        kept = db.execute("SELECT seq FROM fact ORDER BY seq").fetchall()
        index = set(db.execute("SELECT seq, subject FROM fact_subject").fetchall())
    assert kept == [(seq,) for seq in range(31, 41)]
    assert index == {
        (seq, subject)
        for seq, event in enumerate(facts(31, 40), start=31)
        for subject in events.subjects(event)
    }
