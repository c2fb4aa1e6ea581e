"""What arrives: requests of agents and operators, and outcomes of our own effects.

Messages are not facts. `navarch.core.interpret` says what was learned from one; a message that
teaches nothing leaves no trace in the journal.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from msgspec import Struct, field

from navarch.core.model.command import Command, CommandState, CommandType
from navarch.core.model.gpu import GPU, NodeSample
from navarch.core.model.ladder import Told
from navarch.core.model.node import Metadata
from navarch.core.model.pool import PoolSpec
from navarch.core.model.replica import Blocker, NodeServing, ReplicaSeen
from navarch.core.model.report import CheckResult, HealthEvent
from navarch.core.model.resources import Resource
from navarch.errors import QuotaScope

# --- from agents -----------------------------------------------------------------------------


class RegisterNode(Struct, frozen=True):
    """An agent introduces its machine."""

    node_id: str
    provider: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    gpus: tuple[GPU, ...] = ()
    metadata: Metadata = Metadata()


class Heartbeat(Struct, frozen=True):
    """A node says that it is there."""

    node_id: str
    sample: NodeSample | None = None
    sent_at: datetime | None = None
    """The sender's time: data."""
    serving: NodeServing | None = None
    """What runs there; None: it does not say."""


class HeartbeatBatch(Struct, frozen=True):
    """Many nodes say at once that they are there, through somebody who collects their words."""

    node_ids: frozenset[str]
    samples: dict[str, NodeSample] = field(default_factory=dict)
    """The newest sample of each node that sent one."""
    serving: dict[str, NodeServing] = field(default_factory=dict)
    """What runs on each node that says so."""


class ReportHealth(Struct, frozen=True):
    """A node says what its checks and sensors found."""

    node_id: str
    results: tuple[CheckResult, ...] = ()
    events: tuple[HealthEvent, ...] = ()


class PollCommands(Struct, frozen=True):
    """A node asks what there is to do."""

    node_id: str
    acknowledges: bool = True
    """Whether it will send results. Agents of the older protocol do not."""


class AckCommand(Struct, frozen=True):
    """A node says what came of a command."""

    node_id: str
    command_id: str
    state: CommandState
    message: str = ""
    output: str = ""


# --- from operators --------------------------------------------------------------------------


class IssueCommand(Struct, frozen=True):
    """An operator asks something of a node."""

    node_id: str
    type: CommandType
    parameters: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    by: str = ""
    """Who asks, by the name of a token; empty: somebody."""


class ScalePool(Struct, frozen=True):
    """An operator wants another number of nodes."""

    pool: str
    target: int
    reason: str = ""
    by: str = ""
    """Who asks, by the name of a token; empty: somebody."""


class PausePool(Struct, frozen=True):
    """An operator stops a pool, or lets it go on."""

    pool: str
    paused: bool
    reason: str = ""
    by: str = ""
    """Who asks, by the name of a token; empty: somebody."""


class SetPlugin(Struct, frozen=True):
    """An operator changes how a plugin is used; None: as it is."""

    plugin_kind: str
    name: str
    enabled: bool | None = None
    priority: int | None = None
    shadow: bool | None = None
    reason: str = ""
    by: str = ""
    """Who asks, by the name of a token; empty: somebody."""


class ClearHealth(Struct, frozen=True):
    """An operator sets aside everything that stands against a node."""

    node_id: str
    reason: str = ""
    by: str = ""
    """Who asks, by the name of a token; empty: somebody."""


class ApplyResources(Struct, frozen=True):
    """An operator wants these resources, all of them or none."""

    resources: tuple[Resource, ...]
    reason: str = ""


class DeleteResource(Struct, frozen=True):
    """An operator wants a resource no more."""

    kind: str
    name: str
    """``namespace/name``."""
    reason: str = ""


# --- from the process itself -----------------------------------------------------------------


class Found(Struct, frozen=True):
    """The journal is empty: begin a fleet under this tag."""

    tag: str


class Resume(Struct, frozen=True):
    """A control plane has folded the journal and starts to work."""

    version: str
    holder: str = ""


class ConfigurePools(Struct, frozen=True):
    """The configuration has these pools, and no others."""

    pools: tuple[PoolSpec, ...]


class AdoptPolicy(Struct, frozen=True):
    """Another policy judges from now on; `Machine.offer_policy` was given it before."""

    name: str
    digest: str
    because: str


class Recommended(Struct, frozen=True):
    """An autoscaler, asked outside of the core, proposes a number of nodes."""

    pool: str
    target: int
    reason: str
    by: str
    """The autoscaler's name."""
    held: bool = False
    """Whether it proposes no change because it cannot know, or may not change yet."""


class ReplicasRecommended(Struct, frozen=True):
    """The autoscalers of a pool of agents, combined and shaped, want a number of replicas."""

    agent_pool: str
    target: int
    because: str
    needed: int = 0
    """What the load alone needs."""


class Proposed(Struct, frozen=True):
    """What a scheduler found for one replica: a place, or why there is none."""

    replica_id: str
    node_id: str = ""
    """Empty: none."""
    gpus: tuple[int, ...] = ()
    share: float = 1.0
    mig: str = ""
    score: float = 0.0
    because: str = ""
    preempts: tuple[str, ...] = ()
    """Replicas that have to stop before it fits; it is placed when they have."""
    blocker: Blocker | None = None
    """None where there is a place."""


class PlacementsProposed(Struct, frozen=True):
    """A scheduler, asked outside of the core, has looked for places.

    Those of one gang are taken together or not at all.
    """

    proposals: tuple[Proposed, ...]


class ReplicasObserved(Struct, frozen=True):
    """What another system, such as Kubernetes, says about the replicas that it runs for us."""

    runtime: str
    replicas: tuple[ReplicaSeen, ...]
    """All of them: one that is missing runs nowhere."""


class Tick(Struct, frozen=True):
    """Time has passed."""


# --- outcomes of effects ---------------------------------------------------------------------


class Machine(Struct, frozen=True):
    """One line of a provider's inventory, as far as it concerns us."""

    ref: str
    """The provider's own id."""
    fleet: str = ""
    """The fleet tag it was labelled with at launch."""
    instance_id: str = ""
    """The id of ours it was labelled with at launch."""
    going: bool = False
    """Whether the provider says that it is ending or has ended."""
    region: str = ""
    zone: str = ""
    public_ip: str = ""
    private_ip: str = ""


class Launched(Struct, frozen=True):
    """The provider made the machine."""

    instance_id: str
    machine: Machine


class LaunchRefused(Struct, frozen=True):
    """The provider surely made nothing."""

    instance_id: str
    failure: str
    """Which kind, as a class name of the provider's errors."""
    text: str
    retry_after: timedelta = timedelta()
    """How long the provider wants to be left alone; zero when it does not say."""
    scope: QuotaScope | None = None
    """What the quota counts that is used up; None: the account, or not known, or no quota."""


class LaunchLost(Struct, frozen=True):
    """Nobody knows whether the provider made the machine."""

    instance_id: str
    text: str


class TerminateAnswered(Struct, frozen=True):
    """The provider agreed to end a machine, or did not find it; `error` is empty then.

    With an `error` nothing is known, and the termination stays owed.
    """

    provider: str
    ref: str
    instance_id: str = ""
    error: str = ""


class InventoryTaken(Struct, frozen=True):
    """What a provider has."""

    provider: str
    begun_at: datetime
    """When the list was asked for: what happened later may be missing in it."""
    list_lag: timedelta
    """How long before `begun_at` a launch must have begun to be surely in it."""
    machines: tuple[Machine, ...] = ()


class Sold(Struct, frozen=True):
    """One line of a provider's price list."""

    name: str
    price_usd_per_hour: float | None = None
    """On demand; None when nobody says."""
    spot_price_usd_per_hour: float | None = None
    """None when nobody says."""
    regions: tuple[str, ...] = ()
    """Where it is sold; empty: anywhere."""
    available: bool = True
    """Whether there is one to sell now."""
    listed: str = ""
    """Where the price on demand is a list price and not the provider's word: of where and when."""


class TypesListed(Struct, frozen=True):
    """A provider's price list; None when it has none, or it could not be read."""

    provider: str
    types: tuple[Sold, ...] | None


class WorkloadAnswered(Struct, frozen=True):
    """How the workload manager took what it was told about a node."""

    node_id: str
    told: Told
    error: str = ""
    """What went wrong; empty when it has agreed."""
    refused: bool = False
    """Whether it said no; otherwise an error says nothing, and it is told again."""


class DrainAnswered(Struct, frozen=True):
    """Whether the workload manager has emptied a node."""

    node_id: str
    done: bool
    text: str = ""
    """What it said."""


class InventoryFailed(Struct, frozen=True):
    """A provider could not be asked."""

    provider: str
    text: str


Message = (
    RegisterNode
    | Heartbeat
    | HeartbeatBatch
    | ReportHealth
    | PollCommands
    | AckCommand
    | IssueCommand
    | ScalePool
    | PausePool
    | SetPlugin
    | ClearHealth
    | ApplyResources
    | DeleteResource
    | Found
    | Resume
    | ConfigurePools
    | AdoptPolicy
    | Recommended
    | ReplicasRecommended
    | PlacementsProposed
    | ReplicasObserved
    | Tick
    | Launched
    | LaunchRefused
    | LaunchLost
    | TerminateAnswered
    | InventoryTaken
    | InventoryFailed
    | TypesListed
    | WorkloadAnswered
    | DrainAnswered
)


# --- answers ---------------------------------------------------------------------------------


class Refusal(StrEnum):
    """Why a request is refused, in the words of the Connect protocol."""

    NOT_FOUND = "not_found"
    INVALID_ARGUMENT = "invalid_argument"
    FAILED_PRECONDITION = "failed_precondition"
    PERMISSION_DENIED = "permission_denied"
    RESOURCE_EXHAUSTED = "resource_exhausted"


class Refused(Struct, frozen=True):
    """The request was not accepted, nothing has changed, and this is why."""

    code: Refusal
    text: str


class Accepted(Struct, frozen=True):
    """The request was accepted and is as durable as the journal."""


class HeartbeatAccepted(Struct, frozen=True):
    """The heartbeat counts."""

    commands_pending: bool = False
    """Whether a poll would bring something."""


class HeartbeatBatchAccepted(Struct, frozen=True):
    """The heartbeats of a batch count, but for those of nodes that are not known."""

    commands_pending: tuple[str, ...] = ()
    """The nodes to which a poll would bring something, in the order of their ids."""
    unknown: tuple[str, ...] = ()
    """The nodes that have to register first, or have ended, in the order of their ids."""


class CommandsHanded(Struct, frozen=True):
    """What the node has to do, oldest first."""

    commands: tuple[Command, ...] = ()


class CommandAccepted(Struct, frozen=True):
    """The command is on its way."""

    command_id: str
    issued_at: datetime


class Outcome(Struct, frozen=True):
    """What became of one resource that was applied."""

    kind: str
    name: str
    """``namespace/name``."""
    outcome: Literal["created", "configured", "unchanged"]


class ResourcesApplied(Struct, frozen=True):
    """The resources are wanted, as they were written."""

    outcomes: tuple[Outcome, ...] = ()
    """In the order of the request."""


Answer = (
    Refused
    | Accepted
    | HeartbeatAccepted
    | HeartbeatBatchAccepted
    | CommandsHanded
    | CommandAccepted
    | ResourcesApplied
)
