"""The whole fleet at a glance: is anything wrong, and where."""

from __future__ import annotations

from typing import Final

from navarch.monitoring import recordings
from navarch.monitoring.boards.expressions import JOB, PROVIDER, happened, total
from navarch.monitoring.grafana import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    YELLOW,
    Board,
    Panel,
    Query,
    Row,
)
from navarch.monitoring.grafana import (
    PROVIDER as PROVIDERS,
)

_NOW: Final = (
    Panel(
        title="Leader",
        about="How many control planes lead. It has to be one.",
        queries=(Query(f"sum(navarch_leader{{{JOB}}})"),),
        kind="stat",
        width=3,
        height=4,
        texts={0: "none", 1: "one"},
        steps=((0, RED), (1, GREEN), (2, RED)),
        alerts=("NavarchDown", "NavarchInstanceDown", "NavarchNoLeader", "NavarchTwoLeaders"),
    ),
    Panel(
        title="Healthy nodes",
        about="Nodes that serve: registered, heard, not unhealthy and not leaving.",
        queries=(total("navarch_pool_healthy_nodes"),),
        kind="stat",
        width=3,
        height=4,
    ),
    Panel(
        title="Missing nodes",
        about="Healthy nodes that pools want and do not have.",
        queries=(Query(f"sum({recordings.MISSING}{{{JOB}}})"),),
        kind="stat",
        width=3,
        height=4,
        steps=((1, ORANGE),),
        alerts=("NavarchPoolBelowMin", "NavarchPoolBelowTarget"),
    ),
    Panel(
        title="Silent nodes",
        about="Nodes that were silent for so long that they count as lost.",
        queries=(total("navarch_pool_lost_nodes"),),
        kind="stat",
        width=3,
        height=4,
        steps=((1, RED),),
        alerts=("NavarchNodesLost",),
    ),
    Panel(
        title="Repair halted",
        about="Pools whose repair has stopped itself and waits for a person.",
        queries=(total("navarch_breaker_open"),),
        kind="stat",
        width=3,
        height=4,
        steps=((1, RED),),
        alerts=("NavarchBreakerOpen",),
    ),
    Panel(
        title="Wait for a person",
        about="Nodes for which repair has nothing left to try.",
        queries=(total("navarch_pool_handed_over_nodes"),),
        kind="stat",
        width=3,
        height=4,
        steps=((1, ORANGE),),
        alerts=("NavarchNodesHandedOver",),
    ),
    Panel(
        title="GPU time lost",
        about="The share of the paid GPU time that was booting, sick or silent within an hour.",
        queries=(Query(f"{recordings.GPU_LOST}{{{JOB}}}"),),
        kind="stat",
        unit="percentunit",
        width=3,
        height=4,
        steps=((0.05, YELLOW), (0.2, RED)),
        alerts=("NavarchGpuTimeLost",),
    ),
    Panel(
        title="Dollars an hour",
        about="What all machines with a known price cost now.",
        queries=(Query(f"sum({recordings.COST}{{{JOB}}})"),),
        kind="stat",
        unit="currencyUSD",
        width=3,
        height=4,
        alerts=("NavarchCostAboveBudget",),
    ),
)

_POOLS: Final = Panel(
    title="Pools",
    about="One line a pool; the page Pool has its history.",
    queries=tuple(
        Query(f"max by (pool) ({series}{{{JOB}}})")
        for series in (
            "navarch_pool_target_nodes",
            "navarch_pool_current_nodes",
            "navarch_pool_healthy_nodes",
            "navarch_pool_booting_nodes",
            "navarch_pool_lost_nodes",
            "navarch_pool_unhealthy_nodes",
            "navarch_breaker_open",
            recordings.COST,
        )
    ),
    kind="table",
    width=14,
    height=9,
    named={
        "pool": "Pool",
        "Value #A": "Target",
        "Value #B": "Machines",
        "Value #C": "Healthy",
        "Value #D": "Booting",
        "Value #E": "Silent",
        "Value #F": "Unhealthy",
        "Value #G": "Repair halted",
        "Value #H": "Dollars an hour",
    },
)

_ALERTS: Final = Panel(
    title="Alerts",
    about="What is pending or fires. The name leads to the runbook.",
    queries=(
        Query(
            "max by (alertname, alertstate, severity, pool, provider)"
            f' (ALERTS{{alertname=~"Navarch.+", {JOB}}})'
        ),
    ),
    kind="table",
    width=10,
    height=9,
    hidden=("Value",),
    named={
        "alertname": "Alert",
        "alertstate": "State",
        "severity": "Severity",
        "pool": "Pool",
        "provider": "Provider",
    },
)

_NODES: Final = (
    Panel(
        title="Nodes by status",
        about="Registered nodes, by the status that `navarch list` shows.",
        queries=(
            Query(
                f"sum by (status) (max by (pool, status) (navarch_nodes{{{JOB}}}))", "{{status}}"
            ),
        ),
        stacked=True,
        width=12,
        colours={
            "active": GREEN,
            "cordoned": BLUE,
            "draining": YELLOW,
            "unhealthy": RED,
            "terminated": GREY,
        },
    ),
    Panel(
        title="Machines that something is waited for",
        about="Their registration, end, replacement, interruption, release, or certainty.",
        queries=(Query(f"max by (awaits) (navarch_instances{{{JOB}}})", "{{awaits}}"),),
        width=12,
    ),
    Panel(
        title="The longest wait of a machine",
        about="For how long the oldest of them has waited.",
        queries=(
            Query(f"max by (awaits) (navarch_instances_oldest_seconds{{{JOB}}})", "{{awaits}}"),
        ),
        unit="s",
        width=12,
        alerts=("NavarchMachinesNotEnding", "NavarchLaunchesUncertain"),
    ),
)

_PROVIDERS: Final = (
    Panel(
        title="Launches by outcome",
        about="Answers of providers to orders of machines, within the last hour.",
        queries=(happened("navarch_provisions_total", "provider, outcome", PROVIDER),),
        alerts=("NavarchNothingToBuy", "NavarchProviderUnauthorized"),
    ),
    Panel(
        title="Time to a node",
        about="What 90% of machines take at most from the order to their registration.",
        queries=(Query(f"{recordings.BOOT}{{{PROVIDER}}}", "{{provider}}"),),
        unit="s",
        alerts=("NavarchMachinesDoNotLast",),
    ),
    Panel(
        title="Calls that fail",
        about="The share of calls that fail for other reasons than lack of stock or quota.",
        queries=(Query(f"{recordings.CALL_FAILURES}{{{PROVIDER}}}", "{{provider}}"),),
        unit="percentunit",
        maximum=1,
        steps=((0.5, RED),),
        alerts=("NavarchProviderFailing",),
    ),
    Panel(
        title="Duration of calls",
        about="What 90% of the calls of a provider take at most, in 15 minutes.",
        queries=(Query(f"{recordings.CALL}{{{PROVIDER}}}", "{{provider}} {{call}}"),),
        unit="s",
        width=12,
    ),
    Panel(
        title="Failures of calls",
        about="Failed calls within the last hour, by error.",
        queries=(
            happened("navarch_provider_call_failures_total", "provider, call, error", PROVIDER),
        ),
        width=12,
    ),
)

BOARD: Final = Board(
    uid="navarch-fleet",
    title="Navarch: Fleet overview",
    about="Is anything wrong with the fleet, and where?",
    variables=(PROVIDERS,),
    rows=(
        Row("Now", _NOW),
        Row("Pools and alerts", (_POOLS, _ALERTS)),
        Row("Nodes", _NODES),
        Row("Providers", _PROVIDERS),
    ),
)
