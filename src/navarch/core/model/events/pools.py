"""Facts about pools."""

from __future__ import annotations

from navarch.core.model.events.base import Event
from navarch.core.model.pool import PoolSpec


class PoolConfigured(Event, frozen=True, tag="pool_configured"):
    """The configuration has this pool, like so."""

    spec: PoolSpec


class PoolRetired(Event, frozen=True, tag="pool_retired"):
    """The configuration has this pool no longer."""

    pool: str
    because: str


class TargetChanged(Event, frozen=True, tag="target_changed"):
    """A pool wants another number of nodes."""

    pool: str
    target: int
    because: str


class PoolPaused(Event, frozen=True, tag="pool_paused"):
    """An operator stopped buying, repairing and scaling."""

    pool: str
    because: str


class PoolUnpaused(Event, frozen=True, tag="pool_unpaused"):
    """An operator let the pool go on."""

    pool: str
    because: str


class RepairAcknowledged(Event, frozen=True, tag="repair_acknowledged"):
    """A person has looked at a halted pool, and wants repair to try one node."""

    pool: str
    because: str


class RepairHalfOpened(Event, frozen=True, tag="repair_half_opened"):
    """Repair may try one node of a halted pool, and what comes of it decides."""

    pool: str
    because: str
    tolerated: int = 0
    """How many troubled nodes are known and accepted meanwhile."""


class RepairHalted(Event, frozen=True, tag="repair_halted"):
    """Too much is silent at once: it is more likely our network than their hardware."""

    pool: str
    because: str


class RepairContinued(Event, frozen=True, tag="repair_continued"):
    """The silence ended; repair works again."""

    pool: str
    because: str
