"""The tables that people read: what they show, and how far they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from hashlib import shake_256

import pytest

from infra.real_postgres import RealPostgres
from navarch.controlplane.clock import stopwatch
from navarch.controlplane.projection import touched, whole
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.sentences import sentence
from navarch.simulator.server import facts_of
from navarch.simulator.world import World
from navarch.stores.base import ReadModels
from navarch.stores.postgres import PostgresStore
from stores.facts import START, facts, run

ROWS = "SELECT coalesce(json_agg(t ORDER BY 1), '[]') FROM (SELECT * FROM {table} ORDER BY 1) AS t"


def opened(url: str) -> PostgresStore:
    """Return a store whose table of events has sentences."""
    return PostgresStore(url, stopwatch=stopwatch, describe=sentence)


async def live(store: PostgresStore, world: World, step: int) -> Fleet:
    """Append a world's facts, some at a time, as a control plane does."""
    fleet, lived = Fleet(), facts_of(world.server.store)
    await store.open()
    for first in range(0, len(lived), step):
        new = lived[first : first + step]
        for fact in new:
            fold.apply(fleet, fact)  # type: ignore[arg-type]
        store.stage(touched(new, fleet))  # type: ignore[arg-type]
        await store.append(new, after=first)
    return fleet


def ids(postgres: RealPostgres, schema: str, table: str, *columns: str) -> list[list[object]]:
    """Return some columns of a table's rows, sorted."""
    found = json.loads(postgres.sql(ROWS.format(table=f"{schema}.{table}")))
    return [[row[column] for column in columns] for row in found]


def test_the_tables_show_the_fleet_that_the_facts_have_made(
    postgres: RealPostgres, new_schema: Callable[[], str]
) -> None:
    async def scenario(seed: int, step: int) -> None:
        store = opened(new_schema())
        fleet = await live(store, lived_through(seed), step)
        last = await store.last_seq()
        assert await store.projected_seq() == last
        await store.close()
        schema = store.address.schema
        assert ids(postgres, schema, "nodes", "id", "status", "because") == [
            [node.id, node.status.value, node.because] for _, node in sorted(fleet.nodes.items())
        ]
        assert ids(postgres, schema, "instances", "id", "state", "ref") == [
            [each.id, each.state.value, each.ref] for _, each in sorted(fleet.instances.items())
        ]
        assert ids(postgres, schema, "pools", "name", "target", "paused") == [
            [pool.name, pool.target, pool.paused] for _, pool in sorted(fleet.pools.items())
        ]
        assert ids(postgres, schema, "projection", "seq") == [[last]]

    for seed, step in ((1, 1_000), (5, 7), (8, 40)):
        run(scenario(seed, step))


def lived_through(seed: int) -> World:
    """Return a world that has been lived through."""
    world = World(seed)
    world.run()
    return world


def test_facts_that_nobody_staged_leave_the_tables_behind_until_all_is_written(
    postgres: RealPostgres, new_schema: Callable[[], str]
) -> None:
    async def scenario() -> None:
        store = opened(new_schema())
        assert isinstance(store, ReadModels)
        fleet = await live(store, lived_through(2), 50)
        last = await store.append(facts(1, 3), after=await store.last_seq())
        assert await store.projected_seq() == last - 3
        store.stage(touched([], fleet))
        last = await store.append(facts(4, 4), after=last)
        assert await store.projected_seq() == last - 4  # a gap is not papered over
        postgres.sql(f"INSERT INTO {store.address.schema}.nodes (id) VALUES ('stale')")
        store.stage(whole(fleet))
        last = await store.append(facts(5, 5), after=last)
        assert await store.projected_seq() == last
        await store.close()
        there = ids(postgres, store.address.schema, "nodes", "id")
        assert there == [[id_] for id_ in sorted(fleet.nodes)]

    run(scenario())


def test_an_append_that_is_refused_moves_no_table(new_schema: Callable[[], str]) -> None:
    async def scenario() -> None:
        store = opened(new_schema())
        fleet = await live(store, lived_through(2), 50)
        last = await store.last_seq()
        store.stage(whole(fleet))
        refused = asyncio.create_task(store.append(facts(1, 1), after=last - 1))
        await asyncio.sleep(0)  # it takes what is staged, and now it waits
        store.stage(touched([], fleet))
        taken = store.append(facts(1, 1), after=last)
        answers = await asyncio.gather(refused, taken, return_exceptions=True)
        assert [type(each).__name__ for each in answers] == ["JournalConflict", "int"]
        assert await store.projected_seq() == last + 1
        await store.close()

    run(scenario())


def test_events_can_be_asked_in_sql(postgres: RealPostgres, new_schema: Callable[[], str]) -> None:
    lost = ev.NodeLost(at=START, node_id="node-1", because='it said "no\0thing"')
    told = [lost, ev.Resumed(at=START + timedelta(hours=1), version="1.0")]

    async def scenario() -> str:
        store = opened(new_schema())
        await store.open()
        await store.append(told, after=0)
        assert [each.event for each in await store.read()] == told
        assert len(await store.read(subject="node-1")) == 1
        await store.close()
        return store.address.schema

    schema = run(scenario())
    first, second = json.loads(postgres.sql(ROWS.format(table=f"{schema}.events")))
    odd = 'it said "no\N{REPLACEMENT CHARACTER}thing"'
    assert first == {
        "seq": 1,
        "at": "2026-05-01T12:00:00+00:00",
        "kind": "node_lost",
        "subjects": ["node-1"],
        "because": odd,
        "text": sentence(lost).replace("\0", "\N{REPLACEMENT CHARACTER}"),
        "payload": {
            "kind": "node_lost",
            "at": "2026-05-01T12:00:00Z",
            "node_id": "node-1",
            "because": odd,
        },
    }
    assert (second["kind"], second["subjects"], second["because"]) == ("resumed", [], None)


@pytest.mark.parametrize("count", [1, 200])  # in one statement, and by COPY
def test_subjects_that_no_index_takes_are_found_all_the_same(
    new_schema: Callable[[], str], count: int
) -> None:
    long = [shake_256(b"%d" % n).hexdigest(2_000) for n in range(count)]
    told = [ev.NodeLost(at=START, node_id=each, because="silent") for each in long]

    async def scenario() -> None:
        store = opened(new_schema())
        await store.open()
        await store.append(facts(1, 1), after=0)
        await store.append(told, after=1)
        assert [each.event for each in await store.read(subject=long[-1])] == told[-1:]
        await store.snapshot(count + 1, b"state")
        assert await store.forget(before=START + timedelta(days=9)) == count + 1
        assert await store.read(subject=long[-1]) == []
        await store.close()

    run(scenario())
