"""What docs/postgres.md and docs/operations.md tell people to type does what they say."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from infra.real_postgres import RealPostgres, programs
from navarch.cli.main import cli
from navarch.controlplane.clock import stopwatch
from navarch.controlplane.projection import touched
from navarch.core import fold
from navarch.core.model.fleet import Fleet
from navarch.core.sentences import sentence
from navarch.simulator.server import facts_of
from navarch.simulator.world import World
from navarch.stores.base import Loaded, Store
from navarch.stores.postgres import PostgresStore
from navarch.stores.postgres_models import INSTANCES, NODES, POOLS, Table
from navarch.stores.sqlite import SqliteStore

BLOCK = re.compile(r"```(sh|sql)\n(.*?)```", re.DOTALL)


def blocks(project: Path, page: str, language: str) -> list[str]:
    """Return the blocks of a page in one language, in their order."""
    text = (project / "docs" / page).read_text(encoding="utf-8")
    return [block for kind, block in BLOCK.findall(text) if kind == language]


async def live(store: Store) -> None:
    """Append what a fleet goes through."""
    world, fleet = World(5), Fleet()
    world.run()
    lived = facts_of(world.server.store)
    for fact in lived:
        fold.apply(fleet, fact)  # type: ignore[arg-type]
    await store.open()
    if isinstance(store, PostgresStore):
        store.stage(touched(lived, fleet))  # type: ignore[arg-type]
    await store.append(lived, after=0)
    await store.close()


@pytest.fixture
def fleet_database(postgres: RealPostgres, request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty database of its own, whose schema is the usual one."""
    name = re.sub(r"\W", "_", f"docs_{request.node.name}")[:60]
    postgres.sql(f"DROP DATABASE IF EXISTS {name}")
    postgres.sql(f"CREATE DATABASE {name}")
    return postgres.url(database=name).partition("?")[0]


def test_every_query_of_the_page_answers(
    project: Path, postgres: RealPostgres, fleet_database: str
) -> None:
    asyncio.run(live(PostgresStore(fleet_database, stopwatch=stopwatch, describe=sentence)))
    database = fleet_database.rpartition("/")[2]
    postgres.sql("DROP ROLE IF EXISTS grafana")
    queries = blocks(project, "postgres.md", "sql")
    answers = [postgres.sql(query, database) for query in queries]
    assert len(queries) == 8
    empty = [query for query, answer in zip(queries[1:], answers[1:], strict=True) if not answer]
    # The life is of another year and of other names than these three ask for.
    assert [sum(word in query for query in empty) for word in ("0001'", "7 days", "1 day'")] == [
        *(1, 1, 1),
    ]
    assert len(empty) <= 4
    reading = postgres.url(database=database).replace("postgres@", "grafana@", 1).partition("?")[0]
    place = ("-XAtq", "-d", reading, "-c")
    assert postgres.run("psql", *place, "SELECT count(*) > 0 FROM navarch.events") == "t\n"
    denied = subprocess.run(
        [programs() / "psql", *place, "DELETE FROM navarch.fact"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "permission denied" in denied.stderr
    postgres.sql("DROP OWNED BY grafana; DROP ROLE grafana", database)


@pytest.mark.parametrize("table", [NODES, INSTANCES, POOLS], ids=lambda table: table.name)
def test_the_page_lists_the_columns_that_there_are(project: Path, table: Table[Any]) -> None:
    text = (project / "docs" / "postgres.md").read_text(encoding="utf-8")
    section = text.partition(f"### `{table.name}`")[2].partition("\n#")[0]
    listed = re.findall(r"^\| `(\w+)` \| (\w+)", section, re.MULTILINE)
    assert listed == [(name, kind) for name, kind, _ in table.columns]


@pytest.fixture
def type_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Return what runs some lines as a person does, and returns what they print."""
    tools = os.pathsep.join([str(Path(sys.executable).parent), str(programs())])
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)

    def run(lines: str, database: str) -> str:
        monkeypatch.setenv("DATABASE", database)
        return "".join(run_line(line) for line in lines.splitlines())

    return run


def run_line(line: str) -> str:
    """Run one line: a command of ours in this process, which is quicker, and others in a shell."""
    words = shlex.split(os.path.expandvars(line))
    if words[0] == "navarch":
        result = CliRunner().invoke(cli, words[1:])
        assert result.exit_code == 0, f"{line}: {result.output} {result.exception}"
        return result.output
    done = subprocess.run(["bash", "-euc", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}: {done.stderr}"
    return done.stdout


def test_every_command_of_the_page_on_operations_works(
    project: Path,
    postgres: RealPostgres,
    fleet_database: str,
    tmp_path: Path,
    type_in: Callable[[str, str], str],
) -> None:
    asyncio.run(live(SqliteStore(tmp_path / ".navarch" / "navarch.db")))
    check, export, copy, dump, restore, restore_dump, move = blocks(project, "operations.md", "sh")
    printed = type_in(check + export + copy + restore + move, fleet_database)
    assert printed.count(": sound\n") == 3
    assert asyncio.run(told(tmp_path / "copy.db")) == asyncio.run(told(tmp_path / "restored.db"))
    before = events_of(postgres, fleet_database)
    type_in(dump + restore_dump, fleet_database)
    assert events_of(postgres, fleet_database) == before != ""


async def told(path: Path) -> Loaded:
    """Return what a control plane would start from."""
    store = SqliteStore(path)
    await store.open()
    try:
        return await store.load()
    finally:
        await store.close()


def events_of(postgres: RealPostgres, url: str) -> str:
    """Return the facts of a database, as one text."""
    return postgres.sql("SELECT seq, payload FROM navarch.events", url.rpartition("/")[2])


def test_a_restored_dump_can_be_written_to(
    project: Path, fleet_database: str, type_in: Callable[[str, str], str]
) -> None:
    asyncio.run(live(PostgresStore(fleet_database, stopwatch=stopwatch)))
    shell = blocks(project, "operations.md", "sh")
    dump = next(block for block in shell if block.startswith("pg_dump"))
    restore = next(block for block in shell if "pg_restore" in block)
    type_in(dump + restore, fleet_database)

    async def carry_on() -> int:
        store = PostgresStore(fleet_database, stopwatch=stopwatch)
        await store.open()
        last = await store.last_seq()
        assert await store.projected_seq() == last
        last = await store.append([], after=last)
        await store.close()
        return last

    assert asyncio.run(carry_on()) > 100
