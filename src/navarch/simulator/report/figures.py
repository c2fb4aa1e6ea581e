"""Figures: the charts of a report's page.

Shapes are SVG that stretches with the page; words stand beside it as HTML, so that they keep their
size on a narrow screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from msgspec import Struct

from navarch.simulator.report.model import Series, Times
from navarch.simulator.report.samples import STATES

WIDTH, HEIGHT = 1000, 240
"""The size of a chart in the units of its own drawing."""

STATE_WORDS = {
    "serving": "serving",
    "undetected": "broken, not noticed",
    "booting": "booting",
    "unhealthy": "unhealthy",
    "held": "cordoned, draining, in repair",
    "silent": "silent",
    "ending": "ending",
}
"""What each state is called."""


class Bar(Struct, frozen=True):
    """One bar of a chart of bars."""

    name: str
    value: float
    text: str
    """The value in words."""
    more: str = ""
    """What is said beside it."""
    fill: str = "plain"


class Piece(Struct, frozen=True):
    """One piece of a whole."""

    name: str
    value: float
    fill: str


def nice(value: float) -> float:
    """The next round number, which halves well."""
    if value <= 2:
        return 2.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10, 20) if step * power >= value)


def number(value: float) -> str:
    """Write a number shortly."""
    if value >= 10_000_000:
        return f"{value / 1_000_000:,.1f} M"
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}"


def span(seconds: float) -> str:
    """Write a length of time in its largest unit."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} d"


# --- over time -------------------------------------------------------------------------------


class Scale(Struct, frozen=True):
    """Where a moment and a number are in a drawing."""

    seconds: float
    top: float

    def x(self, seconds: float) -> float:
        """How far to the right."""
        return seconds / self.seconds * WIDTH if self.seconds else 0.0

    def y(self, value: float) -> float:
        """How far down."""
        return HEIGHT - value / self.top * HEIGHT

    def line(self, seconds: Sequence[float], values: Sequence[float]) -> str:
        """Points of a line that keeps each value until the next sample."""
        points = []
        for index, value in enumerate(values):
            begin = seconds[index - 1] if index else 0.0
            points += [(begin, value), (seconds[index], value)]
        return " ".join(f"{self.x(at):.1f},{self.y(value):.1f}" for at, value in points)


def fleet_by_state(series: Series, seconds: float, chart: str) -> str:
    """Draw the fleet as areas on top of each other."""
    columns = [getattr(series, state) for state in STATES]
    totals = [sum(row) for row in zip(*columns, strict=True)]
    scale = Scale(seconds, nice(max(totals, default=0)))
    base = [0] * len(totals)
    drawn = []
    for state, column in zip(STATES, columns, strict=True):
        above = [low + value for low, value in zip(base, column, strict=True)]
        if any(column):
            under = scale.line(series.seconds, base).split(" ")
            points = f"{scale.line(series.seconds, above)} {' '.join(reversed(under))}"
            drawn.append(f'<polygon class="fill-{state}" points="{points}"/>')
        base = above
    target = scale.line(series.seconds, series.target)
    drawn.append(f'<polyline class="line-target" points="{target}"/>')
    used = [state for state, column in zip(STATES, columns, strict=True) if any(column)]
    key = [_swatch(state, STATE_WORDS[state]) for state in used]
    key.append(_stroke("target", "target"))
    label = f"Nodes by state over time; at most {max(totals, default=0)} nodes."
    return _figure(chart, label, scale, "".join(drawn), key)


def demand_and_capacity(series: Series, seconds: float, chart: str) -> str:
    """Draw demand, target and serving nodes, and where too few served."""
    top = max((*series.demand, *series.target, *series.serving), default=0)
    scale = Scale(seconds, nice(top))
    lacking = [max(need, have) for need, have in zip(series.demand, series.serving, strict=True)]
    under = scale.line(series.seconds, series.serving).split(" ")
    short = f"{scale.line(series.seconds, lacking)} {' '.join(reversed(under))}"
    drawn = f'<polygon class="fill-short" points="{short}"/>' if under != [""] else ""
    for name in ("target", "serving", "demand"):
        points = scale.line(series.seconds, getattr(series, name))
        drawn += f'<polyline class="line-{name}" points="{points}"/>'
    key = [
        _stroke("serving", "serving"),
        _stroke("demand", "demand"),
        _stroke("target", "target"),
        _swatch("short", "too few for the demand"),
    ]
    label = "Serving nodes, demand and target over time."
    return _figure(chart, label, scale, drawn, key)


def money(series: Series, seconds: float, chart: str) -> str:
    """Draw what the machines cost an hour."""
    scale = Scale(seconds, nice(max(series.usd_per_hour, default=0)))
    points = scale.line(series.seconds, series.usd_per_hour)
    drawn = f'<polyline class="line-target" points="{points}"/>'
    key = [_stroke("target", "US dollars an hour, all machines")]
    return _figure(chart, "US dollars an hour over time.", scale, drawn, key, "$")


def _figure(
    chart: str, label: str, scale: Scale, drawn: str, key: Sequence[str], unit: str = ""
) -> str:
    grid = "".join(
        f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y}" y2="{y}"/>'
        for y in (0, HEIGHT / 2, HEIGHT)
    )
    ys = "".join(f"<span>{unit}{number(value)}</span>" for value in (scale.top, scale.top / 2, 0.0))
    xs = "".join(f"<span>+{span(scale.seconds * part / 4)}</span>" for part in range(1, 5))
    return (
        f'<figure data-chart="{chart}"><div class="chart"><div class="ys">{ys}</div>'
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'tabindex="0" aria-label="{escape(label)} Arrow keys read values.">{grid}{drawn}</svg>'
        f'<div class="xs"><span>0</span>{xs}</div></div>'
        f'<ul class="key">{"".join(key)}</ul><output class="readout"></output></figure>\n'
    )


def _swatch(fill: str, words: str) -> str:
    return (
        f'<li><svg viewBox="0 0 16 10" aria-hidden="true"><rect class="fill-{fill}" width="16" '
        f'height="10"/></svg>{escape(words)}</li>'
    )


def _stroke(line: str, words: str) -> str:
    return (
        f'<li><svg viewBox="0 0 16 10" aria-hidden="true"><path class="line-{line}" fill="none" '
        f'stroke-width="2.5" d="M0 5H16"/></svg>{escape(words)}</li>'
    )


# --- bars ------------------------------------------------------------------------------------


def bars(rows: Sequence[Bar], nothing: str) -> str:
    """Draw bars side by side, with their names and values; `nothing` is said when there are none."""
    if not rows:
        return f'<p class="soft">{escape(nothing)}</p>\n'
    top = max(row.value for row in rows) or 1.0
    cells = "".join(
        f'<span class="name">{escape(row.name)}</span>'
        f'<svg aria-hidden="true"><rect class="fill-{row.fill}" width="{row.value / top:.2%}" '
        f'height="100%"/></svg>'
        f'<span class="value">{escape(row.text)} <small>{escape(row.more)}</small></span>'
        for row in rows
    )
    return f'<div class="bars">{cells}</div>\n'


def whole(pieces: Sequence[Piece], unit: str) -> str:
    """Draw the pieces of a whole as one bar, with a key."""
    total = sum(piece.value for piece in pieces)
    if total <= 0:
        return f'<p class="soft">No {escape(unit)}.</p>\n'
    drawn, key, at = "", "", 0.0
    for piece in pieces:
        if piece.value <= 0:
            continue
        share = piece.value / total
        drawn += f'<rect class="fill-{piece.fill}" x="{at:.3%}" width="{share:.3%}" height="100%"/>'
        words = f"{piece.name} {number(piece.value)} ({share:.1%})"
        key += _swatch(piece.fill, words)
        at += share
    return (
        f'<div class="whole"><svg role="img" aria-label="{escape(unit)}">{drawn}</svg></div>'
        f'<ul class="key">{key}</ul>\n'
    )


# --- distributions ---------------------------------------------------------------------------


def curve(times: Times, nothing: str) -> str:
    """Draw which share took at most how long, on a logarithmic scale, with its percentiles."""
    if not times.count:
        return f'<p class="soft">{escape(nothing)}</p>\n'
    low = 10.0 ** math.floor(math.log10(max(times.steps[0], 0.1)))
    high = 10.0 ** math.ceil(math.log10(max(times.longest, low * 10)))
    decades = math.log10(high / low)

    def x(seconds: float) -> float:
        return math.log10(max(seconds, low) / low) / decades * WIDTH

    count = len(times.steps)
    points, before = f"0,{HEIGHT}", 0.0
    for index, seconds in enumerate(times.steps):
        after = (index + 1) / count
        points += f" {x(seconds):.1f},{HEIGHT * (1 - before):.1f}"
        points += f" {x(seconds):.1f},{HEIGHT * (1 - after):.1f}"
        before = after
    marks = "".join(
        f'<line class="line-mark" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="0" y2="{HEIGHT}"/>'
        for value in (times.p50, times.p95, times.p99)
    )
    grid = "".join(
        f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y}" y2="{y}"/>'
        for y in (0, HEIGHT / 2, HEIGHT)
    )
    label = (
        f"{times.count} in all: half within {span(times.p50)}, 95% within {span(times.p95)}, "
        f"99% within {span(times.p99)}, the longest {span(times.longest)}"
    )
    ticks = "".join(
        f"<span>{span(low * 10**decade)}</span>" for decade in range(round(decades) + 1)
    )
    return (
        f'<figure><div class="chart"><div class="ys"><span>100%</span><span>50%</span>'
        f'<span>0</span></div><svg class="plot low" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'preserveAspectRatio="none" role="img" aria-label="{escape(label)}">{grid}{marks}'
        f'<polyline class="line-serving" points="{points} {WIDTH},0"/></svg>'
        f'<div class="xs all">{ticks}</div></div>'
        f"<figcaption>{escape(label)}.</figcaption></figure>\n"
    )
