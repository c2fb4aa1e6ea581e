"""The parts of the page about what a scenario demands: its checks, and the goodput of its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from navarch.simulator import charts
from navarch.simulator.report import figures
from navarch.simulator.report.figures import Piece, number, span
from navarch.simulator.report.model import Check, Goodput, Report


def sections(report: Report) -> Iterator[str]:
    """Write both, as far as there is something to tell."""
    if report.checks:
        held = sum(check.passed for check in report.checks)
        yield f"<h2>What was demanded: {held} of {len(report.checks)} hold</h2>\n"
        yield charts.table(("What", "Outcome", "At", "Line"), map(_row, report.checks), (3,))
        yield from map(_failure, report.checks)
    for pool in report.goodput:
        yield f"<h2>Goodput of {escape(pool.pool or 'nodes that nobody bought')}</h2>\n"
        yield from _goodput(pool)


def _row(check: Check) -> tuple[str, ...]:
    line = "–" if check.line is None else str(check.line)
    return check.what, "passed" if check.passed else "FAILED", f"+{span(check.at)}", line


def _failure(check: Check) -> str:
    if check.passed:
        return ""
    return (
        f"<details open><summary>FAILED: {escape(check.what)}</summary>"
        f"<pre>{escape(check.message)}</pre></details>\n"
    )


def _goodput(pool: Goodput) -> Iterator[str]:
    yield figures.whole(
        [
            Piece("kept", pool.kept, "serving"),
            Piece("done, not saved yet", pool.at_risk, "booting"),
            Piece("to be done again", pool.lost, "unhealthy"),
            Piece("writing checkpoints", pool.saving, "held"),
            Piece("starting", pool.starting, "ending"),
            Piece("without a job", pool.idle, "idle"),
        ],
        "paid GPU-hours",
    )
    causes = ", ".join(f"{cause} {number(count)}" for cause, count in pool.restarts.items())
    rows = [
        ("goodput: kept of paid GPU time", f"{pool.goodput:.1%}"),
        ("jobs done", f"{pool.jobs_done} of {pool.jobs}"),
        ("effective training time ratio (ETTR)", f"{pool.ettr:.1%}"),
        ("… scheduling goodput", f"{pool.scheduling_goodput:.1%}"),
        ("… runtime goodput", f"{pool.runtime_goodput:.1%}"),
        ("hours that jobs waited for nodes", number(pool.waited_hours)),
        ("restarts", causes or "none"),
    ]
    yield charts.table(("What", "How much"), rows, (1,))
