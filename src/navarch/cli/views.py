"""What the tables know of the API's JSON: names, types, and what an absent field means.

Fields of the wire that no table shows are not here; unknown ones are ignored. An answer of another
type is a clear error and never a traceback. JSON and YAML output does not pass through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from navarch.errors import WireError

View = TypeVar("View")


class GpuView(Struct, rename="camel", frozen=True):
    """One GPU as its driver describes it."""

    index: int = 0
    uuid: str = ""
    name: str = ""
    pci_bus_id: str = ""
    memory_total: int = 0
    """Bytes."""
    driver_version: str = ""
    cuda_version: str = ""


class MetadataView(Struct, rename="camel", frozen=True):
    """What an agent says about its host."""

    hostname: str = ""
    internal_ip: str = ""
    external_ip: str = ""
    kernel_version: str = ""
    labels: dict[str, str] = {}


class NodeView(Struct, rename="camel", frozen=True):
    """One node."""

    node_id: str = ""
    provider: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    status: str = "NODE_STATUS_UNKNOWN"
    health_status: str = "HEALTH_STATUS_UNKNOWN"
    last_heartbeat: datetime | None = None
    gpus: tuple[GpuView, ...] = ()
    metadata: MetadataView = MetadataView()
    pool: str = ""
    phase: str = ""
    intent: str = ""
    contact: str = ""
    because: str = ""

    @property
    def status_word(self) -> str:
        """The word for the node: finer than on the wire for one that is lost or ending."""
        if self.contact == "lost" and self.status == "NODE_STATUS_UNHEALTHY":
            return "LOST"
        if self.phase == "terminating":
            return "TERMINATING"
        return self.status.removeprefix("NODE_STATUS_")

    @property
    def health_word(self) -> str:
        """The verdict on its hardware."""
        return self.health_status.removeprefix("HEALTH_STATUS_")

    @property
    def address(self) -> str:
        """Where it is reached: from outside if it can be, else from inside; may be empty."""
        return self.metadata.external_ip or self.metadata.internal_ip


class InstanceView(Struct, rename="camel", frozen=True):
    """One machine that we bought."""

    instance_id: str = ""
    provider: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    state: str = "INSTANCE_STATE_UNKNOWN"
    pool_name: str = ""
    created_at: datetime | None = None
    ready_at: datetime | None = None
    terminated_at: datetime | None = None
    node_id: str = ""
    status_message: str = ""
    labels: dict[str, str] = {}
    provider_ref: str = ""

    @property
    def state_word(self) -> str:
        """Where it is in its life."""
        return self.state.removeprefix("INSTANCE_STATE_")


class LogView(Struct, rename="camel", frozen=True):
    """What a start-up script told."""

    text: str = ""
    source: str = ""
    read_at: datetime | None = None
    problem: str = ""


class PluginView(Struct, rename="camel", frozen=True):
    """One plugin."""

    kind: str = ""
    name: str = ""
    priority: int = 0
    enabled: bool = False
    shadow: bool = False
    origin: str = ""
    version: str = ""
    summary: str = ""
    # Whole numbers of 64 bits are texts in the JSON of the wire.
    calls: int | str = 0
    failures: int | str = 0
    latency_p50: float = msgspec.field(default=0.0, name="latencyP50")
    latency_p99: float = msgspec.field(default=0.0, name="latencyP99")
    last_failure: str = ""
    disagreements: int | str = 0
    isolated: str = ""
    broken: str = ""
    because: str = ""

    @property
    def state_word(self) -> str:
        """One word for how it is used."""
        if not self.enabled:
            return "DISABLED"
        return "SHADOW" if self.shadow else "ENABLED"


class PluginTraceView(Struct, rename="camel", frozen=True):
    """One call of a plugin."""

    at: datetime | None = None
    plugin: str = ""
    point: str = ""
    pool: str = ""
    subject: str = ""
    seconds: float = 0.0
    outcome: str = ""
    verdict: str = ""
    shadow: bool = False


class PoolView(Struct, rename="camel", frozen=True):
    """One pool."""

    name: str = ""
    providers: tuple[str, ...] = ()
    instance_type: str = ""
    region: str = ""
    zones: tuple[str, ...] = ()
    min_nodes: int = 0
    max_nodes: int = 0
    target_nodes: int = 0
    current_nodes: int = 0
    ready_nodes: int = 0
    healthy_nodes: int = 0
    lost_nodes: int = 0
    booting_nodes: int = 0
    paused: bool = False
    repair_paused: bool = False
    because: str = ""
    labels: dict[str, str] = {}

    @property
    def state_word(self) -> str:
        """Whether anything has stopped."""
        if self.paused:
            return "PAUSED"
        return "REPAIR-PAUSED" if self.repair_paused else "ACTIVE"


class EventView(Struct, rename="camel", frozen=True):
    """One fact of the journal."""

    seq: int = 0
    at: datetime | None = None
    kind: str = ""
    subjects: tuple[str, ...] = ()
    text: str = ""
    because: str = ""


class ResultView(Struct, frozen=True):
    """What came of a command, as the fact of the journal says it."""

    command_id: str = ""
    state: str = ""
    message: str = ""
    output: str = ""


def read(content: object, view: type[View]) -> View:
    """Read a part of an answer.

    Raises `WireError` when it is not what the API promises: another program, or a newer one that
    broke its promise.
    """
    try:
        # Not strict, because 64-bit integers are text in the JSON mapping.
        return msgspec.convert(content, view, strict=False)
    except msgspec.ValidationError as error:
        raise WireError("internal", f"the server's answer is not understood: {error}") from error


def read_each(answer: Mapping[str, Any], key: str, view: type[View]) -> list[View]:
    """Read the entries under `key`; an absent key means none."""
    return [read(entry, view) for entry in answer.get(key, ())]
