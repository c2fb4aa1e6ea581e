"""Alerts about money."""

from __future__ import annotations

from typing import Final

from navarch.monitoring.recordings import COST
from navarch.monitoring.rules import Alert, Chosen

BOARD: Final = "navarch-cost"


def alerts(chosen: Chosen) -> tuple[Alert, ...]:
    """Give the alert about what the whole fleet costs."""
    most = f"{chosen.dollars_per_hour_max:.12g}"
    return (
        Alert(
            name="NavarchCostAboveBudget",
            severity="warning",
            expr=f"sum by (job) ({COST}) > {most}",
            lasts="30m",
            summary="{{ $labels.job }} costs {{ $value | humanize }} dollars an hour",
            description="{{ $labels.job }} has cost more than " + most + " dollars an hour for 30"
            " minutes, now {{ $value | humanize }}. Machines without a known price are not in it.",
            board=BOARD,
        ),
    )
