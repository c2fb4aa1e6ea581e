"""What a row of the catalogue of measures is, and what labels may be."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from msgspec import Struct

Type = Literal["counter", "gauge", "histogram"]
_UNITS: Final = {
    "seconds": "seconds",
    "bytes": "bytes",
    "ratio": "share of 1",
    "dollars": "US dollars",
    "nodes": "nodes",
    "jobs": "jobs",
    "replicas": "replicas",
    "facts": "facts",
    "messages": "messages",
    "instances": "machines",
}

LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "agent_pool": "a pool of agents as `namespace/name`: the first 200; the others are `other`",
        "awaits": "`registration`, `end`, `certainty` (nobody knows whether it exists), "
        "`replacement`, `interruption`, `release`",
        "bound": "the bound on callers that refused",
        "call": "`provision`, `terminate`, `list`, `list_types`",
        "class": "`own`, `operators`, `commands`, `reports`, `registrations`, `heartbeats`",
        "code": "`ok`, or the code of the error",
        "direction": "`up`, `down`",
        "error": "the kind of the provider's error, as in `outcome`, or `timed_out`, `other`",
        "form": "`json`, `proto`",
        "health": "`unknown`, `healthy`, `degraded`, `unhealthy`",
        "kind": "a kind of fact (events.md), or of plugin",
        "method": "a method of the service",
        "node": "the id of a node, only with `server.node_series_max`, at most so many",
        "outcome": "how it ended; see the meaning",
        "path": "`hot`, `ordinary`",
        "plugin_name": "the name of a plugin, at most 2,000 methods of all together",
        "point": "the method of a plugin",
        "pool": "a pool of machines: the first 200; the others are `other`; outside of pools it is "
        "empty",
        "provider": "a provider of the configuration: the first 50; the others are `other`",
        "python": "the version of Python",
        "reason": "the code of the error, the limit that was passed, or what was wrong with the "
        "HTTP request",
        "rule": "a rule of the health policy, or `check:NAME` of an enabled check: the first 200; "
        "the others are `other`; without a rule it is empty",
        "rung": "`reset_gpu`, `reboot`, `replace`, `inspect`",
        "signal": "`utilization`, `pending_jobs`, `queue_depth`; of a pool of agents, one that its "
        "autoscaling names, at most 64",
        "source": "the name of a metrics source of the configuration",
        "state": "`pending`, `placed`",
        "status": "the status that `navarch list` shows, or a verdict: `unknown`, `healthy`, "
        "`degraded`, `unhealthy`",
        "use": "`good`, `idle`, `lost`, `unknown`",
        "verdict": "`same`, `different`, `failed`",
        "version": "the version of Navarch",
    }
)
"""What each label may be, and what bounds the number of its values."""

REQUEST_BOUNDS: Final = (1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds. A call of the hot path takes tens of microseconds, a page of a list milliseconds."""
COMMIT_BOUNDS: Final = (1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0)
"""Seconds. Memory takes microseconds, a disk or a database in the same region milliseconds."""
CALL_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds, up to the longest that a launch may take to be answered."""
BOOT_BOUNDS: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 420.0, 600.0, 1200.0)
"""Seconds, up to twice the time after which a machine without an agent is ended by default."""


class Described(Struct, frozen=True):
    """One name in ``/metrics``."""

    name: str
    type: Type
    labels: tuple[str, ...]
    """In the order in which they are written; all are keys of `LABELS`."""
    about: str
    """The text of ``# HELP``: one sentence."""
    more: str = ""
    """What the page of metrics says beside that; empty: nothing."""
    bounds: tuple[float, ...] = ()
    """The upper bounds of the buckets of a histogram."""
    group: str = ""
    """Under which heading it stands."""

    @property
    def unit(self) -> str:
        """What is counted or measured, in words; empty: plain numbers."""
        words = self.name.removesuffix("_total")
        if words.endswith("_dollars_per_hour"):
            return "US dollars an hour"
        return _UNITS.get(words.rpartition("_")[2], "")


def table(group: str, type_: Type, *rows: tuple[str, ...]) -> tuple[Described, ...]:
    """Make rows of one type: name, labels with blanks between them, about, and more."""
    return tuple(
        Described(name, type_, tuple(labels.split()), about, "".join(more), group=group)
        for name, labels, about, *more in rows
    )


def histogram(
    group: str, name: str, labels: str, about: str, more: str, bounds: tuple[float, ...]
) -> Described:
    """Make a row of a histogram with these upper bounds of its buckets."""
    return Described(name, "histogram", tuple(labels.split()), about, more, bounds, group)
