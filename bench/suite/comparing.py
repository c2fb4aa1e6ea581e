"""What has changed since an earlier run, by more than the runs of each differ."""

from __future__ import annotations

import msgspec

from suite.budgets import Budgets
from suite.results import Figure, Results
from suite.table import number

LEAST_CHANGE = 0.02
"""Smaller changes, as a share, are not told, however equal the runs are."""


class Change(msgspec.Struct, frozen=True):
    """A figure that is not what it was."""

    script: str
    before: Figure
    now: Figure
    better: bool | None
    """None where nothing says which way is good."""

    def __str__(self) -> str:
        """Say it in one line."""
        was, is_ = number(self.before.value), number(self.now.value)
        share = (
            f"{self.now.value / self.before.value - 1:+.1%}"
            if self.before.value
            else "from nothing"
        )
        word = {True: "better", False: "WORSE", None: "changed"}[self.better]
        return (
            f"{word:<8} {share:>8}  {self.script}: {self.now.name}: {was} → {is_} {self.now.unit}"
        )


def beyond_noise(before: Figure, now: Figure) -> bool:
    """Whether two figures differ by more than the middle halves of their runs are wide.

    One run has no width: then only the least change counts, which says little; repeat it.
    """
    difference = abs(now.value - before.value)
    return difference > max(before.spread, now.spread, LEAST_CHANGE * abs(before.value), 1e-12)


def changes(budgets: Budgets, before: Results, now: Results) -> list[Change]:
    """List what has changed beyond noise, in the order of the scripts."""
    better = {(row.script, row.figure): row.more_is_better for row in budgets.row}
    found = []
    for ran in now.scripts:
        for figure in ran.figures:
            earlier = before.figure(ran.name, figure.name)
            if earlier is None or earlier.unit != figure.unit:
                continue
            if beyond_noise(earlier, figure):
                more = better.get((ran.name, figure.name), figure.unit.endswith("/s") or None)
                grew = figure.value > earlier.value
                good = None if more is None else grew == more
                found.append(Change(ran.name, earlier, figure, good))
    return found


def told(budgets: Budgets, before: Results, now: Results) -> str:
    """Write the comparison."""
    found = [str(each) for each in changes(budgets, before, now)]
    head = f"against {before.at}, beyond noise:"
    if before.machine.cpu != now.machine.cpu or before.machine.cores != now.machine.cores:
        head += f" ANOTHER MACHINE ({before.machine.cores} × {before.machine.cpu})"
    if before.quick != now.quick:
        head += " ONE OF BOTH WAS A QUICK RUN"
    return "\n".join([head, *(found or ["nothing"])])
