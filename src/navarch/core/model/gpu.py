"""What a node says about its GPUs: what they are, and how they feel right now."""

from __future__ import annotations

from msgspec import Struct


class GPU(Struct, frozen=True, gc=False, omit_defaults=True):
    """One GPU as its driver describes it."""

    index: int
    """Position in the node, from 0."""
    uuid: str = ""
    name: str = ""
    pci_bus_id: str = ""
    memory_total: int = 0
    """Bytes."""
    driver_version: str = ""
    cuda_version: str = ""


class GPUSample(Struct, frozen=True, gc=False):
    """One reading of one GPU."""

    index: int
    temperature_celsius: int = 0
    power_watts: int = 0
    utilization_percent: float = 0.0
    """From 0 to 100."""
    memory_used: int = 0
    """Bytes."""


class NodeSample(Struct, frozen=True, gc=False):
    """One reading of a whole node, as a heartbeat brings it."""

    cpu_percent: float = 0.0
    """From 0 to 100, all processors together."""
    memory_percent: float = 0.0
    """From 0 to 100."""
    gpus: tuple[GPUSample, ...] = ()

    @property
    def utilization_percent(self) -> float | None:
        """The mean over the node's GPUs, from 0 to 100; None when no GPU was read."""
        if not self.gpus:
            return None
        return sum(gpu.utilization_percent for gpu in self.gpus) / len(self.gpus)
