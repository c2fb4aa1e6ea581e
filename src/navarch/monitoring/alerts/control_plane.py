"""Alerts about the control plane itself: without it nothing else can be known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from navarch.monitoring.recordings import COMMIT
from navarch.monitoring.rules import Alert, Chosen, led

BOARD: Final = "navarch-control-plane"


def alerts(chosen: Chosen) -> tuple[Alert, ...]:
    """Give the alerts about who leads, and about how quickly it works."""
    return (*_presence(chosen), *_work(), _certificate())


def _presence(chosen: Chosen) -> tuple[Alert, ...]:
    unknown = "\nor ".join(f'absent(up{{job="{job}"}})' for job in chosen.jobs)
    up = f"up{{{_any_of(chosen.jobs)}}}"
    return (
        Alert(
            name="NavarchDown",
            severity="critical",
            expr=f"{unknown}\nor max by (job) ({up}) == 0",
            lasts="2m",
            summary="No control plane of {{ $labels.job }} can be reached",
            description="Prometheus could not scrape any control plane of {{ $labels.job }} for 2"
            " minutes. Nothing is bought, repaired or ended meanwhile; what runs goes on running.",
            board=BOARD,
        ),
        Alert(
            name="NavarchInstanceDown",
            severity="warning",
            expr=f"{up} == 0 and on (job) (max by (job) ({up}) == 1)",
            lasts="10m",
            summary="Control plane {{ $labels.instance }} cannot be reached",
            description="{{ $labels.instance }} has not been scraped for 10 minutes while another"
            " one of {{ $labels.job }} has. The fleet is served; there is one less to take over.",
            board=BOARD,
        ),
        Alert(
            name="NavarchNoLeader",
            severity="critical",
            expr="max by (job) (navarch_leader) == 0",
            lasts="1m",
            summary="Nobody leads {{ $labels.job }}",
            description="All control planes of {{ $labels.job }} that can be reached are standbys,"
            " for a minute; a failover takes six seconds. Reads are answered, nothing is decided.",
            board=BOARD,
        ),
        Alert(
            name="NavarchTwoLeaders",
            severity="critical",
            expr="sum by (job) (navarch_leader) > 1",
            lasts="1m",
            summary="{{ $value }} control planes of {{ $labels.job }} say that they lead",
            description="{{ $value }} control planes of {{ $labels.job }} have called themselves"
            " leader for a minute. Either they do not share one journal, so that both buy and end"
            " machines, or one hangs that has lost its lease.",
            board=BOARD,
        ),
    )


def _certificate() -> Alert:
    end = "navarch_tls_certificate_end_timestamp_seconds"
    return Alert(
        name="NavarchCertificateEnds",
        severity="critical",
        expr=f"{end} - time() < 7 * 86400",
        lasts="1h",
        summary="The certificate of {{ $labels.instance }} ends in {{ $value | humanizeDuration }}",
        description="The certificate that {{ $labels.instance }} of {{ $labels.job }} shows ends in"
        " {{ $value | humanizeDuration }}. From then on no agent and no command gets through.",
        board=BOARD,
    )


def _any_of(jobs: Sequence[str]) -> str:
    """Match any of these jobs."""
    if len(jobs) == 1:
        return f'job="{jobs[0]}"'
    quoted = "|".join(map(re.escape, jobs)).replace("\\", "\\\\")
    return f'job=~"{quoted}"'


def _work() -> tuple[Alert, ...]:
    waiting = f"sum by (job) {led('navarch_inbox_messages')}"
    commits = f"sum by (job) {led('rate(navarch_journal_commit_duration_seconds_count[2m])')}"
    return (
        Alert(
            name="NavarchJournalStuck",
            severity="critical",
            expr=f"{waiting} > 0\nand {commits} == 0",
            lasts="2m",
            summary="The leader of {{ $labels.job }} commits nothing",
            description="{{ $value }} messages wait for the leader of {{ $labels.job }}, and it has"
            " committed nothing to its journal for 2 minutes. Nothing is decided or answered.",
            board=BOARD,
        ),
        Alert(
            name="NavarchJournalSlow",
            severity="warning",
            expr=f"{COMMIT} > 0.25",
            lasts="10m",
            summary="Commits of {{ $labels.job }} take {{ $value | humanizeDuration }}",
            description="1% of the commits to the journal of {{ $labels.job }} took longer than"
            " {{ $value | humanizeDuration }}, for 10 minutes. Every decision and every command"
            " waits for a commit.",
            board=BOARD,
        ),
        Alert(
            name="NavarchInboxRefusing",
            severity="critical",
            expr="sum by (job, class) (rate(navarch_inbox_refused_total[5m])) > 0",
            lasts="10m",
            summary="{{ $labels.job }} refuses messages of class {{ $labels.class }}",
            description="{{ $value | humanize }} messages a second of class {{ $labels.class }} are"
            " refused by {{ $labels.job }} because too many wait, for 10 minutes. Callers come"
            " again later; if it goes on, nodes count as heard late and commands wait.",
            board=BOARD,
        ),
        Alert(
            name="NavarchEventLoopLate",
            severity="warning",
            expr="avg_over_time(navarch_event_loop_lag_seconds[5m]) > 0.25",
            lasts="10m",
            summary="{{ $labels.instance }} is late by {{ $value | humanizeDuration }}",
            description="The event loop of {{ $labels.instance }} has been late by"
            " {{ $value | humanizeDuration }} on average for 10 minutes. From 1 s on heartbeats are"
            " refused unread.",
            board=BOARD,
        ),
    )
