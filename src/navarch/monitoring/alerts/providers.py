"""Alerts about those who sell machines."""

from __future__ import annotations

from typing import Final

from navarch.monitoring.recordings import CALL_FAILURES
from navarch.monitoring.rules import Alert, grew

BOARD: Final = "navarch-fleet"


def alerts() -> tuple[Alert, ...]:
    """Give the alerts about credentials, failing calls, and machines nobody is sure of."""
    refused = grew('navarch_provider_call_failures_total{error="unauthorized"}', "15m")
    return (
        Alert(
            name="NavarchProviderUnauthorized",
            severity="critical",
            expr=f"count by (job, provider) {refused}",
            lasts="2m",
            summary="{{ $labels.provider }} refuses our credentials",
            description="{{ $labels.provider }} has refused calls of {{ $labels.job }} as"
            " unauthorized within the last 15 minutes. Machines there are neither bought nor ended"
            " nor seen, and cost on.",
            board=BOARD,
        ),
        Alert(
            name="NavarchProviderFailing",
            severity="warning",
            expr=f"{CALL_FAILURES} > 0.5",
            lasts="15m",
            summary="{{ $value | humanizePercentage }} of the calls of {{ $labels.provider }} fail",
            description="{{ $value | humanizePercentage }} of what {{ $labels.job }} asks of"
            " {{ $labels.provider }} has failed for 15 minutes, lack of stock and quota aside.",
            board=BOARD,
        ),
        Alert(
            name="NavarchLaunchesUncertain",
            severity="warning",
            expr=_waiting("certainty"),
            lasts="30m",
            summary="{{ $value }} launches have an outcome that nobody knows",
            description="{{ $labels.job }} has had launches of which nobody knows whether they made"
            " a machine for half an hour, now {{ $value }}. They are neither repeated nor ended"
            " before the provider's list tells.",
            board=BOARD,
        ),
        Alert(
            name="NavarchMachinesNotEnding",
            severity="warning",
            expr=_waiting("end"),
            lasts="2h",
            summary="{{ $value }} machines that were told to end are still there",
            description="{{ $labels.job }} has had machines that are not wanted any more in its"
            " providers' lists for two hours, now {{ $value }}. They cost and do nothing.",
            board=BOARD,
        ),
    )


def _waiting(awaits: str) -> str:
    """Select fleets that have machines for which this is waited."""
    return f'max by (job) (navarch_instances{{awaits="{awaits}"}}) > 0'
