"""What a control plane counts of itself, for ``/metrics``.

Nothing is counted twice: who does something keeps its own number, and a measure reads it when it
is scraped. So a scrape costs a few dictionary look-ups, whatever the size of the fleet, and there
are no series of single nodes, machines or callers. Where a label could take any value (a pool's
name), `bounded` keeps as many as there is room for and adds the rest up as ``other``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from navarch.plugins.histograms import numbers

OTHER: Final = "other"
"""The label value of what has no room for a series of its own."""
SERIES_MAX: Final = 5_000
"""Series of one measure; what is more is a fault of ours and left out."""


Series = Iterable[tuple[Mapping[str, str], float]]
"""Numbers by their labels."""


class Measure(Struct, frozen=True):
    """One name in ``/metrics``."""

    name: str
    about: str
    read: Callable[[], Series]
    """Gives the numbers of now; must not wait."""
    type: str = "gauge"
    """``gauge`` or ``counter``; the name of a counter ends in ``_total``."""


class Measures:
    """Measures in the order in which they were added."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[str, Measure] = {}

    def add(self, measure: Measure) -> None:
        """Have a measure shown. Raises `ValueError` when its name is taken, or does not fit."""
        if measure.name in self._known:
            raise ValueError(f"measure {measure.name} is there already")
        if measure.name.endswith("_total") != (measure.type == "counter"):
            raise ValueError(f"measure {measure.name}: counters, and only they, end in _total")
        self._known[measure.name] = measure

    def gauge(self, name: str, about: str, read: Callable[[], float | None]) -> None:
        """Have one number shown that goes up and down; None: it is not known now."""
        self.add(Measure(name, about, lambda: _single(read())))

    def gauges(self, name: str, about: str, read: Callable[[], Series]) -> None:
        """Have such numbers shown by their labels."""
        self.add(Measure(name, about, read))

    def counter(self, name: str, about: str, read: Callable[[], float | None]) -> None:
        """Have one number shown that only grows."""
        self.add(Measure(name, about, lambda: _single(read()), "counter"))

    def counters(self, name: str, about: str, read: Callable[[], Series]) -> None:
        """Have such numbers shown by their labels."""
        self.add(Measure(name, about, read, "counter"))

    def lines(self) -> Iterator[str]:
        """Write all of them in Prometheus' text format; a measure without a number is left out."""
        for measure in self._known.values():
            series = list(measure.read())[:SERIES_MAX]
            if series:
                yield from numbers(measure.name, measure.about, measure.type, series)


def _single(value: float | None) -> Series:
    return () if value is None else (({}, value),)


def by(label: str, counts: Mapping[str, float]) -> Series:
    """Give numbers by one label, in the order of its values."""
    return [({label: value}, counts[value]) for value in sorted(counts)]


def bounded(named: Sequence[str], values_max: int) -> Callable[[str], str]:
    """Return a function that gives the label of a value: itself, or ``other``.

    The first `values_max` of `named` have a label of their own, and so has the empty value.
    """
    own = {"", *named[:values_max]}
    return lambda value: value if value in own else OTHER
