"""What a control plane counts of itself, for ``/metrics``.

Nothing is counted twice: who does something keeps its own number, and a measure reads it when it
is scraped. So a scrape costs a few dictionary look-ups, whatever the size of the fleet, and there
are no series of single nodes, machines or callers, unless they are asked for. Where a label could
take any value (a pool's name), `Names` keeps as many as there is room for and adds the rest up as
``other``. What a measure is called and what it means stands in `catalogue`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

from navarch.controlplane.catalogue import BY_NAME
from navarch.controlplane.described import Described
from navarch.plugins.histograms import Histogram, buckets, head, number, told

OTHER: Final = "other"
"""The label value of what has no room for a series of its own."""
SERIES_MAX: Final = 5_000
"""Series of one measure; what is more is a fault of ours and left out."""

Values = tuple[str, ...]
"""What the labels of a series are, in the order of the catalogue."""
Series = Iterable[tuple[Values, float]]
"""Numbers by their labels."""
Histograms = Iterable[tuple[Values, Histogram]]
"""Histograms by their labels."""


class _Shown:
    """A measure that is shown, and the text of its labels."""

    __slots__ = ("_labels", "described", "read")

    def __init__(self, described: Described, read: Callable[[], Series]) -> None:
        self.described = described
        self.read = read
        self._labels: dict[Values, str] = {}

    def labels(self, values: Values) -> str:
        """Write labels, or look up how they were written before."""
        known = self._labels.get(values)
        if known is None:
            if len(self._labels) >= SERIES_MAX:
                self._labels.clear()
            pairs = dict(zip(self.described.labels, values, strict=True))
            known = self._labels[values] = told(pairs)
        return known

    def lines(self) -> Iterator[str]:
        """Write the series; nothing where there is none."""
        name = self.described.name
        series = list(islice(self.read(), SERIES_MAX))
        if series:
            yield from head(name, self.described.about, self.described.type)
        for values, value in series:
            labels = self.labels(values)
            yield f"{name}{{{labels}}} {number(value)}" if labels else f"{name} {number(value)}"


class _ShownHistogram:
    """A histogram that is shown, and the lines of the series that have not changed since."""

    __slots__ = ("_written", "described", "read")

    def __init__(self, described: Described, read: Callable[[], Histograms]) -> None:
        self.described = described
        self.read = read
        self._written: dict[Values, tuple[int, list[str]]] = {}

    def lines(self) -> Iterator[str]:
        """Write the series; nothing where there is none."""
        name = self.described.name
        series = list(islice(self.read(), SERIES_MAX // len(self.described.bounds)))
        if series:
            yield from head(name, self.described.about, self.described.type)
        for values, counted in series:
            count, lines = self._written.get(values, (-1, []))
            if count != counted.count:
                pairs = dict(zip(self.described.labels, values, strict=True))
                lines = list(buckets(name, told(pairs), counted))
                self._written[values] = (counted.count, lines)
            yield from lines


class Measures:
    """Measures in the order in which they were added."""

    def __init__(self) -> None:
        """Begin with none."""
        self._shown: dict[str, _Shown | _ShownHistogram] = {}

    def one(self, name: str, read: Callable[[], float | None]) -> None:
        """Have one number shown, without labels; None: it is not known now."""
        self.many(name, lambda: _single(read()))

    def many(self, name: str, read: Callable[[], Series]) -> None:
        """Have numbers shown by their labels; `read` must not wait."""
        self._shown[name] = _Shown(self._described(name, of_numbers=True), read)

    def histograms(self, name: str, read: Callable[[], Histograms]) -> None:
        """Have histograms shown by their labels; what `read` gives is written, and not kept."""
        self._shown[name] = _ShownHistogram(self._described(name, of_numbers=False), read)

    @property
    def names(self) -> frozenset[str]:
        """What is shown, where there is any of it."""
        return frozenset(self._shown)

    def _described(self, name: str, *, of_numbers: bool) -> Described:
        """Look a name up. Raises `ValueError` when it is shown already, or is no such measure."""
        described = BY_NAME.get(name)
        if described is None:
            raise ValueError(f"measure {name} is not in the catalogue")
        if (described.type == "histogram") is of_numbers:
            raise ValueError(f"measure {name} is a {described.type}")
        if name in self._shown:
            raise ValueError(f"measure {name} is there already")
        return described

    def lines(self) -> Iterator[str]:
        """Write all of them in Prometheus' text format; a measure without a number is left out."""
        for shown in self._shown.values():
            yield from shown.lines()


def _single(value: float | None) -> Series:
    return () if value is None else (((), value),)


def by(counts: Mapping[str, float]) -> Series:
    """Give numbers by one label, in the order of its values."""
    return [((value,), counts[value]) for value in sorted(counts)]


def ordered(counts: Mapping[Values, float]) -> Series:
    """Give numbers by several labels, in the order of their values."""
    return sorted(counts.items())


def from_zero(counts: Mapping[Values, float], expected: Iterable[Values]) -> Series:
    """Give numbers by several labels, and 0 of what is expected and has not happened yet.

    Else ``increase()`` would miss the first time: it sees no step where there was no series.
    """
    return sorted({**dict.fromkeys(expected, 0.0), **counts}.items())


class Names:
    """Which values of a label have series of their own: the first so many, and for good.

    Counters would jump if a value lost its series to another one.
    """

    def __init__(self, values_max: int) -> None:
        """Let so many have one; the empty value has one besides."""
        self._room = values_max
        self._own = {""}

    def label(self, value: str) -> str:
        """Return the value itself, or ``other``. Cost: O(1)."""
        if value in self._own:
            return value
        if len(self._own) > self._room:
            return OTHER
        self._own.add(value)
        return value
