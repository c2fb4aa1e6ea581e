"""Crashes: the boundaries at which a control plane may die, counted, and the ones where it does.

The loop of a control plane has few places where dying makes a difference, for only these change
what others know: the journal, a reply, an effect, a snapshot. Each time the loop passes one, it
says so here; a run that crashes at none of them tells how many there are.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum


class Boundary(StrEnum):
    """Where the control plane was when it died."""

    BEFORE_COMMIT = "before the commit"
    """Its newest facts are lost, but nothing has left the process."""
    AFTER_COMMIT = "after the commit"
    """Its newest facts are safe; nobody was answered and nothing was done about them."""
    AFTER_EFFECT = "after an effect"
    """A provider was asked; the answer is never heard."""
    BEFORE_SNAPSHOT = "before a snapshot"
    AFTER_SNAPSHOT = "after a snapshot"
    LOADED = "loaded"
    """It has folded the journal, and not yet said that it took it up."""


class Crash(Exception):
    """The control plane dies here."""


class Crashes:
    """Counts the boundaries of a run, and ends the control plane at the chosen ones."""

    def __init__(self, at: Collection[int] = ()) -> None:
        """Choose boundaries by their number in this run, from 0."""
        self.at = tuple(sorted(at))
        self.passed: list[Boundary] = []
        self._at = frozenset(at)

    def reach(self, boundary: Boundary) -> None:
        """Pass a boundary, or raise `Crash` when it is a chosen one."""
        self.passed.append(boundary)
        if len(self.passed) - 1 in self._at:
            raise Crash(boundary.value)

    def describe(self) -> str:
        """Name the crashes so far, for people."""
        happened = [f"{n} ({self.passed[n].value})" for n in self.at if n < len(self.passed)]
        return ", ".join(happened) or "none"
