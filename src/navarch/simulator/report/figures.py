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
    steps = (1.0, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10) if value > 100 else (1.0, 2, 4, 6, 8, 10)
    return next(step * power for step in steps if step * power >= value)


def number(value: float) -> str:
    """Write a number shortly."""
    if value >= 10_000_000:
        return f"{value / 1_000_000:,.1f} M"
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}"


def plural(count: int, word: str) -> str:
    """Say how many there are of something."""
    return f"{number(count)} {word}" if count == 1 else f"{number(count)} {word}s"


UNITS = ((86_400, "d", 172_800), (3_600, "h", 5_400), (60, "min", 60))
"""Seconds in a unit, its name, and from where on it is used."""

TICKS = (1, 10, 60, 600, 3_600, 36_000, 86_400, 864_000)
"""Where a logarithmic axis of time has its marks, in seconds."""

FINE_TICKS = (1, 2, 5, 10, 20, 60, 120, 300, 600, 1_200, 3_600, 7_200, 18_000, 36_000, 86_400)
"""The same where the axis is short."""

EVERY = (60, 300, 900, 3_600, 10_800, 21_600, 43_200, 86_400, 172_800, 432_000, 864_000)
"""How far apart the marks of an axis of time may be, in seconds."""


def span(seconds: float) -> str:
    """Write a length of time in its largest unit."""
    for unit, name, begin in UNITS:
        if seconds >= begin:
            value = seconds / unit
            text = f"{value:.1f}".removesuffix(".0") if value < 100 else f"{value:.0f}"
            return f"{text} {name}"
    return f"{seconds:.3g} s"


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
    scale = Scale(seconds, nice(max((*totals, *series.target), default=0)))
    drawn = _stacked(series, STATES, scale)
    target = scale.line(series.seconds, series.target)
    drawn += f'<polyline class="line-target" points="{target}"/>'
    used = [state for state, column in zip(STATES, columns, strict=True) if any(column)]
    key = [_swatch(state, STATE_WORDS[state]) for state in used]
    key.append(_stroke("target", "target"))
    label = f"Nodes by state over time; at most {max(totals, default=0)} nodes."
    return _figure(chart, label, scale, drawn, key)


def out_of_work(series: Series, seconds: float, chart: str) -> str:
    """Draw the nodes that do not serve, by the reason."""
    states = [state for state in STATES[1:] if any(getattr(series, state))]
    if not states:
        return '<p class="soft">At every sample all nodes served.</p>\n'
    columns = [getattr(series, state) for state in states]
    totals = [sum(row) for row in zip(*columns, strict=True)]
    usual = sorted(totals)[int(len(totals) * 0.98)]
    is_cut = max(totals) > 3 * max(usual, 1)
    scale = Scale(seconds, nice(max(usual, 1) if is_cut else max(totals)))
    drawn = _stacked(series, states, scale)
    key = [_swatch(state, STATE_WORDS[state]) for state in states]
    if is_cut:
        key.append(f"<li>cut off above: {max(totals):,} at most</li>")
    label = f"Nodes that do not serve over time, by the reason; at most {max(totals)}."
    return _figure(chart, label, scale, drawn, key, low=True)


def _stacked(series: Series, states: Sequence[str], scale: Scale) -> str:
    base, drawn = [0] * len(series.seconds), ""
    for state in states:
        column = getattr(series, state)
        above = [low + value for low, value in zip(base, column, strict=True)]
        if any(column):
            under = scale.line(series.seconds, base).split(" ")
            points = f"{scale.line(series.seconds, above)} {' '.join(reversed(under))}"
            drawn += f'<polygon class="fill-{state}" points="{points}"/>'
        base = above
    return drawn


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
    return _figure(chart, "US dollars an hour over time.", scale, drawn, key, "$", low=True)


def _figure(
    chart: str,
    label: str,
    scale: Scale,
    drawn: str,
    key: Sequence[str],
    unit: str = "",
    *,
    low: bool = False,
) -> str:
    grid = "".join(
        f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y}" y2="{y}"/>'
        for y in (0, HEIGHT / 2, HEIGHT)
    )
    ys = "".join(f"<span>{unit}{number(value)}</span>" for value in (scale.top, scale.top / 2, 0.0))
    every = next((each for each in EVERY if scale.seconds / each <= 8), scale.seconds / 4 or 1)
    moments = [every * index for index in range(int(scale.seconds / every) + 1)]
    xs = _axis([(scale.x(at), f"+{span(at)}" if at else "0") for at in moments])
    return (
        f'<figure data-chart="{chart}"><div class="chart"><div class="ys">{ys}</div>'
        f'<svg class="plot{" low" * low}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'preserveAspectRatio="none" role="img" '
        f'tabindex="0" aria-label="{escape(label)} Arrow keys read values.">{grid}{drawn}</svg>'
        f"{xs}</div>"
        f'<ul class="key">{"".join(key)}</ul><output class="readout"></output></figure>\n'
    )


def _axis(ticks: Sequence[tuple[float, str]], every: int = 2) -> str:
    """Write words along a drawing; their size does not stretch with it.

    A narrow screen shows one out of `every`.
    """
    texts = ""
    for index, (x, words) in enumerate(ticks):
        anchor = "start" if x < WIDTH * 0.04 else "end" if x > WIDTH * 0.96 else "middle"
        odd = ' class="odd"' if index % every else ""
        texts += f'<text{odd} x="{x / WIDTH:.2%}" y="1em" text-anchor="{anchor}">{words}</text>'
    return f'<svg class="xs" aria-hidden="true">{texts}</svg>'


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
    """Draw bars with their names and values; `nothing` is said when there are none."""
    if not rows:
        return f'<p class="soft">{escape(nothing)}</p>\n'
    top = max(row.value for row in rows) or 1.0
    cells = "".join(
        f'<span class="name">{escape(row.name)}</span>'
        f'<svg aria-hidden="true"><rect class="fill-{row.fill}" width="{row.value / top:.2%}" '
        f'height="100%"/></svg>'
        f'<span class="value">{escape(row.text)}</span>'
        f'<span class="beside">{escape(row.more)}</span>'
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


def _near(times: Times) -> bool:
    """Whether p95 and p99 are too close to each other to be named apart."""
    return times.p99 < times.p95 * 1.7


def curve(times: Times, nothing: str) -> str:
    """Draw which share took at most how long, on a logarithmic scale, with its percentiles."""
    if not times.count:
        return f'<p class="soft">{escape(nothing)}</p>\n'
    low = max((tick for tick in TICKS if tick <= times.steps[0]), default=0.1)
    high = max(times.longest * 1.1, low * 10)
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
    quantiles = (times.p50, times.p99) if _near(times) else (times.p50, times.p95, times.p99)
    names = ("p50", "p95/99") if _near(times) else ("p50", "p95", "p99")
    marks = "".join(
        f'<line class="line-mark" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="0" y2="{HEIGHT}"/>'
        for value in quantiles
    )
    grid = "".join(
        f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y}" y2="{y}"/>'
        for y in (0, HEIGHT / 2, HEIGHT)
    )
    label = (
        f"{times.count} in all: half within {span(times.p50)}, 95% within {span(times.p95)}, "
        f"99% within {span(times.p99)}, the longest {span(times.longest)}"
    )
    fine = [tick for tick in FINE_TICKS if low <= tick <= high]
    coarse = [tick for tick in TICKS if low <= tick <= high]
    ticks = _axis([(x(tick), span(tick)) for tick in (fine if len(fine) <= 7 else coarse)])
    above = _axis(list(zip(map(x, quantiles), names, strict=True)), every=1)
    return (
        f'<figure><div class="chart">{above}<div class="ys"><span>100%</span><span>50%</span>'
        f'<span>0</span></div><svg class="plot low" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'preserveAspectRatio="none" role="img" aria-label="{escape(label)}">{grid}{marks}'
        f'<polyline class="line-serving" points="{points} {WIDTH},0"/></svg>'
        f"{ticks}</div>"
        f"<figcaption>{escape(label)}.</figcaption></figure>\n"
    )
