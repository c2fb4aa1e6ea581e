"""How backtests ended: as values, as a table for a terminal, and as a page with charts.

The page is one HTML file that needs nothing else: no script, no network. Its charts are drawn as
SVG by hand, one below the other on one scale, so that autoscalers can be compared by eye.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape
from itertools import groupby, pairwise

from msgspec import Struct

from navarch.simulator import charts

WIDTH, HEIGHT = 1000, 180
"""The size of one chart, in the units of its own drawing."""

COLUMNS = 500
"""Over how many stretches of time a chart is drawn: more cannot be told apart."""

STYLE = (
    charts.BASE_STYLE
    + """
body { max-width: 64rem }
th, td { text-align: left } .number { text-align: right }
svg { width: 100%; height: auto; display: block; background: #8881 }
.demand { fill: #5b8def66 } .live { fill: none; stroke: #2a9d4a; stroke-width: 1.5 }
.under { fill: #e0483366 } text { font-size: 12px; fill: currentColor }
line { stroke: #8885 }
"""
)


class Point(Struct, frozen=True):
    """The pool at one question, after its answer."""

    at: datetime
    demand: float
    """In nodes' worth of work."""
    live: int
    """Nodes that work."""
    wanted: int
    """The same and those that boot."""
    reason: str


class BacktestResult(Struct, frozen=True):
    """How one autoscaler did on one trace."""

    name: str
    node_hours: float
    """Hours paid, those of booting included."""
    minutes_under_capacity: float
    """How long there was more work than working nodes."""
    missing_node_hours: float
    """By how much there was more, times how long."""
    scalings: int
    """How often the wanted number changed."""
    nodes_max: int
    """The most nodes wanted at one time."""
    series: tuple[Point, ...]
    """One point an interval."""


Column = tuple[str, Callable[[BacktestResult], str]]

TABLE: tuple[Column, ...] = (
    ("AUTOSCALER", lambda result: result.name),
    ("NODE-HOURS", lambda result: f"{result.node_hours:,.1f}"),
    ("MINUTES UNDER", lambda result: f"{result.minutes_under_capacity:,.1f}"),
    ("MISSING NODE-HOURS", lambda result: f"{result.missing_node_hours:,.2f}"),
    ("SCALINGS", lambda result: f"{result.scalings:,}"),
    ("MOST NODES", lambda result: f"{result.nodes_max:,}"),
)


def table(results: Sequence[BacktestResult]) -> str:
    """Write the results side by side for a terminal, one line each."""
    rows = [[title for title, _ in TABLE]]
    rows += [[cell(result) for _, cell in TABLE] for result in results]
    widths = [max(len(row[index]) for row in rows) for index in range(len(TABLE))]
    return "".join(
        "  ".join(
            [row[0].ljust(widths[0])]
            + [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        )
        + "\n"
        for row in rows
    )


def page(results: Sequence[BacktestResult], title: str) -> str:
    """Write the results as one self-contained HTML page: the table, and a chart for each."""
    heads = [name.capitalize() for name, _ in TABLE]
    rows = ([cell(result) for _, cell in TABLE] for result in results)
    numbers = charts.table(heads, rows, range(1, len(TABLE)))
    top = max([1.0, *(max(point.demand, point.live) for each in results for point in each.series)])
    drawn = "".join(
        f"<h2>{escape(result.name)}</h2>\n{chart(result.series, top)}\n" for result in results
    )
    return charts.document(
        title,
        f"<h1>{escape(title)}</h1>\n{numbers}"
        "<p>Blue: the work there was, in nodes. Green: the nodes that worked. "
        f"Red: times with more work than nodes. Hours are UTC.</p>\n{drawn}",
        STYLE,
    )


def chart(series: Sequence[Point], top: float) -> str:
    """Draw demand and working nodes over time as one SVG element; `top` is the scale's end."""
    columns = condensed(series)
    step = WIDTH / max(len(columns), 1)

    def height(values: Sequence[float]) -> str:
        return charts.stairs(values, step, HEIGHT, top * HEIGHT / (HEIGHT - 20))

    demand = height([column.demand for column in columns])
    live = height([column.live for column in columns])
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 20}" role="img">'
        + _shortfalls(columns, step)
        + f'<polygon class="demand" points="0,{HEIGHT} {demand} {WIDTH},{HEIGHT}"/>'
        + f'<polyline class="live" points="{live}"/>'
        + f'<text x="4" y="14">{top:.0f} nodes</text>'
        + _days(columns, step)
        + "</svg>"
    )


def condensed(series: Sequence[Point]) -> list[Point]:
    """Merge neighbours until `COLUMNS` are left: the point of each that was shortest of nodes."""
    count = min(COLUMNS, len(series))
    edges = [len(series) * index // count for index in range(count + 1)] if count else [0]
    return [
        max(series[start:stop], key=lambda point: point.demand - point.live)
        for start, stop in pairwise(edges)
    ]


def _shortfalls(columns: Sequence[Point], step: float) -> str:
    """Draw a bar behind each stretch with more work than nodes."""
    drawn = []
    flags = [(index, point.demand > point.live) for index, point in enumerate(columns)]
    for short, stretch in groupby(flags, key=lambda flag: flag[1]):
        indexes = [index for index, _ in stretch]
        if short:
            drawn.append(
                f'<rect class="under" x="{indexes[0] * step:.1f}" y="0" '
                f'width="{max(len(indexes) * step, 2):.1f}" height="{HEIGHT}"/>'
            )
    return "".join(drawn)


def _days(columns: Sequence[Point], step: float) -> str:
    """Draw a line and a name where each day begins."""
    drawn = []
    for _, stretch in groupby(enumerate(columns), key=lambda numbered: numbered[1].at.date()):
        index, point = next(stretch)
        drawn.append(charts.day(index * step, HEIGHT, f"{point.at:%a %d %b}", HEIGHT + 14))
    return "".join(drawn)
