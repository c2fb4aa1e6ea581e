"""For each alert: numbers at which it fires, and numbers at which it must not.

Numbers are written as `promtool test rules` reads them, one a minute: ``3x10`` is 3 eleven times,
``0+5x10`` grows by 5 each minute, ``_`` is none, ``stale`` ends a series.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

Series = Mapping[str, str]


class Fires(Struct, frozen=True, kw_only=True):
    """Numbers at which an alert fires."""

    series: Series
    at: int
    """Minutes after the beginning."""
    not_before: int
    """A minute in which it is so, but has not lasted long enough."""
    labels: Mapping[str, str] = {}
    """Those of the alert beside the job and the severity."""
    value: str = ""
    """Its number, as people read it."""


class Case(Struct, frozen=True, kw_only=True):
    """What an alert is held against."""

    fires: Fires
    quiet: tuple[tuple[Series, int], ...]
    """Numbers, and the minute at which nothing may fire."""
    also: tuple[Fires, ...] = ()
    """Other numbers at which it fires."""


def of(name: str, instance: str = "a", **labels: str) -> str:
    """Name a series of one control plane."""
    told = {"job": "navarch", "instance": instance, **labels}
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in told.items()) + "}"


def pool(name: str, **labels: str) -> str:
    """Name a series of a pool."""
    return of(f"navarch_{name}", pool="train", **labels)


TRAIN: Final = {"pool": "train"}
LEADS: Final = {of("navarch_leader"): "1x60"}


def sizes(*, target: int, healthy: int, min_nodes: int, paused: int = 0) -> dict[str, str]:
    """Write a pool's sizes, the same all the time."""
    return {
        pool("pool_target_nodes"): f"{target}x60",
        pool("pool_healthy_nodes"): f"{healthy}x60",
        pool("pool_min_nodes"): f"{min_nodes}x60",
        pool("pool_paused"): f"{paused}x60",
    }


def provisions(outcome: str, numbers: str) -> dict[str, str]:
    """Write what a provider answered to orders."""
    return {of("navarch_provisions_total", provider="acme", outcome=outcome): numbers}


def failures(error: str, numbers: str) -> dict[str, str]:
    """Write how calls of a provider failed."""
    name = "navarch_provider_call_failures_total"
    return {of(name, provider="acme", call="list", error=error): numbers}


NEVER_ANSWERED: Final = {
    pool("signal_failures_total", source="prometheus"): "0+2x60",
    of("process_start_time_seconds"): "0x60",
}
"""A source that fails from the beginning of the process on, which begins with the test."""


def commits(*buckets: tuple[str, str]) -> dict[str, str]:
    """Write a histogram of commits."""
    name = "navarch_journal_commit_duration_seconds_bucket"
    return {of(name, le=edge): numbers for edge, numbers in buckets}


def gpus(**uses: int) -> dict[str, str]:
    """Write GPU seconds that grow by so many each minute."""
    return {pool("gpu_seconds_total", use=use): f"0+{seconds}x150" for use, seconds in uses.items()}


_CALLS: Final = {
    of("navarch_provider_call_duration_seconds_count", provider="acme", call="list"): "0+10x40"
}
_COUNT: Final = of("navarch_journal_commit_duration_seconds_count")
_INBOX: Final = of("navarch_inbox_messages", **{"class": "operators"})
_REFUSED: Final = of("navarch_inbox_refused_total", **{"class": "heartbeats"})
CERTIFICATE: Final = of("navarch_tls_certificate_end_timestamp_seconds")
"""By a clock at which the tests begin at 0."""
SIGNAL: Final = of(
    "navarch_agent_pool_signal_age_seconds", agent_pool="default/chat", signal="queue-depth"
)
_PLUGIN: Final = {"kind": "scheduler", "plugin_name": "acme"}


def hung(outcome: str, numbers: str) -> dict[str, str]:
    """Write failures of a plugin."""
    name = "navarch_plugin_failures_total"
    return {of(name, point="filter", outcome=outcome, **_PLUGIN): numbers}


_CONTROL_PLANE: Final = {
    "NavarchDown": Case(
        fires=Fires(series={of("up"): "0x10", of("up", "b"): "0x10"}, at=3, not_before=1),
        quiet=(({of("up"): "0x10", of("up", "b"): "1x10"}, 9),),
        also=(Fires(series={'up{job="another"}': "1x10"}, at=3, not_before=1),),
    ),
    "NavarchInstanceDown": Case(
        fires=Fires(
            series={of("up"): "0x20", of("up", "b"): "1x20"},
            at=11,
            not_before=9,
            labels={"instance": "a"},
            value="0",
        ),
        quiet=(
            ({of("up"): "1x20", of("up", "b"): "1x20"}, 20),
            ({of("up"): "0x20", of("up", "b"): "0x20"}, 20),
        ),
    ),
    "NavarchNoLeader": Case(
        fires=Fires(
            series={of("navarch_leader"): "0x10", of("navarch_leader", "b"): "0x10"},
            at=2,
            not_before=0,
        ),
        quiet=(
            ({of("navarch_leader"): "1x3 stale", of("navarch_leader", "b"): "0x3 1x9"}, 5),
            ({of("navarch_leader"): "1x9"}, 9),
        ),
    ),
    "NavarchTwoLeaders": Case(
        fires=Fires(
            series={of("navarch_leader"): "1x10", of("navarch_leader", "b"): "1x10"},
            at=2,
            not_before=0,
            value="2",
        ),
        quiet=(({of("navarch_leader"): "1x4 stale", of("navarch_leader", "b"): "0x3 1x9"}, 5),),
    ),
    "NavarchJournalStuck": Case(
        fires=Fires(
            series={**LEADS, _INBOX: "3x10", _COUNT: "500x10"}, at=4, not_before=2, value="3"
        ),
        quiet=(
            ({**LEADS, _INBOX: "3x10", _COUNT: "500+1x10"}, 10),
            ({of("navarch_leader"): "0x10", _INBOX: "3x10", _COUNT: "500x10"}, 10),
            ({**LEADS, _INBOX: "0x10", _COUNT: "500x10"}, 10),
        ),
    ),
    "NavarchJournalSlow": Case(
        fires=Fires(
            series={**LEADS, **commits(("0.1", "0x30"), ("0.5", "0+9x30"), ("+Inf", "0+9x30"))},
            at=12,
            not_before=9,
            value="496ms",
        ),
        quiet=(({**LEADS, **commits(("0.1", "0+9x30"), ("+Inf", "0+9x30"))}, 30),),
    ),
    "NavarchInboxRefusing": Case(
        fires=Fires(
            series={_REFUSED: "0+60x30"},
            at=12,
            not_before=9,
            labels={"class": "heartbeats"},
            value="1",
        ),
        quiet=(({_REFUSED: "0 500x30"}, 20),),
    ),
    "NavarchCertificateEnds": Case(
        fires=Fires(
            series={CERTIFICATE: "604800x70"},
            at=61,
            not_before=59,
            labels={"instance": "a"},
            value="6d 22h 59m 0s",
        ),
        quiet=(({CERTIFICATE: "9000000x70"}, 70),),
    ),
    "NavarchEventLoopLate": Case(
        fires=Fires(
            series={of("navarch_event_loop_lag_seconds"): "0.5x20"},
            at=11,
            not_before=9,
            labels={"instance": "a"},
            value="500ms",
        ),
        quiet=(({of("navarch_event_loop_lag_seconds"): "0x5 5 0x20"}, 15),),
    ),
}

_POOLS: Final = {
    "NavarchPoolBelowMin": Case(
        fires=Fires(
            series=sizes(target=6, healthy=3, min_nodes=5),
            at=16,
            not_before=14,
            labels=TRAIN,
            value="2",
        ),
        quiet=(
            (sizes(target=6, healthy=5, min_nodes=5), 60),
            (sizes(target=6, healthy=0, min_nodes=5, paused=1), 60),
        ),
    ),
    "NavarchPoolBelowTarget": Case(
        fires=Fires(
            series=sizes(target=6, healthy=4, min_nodes=2),
            at=31,
            not_before=29,
            labels=TRAIN,
            value="2",
        ),
        quiet=(
            (sizes(target=6, healthy=6, min_nodes=2), 60),
            (sizes(target=6, healthy=1, min_nodes=2), 60),
            (sizes(target=6, healthy=4, min_nodes=2, paused=1), 60),
        ),
    ),
    "NavarchNothingToBuy": Case(
        fires=Fires(
            series={
                **sizes(target=5, healthy=3, min_nodes=0),
                **provisions("no_capacity", "_ 1 1 1 1 1 1 1 1 1 2x40"),
            },
            at=17,
            not_before=15,
            labels=TRAIN,
            value="2",
        ),
        quiet=(
            (
                {
                    **sizes(target=5, healthy=3, min_nodes=0),
                    **provisions("no_capacity", "0+1x60"),
                    **provisions("launched", "0x10 1x20 2x30"),
                },
                35,
            ),
            (sizes(target=5, healthy=3, min_nodes=0), 60),
            (
                {
                    **sizes(target=5, healthy=5, min_nodes=0),
                    **provisions("no_capacity", "0+1x60"),
                },
                60,
            ),
        ),
    ),
    "NavarchMachinesDoNotLast": Case(
        fires=Fires(
            series={pool("pool_launch_failures"): "4x10"},
            at=6,
            not_before=4,
            labels=TRAIN,
            value="4",
        ),
        quiet=(({pool("pool_launch_failures"): "2x10"}, 10),),
    ),
    "NavarchAutoscalerBlind": Case(
        fires=Fires(
            series={**LEADS, pool("signal_age_seconds", source="prometheus"): "400x20"},
            at=11,
            not_before=9,
            labels=TRAIN,
            value="6m 40s",
        ),
        quiet=(
            ({**LEADS, pool("signal_age_seconds", source="prometheus"): "20x20"}, 20),
            (
                {
                    **LEADS,
                    **NEVER_ANSWERED,
                    pool("signal_age_seconds", source="heartbeats"): "20x60",
                },
                40,
            ),
            ({**LEADS, **NEVER_ANSWERED}, 14),
            (
                {
                    **LEADS,
                    of("navarch_leader", "b"): "0x20",
                    pool("signal_age_seconds", source="prometheus"): "20x20",
                    pool("signal_age_seconds", source="prometheus", instance="b"): "9000x20",
                },
                20,
            ),
        ),
        also=(
            Fires(
                series={**LEADS, **NEVER_ANSWERED},
                at=16,
                not_before=15,
                labels=TRAIN,
                value="16m 0s",
            ),
        ),
    ),
}

_HEALTH: Final = {
    "NavarchNodesLost": Case(
        fires=Fires(
            series={pool("pool_lost_nodes"): "3x10", pool("pool_current_nodes"): "10x10"},
            at=6,
            not_before=4,
            labels=TRAIN,
            value="3",
        ),
        quiet=(
            ({pool("pool_lost_nodes"): "1x10", pool("pool_current_nodes"): "3x10"}, 10),
            ({pool("pool_lost_nodes"): "3x10", pool("pool_current_nodes"): "100x10"}, 10),
        ),
    ),
    "NavarchBreakerOpen": Case(
        fires=Fires(
            series={pool("breaker_open"): "1x10"}, at=6, not_before=4, labels=TRAIN, value="1"
        ),
        quiet=(
            ({pool("breaker_open"): "0x10", pool("breaker_half_open"): "1x10"}, 10),
            ({pool("breaker_open"): "1x3 0x10"}, 10),
        ),
    ),
    "NavarchBudgetExhausted": Case(
        fires=Fires(
            series={
                pool("disruption_budget_nodes"): "2x70",
                pool("disruption_budget_used_nodes"): "2x70",
            },
            at=61,
            not_before=59,
            labels=TRAIN,
            value="2",
        ),
        quiet=(
            (
                {
                    pool("disruption_budget_nodes"): "2x70",
                    pool("disruption_budget_used_nodes"): "1x70",
                },
                70,
            ),
            (
                {
                    pool("disruption_budget_nodes"): "0x70",
                    pool("disruption_budget_used_nodes"): "0x70",
                },
                70,
            ),
        ),
    ),
    "NavarchNodesHandedOver": Case(
        fires=Fires(
            series={pool("pool_handed_over_nodes"): "1x20"},
            at=16,
            not_before=14,
            labels=TRAIN,
            value="1",
        ),
        quiet=(({pool("pool_handed_over_nodes"): "0x20"}, 20),),
    ),
    "NavarchGpuTimeLost": Case(
        fires=Fires(series=gpus(good=60, lost=40), at=62, not_before=59, value="40%"),
        quiet=((gpus(good=60, idle=30, lost=10), 150), (gpus(good=60), 150)),
    ),
}

_PROVIDERS: Final = {
    "NavarchProviderUnauthorized": Case(
        fires=Fires(
            series=failures("unauthorized", "_x5 1x30"),
            at=8,
            not_before=6,
            labels={"provider": "acme"},
        ),
        quiet=(
            (failures("unauthorized", "_x5 1x30"), 25),
            (failures("throttled", "0+1x30"), 25),
        ),
    ),
    "NavarchProviderFailing": Case(
        fires=Fires(
            series={**_CALLS, **failures("unavailable", "0+6x40")},
            at=17,
            not_before=14,
            labels={"provider": "acme"},
            value="60%",
        ),
        quiet=(
            ({**_CALLS, **failures("unavailable", "0+2x40")}, 40),
            ({**_CALLS, **failures("no_capacity", "0+10x40")}, 40),
        ),
    ),
    "NavarchLaunchesUncertain": Case(
        fires=Fires(
            series={of("navarch_instances_oldest_seconds", awaits="certainty"): "0+60x60"},
            at=32,
            not_before=30,
            value="32m 0s",
        ),
        quiet=(
            ({of("navarch_instances_oldest_seconds", awaits="certainty"): "0+60x20 0+60x30"}, 45),
        ),
    ),
    "NavarchMachinesNotEnding": Case(
        fires=Fires(
            series={of("navarch_instances_oldest_seconds", awaits="end"): "0+60x150"},
            at=122,
            not_before=120,
            value="2h 2m 0s",
        ),
        quiet=(({of("navarch_instances_oldest_seconds", awaits="end"): "0+60x100 0+60x50"}, 150),),
    ),
}

_SERVING: Final = {
    "NavarchReplicasPending": Case(
        fires=Fires(
            series={of("navarch_agent_pool_pending_replicas", agent_pool="default/chat"): "2x30"},
            at=21,
            not_before=19,
            labels={"agent_pool": "default/chat"},
            value="2",
        ),
        quiet=(
            (
                {
                    of(
                        "navarch_agent_pool_pending_replicas", agent_pool="default/chat"
                    ): "2x10 0 1x15"
                },
                25,
            ),
        ),
    ),
    "NavarchReplicasBlind": Case(
        fires=Fires(
            series={SIGNAL: "400x20"},
            at=11,
            not_before=9,
            labels={"agent_pool": "default/chat"},
            value="6m 40s",
        ),
        quiet=(({SIGNAL: "290x20"}, 20),),
    ),
    "NavarchPluginIsolated": Case(
        fires=Fires(
            series={of("navarch_plugin_isolated", **_PLUGIN): "1x20"},
            at=11,
            not_before=9,
            labels=_PLUGIN,
            value="1",
        ),
        quiet=(({of("navarch_plugin_isolated", **_PLUGIN): "1x5 stale"}, 15),),
    ),
    "NavarchPluginSlow": Case(
        fires=Fires(series=hung("timed out", "0+1x40"), at=17, not_before=14, labels=_PLUGIN),
        quiet=((hung("failed", "0+1x40"), 40), (hung("timed out", "0x5 1x40"), 20)),
    ),
}

CASES: Final[Mapping[str, Case]] = {
    **_CONTROL_PLANE,
    **_POOLS,
    **_HEALTH,
    **_PROVIDERS,
    **_SERVING,
    "NavarchCostAboveBudget": Case(
        fires=Fires(
            series={
                pool("pool_cost_dollars_per_hour"): "800x40",
                of("navarch_pool_cost_dollars_per_hour", pool="serve"): "300x40",
            },
            at=31,
            not_before=29,
            value="1.1k",
        ),
        quiet=(({pool("pool_cost_dollars_per_hour"): "900x40"}, 40),),
    ),
}
