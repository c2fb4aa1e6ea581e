"""What a control plane is told about itself: intervals, patience and bounds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from navarch.controlplane.clock import Clock
from navarch.controlplane.inbox import Bounds
from navarch.core.settings import Settings
from navarch.wire.admission import DEFAULT_RATES, GOLDEN_RATIO, Admission, Rates


class ServerConfig(Struct, frozen=True):
    """What agents are told, and how patient the control plane is with them."""

    health_check_interval_seconds: int = 60
    heartbeat_interval_seconds: int = 30
    enabled_health_checks: Sequence[str] = ("boot", "nvml", "xid")
    clock: Clock | None = None
    """None means the machine's own."""
    evaluation_interval: timedelta = timedelta(seconds=30)
    """How often pools are evaluated that have an autoscaler."""
    registration_timeout: timedelta | None = None
    """How long a launched machine may take to register before it is stale, and ended; None: as
    `settings` has it, 10 minutes."""
    stale_check_interval: timedelta = timedelta(minutes=1)
    """How late a stale machine may be noticed, at most.

    All deadlines are looked at twice a second anyway; only a shorter interval changes anything.
    """
    retain_terminated: timedelta | None = None
    """How long records of ended machines are kept; None: as `settings` has it, 24 hours."""
    rates: Rates = DEFAULT_RATES
    """How often callers may ask."""
    bounds: Bounds = Bounds()
    """How many requests may wait."""
    node_series_max: int = 0
    """How many nodes have series of their own in ``/metrics``."""
    settings: Settings = Settings()
    """Everything else; what stands above takes precedence."""

    def effective(self) -> Settings:
        """All settings in one.

        Raises `ValueError` when an interval is too short.
        """
        for name in ("health_check_interval_seconds", "heartbeat_interval_seconds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 1 was expected")
        if self.stale_check_interval <= timedelta():
            raise ValueError(f"stale_check_interval {self.stale_check_interval} must be above zero")
        told = {
            name: getattr(self, name)
            for name in ("registration_timeout", "retain_terminated")
            if getattr(self, name) is not None
        }
        return replace(
            self.settings,
            **told,
            health_check_interval=timedelta(seconds=self.health_check_interval_seconds),
            heartbeat_interval=timedelta(seconds=self.heartbeat_interval_seconds),
            enabled_health_checks=tuple(self.enabled_health_checks),
        )

    def admission(self) -> Admission:
        """Who is let in when not everybody can be, for one process."""
        return Admission(self.rates, chance=os.getpid() * GOLDEN_RATIO)
