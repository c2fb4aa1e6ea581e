"""What the tests of Lambda Cloud's provider share: an account, a key, and a story to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from msgspec.structs import replace

from doubles.http_bench import HttpBench, request_for
from doubles.lambda_cloud import PREFIX, LambdaCloud
from navarch.controlplane.clock import RealClock
from navarch.providers.base import ProvisionRequest
from navarch.providers.lambda_labs import LambdaProvider, LambdaSettings

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
    return request_for("gpu_8x_h100_sxm5", name, fleet)


class Bench(HttpBench[LambdaCloud, LambdaProvider]):
    """An account at the double, and its provider."""

    def provider(self) -> LambdaProvider:
        settings = settings_of(self.url, **self.changes)
        return LambdaProvider(settings, now=self.now, sleep=self.sleep)

    def usual(self) -> ProvisionRequest:
        return request_of()


@contextmanager
def bench() -> Iterator[Bench]:
    """Run a double in real time."""
    clock = RealClock()
    cloud = LambdaCloud(clock.now)
    with cloud.serving() as url:
        yield Bench(cloud, url, clock.now, clock.sleep)
