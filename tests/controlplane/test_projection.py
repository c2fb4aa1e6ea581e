"""Which records facts have moved: none that the tables show is ever missed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from navarch.controlplane.projection import touched, whole
from navarch.core import fold
from navarch.core.model.fleet import Fleet
from navarch.simulator.server import facts_of
from navarch.simulator.world import World
from navarch.stores.base import Projection
from navarch.stores.postgres_models import INSTANCES, NODES, POOLS, Table

SEEDS = range(25)


def shown(table: Table[Any], records: Iterable[Any]) -> dict[str, list[object]]:
    """Return what a table shows of these records, by key."""
    rows = [[value_of(record) for _, _, value_of in table.columns] for record in records]
    return {row[0]: row for row in rows}


def kept(before: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return `before` with what has changed, without what is no more."""
    return {key: each for key, each in {**before, **changed}.items() if each is not None}


def test_no_fact_of_a_rough_life_moves_a_row_that_is_not_looked_at() -> None:
    folded = 0
    for seed in SEEDS:
        world = World(seed)
        world.run()
        fleet, tables = Fleet(), Projection()
        for fact in facts_of(world.server.store):
            fold.apply(fleet, fact)  # type: ignore[arg-type]
            changed = touched([fact], fleet)  # type: ignore[list-item]
            tables.nodes = kept(tables.nodes, changed.nodes)
            tables.instances = kept(tables.instances, changed.instances)
            tables.pools = kept(tables.pools, changed.pools)
            for table, records, truth in (
                (NODES, tables.nodes, fleet.nodes),
                (INSTANCES, tables.instances, fleet.instances),
                (POOLS, tables.pools, fleet.pools),
            ):
                assert shown(table, records.values()) == shown(table, truth.values()), fact
            folded += 1
    assert folded > 1_000


def folded_life(seed: int) -> Fleet:
    """Return the fleet that a world's facts have made."""
    world = World(seed)
    world.run()
    fleet = Fleet()
    for fact in facts_of(world.server.store):
        fold.apply(fleet, fact)  # type: ignore[arg-type]
    return fleet


def test_the_whole_is_every_record() -> None:
    fleet = folded_life(3)
    every = Projection({**fleet.nodes}, {**fleet.instances}, {**fleet.pools}, whole=True)
    assert whole(fleet) == every


def test_what_comes_later_lies_over_what_came_before() -> None:
    fleet = folded_life(3)
    pool = next(iter(fleet.pools))
    first = Projection(nodes={"gone": None}, pools={pool: None})
    first.add(Projection(pools={**fleet.pools}))
    assert first == Projection({"gone": None}, {}, {**fleet.pools})
    first.add(whole(fleet))
    assert first == whole(fleet)
