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


VOLATILE = frozenset({"pid", "process", "oom_pid", "oom_name"})
"""Metrics that tell who suffered, not what happened: they make no other event of it."""


class HealthEvent(Struct, frozen=True, omit_defaults=True):
    """One thing that happened to a GPU or a node, raw: judged in the control plane."""

    event_type: str
    """A lower-case word such as ``xid`` or ``ecc_dbe``."""
    gpu_index: int = -1
    """-1 means the node as a whole."""
    gpu_uuid: str = ""
    system: str = ""
    """A watch system such as ``DCGM_HEALTH_WATCH_PCIE``; may be empty."""
    metrics: dict[str, str | int | float] = field(default_factory=dict)
    """Numbers, or text as it travels: ``xid_code``, ``temperature``, ``link_id``, ..."""
    message: str = ""
    timestamp: datetime | None = field(default=None, name="at")
    """The sender's time: data, never used to measure silence."""
    count: int = 1
    """How many equal events this one stands for, at least 1."""

    @property
    def shape(self) -> tuple[object, ...]:
        """What makes two events the same but for their time."""
        metrics = tuple(
            sorted(
                (name, str(value)) for name, value in self.metrics.items() if name not in VOLATILE
            )
        )
        return (self.event_type, self.gpu_index, self.gpu_uuid, self.system, metrics)

    @property
    def kind(self) -> str:
        """What it is counted as: its type, and for an XID the code too, such as ``xid:79``."""
        code = self.metrics.get("xid_code", "")
        return f"{self.event_type}:{code}" if code != "" else self.event_type

    @property
    def described(self) -> str:
        """A few words for people, such as ``xid 79 on GPU 3 ×2``."""
        where = "node" if self.gpu_index < 0 else f"GPU {self.gpu_index}"
        times = f" ×{self.count}" if self.count > 1 else ""
        return f"{self.kind.replace(':', ' ')} on {where}{times}"


class HealthReport(Struct, frozen=True, omit_defaults=True):
    """What one report said."""

    received_at: datetime
    results: tuple[CheckResult, ...] = ()
    events: tuple[HealthEvent, ...] = ()
    first_number: int = 0
    """The number of its first event in the fleet; the others follow. 0: they have none."""

    @property
    def clean(self) -> bool:
        """Whether it positively says that all is well: silence is not health."""
        return (
            bool(self.results)
            and not self.events
            and all(result.status is Health.HEALTHY for result in self.results)
        )


def moments(
    results: tuple[CheckResult, ...], events: tuple[HealthEvent, ...]
) -> tuple[object, ...]:
    """What tells a report from all others of its node; () when nothing in it is dated.

    What was sensed is dated by the sender, and nothing else is sensed at the same moment.
    """
    dated = (
        *((each.check_name, each.status, each.at) for each in results if each.at is not None),
        *((each.shape, each.timestamp) for each in events if each.timestamp is not None),
    )
    return dated if len(dated) == len(results) + len(events) else ()


def folded(events: tuple[HealthEvent, ...]) -> tuple[HealthEvent, ...]:
    """Merge events of one shape into one with a count; the newest of each speaks.

    The order is that of their last appearance: a word which settles what came before it must not
    settle what came again. A flood of one fault becomes one fact.
    """
    merged: dict[tuple[object, ...], HealthEvent] = {}
    for event in events:
        before = merged.pop(event.shape, None)
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
                timestamp=event.timestamp,
                count=before.count + event.count,
            )
    return tuple(merged.values())
