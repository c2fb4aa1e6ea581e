"""How long calls took, and the text in which Prometheus reads it.

Text: the exposition format 0.0.4 of Prometheus, prometheus.io/docs/instrumenting, read 2026.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

BOUNDS: Final = (
    *(1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4),
    *(1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""Upper bounds of the buckets, in seconds: from a filter of one node to the load of a model."""
NEWEST: Final = 512
"""Durations that are kept as they are, for percentiles."""


class Histogram:
    """How many values were at most as large as each of some bounds, and their sum."""

    __slots__ = ("bounds", "buckets", "count", "total")

    def __init__(self, bounds: Sequence[float] = BOUNDS) -> None:
        """Begin with none; `bounds` ascend."""
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        """Those above the last bound are in the last one; none counts what is below it."""
        self.count = 0
        self.total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Take one in, as if it had come so many times."""
        self.buckets[bisect_left(self.bounds, value)] += times
        self.count += times
        self.total += value * times


class Durations(Histogram):
    """A histogram of seconds, and the newest of them."""

    __slots__ = ("newest",)

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__(BOUNDS)
        self.newest: deque[float] = deque(maxlen=NEWEST)

    def add(self, value: float, times: int = 1) -> None:
        """Take one in."""
        super().add(value, times)
        self.newest.append(value)


def histogram(
    name: str, about: str, series: Iterable[tuple[Mapping[str, str], Histogram]]
) -> Iterator[str]:
    """Write a histogram, line by line."""
    yield from head(name, about, "histogram")
    for labels, counted in series:
        yield from buckets(name, told(labels), counted)


def buckets(name: str, labels: str, counted: Histogram) -> Iterator[str]:
    """Write one series of a histogram; `labels` as `told` gives them."""
    beside = f"{labels}," if labels else ""
    below = 0
    for bound, number in zip((*counted.bounds, None), counted.buckets, strict=True):
        below += number
        edge = "+Inf" if bound is None else f"{bound:g}"
        yield f'{name}_bucket{{{beside}le="{edge}"}} {below}'
    own = f"{{{labels}}}" if labels else ""
    yield f"{name}_sum{own} {counted.total:.9g}"
    yield f"{name}_count{own} {below}"


def numbers(
    name: str, about: str, type_: str, series: Iterable[tuple[Mapping[str, str], float]]
) -> Iterator[str]:
    """Write a counter or a gauge, line by line."""
    yield from head(name, about, type_)
    for labels, value in series:
        beside = told(labels)
        yield f"{name}{{{beside}}} {number(value)}" if beside else f"{name} {number(value)}"


def head(name: str, about: str, type_: str) -> tuple[str, str]:
    """Write what stands above the series of a name."""
    return f"# HELP {name} {about}", f"# TYPE {name} {type_}"


def number(value: float) -> str:
    """Write a number with all its digits, a whole one as such."""
    return f"{value:.0f}" if value % 1 == 0 else repr(float(value))


def told(labels: Mapping[str, str]) -> str:
    """Write labels, as they stand in braces."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
