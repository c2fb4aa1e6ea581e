"""A pool over time: what it wanted, what it had, and what was wanted of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from msgspec import Struct

from navarch.controlplane.demand_history import Demand
from navarch.core.model.pool import Pool
from navarch.dashboard.parts.windows import Window
from navarch.dashboard.past import lives
from navarch.dashboard.past.decisions import LETTERS, Decision
from navarch.dashboard.past.kept import Past
from navarch.dashboard.past.lives import Counts, Present, Stage
from navarch.dashboard.past.series import Point, changes, milliseconds, thinned

MARKS_MAX: Final = 200
"""Decisions that are shown, the newest."""


class Series(Struct):
    """Columns of points; each value holds until the next point."""

    target: list[Point]
    actual: list[Point]
    """Machines that are wanted, those on their way counted in."""
    booting: list[Point]
    """Those of them that have not registered."""
    healthy: list[Point]
    """Those of them that serve."""
    lost: list[Point]
    """Those of them that are silent or sick."""
    leaving: list[Point]
    """Those of them that are drained."""
    proposed: list[Point]
    """What the autoscaler asked for, before the limits of the pool."""
    busy: list[Point]
    """Utilization times live nodes: how many nodes' worth of work ran."""
    pending: list[Point]
    """Jobs that waited."""


class Mark(Struct):
    """A decision, as a chart shows it."""

    seq: int
    at: datetime
    kind: str
    letter: str
    title: str
    because: str
    count: int
    subjects: list[str]


class History(Struct):
    """What became of a pool within a window."""

    window: str
    since: datetime
    until: datetime
    known_since: datetime
    """What happened before is not known here."""
    demand_since: datetime | None
    """Since when demand was measured; null: never, as nothing scales the pool, or nobody knows."""
    series: Series
    marks: list[Mark]
    left_out: int
    """Older decisions of the window that are not shown."""


def history_of(past: Past, present: Present, pool: Pool, window: Window) -> History:
    """Show a pool over time. Cost: O(its turns + its notes in the window)."""
    moments = window.moments()
    counts = counts_of(past.chronicle.lives, present, pool.name, moments)
    demand = past.demand.of(pool.name, window.since)
    decided = past.chronicle.decisions(pool.name, window.since)
    first = past.demand.of(pool.name, window.known_since)[:1] if not demand else demand[:1]
    return History(
        window=window.name,
        since=window.since,
        until=window.until,
        known_since=window.known_since,
        demand_since=first[0].at if first else None,
        series=_series(
            counts, demand, past.chronicle.target(pool.name, pool.target, window.begins)
        ),
        marks=[_mark(each) for each in decided[-MARKS_MAX:]],
        left_out=max(len(decided) - MARKS_MAX, 0),
    )


def counts_of(lived: lives.Lives, present: Present, pool: str, moments: list[float]) -> Counts:
    """Count all machines of a pool, whatever kind they are."""
    total = Counts.none(moments)
    kinds = {kind for kind in present.counts if kind.pool == pool} | set(lived.kinds(pool))
    for kind in kinds:
        total.add(lives.counted(lived.turns(kind), present.counts.get(kind, {}), moments))
    return total


def _series(counts: Counts, demand: list[Demand], target: Iterable[Point]) -> Series:
    def column(stages: Iterable[Stage]) -> list[Point]:
        return changes(counts.moments, counts.of(stages))

    return Series(
        target=thinned(target),
        actual=column(lives.LIVE),
        booting=column(lives.ON_THEIR_WAY),
        healthy=column({Stage.SERVING}),
        lost=column({Stage.SILENT, Stage.SICK}),
        leaving=column({Stage.LEAVING}),
        proposed=_told(demand, [each.proposed for each in demand]),
        busy=_told(demand, [each.busy_nodes for each in demand]),
        pending=_told(demand, [each.pending for each in demand]),
    )


def _told(demand: list[Demand], values: Iterable[float | None]) -> list[Point]:
    points = [
        (milliseconds(each.at), None if value is None else round(value, 2))
        for each, value in zip(demand, values, strict=True)
    ]
    return thinned(points)


def _mark(decision: Decision) -> Mark:
    return Mark(
        seq=decision.seq,
        at=decision.at,
        kind=decision.kind,
        letter=LETTERS[decision.kind],
        title=decision.title,
        because=decision.because,
        count=decision.count,
        subjects=decision.subjects,
    )
