"""What the tests of Lambda Cloud's provider share: an account, a key, and a story to run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from msgspec.structs import replace

from doubles.http_cloud import run
from doubles.lambda_cloud import PREFIX, LambdaCloud
from navarch.controlplane.clock import RealClock
from navarch.providers.base import (
    FLEET_LABEL,
    INSTANCE_LABEL,
    POOL_LABEL,
    Instance,
    ProvisionRequest,
)
from navarch.providers.lambda_labs import LambdaProvider, LambdaSettings
from navarch.providers.pace import Now, Sleep

T = TypeVar("T")

KEY_ENV = "NAVARCH_TEST_LAMBDA_KEY"
KEY = "lambda-key-for-tests"
LAUNCH = f"POST {PREFIX}/instance-operations/launch"
TERMINATE = f"POST {PREFIX}/instance-operations/terminate"
LIST = f"GET {PREFIX}/instances"
TYPES = f"GET {PREFIX}/instance-types"


def settings_of(url: str, **changes: object) -> LambdaSettings:
    """Settings for the double at `url`, at a pace that tests can wait for."""
    settings = LambdaSettings(
        api_key_env=KEY_ENV,
        region="us-west-1",
        ssh_key_name="ops",
        url=f"{url}{PREFIX}",
        request_interval=timedelta(milliseconds=1),
        launch_interval=timedelta(milliseconds=2),
        timeout=timedelta(seconds=5),
        launch_timeout=timedelta(seconds=5),
    )
    return replace(settings, **changes)


def request_of(name: str = "training-1", fleet: str = "fleet-1") -> ProvisionRequest:
    """Ask for a machine as the control plane does."""
    return ProvisionRequest(
        name=name,
        instance_type="gpu_8x_h100_sxm5",
        labels={FLEET_LABEL: fleet, INSTANCE_LABEL: name, POOL_LABEL: "training"},
        token=name,
    )


@dataclass
class Bench:
    """A double that runs, and what a provider of it is made of."""

    cloud: LambdaCloud
    url: str
    now: Now
    sleep: Sleep
    changes: dict[str, Any] = field(default_factory=dict)
    """What differs in the provider's settings."""

    def provider(self) -> LambdaProvider:
        settings = settings_of(self.url, **self.changes)
        return LambdaProvider(settings, now=self.now, sleep=self.sleep)

    def run(self, story: Callable[[LambdaProvider], Awaitable[T]]) -> T:
        """Run a story with a new provider."""
        return run(self.provider, story)

    def provision(self, request: ProvisionRequest | None = None) -> Instance:
        return self.run(lambda provider: provider.provision(request or request_of()))

    def list(self) -> list[Instance]:
        return self.run(lambda provider: provider.list())

    def terminate(self, instance_id: str) -> None:
        self.run(lambda provider: provider.terminate(instance_id))


@contextmanager
def bench() -> Iterator[Bench]:
    """Run a double in real time."""
    clock = RealClock()
    cloud = LambdaCloud(clock.now)
    with cloud.serving() as url:
        yield Bench(cloud, url, clock.now, clock.sleep)
