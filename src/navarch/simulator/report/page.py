"""The page of a report: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from importlib import resources
from typing import Any

import msgspec

from navarch.simulator import charts
from navarch.simulator.report import demanded, figures
from navarch.simulator.report.figures import Bar, Piece, number, plural, span
from navarch.simulator.report.model import Report, Scope, Series
from navarch.simulator.report.samples import STATES

CHAINS_MAX = 2_000
"""Chains that the page holds, the newest; the document of the report has more."""

READOUT_MAX = 400
"""Moments at which a chart can be read."""

POOLS_DRAWN_MAX = 12
"""Pools that get charts of their own."""

BARS_MAX = 14
"""Bars of one chart; the others are summed up."""

_encoder = msgspec.json.Encoder(order="deterministic")


def page(report: Report) -> str:
    """Write a report as one HTML page."""
    style, script = (_part(name) for name in ("page.css", "page.js"))
    title = f"{report.blueprint or 'A run'}, seed {report.seed}"
    body = (
        f"<header><h1>{escape(report.blueprint or 'A run')}</h1>\n"
        f'<p class="soft">{escape(_subtitle(report))}</p></header>\n<main>\n'
        f'<dl class="tiles">{"".join(_tiles(report))}</dl>\n'
        f"{''.join(demanded.sections(report))}"
        f"{''.join(_sections(report))}{_timeline(report)}{_assumptions(report)}</main>\n"
        f"<footer>Navarch {escape(report.navarch)}. Everything here is in report.json too, with "
        "more digits. The same blueprint and seed give the same report.</footer>\n"
        f'<script type="application/json" id="data">{_embedded(report)}</script>\n'
    )
    return charts.document(title, body, style, script=script)


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _subtitle(report: Report) -> str:
    parts = [
        f"{span(report.seconds)} of virtual time from {report.begins_at:%Y-%m-%d %H:%M} UTC",
        f"seed {report.seed}",
        f"policy {report.policy}" if report.policy else "no policy",
        f"{number(report.fleet.most_nodes)} nodes at most",
        f"{number(report.facts)} facts",
    ]
    return " · ".join(parts)


# --- the numbers that matter -----------------------------------------------------------------


def _tiles(report: Report) -> Iterator[str]:
    fleet, troubles, repairs = report.fleet, report.troubles, report.repairs
    hours = fleet.gpu_hours
    lowest = min(report.pools, key=lambda pool: pool.availability, default=None)
    more = f"lowest: {_named(lowest)} {lowest.availability:.2%}" if lowest else ""
    good = "good" if fleet.availability >= 0.999 else ""
    yield _tile("Availability", f"{fleet.availability:.2%}", more, good)
    share = fleet.node_hours_delivered / (fleet.node_hours_wanted or 1)
    missing = fleet.node_hours_wanted - fleet.node_hours_delivered
    yield _tile("Capacity delivered", f"{share:.2%}", f"{number(missing)} node-hours missing")
    each = f"${fleet.usd / hours.good:,.2f} a good GPU-hour" if hours.good else ""
    yield _tile("Cost", f"${fleet.usd:,.0f}", each)
    total = (hours.good + hours.idle + hours.lost) or 1
    yield _tile(
        "GPU-hours good",
        f"{hours.good / total:.1%}",
        f"{hours.idle / total:.1%} idle, {hours.lost / total:.1%} lost of {number(total)}",
    )
    missed = troubles.too_late + troubles.never_decided
    yield _tile(
        "Nodes in trouble",
        number(troubles.count),
        f"decided too late: {troubles.too_late}, never: {troubles.never_decided}; "
        f"still out: {troubles.open}",
        "bad" if missed else "",
    )
    wrong = repairs.replacements_wrong
    yield _tile(
        "Replacements",
        number(repairs.replacements_right + wrong),
        f"{repairs.replacements_right} needed, {wrong} not",
        "bad" if wrong else "",
    )
    times = troubles.seconds_to_repair
    yield _tile("Time to repair, p50", *_times(times.count, times.p50, times.p95, times.p99))
    times = troubles.seconds_to_detect
    yield _tile("Time to detect, p50", *_times(times.count, times.p50, times.p95, times.p99))


def _times(count: int, p50: float, p95: float, p99: float) -> tuple[str, str]:
    return (span(p50), f"p95 {span(p95)}, p99 {span(p99)}") if count else ("–", "nothing to repair")


def _tile(name: str, value: str, more: str, kind: str = "") -> str:
    return (
        f'<div class="tile {kind}"><dt>{escape(name)}</dt><dd class="value">{escape(value)}</dd>'
        f'<dd class="more">{escape(more)}</dd></div>'
    )


def _named(scope: Scope) -> str:
    return scope.name or "(no pool)"


# --- the charts ------------------------------------------------------------------------------


def _sections(report: Report) -> Iterator[str]:
    fleet, seconds = report.fleet, report.seconds
    yield "<h2>The fleet by state</h2>\n"
    yield '<p class="note">Of each stretch of time the sample is drawn in which most was '
    yield "missing.</p>\n"
    yield figures.fleet_by_state(fleet.series, seconds, "fleet-states")
    yield "<h3>Nodes that do not serve</h3>\n"
    yield figures.out_of_work(fleet.series, seconds, "fleet-out")
    yield "<h2>Demand and capacity</h2>\n"
    yield figures.demand_and_capacity(fleet.series, seconds, "fleet-demand")
    yield from _pools(report)
    yield '<div class="pair"><section><h2>What became of the GPU-hours</h2>\n'
    yield _gpu_hours(fleet)
    yield "<h3>Cost an hour</h3>\n"
    yield figures.money(fleet.series, seconds, "fleet-money")
    yield "</section><section><h2>Cost by provider</h2>\n"
    yield _costs(report)
    yield '</section></div>\n<div class="pair"><section><h2>Failures, in truth</h2>\n'
    yield _failures(report)
    yield "</section><section><h2>Rules that spoke</h2>\n"
    yield _rules(report)
    yield '</section></div>\n<div class="pair"><section><h2>Time to repair</h2>\n'
    yield (
        '<p class="note">From the fault until another node serves in its place, or the node is '
        "well and open for work again.</p>\n"
    )
    yield figures.curve(report.troubles.seconds_to_repair, "No node had to be repaired.")
    yield "</section><section><h2>Time to detect</h2>\n"
    yield (
        '<p class="note">From the fault until the control plane held the node unhealthy, lost '
        "or gone.</p>\n"
    )
    yield figures.curve(report.troubles.seconds_to_detect, "No node was out.")
    yield '</section></div>\n<div class="pair"><section><h2>Repairs</h2>\n'
    yield _repairs(report)
    yield "</section><section><h2>Purchases</h2>\n"
    yield _purchases(report)
    yield "</section></div>\n"


def _pools(report: Report) -> Iterator[str]:
    if len(report.pools) < 2:
        return
    heads = (
        "Pool",
        "Availability",
        "Delivered",
        "Most nodes",
        "GPU-hours good",
        "idle",
        "lost",
        "Cost",
    )
    rows = [
        (
            _named(pool),
            f"{pool.availability:.2%}",
            f"{pool.node_hours_delivered / (pool.node_hours_wanted or 1):.2%}",
            number(pool.most_nodes),
            *(
                number(hours)
                for hours in (pool.gpu_hours.good, pool.gpu_hours.idle, pool.gpu_hours.lost)
            ),
            f"${pool.usd:,.0f}",
        )
        for pool in report.pools
    ]
    yield f"<h2>Pools</h2>\n{_wide(charts.table(heads, rows, range(1, len(heads))), 'Pools')}"
    for index, pool in enumerate(report.pools[:POOLS_DRAWN_MAX]):
        yield f"<details><summary>Charts of {escape(_named(pool))}</summary>\n"
        yield figures.fleet_by_state(pool.series, report.seconds, f"pool-{index}-states")
        yield figures.demand_and_capacity(pool.series, report.seconds, f"pool-{index}-demand")
        yield "</details>\n"
    if len(report.pools) > POOLS_DRAWN_MAX:
        left = len(report.pools) - POOLS_DRAWN_MAX
        yield f'<p class="note">{left} more pools are not drawn; report.json has them.</p>\n'


def _wide(table: str, name: str) -> str:
    """Let a wide table scroll by itself."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">{table}</div>'
    )


def _gpu_hours(scope: Scope) -> str:
    hours, lost = scope.gpu_hours, scope.gpu_hours.lost_by
    pieces = [
        Piece("served demand", hours.good, "serving"),
        Piece("idle", hours.idle, "idle"),
        *(
            Piece(figures.STATE_WORDS[state], getattr(lost, state), state)
            for state in STATES
            if state != "serving"
        ),
    ]
    return figures.whole(pieces, "GPU-hours")


def _costs(report: Report) -> str:
    return _most(
        [
            Bar(
                f"{each.provider} for {each.pool or '(no pool)'}",
                each.usd,
                f"${each.usd:,.0f}",
                f"{number(each.machine_hours)} h, {plural(each.machines, 'machine')}"
                + (f", {each.interrupted} taken away" if each.interrupted else ""),
            )
            for each in sorted(report.costs, key=lambda each: -each.usd)
        ],
        "Nothing was bought.",
    )


def _failures(report: Report) -> str:
    return _most(
        [
            Bar(
                each.label,
                each.count,
                number(each.count),
                "" if each.needing_repair else "harmless",
                "unhealthy" if each.needing_repair else "ending",
            )
            for each in report.failures
        ],
        "Nothing failed.",
    )


def _rules(report: Report) -> str:
    return _most(
        [
            Bar(
                each.name,
                each.verdicts,
                number(each.verdicts),
                f"on {plural(each.nodes, 'node')}"
                + (f", failed {each.failures} times" if each.failures else ""),
                each.status if each.status in {"degraded", "unhealthy", "healthy"} else "plain",
            )
            for each in report.rules
        ],
        "No rule had anything to judge.",
    )


def _most(rows: list[Bar], nothing: str) -> str:
    if len(rows) > BARS_MAX:
        rest = rows[BARS_MAX - 1 :]
        value = sum(row.value for row in rest)
        rows = [*rows[: BARS_MAX - 1], Bar(f"{len(rest)} others", value, number(value))]
    return figures.bars(rows, nothing)


def _repairs(report: Report) -> str:
    repairs = report.repairs
    rows = [
        ("replacements that were needed", repairs.replacements_right),
        ("replacements that were not", repairs.replacements_wrong),
        ("replacements taken back in time", repairs.replacements_withdrawn),
        ("resets and reboots that were needed", repairs.in_place_right),
        ("resets and reboots that were not", repairs.in_place_wrong),
        ("… that helped", repairs.in_place_succeeded),
        ("… that did not", repairs.in_place_failed),
        ("nodes handed to a person", repairs.handed_over),
        ("repairs only named by a dry run", repairs.withheld),
        ("repairs that waited for a budget", repairs.budget_hits),
        ("repairs that waited for the breaker", repairs.brake_hits),
        ("repairs that waited for room in the pool", repairs.room_hits),
        ("times that the breaker opened", repairs.brakes_opened),
        ("spot machines announced to be taken away", report.interruptions_noticed),
    ]
    shown = [(name, number(count)) for name, count in rows if count]
    if repairs.hours_waited:
        shown.append(("node-hours of waiting", number(repairs.hours_waited)))
    if not shown:
        return '<p class="soft">Nothing was repaired.</p>\n'
    return charts.table(("What", "Times"), shown, (1,))


def _purchases(report: Report) -> str:
    rows = [
        (
            each.provider,
            number(each.requested),
            number(each.launched),
            ", ".join(f"{why} {count}" for why, count in each.refused.items()) or "–",
            number(each.uncertain),
        )
        for each in report.purchases
    ]
    if not rows:
        return '<p class="soft">Nothing was bought.</p>\n'
    heads = ("Provider", "Asked", "Made", "Refused", "Unclear")
    return _wide(charts.table(heads, rows, (1, 2, 4)), "Purchases")


def _assumptions(report: Report) -> str:
    if not report.rates:
        return ""
    rows = [
        (
            each.label,
            f"{each.per_node_day:g}",
            ", ".join(each.pools) or "all",
            each.source or "not said",
        )
        for each in report.rates
    ]
    heads = ("Fault", "A node and day", "Pools", "Source of the rate")
    return f"<h2>What failed by itself</h2>\n{_wide(charts.table(heads, rows, (1,)), 'Rates')}"


# --- the timeline ----------------------------------------------------------------------------

KINDS: Mapping[str, str] = {
    "trouble": "Troubles",
    "purchase": "Purchases",
    "release": "Releases",
    "operator": "Operators",
    "pool fleet": "Pools and fleet",
}


def _timeline(report: Report) -> str:
    boxes = "".join(
        f'<label><input type="checkbox" value="{kinds}"'
        f"{' checked' if kinds == 'trouble' else ''}>{words}</label>"
        for kinds, words in KINDS.items()
    )
    chains = report.timeline.chains
    left = report.timeline.chains_left_out + max(len(chains) - CHAINS_MAX, 0)
    older = f" {number(left)} older ones did not fit." if left else ""
    return (
        "<h2>What happened, and why</h2>\n"
        '<p class="soft">One row for each thing that happened, with its bar on the whole run. '
        "Open one for its chain: what was true, what was sensed, the verdict and its rule, the "
        f"decision and its reason, the purchase, the drain, the end.{older}</p>\n"
        "<noscript><p>The timeline is drawn by the script in this page, which may not run here; "
        "report.json has all of it.</p></noscript>\n"
        '<section id="timeline" hidden aria-label="Timeline"><div class="tools">'
        '<input type="search" id="search" placeholder="Search: a node, a rule, a word …" '
        'aria-label="Search the timeline">'
        f'<fieldset class="kinds" aria-label="What is shown">{boxes}</fieldset>'
        '<span id="found" class="soft" role="status"></span></div>\n'
        '<ul class="chains" id="chains"></ul>\n'
        '<p class="more" id="more" hidden><button type="button" class="plain">Show more</button>'
        "</p></section>\n"
    )


def _embedded(report: Report) -> str:
    """What the script reads: JSON in which nothing can end the element that it stands in."""
    chains = report.timeline.chains[-CHAINS_MAX:]
    needed = {number for chain in chains for number in chain.steps}
    drawn: dict[str, Any] = {
        "fleet-money": _readout(report.fleet.series, {"US dollars an hour": "usd_per_hour"})
    }
    scopes = {f"pool-{index}": pool for index, pool in enumerate(report.pools[:POOLS_DRAWN_MAX])}
    if len(report.pools) < 2:
        scopes = {}
    lines = {"serving": "serving", "demand": "demand", "target": "target"}
    states = {figures.STATE_WORDS[state]: state for state in STATES}
    for name, scope in {"fleet": report.fleet, **scopes}.items():
        drawn[f"{name}-states"] = _readout(scope.series, states)
        if name == "fleet":
            drawn["fleet-out"] = _readout(scope.series, dict(list(states.items())[1:]))
        drawn[f"{name}-demand"] = _readout(scope.series, lines)
    raw = _encoder.encode(
        {
            "seconds": report.seconds,
            "charts": drawn,
            "chains": chains,
            "entries": [each for each in report.timeline.entries if each.number in needed],
        }
    ).decode()
    for sign in "<>&\u2028\u2029":
        raw = raw.replace(sign, f"\\u{ord(sign):04x}")
    return raw


def _readout(series: Series, columns: Mapping[str, str]) -> dict[str, Any]:
    step = max(1, -(-len(series.seconds) // READOUT_MAX))
    return {
        "seconds": series.seconds[::step],
        "columns": [[name, getattr(series, field)[::step]] for name, field in columns.items()],
    }
