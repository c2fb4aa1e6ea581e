"""How long calls took, and the text in which Prometheus reads it.

Text: the exposition format 0.0.4 of Prometheus, prometheus.io/docs/instrumenting, read 2026.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

BOUNDS: Final = (
    *(1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4),
    *(1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""Upper bounds of the buckets, in seconds: from a filter of one node to the load of a model."""
NEWEST: Final = 512
"""Durations that are kept as they are, for percentiles."""


class Durations:
    """A histogram, and the newest values."""

    __slots__ = ("buckets", "count", "newest", "total")

    def __init__(self) -> None:
        """Begin with none."""
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.count = 0
        self.total = 0.0
        self.newest: deque[float] = deque(maxlen=NEWEST)

    def add(self, seconds: float) -> None:
        """Take one in."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.count += 1
        self.total += seconds
        self.newest.append(seconds)


def histogram(
    name: str, about: str, series: Iterable[tuple[Mapping[str, str], Durations]]
) -> Iterator[str]:
    """Write a histogram, line by line; nothing where there is no series."""
    yield from _head(name, about, "histogram")
    for labels, durations in series:
        told = _labels(labels)
        below = 0
        for bound, number in zip((*BOUNDS, None), durations.buckets, strict=True):
            below += number
            edge = "+Inf" if bound is None else f"{bound:g}"
            yield f'{name}_bucket{{{told},le="{edge}"}} {below}'
        yield f"{name}_sum{{{told}}} {durations.total:.9g}"
        yield f"{name}_count{{{told}}} {below}"


def numbers(
    name: str, about: str, type_: str, series: Iterable[tuple[Mapping[str, str], float]]
) -> Iterator[str]:
    """Write a counter or a gauge, line by line."""
    yield from _head(name, about, type_)
    for labels, value in series:
        told = _labels(labels)
        number = f"{value:.0f}" if value % 1 == 0 else f"{value!r}"
        yield f"{name}{{{told}}} {number}" if told else f"{name} {number}"


def _head(name: str, about: str, type_: str) -> tuple[str, str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {type_}"


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
