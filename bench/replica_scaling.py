"""What a look at the replicas of a pool of agents costs, part by part.

    python bench/replica_scaling.py [--runs 7] [--json FILE]

CPU time, medians of 7 runs of 2,000 looks, one process, without traces of plugins. The pool has two
targets, each averaged over a minute of samples, one a second, and a scale-down window of five
minutes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from figures import Figure, options, write

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


class Looks:
    """What looks cost."""

    def __init__(self, runs: int) -> None:
        """Measure each so many times."""
        self.runs = runs
        self.figures: list[Figure] = []

    def measure(self, what: str, look: Callable[[], object]) -> None:
        """Print what one look costs."""
        figure = Figure(what, "µs")
        for _ in range(self.runs):
            started = time.process_time()
            for _ in range(LOOKS):
                look()
            figure.runs.append((time.process_time() - started) / LOOKS * 1e6)
        print(f"{what:46} {figure.value:8.1f} µs")
        self.figures.append(figure)


def a_minute(name: str, unit: str, value: float) -> Series:
    """A series with a sample each second."""
    times = (NOW - timedelta(seconds=second) for second in reversed(range(60)))
    return Series(name, tuple(Reading(value, unit, at, source="gateway") for at in times))


def main() -> None:
    """Measure each part."""
    options_ = options("what a look at the replicas of a pool of agents costs")
    options_.set_defaults(runs=RUNS)
    given = options_.parse_args()
    looks = Looks(given.runs)
    series = {
        "queue-depth": a_minute("queue-depth", "requests", 92),
        "ttft-p95": a_minute("ttft-p95", "seconds", 0.4),
    }
    newest = {name: Series(name, one.samples[-1:]) for name, one in series.items()}

    def asked(plugins: list[object], known: Mapping[str, Series]) -> list[Proposal]:
        return ask(Panel(plugins, Direct()), POOL, None, known, current=6, ready=6, now=NOW)

    proposals = asked([*OURS], series)
    _, history = decide(POOL, None, 6, proposals, None, NOW)
    looks.measure("ask the built-in ones, a minute of samples", lambda: asked([*OURS], series))
    looks.measure("ask the built-in ones, one sample", lambda: asked([*OURS], newest))
    looks.measure(
        "ask one in the documents' form, one sample", lambda: asked([Documented()], newest)
    )
    looks.measure("combine and shape", lambda: decide(POOL, None, 6, proposals, history, NOW))
    gateway, book = GatewayMetricsProvider(), SignalBook()
    chain = ProviderChain(lambda: [gateway], Direct(), lambda: NOW)
    wanted = wanted_signals(OURS, POOL, None)
    pushed = [PushedSample("chat", name, 1.0, NOW) for name in wanted]
    looks.measure(f"push {len(pushed)} samples", lambda: gateway.push(pushed, NOW))
    samples = {name: Reading(1.0, "", NOW, source="gateway") for name in wanted}
    looks.measure(f"take {len(samples)} samples", lambda: book.take(POOL, samples, NOW))
    with asyncio.Runner() as runner:
        looks.measure(
            f"read {len(wanted)} signals through the chain",
            lambda: runner.run(chain.read(POOL, wanted)),
        )
    write(looks.figures, given.json)


if __name__ == "__main__":
    main()
