"""Mistakes in a condition, and where in its text they are."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class Mistake(Struct, frozen=True):
    """One thing that is wrong with a condition."""

    message: str
    place: int | None = None
    """Code points from the beginning of its text; None where it is about the whole."""


class Mistakes(Exception):
    """A condition cannot be used: at least one mistake."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        """Carry all of them, in the order in which they were found."""
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(mistake.message for mistake in mistakes))


def at(text: str, line: int, column: int) -> int:
    """Turn a line and a column, both from 1, into code points from the beginning."""
    lines = text.split("\n")
    before = sum(len(each) + 1 for each in lines[: line - 1])
    return min(before + max(column - 1, 0), len(text))
