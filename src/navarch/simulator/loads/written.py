"""Loads and jobs as scenarios write them, already read from YAML.

A load is one of::

    {pattern: constant, level: 10}
    {pattern: ramp, from: 2, to: 20, begins: 1h, lasts: 2h}
    {pattern: steps, steps: [{at: 0h, level: 5}, {at: 3h, level: 12}]}
    {pattern: diurnal, base: 10, peak: 40, period: 24h, peak_at: 14h, weekend: 0.4, noise: 0.05}
    {pattern: bursty, base: 5, per_day: 12, size: 3, tail: 1.5, lasts: 20m}
    {trace: load.csv, unit: jobs, jobs_per_node: 4, after: repeat}
    {sum: [LOAD, LOAD, ...]}

and a job ``{name: llm, pool: train, nodes: 16, work: 40h, checkpoint: 30m, checkpoint_cost: 1m,
restart: 5m, priority: 0, arrives: 0h, every: 6h, count: 10}``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from msgspec.structs import replace

from navarch.simulator.dice import Dice
from navarch.simulator.load_trace import TraceError
from navarch.simulator.loads.gangs import JobSpec
from navarch.simulator.loads.reading import Written
from navarch.simulator.loads.shapes import (
    DAY,
    LEVEL_MAX,
    PARTS_MAX,
    STEPS_MAX,
    Bursty,
    Constant,
    Diurnal,
    OutOfBounds,
    Ramp,
    Steps,
    Total,
    check_number,
)
from navarch.simulator.loads.traced import After, Unit, traced
from navarch.simulator.twin.demand import Demand

DEPTH_MAX = 8
"""How deep sums may be nested."""

JOBS_MAX = 100_000

ENTRIES_MAX = 10_000
"""Entries of a list of jobs."""


class Pattern(StrEnum):
    """The made-up loads."""

    CONSTANT = "constant"
    RAMP = "ramp"
    STEPS = "steps"
    DIURNAL = "diurnal"
    BURSTY = "bursty"


class Arrivals(StrEnum):
    """How jobs of one kind follow each other."""

    EVEN = "even"
    """At equal distances."""
    POISSON = "poisson"
    """At any moment, that far apart on average."""


def demand_of(
    written: Mapping[str, object], folder: Path, *, seed: int = 0, key: str = "demand"
) -> Demand:
    """Read a load.

    `folder` is where paths of traces begin, `seed` the run's, for loads that name none of their
    own, and `key` the load's place, for errors and for its dice. Raises `ConfigError`, which names
    key, mistake and what was expected.
    """
    return _demand(written, folder, seed, key, depth=1)


def _demand(written: object, folder: Path, seed: int, key: str, depth: int) -> Demand:
    values = Written(written, key)
    kinds = [kind for kind in ("pattern", "trace", "sum") if values.has(kind)]
    if len(kinds) != 1:
        what = " and ".join(kinds) or "none of them"
        raise values.refuse("", f"expected one of pattern, trace and sum, not {what}")
    try:
        match kinds[0]:
            case "trace":
                demand = _traced(values, folder)
            case "sum":
                demand = _total(values, folder, seed, depth)
            case _:
                demand = _made_up(values, seed, key)
    except OutOfBounds as error:
        raise values.refuse_bounds(error) from None
    values.done()
    return demand


def _made_up(values: Written, seed: int, key: str) -> Demand:
    match values.word("pattern", Pattern):
        case Pattern.CONSTANT:
            return Constant(values.number("level"), values.number("jobs_per_node", 1.0))
        case Pattern.RAMP:
            return _ramp(values)
        case Pattern.STEPS:
            return _steps(values)
        case Pattern.DIURNAL:
            return _diurnal(values, _own_seed(values, seed, key))
        case Pattern.BURSTY:
            return _bursty(values, _own_seed(values, seed, key))


def _own_seed(values: Written, seed: int, key: str) -> int:
    """Two loads of one run that name no seed roll dice of their own."""
    if values.has("seed"):
        return values.whole("seed")
    values.value("seed")
    return Dice(seed).stream("load", key).integer(0, 2**53)


def _total(values: Written, folder: Path, seed: int, depth: int) -> Demand:
    parts = values.items("sum", PARTS_MAX)
    if depth >= DEPTH_MAX:
        raise values.refuse("sum", f"expected at most {DEPTH_MAX} sums within each other")
    return Total(
        tuple(
            _demand(part, folder, seed, values.place(f"sum[{index}]"), depth + 1)
            for index, part in enumerate(parts)
        )
    )


def _traced(values: Written, folder: Path) -> Demand:
    path = folder / values.text("trace")
    unit = values.word("unit", Unit, Unit.NODES)
    per_node = 1.0
    if unit is Unit.JOBS:
        per_node = values.number("jobs_per_node", 1.0)
    elif unit is Unit.REQUESTS:
        per_node = values.number("requests_per_node")
    elif unit is Unit.UTILIZATION:
        nodes = values.number("nodes")
        check_number("nodes", nodes, 0, LEVEL_MAX, above=True)
        per_node = 100 / nodes
    after = values.word("after", After, After.HOLD)
    scale = values.number("scale", 1.0)
    if unit is Unit.NODES:  # as many jobs as keep those nodes busy
        per_node = values.number("jobs_per_node", 1.0)
        scale *= per_node
    check_number(_per_node_key(unit), per_node, 0, LEVEL_MAX, above=True)
    try:
        return traced(path, unit, per_node=per_node, after=after, scale=scale)
    except TraceError as error:
        raise values.refuse("trace", str(error)) from None


def _per_node_key(unit: Unit) -> str:
    return "requests_per_node" if unit is Unit.REQUESTS else "jobs_per_node"


def _ramp(values: Written) -> Demand:
    return Ramp(
        values.number("from"),
        values.number("to"),
        values.duration("begins", timedelta()),
        values.duration("lasts"),
        values.number("jobs_per_node", 1.0),
    )


def _steps(values: Written) -> Demand:
    times, levels = [], []
    for index, each in enumerate(values.items("steps", STEPS_MAX)):
        step = Written(each, values.place(f"steps[{index}]"))
        times.append(step.duration("at"))
        levels.append(step.number("level"))
        step.done()
    return Steps(tuple(times), tuple(levels), values.number("jobs_per_node", 1.0))


def _diurnal(values: Written, seed: int) -> Demand:
    period = values.duration("period", DAY)
    return Diurnal(
        values.number("base"),
        values.number("peak"),
        period,
        peak_at=values.duration("peak_at", period * 14 / 24),
        weekend=values.number("weekend", 1.0),
        noise=values.number("noise", 0.0),
        noise_lasts=values.duration("noise_lasts", timedelta(minutes=20)),
        jobs_per_node=values.number("jobs_per_node", 1.0),
        seed=seed,
    )


def _bursty(values: Written, seed: int) -> Demand:
    return Bursty(
        values.number("per_day"),
        values.number("size"),
        base=values.number("base", 0.0),
        tail=values.number("tail", 1.5),
        largest=values.number("largest", 0.0),
        lasts=values.duration("lasts", timedelta(minutes=10)),
        longest=values.duration("longest", timedelta(hours=12)),
        jobs_per_node=values.number("jobs_per_node", 1.0),
        seed=seed,
    )


def jobs_of(
    written: object, *, seed: int = 0, key: str = "jobs", pools: Collection[str] | None = None
) -> tuple[JobSpec, ...]:
    """Read a list of training jobs.

    An entry with a `count` becomes so many jobs, named with their number, the next arriving `every`
    so long after the one before. `pools` are the names that a job may ask for, None any, besides
    none at all, which means the nodes that nobody bought. Raises `ConfigError`, which names key,
    mistake and what was expected.
    """
    jobs: list[JobSpec] = []
    names: dict[str, str] = {}
    for index, each in enumerate(Written({key: written}, "").items(key, ENTRIES_MAX)):
        place = f"{key}[{index}]"
        values = Written(each, place)
        try:
            spec = _job(values)
            made = _repeated(values, spec, seed, place)
        except OutOfBounds as error:
            raise values.refuse_bounds(error) from None
        values.done()
        if pools is not None and spec.pool and spec.pool not in pools:
            known = ", ".join(pools) or "none, for there is none"
            raise values.refuse("pool", f"there is no pool {spec.pool!r}, expected one of {known}")
        if spec.name in names:
            raise values.refuse("name", f"{spec.name!r} is the name of {names[spec.name]} too")
        names[spec.name] = place
        jobs += made
        if len(jobs) > JOBS_MAX:
            raise values.refuse("count", f"expected at most {JOBS_MAX} jobs in sum")
    return tuple(jobs)


def _job(values: Written) -> JobSpec:
    name = values.text("name")
    if not name or len(name) > 100:
        raise values.refuse("name", "expected a name of 1 to 100 characters")
    usual = JobSpec("", "", 1, DAY)
    return JobSpec(
        name,
        values.text("pool", ""),
        values.whole("nodes"),
        values.duration("work"),
        checkpoint=values.duration("checkpoint", usual.checkpoint),
        checkpoint_cost=values.duration("checkpoint_cost", usual.checkpoint_cost),
        restart=values.duration("restart", usual.restart),
        priority=values.whole("priority", usual.priority),
        arrives=values.duration("arrives", usual.arrives),
        saves_when_asked=values.flag("saves_when_asked"),
    )


def _repeated(values: Written, spec: JobSpec, seed: int, place: str) -> list[JobSpec]:
    count = values.whole("count", 1)
    check_number("count", count, 1, JOBS_MAX)
    arrivals = values.word("arrivals", Arrivals, Arrivals.EVEN)
    every = values.duration("every", timedelta())
    if count == 1:
        return [spec]
    rolls = Dice(seed).stream("jobs", place)
    made, arrives = [], spec.arrives
    for number in range(1, count + 1):
        made.append(replace(spec, name=f"{spec.name}-{number}", arrives=arrives))
        if arrivals is Arrivals.POISSON:
            arrives += -math.log1p(-rolls.fraction()) * every
        else:
            arrives += every
    return made
