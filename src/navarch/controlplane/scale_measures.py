"""The measures that tell how large a control plane's work is, and whether it keeps up.

Names and meanings are in docs/metrics.md.
"""

from __future__ import annotations

import os
import resource
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from navarch.controlplane.measures import Measures, Series, bounded, by
from navarch.controlplane.runtime import Runtime
from navarch.core.model.fleet import Fleet
from navarch.wire.asgi import Application
from navarch.wire.listing import Listing
from navarch.wire.pages import Pages

POOLS_MAX: Final = 200
"""Pools that have series of their own, the first ones by name; the others are one together."""

_STATM: Final = Path("/proc/self/statm")


class Service(Protocol):
    """What the service tells of what it took."""

    @property
    def heartbeats(self) -> int:
        """Heartbeats that were taken."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A store that knows how large it is."""

    def size_bytes(self) -> int:
        """Bytes that it takes on its disk."""
        ...


class Counted:
    """The numbers of nodes by pool and status, as they were when all of it was in the journal."""

    def __init__(self, runtime: Callable[[], Runtime], listing: Listing) -> None:
        """Count the nodes of this runtime, with the roster by which they are listed."""
        self._runtime = runtime
        self._listing = listing
        self._nodes: Counter[tuple[str, str]] = Counter()

    def nodes(self) -> Series:
        """Give the numbers. Cost: O(nodes that changed since the last time + groups)."""
        runtime = self._runtime()
        fleet = runtime.machine.fleet
        if runtime.is_settled:  # what the journal does not have yet is not shown
            label = label_of(fleet)
            self._nodes = Counter()
            for group, count in self._listing.roster(fleet).counts().items():
                self._nodes[label(group.pool), group.status.value] += count
        return [
            ({"pool": pool, "status": status}, count)
            for (pool, status), count in sorted(self._nodes.items())
        ]


def label_of(fleet: Fleet) -> Callable[[str], str]:
    """Return what gives the label of a pool: its name, while there is room for it."""
    return bounded(sorted(fleet.pools), POOLS_MAX)


def pools(fleet: Fleet, number: Callable[[str], int]) -> Series:
    """Give a number of each pool."""
    label = label_of(fleet)
    counts: Counter[str] = Counter()
    for name in fleet.pools:
        counts[label(name)] += number(name)
    return by("pool", counts)


def measure(
    pages: Pages,
    runtime: Callable[[], Runtime],
    listing: Listing,
    service: Service,
    application: Application,
) -> None:
    """Show the measures of a running control plane, and of the application that serves it."""
    measures = Measures()
    _fleet(measures, runtime, listing)
    _work(measures, runtime, listing)
    _requests(measures, service, application)
    _process(measures)
    pages.add_metrics(measures.lines)


def _fleet(measures: Measures, runtime: Callable[[], Runtime], listing: Listing) -> None:
    def fleet() -> Fleet:
        return runtime().machine.fleet

    measures.gauges(
        "navarch_nodes",
        "Registered nodes.",
        Counted(runtime, listing).nodes,
    )
    measures.gauges(
        "navarch_pool_target_nodes",
        "Nodes that a pool wants.",
        lambda: pools(fleet(), lambda name: fleet().pools[name].target),
    )
    measures.gauges(
        "navarch_pool_current_nodes",
        "Machines that a pool counts on, booting ones included.",
        lambda: pools(fleet(), lambda name: len(fleet().current.get(name, ()))),
    )
    measures.gauges(
        "navarch_instances",
        "Machines that something is waited for.",
        lambda: by(
            "awaits",
            {
                "registration": len(fleet().booting),
                "end": len(fleet().ending),
                "certainty": len(fleet().uncertain),
                "replacement": len(fleet().condemned),
                "interruption": len(fleet().interrupted),
                "release": len(fleet().releasing),
            },
        ),
    )
    measures.gauges(
        "navarch_replicas",
        "Replicas of agents that have not ended.",
        lambda: by(
            "state",
            {
                "pending": len(fleet().replicas_pending),
                "placed": sum(map(len, fleet().replicas_on.values())),
            },
        ),
    )


def _work(measures: Measures, runtime: Callable[[], Runtime], listing: Listing) -> None:
    measures.gauges(
        "navarch_inbox_messages",
        "What waits to be looked at, as it counts for its bound.",
        lambda: by("class", runtime().inbox.waiting),
    )
    measures.counters(
        "navarch_inbox_refused_total",
        "Requests refused because too much waited.",
        lambda: by("class", runtime().inbox.refused_by_class),
    )
    measures.counter(
        "navarch_inbox_shed_total",
        "Heartbeats that were dropped for newer ones.",
        lambda: runtime().inbox.shed,
    )
    measures.gauge(
        "navarch_journal_seq",
        "The sequence number of the newest fact in the journal.",
        lambda: runtime().seq,
    )
    measures.gauge(
        "navarch_journal_unfolded_facts",
        "Facts behind the newest snapshot: what a restart replays.",
        lambda: runtime().seq - runtime().snapshot_seq,
    )
    measures.gauge("navarch_journal_bytes", "What the journal takes.", lambda: _size(runtime()))
    measures.gauge(
        "navarch_samples_bytes",
        "What the newest samples of all nodes take.",
        lambda: runtime().machine.sightings.samples.nbytes,
    )
    forms = {"json": listing.json, "proto": listing.proto}
    measures.gauges(
        "navarch_listing_kept_bytes",
        "What is kept of nodes to list them quickly.",
        lambda: by("form", {form: kept.bytes for form, kept in forms.items()}),
    )
    measures.counters(
        "navarch_listing_made_total",
        "Nodes that had to be written anew for a list.",
        lambda: by("form", {form: kept.made for form, kept in forms.items()}),
    )


def _requests(measures: Measures, service: Service, application: Application) -> None:
    admission = application.admission
    measures.counters(
        "navarch_requests_total",
        "Calls that were answered.",
        lambda: [
            ({"method": method, "code": code}, count)
            for (method, code), count in sorted(answered(application).items())
        ],
    )
    measures.counters(
        "navarch_requests_refused_total",
        "Requests that were refused.",
        lambda: by("reason", application.refused),
    )
    measures.counters(
        "navarch_admission_refused_total",
        "Requests and connections that a bound on callers refused.",
        lambda: by("bound", admission.refused),
    )
    measures.counters(
        "navarch_heartbeats_total",
        "Heartbeats that were taken.",
        lambda: by("path", {"ordinary": service.heartbeats, "hot": hot_heartbeats(application)}),
    )
    measures.gauge("navarch_connections", "Open connections.", admission.connections.total)
    measures.gauge("navarch_watchers", "Callers who follow facts.", lambda: admission.watching)
    measures.gauge(
        "navarch_event_loop_lag_seconds",
        "How late the event loop is.",
        lambda: admission.lag.seconds,
    )


def answered(application: Application) -> Counter[tuple[str, str]]:
    """Count the calls of both paths by method and how they ended."""
    counts = Counter(application.answered)
    if application.hot is not None:
        hot = application.hot.counts
        counts["Heartbeat", "ok"] += hot.heartbeats
        counts["HeartbeatBatch", "ok"] += hot.batches
        counts["PollCommands", "ok"] += hot.polls
    return +counts


def hot_heartbeats(application: Application) -> int:
    """How many heartbeats the hot path took, those in batches too."""
    hot = application.hot
    return 0 if hot is None else hot.counts.heartbeats + hot.counts.batched


def _process(measures: Measures) -> None:
    measures.gauge(
        "process_resident_memory_bytes", "Resident memory of this process.", resident_bytes
    )
    measures.counter(
        "process_cpu_seconds_total", "User and system time of this process.", cpu_seconds
    )


def _size(runtime: Runtime) -> float | None:
    store = runtime.store
    return store.size_bytes() if isinstance(store, Measured) else None


def resident_bytes() -> int:
    """How much memory this process has now; at most, where the system tells no more."""
    try:
        pages = int(_STATM.read_bytes().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * resource.getpagesize()


def cpu_seconds() -> float:
    """How much time of processors this process has used."""
    spent = os.times()
    return spent.user + spent.system
