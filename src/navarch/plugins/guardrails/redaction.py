"""Redaction, once, over what all checks have found together.

Spans that overlap become one region with one label: that of the surest finding, then the longest,
then the first. Two labels side by side would tell that a number looked like two things. A region is
no longer than the longest span that any check may find, so that a chain of overlapping spans cannot
hold a stream back for ever: what sticks out begins the next region.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from msgspec import Struct

from navarch.plugins.guardrails.contract import Finding


class Labels(Protocol):
    """Who says what stands in the place of a text."""

    def label(self, kind: str, value: str) -> str:
        """What replaces `value`, which is a `kind`."""
        ...


class Plain:
    """Labels that say the type and nothing else, such as ``<EMAIL>``."""

    def label(self, kind: str, value: str) -> str:
        """What replaces it."""
        return f"<{word(kind)}>"


def word(kind: str) -> str:
    """Write a type as it stands in labels: ``us-ssn`` is ``US_SSN``."""
    return "".join(sign if sign.isalnum() else "_" for sign in kind.upper()) or "REDACTED"


class _Region(Struct):
    start: int
    end: int
    best: Finding


class Redactor:
    """Turns text and findings into redacted text, from the begin on, piece by piece.

    Give it findings in order of their start. It is the host that knows when all findings before
    some character are there, and says so by the `limit` up to which it wants text.
    """

    def __init__(self, *, longest: int | None, labels: Labels | None = None) -> None:
        """Make regions of at most `longest` characters, of any length for None."""
        self._longest = longest
        self._labels = Plain() if labels is None else labels  # an empty vault is false
        self._regions: deque[_Region] = deque()
        self.at = 0
        """Up to which character of the original all is rendered."""
        self.count = 0
        """Regions rendered so far."""

    def add(self, finding: Finding) -> None:
        """Take one more; it starts where the one before does, or behind."""
        last = self._regions[-1] if self._regions else None
        start = finding.start
        if last is not None and start < last.end:
            if (
                finding.end <= last.end
                or self._longest is None
                or (finding.end - last.start <= self._longest)
            ):
                last.end = max(last.end, finding.end)
                last.best = min(last.best, finding, key=_rank)
                return
            start = last.end
        self._regions.append(_Region(start, finding.end, finding))

    def rendered(self, text: str, base: int, limit: int, *, final: bool = False) -> str:
        """Render what is not yet, up to `limit`.

        `text` begins at the character `base` of the whole. Unless `final`, a region that reaches
        beyond `limit` is left for later, with all that follows.
        """
        pieces = []
        while self._regions and self._regions[0].start < limit:
            region = self._regions[0]
            pieces.append(text[self.at - base : region.start - base])
            self.at = region.start
            if region.end > limit and not final:
                return "".join(pieces)
            value = text[region.start - base : region.end - base]
            pieces.append(self._labels.label(region.best.type, value))
            self.at = region.end
            self.count += 1
            self._regions.popleft()
        if limit > self.at:
            pieces.append(text[self.at - base : limit - base])
            self.at = limit
        return "".join(pieces)


def _rank(finding: Finding) -> tuple[float, int, int, str]:
    return -finding.score, finding.start - finding.end, finding.start, finding.type
