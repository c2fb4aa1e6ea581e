"""What an autoscaler would have done: a load trace replayed, with machines that take time to boot.

The replayed pool is the simplest one that can be late: a machine that is wanted is paid from that
moment and works one boot delay later; one that is no longer wanted is gone at once, those that are
still booting first. Nothing fails: how a fleet copes with faults is another question, and `world`
asks it.

The autoscaler sees what a real one would see, one reading an interval: utilization is never above
100%, however much more is wanted. *Under capacity* are the minutes in which more work was there
than working nodes.

::

    python -m navarch.simulator.backtest [--seeds N] [--days N] [--html FILE]

compares the built-in autoscalers on made-up weeks and prints the table of `demonstration`.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import Struct

from navarch.core.scaling.base import (
    QUEUE_DEPTH,
    UTILIZATION,
    Answer,
    Autoscaler,
    PoolMetrics,
    PoolState,
    Quality,
    Reading,
    ScaleRecommendation,
)
from navarch.core.scaling.predictive import PredictiveAutoscaler
from navarch.core.scaling.reactive import ReactiveAutoscaler
from navarch.simulator.backtest_report import BacktestResult, Point, page, table
from navarch.simulator.load_trace import Trace, Unit, Week, made_up, read_trace

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


class Conditions(Struct, frozen=True):
    """The pool that a trace is replayed on."""

    min_nodes: int = 1
    max_nodes: int = 100
    boot_delay: timedelta = timedelta(minutes=5)
    """From wanting a machine to its first work."""
    interval: timedelta = timedelta(minutes=1)
    """Between two questions to the autoscaler, and between two samples of its history."""
    cooldown: timedelta = timedelta(minutes=5)
    history: timedelta = timedelta(days=15)
    """How much of the past the autoscaler is shown."""
    jobs_per_node: float = 1.0
    """What one node can carry; counts for traces in jobs."""
    first_nodes: int | None = None
    """Working nodes at the beginning; None: as many as the first value needs."""

    def __post_init__(self) -> None:
        """Refuse conditions that cannot be."""
        if not 0 <= self.min_nodes <= self.max_nodes:
            raise ValueError(
                f"limits {self.min_nodes} to {self.max_nodes}: expected 0 or more, the first lower"
            )
        if self.interval <= timedelta() or self.boot_delay < timedelta():
            raise ValueError("interval and boot_delay: expected durations above 0 and from 0 on")
        if not self.jobs_per_node > 0:
            raise ValueError(f"jobs_per_node {self.jobs_per_node}: expected a number above 0")


def replay(
    trace: Trace,
    autoscaler: Autoscaler,
    conditions: Conditions | None = None,
    *,
    name: str = "",
) -> BacktestResult:
    """Let an autoscaler live through a trace. Raises whatever the autoscaler raises.

    `name` is what the result is called; the autoscaler's own name when empty. One to be awaited is
    awaited here, so that this must not be called from a running event loop.
    """
    pool = _Replay(trace, conditions or Conditions())
    with asyncio.Runner() as runner:
        while pool.now < trace.end:
            answer = _settled(autoscaler.recommend(pool.state()), runner)
            pool.apply(answer)
            pool.advance()
    return pool.result(name or autoscaler.name)


def compare(
    trace: Trace, autoscalers: Mapping[str, Autoscaler], conditions: Conditions | None = None
) -> list[BacktestResult]:
    """Replay one trace through several autoscalers, in order; the keys name the results."""
    return [
        replay(trace, autoscaler, conditions, name=name) for name, autoscaler in autoscalers.items()
    ]


def run(
    trace_file: Path,
    autoscalers: Mapping[str, Autoscaler],
    conditions: Conditions | None = None,
    *,
    unit: Unit = "nodes",
    html_file: Path | None = None,
) -> str:
    """Compare autoscalers on a trace file, write the page if one is wanted, return the table.

    Raises `load_trace.TraceError` for a file that is no trace, `OSError` where the page cannot be
    written.
    """
    results = compare(read_trace(trace_file, unit), autoscalers, conditions)
    if html_file is not None:
        html_file.write_text(page(results, f"Backtest of {trace_file.name}"), encoding="utf-8")
    return table(results)


def _settled(answer: Answer, runner: asyncio.Runner) -> ScaleRecommendation:
    async def awaited(pending: Awaitable[ScaleRecommendation]) -> ScaleRecommendation:
        return await pending

    return runner.run(awaited(answer)) if isinstance(answer, Awaitable) else answer


class _Replay:
    """A pool on its way through a trace."""

    def __init__(self, trace: Trace, conditions: Conditions) -> None:
        self._trace = trace
        self._conditions = conditions
        self._row = 0
        self.now = trace.start
        first = conditions.first_nodes
        needed = math.ceil(self._demand) if first is None else first
        self._live = max(min(needed, conditions.max_nodes), conditions.min_nodes)
        self._booting: deque[datetime] = deque()
        """When each booting node will work, the soonest first."""
        self._scaled_at: datetime | None = None
        self._utilization: deque[float] = deque(maxlen=self._samples_max)
        self._capacity: deque[float] = deque(maxlen=self._samples_max)
        self._points: list[Point] = []
        self._paid = self._under = timedelta()
        self._missing = 0.0
        self._scalings = 0

    @property
    def _samples_max(self) -> int:
        return max(int(self._conditions.history / self._conditions.interval), 1)

    @property
    def _demand(self) -> float:
        """The present demand in nodes."""
        value = self._trace.values[self._row]
        return value / self._conditions.jobs_per_node if self._trace.unit == "jobs" else value

    @property
    def _wanted(self) -> int:
        return self._live + len(self._booting)

    def state(self) -> PoolState:
        """Return what the autoscaler sees now, and remember it as a sample."""
        metrics = self._metrics()
        self._utilization.append(metrics.utilization)
        self._capacity.append(self._live)
        return PoolState(
            name="backtest",
            current_nodes=self._wanted,
            healthy_nodes=self._live,
            booting_nodes=len(self._booting),
            min_nodes=self._conditions.min_nodes,
            max_nodes=self._conditions.max_nodes,
            metrics=metrics,
            last_scale_time=self._scaled_at,
            cooldown_period=self._conditions.cooldown,
            now=self.now,
        )

    def _metrics(self) -> PoolMetrics:
        demand, live = self._demand, self._live
        readings = {}
        if not live:
            readings[UTILIZATION] = Reading(0.0, "percent", quality=Quality.ABSENT)
        if self._trace.unit == "nodes":
            readings[QUEUE_DEPTH] = Reading(0.0, "jobs", quality=Quality.ABSENT)
        missing = max(demand - live, 0.0) * self._conditions.jobs_per_node
        return PoolMetrics(
            utilization=min(demand / live, 1.0) * 100 if live else 0.0,
            pending_jobs=math.ceil(missing),
            queue_depth=math.ceil(self._trace.values[self._row]),
            utilization_history=tuple(self._utilization),
            capacity_history=tuple(self._capacity),
            history_interval=self._conditions.interval,
            observed_at=self.now,
            readings=readings,
        )

    def apply(self, answer: ScaleRecommendation) -> None:
        """Want as many nodes as the answer says, within the limits."""
        limits = self._conditions
        change = min(max(answer.target_nodes, 0), limits.max_nodes) - self._wanted
        if change:
            self._scaled_at = self.now
            self._scalings += 1
        ready = self.now + self._conditions.boot_delay
        self._booting.extend([ready] * change)
        for _ in range(-change):
            if self._booting:
                self._booting.pop()
            else:
                self._live -= 1
        self._finish_boots()
        self._points.append(Point(self.now, self._demand, self._live, self._wanted, answer.reason))

    def advance(self) -> None:
        """Move on by one interval, and count what is paid and what is missing in it."""
        until = min(self.now + self._conditions.interval, self._trace.end)
        while self.now < until:
            moment = min(until, self._trace.times[self._row + 1], *self._booting_next())
            length = moment - self.now
            self._paid += self._wanted * length
            missing = self._demand - self._live
            if missing > 0:
                self._under += length
                self._missing += missing * (length / HOUR)
            self.now = moment
            if moment >= self._trace.times[self._row + 1]:
                self._row += 1
            self._finish_boots()

    def _booting_next(self) -> Sequence[datetime]:
        return (self._booting[0],) if self._booting else ()

    def _finish_boots(self) -> None:
        while self._booting and self._booting[0] <= self.now:
            self._booting.popleft()
            self._live += 1

    def result(self, name: str) -> BacktestResult:
        """Sum up."""
        return BacktestResult(
            name=name,
            node_hours=self._paid / HOUR,
            minutes_under_capacity=self._under / MINUTE,
            missing_node_hours=self._missing,
            scalings=self._scalings,
            nodes_max=max(point.wanted for point in self._points),
            series=tuple(self._points),
        )


def contestants(interval: timedelta) -> dict[str, Autoscaler]:
    """List who competes in the demonstration, each set up as an operator who knows the load would.

    The load rises by 34 nodes within half an hour. A reactive pool that grows by one node a
    cooldown cannot follow that; steps of a tenth and of a fifth of the peak can be argued for, and
    the latter is about the best that steps can do. The predictive one has the plain defaults, with
    twenty minutes to look back on, and none of the past before the week begins.
    """
    tenth, fifth = ReactiveAutoscaler(80, 50, 4, 2), ReactiveAutoscaler(80, 50, 8, 2)
    lookback = max(round(timedelta(minutes=20) / interval), 2)
    return {
        "reactive 80/50, +1 -1": ReactiveAutoscaler(80, 50),
        "reactive 80/50, +4 -2": tenth,
        "reactive 80/50, +8 -2": fifth,
        "predictive": PredictiveAutoscaler(lookback=lookback, fallback=fifth),
    }


def demonstration(
    seeds: Sequence[int], *, days: int = 7, interval: timedelta = timedelta(minutes=2)
) -> list[list[BacktestResult]]:
    """Let the contestants live through one made-up week a seed; a list of results a seed."""
    conditions = Conditions(interval=interval)
    return [
        compare(made_up(seed, Week(days=days)), contestants(interval), conditions) for seed in seeds
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration, print its table, and return the exit code."""
    parser = argparse.ArgumentParser(description="Compare autoscalers on made-up weeks.")
    parser.add_argument("--seeds", type=int, default=5, help="how many weeks (default 5)")
    parser.add_argument("--days", type=int, default=7, help="how long each is (default 7)")
    parser.add_argument("--html", type=Path, help="write the first week as a page with charts")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.days < 1:
        parser.error("--seeds and --days: expected at least 1")
    weeks = demonstration(range(1, options.seeds + 1), days=options.days)
    for seed, results in enumerate(weeks, start=1):
        sys.stdout.write(f"seed {seed}\n{table(results)}\n")
    if options.html is not None:
        options.html.write_text(page(weeks[0], "Backtest of a made-up week"), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
