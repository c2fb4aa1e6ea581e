"""Every name in ``/metrics``: its type, its labels, its unit and what it means.

This is the only list. `Measures` shows nothing that does not stand here, `faults` finds what a page
says otherwise, and the table of docs/metrics.md is made of it (``python tools/metrics_table.py``).
To add a measure, add a row to one of the tables, here or in `catalogue_fleet`, and have it shown.

Labels take their values from fixed lists, or are bounded as `described.LABELS` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from navarch.controlplane import catalogue_fleet
from navarch.controlplane.described import (
    COMMIT_BOUNDS,
    REQUEST_BOUNDS,
    Described,
    histogram,
    table,
)
from navarch.plugins.histograms import BOUNDS

WORK: Final = "The journal and the inbox"
_WORK: Final = (
    *table(
        WORK,
        "gauge",
        ("navarch_journal_seq", "", "The sequence number of the newest fact in the journal."),
        (
            "navarch_journal_unfolded_facts",
            "",
            "Facts behind the newest snapshot: what a restart replays.",
        ),
        (
            "navarch_journal_bytes",
            "",
            "What the journal takes on its disk.",
            "Only where it is a file.",
        ),
    ),
    *table(
        WORK,
        "counter",
        ("navarch_journal_facts_total", "kind", "Facts that this process has written."),
    ),
    histogram(
        WORK,
        "navarch_journal_commit_duration_seconds",
        "",
        "How long it took until facts were in the journal.",
        "Of all facts of one step together.",
        COMMIT_BOUNDS,
    ),
    *table(
        WORK,
        "gauge",
        (
            "navarch_inbox_messages",
            "class",
            "What waits to be looked at, as it counts for its bound.",
        ),
    ),
    *table(
        WORK,
        "counter",
        (
            "navarch_inbox_refused_total",
            "class",
            "Requests refused because too much waited.",
        ),
        (
            "navarch_inbox_shed_total",
            "",
            "Heartbeats that were dropped for newer ones of the same nodes.",
        ),
    ),
)

REQUESTS: Final = "Requests"
_REQUESTS: Final = (
    histogram(
        REQUESTS,
        "navarch_request_duration_seconds",
        "method",
        "How long calls took, but for streams.",
        "From the head of a request to its answer. Of calls on the hot path every 61st is "
        "measured, and counts for 61; there it is the time from the whole body to the answer.",
        REQUEST_BOUNDS,
    ),
    *table(
        REQUESTS,
        "counter",
        (
            "navarch_requests_total",
            "method code",
            "Calls that were answered.",
            (
                "The hot path counts `SendHeartbeat` as `Heartbeat`, and `GetNodeCommands` as "
                "`PollCommands`."
            ),
        ),
        ("navarch_requests_refused_total", "reason", "Requests that were refused."),
        (
            "navarch_admission_refused_total",
            "bound",
            "Requests and connections that a bound on callers refused.",
        ),
        (
            "navarch_heartbeats_total",
            "path",
            "Heartbeats that were taken, those in batches too.",
        ),
    ),
    *table(
        REQUESTS,
        "gauge",
        ("navarch_connections", "", "Open connections."),
        ("navarch_watchers", "", "Callers who follow facts."),
        (
            "navarch_event_loop_lag_seconds",
            "",
            "How late the event loop is.",
            "Heartbeats are refused while it is very late.",
        ),
    ),
)

SERVING: Final = "Replicas and plugins"
_SERVING: Final = (
    *table(
        SERVING,
        "gauge",
        ("navarch_replicas", "state", "Replicas of agents that have not ended."),
        (
            "navarch_agent_pool_replicas",
            "agent_pool",
            "Replicas of a pool of agents that have not ended.",
        ),
        (
            "navarch_agent_pool_target_replicas",
            "agent_pool",
            "Replicas that a pool of agents wants.",
        ),
        (
            "navarch_agent_pool_pending_replicas",
            "agent_pool",
            "Replicas of a pool of agents that wait for a place.",
        ),
    ),
    histogram(
        SERVING,
        "navarch_plugin_duration_seconds",
        "kind plugin_name point",
        "How long calls of plugins took.",
        "See [plugins](plugins.md).",
        BOUNDS,
    ),
    *table(
        SERVING,
        "counter",
        (
            "navarch_plugin_failures_total",
            "kind plugin_name point outcome",
            "Calls of plugins that raised or took too long.",
            "`failed`, `timed out`, or `skipped` because it was isolated.",
        ),
        (
            "navarch_plugin_shadow_answers_total",
            "kind plugin_name verdict",
            "Answers of plugins that are asked without effect.",
        ),
    ),
    *table(
        SERVING,
        "gauge",
        (
            "navarch_plugin_isolated",
            "kind plugin_name",
            "Plugins that are left alone because they only fail.",
        ),
    ),
)

NODES: Final = "Single nodes"
_NODES: Final = table(
    NODES,
    "gauge",
    ("navarch_node_status", "node pool status", "The status of a node: 1."),
    ("navarch_node_health", "node pool health", "The verdict over a node: 1."),
    ("navarch_node_heard_seconds", "node pool", "Since when a node was not heard."),
    (
        "navarch_node_utilization_ratio",
        "node pool",
        "Mean utilization of the GPUs of a node in its newest sample, from 0 to 1.",
    ),
)

PROCESS: Final = "The process"
_PROCESS: Final = (
    *table(
        PROCESS,
        "gauge",
        ("navarch_build_info", "version python", "What runs here: 1."),
        ("navarch_leader", "", "Whether this control plane leads, and acts: 1 or 0."),
        (
            "process_start_time_seconds",
            "",
            "When this process began, in seconds since 1970.",
            "Counters and histograms count from here.",
        ),
        ("process_resident_memory_bytes", "", "Resident memory of this process."),
        ("navarch_samples_bytes", "", "What the newest samples of all nodes take."),
        (
            "navarch_listing_kept_bytes",
            "form",
            "What is kept of nodes to list them quickly.",
            "At most 256 MiB for each form.",
        ),
        (
            "navarch_tls_certificate_end_timestamp_seconds",
            "",
            "When the server's certificate ends.",
            "Only where the server speaks TLS, as the next two.",
        ),
    ),
    *table(
        PROCESS,
        "counter",
        ("process_cpu_seconds_total", "", "User and system time of this process."),
        (
            "navarch_listing_made_total",
            "form",
            "Nodes that had to be written anew for a list.",
            "What grows with every list tells that the memory is too small.",
        ),
        (
            "navarch_tls_reloads_total",
            "",
            "How often other certificates were taken into use.",
        ),
        (
            "navarch_tls_reloads_refused_total",
            "",
            "How often changed files could not be used.",
        ),
    ),
)

ALL: Final = (*catalogue_fleet.ROWS, *_WORK, *_REQUESTS, *_SERVING, *_NODES, *_PROCESS)
"""Every name, in the order of the page of metrics."""

BY_NAME: Final[Mapping[str, Described]] = MappingProxyType({each.name: each for each in ALL})
"""The same by name."""

_SAMPLE: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL: Final = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def faults(text: str) -> Iterator[str]:
    """Find what a page of ``/metrics`` shows and the catalogue has not, or has otherwise."""
    for line in text.splitlines():
        if line.startswith("# "):
            _, word, name, rest = (*line.split(" ", 3), "")[:4]
            described = BY_NAME.get(name)
            if described is None:
                yield f"{name} is not in the catalogue"
            elif (word, rest) not in (("HELP", described.about), ("TYPE", described.type)):
                yield f"{name}: # {word} {rest} is not what the catalogue says"
            continue
        found = _SAMPLE.fullmatch(line)
        if found is None:
            yield f"no sample: {line}"
            continue
        described = _of_sample(found[1])
        if described is None:
            yield f"{found[1]} is not in the catalogue"
            continue
        pairs: list[tuple[str, str]] = _LABEL.findall(found[2] or "")
        if ",".join(f'{label}="{value}"' for label, value in pairs) != (found[2] or ""):
            yield f"{found[1]}: the labels cannot be read: {found[2]}"
        labels = [label for label, _ in pairs if (described.type, label) != ("histogram", "le")]
        if tuple(labels) != described.labels:
            yield f"{found[1]} has the labels {', '.join(labels) or 'none'}"


def _of_sample(name: str) -> Described | None:
    """Return whose sample this is: that of a histogram has a longer name."""
    for end in ("_bucket", "_sum", "_count"):
        described = BY_NAME.get(name.removesuffix(end))
        if name.endswith(end) and described is not None and described.type == "histogram":
            return described
    described = BY_NAME.get(name)
    return None if described is None or described.type == "histogram" else described
