"""No question about a long journal reads the whole of it.

Counted are the steps of SQLite's own machine, which are the same on every computer: a plan that
scans a table takes a hundred times as many over a hundred times as many facts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from navarch.core.model import events
from navarch.stores.ledger import HistoryFile, JournalFile, connect
from navarch.stores.rows import Batch
from stores.facts import at, facts

FEW, MANY = 50, 5_000
STEPS_COUNTED_AT_ONCE = 10
AT_ONCE = timedelta(0)


def filled(folder: Path, count: int) -> Path:
    """Write a journal of `count` facts, all but the last ten folded, and return its path."""
    path = folder / f"{count}.db"
    journal = JournalFile.open(path, busy=AT_ONCE)
    journal.append([Batch.of(facts(1, count), after=0)])
    journal.snapshot(count - 10, b"state")
    rare = events.PoolPaused(at=at(count + 1), pool="rare", because="an operator said so")
    journal.append([Batch.of([rare], after=count)])
    journal.close()
    return path


@contextmanager
def counted(db: sqlite3.Connection) -> Iterator[list[None]]:
    """Collect one item for every few steps that `db` takes."""
    steps: list[None] = []
    db.set_progress_handler(lambda: steps.append(None), STEPS_COUNTED_AT_ONCE)
    yield steps
    db.set_progress_handler(None, 0)


QUESTIONS: dict[str, Callable[[JournalFile, int], object]] = {
    "append": lambda f, n: f.append([Batch.of(facts(1, 3), after=n + 1)]),
    "load": lambda f, _: f.load(acknowledged=0),
    "snapshot": lambda f, n: f.snapshot(n, b"state"),
    "last_seq": lambda f, _: f.last_seq(),
    "newest": lambda f, _: read(f, newest_first=True),
    "page": lambda f, n: read(f, after=n // 2),
    "since": lambda f, n: read(f, since_minute=n - 5),
    "subject": lambda f, _: read(f, subject="rare"),
    "forgettable": lambda f, n: f.forgettable(before=at(n // 2), keep_bytes=1_000),
    "remove": lambda f, _: f.remove(up_to=20, limit=10),
}


def read(
    file: HistoryFile,
    *,
    after: int = 0,
    subject: str | None = None,
    since_minute: int | None = None,
    newest_first: bool = False,
) -> object:
    """Read five facts."""
    since = None if since_minute is None else at(since_minute)
    return file.read(after=after, limit=5, subject=subject, since=since, newest_first=newest_first)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_cost_does_not_grow_with_the_journal(tmp_path: Path, question: str) -> None:
    steps = {}
    for count in (FEW, MANY):
        path = filled(tmp_path, count)
        db = connect(path, mode="rwc", busy=AT_ONCE)
        file = JournalFile(path, db)
        with counted(db) as taken:
            QUESTIONS[question](file, count)
        steps[count] = len(taken)
        file.close()
    # A binary search over a hundred times as many facts looks at seven more of them.
    assert steps[MANY] <= 3 * steps[FEW] + 20
