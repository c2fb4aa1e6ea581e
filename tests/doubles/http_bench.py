"""A double over HTTP that runs, and the provider that uses it: what tests of such clouds share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

from doubles.http_cloud import Closable, HttpCloud, run
from navarch.providers.base import (
    FLEET_LABEL,
    INSTANCE_LABEL,
    POOL_LABEL,
    Instance,
    Provider,
    ProvisionRequest,
)
from navarch.providers.pace import Now, Sleep


class OfACloud(Provider, Closable, Protocol):
    """A provider with connections."""


CloudT = TypeVar("CloudT", bound=HttpCloud)
ProviderT = TypeVar("ProviderT", bound=OfACloud)
T = TypeVar("T")


class HttpBench(ABC, Generic[CloudT, ProviderT]):
    """A double that runs, and what a provider of it is made of."""

    def __init__(self, cloud: CloudT, url: str, now: Now, sleep: Sleep) -> None:
        self.cloud = cloud
        self.url = url
        self.now = now
        self.sleep = sleep
        self.changes: dict[str, Any] = {}
        """What differs in the provider's settings."""

    @abstractmethod
    def provider(self) -> ProviderT:
        """Make a new provider."""

    @abstractmethod
    def usual(self) -> ProvisionRequest:
        """Return what is asked for where a test does not care."""

    def run(self, story: Callable[[ProviderT], Awaitable[T]]) -> T:
        """Run a story with a new provider."""
        return run(self.provider, story)

    def provision(self, request: ProvisionRequest | None = None) -> Instance:
        return self.run(lambda provider: provider.provision(request or self.usual()))

    def list(self) -> list[Instance]:
        return self.run(lambda provider: provider.list())

    def terminate(self, instance_id: str) -> None:
        self.run(lambda provider: provider.terminate(instance_id))


def request_for(instance_type: str, name: str, fleet: str) -> ProvisionRequest:
    """Ask for a machine as the control plane does."""
    return ProvisionRequest(
        name=name,
        instance_type=instance_type,
        labels={FLEET_LABEL: fleet, INSTANCE_LABEL: name, POOL_LABEL: "training"},
        token=name,
    )
