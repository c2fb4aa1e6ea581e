"""What `bench/scale.py` prints, writes and draws."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from scaling.latency import Latencies


class Minute(NamedTuple):
    """One minute."""

    number: int
    beats: int
    """Heartbeats of agents without a relay, or of all where there are none."""
    p50: float
    p99: float
    longest: float
    cpu: float
    """Of the control planes, in cores."""
    relays_cpu: float
    swarms_cpu: float
    rss: float
    """Of the control planes, in MB."""
    relays_rss: float
    lag: float
    """The 99th percentile of how long ``/healthz`` took so far, in seconds."""
    late: float
    """How late the simulated agents themselves were at worst, in seconds."""
    refused: int

    def line(self) -> str:
        """Say it on a line."""
        return (
            f"minute {self.number:3}  cpu {self.cpu:5.1%} of a core  rss {self.rss:5.0f} MB  "
            f"heartbeats {self.beats:7,}  p50 {self.p50 * 1e3:6.1f} ms  p99 {self.p99 * 1e3:7.1f}  "
            f"max {self.longest * 1e3:7.1f}  lag99 {self.lag * 1e3:6.1f}  refused {self.refused}  "
            f"(relays {self.relays_cpu:.0%} {self.relays_rss:.0f} MB, swarms {self.swarms_cpu:.0%}"
            f", late {self.late:.2f} s)"
        )


class Measured(NamedTuple):
    """Everything that a run has measured."""

    asked: argparse.Namespace
    ramp_seconds: float
    cpu_share: float
    minutes: Sequence[Minute]
    batched: Latencies
    direct: Latencies
    registrations: Latencies
    codes: Counter[str]
    relays: Counter[str]
    probes: Latencies
    lost: int


def results(measured: Measured) -> list[dict[str, Any]]:
    """Everything as names, values and units."""
    asked, minutes, relays = measured.asked, measured.minutes, measured.relays
    found: list[dict[str, Any]] = []

    def add(name: str, value: float, unit: str) -> None:
        found.append({"name": name, "value": round(value, 3), "unit": unit})

    add("agents behind relays", asked.batched, "nodes")
    add("agents without", asked.direct, "nodes")
    add("relays", asked.relays if asked.batched else 0, "processes")
    add("minutes", asked.minutes, "min")
    add("nodes declared lost", measured.lost, "nodes")
    add("registration of all", measured.ramp_seconds, "s")
    add("registration p50", measured.registrations.at(0.5) * 1e3, "ms")
    add("registration p99", measured.registrations.at(0.99) * 1e3, "ms")
    add("server CPU", measured.cpu_share * 100, "% of a core")
    add("server CPU a minute", measured.cpu_share * 60, "s")
    add("server RSS at first", minutes[0].rss, "MB")
    add("server RSS at last", minutes[-1].rss, "MB")
    add("server RSS at most", max(each.rss for each in minutes), "MB")
    for name, latencies in (
        ("direct heartbeat", measured.direct),
        ("relayed heartbeat", measured.batched),
    ):
        add(f"{name}s", len(latencies), "calls")
        for word, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            add(f"{name} {word}", latencies.at(share) * 1e3, "ms")
    add("healthz p99 (loop lag)", measured.probes.at(0.99) * 1e3, "ms")
    add("healthz max (loop lag)", measured.probes.at(1.0) * 1e3, "ms")
    for word, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        add(f"batch {word}", _batch_seconds(relays, share) * 1e3, "ms")
    taken = relays['navarch_relay_batches_total{code="ok"}']
    add("batches", taken, "calls")
    add("heartbeats a batch", relays["navarch_relay_batched_total"] / taken if taken else 0, "")
    add("relays CPU", sum(each.relays_cpu for each in minutes) / len(minutes) * 100, "% of a core")
    add("relays RSS", minutes[-1].relays_rss, "MB")
    for name, number in sorted(relays.items()):
        if name.startswith("navarch_relay_dropped_total"):
            add(f"relay dropped {name.partition('{')[2].rstrip('}')}", number, "heartbeats")
    add("calls refused or broken", sum(measured.codes.values()), "calls")
    for code, number in sorted(measured.codes.items()):
        add(f"  {code}", number, "calls")
    return found


def _batch_seconds(relays: Counter[str], share: float) -> float:
    """A percentile of how long batches took, as the upper bound of its bucket."""
    prefix = 'navarch_relay_batch_seconds_bucket{,le="'
    buckets = sorted(
        (float(name.removeprefix(prefix).rstrip('"}').replace("+Inf", "inf")), number)
        for name, number in relays.items()
        if name.startswith(prefix)
    )
    number = buckets[-1][1] if buckets else 0
    return next((bound for bound, below in buckets if number and below >= share * number), 0.0)


# --- the chart -----------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, TOP, GAP = 760, 110, 70, 34, 56


def chart(minutes: Sequence[Minute]) -> str:
    """Draw memory, processor time and latency over time, as SVG."""
    rows: tuple[tuple[str, str, Callable[[Minute], float]], ...] = (
        ("memory of the control plane", "MB", lambda each: each.rss),
        ("processor time of the control plane", "% of a core", lambda each: each.cpu * 100),
        ("99th percentile of heartbeats", "ms", lambda each: each.p99 * 1e3),
    )
    parts = [
        _row(index, title, unit, [of(each) for each in minutes])
        for index, (title, unit, of) in enumerate(rows)
    ]
    height = TOP + len(rows) * (HEIGHT + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + LEFT + 30}" height="{height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def _row(index: int, title: str, unit: str, values: Sequence[float]) -> str:
    top = TOP + index * (HEIGHT + GAP)
    most = max((*values, 1e-9))
    step = WIDTH / max(1, len(values) - 1)
    points = " ".join(
        f"{LEFT + number * step:.1f},{top + HEIGHT - value / most * HEIGHT:.1f}"
        for number, value in enumerate(values)
    )
    bottom = top + HEIGHT
    return (
        f'<text x="{LEFT}" y="{top - 10}" font-weight="bold">{title} ({unit})</text>'
        f'<path d="M{LEFT} {top}V{bottom}H{LEFT + WIDTH}" fill="none" stroke="#999"/>'
        f'<text x="{LEFT - 6}" y="{top + 8}" text-anchor="end">{most:.4g}</text>'
        f'<text x="{LEFT - 6}" y="{bottom}" text-anchor="end">0</text>'
        f'<text x="{LEFT}" y="{bottom + 16}">1</text>'
        f'<text x="{LEFT + WIDTH}" y="{bottom + 16}" text-anchor="end">{len(values)} min</text>'
        f'<polyline points="{points}" fill="none" stroke="#1f6feb" stroke-width="2"/>'
    )
