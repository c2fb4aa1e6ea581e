"""Places that cannot hold a journal are named in one line, and nothing half done stays behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from navarch.errors import JournalConflict, JournalError
from navarch.stores.base import Loaded, Recorded
from navarch.stores.sqlite import SqliteStore
from stores.facts import fact, facts, run

NOBODY = 65534


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that every user of this machine can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="navarch-places-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Do without root's right to ignore permissions, when the tests run as root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


async def use(store: SqliteStore, count: int = 3) -> Loaded:
    """Open the store, append after whatever is there, and say what it then holds."""
    await store.open()
    try:
        last = await store.last_seq()
        await store.append(facts(last + 1, last + count), after=last)
        return await store.load()
    finally:
        await store.close()


def refusal(path: Path) -> str:
    """Return the text of the error that using `path` gives."""
    with pytest.raises(JournalError) as caught:
        run(use(SqliteStore(path)))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_missing_folders_are_made(tmp_path: Path) -> None:
    journal = tmp_path / "a" / "b" / "navarch.db"
    assert run(use(SqliteStore(journal))).last_seq == 3
    assert sorted(path.name for path in journal.parent.iterdir()) == [
        "navarch.db",
        "navarch.db.lock",
    ]


def test_a_name_with_signs_that_mean_something_in_a_uri_is_a_name(tmp_path: Path) -> None:
    journal = tmp_path / "a b#1?mode=ro%41.db"
    assert run(use(SqliteStore(journal))).last_seq == 3
    assert journal.exists()


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"journal {tmp_path} is a folder: name a file in it"


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    assert "its folder cannot be made" in refusal(tmp_path / "data" / "navarch.db")


def test_a_folder_that_may_not_be_written(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    with ordinary_user():
        text = refusal(open_folder / "navarch.db")
    assert "lock file" in text
    assert "Permission denied" in text


def test_a_folder_that_may_not_be_made(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    with ordinary_user():
        assert "its folder cannot be made: Permission denied" in refusal(open_folder / "x" / "n.db")


@pytest.mark.parametrize("mode", [0o444, 0o222, 0o000])
def test_a_file_that_may_not_be_written_is_refused_until_it_may(
    open_folder: Path, mode: int
) -> None:
    journal = open_folder / "navarch.db"
    with ordinary_user():
        run(use(SqliteStore(journal)))
        journal.chmod(mode)
        assert "is read-only or not readable: make the file yours" in refusal(journal)
        journal.chmod(0o644)
        assert run(use(SqliteStore(journal))).last_seq == 6


def test_a_lock_of_another_program_is_named(tmp_path: Path) -> None:
    journal = tmp_path / "navarch.db"
    run(use(SqliteStore(journal)))
    other = sqlite3.connect(journal, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")

    async def scenario() -> None:
        impatient = SqliteStore(journal, busy=at_once)
        with pytest.raises(JournalConflict, match="is locked by another program"):
            await use(impatient)

    at_once = fact(1).at - fact(1).at
    run(scenario())
    other.execute("ROLLBACK")
    other.close()
    assert run(use(SqliteStore(journal))).last_seq == 6


def test_a_failed_open_holds_nothing(tmp_path: Path) -> None:
    journal = tmp_path / "navarch.db"
    journal.write_text("this is not a database, and it is long enough to be seen as none" * 20)
    assert "cannot be read" in refusal(journal)
    journal.unlink()
    assert run(use(SqliteStore(journal))).last_seq == 3


FILLING = """
import asyncio, resource, signal, sys
from navarch.errors import JournalError
from navarch.stores.sqlite import SqliteStore
from stores.facts import facts

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    last = 0
    try:
        for _ in range(1_000):
            last = await store.append(facts(last + 1, last + 100), after=last)
    except JournalError as error:
        print(last, error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(await store.append(facts(last + 1, last + 1), after=last))
    await store.close()

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
asyncio.run(main())
"""


def test_a_full_disk_refuses_an_append_whole_and_keeps_what_was_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILLING, tmp_path / "navarch.db"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    refused, went_on = done.stdout.splitlines()
    last, _, text = refused.partition(" ")
    assert int(last) > 0
    assert int(last) % 100 == 0
    assert f"journal {tmp_path / 'navarch.db'}: the disk" in text
    assert int(went_on) == int(last) + 1

    async def scenario(store: SqliteStore) -> Loaded:
        await store.open()
        try:
            return await store.load()
        finally:
            await store.close()

    loaded = run(scenario(SqliteStore(tmp_path / "navarch.db")))
    assert loaded.events == [Recorded(n, fact(n)) for n in range(1, int(last) + 2)]


def test_a_database_that_may_not_grow_says_that_the_disk_is_full(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore) -> Loaded:
        await store.open()
        session = store._opened()  # noqa: SLF001 - no public way to make a disk small
        database = session.journal._db  # noqa: SLF001 - as above
        pages = await session.write(lambda: database.execute("PRAGMA page_count").fetchone()[0])
        await session.write(lambda: database.execute(f"PRAGMA max_page_count = {pages + 4}"))
        await store.append(facts(1, 5), after=0)
        with pytest.raises(JournalError, match="the disk is full, nothing was kept; free some"):
            await store.append(facts(6, 900), after=5)
        await store.append(facts(6, 7), after=5)
        try:
            return await store.load()
        finally:
            await store.close()

    loaded = run(scenario(SqliteStore(tmp_path / "navarch.db")))
    assert loaded.events == [Recorded(n, fact(n)) for n in range(1, 8)]
