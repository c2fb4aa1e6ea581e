"""What scheduler plugins see: a pod to be placed and a node, in Kubernetes' words.

Both can be made by hand, which is how plugins are tested. The same views are filled from our own
nodes and replicas, and from a Kubernetes cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from navarch.core.model.resources import NodeAffinity, ReplicaAffinity, Toleration

GPU_RESOURCE = "nvidia.com/gpu"
"""The name of whole GPUs among a node's capacity, as NVIDIA's device plugin publishes it."""
MIG_RESOURCE = "nvidia.com/mig-"
"""What the names of MIG slices begin with; the profile follows."""


class Pod(Struct, frozen=True):
    """Something that wants a place: one replica."""

    name: str
    namespace: str = "default"
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    gpu_request: float = 0
    """Whole GPUs, or a share of one below 1."""
    gpu_memory: int = 0
    """Bytes that each GPU must have; 0: any."""
    gpu_type: str = ""
    """A part of the product's name; empty: any."""
    mig_profile: str = ""
    """A slice such as ``1g.10gb``; `gpu_request` then counts slices."""
    locality: Literal["same-node", "same-socket", "nvlink", "any"] = "any"
    min_bandwidth: int = 0
    """Bytes a second between any two of its GPUs; 0: any."""
    node_selector: dict[str, str] = field(default_factory=dict)
    affinity: tuple[NodeAffinity, ...] = ()
    replica_affinity: tuple[ReplicaAffinity, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    priority: int = 0
    gang: str = ""
    """Those with the same word are placed together or not at all; empty: alone."""
    agent_pool: str = ""
    """``namespace/name``."""
    model: str = ""
    """``namespace/name`` of its weights; empty: none."""
    model_bytes: int = 0
    """0: not known."""
    spot_allowed: bool = True
    cost_max: float = 0.0
    """US dollars an hour for its share of a node; 0: any."""
    strategy: Literal["bin-pack", "spread"] = "bin-pack"
    data_regions: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    """Nodes where it could not be started a moment ago."""


class Taint(Struct, frozen=True):
    """What keeps pods off a node that do not tolerate it."""

    key: str
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class NodeCondition(Struct, frozen=True):
    """One statement about a node."""

    type: str
    """Such as ``Ready``."""
    status: str = "True"
    reason: str = ""
    message: str = ""


class Slot(Struct, frozen=True):
    """One GPU of a node, and how much of it is free."""

    index: int
    free: float = 1.0
    """The share that nobody has, from 0 to 1."""
    memory: int = 0
    """Bytes; 0: not known."""
    socket: int = 0
    """The processor socket that it hangs on."""
    nvlink: int = -1
    """GPUs with the same number of at least 0 are joined by NVLink; -1: by nothing."""
    bandwidth: int = 0
    """Bytes a second to another GPU of its NVLink group; 0: not known."""
    mig_free: dict[str, int] = field(default_factory=dict)
    """Free slices by profile; empty where the GPU is not divided."""


class Node(Struct, frozen=True):
    """Somewhere to run."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    capacity: dict[str, float] = field(default_factory=dict)
    """Such as ``{"nvidia.com/gpu": 8}``."""
    allocatable: dict[str, float] = field(default_factory=dict)
    """The same, less what is kept from work; empty: all of the capacity."""
    conditions: tuple[NodeCondition, ...] = ()
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    """Whether it is cordoned."""
    gpu_type: str = ""
    gpus: tuple[Slot, ...] = ()
    """Empty: as many equal GPUs as the capacity says, all free."""
    healthy: bool = True
    why_not: str = ""
    """Why nothing may run here now, in a word or two such as ``cordoned``; empty: it may."""
    provider: str = ""
    region: str = ""
    zone: str = ""
    pool: str = ""
    """The pool of machines that it belongs to; empty: none."""
    spot: bool = False
    price_per_hour: float = 0.0
    """US dollars for the whole node; 0: not known."""
    models: frozenset[str] = frozenset()
    """``namespace/name`` of models whose weights are on its disk."""
    fetch_bytes_per_second: float = 0.0
    """How fast it has loaded weights lately; 0: not known."""
    replicas: dict[str, int] = field(default_factory=dict)
    """Replicas on it by agent pool."""


class Placement(Struct, frozen=True):
    """Where a pod goes, or why it goes nowhere."""

    pod: str
    """The pod's name."""
    node: str | None = None
    """None: no node fits."""
    score: float = 0.0
    """From 0 to 100."""
    reasons: tuple[str, ...] = ()
    """Placed: what spoke for the node. Not placed: why not, with counts, the most frequent
    first."""
    gpus: tuple[int, ...] = ()
    """Indexes of the GPUs, ascending."""
    share: float = 1.0
    """How much of each of them."""
    counts: dict[str, int] = field(default_factory=dict)
    """Not placed: nodes by the first reason that rules them out, the most frequent first."""
    why_not: Mapping[str, str] = field(default_factory=dict)
    """The reason for every node that does not fit, by its name. It is worked out when it is read;
    ``dict(why_not)`` is a copy that can be written."""
    cure: str = ""
    """Not placed: the single change that would let it fit; empty: none alone would."""
    preempts: tuple[str, ...] = ()
    """Replicas of lower priority that have to stop first, by name."""
