"""How often what fails, and how long spot machines stay: the tables in ``data``, with sources."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from statistics import median

from msgspec import Struct

from navarch.simulator.twin.blueprint import SpotMarket

LLAMA3 = "Llama3 herd (16384 H100, 54 d)"
DELTA_A100 = "Delta A100 (448 GPU, 895 d)"
DELTA_H100 = "Delta H100/GH200 (608 GPU, 146 d)"
RSC_1 = "Meta RSC-1 (16k A100, 11 mo)"
RSC_2 = "Meta RSC-2 (8k A100)"
OPT = "OPT-175B (124x8 A100, 2 mo)"
LABLUP = "Lablup (504 B200, 55 d)"

TOGETHER = 0.92
"""Which share of spot machines is lost together with others: 88 to 97% of lost nodes in the traces
of 16 nodes went four or more at a time (measured over spot-traces, November 2026)."""

TRACE = re.compile(r"(?P<zone>[a-z0-9-]+)_(?P<type>[a-z0-9-]+)(?:_(?P<gpus>[0-9]+))?\.json")


class Rate(Struct, frozen=True):
    """How often one component failed in one study."""

    component: str
    source: str
    count: str
    """Events in the study, or the rate as it was published."""
    per_gpu_hour: float
    per_1000_8gpu_node_days: float
    note: str

    def per_node_day(self, gpus: int) -> float:
        """How often a node of that many GPUs has it in a day."""
        return self.per_gpu_hour * gpus * 24


class SpotTrace(Struct, frozen=True):
    """What one recorded spot market was like."""

    trace: str
    """Its path in the repository of the traces."""
    tick_s: int
    ticks: int
    days: float
    max_nodes: int
    share_time_available: float
    instance_hours: float
    node_losses: int
    mean_hours_to_preemption: float | None
    """None: none was taken away."""

    @property
    def market(self) -> str:
        """What the market is called: cloud, type and zone, such as ``aws-v100-us-west-2a``.

        Machines of several GPUs say so: ``aws-v100-8gpu-us-west-2a``.
        """
        _, _, place, file = self.trace.split("/")
        found = TRACE.fullmatch(file)
        assert found is not None, self.trace
        count = found["gpus"] or "1"
        is_plain = count == "1" or found["type"] == "intel"
        words = [place.partition("-")[0], found["type"], "" if is_plain else f"{count}gpu"]
        return "-".join([*filter(None, words), found["zone"]])


@cache
def rates() -> tuple[Rate, ...]:
    """Return every rate, in the order of the table."""
    return tuple(
        Rate(
            component=row["component"],
            source=row["source"],
            count=row["count"],
            per_gpu_hour=float(row["per_gpu_hour"]),
            per_1000_8gpu_node_days=float(row["per_1000_8gpu_node_days"]),
            note=row["note"],
        )
        for row in _rows("failure_rates.csv")
    )


def rate(component: str, source: str) -> Rate:
    """Find one. Raises `KeyError` when there is none."""
    return _by_key()[component, source]


@cache
def _by_key() -> Mapping[tuple[str, str], Rate]:
    return {(each.component, each.source): each for each in rates()}


@cache
def spot_traces() -> tuple[SpotTrace, ...]:
    """Return every trace, in the order of the table."""
    return tuple(
        SpotTrace(
            trace=row["trace"],
            tick_s=int(row["tick_s"]),
            ticks=int(row["ticks"]),
            days=float(row["days"]),
            max_nodes=int(row["max_nodes"]),
            share_time_available=float(row["share_time_available"]),
            instance_hours=float(row["instance_hours"]),
            node_losses=int(row["node_losses"]),
            mean_hours_to_preemption=_number(row["mean_hours_to_preemption"]),
        )
        for row in _rows("spot_trace_stats.csv")
    )


@cache
def spot_markets() -> Mapping[str, SpotMarket]:
    """Return the recorded markets by name; ``median`` is the middle of those that lost machines."""
    grouped: dict[str, list[SpotTrace]] = {}
    for trace in spot_traces():
        grouped.setdefault(trace.market, []).append(trace)
    markets = {"median": _median(spot_traces())}
    markets |= {name: _pooled(grouped[name]) for name in sorted(grouped)}
    return markets


def _pooled(traces: Iterable[SpotTrace]) -> SpotMarket:
    """Make one market of several recordings of it, the longer ones counting more."""
    listed = list(traces)
    days = sum(each.days for each in listed)
    share = sum(each.share_time_available * each.days for each in listed) / days
    losses = sum(each.node_losses for each in listed)
    hours = sum(each.instance_hours for each in listed)
    return market(share, hours / losses if losses else None)


def _median(traces: Iterable[SpotTrace]) -> SpotMarket:
    lossy = [each for each in traces if each.mean_hours_to_preemption is not None]
    share = median(each.share_time_available for each in lossy)
    return market(share, median(each.mean_hours_to_preemption or 0.0 for each in lossy))


def market(share_available: float, hours_to_preemption: float | None) -> SpotMarket:
    """Make a market of what a trace says of it; None: no machine was ever taken away.

    Of the losses, the share `TOGETHER` comes from the market closing, which takes all machines;
    the others are of one machine alone. It then stays closed for as long as makes it open for the
    recorded share of time. A market that was always open takes machines one at a time.
    """
    if hours_to_preemption is None:
        return SpotMarket()
    if share_available >= 1:
        return SpotMarket(mean_hours_to_interruption=hours_to_preemption)
    open_hours = hours_to_preemption / TOGETHER
    return SpotMarket(
        mean_hours_to_interruption=hours_to_preemption / (1 - TOGETHER),
        share_open=share_available,
        mean_hours_closed=open_hours * (1 - share_available) / share_available,
    )


def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files("navarch.simulator.whatif").joinpath("data", name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def _number(text: str) -> float | None:
    return float(text) if text else None
