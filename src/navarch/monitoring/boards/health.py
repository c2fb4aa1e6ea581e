"""What falls ill, what is done about it, and what that costs."""

from __future__ import annotations

from typing import Final

from navarch.monitoring import recordings
from navarch.monitoring.boards.expressions import JOB, POOL, happened, of_pools
from navarch.monitoring.grafana import ORANGE, RED, YELLOW, Board, Panel, Query, Row
from navarch.monitoring.grafana import POOL as POOLS

_NODES: Final = (
    Panel(
        title="Silent nodes",
        about="Nodes that count as lost. Many at once are rather a network than their hardware.",
        queries=(of_pools("navarch_pool_lost_nodes"),),
        width=6,
        alerts=("NavarchNodesLost",),
    ),
    Panel(
        title="Unhealthy nodes",
        about="By the verdict of the health policy.",
        queries=(of_pools("navarch_pool_unhealthy_nodes"),),
        width=6,
    ),
    Panel(
        title="Degraded nodes",
        about="By the verdict of the health policy; they go on serving.",
        queries=(of_pools("navarch_pool_degraded_nodes"),),
        width=6,
    ),
    Panel(
        title="Wait for a person",
        about="Nothing that repair may do is left to try.",
        queries=(of_pools("navarch_pool_handed_over_nodes"),),
        width=6,
        alerts=("NavarchNodesHandedOver",),
    ),
)

_VERDICTS: Final = (
    Panel(
        title="Verdicts by rule",
        about="Verdicts that were not healthy, within the last hour, by the gravest rule.",
        queries=(
            happened(
                "navarch_health_verdicts_total",
                "rule, status",
                f'{JOB}, rule!=""',
            ),
        ),
        width=12,
    ),
    Panel(
        title="Verdicts by status",
        about="All verdicts of the last hour.",
        queries=(happened("navarch_health_verdicts_total", "status"),),
        width=6,
        colours={"healthy": "green", "degraded": YELLOW, "unhealthy": RED},
    ),
    Panel(
        title="Nodes that fell silent",
        about="How often, within the last hour.",
        queries=(happened("navarch_nodes_lost_total", "pool", POOL),),
        width=6,
        alerts=("NavarchNodesLost",),
    ),
)

_REPAIR: Final = (
    Panel(
        title="Repairs",
        about="Within the last hour, by rung of the ladder and outcome.",
        queries=(happened("navarch_repairs_total", "rung, outcome"),),
        width=12,
    ),
    Panel(
        title="Budget in use",
        about="The share of the nodes that may be out for repair which is out now.",
        queries=(
            Query(
                f"max by (pool) (navarch_disruption_budget_used_nodes{{{POOL}}})"
                f" / (max by (pool) (navarch_disruption_budget_nodes{{{POOL}}}) > 0)",
                "{{pool}}",
            ),
        ),
        unit="percentunit",
        width=6,
        steps=((1, ORANGE),),
        alerts=("NavarchBudgetExhausted",),
    ),
    Panel(
        title="Breaker",
        about="Open: repair has stopped itself. Half open: it tries one node.",
        queries=(
            of_pools("navarch_breaker_open", "{{pool}} open"),
            of_pools("navarch_breaker_half_open", "{{pool}} half open"),
        ),
        width=6,
        maximum=1,
        texts={0: "no", 1: "yes"},
        alerts=("NavarchBreakerOpen",),
    ),
    Panel(
        title="Interruptions",
        about="Machines that providers said they take away, within the last hour.",
        queries=(happened("navarch_interruptions_total", "provider"),),
    ),
    Panel(
        title="Machines that repair and providers take away",
        about="Condemned ones wait for their replacement, interrupted ones for their end.",
        queries=(
            Query(
                f'max by (awaits) (navarch_instances{{{JOB}, awaits=~"replacement|interruption"}})',
                "{{awaits}}",
            ),
        ),
    ),
    Panel(
        title="GPU time lost",
        about="The share of the paid GPU time that was booting, sick or silent within an hour.",
        queries=(Query(f"{recordings.GPU_LOST_POOL}{{{POOL}}}", "{{pool}}"),),
        unit="percentunit",
        steps=((0.2, RED),),
        alerts=("NavarchGpuTimeLost",),
    ),
)

BOARD: Final = Board(
    uid="navarch-health",
    title="Navarch: Health and repair",
    about="What falls ill, what is done about it, and what holds it back.",
    variables=(POOLS,),
    rows=(
        Row("Nodes that are not well", _NODES),
        Row("Verdicts", _VERDICTS),
        Row("Repair", _REPAIR),
    ),
)
