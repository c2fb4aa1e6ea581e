"""How the control plane itself is doing."""

from __future__ import annotations

from typing import Final

from navarch.monitoring import recordings
from navarch.monitoring.boards.expressions import JOB, happened, quantiles, rates
from navarch.monitoring.grafana import GREEN, ORANGE, RED, Board, Panel, Query, Row

EACH: Final = "{{instance}}"


def _each(series: str, legend: str = EACH) -> Query:
    """A number of each control plane."""
    return Query(f"{series}{{{JOB}}}", legend)


_WHO: Final = (
    Panel(
        title="Who leads",
        about="1 leads, 0 stands by. A gap is one that cannot be reached.",
        queries=(_each("navarch_leader"),),
        width=9,
        height=6,
        maximum=1,
        texts={0: "standby", 1: "leader"},
        alerts=("NavarchNoLeader", "NavarchTwoLeaders"),
    ),
    Panel(
        title="Can be reached",
        about="Whether Prometheus gets its numbers.",
        queries=(_each("up"),),
        width=9,
        height=6,
        maximum=1,
        texts={0: "no", 1: "yes"},
        alerts=("NavarchDown", "NavarchInstanceDown"),
    ),
    Panel(
        title="Versions",
        about="What runs where.",
        queries=(Query(f"max by (instance, version, python) (navarch_build_info{{{JOB}}})"),),
        kind="table",
        width=6,
        height=6,
        hidden=("Value",),
        named={"instance": "Control plane", "version": "Navarch", "python": "Python"},
    ),
)

_JOURNAL: Final = (
    Panel(
        title="Duration of commits",
        about="Every decision and every command waits for one.",
        queries=(
            *quantiles("navarch_journal_commit_duration_seconds", ""),
            Query(f"{recordings.COMMIT}{{{JOB}}}", "leader 99%, 5 minutes"),
        ),
        unit="s",
        steps=((0.25, RED),),
        alerts=("NavarchJournalSlow", "NavarchJournalStuck"),
    ),
    Panel(
        title="Facts",
        about="New facts a second, by the number of the newest one.",
        queries=(Query(f"max(rate(navarch_journal_seq{{{JOB}}}[$__rate_interval]))", "facts"),),
        unit="ops",
    ),
    Panel(
        title="Kinds of facts",
        about="The ten most frequent within the last hour.",
        queries=(
            Query(
                f"topk(10, sum by (kind) (increase(navarch_journal_facts_total{{{JOB}}}[1h])))",
                "{{kind}}",
            ),
        ),
    ),
    Panel(
        title="Facts behind the newest snapshot",
        about="What a restart of the leader replays.",
        queries=(
            Query(
                f"navarch_journal_unfolded_facts{{{JOB}}}"
                f" and on (job, instance) (navarch_leader{{{JOB}}} == 1)",
                EACH,
            ),
        ),
        width=12,
    ),
    Panel(
        title="Size of the journal",
        about="On its disk, where it is a file.",
        queries=(_each("navarch_journal_bytes"),),
        unit="bytes",
        width=12,
    ),
)

_INBOX: Final = (
    Panel(
        title="What waits",
        about="Messages in the inbox, by class.",
        queries=(Query(f"sum by (class) (navarch_inbox_messages{{{JOB}}})", "{{class}}"),),
        alerts=("NavarchJournalStuck",),
    ),
    Panel(
        title="Refused and shed",
        about="A second: messages refused because too many waited, and heartbeats dropped for"
        " newer ones.",
        queries=(
            rates("navarch_inbox_refused_total", "class", legend="{{class}} refused"),
            Query(
                f"sum(rate(navarch_inbox_shed_total{{{JOB}}}[$__rate_interval]))",
                "heartbeats shed",
            ),
        ),
        unit="ops",
        alerts=("NavarchInboxRefusing",),
    ),
    Panel(
        title="Lateness of the event loop",
        about="From 1 s on heartbeats are refused unread.",
        queries=(_each("navarch_event_loop_lag_seconds"),),
        unit="s",
        steps=((0.25, ORANGE), (1, RED)),
        alerts=("NavarchEventLoopLate",),
    ),
)

_CALLS: Final = (
    Panel(
        title="Calls",
        about="A second, by method.",
        queries=(rates("navarch_requests_total", "method"),),
        unit="ops",
    ),
    Panel(
        title="Duration of calls",
        about="What 99% of the calls of a method take at most.",
        queries=(Query(f"{recordings.REQUEST}{{{JOB}}}", "{{method}}"),),
        unit="s",
    ),
    Panel(
        title="Calls by how they end",
        about="A second, by code.",
        queries=(rates("navarch_requests_total", "code"),),
        unit="ops",
        colours={"ok": GREEN, "internal": RED},
    ),
    Panel(
        title="Refused requests",
        about="Within the last hour, by the reason, and by the bound on callers.",
        queries=(
            happened("navarch_requests_refused_total", "reason"),
            happened("navarch_admission_refused_total", "bound"),
        ),
    ),
    Panel(
        title="Heartbeats",
        about="A second, by the path that they took.",
        queries=(rates("navarch_heartbeats_total", "path"),),
        unit="ops",
        stacked=True,
    ),
    Panel(
        title="Connections and watchers",
        about="Open connections, and callers who follow facts.",
        queries=(
            _each("navarch_connections", "{{instance}} connections"),
            _each("navarch_watchers", "{{instance}} watchers"),
        ),
    ),
)

_PROCESS: Final = (
    Panel(
        title="Memory",
        about="Resident memory of each control plane.",
        queries=(_each("process_resident_memory_bytes"),),
        unit="bytes",
    ),
    Panel(
        title="Processor",
        about="Processors in use; a control plane can use one, and some of another.",
        queries=(Query(f"rate(process_cpu_seconds_total{{{JOB}}}[$__rate_interval])", EACH),),
    ),
    Panel(
        title="Memory of samples and lists",
        about="The newest samples of all nodes, and what is kept to list them.",
        queries=(
            Query(f"max(navarch_samples_bytes{{{JOB}}})", "samples"),
            Query(f"max by (form) (navarch_listing_kept_bytes{{{JOB}}})", "lists {{form}}"),
        ),
        unit="bytes",
    ),
    Panel(
        title="Nodes written anew for lists",
        about="A second. What grows with every list tells that the memory is too small.",
        queries=(rates("navarch_listing_made_total", "form"),),
        unit="ops",
        width=16,
    ),
    Panel(
        title="Certificate ends in",
        about="From then on no agent and no command gets through. Only where TLS is spoken.",
        queries=(Query(f"navarch_tls_certificate_end_timestamp_seconds{{{JOB}}} - time()", EACH),),
        unit="s",
        alerts=("NavarchCertificateEnds",),
    ),
    Panel(
        title="Certificates taken and refused",
        about="Within the last hour: changed files that were taken into use, and that could not.",
        queries=(
            Query(f"sum(increase(navarch_tls_reloads_total{{{JOB}}}[1h]))", "taken"),
            Query(f"sum(increase(navarch_tls_reloads_refused_total{{{JOB}}}[1h]))", "refused"),
        ),
        colours={"refused": RED},
    ),
    Panel(
        title="Running since",
        about="Counters and histograms begin there.",
        queries=(Query(f"time() - process_start_time_seconds{{{JOB}}}", EACH),),
        unit="s",
    ),
)

BOARD: Final = Board(
    uid="navarch-control-plane",
    title="Navarch: Control plane",
    about="Who leads, and whether it keeps up: journal, inbox, calls, process.",
    rows=(
        Row("Who", _WHO),
        Row("Journal", _JOURNAL),
        Row("Inbox", _INBOX),
        Row("Calls", _CALLS),
        Row("Process", _PROCESS),
    ),
)
