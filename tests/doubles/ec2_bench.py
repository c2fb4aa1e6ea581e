"""What the tests of EC2's provider share: an account, a time, and what is asked for."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from msgspec.structs import replace

from doubles.ec2 import Ec2Double
from navarch.providers.aws import AwsProvider, AwsSettings
from navarch.providers.base import FLEET_LABEL, INSTANCE_LABEL, ProvisionRequest
from navarch.providers.fake import ManualTime

T = TypeVar("T")

KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMIK7MDENG"
USER_DATA = "#cloud-config\n# token: s3cr3t"
P5 = "p5.48xlarge"
FLEET = "k3f9"


class Bench:
    """An EC2, the time of the providers, and the providers made, which are closed at the end."""

    def __init__(self, ec2: Ec2Double, url: str) -> None:
        """Begin with settings that are enough to launch. The time stands still."""
        self.ec2 = ec2
        self.time = ManualTime()
        self.settings = AwsSettings(
            regions=("us-east-1",),
            image="ami-0123456789abcdef0",
            access_key_id_env="OUR_KEY_ID",
            secret_access_key_env="OUR_SECRET",
            endpoint_url=url,
            timeout=timedelta(seconds=20),
        )
        self._made: list[AwsProvider] = []

    def provider(self, **changes: object) -> AwsProvider:
        """Make a provider, with settings that may differ."""
        self._made.append(AwsProvider(replace(self.settings, **changes), now=self.time.now))
        return self._made[-1]

    def stranger(self) -> str:
        """Launch a machine as others do, without a tag, and return EC2's id."""
        session = importlib.import_module("botocore.session").Session()
        session.set_credentials(KEY, SECRET)
        client = session.create_client("ec2", "us-east-1", endpoint_url=self.settings.endpoint_url)
        answer = client.run_instances(
            ImageId=self.settings.image, InstanceType=P5, MinCount=1, MaxCount=1
        )
        client.close()
        return str(answer["Instances"][0]["InstanceId"])

    def close(self) -> None:
        """Close all providers."""
        for each in self._made:
            asyncio.run(each.close())


def request(name: str = "train-k3f9-0001", **other: object) -> ProvisionRequest:
    """Ask for a machine as the control plane does."""
    asked = ProvisionRequest(
        name=name,
        instance_type=P5,
        labels={FLEET_LABEL: FLEET, INSTANCE_LABEL: name},
        user_data=USER_DATA,
        token=name,
    )
    return replace(asked, **other)


def run(asked: Coroutine[Any, Any, T]) -> T:
    """Wait for one call."""
    return asyncio.run(asked)


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Look again and again until it is so; what is looked at is in other threads or processes."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - they set no event of ours
            await asyncio.sleep(0.01)
