"""Amazon EC2 on trial."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from clouds.faults import MANY, NODES, Fault, Machine, Stand, pool_of, quick
from doubles.ec2 import Answer, Asked, Ec2Double, Step, backends, serving
from doubles.ec2_bench import KEY, P5, SECRET
from navarch.controlplane.clock import RealClock
from navarch.providers.aws import AwsProvider, AwsSettings
from navarch.providers.base import Provider

REGION = "us-east-1"

REFUSALS = {
    Fault.STOCK_OUT: "InsufficientInstanceCapacity",
    Fault.QUOTA: "VcpuLimitExceeded",
    Fault.THROTTLED: "RequestLimitExceeded",
    Fault.TROUBLE: "InternalError",
}


class AwsStand(Stand):
    """Amazon EC2."""

    title = "AWS"
    pool = pool_of(instance_type=P5, region=REGION)

    def __init__(self, ec2: Ec2Double, url: str) -> None:
        self.ec2 = ec2
        self._settings = AwsSettings(
            regions=(REGION,),
            image="ami-0123456789abcdef0",
            access_key_id_env="OUR_KEY_ID",
            secret_access_key_env="OUR_SECRET",
            endpoint_url=url,
            timeout=timedelta(seconds=20),
        )
        self._held: threading.Event | None = None
        described = ec2._described  # noqa: SLF001 - the double has no script for it

        def described_between_launches(call: Asked, act: Callable[[], Answer]) -> Answer:
            """Never show a machine in the moment before the double hides it."""
            with ec2._launching:  # noqa: SLF001 - as above
                return described(call, act)

        ec2._described = described_between_launches  # type: ignore[method-assign] # noqa: SLF001

    def provider(self, list_lag: timedelta) -> Provider:
        return quick(AwsProvider(self._settings, now=RealClock().now), list_lag)

    def begin(self, fault: Fault) -> None:
        ec2 = self.ec2
        match fault:
            case Fault.STOCK_OUT | Fault.QUOTA | Fault.THROTTLED | Fault.TROUBLE:
                for _ in range(MANY):
                    ec2.fail_next(REFUSALS[fault])
                    if fault is Fault.TROUBLE:
                        ec2.fail_next(REFUSALS[fault], operation="DescribeInstances")
            case Fault.LOST_ANSWERS:
                ec2.next("RunInstances", *[Step(drops=True)] * NODES)
            case Fault.LAGGING_LIST:
                ec2.lists_lag = True
            case Fault.SLOW_BOOT:
                ec2.boots = False
            case Fault.REVOKED:
                ec2.keys = set()
            case Fault.RESTART:
                self._held = threading.Event()
                ec2.next("RunInstances", Step(answers_after=self._held))
            case Fault.BY_HAND:
                raise AssertionError("it begins with `delete_by_hand`")

    def end(self) -> None:
        if self._held is not None:
            self._held.set()
        self.ec2.heal()
        self.ec2.catch_up()

    def delete_by_hand(self, machine: Machine) -> None:
        for each in self.ec2.alive():
            if f"{REGION}/{each.id}" == machine.ref:
                each.terminate()

    @property
    def machines(self) -> list[Machine]:
        return [Machine(_name(each), f"{REGION}/{each.id}") for each in self.ec2.alive()]

    @property
    def made(self) -> int:
        return sum(1 for each in backends().values() for _ in each.all_instances())

    @property
    def lists(self) -> int:
        return len(self.ec2.calls("DescribeInstances"))

    @property
    def running(self) -> list[str]:
        return [each.name for each in self.machines] if self.ec2.boots else []


def _name(instance: object) -> str:
    tags = instance.get_tags()  # type: ignore[attr-defined]
    return next((str(each["value"]) for each in tags if each["key"] == "Name"), "")


@contextmanager
def aws_stand() -> Iterator[Stand]:
    """Run EC2's double, and leave the SDK nothing of this machine's own."""
    with pytest.MonkeyPatch.context() as patch, serving() as served:
        patch.setenv("OUR_KEY_ID", KEY)
        patch.setenv("OUR_SECRET", SECRET)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, "/nonexistent")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION"):
            patch.delenv(name, raising=False)
        yield AwsStand(served.cloud, served.url)
