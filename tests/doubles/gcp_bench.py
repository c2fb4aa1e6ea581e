"""A project of a double, and a provider of ours that buys in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from doubles.compute_engine import ComputeEngine
from doubles.compute_engine_identity import service_account_file
from doubles.compute_engine_rules import PROJECT
from navarch.providers.base import (
    FLEET_LABEL,
    INSTANCE_LABEL,
    POOL_LABEL,
    Instance,
    ProvisionRequest,
)
from navarch.providers.fake import ManualTime
from navarch.providers.gcp import GcpProvider, GcpSettings

T = TypeVar("T")

ZONE = "us-central1-a"

STOCK_OUT = "ZONE_RESOURCE_POOL_EXHAUSTED"


def asking(name: str = "n-1", **changes: Any) -> ProvisionRequest:  # noqa: ANN401
    """Ask for a machine in one zone, as the control plane would."""
    labels = {FLEET_LABEL: "k3f9", INSTANCE_LABEL: name, POOL_LABEL: "training"}
    request = ProvisionRequest(
        name=name, instance_type="a3-highgpu-8g", zone=ZONE, labels=labels, token=name
    )
    return replace(request, **changes)


REGION = asking(zone="", region="us-central1")
"""The same anywhere in a region."""


class Bench:
    """A project, a time that stands still until somebody waits, and the way to a provider."""

    def __init__(self, double: ComputeEngine, folder: Path) -> None:
        self.double = double
        self.time = ManualTime()
        self._folder = folder
        self.settings = GcpSettings(
            project=PROJECT,
            image="projects/images/global/images/family/gpu",
            use_metadata_server=True,
            url=double.url,
            metadata_url=double.url,
            resource_manager_url=double.url,
        )

    def key_file(self) -> str:
        """Write the key file of a service account, and return where."""
        return str(service_account_file(self._folder, self.double.url))

    def provider(self, **changes: Any) -> GcpProvider:  # noqa: ANN401
        """Make one, with other settings."""
        settings = replace(self.settings, **changes)
        return GcpProvider(settings, now=self.time.now, sleep=self.time.sleep)

    def run(
        self,
        story: Callable[[GcpProvider], Awaitable[T]],
        **changes: Any,  # noqa: ANN401
    ) -> T:
        """Let a provider do something, and close it."""

        async def telling() -> T:
            provider = self.provider(**changes)
            try:
                return await story(provider)
            finally:
                await provider.close()

        return asyncio.run(telling())

    def launch(
        self,
        request: ProvisionRequest | None = None,
        **changes: Any,  # noqa: ANN401
    ) -> Instance:
        """Let a provider with other settings buy one machine."""
        return self.run(lambda provider: provider.provision(request or asking()), **changes)

    def zones_asked(self) -> list[str]:
        """Name the zones that were asked for a machine, in order."""
        return [each.path.split("/")[-2] for each in self.double.inserts()]
