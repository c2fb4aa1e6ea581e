"""The measures that tell how a fleet does: pools, purchases, health, and what it costs."""

from __future__ import annotations

from typing import Final

from navarch.controlplane.described import BOOT_BOUNDS, CALL_BOUNDS, histogram, table

POOLS: Final = "Pools and nodes"
_POOLS: Final = table(
    POOLS,
    "gauge",
    ("navarch_nodes", "pool status", "Registered nodes."),
    ("navarch_instances", "awaits", "Machines that something is waited for."),
    (
        "navarch_instances_oldest_seconds",
        "awaits",
        "For how long the oldest machine that waits for something has waited.",
        "0 where none waits.",
    ),
    ("navarch_pool_target_nodes", "pool", "Nodes that a pool wants."),
    (
        "navarch_pool_current_nodes",
        "pool",
        "Machines that a pool counts on, booting ones included.",
    ),
    (
        "navarch_pool_booting_nodes",
        "pool",
        "Machines whose agents have not registered yet.",
        "From the moment in which they are asked for.",
    ),
    (
        "navarch_pool_healthy_nodes",
        "pool",
        "Nodes that give what they were bought for: heard, not unhealthy, not leaving.",
    ),
    ("navarch_pool_degraded_nodes", "pool", "Nodes that are degraded by their verdict."),
    ("navarch_pool_unhealthy_nodes", "pool", "Nodes that are unhealthy by their verdict."),
    ("navarch_pool_lost_nodes", "pool", "Nodes that were silent for too long."),
    ("navarch_pool_handed_over_nodes", "pool", "Nodes that a person has to look at."),
    ("navarch_pool_min_nodes", "pool", "The least nodes that a pool may have."),
    ("navarch_pool_max_nodes", "pool", "The most nodes that a pool may have."),
    ("navarch_pool_paused", "pool", "Whether an operator has paused a pool: 1 or 0."),
    (
        "navarch_pool_launch_failures",
        "pool",
        "Rounds of launches in a row that gave no lasting node.",
        "Forgotten 15 minutes after the last one.",
    ),
)

SCALING: Final = "Scaling"
_SCALING: Final = (
    *table(
        SCALING,
        "gauge",
        (
            "navarch_pool_utilization_ratio",
            "pool",
            "Mean utilization of the GPUs of a pool by its heartbeats, from 0 to 1.",
            "Looked at every 15 s; absent where no node has sent a fresh sample.",
        ),
        (
            "navarch_pool_demand_jobs",
            "pool",
            "Jobs that wait to run, by the newest fresh reading of the pool's metrics source.",
            "Absent where there is none: for pools that nothing scales, too.",
        ),
        (
            "navarch_signal_age_seconds",
            "pool signal source",
            "Since when the newest good reading of a signal was true.",
            "It grows while a source fails or is silent. Only for pools that something scales.",
        ),
        (
            "navarch_agent_pool_signal_age_seconds",
            "agent_pool signal",
            "Since when the newest good value of a signal of a pool of agents was true.",
            "Only for signals that were good once.",
        ),
    ),
    *table(
        SCALING,
        "counter",
        (
            "navarch_signal_failures_total",
            "pool source",
            "Evaluations in which a reading of a metrics source was stale or an error.",
        ),
        ("navarch_scaling_decisions_total", "pool direction", "Changes of what a pool wants."),
    ),
)

PROVIDERS: Final = "Providers"
_PROVIDERS: Final = (
    *table(
        PROVIDERS,
        "counter",
        (
            "navarch_provisions_total",
            "provider outcome",
            "Launches by what became of them.",
            (
                "`launched`, `no_capacity`, `quota_exceeded`, `throttled`, `unauthorized`, "
                "`invalid_request`, `not_found`, `unavailable`, `outcome_unknown`, `other`. One "
                "that was `outcome_unknown` may be `launched` later, when a list has it."
            ),
        ),
        (
            "navarch_provider_call_failures_total",
            "provider call error",
            "Calls of providers that failed.",
            "That a machine to be ended does not exist any more is no failure.",
        ),
        (
            "navarch_interruptions_total",
            "provider",
            "Machines that their providers said they will take away.",
        ),
    ),
    histogram(
        PROVIDERS,
        "navarch_provider_call_duration_seconds",
        "provider call",
        "How long calls of providers took, failed ones too.",
        "Without the wait for the pace that the provider bears.",
        CALL_BOUNDS,
    ),
    histogram(
        PROVIDERS,
        "navarch_boot_duration_seconds",
        "provider",
        "From the wish for a machine to the first word of its agent.",
        "",
        BOOT_BOUNDS,
    ),
)

HEALTH: Final = "Health and repair"
_HEALTH: Final = (
    *table(
        HEALTH,
        "counter",
        (
            "navarch_health_verdicts_total",
            "rule status",
            "Verdicts over nodes, by the rule that decided.",
            "A verdict is given when a report says something new.",
        ),
        ("navarch_nodes_lost_total", "pool", "How often a node fell silent."),
        (
            "navarch_repairs_total",
            "rung outcome",
            "Repairs by rung and by how they went.",
            (
                "`started`, `succeeded`, `failed`, `revoked`, and `withheld` in a pool that is a "
                "dry run. Of `replace`: started is condemned, succeeded is gone, revoked is kept "
                "after all. Of `inspect`: started is handed over to a person."
            ),
        ),
    ),
    *table(
        HEALTH,
        "gauge",
        (
            "navarch_disruption_budget_nodes",
            "pool",
            "How many nodes of a pool may be under repair at one time.",
        ),
        (
            "navarch_disruption_budget_used_nodes",
            "pool",
            "How many nodes of a pool are under repair or being replaced.",
        ),
        (
            "navarch_disruption_budget_hour_left_nodes",
            "pool",
            "How many more nodes of a pool may be taken on for repair within this hour.",
        ),
        (
            "navarch_breaker_open",
            "pool",
            "Whether repair of a pool is halted: 1 or 0.",
        ),
        (
            "navarch_breaker_half_open",
            "pool",
            "Whether repair of a pool tries one node, after it was halted: 1 or 0.",
        ),
    ),
)

COST: Final = "Use and cost"
_COST: Final = (
    *table(
        COST,
        "counter",
        (
            "navarch_gpu_seconds_total",
            "pool use",
            "Time of GPUs that were paid for, since this process leads; 0 at its start.",
            (
                "`good`: of a node that is heard and not unhealthy, with a utilization of 5% or "
                "more; `idle`: less; `lost`: silent, unhealthy, under repair, booting or ending; "
                "`unknown`: no fresh sample. Looked at every 15 s, and whenever a node changes. A "
                "machine that boots counts when one of its type has registered before."
            ),
        ),
        (
            "navarch_cost_dollars_total",
            "pool provider",
            "What machines with a known price have cost, since this process leads; 0 at its start.",
        ),
    ),
    *table(
        COST,
        "gauge",
        (
            "navarch_pool_cost_dollars_per_hour",
            "pool",
            "What the machines of a pool cost in an hour, those without a known price left out.",
            "By the price lists of the providers; absent where no price is known.",
        ),
        (
            "navarch_pool_unpriced_nodes",
            "pool",
            "Machines that we bought and whose price is not known.",
        ),
    ),
)

ROWS: Final = (*_POOLS, *_SCALING, *_PROVIDERS, *_HEALTH, *_COST)
"""All of them."""
