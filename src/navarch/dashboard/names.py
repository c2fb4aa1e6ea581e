"""Names that were probably meant where nobody has the one that was asked for."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from itertools import islice, pairwise
from typing import Final

NEAREST: Final = 5
"""Names that are told."""
_LETTERS: Final = 253
"""Letters that are looked at: as many as an id may have."""
_SIDE: Final = 32
"""Neighbours in the order of the alphabet that are looked at, to each side."""
_ALIKE_MAX: Final = 128
"""Names that have the text in them, or end as it does, and are looked at."""
_END: Final = 4
"""Letters at the end of a text: of an id they are its number."""


def nearest(text: str, names: Iterable[str], count: int = NEAREST) -> list[str]:
    """Return the names that are most like a text, the likest first.

    Only some are compared: those that have the text in them, those that end as it does, and its
    neighbours in the order of the alphabet. Cost: O(names log names), some 5 ms for 10,000.
    """
    ordered = sorted(set(names))
    asked = text[:_LETTERS].lower()
    if not asked:
        return ordered[:count]
    place, end = bisect.bisect_left(ordered, text), asked[-_END:]
    near = ordered[max(place - _SIDE, 0) : place + _SIDE]
    alike = (name for name in ordered if asked in (low := name.lower()) or low.endswith(end))
    candidates = dict.fromkeys([*islice(alike, _ALIKE_MAX), *near])
    pairs = _pairs(asked)

    def likeness(name: str) -> float:
        low = name.lower()
        theirs = _pairs(low)
        shared = 2 * len(pairs & theirs) / max(len(pairs) + len(theirs), 1)
        return shared + (asked in low) + low.endswith(end) / 4

    return sorted(candidates, key=likeness, reverse=True)[:count]


def _pairs(text: str) -> frozenset[tuple[str, str]]:
    """The pairs of letters that stand side by side."""
    return frozenset(pairwise(text))
