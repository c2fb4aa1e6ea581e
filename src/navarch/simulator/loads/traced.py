"""A load that was measured, and is lived through again."""

from __future__ import annotations

from bisect import bisect_right
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from navarch.simulator.load_trace import Trace, TraceError, read_trace
from navarch.simulator.loads.shapes import LEVEL_MAX, check_number

FILE_MAX = 64 << 20
"""Bytes of a file: some million rows."""


class Unit(StrEnum):
    """What a trace counts."""

    NODES = "nodes"
    """The work of that many nodes."""
    JOBS = "jobs"
    """Jobs, waiting and running."""
    UTILIZATION = "utilization"
    """Percent of the capacity of the nodes there were when it was measured."""
    REQUESTS = "requests"
    """Requests per second."""


class After(StrEnum):
    """What comes when a trace is over."""

    HOLD = "hold"
    """Its last value, for ever."""
    REPEAT = "repeat"
    """The trace from its beginning, again and again."""
    NOTHING = "nothing"


class Traced(Struct, frozen=True):
    """A trace, from the beginning of the run on."""

    trace: Trace
    unit: Unit = Unit.NODES
    jobs_per_node: float = 1.0
    """In the trace's unit: jobs that keep a node busy, or requests per second; 1 for others."""
    scale: float = 1.0
    """What each value is multiplied by."""
    after: After = After.HOLD
    name: str = "trace"

    def __post_init__(self) -> None:
        """Check the bounds."""
        check_number("jobs_per_node", self.jobs_per_node, 0, LEVEL_MAX, above=True)
        check_number("scale", self.scale, 0, LEVEL_MAX)

    def __str__(self) -> str:
        """Describe it, for people."""
        values = self.trace.values
        scaled = f" times {self.scale:g}" if self.scale != 1 else ""
        lasts = self.trace.end - self.trace.start
        return f"{self.name}: {len(values)} values over {lasts}, up to {max(values):g}{scaled}"

    def jobs(self, since: timedelta) -> float:
        """The work that wants to run. Cost: O(log values)."""
        trace = self.trace
        lasts = trace.end - trace.start
        if since >= lasts:
            if self.after is After.NOTHING:
                return 0.0
            if self.after is After.REPEAT:
                since %= lasts
        place = bisect_right(trace.times, trace.start + since) - 1
        return trace.values[place] * self.scale


def traced(path: Path, unit: Unit, *, per_node: float, after: After, scale: float) -> Traced:
    """Read a trace.

    `per_node` is how much of its unit one node does; of a utilization it is how many percent: 100
    divided by the nodes that there were. Raises `TraceError`, which names file, line and what was
    expected.
    """
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise TraceError(f"{path}: cannot be read ({reason})") from error
    if size > FILE_MAX:
        raise TraceError(f"{path}: {size} bytes, expected at most {FILE_MAX}")
    return Traced(
        read_trace(path, "jobs" if unit is Unit.JOBS else "nodes"),
        unit,
        jobs_per_node=per_node,
        after=after,
        scale=scale,
        name=path.name,
    )
