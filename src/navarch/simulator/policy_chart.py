"""A picture of a policy's backtest: one row a node, above what was, below what would have been.

An SVG drawing by hand, alone or in one HTML page that needs nothing else: no script, no network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from html import escape
from itertools import pairwise
from typing import Final

from navarch.core.model.finding import Remedy
from navarch.core.model.report import GRAVITY, Health
from navarch.simulator import charts
from navarch.simulator.policy_backtest_report import (
    HEADERS,
    Backtest,
    rows,
    said,
    summary,
    totals,
)
from navarch.simulator.policy_comparison import Comparison
from navarch.simulator.policy_stories import Act, Side

WIDTH: Final = 1000
LABEL: Final = 220
"""How much of the width is for the names of the nodes."""
ROW: Final = 30
BAR: Final = 9
TOP: Final = 24

ROWS_MAX: Final = 300
"""Nodes drawn: more cannot be looked at, and a browser takes its time. Those that differ first."""

DAYS_MAX: Final = 31
"""Lines of days drawn at most."""

MARKS: Final = {
    Remedy.RESET_GPU: "R",
    Remedy.REBOOT: "B",
    Remedy.REPLACE: "X",
    Remedy.INSPECT: "P",
}
"""What is drawn where something is done."""

STYLE: Final = """
svg { font: 11px system-ui, sans-serif }
svg text { fill: currentColor } svg line { stroke: #8885 }
.degraded { fill: #e6a817 } .unhealthy { fill: #e04833 } .alive { fill: #8883 }
.mark { font-weight: bold; text-anchor: middle } .differs { font-weight: bold }
"""

PAGE_STYLE: Final = (
    charts.BASE_STYLE
    + """
body { max-width: 80rem }
table { margin: 1rem 0 }
th, td { text-align: left }
svg { width: 100%; height: auto; display: block; background: #8881 }
"""
)

LEGEND: Final = (
    "One row a node: above what was, below what would have been. Yellow: degraded. Red: unhealthy. "
    "R reset, B reboot, X replace, P cordoned for a person, † the machine is gone. Hours are UTC."
)


def page(result: Backtest, title: str) -> str:
    """Write the result as one HTML page: what was tried, the picture, the nodes, the totals."""
    told = "".join(f"<p>{escape(line)}</p>\n" for line in summary(result))
    numbers = [("", "candidate", "in use then"), *totals(result)]
    return charts.document(
        title,
        f"<h1>{escape(title)}</h1>\n{told}"
        f"<h2>Totals</h2>\n{_table(numbers[0], numbers[1:])}"
        f"<h2>Nodes that differ</h2>\n{_table(HEADERS, rows(result))}"
        f"<h2>All nodes with findings</h2>\n<p>{escape(LEGEND)}</p>\n{drawing(result)}\n",
        PAGE_STYLE,
        drawn_styles=(STYLE,),
    )


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return charts.table([head.capitalize() for head in heads], lines)


def drawing(result: Backtest) -> str:
    """Draw the nodes over time as one SVG element."""
    ranked = sorted(result.compared, key=lambda each: (not each.differs, each.story.node_id))
    drawn = ranked[:ROWS_MAX]
    height = TOP + ROW * max(len(drawn), 1) + (ROW if len(ranked) > len(drawn) else 0)
    scale = _Scale(result.since, result.until)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<style>{STYLE}</style>",
        *_days(scale, height),
    ]
    for number, each in enumerate(drawn):
        parts += _row(each, TOP + ROW * number, scale)
    if len(ranked) > len(drawn):
        left = len(ranked) - len(drawn)
        parts.append(f'<text x="4" y="{height - 10}">and {left} more, which are not drawn</text>')
    return "".join([*parts, "</svg>"])


class _Scale:
    """Where a moment is in the drawing."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        self.begin = begin
        self.end = max(end, begin + timedelta(seconds=1))

    def x(self, moment: datetime) -> float:
        share = (min(max(moment, self.begin), self.end) - self.begin) / (self.end - self.begin)
        return LABEL + share * (WIDTH - LABEL)


def _days(scale: _Scale, height: int) -> Iterator[str]:
    """Draw a line and a name where days begin; not each one where there are many."""
    first = scale.begin.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    every = max(1, -(-((scale.end - first).days + 1) // DAYS_MAX))
    day = first
    while day < scale.end:
        yield charts.day(scale.x(day), height, f"{day:%d %b}", 14)
        day += timedelta(days=every)


def _row(each: Comparison, top: int, scale: _Scale) -> Iterator[str]:
    story = each.story
    weight = ' class="differs"' if each.differs else ""
    name = escape(f"{story.node_id}: {each.classed.value}")
    yield f'<line x1="0" y1="{top}" x2="{WIDTH}" y2="{top}"/>'
    yield f'<text x="4" y="{top + 18}"{weight}>{name}</text>'
    gone = story.ended_at or scale.end
    yield from _bars(story.real, top + 4, story.began_at, gone, scale)
    if story.ended_at is not None:
        yield _mark("†", story.ended_at, top + 4, f"{story.end}: {story.end_because}", scale)
    replaced = (
        act.ended_at
        for act in story.would.acts
        if act.remedy is Remedy.REPLACE and act.outcome == "succeeded" and act.ended_at
    )
    yield from _bars(story.would, top + 16, story.began_at, min(replaced, default=gone), scale)


def _bars(side: Side, y: int, began: datetime, gone: datetime, scale: _Scale) -> Iterator[str]:
    """Draw how a node was by one policy, and what was done about it."""
    x, end = scale.x(began), scale.x(gone)
    yield (
        f'<rect class="alive" x="{x:.1f}" y="{y + BAR / 2 - 1:.1f}" '
        f'width="{max(end - x, 1):.1f}" height="2"/>'
    )
    moments = [(change.at, change.status, change.event or change.rule) for change in side.changes]
    for (at, status, text), (until, _, _) in pairwise([*moments, (gone, Health.UNKNOWN, "")]):
        if GRAVITY[status] > GRAVITY[Health.HEALTHY] and at < gone:
            x = scale.x(at)
            width = max(scale.x(min(until, gone)) - x, 1.5)
            title = escape(f"{at:%Y-%m-%d %H:%M} {status.value}: {text}")
            yield (
                f'<rect class="{status.value}" x="{x:.1f}" y="{y}" width="{width:.1f}" '
                f'height="{BAR}"><title>{title}</title></rect>'
            )
    for act in side.acts:
        yield _mark(_sign(act), act.at, y, f"{said(act)}: {act.because}", scale)


def _sign(act: Act) -> str:
    sign = MARKS.get(act.remedy, "?")
    return sign if act.stands else f"({sign})"


def _mark(sign: str, at: datetime, y: int, text: str, scale: _Scale) -> str:
    return (
        f'<text class="mark" x="{scale.x(at):.1f}" y="{y + BAR}">{sign}'
        f"<title>{escape(text)}</title></text>"
    )
