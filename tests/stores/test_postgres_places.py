"""URLs, servers and schemas that cannot be used are refused in one clear line, without secrets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from infra.real_parts import free_ports
from infra.real_postgres import RealPostgres
from navarch.controlplane.clock import stopwatch
from navarch.errors import ConfigError, JournalError
from navarch.stores import postgres_schema
from navarch.stores.base import Loaded
from navarch.stores.postgres import PostgresStore
from navarch.stores.postgres_link import Address
from stores.facts import facts, run

SECRET = "hunter2"


def store_at(url: str) -> PostgresStore:
    """Return a store that is not patient."""
    return PostgresStore(url, stopwatch=stopwatch, lease=timedelta(seconds=1))


def refusal(url: str) -> str:
    """Return what somebody is told who connects there."""

    async def scenario() -> str:
        store = store_at(url)
        with pytest.raises(JournalError) as told:
            await store.connect()
        await store.close()
        assert "\n" not in str(told.value)
        return str(told.value)

    return run(scenario())


def test_a_url_is_read_and_shown_without_its_password(tmp_path: Path) -> None:
    written = f"postgresql://ops:{SECRET}@db.example:5433/fleet?schema=east&sslmode=require"
    address = Address.parse(written)
    assert address == Address(
        "postgresql://ops@db.example:5433/fleet?sslmode=require", "east", SECRET
    )
    shown = "postgresql://ops@db.example:5433/fleet?sslmode=require&schema=east"
    assert (str(address), repr(address)) == (shown, f"Address({shown!r})")
    plain = Address.parse("postgres://ops@db/fleet")
    assert (plain.dsn, plain.schema) == ("postgresql://ops@db/fleet", "navarch")
    assert (str(plain), plain.password) == ("postgresql://ops@db/fleet", None)
    assert Address.parse("postgresql://ops:p%40ss@db/x").password == "p@ss"


def test_a_password_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    monkeypatch.setenv("FLEET_PASSWORD", SECRET)
    for source in (f"password_file={tmp_path / 'secret'}", "password_env=FLEET_PASSWORD"):
        address = Address.parse(f"postgresql://ops@db/fleet?{source}")
        assert (address.password, address.dsn) == (SECRET, "postgresql://ops@db/fleet")
        assert SECRET not in repr(address)


@pytest.mark.parametrize(
    "url, reason",
    [
        ("mysql://db/x", "expected postgresql://USER@HOST:PORT/DATABASE"),
        ("postgresql://db:port/x", "expected postgresql://USER@HOST:PORT/DATABASE"),
        ("postgresql://db/x?shcema=a", "'shcema' is no parameter of its URL: expected one of"),
        ("postgresql://db/x?schema=East", "schema 'East' is no plain name"),
        ("postgresql://db/x?schema=a;drop", "schema 'a;drop' is no plain name"),
        ("postgresql://db/x?schema=" + "a" * 64, "is no plain name"),
        ("postgresql://db/x?password_env=NOT_SET_HERE", "names NOT_SET_HERE, which is not set"),
        ("postgresql://db/x?password_file=/nowhere/f", "/nowhere/f cannot be read: No such file"),
        (f"postgresql://o:{SECRET}@db/x?password_env=HOME", "more than one password"),
        (f"postgresql://o:{SECRET}@db:nine/x", "expected postgresql://USER@HOST:PORT"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ConfigError) as told:
        Address.parse(url)
    assert reason in str(told.value)
    assert SECRET not in str(told.value)


def test_a_server_that_is_not_there_is_named(postgres: RealPostgres) -> None:
    [port] = free_ports(1)
    text = refusal(f"postgresql://ops:{SECRET}@127.0.0.1:{port}/fleet")
    assert text.startswith(f"journal postgresql://ops@127.0.0.1:{port}/fleet: PostgreSQL cannot ")
    assert SECRET not in text


def test_a_database_that_is_not_there_is_named(postgres: RealPostgres) -> None:
    text = refusal(postgres.url(database="nowhere"))
    assert "there is no such database; make it with createdb" in text


def test_a_role_that_may_not_make_tables_is_told_what_it_needs(
    postgres: RealPostgres, new_schema: Callable[[], str]
) -> None:
    postgres.sql("DROP ROLE IF EXISTS poor; CREATE ROLE poor LOGIN")
    poor = new_schema().replace("postgres@", "poor@", 1)
    assert "grant it CREATE on the database, or give it the schema" in refusal(poor)
    schema = poor.rpartition("=")[2]
    postgres.sql(f"CREATE SCHEMA {schema} AUTHORIZATION poor")
    assert run(use(poor)).last_seq == 3


async def use(url: str) -> Loaded:
    """Open, append three facts, and return what a load gives."""
    store = store_at(url)
    await store.open()
    try:
        last = await store.last_seq()
        await store.append(facts(last + 1, last + 3), after=last)
        return await store.load()
    finally:
        await store.close()


def test_a_password_is_asked_for_and_a_wrong_one_refused_without_being_shown(
    postgres: RealPostgres, new_schema: Callable[[], str]
) -> None:
    postgres.sql(f"DROP ROLE IF EXISTS guarded; CREATE ROLE guarded LOGIN PASSWORD '{SECRET}'")
    postgres.sql("GRANT CREATE ON DATABASE postgres TO guarded")
    rules = postgres.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"host all guarded 127.0.0.1/32 scram-sha-256\n{before}")
    postgres.sql("SELECT pg_reload_conf()")
    try:
        url = new_schema().replace("postgres@", f"guarded:{SECRET}@", 1)
        wrong = url.replace(SECRET, SECRET[::-1])
        text = refusal(wrong)
        assert "the server refuses the user or the password" in text
        assert SECRET[::-1] not in text
        assert run(use(url)).last_seq == 3
    finally:
        rules.write_text(before)
        postgres.sql("SELECT pg_reload_conf()")


def test_a_read_only_replica_is_recognised(
    postgres: RealPostgres, new_schema: Callable[[], str]
) -> None:
    postgres.sql("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN SUPERUSER")
    postgres.sql("ALTER ROLE reader SET default_transaction_read_only = on")
    text = refusal(new_schema().replace("postgres@", "reader@", 1))
    assert "the server is a read-only replica; name the primary" in text


def test_a_database_holds_as_many_fleets_as_schemas(new_schema: Callable[[], str]) -> None:
    first, second = new_schema(), new_schema()
    assert [run(use(url)).last_seq for url in (first, second, first)] == [3, 3, 6]


def test_tables_of_a_newer_version_are_refused(
    postgres: RealPostgres, new_schema: Callable[[], str]
) -> None:
    url = new_schema()
    run(use(url))
    postgres.sql(f"UPDATE {Address.parse(url).schema}.layout SET version = 99")
    assert f"has layout 99 and this Navarch knows up to {len(postgres_schema.STEPS)}: it was " in (
        refusal(url)
    )


@pytest.mark.parametrize("table", ["layout (name text)", "fact (id int)", "lease (id int)"])
def test_a_schema_of_another_program_is_left_alone(
    postgres: RealPostgres, new_schema: Callable[[], str], table: str
) -> None:
    url = new_schema()
    schema = Address.parse(url).schema
    postgres.sql(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.{table}")
    assert "has tables of another program: name another with ?schema=" in refusal(url)


@contextmanager
def with_steps(*steps: Sequence[str]) -> Iterator[None]:
    """Be a version that has more layouts."""
    before = postgres_schema.STEPS
    postgres_schema.STEPS = (*before, *steps)
    try:
        yield
    finally:
        postgres_schema.STEPS = before


def test_an_older_layout_is_brought_up_by_whoever_takes_the_lease(
    postgres: RealPostgres, new_schema: Callable[[], str]
) -> None:
    url = new_schema()
    run(use(url))
    schema = Address.parse(url).schema

    async def scenario() -> None:
        leader, standby = store_at(url), store_at(url)
        await leader.open()
        with with_steps(["ALTER TABLE {schema}.nodes ADD COLUMN rack text"]):
            await standby.connect()
            assert not await standby.acquire()
            assert postgres.sql(f"SELECT version FROM {schema}.layout") == "1"
            await leader.append(facts(4, 4), after=3)  # nobody changes tables under a leader
            await leader.release()
            assert await standby.acquire()
            assert postgres.sql(f"SELECT version FROM {schema}.layout") == "2"
            assert postgres.sql(f"SELECT rack FROM {schema}.nodes") == ""
            assert await standby.append(facts(5, 5), after=4) == 5
        await standby.close()
        await leader.close()

    run(scenario())
    assert "has layout 2 and this Navarch knows up to 1" in refusal(url)


def test_a_step_that_fails_leaves_all_as_it_was(
    postgres: RealPostgres, new_schema: Callable[[], str]
) -> None:
    url = new_schema()
    run(use(url))

    async def scenario() -> None:
        store = store_at(url)
        steps = ["CREATE TABLE {schema}.more (id int)", "ALTER TABLE {schema}.nowhere ADD a int"]
        with with_steps(steps):
            await store.connect()
            with pytest.raises(JournalError, match="a table is missing"):
                await store.acquire()
            assert await store.leader() is None
        await store.close()

    run(scenario())
    assert run(use(url)).last_seq == 6


def test_without_the_driver_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigError, match=r"needs asyncpg: pip install 'navarch\[postgres\]'"):
        PostgresStore("postgresql://db/x", stopwatch=stopwatch)
