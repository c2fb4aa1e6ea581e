"""Costs: what the machines of all clouds cost, over time, from the clouds' own records.

Computed once, at the end, from when each machine was made and went; a run pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from navarch.providers.base import POOL_LABEL
from navarch.providers.fake import Machine
from navarch.simulator.report.model import ProviderCost
from navarch.simulator.timeline import EPOCH
from navarch.simulator.twin.twin import Twin

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)

Numbers = NDArray[np.float64]


class Paid(Struct, frozen=True):
    """One machine, as its seller's bill has it."""

    provider: str
    pool: str
    machine: Machine


def bills(twin: Twin) -> list[Paid]:
    """List every machine that was ever bought. Cost: O(all ever made)."""
    return [
        Paid(name, machine.instance.labels.get(POOL_LABEL, ""), machine)
        for name, cloud in sorted(twin.clouds.items())
        for machine in cloud.truth.machines.values()
        if not machine.is_stranger
    ]


class Meter:
    """What some machines cost at any time. Cost: O(n log n) for n machines, once."""

    def __init__(self, paid: Iterable[Paid], until: datetime) -> None:
        """Take down the beginnings and ends of these machines, up to a moment."""
        machines = [each.machine for each in paid if each.machine.made_at <= until]
        gone = [(each, end) for each in machines if (end := each.gone_at) and end <= until]
        self._rises = _Steps([(each.made_at, each.price_per_hour) for each in machines])
        self._falls = _Steps([(max(end, each.made_at), each.price_per_hour) for each, end in gone])

    def rate(self, seconds: Sequence[float]) -> list[float]:
        """US dollars an hour at these moments."""
        at = np.array(seconds, dtype=np.float64)
        rate = self._rises.price(at) - self._falls.price(at)
        return [round(max(float(each), 0.0), 6) for each in rate]

    def spent(self, seconds: Sequence[float]) -> list[float]:
        """US dollars until these moments."""
        at = np.array(seconds, dtype=np.float64)
        spent = (self._rises.area(at) - self._falls.area(at)) / 3600
        return [round(max(float(each), 0.0), 6) for each in spent]


class _Steps:
    """A sum of prices that grows by one at each moment."""

    def __init__(self, steps: Sequence[tuple[datetime, float]]) -> None:
        moments = np.array([(at - EPOCH) / SECOND for at, _ in steps], dtype=np.float64)
        prices = np.array([price for _, price in steps], dtype=np.float64)
        order = np.argsort(moments, kind="stable")
        self._moments = moments[order]
        self._prices = np.concatenate(([0.0], np.cumsum(prices[order])))
        self._weights = np.concatenate(([0.0], np.cumsum(prices[order] * moments[order])))

    def price(self, at: Numbers) -> Numbers:
        return self._prices[np.searchsorted(self._moments, at, side="right")]

    def area(self, at: Numbers) -> Numbers:
        passed = np.searchsorted(self._moments, at, side="right")
        return at * self._prices[passed] - self._weights[passed]


def by_provider(paid: Sequence[Paid], until: datetime) -> Iterator[ProviderCost]:
    """Sum the bills up by provider and pool, in their order."""
    for provider, pool in sorted({(each.provider, each.pool) for each in paid}):
        machines = [each.machine for each in paid if (each.provider, each.pool) == (provider, pool)]
        hours = sum((_hours(each, until) for each in machines), 0.0)
        yield ProviderCost(
            provider=provider,
            pool=pool,
            machines=len(machines),
            spot_machines=sum(each.is_spot for each in machines),
            interrupted=sum(each.noticed_at is not None for each in machines),
            machine_hours=round(hours, 6),
            usd=round(sum((each.cost(until) for each in machines), 0.0), 6),
        )


def _hours(machine: Machine, until: datetime) -> float:
    end = until if machine.gone_at is None else min(machine.gone_at, until)
    return max((end - machine.made_at) / HOUR, 0.0)
