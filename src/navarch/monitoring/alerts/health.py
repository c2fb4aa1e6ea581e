"""Alerts about nodes that fall ill or silent, and about repair that does not get on."""

from __future__ import annotations

from typing import Final

from navarch.monitoring.recordings import GPU_LOST
from navarch.monitoring.rules import Alert, Chosen

BOARD: Final = "navarch-health"
BY_POOL: Final = "max by (job, pool)"
LOST: Final = f"{BY_POOL} (navarch_pool_lost_nodes)"
USED: Final = f"{BY_POOL} (navarch_disruption_budget_used_nodes)"
ALLOWED: Final = f"{BY_POOL} (navarch_disruption_budget_nodes)"


def alerts(chosen: Chosen) -> tuple[Alert, ...]:
    """Give the alerts about lost nodes, repair, and the time that is lost by both."""
    return (
        Alert(
            name="NavarchNodesLost",
            severity="critical",
            expr=f"({LOST} >= 2)\nand ({LOST} / {BY_POOL} (navarch_pool_current_nodes) > 0.1)",
            lasts="5m",
            summary="{{ $value }} nodes of pool {{ $labels.pool }} are silent",
            description="{{ $value }} nodes, more than a tenth of pool {{ $labels.pool }} of"
            " {{ $labels.job }}, have been lost for 5 minutes. So many at once are rather a"
            " network, a region or the agents than their hardware.",
            board=BOARD,
            by_pool=True,
        ),
        Alert(
            name="NavarchBreakerOpen",
            severity="critical",
            expr=f"{BY_POOL} (navarch_breaker_open) == 1",
            lasts="5m",
            summary="Repair of pool {{ $labels.pool }} has stopped itself",
            description="So much of pool {{ $labels.pool }} of {{ $labels.job }} is silent or ill"
            " at once that repair has waited for a person for 5 minutes. Sick nodes stay where they"
            " are until the trouble is over or somebody acknowledges it.",
            board=BOARD,
            by_pool=True,
        ),
        Alert(
            name="NavarchBudgetExhausted",
            severity="warning",
            expr=f"({USED} >= {ALLOWED})\nand {ALLOWED} > 0",
            lasts="1h",
            summary="The disruption budget of pool {{ $labels.pool }} is used up",
            description="{{ $value }} nodes of pool {{ $labels.pool }} of {{ $labels.job }} have"
            " been out for repair for an hour, which is all that its budget allows. Further sick"
            " nodes wait.",
            board=BOARD,
            by_pool=True,
        ),
        Alert(
            name="NavarchNodesHandedOver",
            severity="warning",
            expr=f"{BY_POOL} (navarch_pool_handed_over_nodes) > 0",
            lasts="15m",
            summary="{{ $value }} nodes of pool {{ $labels.pool }} wait for a person",
            description="Nothing that repair may do is left to try for {{ $value }} nodes of pool"
            " {{ $labels.pool }} of {{ $labels.job }}. They are paid for and do not serve.",
            board=BOARD,
            by_pool=True,
        ),
        Alert(
            name="NavarchGpuTimeLost",
            severity="warning",
            expr=f"{GPU_LOST} > {chosen.lost_share_max:g}",
            lasts="1h",
            summary="{{ $value | humanizePercentage }} of the paid GPU time is lost",
            description="Of the GPU time that {{ $labels.job }} pays for"
            " {{ $value | humanizePercentage }} was booting, sick or silent within the last hour,"
            " for an hour.",
            board=BOARD,
        ),
    )
