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
            expr=_waits("certainty", minutes=30),
            lasts="1m",
            summary="nobody has known for {{ $value | humanizeDuration }} what became of a launch",
            description="{{ $labels.job }} does not know whether a launch has made a machine, the"
            " oldest of them for {{ $value | humanizeDuration }}. It is neither repeated nor ended"
            " before the provider's list tells.",
            board=BOARD,
        ),
        Alert(
            name="NavarchMachinesNotEnding",
            severity="warning",
            expr=_waits("end", minutes=120),
            lasts="1m",
            summary="a machine that was to end {{ $value | humanizeDuration }} ago is still there",
            description="{{ $labels.job }} has machines in its providers' lists that are not wanted"
            " any more, the oldest of them for {{ $value | humanizeDuration }}. They cost and do"
            " nothing.",
            board=BOARD,
        ),
    )


def _waits(awaits: str, *, minutes: int) -> str:
    """Select fleets of which a machine has waited for this for longer."""
    oldest = f'navarch_instances_oldest_seconds{{awaits="{awaits}"}}'
    return f"max by (job) ({oldest}) > {minutes * 60}"
