"""Columns of points for a chart: bounded, oldest first, each point ``[milliseconds, value]``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

Point = tuple[int, float | None]
"""Milliseconds since 1970 UTC, and the value that holds from then on; None: nobody knows."""

POINTS_MAX: Final = 360
"""Points of one series: as many as a chart of 1,000 pixels can show apart."""


def milliseconds(at: datetime | float) -> int:
    """Write a moment as charts do."""
    return round((at.timestamp() if isinstance(at, datetime) else at) * 1000)


def moments(since: datetime, until: datetime, most: int = POINTS_MAX) -> list[float]:
    """Return moments at equal distances, as seconds since 1970; the last is `until`."""
    begin, end = since.timestamp(), until.timestamp()
    step = (end - begin) / max(most - 1, 1)
    return [begin + index * step for index in range(most - 1)] + [end]


def changes(at: Sequence[float], values: Sequence[float | None]) -> list[Point]:
    """Leave out the points that only repeat the one before."""
    points: list[Point] = []
    for when, value in zip(at, values, strict=True):
        if not points or points[-1][1] != value:
            points.append((milliseconds(when), value))
    return points


def thinned(points: Iterable[Point], most: int = POINTS_MAX) -> list[Point]:
    """Keep at most so many points: of each stretch the highest, and always the last."""
    kept = list(points)
    if len(kept) <= most:
        return kept
    size = -(-len(kept) // most)
    stretches = [kept[index : index + size] for index in range(0, len(kept), size)]
    chosen = [max(stretch, key=_height) for stretch in stretches]
    chosen[-1] = kept[-1]
    return chosen


def _height(point: Point) -> float:
    return -1.0 if point[1] is None else point[1]


WINDOWS: Final = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
"""The windows that a chart may show, by the name that pages use."""
