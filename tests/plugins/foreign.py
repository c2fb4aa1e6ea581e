"""Plugins of the serving plane as somebody else would write them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from msgspec import Struct

from navarch.plugins import AgentPool, GuardrailRequest, GuardrailResult, Model, Node, Pod


class PreferSsd:
    """Prefers nodes that have a fast disk.

    Only the line above is its summary.
    """

    name = "prefer-ssd"
    priority = 150
    version = "1.2"

    class Config(Struct, frozen=True):
        """What it may be told."""

        weight: float = 1.0
        label: str = "ssd"
        patience: timedelta = timedelta(seconds=1)

    def __init__(
        self, weight: float = 1.0, label: str = "ssd", patience: timedelta = timedelta(seconds=1)
    ) -> None:
        self.weight = weight
        self.label = label
        self.patience = patience

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        return True

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        return round(50 * self.weight) if self.label in node.labels else 0


class InZone:
    """Lets pods only in one zone, which has to be configured."""

    name = "in-zone"
    priority = 150

    class Config(Struct, frozen=True):
        """What it has to be told."""

        zone: str

    def __init__(self, config: InZone.Config) -> None:
        self.config = config

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        return node.zone == self.config.zone

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        return 0


class Steady:
    """Wants the same number whatever happens."""

    name = "steady"
    priority = 10
    metric_names = ("queue-depth",)

    def calculate_replicas(self, pool: AgentPool, current_metrics: Mapping[str, float]) -> int:
        return 3


class Carrier:
    """Brings nothing, and says that it does."""

    name = "carrier"
    priority = 1

    def can_load(self, model: Model) -> bool:
        return True

    async def load(self, model: Model, node: str) -> None:
        raise ConnectionError(f"no way to {node}")

    async def unload(self, model: Model, node: str) -> None:
        raise ConnectionError(f"no way to {node}")


class Reader:
    """Reads one number."""

    def __init__(self, name: str = "reader", value: float = 1.0) -> None:
        self.name = name
        self.value = value

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        return self.value

    def list_metrics(self) -> list[str]:
        return ["queue-depth"]


class Polite:
    """Lets all texts pass."""

    name = "polite"
    type = "politeness"

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        return GuardrailResult(passed=True)
