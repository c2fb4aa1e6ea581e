"""What machines cost and what came of it: the bill of each pool and provider within a window.

Money is counted from the moment when a provider had the machine until it was gone, at the newest
price that is known. A price that nobody knows is no price: such machines are counted, and stand in
no sum. GPU-hours are *good* or *idle* where somebody measured what serving GPUs did, *unmeasured*
where nobody did, and *lost* where the machine was there and did not serve.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from navarch.core.model.fleet import Fleet
from navarch.core.selection.base import Market
from navarch.dashboard.past import lives, prices
from navarch.dashboard.past.kept import Past
from navarch.dashboard.past.lives import LOST, PAID, Counts, Kind, Present, Stage

Shares = list[tuple[float, float] | None]
"""Which shares of the serving GPUs were good and idle at each moment; None: nobody looked."""


class Hours(Struct):
    """What became of GPU-hours."""

    good: float = 0.0
    idle: float = 0.0
    unmeasured: float = 0.0
    """Of machines that served, while nobody looked what they did."""
    lost: float = 0.0
    lost_by: dict[str, float] = field(default_factory=dict)
    """``booting``, ``sick``, ``silent``, ``leaving``, ``ending``."""
    uncounted: float = 0.0
    """Machine-hours of machines of which nobody knows how many GPUs they have."""

    def add(self, other: Hours) -> None:
        """Count others in."""
        self.good += other.good
        self.idle += other.idle
        self.unmeasured += other.unmeasured
        self.lost += other.lost
        self.uncounted += other.uncounted
        for name, hours in other.lost_by.items():
            self.lost_by[name] = self.lost_by.get(name, 0.0) + hours


class Bill(Struct):
    """What some machines cost within the window, and cost now."""

    name: str
    machines: int = 0
    """Those that cost something now."""
    dollars_per_hour: float | None = None
    """What those with a known price cost now; null: there are some, and no price is known."""
    unpriced: int = 0
    """Machines now whose price nobody knows."""
    dollars: float | None = None
    """What those with a known price cost within the window; null likewise."""
    machine_hours: float = 0.0
    """Of all machines that cost something, within the window."""
    unpriced_hours: float = 0.0
    """Machine-hours within the window whose price nobody knows."""
    hours: Hours = field(default_factory=Hours)
    dollars_per_good_hour: float | None = None
    """US dollars for each good GPU-hour, where use was measured; null: see `because`."""
    because: str = ""
    """Why that is not known, or what it leaves out; empty otherwise."""


class KindRow(Struct):
    """Machines of one kind, and what one of them costs."""

    pool: str
    provider: str
    instance_type: str
    region: str
    spot: bool
    gpus: int | None
    """Of one machine; null: not known."""
    machines: int
    price: float | None
    """US dollars an hour; null: nobody knows."""
    price_because: str


class Columns(Struct):
    """What some machines cost and did, at the moments of a window."""

    rate: list[float]
    """US dollars an hour, of those with a known price."""
    unpriced: list[int]
    good: list[float]
    """GPUs; likewise the others."""
    idle: list[float]
    unmeasured: list[float]
    lost: list[float]

    @classmethod
    def none(cls, length: int) -> Columns:
        """Begin with nothing."""
        return cls([0.0] * length, [0] * length, *([0.0] * length for _ in range(4)))

    def add(self, other: Columns) -> None:
        """Count others in."""
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, [a + b for a, b in zip(mine, theirs, strict=True)])


class Account(Struct):
    """One pool's bill while it is made."""

    bill: Bill
    columns: Columns
    serving: list[int]
    """Nodes that served at each moment."""
    measured_dollars: float = 0.0
    """What was paid while use was measured."""
    measured_good: float = 0.0
    """Good GPU-hours in that time."""
    measured_unpriced: float = 0.0
    """Machine-hours without a price in that time."""


class Books(Struct):
    """All bills of a window."""

    pools: dict[str, Account]
    providers: dict[str, Bill]
    kinds: list[KindRow]


async def books_of(
    fleet: Fleet, past: Past, market: Market, moments: list[float], pools: Iterable[str]
) -> Books:
    """Make the bills of these pools.

    Cost: O(machines + turns within the window + kinds of machines × moments), in slices.
    """
    lived = past.chronicle.lives
    names = list(pools)
    present = await Present.of(fleet, names)
    books = Books({}, {}, [])
    for pool in names:
        account = Account(Bill(pool), Columns.none(len(moments)), [0] * len(moments))
        books.pools[pool] = account
        shares = past.uses.shares(pool, moments)
        kinds = {kind for kind in present.counts if kind.pool == pool} | set(lived.kinds(pool))
        for kind in sorted(kinds):
            counts = lives.counted(lived.turns(kind), present.counts.get(kind, {}), moments)
            _enter(books, account, kind, counts, shares, market, _gpus(kind, present, lived))
            await asyncio.sleep(0)
        _judge(account)
    return books


def _gpus(kind: Kind, present: Present, lived: lives.Lives) -> int | None:
    key = (kind.provider, kind.instance_type)
    return present.gpus.get(key) or lived.gpus.get(key)


def _enter(
    books: Books,
    account: Account,
    kind: Kind,
    counts: Counts,
    shares: Shares,
    market: Market,
    gpus: int | None,
) -> None:
    """Put machines of one kind on the bills that they belong to."""
    price = prices.price_of(kind, market)
    now = counts.of(PAID)[-1]
    provider = books.providers.setdefault(kind.provider, Bill(kind.provider))
    hours = _hours(counts, shares, gpus)
    for bill in (account.bill, provider):
        _pay(bill, now, counts.hours_in(PAID), price)
        bill.hours.add(hours)
    columns = _columns(counts, shares, price, gpus)
    account.columns.add(columns)
    served = counts.by_stage[Stage.SERVING]
    account.serving = [a + b for a, b in zip(account.serving, served, strict=True)]
    _measure(account, columns, counts.moments, shares)
    if now:
        because = prices.price_because(kind, market)
        books.kinds.append(
            KindRow(
                kind.pool,
                kind.provider,
                kind.instance_type,
                kind.region,
                kind.spot,
                gpus,
                now,
                price,
                because,
            )
        )


def _pay(bill: Bill, now: int, hours: float, price: float | None) -> None:
    bill.machines += now
    bill.machine_hours += hours
    if price is None:
        bill.unpriced += now
        bill.unpriced_hours += hours
        return
    bill.dollars_per_hour = (bill.dollars_per_hour or 0.0) + now * price
    bill.dollars = (bill.dollars or 0.0) + hours * price


def _hours(counts: Counts, shares: Shares, gpus: int | None) -> Hours:
    """Split the GPU-hours of one kind; between two moments those of the earlier one hold."""
    if not gpus:
        return Hours(uncounted=counts.hours_in(PAID))
    serving = counts.by_stage[Stage.SERVING]
    weight = sum(serving) or 1
    known = [(count, share) for count, share in zip(serving, shares, strict=True) if share]
    served = counts.hours[Stage.SERVING] * gpus
    good = served * sum(count * share[0] for count, share in known) / weight
    idle = served * sum(count * share[1] for count, share in known) / weight
    lost_by = {stage.value: counts.hours[stage] * gpus for stage in Stage if stage in LOST}
    return Hours(
        good=good,
        idle=idle,
        unmeasured=max(served - good - idle, 0.0),
        lost=sum(lost_by.values()),
        lost_by={name: hours for name, hours in lost_by.items() if hours},
    )


def _columns(counts: Counts, shares: Shares, price: float | None, gpus: int | None) -> Columns:
    paid, serving, lost = counts.of(PAID), counts.by_stage[Stage.SERVING], counts.of(LOST)
    each = gpus or 0
    good = [
        count * each * share[0] if share else 0.0
        for count, share in zip(serving, shares, strict=True)
    ]
    idle = [
        count * each * share[1] if share else 0.0
        for count, share in zip(serving, shares, strict=True)
    ]
    return Columns(
        rate=[count * price if price is not None else 0.0 for count in paid],
        unpriced=paid if price is None else [0] * len(paid),
        good=good,
        idle=idle,
        unmeasured=[
            max(count * each - used - unused, 0.0)
            for count, used, unused in zip(serving, good, idle, strict=True)
        ],
        lost=[float(count * each) for count in lost],
    )


def _measure(account: Account, columns: Columns, moments: list[float], shares: Shares) -> None:
    """Count what was paid, and what came of it, while somebody looked at use."""
    for index in range(len(moments) - 1):
        if shares[index] is None:
            continue
        hours = (moments[index + 1] - moments[index]) / 3600
        account.measured_dollars += columns.rate[index] * hours
        account.measured_good += columns.good[index] * hours
        account.measured_unpriced += columns.unpriced[index] * hours


UNMEASURED: Final = "what the GPUs did is not measured yet"


def _judge(account: Account) -> None:
    bill = account.bill
    price, because = per_good_hour(
        account.measured_dollars, account.measured_good, account.measured_unpriced, bill.hours
    )
    bill.dollars_per_good_hour, bill.because = price, because


def per_good_hour(
    dollars: float, good: float, unpriced_hours: float, hours: Hours
) -> tuple[float | None, str]:
    """Divide money by good GPU-hours, or say why that cannot be done."""
    if unpriced_hours > 0:
        return None, f"the price of {unpriced_hours:.1f} machine-hours is not known"
    if not (hours.good or hours.idle):
        return None, UNMEASURED if hours.unmeasured else "no GPU has served"
    if good <= 0:
        return None, "no GPU-hour was good"
    share = hours.unmeasured / ((hours.good + hours.idle + hours.unmeasured) or 1)
    left_out = f"{share:.0%} of the serving time is left out: nobody looked" if share > 0.02 else ""
    return dollars / good, left_out
