"""What a look at the replicas of a pool of agents costs, part by part.

    python bench/replica_scaling.py

CPU time, medians of 7 runs of 2,000 looks, one process, without traces of plugins. The pool has two
targets, each averaged over a minute of samples, one a second, and a scale-down window of five
minutes.
"""

from __future__ import annotations

import asyncio
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from navarch.core.model.resources import (
    AgentPool,
    AgentPoolSpec,
    Autoscaling,
    MetricTarget,
    ObjectMeta,
)
from navarch.core.scaling.base import Reading
from navarch.core.serving.scaling.proposal import Proposal
from navarch.core.serving.scaling.series import Series
from navarch.core.serving.scaling.shaping import decide
from navarch.plugins.calls import Direct
from navarch.plugins.scaling import BUILT_IN, Panel, SignalBook, ask, wanted_signals
from navarch.plugins.signals import GatewayMetricsProvider, ProviderChain, PushedSample

RUNS = 7
LOOKS = 2_000
NOW = datetime(2026, 6, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
OURS = [kind() for kind in BUILT_IN]
POOL = AgentPool(
    ObjectMeta("chat"),
    spec=AgentPoolSpec(
        max_replicas=100,
        autoscaling=Autoscaling(
            (MetricTarget("queue-depth", 10, MINUTE), MetricTarget("ttft-p95", 0.5, MINUTE))
        ),
    ),
)


class Documented:
    """An autoscaler in the documents' form."""

    name = "documented"
    priority = 1
    metric_names = ("queue-depth",)

    def calculate_replicas(self, pool: AgentPool, current_metrics: Mapping[str, float]) -> int:
        """Divide the queue by ten."""
        return -int(-current_metrics["queue-depth"] // 10)


def measure(what: str, look: Callable[[], object]) -> None:
    """Print what one look costs."""
    took = []
    for _ in range(RUNS):
        started = time.process_time()
        for _ in range(LOOKS):
            look()
        took.append((time.process_time() - started) / LOOKS * 1e6)
    print(f"{what:46} {statistics.median(took):8.1f} µs")


def a_minute(name: str, unit: str, value: float) -> Series:
    """A series with a sample each second."""
    times = (NOW - timedelta(seconds=second) for second in reversed(range(60)))
    return Series(name, tuple(Reading(value, unit, at, source="gateway") for at in times))


def main() -> None:
    """Measure each part."""
    print(f"Python {sys.version.split()[0]}, {platform.machine()}")
    series = {
        "queue-depth": a_minute("queue-depth", "requests", 92),
        "ttft-p95": a_minute("ttft-p95", "seconds", 0.4),
    }
    newest = {name: Series(name, one.samples[-1:]) for name, one in series.items()}

    def asked(plugins: list[object], known: Mapping[str, Series]) -> list[Proposal]:
        return ask(Panel(plugins, Direct()), POOL, None, known, current=6, ready=6, now=NOW)

    proposals = asked([*OURS], series)
    _, history = decide(POOL, None, 6, proposals, None, NOW)
    measure("ask the built-in ones, a minute of samples", lambda: asked([*OURS], series))
    measure("ask the built-in ones, one sample", lambda: asked([*OURS], newest))
    measure("ask one in the documents' form, one sample", lambda: asked([Documented()], newest))
    measure("combine and shape", lambda: decide(POOL, None, 6, proposals, history, NOW))
    gateway, book = GatewayMetricsProvider(), SignalBook()
    chain = ProviderChain(lambda: [gateway], Direct(), lambda: NOW)
    wanted = wanted_signals(OURS, POOL, None)
    pushed = [PushedSample("chat", name, 1.0, NOW) for name in wanted]
    measure(f"push {len(pushed)} samples", lambda: gateway.push(pushed, NOW))
    samples = {name: Reading(1.0, "", NOW, source="gateway") for name in wanted}
    measure(f"take {len(samples)} samples", lambda: book.take(POOL, samples, NOW))
    with asyncio.Runner() as runner:
        measure(
            f"read {len(wanted)} signals through the chain",
            lambda: runner.run(chain.read(POOL, wanted)),
        )


if __name__ == "__main__":
    main()
