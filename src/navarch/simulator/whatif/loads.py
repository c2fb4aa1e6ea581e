"""Which trace of load is for which pool."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from navarch.config import autoscaling as written
from navarch.errors import ConfigError
from navarch.simulator.load_trace import TraceError
from navarch.simulator.loads.traced import After, Traced, Unit, traced

EVERY_POOL = ""
"""The name under which a load is for all pools that an autoscaler scales."""


class Load(Struct, frozen=True):
    """A file of load, and the pool it is for."""

    pool: str
    """`EVERY_POOL`: all pools that have an autoscaler."""
    path: Path


def demand_of(path: Path, autoscaling: written.Autoscaling | None) -> Traced:
    """Read a trace in nodes' worth of work, for a pool that is scaled so.

    It begins anew when it ends. Raises `ConfigError` when it cannot be read.
    """
    jobs = _jobs_per_node(autoscaling)
    try:
        return traced(path, Unit.NODES, per_node=jobs, after=After.REPEAT, scale=jobs)
    except TraceError as error:
        raise ConfigError(str(error)) from error


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
