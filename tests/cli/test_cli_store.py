"""`navarch store`: whether a journal is whole, and how it gets from one store to another."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from navarch.cli.main import cli
from navarch.controlplane.clock import stopwatch
from navarch.core import fold
from navarch.core.model import fleet as fleets
from navarch.core.model.events import Event
from navarch.core.model.fleet import Fleet
from navarch.errors import JournalError
from navarch.simulator.server import facts_of
from navarch.simulator.world import World
from navarch.stores.base import Loaded, Recorded, Store
from navarch.stores.postgres import PostgresStore
from navarch.stores.sqlite import SqliteStore


@pytest.fixture(scope="module")
def lived() -> list[Event]:
    """Return the facts of a fleet that has gone through a lot."""
    world = World(5)
    world.run()
    return list(facts_of(world.server.store))


def store_of(url: str) -> Store:
    """Return the store at a URL."""
    if url.startswith("postgresql"):
        return PostgresStore(url, stopwatch=stopwatch)
    return SqliteStore(url.removeprefix("sqlite:///"))


def fill(url: str, lived: list[Event], *, forgotten: bool = False) -> None:
    """Append facts, with two snapshots on the way; forget what is folded when asked."""

    async def scenario() -> None:
        store, fleet = store_of(url), Fleet()
        await store.open()
        for first in range(0, len(lived), 20):
            page = lived[first : first + 20]
            for fact in page:
                fold.apply(fleet, fact)  # type: ignore[arg-type]
            last = await store.append(page, after=first)
            if first in (40, 80):
                await store.snapshot(last, fleets.encode(fleet))
        if forgotten:
            assert await store.forget(before=lived[-1].at, keep_bytes=1) > 50
        await store.close()

    asyncio.run(scenario())


def told(url: str) -> tuple[Loaded, list[Recorded]]:
    """Return all that a store answers."""

    async def scenario() -> tuple[Loaded, list[Recorded]]:
        store = store_of(url)
        await store.open()
        try:
            return await store.load(), await store.read(limit=10**6)
        finally:
            await store.close()

    return asyncio.run(scenario())


def run(*words: str | Path) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli, ["store", *map(str, words)])


def done(*words: str | Path) -> str:
    """Return the output of a command that has to work."""
    result = run(*words)
    assert (result.exit_code, result.exception) == (0, None), result.output
    return result.output


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """Return the URL of a SQLite store that is not there yet."""
    return f"sqlite:///{tmp_path / 'navarch.db'}"


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_a_journal_goes_from_sqlite_to_postgresql_and_back_and_stays_the_same(
    sqlite: str,
    new_schema: Callable[[], str],
    tmp_path: Path,
    lived: list[Event],
    *,
    forgotten: bool,
    suffix: str,
) -> None:
    fill(sqlite, lived, forgotten=forgotten)
    database, back = new_schema(), f"sqlite:///{tmp_path / 'back.db'}"
    first, second = tmp_path / f"first.{suffix}", tmp_path / f"second.{suffix}"
    assert f"to {len(lived)}" in done("export", "--store", sqlite, first)
    assert "imported" in done("import", "--store", database, first)
    done("export", "--store", database, second)
    done("import", "--store", back, second)
    assert told(sqlite) == told(database) == told(back)
    for url in (sqlite, database, back):
        assert "sound" in done("check", "--store", url)
    opener = gzip.open if suffix.endswith("gz") else open
    with opener(first, "rb") as one, opener(second, "rb") as two:
        assert one.read() == two.read()


def test_a_journal_is_read_while_its_holder_writes(
    sqlite: str, tmp_path: Path, lived: list[Event]
) -> None:
    fill(sqlite, lived)

    async def scenario() -> None:
        store = store_of(sqlite)
        await store.open()
        assert "sound" in await asyncio.to_thread(done, "check", "--store", sqlite)
        await asyncio.to_thread(done, "export", "--store", sqlite, tmp_path / "live.jsonl")
        await store.append(lived[:1], after=len(lived))
        await store.close()

    asyncio.run(scenario())
    config = tmp_path / "navarch.yaml"
    config.write_text(f"server: {{store: '{sqlite}'}}")
    done("import", "--store", f"sqlite:///{tmp_path / 'copy.db'}", tmp_path / "live.jsonl")
    assert f"1 to {len(lived) + 1}: whole" in done("check", "--config", config)


def test_a_store_that_has_facts_is_not_filled(
    sqlite: str, new_schema: Callable[[], str], tmp_path: Path, lived: list[Event]
) -> None:
    fill(sqlite, lived)
    done("export", "--store", sqlite, tmp_path / "all.jsonl")
    database = new_schema()
    fill(database, lived[:5])
    for url in (sqlite, database):
        before = told(url)
        result = run("import", "--store", url, tmp_path / "all.jsonl")
        assert isinstance(result.exception, JournalError)
        assert "is not empty: name a store that has no facts yet" in str(result.exception)
        assert told(url) == before


def damages(whole: bytes) -> dict[str, tuple[bytes, str]]:
    """Return ways to damage an export, and what is said about each."""
    lines = whole.splitlines(keepends=True)
    facts = [n for n, line in enumerate(lines) if line.startswith(b'{"seq"')]
    seventh = facts[6]
    return {
        "cut in a line": (whole[:-40], "cut short"),
        "without its end": (b"".join(lines[:-1]), "cut short"),
        "a fact less": (b"".join(lines[:seventh] + lines[seventh + 1 :]), "fact 7: it is missing"),
        "a fact changed": (
            whole.replace(lines[seventh], lines[seventh].replace(b'"kind":"', b'"kind":"x')),
            "fact 7: its checksum does not fit",
        ),
        "a line of noise": (
            b"".join([*lines[:seventh], b"noise\n", *lines[seventh:]]),
            "fact 7: its line cannot be read",
        ),
        "two swapped": (
            b"".join([*lines[:seventh], lines[seventh + 1], lines[seventh], *lines[seventh + 2 :]]),
            "fact 7: it is missing",
        ),
        "something behind": (whole + b"\n", "something stands behind the last line"),
        "another digest": (
            whole.replace(b'"sha256":"', b'"sha256":"0'),
            "the digest of the file does not fit",
        ),
        "empty": (b"", "is no export of a journal"),
        "another file": (b'{"name": "navarch"}\n', "is no export of a journal"),
        "newer": (
            whole.replace(b'"version":1', b'"version":9', 1),
            "has format 9 and this Navarch knows 1",
        ),
        "a snapshot changed": (
            whole.replace(b'"state":"', b'"state":"AAAA', 1),
            "fact 60: its snapshot is unreadable",
        ),
    }


def test_a_damaged_file_fills_nothing_and_says_where(
    sqlite: str, new_schema: Callable[[], str], tmp_path: Path, lived: list[Event]
) -> None:
    fill(sqlite, lived)
    done("export", "--store", sqlite, tmp_path / "all.jsonl")
    database, file = new_schema(), tmp_path / "bad.jsonl"
    empty: tuple[Loaded, list[Recorded]] = (Loaded(None, [], 0), [])
    for name, (content, reason) in damages((tmp_path / "all.jsonl").read_bytes()).items():
        file.write_bytes(content)
        for url in (f"sqlite:///{tmp_path / 'new.db'}", database):
            result = run("import", "--store", url, file)
            assert reason in str(result.exception), name
        assert (tmp_path / "new.db").exists() is False or told(
            f"sqlite:///{tmp_path / 'new.db'}"
        ) == empty, name
    assert told(database) == empty
    done("import", "--store", database, tmp_path / "all.jsonl")
    file.write_bytes(b"\x1f\x8b broken")
    packed = file.rename(tmp_path / "bad.jsonl.gz")
    assert "is no export of a journal" in str(
        run("import", "--store", new_schema(), packed).exception
    )


def test_what_is_damaged_is_found_and_the_exit_code_says_so(
    sqlite: str, tmp_path: Path, lived: list[Event]
) -> None:
    fill(sqlite, lived)
    path = sqlite.removeprefix("sqlite:///")

    def alter(statement: str) -> None:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(statement)

    sound = json.loads(done("check", "--store", sqlite, "-o", "json"))
    assert (sound["sound"], sound["facts"], sound["last_seq"]) == (True, len(lived), len(lived))
    assert [each["what"] for each in sound["findings"]] == [
        *("snapshot 60", "snapshot 100", "facts"),
    ]
    alter("UPDATE snapshot SET state = state || 'x' WHERE seq = 100")
    result = run("check", "--store", sqlite)
    assert (result.exit_code, "BAD  snapshot 100: its bytes are damaged" in result.output) == (
        *(1, True),
    )
    alter("UPDATE fact SET crc = crc + 1 WHERE seq = 90")
    result = run("check", "--store", sqlite)
    assert result.exit_code == 1
    assert "fact 90: its checksum does not fit" in result.output
    assert "ok  snapshot 60: it is what the facts come to" in result.output


def test_a_snapshot_that_is_not_what_the_facts_come_to_is_found(
    new_schema: Callable[[], str], lived: list[Event]
) -> None:
    url = new_schema()
    fill(url, lived)

    async def lie() -> None:
        store = store_of(url)
        await store.open()
        fleet = fleets.decode((await store.load()).snapshot.state)  # type: ignore[union-attr]
        fleet.serial += 1
        fleet.nodes.clear()
        await store.snapshot(100, fleets.encode(fleet))
        await store.close()

    asyncio.run(lie())
    result = run("check", "--store", url)
    assert result.exit_code == 1
    assert "BAD  snapshot 100: it is not what the facts come to: serial, nodes" in result.output


@pytest.mark.parametrize(
    "words, reason",
    [
        (("check",), "either --store URL or --config FILE"),
        (("check", "--store", "a.db"), "stores are SQLite files"),
        (("check", "--store", "postgresql://h/x?schema=A"), "schema 'A' is no plain name"),
        (("check", "--store", "memory://"), "belongs to one process"),
        (("check", "--store", "sqlite:////nowhere/a.db"), "does not exist"),
        (("import", "--store", "sqlite:///a.db", "/nowhere/file"), "No such file"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(words: tuple[str, ...], reason: str) -> None:
    result = run(*words)
    assert result.exit_code != 0
    assert reason in f"{result.output} {result.exception}"


def test_looking_at_a_schema_that_is_not_there_makes_nothing(
    new_schema: Callable[[], str], tmp_path: Path
) -> None:
    url = new_schema()
    for words in (("check", "--store", url), ("export", "--store", url, tmp_path / "file")):
        for _ in range(2):
            assert "does not exist: there are no tables in the" in str(run(*words).exception)
    assert not list(tmp_path.iterdir())


def test_nothing_is_imported_into_memory(sqlite: str, tmp_path: Path, lived: list[Event]) -> None:
    fill(sqlite, lived[:3])
    done("export", "--store", sqlite, tmp_path / "all.jsonl")
    result = run("import", "--store", "memory://", tmp_path / "all.jsonl")
    assert "memory is gone at once" in str(result.exception)


IMPORT = """
import os, signal, sys
from navarch.cli.main import main
from navarch.stores.archive import Archive

pages, point = Archive.pages, int(sys.argv.pop())

def killed(self):
    for number, page in enumerate(pages(self)):
        if number == point:
            os.kill(os.getpid(), signal.SIGKILL)
        yield page
    if point < 0:
        os.kill(os.getpid(), signal.SIGKILL)

Archive.pages = killed
import navarch.stores.archive as archive
archive.PAGE_FACTS = 30
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "kind, point",
    [
        ("sqlite", "2"),
        ("postgres", "-1"),
        *(
            pytest.param(kind, point, marks=pytest.mark.soak)
            for kind in ("sqlite", "postgres")
            for point in ("-1", "0", "1", "2", "3")
        ),
    ],
)
def test_an_import_that_is_killed_leaves_nothing_half_done(
    sqlite: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    lived: list[Event],
    kind: str,
    point: str,
) -> None:
    fill(sqlite, lived)
    file, url = tmp_path / "all.jsonl", f"sqlite:///{tmp_path / 'copy.db'}"
    if kind == "postgres":
        url = request.getfixturevalue("new_schema")()
    done("export", "--store", sqlite, file)
    command = [sys.executable, "-c", IMPORT, "store", "import", "--store", url, str(file), point]
    process = subprocess.run(command, check=False, capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    if kind == "postgres":  # nobody gave its lease up: end it, or wait for 6 s
        server = request.getfixturevalue("postgres")
        server.sql(f"UPDATE {url.rpartition('=')[2]}.lease SET until = now()")
    assert told(url) == (Loaded(None, [], 0), [])
    done("import", "--store", url, file)
    assert told(url) == told(sqlite)
