"""The blueprint: everything a run of a twin is made of, but its seed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from msgspec import Struct, field

from navarch.core.judging import HealthPolicy, Unjudged
from navarch.core.model.pool import PoolSpec
from navarch.core.scaling.base import Autoscaler
from navarch.core.selection import BUILT_IN
from navarch.core.selection.base import Ranker
from navarch.core.settings import Settings
from navarch.providers.base import InstanceType
from navarch.simulator.faults import CloudPlan
from navarch.simulator.twin.demand import Demand
from navarch.simulator.twin.faults import Fault
from navarch.simulator.twin.network import Network

GPUS = 8
"""GPUs of a node that says nothing about them, as in the documents' examples."""

GPU_TYPE = "NVIDIA H100 80GB HBM3"
"""The model of those."""


class BootTime(Struct, frozen=True):
    """How long a machine takes from its launch until its agent starts: a lognormal draw."""

    median: timedelta = timedelta(minutes=3)
    spread: float = 0.25
    """The standard deviation of its logarithm, at least 0; 0: all take the same time."""
    longest: timedelta = timedelta(hours=1)
    """No machine takes longer."""


class SpotMarket(Struct, frozen=True):
    """When a seller has spot machines, and for how long it leaves them."""

    mean_hours_to_interruption: float = 0.0
    """Of one machine, while the market is open; 0: they are never taken away."""
    share_open: float = 1.0
    """The share of time in which any can be bought, above 0 and up to 1."""
    mean_hours_closed: float = 1.0
    """How long the market stays closed, when it closes: then all are taken away."""
    notice: timedelta = timedelta(minutes=2)
    """How long before a machine is taken its agent can read so; zero: not at all."""


class Seller(Struct, frozen=True):
    """One provider: how its cloud behaves, and what its machines are."""

    cloud: CloudPlan
    boot: BootTime = BootTime()
    gpus: int = GPUS
    """Of a machine whose type is not in `types`."""
    gpu_type: str = GPU_TYPE
    types: tuple[InstanceType, ...] = ()
    """What it sells, with prices; empty: any type, for nothing."""
    quota: int | None = None
    """How many machines the account may have at once; None: any number."""
    stock: int | None = None
    """How many machines the cloud has to sell at once; None: any number."""
    stocks: Mapping[str, int] = field(default_factory=dict)
    """The same by type, where types differ; a type that is not here is never sold out."""
    launches_at_once: int | None = None
    """How many launches may be under way at one time; None: as many as of any call."""
    launch_interval: timedelta = timedelta()
    """The least time between two launches, the later of which waits."""
    spot: SpotMarket | None = None
    """None: it sells no spot machines differently from others."""
    sells_spot: bool = True
    """False: it refuses whoever asks for a spot machine."""
    never_starts: float = 0.0
    """The share of machines that run without their agent ever speaking, from 0 to 1."""


class Owned(Struct, frozen=True):
    """A node that nobody buys: it is there, and registers."""

    id: str
    provider: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    gpus: int = GPUS
    gpu_type: str = GPU_TYPE
    labels: Mapping[str, str] = field(default_factory=dict)


class Hazard(Struct, frozen=True):
    """A fault that comes by itself, at a constant rate."""

    fault: Fault
    per_node_day: float
    """How often a node has it in a day, on average."""
    source: str = ""
    """Where the rate is from, for the report."""
    pools: tuple[str, ...] = ()
    """Which pools' nodes; empty: all nodes."""


class Scaled(Struct, frozen=True):
    """A pool that follows its load."""

    pool: str
    autoscaler: Autoscaler
    demand: Demand


class DiskFull(Struct, frozen=True):
    """A time in which the control plane cannot write its journal."""

    begins: timedelta
    """After the beginning of the run."""
    lasts: timedelta


class Blueprint(Struct, frozen=True):
    """A run, ready to be lived through."""

    name: str = "twin"
    settings: Settings = Settings()
    pools: tuple[PoolSpec, ...] = ()
    sellers: tuple[Seller, ...] = ()
    owned: tuple[Owned, ...] = ()
    policy: HealthPolicy = Unjudged()
    rankers: Mapping[str, Ranker] = BUILT_IN
    scaled: tuple[Scaled, ...] = ()
    hazards: tuple[Hazard, ...] = ()
    places: int = 0
    """For how many nodes hazards are rolled, where that is more than there can be: runs that are
    compared roll for equally many, so that the same faults come to all of them."""
    lasts: timedelta = timedelta(hours=1)
    """How much time passes in all."""
    sample_every: timedelta = timedelta(minutes=1)
    """How often the fleet is counted for the report."""
    evaluation_interval: timedelta = timedelta(seconds=30)
    """How often autoscalers are asked."""
    tick_interval: timedelta = timedelta(seconds=10)
    """How often time alone makes the control plane look."""
    gather: timedelta = timedelta(milliseconds=200)
    """How long the control plane collects messages for one batch."""
    batched: bool = True
    """Whether nodes at rest speak in batches; False: each for itself, with equal results."""
    network: Network = Network()
    """What passes between nodes and control plane, and how."""
    crashes_per_day: float = 0.0
    """How often the control plane dies, on average."""
    stalls_per_day: float = 0.0
    """How often its process stands still, on average."""
    stall_max: timedelta = timedelta(minutes=2)
    """How long it does at most."""
    disk_full: tuple[DiskFull, ...] = ()
    """When its disk is full."""
