"""What is worth somebody's attention.

An alert is here because somebody can do something about it that the control plane does not do by
itself, and because its runbook, ``docs/runbooks/NAME.md``, says what. Causes that lead to the
same trouble are in the runbook, not in alerts of their own; a state that ends by itself is no
alert until it has lasted. ``critical`` is for what loses capacity, money or control tonight.
"""

from __future__ import annotations

from navarch.monitoring.alerts import control_plane, health, pools, providers, serving, spending
from navarch.monitoring.rules import Chosen, Group


def alerts(chosen: Chosen) -> tuple[Group, ...]:
    """All alerts, in groups by part of the fleet."""
    return (
        Group("navarch-control-plane", control_plane.alerts(chosen)),
        Group("navarch-pools", pools.alerts()),
        Group("navarch-health", health.alerts(chosen)),
        Group("navarch-providers", providers.alerts()),
        Group("navarch-serving", serving.alerts()),
        Group("navarch-cost", spending.alerts(chosen)),
    )
