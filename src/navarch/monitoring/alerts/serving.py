"""Alerts about replicas of agents and about plugins."""

from __future__ import annotations

from typing import Final

from navarch.monitoring.rules import Alert, grew

BOARD: Final = "navarch-serving"


def alerts() -> tuple[Alert, ...]:
    """Give the alerts about replicas that have no place, and plugins that do not answer."""
    hung = grew('navarch_plugin_failures_total{outcome="timed out"}', "10m")
    return (
        Alert(
            name="NavarchReplicasPending",
            severity="warning",
            expr="max by (job, agent_pool) (navarch_agent_pool_pending_replicas) > 0",
            lasts="20m",
            summary="{{ $value }} replicas of {{ $labels.agent_pool }} have no place",
            description="{{ $value }} replicas of {{ $labels.agent_pool }} of {{ $labels.job }}"
            " have waited for a node for 20 minutes, which is longer than a new machine takes.",
            board=BOARD,
        ),
        Alert(
            name="NavarchReplicasBlind",
            severity="warning",
            expr="max by (job, agent_pool) (navarch_agent_pool_signal_age_seconds) > 300",
            lasts="10m",
            summary="{{ $labels.agent_pool }} is scaled without fresh signals",
            description="There have been no good signals of {{ $labels.agent_pool }} of"
            " {{ $labels.job }} for {{ $value | humanizeDuration }}. Its number of replicas is held"
            " until somebody tells its load again.",
            board=BOARD,
        ),
        Alert(
            name="NavarchPluginIsolated",
            severity="warning",
            expr="max by (job, kind, plugin_name) (navarch_plugin_isolated) == 1",
            lasts="10m",
            summary="Plugin {{ $labels.plugin_name }} is left alone because it only fails",
            description="The {{ $labels.kind }} {{ $labels.plugin_name }} of {{ $labels.job }} has"
            " failed so often that it has not been asked for 10 minutes; what stands in for it is"
            " its on_error.",
            board=BOARD,
        ),
        Alert(
            name="NavarchPluginSlow",
            severity="warning",
            expr=f"count by (job, kind, plugin_name) {hung}",
            lasts="15m",
            summary="Plugin {{ $labels.plugin_name }} does not answer in time",
            description="Calls of the {{ $labels.kind }} {{ $labels.plugin_name }} of"
            " {{ $labels.job }} have passed their deadline for 15 minutes; whoever asked has waited"
            " for nothing.",
            board=BOARD,
        ),
    )
