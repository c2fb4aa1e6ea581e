"""The table: each row beside its budget, somebody else's figure and peers; as text and Markdown."""

from __future__ import annotations

from enum import Enum

import msgspec

from suite.budgets import Budgets, Row
from suite.results import BUSY, Figure, Results

NOT_MEASURED = "NOT MEASURED"
HEAD = ("what", "ours", "budget", "met?", "reference", "peers, same run")


class Outcome(Enum):
    """Whether a budget is met."""

    MET = "met"
    NEAR = "at the limit"
    """The median misses, but not by more than the runs differ."""
    MISSED = "MISSED"
    NO_BUDGET = "–"
    NOT_MEASURED = NOT_MEASURED


class Line(msgspec.Struct, frozen=True):
    """One line of the table."""

    row: Row
    outcome: Outcome
    ours: str
    budget: str
    reference: str
    peers: str

    @property
    def cells(self) -> tuple[str, ...]:
        """All columns."""
        return (
            self.row.what,
            self.ours,
            self.budget,
            self.outcome.value,
            self.reference,
            self.peers,
        )


def judged(row: Row, figure: Figure | None) -> Outcome:
    """Tell whether a budget is met; a miss must be larger than the noise of the runs.

    The noise is the middle half of the runs: as long as its better end keeps the budget, the
    budget is not said to be missed.
    """
    if figure is None:
        return Outcome.NOT_MEASURED
    low, high = figure.middle
    if row.most is not None:
        if figure.value <= row.most:
            return Outcome.MET
        return Outcome.NEAR if low <= row.most else Outcome.MISSED
    if row.least is not None:
        if figure.value >= row.least:
            return Outcome.MET
        return Outcome.NEAR if high >= row.least else Outcome.MISSED
    return Outcome.NO_BUDGET


def number(value: float) -> str:
    """Write a number with three digits that count."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100 or value == int(value):
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def lines(budgets: Budgets, results: Results) -> list[Line]:
    """Make the table; rows of scripts that were not asked for are left out."""
    found = []
    for row in budgets.row:
        if results.ran(row.script) is None:
            continue
        figure = results.figure(row.script, row.figure)
        unit = figure.unit if figure else ""
        bound = f"≤ {number(row.most)}" if row.most is not None else "–"
        if row.least is not None:
            bound = f"≥ {number(row.least)}"
        found.append(
            Line(
                row,
                judged(row, figure),
                ours=f"{number(figure.value)} {unit}" if figure else NOT_MEASURED,
                budget=f"{bound} {unit}".strip() if bound != "–" else bound,
                reference=f"{row.reference} [{row.source}]" if row.reference else "–",
                peers="; ".join(_peer(results, row, name) for name in row.peers) or "–",
            )
        )
    return found


def _peer(results: Results, row: Row, name: str) -> str:
    figure = results.figure(row.script, name)
    said = f"{number(figure.value)} {figure.unit}" if figure else NOT_MEASURED
    return f"{name}: {said}"


def absent(budgets: Budgets, results: Results) -> list[str]:
    """List the peers and rows that were asked for and not measured, each with the reason."""
    found = []
    for row in budgets.row:
        ran = results.ran(row.script)
        if ran is None:
            continue
        for name in (row.figure, *row.peers):
            if results.figure(row.script, name) is None:
                reason = ran.trouble or f"bench/{row.script}.py gave no such figure: not installed?"
                found.append(f"{name}: {reason}")
    return list(dict.fromkeys(found))


def described(results: Results) -> list[str]:
    """Describe where and how it was measured, a line each."""
    machine = results.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    governor = machine.governor or "not readable"
    said = [
        (
            f"{results.at}; {machine.cores} × {machine.cpu}, Linux {machine.kernel}, "
            f"governor {governor}, load {machine.load:.2f} at the start"
        ),
        f"Python {machine.python}; {libraries}",
    ]
    if results.quick:
        said.append("a quick run: few repetitions, for a first look only")
    if machine.load > BUSY:
        said.append(
            f"OTHER PROGRAMS RAN: load {machine.load:.2f} before the first script; CPU time is "
            "still that of the process, but caches and the clock of the CPU were shared"
        )
    return said


def text(budgets: Budgets, results: Results) -> str:
    """Write the table for a terminal."""
    rows = [HEAD, *(line.cells for line in lines(budgets, results))]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD) - 1)]
    written = [*described(results), ""]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        written.append("  ".join([*cells, row[-1]]).rstrip())
    written += ["", *(f"[{name}] {said}" for name, said in budgets.sources.items())]
    for ran in results.scripts:
        if ran.trouble:
            written.append(f"FAILED: bench/{ran.name}.py: {ran.trouble}")
    written += [f"{NOT_MEASURED}: {each}" for each in absent(budgets, results)]
    return "\n".join(written)


def markdown(budgets: Budgets, results: Results) -> str:
    """Write the table for a page."""
    written = ["| " + " | ".join(HEAD) + " |", "|---|---:|---:|---|---|---|"]
    written += ["| " + " | ".join(line.cells) + " |" for line in lines(budgets, results)]
    written += [""]
    written += [f"- [{name}] {said}" for name, said in budgets.sources.items()]
    written += [f"- {said}" for said in described(results)]
    return "\n".join(written)
