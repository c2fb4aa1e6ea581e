"""The documents of the serving plane, in Kubernetes' shape: what is wanted, and what became of it.

A resource is ``metadata`` (its name), ``spec`` (what is wanted) and ``status`` (how it stands).
The spec is a fact once it was applied. The status follows from other facts and is never applied.

Field names are snake_case here and camelCase in documents. Values are plain: durations are
`timedelta`, sizes are bytes, so that no later code reads a text again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct, field

API_VERSION = "neuronetes.io/v1alpha1"
"""The API group and version of every resource: the documents' own."""


class Part(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A piece of a resource."""


class ObjectMeta(Part, frozen=True):
    """What a resource is called, and what else is written on its label."""

    name: str = ""
    namespace: str = "default"
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class Ref(Part, frozen=True):
    """Another resource of the same namespace, by its name."""

    name: str = ""


class Condition(Part, frozen=True):
    """One statement about a resource, as Kubernetes makes them."""

    type: str
    """Such as ``Ready`` or ``Scheduled``."""
    status: Literal["True", "False", "Unknown"]
    reason: str = ""
    """One word in CamelCase, for programs."""
    message: str = ""
    """A sentence, for people."""
    last_transition_time: datetime | None = None
    """When `status` last changed; None in a condition that is only proposed."""


class Document(Part, frozen=True, tag_field="kind"):
    """What all resources have."""

    metadata: ObjectMeta = ObjectMeta()
    api_version: str = API_VERSION

    @property
    def name(self) -> str:
        """Its name within its namespace."""
        return self.metadata.name

    @property
    def full_name(self) -> str:
        """``namespace/name``: unique for its kind."""
        return f"{self.metadata.namespace}/{self.metadata.name}"


# --- Model -----------------------------------------------------------------------------------


class ShardSpec(Part, frozen=True):
    """How the weights are divided."""

    count: int = 1
    """Parts, at least 1."""
    strategy: str = ""
    """Such as ``tensor-parallel``; free text for the runtime."""


class CachePolicy(Part, frozen=True):
    """How long the weights stay on a node's disk."""

    priority: Literal["critical", "high", "medium", "low"] = "medium"
    """The lowest goes first when the disk is full."""
    pin_duration: timedelta = timedelta()
    """How long after its last use it is not evicted for another; zero: it may be at once."""
    eviction_policy: Literal["never", "idle", "low-priority"] = "idle"
    """``never``: only by name. ``idle``: when no replica uses it. ``low-priority``: also for a
    model of higher priority only."""
    preload_nodes: int = 0
    """On how many nodes it is kept before anybody asks for it."""


class ModelSpec(Part, frozen=True):
    """Where weights are, and what they are."""

    weights_uri: str = field(default="", name="weightsURI")
    """Such as ``s3://bucket/llama/``, ``hf://org/name@revision`` or ``file:///models/llama``."""
    size: int = 0
    """Bytes; 0: not known."""
    format: str = ""
    """Such as ``safetensors``."""
    quantization: str = ""
    shard_spec: ShardSpec = ShardSpec()
    cache_policy: CachePolicy = CachePolicy()


class ModelStatus(Part, frozen=True):
    """Where the weights are by now."""

    cached_nodes: tuple[str, ...] = ()
    """Nodes whose cache holds all of it, in the order of their ids."""
    loading_nodes: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()


class Model(Document, frozen=True, tag="Model"):
    """Weights that replicas serve."""

    spec: ModelSpec = ModelSpec()
    status: ModelStatus = ModelStatus()


# --- AgentClass ------------------------------------------------------------------------------


class GuardrailSpec(Part, frozen=True):
    """One check of what goes in and comes out, and what its findings lead to."""

    type: str = ""
    """Which guardrail plugin: its ``type``, such as ``pii-detection``."""
    action: Literal["block", "redact", "warn", "log"] = "block"
    threshold: float = 0.5
    """Findings with a lower score are only recorded, from 0 to 1."""
    config: dict[str, object] = field(default_factory=dict)
    """What the plugin understands; checked by its own schema."""
    deadline: timedelta = timedelta(milliseconds=500)
    """How long one check may take."""
    on_error: Literal["open", "closed", ""] = ""
    """What happens when it fails or takes too long: go on unscanned, or block.

    Empty: block, where the server's configuration does not have the plugin fail open.
    """


class SLO(Part, frozen=True):
    """What users of a class were promised; zero: nothing."""

    ttft: timedelta = timedelta()
    """Time to the first token, 95th percentile."""
    tokens_per_second: float = 0.0
    """For each session."""
    p95_latency: timedelta = field(default=timedelta(), name="p95Latency")
    """Of a whole request."""


class ToolPermission(Part, frozen=True):
    """What an agent may call, and how often."""

    name: str = ""
    rate_limit: str = ""
    """Such as ``10/minute``; empty: none."""
    timeout: timedelta = timedelta(seconds=30)
    max_concurrency: int = 0
    """0: any number."""


class AgentClassSpec(Part, frozen=True):
    """What an agent is: its model, its checks, its promises."""

    model_ref: Ref = Ref()
    max_context_length: int = 0
    """Tokens; 0: the model's own."""
    guardrails: tuple[GuardrailSpec, ...] = ()
    slo: SLO = SLO()
    tool_permissions: tuple[ToolPermission, ...] = ()


class ClassStatus(Part, frozen=True):
    """How an agent class or a tool binding stands."""

    conditions: tuple[Condition, ...] = ()


class AgentClass(Document, frozen=True, tag="AgentClass"):
    """One kind of agent."""

    spec: AgentClassSpec = AgentClassSpec()
    status: ClassStatus = ClassStatus()


# --- AgentPool -------------------------------------------------------------------------------


class Topology(Part, frozen=True):
    """How near a replica's GPUs must be to each other."""

    locality: Literal["same-node", "same-socket", "nvlink", "any"] = "any"
    min_bandwidth: int = 0
    """Bytes a second between any two of them; 0: any."""


class GPURequirements(Part, frozen=True):
    """The GPUs of one replica."""

    count: float = 1
    """Whole GPUs, or a share of one below 1."""
    memory: int = 0
    """Bytes that each must have; 0: any."""
    type: str = ""
    """A part of the product's name, such as ``H100``; empty: any."""
    topology: Topology = Topology()


class MetricTarget(Part, frozen=True):
    """One signal, and how much of it a replica should have."""

    type: str = ""
    """Such as ``queue-depth`` or ``ttft-p95``."""
    target: float = 0.0
    """In the signal's base unit: seconds, tokens, sessions, calls a second. 0: what the agent class
    promises, of the signals that it may promise."""
    averaging_window: timedelta = timedelta()
    """Over how long samples are averaged; zero: the newest alone counts."""


class ScalingRules(Part, frozen=True):
    """How fast replicas may come, or go."""

    stabilization_window: timedelta = timedelta()
    """Up: the lowest proposal of this time counts; down: the highest."""
    max_change_percent: float = 0.0
    """Of the replicas at the begin of a period; 0: no such limit."""
    max_change_absolute: int = 0
    """Replicas a period; 0: no such limit. Of two limits the one that allows more counts."""
    period_seconds: float = 60


class Behavior(Part, frozen=True):
    """How the proposals of autoscalers become replicas."""

    scale_up: ScalingRules = ScalingRules()
    scale_down: ScalingRules = ScalingRules(stabilization_window=timedelta(minutes=5))
    """Five minutes by default, as Kubernetes' own autoscaler waits before it takes away."""


class Autoscaling(Part, frozen=True):
    """What makes a pool of agents grow and shrink."""

    metrics: tuple[MetricTarget, ...] = ()
    """Empty: `min_replicas` holds, unless a plugin proposes."""
    behavior: Behavior = Behavior()
    cooldown_period: timedelta = timedelta()
    """How long after a change of the target no other is made downwards."""
    combine: Literal["max", "min", "average"] = "max"
    """What becomes of several proposals."""
    autoscalers: tuple[str, ...] = ()
    """Which autoscaler plugins are asked, by name; empty: all that are enabled."""


class NodeAffinity(Part, frozen=True):
    """What a node's labels must, or should, be."""

    key: str = ""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = "In"
    values: tuple[str, ...] = ()
    weight: int = 0
    """0: required. 1 to 100: preferred, so much."""


class ReplicaAffinity(Part, frozen=True):
    """With which replicas one shares a node or zone, or does not."""

    agent_pool: str = ""
    """Whose replicas; empty: the pool's own."""
    topology_key: str = "kubernetes.io/hostname"
    """The label whose value they share."""
    anti: bool = False
    """Whether they must be apart."""
    weight: int = 0
    """0: required. 1 to 100: preferred, so much."""


class Toleration(Part, frozen=True):
    """A taint that replicas put up with, as in Kubernetes."""

    key: str = ""
    """Empty with ``Exists``: every taint."""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """Empty: every effect."""


class Scheduling(Part, frozen=True):
    """Where replicas may run."""

    priority: int = 0
    """Higher ones are placed first, and may take the place of lower ones."""
    node_selector: dict[str, str] = field(default_factory=dict)
    gang: bool | int = False
    """True: all replicas that are wanted at one time are placed, or none. A number: as many."""
    spot_enabled: bool = False
    """Whether machines that may be taken away are used."""
    max_cost_per_hour: float = 0.0
    """US dollars for a replica's share of its node; 0: any."""
    affinity: tuple[NodeAffinity, ...] = ()
    replica_affinity: tuple[ReplicaAffinity, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    strategy: Literal["bin-pack", "spread"] = "bin-pack"
    preemption: Literal["lower-priority", "never"] = "lower-priority"
    """Whether running replicas of lower priority may be stopped for these."""
    data_regions: tuple[str, ...] = ()
    """Where the data is that these replicas read; nodes there are preferred."""


class Readiness(Part, frozen=True):
    """How one knows that a replica serves."""

    path: str = "/healthz"
    """Asked by GET on the replica's port; 200 to 399 is ready."""
    initial_delay: timedelta = timedelta()
    period: timedelta = timedelta(seconds=1)
    timeout: timedelta = timedelta(seconds=1)
    failure_threshold: int = 3
    """Failures in a row after which a ready replica is not ready any more."""
    startup_timeout: timedelta = timedelta(minutes=10)
    """How long it may take to become ready for the first time, loading the weights excluded."""


class Runtime(Part, frozen=True):
    """What runs a replica."""

    kind: Literal["process", "kubernetes"] = "process"
    command: tuple[str, ...] = ()
    """The program and its arguments. ``{model_path}``, ``{port}``, ``{gpus}``, ``{replica}`` and
    ``{pool}`` are filled in."""
    port: int = 0
    """Where it listens; 0: a free port is chosen."""
    readiness: Readiness = Readiness()
    env: dict[str, str] = field(default_factory=dict)
    image: str = ""
    """The container, where the kind is kubernetes."""
    grace_period: timedelta = timedelta(seconds=30)
    """How long it may take to end after SIGTERM."""


class AgentPoolSpec(Part, frozen=True):
    """How many agents of a class are wanted, and how they run."""

    agent_class_ref: Ref = Ref()
    min_replicas: int = 0
    max_replicas: int = 1
    prewarm_percent: float = 0.0
    """How many more than the load needs are kept ready, in percent of it."""
    mig_profile: str = ""
    """A slice of a GPU such as ``1g.10gb``; empty: whole GPUs or shares."""
    gpu_requirements: GPURequirements = GPURequirements()
    autoscaling: Autoscaling = Autoscaling()
    scheduling: Scheduling = Scheduling()
    runtime: Runtime = Runtime()


class AgentPoolStatus(Part, frozen=True):
    """How a pool of agents stands."""

    replicas: int = 0
    """All that are wanted and not ending."""
    ready_replicas: int = 0
    prewarmed_replicas: int = 0
    """Ready ones above what the load needs."""
    pending: int = 0
    """Those that have no node."""
    conditions: tuple[Condition, ...] = ()


class AgentPool(Document, frozen=True, tag="AgentPool"):
    """A number of equal agents that follows the load."""

    spec: AgentPoolSpec = AgentPoolSpec()
    status: AgentPoolStatus = AgentPoolStatus()


# --- ToolBinding -----------------------------------------------------------------------------


class RetryPolicy(Part, frozen=True):
    """How often a call of a tool is tried again."""

    max_retries: int = 0
    initial_backoff: timedelta = timedelta(milliseconds=100)
    max_backoff: timedelta = timedelta(seconds=10)


class Timeouts(Part, frozen=True):
    """How long a call of a tool may take."""

    connect: timedelta = timedelta(seconds=5)
    request: timedelta = timedelta(seconds=30)


class QueueConfig(Part, frozen=True):
    """A queue from which agents take work, or into which they put it."""

    url: str = ""
    topic: str = ""
    group: str = ""


class HTTPConfig(Part, frozen=True):
    """A service that agents call."""

    url: str = ""
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)


class ToolBindingSpec(Part, frozen=True):
    """How the agents of a pool reach a tool."""

    agent_pool_ref: Ref = Ref()
    type: Literal["", "http", "queue"] = ""
    queue_config: QueueConfig | None = None
    http_config: HTTPConfig | None = None
    concurrency: int = 0
    """Calls at one time; 0: any number."""
    timeouts: Timeouts = Timeouts()
    retry_policy: RetryPolicy = RetryPolicy()


class ToolBinding(Document, frozen=True, tag="ToolBinding"):
    """A tool that the agents of a pool may use."""

    spec: ToolBindingSpec = ToolBindingSpec()
    status: ClassStatus = ClassStatus()


Resource = AgentPool | AgentClass | Model | ToolBinding
"""Any of them."""

KINDS: dict[str, type[AgentPool | AgentClass | Model | ToolBinding]] = {
    "AgentClass": AgentClass,
    "AgentPool": AgentPool,
    "Model": Model,
    "ToolBinding": ToolBinding,
}
"""By the word under ``kind``, in the order of the alphabet."""


def kind_of(resource: Resource) -> str:
    """The word under ``kind``."""
    return str(resource.__struct_config__.tag)
