"""Cost: by pool, by provider, and for each GPU-hour that was good."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from navarch.core.selection.base import Market
from navarch.dashboard.parts import bills
from navarch.dashboard.parts.bills import Account, Bill, Books, Columns, Hours, KindRow
from navarch.dashboard.parts.windows import window_of
from navarch.dashboard.past.series import Point, changes
from navarch.dashboard.seen import Seen
from navarch.dashboard.views.pools import window_known
from navarch.errors import WireError

POOLS_MAX: Final = 200
"""Pools that have a bill of their own, the dearest; the others are summed up."""
KINDS_MAX: Final = 300
DRAWN_MAX: Final = 6
"""Pools that a chart shows apart."""
OTHERS: Final = "(others)"


class PriceList(Struct):
    """A provider's price list, as far as there is one."""

    provider: str
    at: datetime | None
    """When it was read; null: it was not, or there is none."""
    types: int


class Drawn(Struct):
    """A series, and whose it is."""

    name: str
    points: list[Point]


class CostSeries(Struct):
    """Columns of points."""

    dollars_per_hour: list[Drawn]
    """Of the dearest pools, and of all others together; of machines with a known price."""
    unpriced: list[Point]
    """Machines whose price nobody knows."""
    good: list[Point]
    """GPUs that were used; likewise the others."""
    idle: list[Point]
    unmeasured: list[Point]
    lost: list[Point]


class CostView(Struct):
    """The bill of a window."""

    seq: int
    now: datetime
    window: str
    since: datetime
    until: datetime
    known_since: datetime
    total: Bill
    pools: list[Bill]
    """The dearest first."""
    left_out: int
    providers: list[Bill]
    kinds: list[KindRow]
    kinds_left_out: int
    prices: list[PriceList]
    foreign: int
    """Nodes that were not bought here: what they cost is nobody's business, and in no sum."""
    series: CostSeries


async def view(seen: Seen, below: str, query: Mapping[str, str]) -> CostView:
    """Show what the fleet cost within a window.

    Raises `WireError` with ``invalid_argument`` for a query that means nothing.
    """
    if below:
        raise WireError("not_found", f"there is no {below[:60]!r} of the cost")
    seen.want_prices()
    window_of(query, seen.past.chronicle, seen.now)
    key = ("cost", query.get("window", ""))
    return await seen.past.answer(key, seen.seq, seen.now, lambda: _made(seen, query))


async def _made(seen: Seen, query: Mapping[str, str]) -> CostView:
    window = await window_known(seen, query)
    catalogs = seen.catalogs
    market = Market(seen.now, catalogs)
    moments = window.moments()
    books = await bills.books_of(seen.fleet, seen.past, market, moments, list(seen.fleet.pools))
    accounts = sorted(books.pools.values(), key=_dearest)
    shown, others = accounts[:POOLS_MAX], accounts[POOLS_MAX:]
    listed = [each.bill for each in shown]
    if others:
        listed.append(sum_of(OTHERS, others))
    sellers = dict.fromkeys(
        source.provider for pool in seen.fleet.pools.values() for source in pool.sources
    )
    return CostView(
        seq=seen.seq,
        now=seen.now,
        window=window.name,
        since=window.since,
        until=window.until,
        known_since=window.known_since,
        total=_rounded(sum_of("", accounts)),
        pools=[_rounded(each) for each in listed],
        left_out=len(others),
        providers=[_rounded(each) for each in _by_provider(books)],
        kinds=_kinds(books)[:KINDS_MAX],
        kinds_left_out=max(len(books.kinds) - KINDS_MAX, 0),
        prices=[
            PriceList(each, None, 0)
            if (catalog := catalogs.get(each)) is None or not catalog.types
            else PriceList(each, catalog.at, len(catalog.types))
            for each in sellers
        ],
        foreign=sum(id_ not in seen.fleet.gone for id_ in seen.fleet.foreign),
        series=_series(accounts, moments),
    )


def _dearest(account: Account) -> tuple[float, str]:
    return -(account.bill.dollars or 0.0), account.bill.name


def _kinds(books: Books) -> list[KindRow]:
    return sorted(
        books.kinds,
        key=lambda row: (-(row.price or 0.0) * row.machines, row.pool, row.provider, row.region),
    )


def _by_provider(books: Books) -> list[Bill]:
    return sorted(books.providers.values(), key=lambda bill: (-(bill.dollars or 0.0), bill.name))


def sum_of(name: str, accounts: list[Account]) -> Bill:
    """Sum bills up."""
    total = Bill(name)
    for account in accounts:
        bill = account.bill
        total.machines += bill.machines
        total.unpriced += bill.unpriced
        total.machine_hours += bill.machine_hours
        total.unpriced_hours += bill.unpriced_hours
        total.hours.add(bill.hours)
        if bill.dollars is not None:
            total.dollars = (total.dollars or 0.0) + bill.dollars
        if bill.dollars_per_hour is not None:
            total.dollars_per_hour = (total.dollars_per_hour or 0.0) + bill.dollars_per_hour
    total.dollars_per_good_hour, total.because = bills.per_good_hour(
        sum(each.measured_dollars for each in accounts),
        sum(each.measured_good for each in accounts),
        sum(each.measured_unpriced for each in accounts),
        total.hours,
    )
    return total


def _rounded(bill: Bill) -> Bill:
    """Write a bill with so many digits as anybody wants to see; nothing there costs nothing."""

    def cut(value: float | None) -> float | None:
        return None if value is None else round(value, 4)

    is_free = not bill.unpriced and not bill.unpriced_hours
    hours = bill.hours
    return replace(
        bill,
        dollars=cut(bill.dollars if bill.dollars is not None or not is_free else 0.0),
        dollars_per_hour=cut(
            bill.dollars_per_hour if bill.dollars_per_hour is not None or bill.unpriced else 0.0
        ),
        machine_hours=round(bill.machine_hours, 4),
        unpriced_hours=round(bill.unpriced_hours, 4),
        dollars_per_good_hour=cut(bill.dollars_per_good_hour),
        hours=Hours(
            good=round(hours.good, 4),
            idle=round(hours.idle, 4),
            unmeasured=round(hours.unmeasured, 4),
            lost=round(hours.lost, 4),
            lost_by={name: round(each, 4) for name, each in hours.lost_by.items()},
            uncounted=round(hours.uncounted, 4),
        ),
    )


def _series(accounts: list[Account], moments: list[float]) -> CostSeries:
    total, rest = Columns.none(len(moments)), Columns.none(len(moments))
    for number, account in enumerate(accounts):
        total.add(account.columns)
        if number >= DRAWN_MAX:
            rest.add(account.columns)
    drawn = [
        Drawn(each.bill.name, _points(moments, each.columns.rate))
        for each in accounts[:DRAWN_MAX]
        if any(each.columns.rate)
    ]
    if any(rest.rate):
        drawn.append(Drawn(OTHERS, _points(moments, rest.rate)))
    return CostSeries(
        dollars_per_hour=drawn,
        unpriced=changes(moments, total.unpriced),
        good=_points(moments, total.good),
        idle=_points(moments, total.idle),
        unmeasured=_points(moments, total.unmeasured),
        lost=_points(moments, total.lost),
    )


def _points(moments: list[float], values: list[float]) -> list[Point]:
    return changes(moments, [round(each, 3) for each in values])
