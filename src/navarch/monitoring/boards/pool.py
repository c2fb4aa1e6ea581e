"""One pool, or several beside each other: what it wants, what it has, and why."""

from __future__ import annotations

from typing import Final

from navarch.monitoring import recordings
from navarch.monitoring.boards.expressions import OUTCOMES, POOL, happened, of_pools
from navarch.monitoring.grafana import BLUE, GREEN, ORANGE, RED, Board, Panel, Query, Row
from navarch.monitoring.grafana import POOL as POOLS

_SIZE: Final = (
    Panel(
        title="Wanted and there",
        about="Nodes that the pool wants, the machines that it counts on, and the healthy ones.",
        queries=(
            of_pools("navarch_pool_target_nodes", "{{pool}} target"),
            of_pools("navarch_pool_current_nodes", "{{pool}} machines"),
            of_pools("navarch_pool_healthy_nodes", "{{pool}} healthy"),
            of_pools("navarch_pool_booting_nodes", "{{pool}} booting"),
        ),
        width=16,
        height=10,
        alerts=("NavarchPoolBelowTarget", "NavarchNothingToBuy"),
    ),
    Panel(
        title="Limits",
        about="The fewest and the most nodes that the configuration allows.",
        queries=(
            of_pools("navarch_pool_min_nodes", "{{pool}} min"),
            of_pools("navarch_pool_target_nodes", "{{pool}} target"),
            of_pools("navarch_pool_max_nodes", "{{pool}} max"),
        ),
        height=10,
        alerts=("NavarchPoolBelowMin",),
    ),
    Panel(
        title="Healthy for each wanted node",
        about="1 is all; below, something is missing.",
        queries=(Query(f"{recordings.HEALTHY_SHARE}{{{POOL}}}", "{{pool}}"),),
        unit="percentunit",
    ),
    Panel(
        title="Rounds of launches without a lasting node",
        about="In a row. Machines that do not register in time, or vanish, make one each round.",
        queries=(of_pools("navarch_pool_launch_failures"),),
        steps=((3, RED),),
        alerts=("NavarchMachinesDoNotLast",),
    ),
    Panel(
        title="Paused",
        about="Whether an operator has stopped buying, repairing and scaling.",
        queries=(of_pools("navarch_pool_paused"),),
        texts={0: "no", 1: "paused"},
        maximum=1,
    ),
)

_DEMAND: Final = (
    Panel(
        title="Waiting jobs",
        about="Demand by the newest fresh signal; no line without one.",
        queries=(of_pools("navarch_pool_demand_jobs"),),
    ),
    Panel(
        title="Utilization",
        about="By the newest fresh signal; no line without one.",
        queries=(of_pools("navarch_pool_utilization_ratio"),),
        unit="percentunit",
        maximum=1,
    ),
    Panel(
        title="Age of signals",
        about="How old the readings are by which the pool is scaled.",
        queries=(
            Query(
                f"max by (pool, signal, source) (navarch_signal_age_seconds{{{POOL}}})",
                "{{pool}} {{signal}} of {{source}}",
            ),
        ),
        unit="s",
        steps=((300, RED),),
        alerts=("NavarchAutoscalerBlind",),
    ),
    Panel(
        title="Changes of the target",
        about="Within the last hour; `navarch explain pool` has the reason of each.",
        queries=(happened("navarch_scaling_decisions_total", "pool, direction", POOL),),
        width=12,
        colours={"up": GREEN, "down": BLUE},
    ),
    Panel(
        title="Evaluations without a fresh signal",
        about="Within the last hour: the metrics source failed, or what it gave was stale.",
        queries=(happened("navarch_signal_failures_total", "pool, source", POOL),),
        width=12,
        alerts=("NavarchAutoscalerBlind",),
    ),
)

_STATE: Final = (
    Panel(
        title="Nodes that are not well",
        about="Silent, unhealthy and degraded nodes, and those that wait for a person.",
        queries=(
            of_pools("navarch_pool_lost_nodes", "{{pool}} silent"),
            of_pools("navarch_pool_unhealthy_nodes", "{{pool}} unhealthy"),
            of_pools("navarch_pool_degraded_nodes", "{{pool}} degraded"),
            of_pools("navarch_pool_handed_over_nodes", "{{pool}} wait for a person"),
        ),
        alerts=("NavarchNodesLost", "NavarchNodesHandedOver"),
    ),
    Panel(
        title="Disruption budget",
        about="Nodes that are out for repair, how many may be, and how many more within this hour.",
        queries=(
            of_pools("navarch_disruption_budget_used_nodes", "{{pool}} used"),
            of_pools("navarch_disruption_budget_nodes", "{{pool}} allowed"),
            of_pools("navarch_disruption_budget_hour_left_nodes", "{{pool}} left within the hour"),
        ),
        alerts=("NavarchBudgetExhausted",),
    ),
    Panel(
        title="Breaker",
        about="Whether repair has stopped itself (open), or tries one node (half open).",
        queries=(
            of_pools("navarch_breaker_open", "{{pool}} open"),
            of_pools("navarch_breaker_half_open", "{{pool}} half open"),
        ),
        maximum=1,
        texts={0: "no", 1: "yes"},
        alerts=("NavarchBreakerOpen",),
    ),
)

_WORTH: Final = (
    Panel(
        title="GPUs by what is made of them",
        about="Good: busy on a healthy node. Idle: ready and not busy. Lost: paid for, and booting,"
        " sick or silent.",
        queries=(Query(f"sum by (use) ({recordings.GPU_USE}{{{POOL}}})", "{{use}}"),),
        stacked=True,
        width=12,
        colours=OUTCOMES,
    ),
    Panel(
        title="Dollars an hour",
        about="Machines whose price is known, booting and ending ones included.",
        queries=(Query(f"{recordings.COST}{{{POOL}}}", "{{pool}}"),),
        unit="currencyUSD",
        width=6,
    ),
    Panel(
        title="Machines without a price",
        about="They are missing in all that is said in dollars.",
        queries=(of_pools("navarch_pool_unpriced_nodes"),),
        width=6,
        steps=((1, ORANGE),),
    ),
)

BOARD: Final = Board(
    uid="navarch-pool",
    title="Navarch: Pool",
    about="What a pool wants, what it has, what it sees, and what that is worth.",
    variables=(POOLS,),
    rows=(
        Row("Size", _SIZE),
        Row("Demand", _DEMAND),
        Row("State", _STATE),
        Row("Worth", _WORTH),
    ),
)
