"""Health reports: what an agent's checks and sensors said, before anybody judges it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field


class Health(StrEnum):
    """A verdict over a node, from best to worst after `unknown`."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


GRAVITY = {Health.UNKNOWN: 0, Health.HEALTHY: 1, Health.DEGRADED: 2, Health.UNHEALTHY: 3}
"""How much a verdict outweighs another: the worst one speaks."""


class CheckResult(Struct, frozen=True, omit_defaults=True):
    """What one of the agent's own checks concluded."""

    check_name: str
    status: Health = Health.UNKNOWN
    message: str = ""
    at: datetime | None = None
    """The sender's time: data, never used to measure silence."""
    details: dict[str, str] = field(default_factory=dict)


class HealthEvent(Struct, frozen=True, omit_defaults=True):
    """One thing that happened to a GPU or a node, raw: judged in the control plane."""

    event_type: str
    """A lower-case word such as ``xid`` or ``ecc_dbe``."""
    gpu_index: int = -1
    """-1 means the node as a whole."""
    gpu_uuid: str = ""
    system: str = ""
    """A watch system such as ``DCGM_HEALTH_WATCH_PCIE``; may be empty."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Numbers as text, as they travel: ``xid_code``, ``temperature``, ``link_id``, ..."""
    message: str = ""
    at: datetime | None = None
    """The sender's time: data."""
    count: int = 1
    """How many equal events this one stands for, at least 1."""

    @property
    def shape(self) -> tuple[object, ...]:
        """What makes two events the same but for their time."""
        metrics = tuple(sorted(self.metrics.items()))
        return (self.event_type, self.gpu_index, self.gpu_uuid, self.system, metrics)


class HealthReport(Struct, frozen=True, omit_defaults=True):
    """What one report said."""

    received_at: datetime
    results: tuple[CheckResult, ...] = ()
    events: tuple[HealthEvent, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether it positively says that all is well: silence is not health."""
        return (
            bool(self.results)
            and not self.events
            and all(result.status is Health.HEALTHY for result in self.results)
        )


def folded(events: tuple[HealthEvent, ...]) -> tuple[HealthEvent, ...]:
    """Merge events of one shape into one with a count; the newest of each speaks.

    The order is that of first appearance. A flood of one fault becomes one fact.
    """
    merged: dict[tuple[object, ...], HealthEvent] = {}
    for event in events:
        before = merged.get(event.shape)
        if before is None:
            merged[event.shape] = event
        else:
            merged[event.shape] = HealthEvent(
                event_type=event.event_type,
                gpu_index=event.gpu_index,
                gpu_uuid=event.gpu_uuid,
                system=event.system,
                metrics=event.metrics,
                message=event.message,
                at=event.at,
                count=before.count + event.count,
            )
    return tuple(merged.values())
