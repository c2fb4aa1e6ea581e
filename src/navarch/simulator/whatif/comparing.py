"""Comparing variants: means over seeds, their confidence, and whether a difference is chance.

All variants live through the same seeds, and so through the same misfortune as far as they can: the
difference to the first variant is taken seed by seed before it is averaged, which takes most of the
noise out (common random numbers). Confidence is 95%, by Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev

from msgspec import Struct

from navarch.simulator.whatif.measures import Measures

Count = Callable[[Measures], float | None]

MEASURES: Mapping[str, Count] = {
    "availability": lambda one: one.availability,
    "capacity_delivered": lambda one: one.capacity_delivered,
    "gpu_hours_good": lambda one: one.gpu_hours_good,
    "gpu_hours_idle": lambda one: one.gpu_hours_idle,
    "gpu_hours_lost": lambda one: one.gpu_hours_lost,
    "cost_usd": lambda one: one.cost_usd,
    "broken": lambda one: one.broken,
    "replacements_right": lambda one: one.replacements_right,
    "replacements_wrong": lambda one: one.replacements_wrong,
    "replacements_late": lambda one: one.replacements_late,
    "repairs_in_place": lambda one: one.repairs_in_place,
    "repair_seconds_p50": lambda one: one.repair_seconds_p50,
    "repair_seconds_p95": lambda one: one.repair_seconds_p95,
    "repair_seconds_p99": lambda one: one.repair_seconds_p99,
    "unrepaired": lambda one: one.unrepaired,
    "budget_hits": lambda one: one.budget_hits,
    "budget_wait_hours": lambda one: one.budget_wait_hours,
    "spot_interruptions": lambda one: one.spot_interruptions,
}
"""What is compared, in the order in which it is told."""

T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""Student's t that 97.5% do not exceed, for 1 to 30 degrees of freedom (any table of it)."""

Z_975 = 1.959964


class Estimate(Struct, frozen=True):
    """A mean over seeds."""

    mean: float
    half_width: float | None
    """Of the interval of 95%; None: one seed tells nothing of it."""
    runs: int
    """How many seeds had a value."""

    @property
    def is_beyond_chance(self) -> bool:
        """Whether zero is outside of the interval, for a difference."""
        return self.half_width is not None and abs(self.mean) > self.half_width


class Compared(Struct, frozen=True):
    """One variant: its own numbers, and how they differ from the first one's."""

    name: str
    values: Mapping[str, str]
    """What it varies, by key."""
    estimates: Mapping[str, Estimate | None]
    """By measure; None: no run had a value."""
    costs: Mapping[str, Estimate]
    """In US dollars, by provider."""
    differences: Mapping[str, Estimate | None]
    """To the first variant, seed by seed; empty for the first itself."""


def compared(
    names: Sequence[str],
    values: Sequence[Mapping[str, str]],
    runs: Sequence[Sequence[Measures]],
) -> tuple[Compared, ...]:
    """Compare variants; `runs` has the runs of each, all by the same seeds in the same order."""
    first = runs[0]
    return tuple(
        Compared(
            name=name,
            values=said,
            estimates={
                key: estimate([count(one) for one in mine]) for key, count in MEASURES.items()
            },
            costs=_costs(mine),
            differences={} if mine is first else _differences(mine, first),
        )
        for name, said, mine in zip(names, values, runs, strict=True)
    )


def _costs(runs: Sequence[Measures]) -> dict[str, Estimate]:
    costs = {}
    for provider in runs[0].cost_usd_by_provider:
        made = estimate([one.cost_usd_by_provider.get(provider, 0.0) for one in runs])
        assert made is not None
        costs[provider] = made
    return costs


def _differences(mine: Sequence[Measures], first: Sequence[Measures]) -> dict[str, Estimate | None]:
    found = {}
    for key, count in MEASURES.items():
        pairs = [(count(one), count(other)) for one, other in zip(mine, first, strict=True)]
        found[key] = estimate(
            [a - b if a is not None and b is not None else None for a, b in pairs]
        )
    return found


def estimate(values: Sequence[float | None]) -> Estimate | None:
    """Average what there is; None of nothing."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    if len(known) == 1:
        return Estimate(known[0], None, 1)
    half = t_975(len(known) - 1) * stdev(known) / math.sqrt(len(known))
    return Estimate(fmean(known), half, len(known))


def t_975(degrees: int) -> float:
    """Return Student's t that 97.5% do not exceed; beyond the table within 0.0005."""
    if degrees <= len(T_975):
        return T_975[degrees - 1]
    z, n = Z_975, degrees
    cubic = (z**3 + z) / (4 * n)
    return z + cubic + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n * n)


# --- which is better -------------------------------------------------------------------------


def verdicts(variants: Sequence[Compared]) -> tuple[str, ...]:
    """Say of each variant after the first whether it is better, and whether that is chance."""
    first = variants[0]
    sentences = [_verdict(each, first) for each in variants[1:]]
    if len(variants) > 2:
        most = max(variants, key=lambda each: _mean(each, "capacity_delivered"))
        sentences.append(f"Most capacity on average: {most.name}.")
        if any(_mean(each, "cost_usd") for each in variants):
            least = min(variants, key=lambda each: _mean(each, "cost_usd"))
            sentences.append(f"Lowest cost on average: {least.name}.")
    return tuple(sentences)


def _mean(one: Compared, key: str) -> float:
    found = one.estimates[key]
    return 0.0 if found is None else found.mean


def _verdict(one: Compared, first: Compared) -> str:
    capacity = one.differences["capacity_delivered"]
    cost = one.differences["cost_usd"]
    assert capacity is not None
    assert cost is not None
    said = f"{_of_capacity(capacity)}, {_of_cost(cost)}"
    return f"{one.name}, against {first.name}: {said}. {_word(capacity, cost, one.name)}"


def _of_capacity(found: Estimate) -> str:
    points = Estimate(
        found.mean * 100,
        None if found.half_width is None else found.half_width * 100,
        found.runs,
    )
    if not points.mean and not points.half_width:
        return "the same capacity in every run"
    word = "more" if points.mean > 0 else "less"
    return f"{abs(points.mean):.4f} points of capacity {word}{_doubt(points, '.4f')}"


def _of_cost(found: Estimate) -> str:
    if not found.mean and not found.half_width:
        return "the same cost in every run"
    word = "more" if found.mean > 0 else "less"
    return f"{abs(found.mean):,.2f} USD {word}{_doubt(found, ',.2f')}"


def _doubt(found: Estimate, form: str) -> str:
    if found.half_width is None:
        return " (one seed: nothing is known about chance)"
    word = "more than chance" if found.is_beyond_chance else "may be chance"
    return f" (± {found.half_width:{form}}, {word})"


def _word(capacity: Estimate, cost: Estimate, name: str) -> str:
    """Sum it up: better, worse, a trade, or not to be told."""
    gain = _sign(capacity)
    saving = -_sign(cost)
    if capacity.half_width is None:
        return "One seed cannot tell which is better: run more."
    if gain == saving == 0:
        return "No difference beyond chance in capacity or cost."
    if not saving and not _is_settled(cost):
        word = "more" if gain > 0 else "less"
        return f"{name} gives {word} capacity; whether the cost differs is not settled."
    if not gain and not _is_settled(capacity):
        word = "less" if saving > 0 else "more"
        return f"{name} costs {word}; whether the capacity differs takes more seeds to tell."
    if gain >= 0 and saving >= 0:
        return f"{name} is better."
    if gain <= 0 and saving <= 0:
        return f"{name} is worse."
    word = "more capacity for more money" if gain > 0 else "less capacity for less money"
    return f"A trade: {name} gives {word}."


def _is_settled(found: Estimate) -> bool:
    """Whether it is known how a difference goes: beyond chance, or none in any run."""
    return found.is_beyond_chance or not (found.mean or found.half_width)


def _sign(found: Estimate) -> int:
    if not found.is_beyond_chance:
        return 0
    return 1 if found.mean > 0 else -1
