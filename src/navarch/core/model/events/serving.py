"""Facts of the serving plane: resources, replicas, weights on nodes, and plugins."""

from __future__ import annotations

from datetime import datetime

from navarch.core.model.events.base import Event
from navarch.core.model.replica import Blocker, ReplicaState
from navarch.core.model.resources import Condition, Resource


class ResourceApplied(Event, frozen=True, tag="resource_applied"):
    """Somebody wants this resource, like so; its status is empty here."""

    resource: Resource
    because: str = ""


class ResourceDeleted(Event, frozen=True, tag="resource_deleted"):
    """Somebody does not want a resource any more."""

    resource_kind: str
    name: str
    """``namespace/name``."""
    because: str = ""


class ConditionChanged(Event, frozen=True, tag="condition_changed"):
    """A statement about a resource is new, or has another status, reason or message."""

    resource_kind: str
    name: str
    """``namespace/name``."""
    condition: Condition


class ReplicasWanted(Event, frozen=True, tag="replicas_wanted"):
    """A pool of agents wants another number of replicas."""

    agent_pool: str
    """``namespace/name``."""
    target: int
    because: str
    needed: int = 0
    """What the load alone needs, without those that are kept warm."""


class ReplicaRequested(Event, frozen=True, tag="replica_requested"):
    """There shall be one more replica."""

    replica_id: str
    agent_pool: str
    because: str
    gang: str = ""
    priority: int = 0
    model: str = ""
    template: str = ""
    runtime: str = "process"


class ReplicaPlaced(Event, frozen=True, tag="replica_placed"):
    """A replica has a place on a node, and nobody else has it."""

    replica_id: str
    node_id: str
    because: str
    gpus: tuple[int, ...] = ()
    share: float = 1.0
    mig: str = ""
    score: float = 0.0
    """From 0 to 100."""


class ReplicaBlocked(Event, frozen=True, tag="replica_blocked"):
    """No node fits a replica, for another reason than before."""

    replica_id: str
    blocker: Blocker


class ReplicaAdvanced(Event, frozen=True, tag="replica_advanced"):
    """A replica came into another state on its node."""

    replica_id: str
    state: ReplicaState
    because: str
    port: int = 0
    restarts: int = 0


class ReplicaDisplaced(Event, frozen=True, tag="replica_displaced"):
    """A replica lost its place and waits for another."""

    replica_id: str
    node_id: str
    because: str
    failed: bool = False
    """Whether it could not be started there."""
    retry_at: datetime | None = None


class ReplicaStopping(Event, frozen=True, tag="replica_stopping"):
    """A replica is not wanted any more."""

    replica_id: str
    because: str


class ReplicaEnded(Event, frozen=True, tag="replica_ended"):
    """A replica runs nowhere any more, and will not again."""

    replica_id: str
    because: str


class ModelCached(Event, frozen=True, tag="model_cached"):
    """All of a model's weights are on a node's disk, and verified."""

    node_id: str
    model: str
    """``namespace/name``."""
    digest: str = ""
    """Of the manifest: equal digests are equal files."""
    size: int = 0
    """Bytes."""


class ModelDropped(Event, frozen=True, tag="model_dropped"):
    """A node's disk does not hold a model any more."""

    node_id: str
    model: str
    because: str


class PluginChanged(Event, frozen=True, tag="plugin_changed"):
    """An operator switched a plugin on or off, or gave it another priority."""

    plugin_kind: str
    name: str
    because: str
    enabled: bool | None = None
    """None: as before."""
    priority: int | None = None
    """None: as before."""
    shadow: bool | None = None
    """Whether it only watches: it is asked, and its word has no effect. None: as before."""


class ReplicasForgotten(Event, frozen=True, tag="replicas_forgotten"):
    """Ended replicas are kept no longer."""

    replicas: tuple[str, ...]
