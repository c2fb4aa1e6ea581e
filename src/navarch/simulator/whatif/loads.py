"""Demand of pools, read from traces.

Whatever has the `Demand` protocol can take the place of a `TraceDemand`: see
`navarch.simulator.twin.demand`.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import timedelta
from pathlib import Path

from msgspec import Struct

from navarch.config import autoscaling as written
from navarch.errors import ConfigError
from navarch.simulator.load_trace import Trace, TraceError, read_trace

EVERY_POOL = ""
"""The name under which a load is for all pools that an autoscaler scales."""


class Load(Struct, frozen=True):
    """A file of load, and the pool it is for."""

    pool: str
    """`EVERY_POOL`: all pools that have an autoscaler."""
    path: Path


class TraceDemand:
    """The load of a trace, which begins anew when it ends."""

    def __init__(self, trace: Trace, jobs_per_node: float = 1.0) -> None:
        """Want as many nodes as the trace says, each busy with `jobs_per_node` jobs."""
        self.trace = trace
        self._jobs_per_node = jobs_per_node
        self._period = trace.end - trace.start

    @property
    def jobs_per_node(self) -> float:
        """How much work keeps one node busy."""
        return self._jobs_per_node

    def jobs(self, since: timedelta) -> float:
        """The work that wants to run. Cost: O(log rows)."""
        moment = self.trace.start + since % self._period
        row = bisect_right(self.trace.times, moment) - 1
        return self.trace.values[row] * self._jobs_per_node


def demand_of(path: Path, autoscaling: written.Autoscaling | None) -> TraceDemand:
    """Read a trace in nodes' worth of work, for a pool that is scaled so.

    Raises `ConfigError` when it cannot be read.
    """
    try:
        trace = read_trace(path)
    except TraceError as error:
        raise ConfigError(str(error)) from error
    return TraceDemand(trace, _jobs_per_node(autoscaling))


def _jobs_per_node(autoscaling: written.Autoscaling | None) -> float:
    """Find how many jobs a queue's autoscaler takes for a node's worth; 1 where none counts."""
    match autoscaling:
        case written.Queue():
            return float(autoscaling.jobs_per_node)
        case written.Scheduled():
            return _jobs_per_node(autoscaling.autoscaler)
        case written.Composite():
            counts = map(_jobs_per_node, autoscaling.autoscalers)
            return next((count for count in counts if count != 1.0), 1.0)
        case _:
            return 1.0
