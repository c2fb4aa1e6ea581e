"""Replicas: one running copy of an agent class, from the wish for it to its end.

::

    PENDING ──placed──▶ LOADING ──weights there──▶ STARTING ──probe──▶ READY
       ▲                   │                          │                  │
       └── node lost or ended, could not start ───────┴──────────────────┤
                                                                         ▼
                                         ENDED ◀──gone──  STOPPING ◀──not wanted

A replica keeps its id through placements. Who is stopped on purpose ends; who loses its node
waits for another.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field


class ReplicaState(StrEnum):
    """How far a replica has come."""

    PENDING = "pending"
    LOADING = "loading"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    ENDED = "ended"


PLACED = frozenset(
    {ReplicaState.LOADING, ReplicaState.STARTING, ReplicaState.READY, ReplicaState.STOPPING}
)
"""States in which it holds a place on a node."""


class Blocker(Struct, frozen=True, omit_defaults=True):
    """Why a replica has no node."""

    summary: str
    """Such as ``41 nodes: 30 no free GPUs, 11 cordoned``."""
    counts: dict[str, int] = field(default_factory=dict)
    """Nodes by the first reason that rules them out, the most frequent first."""
    cure: str = ""
    """The single change that would let it fit, the smallest first; empty: none alone would."""
    node_pool: str = ""
    """The pool of machines that would fit it if it grew; empty: none would."""


class Replica(Struct, frozen=True, omit_defaults=True):
    """One copy of an agent class."""

    id: str
    agent_pool: str
    """``namespace/name``."""
    requested_at: datetime
    state: ReplicaState = ReplicaState.PENDING
    because: str = ""
    """Why it is in this state."""
    changed_at: datetime | None = None
    """When it came into it; None: when it was requested."""
    node_id: str = ""
    """Where it runs; empty while it has no place."""
    gpus: tuple[int, ...] = ()
    """Indexes of its GPUs on that node, ascending."""
    share: float = 1.0
    """How much of each of them it has, above 0 and at most 1."""
    mig: str = ""
    """The profile of its slice; empty: none."""
    port: int = 0
    """Where it listens; 0: not known yet."""
    restarts: int = 0
    """How often its program was started again on this node."""
    gang: str = ""
    """Those with the same word are placed together or not at all; empty: alone."""
    priority: int = 0
    model: str = ""
    """``namespace/name`` of what it serves; empty: nothing is loaded."""
    template: str = ""
    """A digest of how it was to run when it was requested; another one in its pool replaces it."""
    runtime: str = "process"
    """What runs it: an agent of ours (``process``), or ``kubernetes``."""
    blocker: Blocker | None = None
    """Why it has no node; None when it has one, or nobody has looked yet."""
    failures: int = 0
    """Placements in a row that never became ready."""
    failed_nodes: tuple[str, ...] = ()
    """Where, the newest last; at most eight are kept."""
    retry_at: datetime | None = None
    """Before when it is not placed again; None: at any time."""

    @property
    def placed(self) -> bool:
        """Whether it holds a place on a node."""
        return self.state in PLACED

    @property
    def wanted(self) -> bool:
        """Whether it is to serve, now or later."""
        return self.state not in (ReplicaState.STOPPING, ReplicaState.ENDED)


# --- what agents say -------------------------------------------------------------------------


class ReplicaSeen(Struct, frozen=True):
    """What a node's agent says about a replica."""

    id: str
    state: ReplicaState
    port: int = 0
    restarts: int = 0
    message: str = ""
    node: str = ""
    """Where, if it is not the agent itself that speaks: the name of a Kubernetes node."""
    endpoint: str = ""
    """Its address without the port, likewise."""


class ModelSeen(Struct, frozen=True):
    """What a node's agent says about a model in its cache."""

    model: str
    """``namespace/name``."""
    digest: str = ""
    """Of the manifest; empty until it is known."""
    bytes_done: int = 0
    """There and verified."""
    bytes_total: int = 0
    """0: not known."""
    complete: bool = False
    """Whether all of it is there, verified and published."""
    problem: str = ""
    """Why it does not go on; empty while it does."""
    bytes_per_second: int = 0


class NodeServing(Struct, frozen=True):
    """All that a node serves, or is about to."""

    replicas: tuple[ReplicaSeen, ...] = ()
    models: tuple[ModelSeen, ...] = ()
