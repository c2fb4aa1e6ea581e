"""What `GET /metrics` says of plugins."""

from __future__ import annotations

from collections.abc import Iterator

from navarch.plugins.histograms import histogram, numbers
from navarch.plugins.kinds import word_of
from navarch.plugins.shadow import Shadows
from navarch.plugins.traces import Series, Traced


def lines(traced: Traced, shadows: Shadows | None = None) -> Iterator[str]:
    """Write durations, failures, isolation and disagreements in Prometheus' text format."""
    series = list(traced.series())
    yield from histogram(
        "navarch_plugin_duration_seconds",
        "How long calls of plugins took.",
        [(_labels(each), each.durations) for each in series],
    )
    yield from numbers(
        "navarch_plugin_failures_total",
        "Calls of plugins that raised or took too long.",
        "counter",
        [
            ({**_labels(each), "outcome": outcome}, number)
            for each in series
            for outcome, number in (
                ("failed", each.failures - each.timeouts),
                ("timed out", each.timeouts),
                ("skipped", each.skipped),
            )
        ],
    )
    yield from numbers(
        "navarch_plugin_isolated",
        "Plugins that are left alone because they only fail.",
        "gauge",
        [({"kind": word_of(kind), "plugin_name": name}, 1) for kind, name in traced.isolated()],
    )
    if shadows is not None:
        yield from numbers(
            "navarch_plugin_shadow_answers_total",
            "Answers of plugins that are asked without effect.",
            "counter",
            [
                (
                    {"kind": word_of(each.kind), "plugin_name": each.plugin, "verdict": verdict},
                    number,
                )
                for each in shadows.tallies()
                for verdict, number in (
                    ("same", each.same),
                    ("different", each.different),
                    ("failed", each.failed),
                )
            ],
        )


def _labels(series: Series) -> dict[str, str]:
    return {"kind": word_of(series.kind), "plugin_name": series.plugin, "point": series.point}
