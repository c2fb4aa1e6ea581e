"""An engine on a Unix socket, and a provider that asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from msgspec import structs

from doubles.docker_engine import Container, DockerEngine
from navarch.providers.base import FLEET_LABEL, INSTANCE_LABEL, POOL_LABEL, ProvisionRequest
from navarch.providers.docker import ContainerType, DockerProvider, DockerSettings

T = TypeVar("T")

TYPES = {
    "small": ContainerType(),
    "one-gpu": ContainerType(gpu_count=1, gpu_type="NVIDIA L4", cpus=2, memory_gb=8),
    "two-gpus": ContainerType(gpu_count=2, gpu_type="NVIDIA L4"),
}


class Bench:
    """An engine, and how it is used."""

    def __init__(self, engine: DockerEngine, host: str) -> None:
        self.engine = engine
        self.settings = DockerSettings(
            image="node:1",
            types=TYPES,
            host=host,
            gpu_ids=("0", "1", "2"),
            max_containers=3,
            timeout=timedelta(seconds=5),
            launch_timeout=timedelta(seconds=5),
        )

    def provider(self, **changes: object) -> DockerProvider:
        """Make a provider of this engine."""
        return DockerProvider(structs.replace(self.settings, **changes))

    def run(self, call: Callable[[DockerProvider], Awaitable[T]], **changes: object) -> T:
        """Ask a new provider something."""

        async def ask() -> T:
            return await call(self.provider(**changes))

        return asyncio.run(ask())

    def container(self, name: str = "n-0001") -> Container:
        """Return what the engine has of this name."""
        (found,) = [each for each in self.engine.containers.values() if each.name == name]
        return found


def request_of(name: str = "n-0001", **changes: object) -> ProvisionRequest:
    """Ask for a small container, as the control plane would."""
    request = ProvisionRequest(
        name=name,
        instance_type="small",
        labels={FLEET_LABEL: "f1", INSTANCE_LABEL: name, POOL_LABEL: "p"},
        token=name,
    )
    return structs.replace(request, **changes)
