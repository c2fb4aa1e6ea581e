"""What GPUs that are paid for are used for, and what machines cost, added up over time.

Time is added up piece by piece: when a machine changes, for that machine alone and to the moment of
the fact (`Usage.changed`); and every `SWEEP` for all, when it is also seen which GPUs are busy
(`Usage.sweep`). What a GPU did since the last sweep is taken from its newest sample, so that it may
be wrong by one sweep for each time that a GPU begins or ends to work.

Cost: a sweep of 10,000 nodes with 8 GPUs takes some 10 ms every 15 s, in slices, a change a few
microseconds, and a scrape none of it (bench/measures.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from navarch.controlplane.census import Bought, Look, Paid
from navarch.controlplane.measures import Names, Values
from navarch.core.model.samples import Samples

SWEEP: Final = timedelta(seconds=15)
"""How often it is seen which GPUs are busy: twice as often as agents tell by default."""
SLICE: Final = 2_000
"""Machines of a sweep that are looked at in one go; others work between two slices."""
BUSY_PERCENT: Final = 5.0
"""From which utilization on a GPU counts as busy. (Our judgement: a process that only holds a GPU
shows 0, and monitoring alone stays below 5.)"""
HOUR_SECONDS: Final = 3_600.0
_FIRST: Final = 64

Price = Callable[[Bought], float | None]
"""Says what a machine costs in an hour; None: nobody knows."""


class GpuSeconds(Struct):
    """Time of the GPUs of one pool."""

    good: float = 0.0
    idle: float = 0.0
    lost: float = 0.0
    unknown: float = 0.0


class _Group(Struct):
    """Machines that cost the same."""

    machines: int
    settled_at: float


class Busy(Struct, frozen=True):
    """How busy a pool was at the last sweep."""

    utilization: float
    """The sum over its GPUs that were read, each from 0 to 100."""
    gpus: int
    """That were read."""


class Usage:
    """Time and money, added up since this process leads."""

    def __init__(self, pools: Names, providers: Names, price: Price) -> None:
        """Begin with nothing; `pools` and `providers` say who has series of their own."""
        self.gpu_seconds: dict[str, GpuSeconds] = {}
        """By the label of a pool."""
        self.dollars: dict[Values, float] = {}
        """By the labels of a pool and a provider."""
        self.busy: dict[str, Busy] = {}
        """By the label of a pool; pools of which nothing was read are absent."""
        self._pools, self._providers, self._price = pools, providers, price
        self._groups: dict[Bought, _Group] = {}
        self._at: dict[str, int] = {}
        """Where each machine is in the columns."""
        self._ids: list[str] = []
        self._free: list[int] = []
        self._numbers: dict[str, int] = {}
        """Of the labels of pools."""
        self._labels: list[str] = []
        """By these numbers."""
        self._paid: NDArray[np.int8] = np.zeros(0, dtype=np.int8)
        self._pool: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._gpus: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._active: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        """GPUs that were busy at the last sweep."""
        self._read: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        """GPUs that were read then."""
        self._settled: NDArray[np.float64] = np.zeros(0, dtype=np.float64)
        """Up to which second its time is added up."""

    # --- one machine ---------------------------------------------------------------------

    def changed(self, id_: str, before: Look, after: Look, at: datetime) -> None:
        """Add up the time of a machine until now, and know how it is from now on. Cost: O(1)."""
        now = at.timestamp()
        if before.bought != after.bought:
            self._regroup(before.bought, -1, now)
            self._regroup(after.bought, 1, now)
        where = self._at.get(id_)
        if where is not None:
            self._settle_one(where, now)
        if after.paid is Paid.NOT:
            if where is not None:
                self._leave(id_, where)
            return
        if where is None:
            where = self._enter(id_)
            self._settled[where] = now
        self._paid[where] = after.paid
        self._gpus[where] = after.gpus
        self._pool[where] = self._number(after.pool)

    def _settle_one(self, where: int, now: float) -> None:
        seconds = max(now - self._settled.item(where), 0.0)
        self._settled[where] = max(now, self._settled.item(where))
        spent = self.gpu_seconds[self._labels[self._pool.item(where)]]
        gpus = self._gpus.item(where)
        if self._paid.item(where) == Paid.LOST:
            spent.lost += seconds * gpus
            return
        active, read = self._active.item(where), self._read.item(where)
        spent.good += seconds * active
        spent.idle += seconds * (read - active)
        spent.unknown += seconds * max(gpus - read, 0)

    def _regroup(self, bought: Bought | None, machines: int, now: float) -> None:
        if bought is None:
            return
        group = self._groups.get(bought)
        if group is None:
            group = self._groups[bought] = _Group(0, now)
        self._settle_group(bought, group, now)
        group.machines += machines
        if not group.machines:
            del self._groups[bought]

    def _settle_group(self, bought: Bought, group: _Group, now: float) -> None:
        seconds = max(now - group.settled_at, 0.0)
        group.settled_at = max(now, group.settled_at)
        price = self._price(bought)
        if price is not None:
            key = (self._pools.label(bought.pool), self._providers.label(bought.provider))
            spent = seconds / HOUR_SECONDS * price * group.machines
            self.dollars[key] = self.dollars.get(key, 0.0) + spent

    def _number(self, pool: str) -> int:
        label = self._pools.label(pool)
        if label not in self._numbers:
            self._numbers[label] = len(self._labels)
            self._labels.append(label)
            self.gpu_seconds[label] = GpuSeconds()
        return self._numbers[label]

    def _enter(self, id_: str) -> int:
        if not self._free:
            there = len(self._ids)
            more = max(_FIRST, there // 4)
            for name in ("_paid", "_pool", "_gpus", "_active", "_read", "_settled"):
                column = getattr(self, name)
                setattr(self, name, np.concatenate((column, np.zeros(more, dtype=column.dtype))))
            self._ids += [""] * more
            self._free = list(range(there + more - 1, there - 1, -1))
        where = self._free.pop()
        self._ids[where] = id_
        self._at[id_] = where
        return where

    def _leave(self, id_: str, where: int) -> None:
        for column in (self._paid, self._gpus, self._active, self._read):
            column[where] = 0
        self._ids[where] = ""
        del self._at[id_]
        self._free.append(where)

    # --- all of them ---------------------------------------------------------------------

    def sweep(self, samples: Samples, now: datetime, since: datetime) -> Iterator[None]:
        """Add up the time of all machines until now, a slice each time that it goes on.

        Samples before `since` do not count.
        """
        moment = now.timestamp()
        for bought, group in self._groups.items():
            self._settle_group(bought, group, moment)
        size = max(len(self._numbers), 1)
        utilization = np.zeros(size)
        gpus = np.zeros(size)
        for first in range(0, len(self._ids), SLICE):
            part = slice(first, first + SLICE)
            busy, read, pool = self._sweep_part(part, samples, moment, since)
            size = max(len(self._numbers), 1)  # a pool may have come meanwhile
            utilization = _added(utilization, np.bincount(pool, busy, size).astype(np.float64))
            gpus = _added(gpus, np.bincount(pool, read, size).astype(np.float64))
            yield
        self.busy = {
            label: Busy(float(utilization[number]), int(gpus[number]))
            for label, number in self._numbers.items()
            if number < len(gpus) and gpus[number] > 0
        }

    def _sweep_part(
        self, part: slice, samples: Samples, moment: float, since: datetime
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int32]]:
        """Add up a slice; return the utilization and GPUs that were read, and the pools."""
        active, read, busy = samples.activity(self._ids[part], since, BUSY_PERCENT)
        paid, gpus, pool = self._paid[part], self._gpus[part], self._pool[part]
        serving, lost = paid == Paid.SERVING, paid == Paid.LOST
        active, read = np.where(serving, active, 0), np.where(serving, read, 0)
        busy = np.where(serving, busy, 0.0)
        self._active[part], self._read[part] = active, read
        seconds = np.maximum(moment - self._settled[part], 0.0)
        self._settled[part] = np.maximum(self._settled[part], moment)
        size = max(len(self._numbers), 1)
        uses = {
            "good": seconds * active,
            "idle": seconds * (read - active),
            "unknown": seconds * np.where(serving, np.maximum(gpus - read, 0), 0),
            "lost": seconds * np.where(lost, gpus, 0),
        }
        for use, weights in uses.items():
            sums = np.bincount(pool, weights, size)
            for label, number in self._numbers.items():
                spent = self.gpu_seconds[label]
                setattr(spent, use, getattr(spent, use) + float(sums[number]))
        return busy, read, pool

    # --- prices --------------------------------------------------------------------------

    def rates(self) -> tuple[dict[str, float], dict[str, int]]:
        """Return dollars an hour, and machines without a known price, by pool's label.

        A pool of which no price is known has no dollars. Cost: O(groups of equal machines).
        """
        dollars: dict[str, float] = {}
        unpriced: dict[str, int] = {}
        for bought, group in self._groups.items():
            label, price = self._pools.label(bought.pool), self._price(bought)
            if price is None:
                unpriced[label] = unpriced.get(label, 0) + group.machines
            else:
                dollars[label] = dollars.get(label, 0.0) + price * group.machines
        return dollars, unpriced

    def providers(self) -> set[str]:
        """Whose machines are paid for. Cost: O(groups of equal machines)."""
        return {bought.provider for bought in self._groups}


def _added(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add columns of which the second may be longer."""
    total = np.zeros(len(other))
    total[: len(one)] = one
    return total + other
