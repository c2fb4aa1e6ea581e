"""The pools: all of them in a list, or one with its past, its offers, its budget and its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct

from navarch.core.model.pool import Pool
from navarch.core.selection.base import Market
from navarch.dashboard.parts import histories, offers, repairs, summaries
from navarch.dashboard.parts.histories import History
from navarch.dashboard.parts.offers import Buying, OfferRow
from navarch.dashboard.parts.repairs import Breaker, Budget
from navarch.dashboard.parts.summaries import PoolRow
from navarch.dashboard.parts.windows import Window, window_of
from navarch.dashboard.past.lives import Present
from navarch.dashboard.rows import ORDER, WRONG, Row, row_of
from navarch.dashboard.seen import Seen
from navarch.errors import WireError

POOLS_MAX: Final = 500
"""Pools that are listed, those with troubles first."""
SLICE: Final = 1_000
"""Machines that are looked at before others get their turn."""
WRONG_MAX: Final = 50
"""Nodes of a pool that are named, those with something against them."""


class PoolsView(Struct):
    """All pools."""

    seq: int
    now: datetime
    pools: list[PoolRow]
    """Those with troubles first, then by name."""
    left_out: int


class NodesSummary(Struct):
    """A pool's machines by state."""

    counts: dict[str, int]
    """By the state's word, the gravest first; states that nobody is in are left out."""
    wrong: list[Row]
    """Machines that somebody should know the reason of, the gravest first."""
    left_out: int
    """Others of those."""


class PoolView(Struct):
    """One pool."""

    seq: int
    now: datetime
    pool: PoolRow
    history: History
    buying: Buying
    offers: list[OfferRow]
    """In the order of the pool's strategy."""
    offers_left_out: int
    budget: Budget
    breaker: Breaker
    nodes: NodesSummary


async def view(seen: Seen, below: str, query: Mapping[str, str]) -> PoolsView | PoolView:
    """Show all pools, or the one whose name is below.

    Raises `WireError` with ``not_found`` for a pool that is not known, and ``invalid_argument``
    for a query that means nothing.
    """
    seen.want_prices()
    if not below:
        if query:
            raise WireError("invalid_argument", "all pools are shown without a query")
        return await seen.past.answer("pools", seen.seq, seen.now, lambda: _all(seen))
    pool = seen.fleet.pools.get(below)
    if pool is None:
        raise WireError("not_found", f"pool {below[:60]!r} is not known")
    window_of(query, seen.past.chronicle, seen.now)  # a wrong one is refused before any work
    key = ("pool", below, query.get("window", ""))
    return await seen.past.answer(key, seen.seq, seen.now, lambda: _one(seen, pool, query))


async def _all(seen: Seen) -> PoolsView:
    pools = list(seen.fleet.pools.values())
    present = await Present.of(seen.fleet, [pool.name for pool in pools])
    market = Market(seen.now, seen.catalogs)
    rows = [_summary(seen, pool, present, market) for pool in pools]
    rows.sort(key=lambda row: (not row.troubles, row.name))
    return PoolsView(seen.seq, seen.now, rows[:POOLS_MAX], max(len(rows) - POOLS_MAX, 0))


def _summary(seen: Seen, pool: Pool, present: Present, market: Market) -> PoolRow:
    return summaries.summary_of(
        seen.fleet, seen.sightings, pool, seen.past, present, market, seen.settings
    )


async def _one(seen: Seen, pool: Pool, query: Mapping[str, str]) -> PoolView:
    fleet, sightings, now, settings = seen.fleet, seen.sightings, seen.now, seen.settings
    catalogs = seen.catalogs
    rows, left_out = offers.offer_rows(
        fleet, sightings, pool, now, settings, seen.rankers, catalogs
    )
    buying = offers.buying(fleet, sightings, pool, now, settings, seen.rankers, catalogs)
    budget = repairs.budget_of(fleet, sightings, pool, now, settings)
    nodes = await _nodes(seen, pool)
    window = await window_known(seen, query)
    present = await Present.of(fleet, [pool.name])
    return PoolView(
        seq=seen.seq,
        now=now,
        pool=_summary(seen, pool, present, Market(now, catalogs)),
        history=histories.history_of(seen.past, present, pool, window),
        buying=buying,
        offers=rows,
        offers_left_out=left_out,
        budget=budget,
        breaker=repairs.breaker_of(pool, seen.past.chronicle.decisions(pool.name), settings),
        nodes=nodes,
    )


async def window_known(
    seen: Seen, query: Mapping[str, str], others: tuple[str, ...] = ()
) -> Window:
    """Read the journal up to now, and say which window is shown."""
    chronicle = seen.past.chronicle
    await chronicle.catch_up(seen.journal, seen.seq, seen.fleet, seen.now)
    return window_of(query, chronicle, seen.now, others)


async def _nodes(seen: Seen, pool: Pool) -> NodesSummary:
    """Count a pool's machines by state. Cost: O(those), in slices."""
    fleet, rows = seen.fleet, seen.rows
    counts = dict.fromkeys(ORDER, 0)
    wrong: list[Row] = []
    for number, id_ in enumerate(list(fleet.members.get(pool.name, ()))):
        row = None if rows is None else rows.get(id_)
        if row is None:
            row = row_of(fleet.nodes.get(id_), fleet.instances.get(id_))
        if row is not None:
            counts[row.state] += 1
            if row.state in WRONG:
                wrong.append(row)
        if number % SLICE == SLICE - 1:
            await asyncio.sleep(0)
    wrong.sort(key=lambda row: (ORDER.index(row.state), row.since, row.id))
    return NodesSummary(
        counts={state.value: count for state, count in counts.items() if count},
        wrong=wrong[:WRONG_MAX],
        left_out=max(len(wrong) - WRONG_MAX, 0),
    )
