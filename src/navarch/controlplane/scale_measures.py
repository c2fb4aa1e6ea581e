"""The measures that tell how large a control plane's work is, and whether it keeps up.

Names and meanings are in `navarch.controlplane.catalogue`, and in docs/metrics.md.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from navarch.controlplane.accounts import Accounts
from navarch.controlplane.clock import process_start
from navarch.controlplane.fleet_measures import measure_fleet
from navarch.controlplane.measures import Measures, by, from_zero
from navarch.controlplane.node_measures import measure_nodes
from navarch.controlplane.runtime import Runtime
from navarch.controlplane.serving import ServingPlane
from navarch.controlplane.tally import KINDS
from navarch.controlplane.timings import RequestTimes
from navarch.version import VERSION
from navarch.wire.asgi import Application
from navarch.wire.listing import Listing
from navarch.wire.pages import Pages

_STATM: Final = Path("/proc/self/statm")


class Service(Protocol):
    """What the service tells of what it took."""

    @property
    def heartbeats(self) -> int:
        """Heartbeats that were taken."""
        ...


class Plane(Protocol):
    """What a control plane tells of itself."""

    @property
    def runtime(self) -> Runtime:
        """The loop and all it works on."""
        ...

    @property
    def listing(self) -> Listing:
        """How nodes are listed."""
        ...

    @property
    def accounts(self) -> Accounts:
        """What it counts of its fleet."""
        ...

    @property
    def serving(self) -> ServingPlane:
        """How many replicas there are, and where they run."""
        ...

    @property
    def providers(self) -> Mapping[str, object]:
        """Who may be bought from, by the names that pools use."""
        ...

    @property
    def leads(self) -> bool:
        """Whether it writes and acts."""
        ...


def measure(
    pages: Pages,
    plane: Plane,
    service: Service,
    application: Application,
    times: RequestTimes,
    node_series_max: int = 0,
) -> Measures:
    """Show the measures of a running control plane, and of the application that serves it.

    So many nodes have series of their own.
    """
    measures = Measures()
    _process(measures, plane)
    measure_fleet(
        measures,
        lambda: plane.runtime,
        plane.listing,
        plane.accounts,
        plane.serving,
        lambda: plane.providers,
    )
    _journal(measures, lambda: plane.runtime, plane.accounts)
    _work(measures, lambda: plane.runtime, plane.listing)
    _requests(measures, service, application, times)
    if node_series_max:
        measure_nodes(measures, lambda: plane.runtime, plane.listing, node_series_max)
    pages.add_metrics(measures.lines)
    return measures


def _journal(measures: Measures, runtime: Callable[[], Runtime], accounts: Accounts) -> None:
    measures.one("navarch_journal_seq", lambda: runtime().seq)
    measures.one("navarch_journal_unfolded_facts", lambda: runtime().seq - runtime().snapshot_seq)
    measures.one("navarch_journal_bytes", lambda: _size(runtime()))
    measures.many(
        "navarch_journal_facts_total", lambda: from_zero(accounts.tally.facts, zip(KINDS))
    )
    measures.histograms(
        "navarch_journal_commit_duration_seconds", lambda: [((), runtime().commits)]
    )


def _work(measures: Measures, runtime: Callable[[], Runtime], listing: Listing) -> None:
    measures.many("navarch_inbox_messages", lambda: by(runtime().inbox.waiting))
    measures.many("navarch_inbox_refused_total", lambda: by(runtime().inbox.refused_by_class))
    measures.one("navarch_inbox_shed_total", lambda: runtime().inbox.shed)
    measures.one("navarch_samples_bytes", lambda: runtime().machine.sightings.samples.nbytes)
    forms = {"json": listing.json, "proto": listing.proto}
    measures.many(
        "navarch_listing_kept_bytes",
        lambda: by({form: kept.bytes for form, kept in forms.items()}),
    )
    measures.many(
        "navarch_listing_made_total",
        lambda: by({form: kept.made for form, kept in forms.items()}),
    )


def _requests(
    measures: Measures, service: Service, application: Application, times: RequestTimes
) -> None:
    admission = application.admission
    measures.many("navarch_requests_total", lambda: sorted(answered(application).items()))
    measures.histograms("navarch_request_duration_seconds", lambda: sorted(times.durations.items()))
    measures.many("navarch_requests_refused_total", lambda: by(application.refused))
    measures.many("navarch_admission_refused_total", lambda: by(admission.refused))
    measures.many(
        "navarch_heartbeats_total",
        lambda: by({"ordinary": service.heartbeats, "hot": hot_heartbeats(application)}),
    )
    measures.one("navarch_connections", admission.connections.total)
    measures.one("navarch_watchers", lambda: admission.watching)
    measures.one("navarch_event_loop_lag_seconds", lambda: admission.lag.seconds)


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


def _process(measures: Measures, plane: Plane) -> None:
    build = (VERSION, platform.python_version())
    began = process_start()
    measures.many("navarch_build_info", lambda: [(build, 1)])
    measures.one("navarch_leader", lambda: int(plane.leads))
    measures.one("process_start_time_seconds", lambda: began)
    measures.one("process_resident_memory_bytes", resident_bytes)
    measures.one("process_cpu_seconds_total", cpu_seconds)


def _size(runtime: Runtime) -> float | None:
    """What a store takes on its disk; None where it does not know, or has none."""
    told: Callable[[], int] | None = getattr(runtime.store, "size_bytes", None)
    return None if told is None else told()


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
