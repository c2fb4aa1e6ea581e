"""Alerts about pools that have not what they want."""

from __future__ import annotations

from typing import Final

from navarch.monitoring.recordings import LAUNCHED, MISSING, REFUSED
from navarch.monitoring.rules import Alert, led

BOARD: Final = "navarch-pool"
BY_POOL: Final = "max by (job, pool)"
PAUSED: Final = f"unless ({BY_POOL} (navarch_pool_paused) == 1)"
BELOW_MIN: Final = f"{BY_POOL} (navarch_pool_min_nodes) - {BY_POOL} (navarch_pool_healthy_nodes)"

_FAILS: Final = f"sum by (job, pool) {led('increase(navarch_signal_failures_total[10m])')} > 0"
_AGE: Final = f"max by (job) (time() - {led('process_start_time_seconds')})"
_NEVER: Final = (
    f"(\n  0 * ({_FAILS})\n  + on (job) group_left () {_AGE}"
    f"\n  unless {BY_POOL} (navarch_signal_age_seconds)\n)"
)
"""Since when a pool is without a signal that never had a good one: since the process began."""


def alerts() -> tuple[Alert, ...]:
    """Give the alerts about sizes of pools, and about what their autoscalers see."""
    return (*_sizes(), *_supply())


def _sizes() -> tuple[Alert, ...]:
    return (
        Alert(
            name="NavarchPoolBelowMin",
            severity="critical",
            expr=f"({BELOW_MIN} > 0)\n{PAUSED}",
            lasts="15m",
            summary="Pool {{ $labels.pool }} has {{ $value }} healthy nodes too few",
            description="Pool {{ $labels.pool }} of {{ $labels.job }} has been {{ $value }} healthy"
            " nodes below its min_nodes for 15 minutes, and is not paused.",
            board=BOARD,
            by_pool=True,
        ),
        Alert(
            name="NavarchPoolBelowTarget",
            severity="warning",
            expr=f"({MISSING} > 0)\n{PAUSED}\nunless ({BELOW_MIN} > 0)",
            lasts="30m",
            summary="Pool {{ $labels.pool }} lacks {{ $value }} nodes of its target",
            description="Pool {{ $labels.pool }} of {{ $labels.job }} has had {{ $value }} healthy"
            " nodes less than it wants for 30 minutes. It is not paused, and has its min_nodes.",
            board=BOARD,
            by_pool=True,
        ),
    )


def _supply() -> tuple[Alert, ...]:
    sold_out = f"on (job) (count by (job) ({REFUSED}))"
    sold = f"on (job) (count by (job) ({LAUNCHED}))"
    return (
        Alert(
            name="NavarchNothingToBuy",
            severity="critical",
            expr=f"({MISSING} > 0)\n{PAUSED}\nand {sold_out}\nunless {sold}",
            lasts="15m",
            summary="Nothing can be bought for pool {{ $labels.pool }}",
            description="Pool {{ $labels.pool }} of {{ $labels.job }} lacks {{ $value }} nodes;"
            " providers have refused for want of stock or quota, and none has sold anything for"
            " half an hour.",
            board=BOARD,
            by_pool=True,
        ),
        Alert(
            name="NavarchMachinesDoNotLast",
            severity="warning",
            expr=f"{BY_POOL} (navarch_pool_launch_failures) >= 3",
            lasts="5m",
            summary="Machines bought for pool {{ $labels.pool }} do not become nodes",
            description="{{ $value }} rounds of launches in a row for pool {{ $labels.pool }} of"
            " {{ $labels.job }} gave no lasting node: machines did not register in time, or"
            " vanished. They are paid for, and the pool waits longer after each round.",
            board=BOARD,
            by_pool=True,
        ),
        Alert(
            name="NavarchAutoscalerBlind",
            severity="warning",
            expr=f"{BY_POOL} {led('navarch_signal_age_seconds')} > 300\nor {_NEVER} > 300",
            lasts="10m",
            summary="Pool {{ $labels.pool }} is scaled without fresh signals",
            description="There have been no good signals of pool {{ $labels.pool }} of"
            " {{ $labels.job }} for {{ $value | humanizeDuration }}. It is scaled neither up nor"
            " down until its metrics source answers again.",
            board=BOARD,
            by_pool=True,
        ),
    )
