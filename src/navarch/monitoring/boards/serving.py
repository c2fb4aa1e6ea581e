"""Replicas of agents, and the plugins that place and scale them."""

from __future__ import annotations

from typing import Final

from navarch.monitoring import recordings
from navarch.monitoring.boards.expressions import JOB, happened, rates
from navarch.monitoring.grafana import BLUE, GREEN, ORANGE, RED, Board, Panel, Query, Row

_REPLICAS: Final = (
    Panel(
        title="Pools of agents",
        about="Replicas that are wanted, that there are, and that have no place.",
        queries=tuple(
            Query(f"max by (agent_pool) ({series}{{{JOB}}})")
            for series in (
                "navarch_agent_pool_target_replicas",
                "navarch_agent_pool_replicas",
                "navarch_agent_pool_pending_replicas",
            )
        ),
        kind="table",
        width=12,
        named={
            "agent_pool": "Pool of agents",
            "Value #A": "Wanted",
            "Value #B": "There",
            "Value #C": "Without a place",
        },
    ),
    Panel(
        title="Replicas",
        about="Placed on a node, or waiting for one.",
        queries=(Query(f"max by (state) (navarch_replicas{{{JOB}}})", "{{state}}"),),
        stacked=True,
        width=12,
        colours={"placed": GREEN, "pending": ORANGE},
    ),
    Panel(
        title="Wanted",
        about="By bounds, autoscalers and what the load needs.",
        queries=(
            Query(
                f"max by (agent_pool) (navarch_agent_pool_target_replicas{{{JOB}}})",
                "{{agent_pool}}",
            ),
        ),
    ),
    Panel(
        title="Without a place",
        about="`navarch explain replica` says why; pools of machines grow for them.",
        queries=(
            Query(
                f"max by (agent_pool) (navarch_agent_pool_pending_replicas{{{JOB}}})",
                "{{agent_pool}}",
            ),
        ),
        alerts=("NavarchReplicasPending",),
    ),
    Panel(
        title="Age of signals",
        about="How old the readings are by which replicas are scaled.",
        queries=(
            Query(
                f"max by (agent_pool, signal) (navarch_agent_pool_signal_age_seconds{{{JOB}}})",
                "{{agent_pool}} {{signal}}",
            ),
        ),
        unit="s",
        width=12,
        steps=((300, RED),),
        alerts=("NavarchReplicasBlind",),
    ),
    Panel(
        title="What happens to replicas",
        about="Facts of the journal, a second.",
        queries=(rates("navarch_journal_facts_total", "kind", f'{JOB}, kind=~"replica_.+"'),),
        unit="ops",
        width=12,
    ),
)

_PLUGINS: Final = (
    Panel(
        title="Duration of plugins",
        about="What 99% of the calls of a plugin take at most.",
        queries=(Query(f"{recordings.PLUGIN}{{{JOB}}}", "{{kind}} {{plugin_name}}"),),
        unit="s",
    ),
    Panel(
        title="Calls of plugins",
        about="A second, by plugin and method.",
        queries=(rates("navarch_plugin_duration_seconds_count", "kind, plugin_name, point"),),
        unit="ops",
    ),
    Panel(
        title="Plugins that fail",
        about="Within the last hour: raised, took too long, or were not asked because of that.",
        queries=(happened("navarch_plugin_failures_total", "kind, plugin_name, outcome"),),
        alerts=("NavarchPluginSlow", "NavarchPluginIsolated"),
    ),
    Panel(
        title="Plugins that are left alone",
        about="They only fail; what stands in for them is their on_error.",
        queries=(
            Query(
                f"sum(navarch_plugin_isolated{{{JOB}}}) or 0 * sum(navarch_leader{{{JOB}}})",
            ),
        ),
        kind="stat",
        width=6,
        steps=((1, RED),),
        alerts=("NavarchPluginIsolated",),
    ),
    Panel(
        title="Plugins in shadow",
        about="Answers without effect within the last hour, beside those that counted.",
        queries=(
            Query(
                "sum by (kind, plugin_name, verdict)"
                f" (increase(navarch_plugin_shadow_answers_total{{{JOB}}}[1h]))",
                "{{kind}} {{plugin_name}} {{verdict}}",
            ),
        ),
        width=18,
        colours={"same": GREEN, "different": ORANGE, "failed": RED, "skipped": BLUE},
    ),
)

BOARD: Final = Board(
    uid="navarch-serving",
    title="Navarch: Serving",
    about="Replicas of agents: how many, where they wait, and who decides.",
    rows=(Row("Replicas", _REPLICAS), Row("Plugins", _PLUGINS)),
)
