"""Simulations: the reports in a folder, and the real fleet's figures to hold beside them."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from navarch.core.selection.base import Market
from navarch.dashboard.parts import bills
from navarch.dashboard.parts.bills import Account, Bill
from navarch.dashboard.parts.windows import Window
from navarch.dashboard.past.series import milliseconds
from navarch.dashboard.reports import Entry
from navarch.dashboard.seen import Seen
from navarch.dashboard.views import cost
from navarch.dashboard.views.pools import window_known
from navarch.errors import WireError

WINDOW: Final = {"window": "24h"}
"""Over which time the real fleet is looked at."""
POOLS_MAX: Final = 200


class Live(Struct):
    """How a pool did in truth, or the fleet; the words are those of reports."""

    name: str
    nodes: int
    """Machines that cost something now."""
    availability: float | None
    """The share of the time with as many serving nodes as wanted; null: nothing was wanted."""
    machine_hours: float
    good: float
    """GPU-hours, where somebody measured; likewise `idle`."""
    idle: float
    unmeasured: float
    """GPU-hours that served, and of which nobody knows whether they were good."""
    lost: float
    dollars: float | None
    """Null: the price of some machines is not known."""
    dollars_per_good_hour: float | None
    replacements: int
    because: str
    """What is not known, and why; empty otherwise."""


class LiveFigures(Struct):
    """The real fleet, within a window."""

    window: str
    since: datetime
    until: datetime
    fleet: Live
    pools: list[Live]


class SimulationsView(Struct):
    """All reports."""

    seq: int
    now: datetime
    folder: str
    """Where they are looked for; empty: nowhere."""
    reports: list[Entry]
    left_out: int
    live: LiveFigures


class SimulationView(Struct):
    """One report."""

    seq: int
    now: datetime
    report: Entry
    page: str
    """Where its page is."""
    live: LiveFigures


async def view(
    seen: Seen, below: str, query: Mapping[str, str]
) -> SimulationsView | SimulationView:
    """List the reports, or show the one whose name is below.

    Raises `WireError` with ``not_found`` for a report that is not there.
    """
    if query:
        raise WireError("invalid_argument", "simulations are shown without a query")
    reports = seen.past.reports
    seen.want_prices()
    if below:
        if reports is None:
            raise WireError("not_found", "there is no folder of reports")
        entry = await asyncio.to_thread(reports.entry, below)
        page = f"/ui/reports/{quote(below)}/report.html"
        return SimulationView(seen.seq, seen.now, entry, page, await _live(seen))
    entries, left_out = ([], 0) if reports is None else await asyncio.to_thread(reports.newest)
    folder = "" if reports is None else str(reports.folder)
    live = await _live(seen)
    return SimulationsView(seen.seq, seen.now, folder, entries, left_out, live)


async def _live(seen: Seen) -> LiveFigures:
    return await seen.past.answer("live", seen.seq, seen.now, lambda: _figures(seen))


async def _figures(seen: Seen) -> LiveFigures:
    window = await window_known(seen, WINDOW)
    moments = window.moments()
    market = Market(seen.now, seen.catalogs)
    names = list(seen.fleet.pools)
    books = await bills.books_of(seen.fleet, seen.past, market, moments, names)
    accounts = [books.pools[name] for name in sorted(names)]
    pools: list[Live] = []
    enough: Served = [None] * len(moments)
    for account in accounts:
        served = _served(seen, account, window, moments)
        enough = [_all((a, b)) for a, b in zip(enough, served, strict=True)]
        pools.append(_live_of(account.bill, served, _replaced(seen, account.bill.name, window)))
    fleet = _live_of(cost.sum_of("", accounts), enough, sum(each.replacements for each in pools))
    return LiveFigures(window.name, window.begins, window.until, fleet, pools[:POOLS_MAX])


def _replaced(seen: Seen, pool: str, window: Window) -> int:
    decided = seen.past.chronicle.decisions(pool, window.begins)
    return sum(each.count for each in decided if each.kind == "replaced")


Served = list[bool | None]
"""Whether there were as many serving nodes as wanted, at each moment; None: none were wanted."""


def _all(each: tuple[bool | None, bool | None]) -> bool | None:
    known = [served for served in each if served is not None]
    return all(known) if known else None


def _served(seen: Seen, account: Account, window: Window, moments: list[float]) -> Served:
    """Hold a pool's serving nodes against its target."""
    pool = seen.fleet.pools[account.bill.name]
    targets = seen.past.chronicle.target(pool.name, pool.target, window.begins)
    changed = [at for at, _ in targets]
    served: Served = []
    for moment, number in zip(moments, account.serving, strict=True):
        index = bisect_right(changed, milliseconds(moment)) - 1
        target = targets[index][1] if index >= 0 else None
        served.append(number >= target if target else None)
    return served


def _live_of(bill: Bill, served: Served, replaced: int) -> Live:
    hours = bill.hours
    known = [each for each in served if each is not None]
    unknown = [bill.because] if bill.because else []
    if bill.unpriced_hours > 0:
        unknown.insert(0, f"the price of {bill.unpriced_hours:.1f} machine-hours is not known")
    return Live(
        name=bill.name,
        nodes=bill.machines,
        availability=sum(known) / len(known) if known else None,
        machine_hours=round(bill.machine_hours, 4),
        good=round(hours.good, 4),
        idle=round(hours.idle, 4),
        unmeasured=round(hours.unmeasured, 4),
        lost=round(hours.lost, 4),
        dollars=bill.dollars if bill.unpriced_hours <= 0 else None,
        dollars_per_good_hour=bill.dollars_per_good_hour,
        replacements=replaced,
        because="; ".join(dict.fromkeys(unknown)),
    )
