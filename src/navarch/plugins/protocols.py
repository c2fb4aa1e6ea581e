"""What the five kinds of plugins of the serving plane are, in the documents' form.

A plugin is any object with the attributes and methods of its kind; nothing has to be inherited. The
host calls it, times it, traces it and bears what it does wrong: a plugin neither limits its own
time nor catches its own failures.

========================  ===========================================  ========================
kind                      asked                                        answers
========================  ===========================================  ========================
scheduler                 a pod, a node and the pool of agents         fits or not; 0 to 100
autoscaler                a pool of agents and its signals             replicas
model loader              a model and a node                           brings or removes weights
metrics provider          a pool of agents and a signal                its value
guardrail                 a text and where it is on its way            whether it may pass
========================  ===========================================  ========================

Each kind has a richer form that the host prefers where a plugin has it; see the module of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct, field

from navarch.core.model.resources import AgentPool, Model
from navarch.core.serving.views import Node, Pod


class PluginKind(StrEnum):
    """Every extension point there is, by the word that commands and paths use."""

    PROVIDER = "provider"
    AUTOSCALER = "autoscaler"
    """Of pools of machines."""
    RANKER = "ranker"
    METRICS_SOURCE = "metrics-source"
    HEALTH_OBSERVER = "health-observer"
    NOTIFIER = "notifier"
    SCHEDULER = "scheduler"
    REPLICA_AUTOSCALER = "replica-autoscaler"
    """Of pools of agents: what document and `navarch.plugins` call an autoscaler."""
    MODEL_LOADER = "model-loader"
    METRICS_PROVIDER = "metrics-provider"
    GUARDRAIL = "guardrail"


@runtime_checkable
class SchedulerPlugin(Protocol):
    """Chooses nodes for pods. Pure: it may look at nothing but what it is given."""

    name: str
    priority: int
    """Higher ones are asked first; ties go by name."""

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        """Whether the node is good enough."""
        ...

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        """Say how good, from 0 to 100. Asked only of nodes that every filter lets pass."""
        ...


@runtime_checkable
class AutoscalerPlugin(Protocol):
    """Proposes replicas. Bounds, rates, windows and cooldown are the host's."""

    name: str
    priority: int

    @property
    def metric_names(self) -> list[str]:
        """The signals that it wants to see."""
        ...

    def calculate_replicas(self, pool: AgentPool, current_metrics: Mapping[str, float]) -> int:
        """Propose a number of replicas; a signal that has no fresh value is missing."""
        ...


@runtime_checkable
class ModelLoaderPlugin(Protocol):
    """Brings weights to a node."""

    name: str
    priority: int

    def can_load(self, model: Model) -> bool:
        """Whether it understands where the weights are."""
        ...

    async def load(self, model: Model, node: str) -> None:
        """Bring them. Doing it twice is the same as once."""
        ...

    async def unload(self, model: Model, node: str) -> None:
        """Remove them. No error where there are none."""
        ...


@runtime_checkable
class MetricsProviderPlugin(Protocol):
    """Reads the load. Providers are asked in the configured order; the first fresh value wins."""

    name: str

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        """Read a value in the base unit of its signal.

        Raises `LookupError` when there is none: absent is not zero.
        """
        ...

    def list_metrics(self) -> list[str]:
        """The signals that it can give."""
        ...


class GuardrailRequest(Struct, frozen=True):
    """A text to be checked."""

    content: str
    metadata: dict[str, str] = field(default_factory=dict)
    agent_class: str = ""
    session_id: str = ""
    request_id: str = ""
    direction: Literal["input", "output", "tool-call", "tool-result"] = "input"


class GuardrailResult(Struct, frozen=True):
    """What became of it."""

    passed: bool
    action: Literal["allow", "block", "redact", "warn", "log"] = "allow"
    reason: str = ""
    confidence: float = 1.0
    """From 0 to 1."""
    metadata: dict[str, str] = field(default_factory=dict)


@runtime_checkable
class GuardrailPlugin(Protocol):
    """Looks for what must not pass."""

    name: str
    type: str
    """What agent classes call it, such as ``pii-detection``."""

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        """Look at a whole text."""
        ...
