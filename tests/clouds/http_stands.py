"""Lambda Cloud and RunPod on trial: their doubles are an `HttpCloud`, and fail alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import ClassVar

import pytest

from clouds.faults import MANY, NODES, Fault, Hurry, Machine, Stand, pool_of, quick
from doubles import lambda_bench, lambda_cloud, runpod
from doubles.http_cloud import HttpCloud, Said, said_json
from navarch.controlplane.clock import RealClock
from navarch.providers.base import Provider
from navarch.providers.lambda_labs import LambdaProvider
from navarch.providers.runpod import RunPodProvider

FOREVER = timedelta(hours=1)

HURRY = 4
"""How many times faster the providers' own waits pass: a Retry-After is a second at least."""


class HttpStand(Stand):
    """What is alike."""

    launch_call: ClassVar[str]
    list_call: ClassVar[str]
    said: ClassVar[Mapping[Fault, Said]]
    """How a launch is answered."""

    def __init__(
        self, cloud: HttpCloud, account: lambda_cloud.Account | runpod.Account, url: str
    ) -> None:
        self.http = cloud
        self.account = account
        self.url = url
        self._keys = set(account.keys)

    def begin(self, fault: Fault) -> None:
        match fault:
            case Fault.STOCK_OUT:
                self.empty_the_stock()
            case Fault.QUOTA | Fault.THROTTLED | Fault.TROUBLE:
                self.http.fault(self.launch_call, self.said[fault], times=MANY)
                if fault is Fault.TROUBLE:
                    self.http.fault(self.list_call, self.said[fault], times=MANY)
            case Fault.LOST_ANSWERS:
                self.http.fault(self.launch_call, acts=True, silence="hang up", times=NODES)
            case Fault.LAGGING_LIST:
                self.account.list_lag = FOREVER
            case Fault.SLOW_BOOT:
                self.booting = True
                self.account.boot_time = FOREVER
            case Fault.REVOKED:
                self.account.keys.clear()
            case Fault.RESTART:
                self.http.fault(self.launch_call, acts=True, silence="hang")
            case Fault.BY_HAND:
                raise AssertionError("it begins with `delete_by_hand`")

    def end(self) -> None:
        self.booting = False
        self.account.boot_time = self.account.list_lag = timedelta()
        self.account.keys |= self._keys
        self.account.stock.clear()
        self.http.heal()

    def empty_the_stock(self) -> None:
        """Leave nothing to sell of what the pool wants."""
        raise NotImplementedError

    @property
    def lists(self) -> int:
        return self.http.count(self.list_call)


class LambdaStand(HttpStand):
    """Lambda Cloud."""

    title = "Lambda"
    pool = pool_of(instance_type="gpu_8x_h100_sxm5", region="us-west-1")
    launch_call = lambda_bench.LAUNCH
    list_call = lambda_bench.LIST
    said: ClassVar[Mapping[Fault, Said]] = {
        Fault.QUOTA: lambda_cloud.fault_of(400, "global/quota-exceeded"),
        Fault.THROTTLED: said_json({"error": {}}, 429, retry_after="1"),
        Fault.TROUBLE: lambda_cloud.fault_of(500, "global/internal-error"),
    }

    def __init__(self, cloud: lambda_cloud.LambdaCloud, url: str) -> None:
        super().__init__(cloud, cloud.account, url)
        self.cloud = cloud

    def provider(self, list_lag: timedelta) -> Provider:
        clock = Hurry(HURRY)
        settings = lambda_bench.settings_of(self.url)
        provider = LambdaProvider(settings, now=clock.now, sleep=clock.sleep)
        return quick(provider, list_lag)

    def empty_the_stock(self) -> None:
        self.cloud.account.stock[self.pool.instance_type, self.pool.region] = 0

    def delete_by_hand(self, machine: Machine) -> None:
        self.cloud.vanish(machine.ref)

    @property
    def machines(self) -> list[Machine]:
        return [Machine(each.asked["name"], each.id) for each in self.cloud.alive()]

    @property
    def made(self) -> int:
        return len(self.cloud.servers)


class RunPodStand(HttpStand):
    """RunPod."""

    title = "RunPod"
    pool = pool_of(instance_type="8x NVIDIA H100 80GB HBM3")
    launch_call = runpod.CREATE
    list_call = runpod.LIST
    said: ClassVar[Mapping[Fault, Said]] = {
        Fault.QUOTA: runpod.problem(402, "your balance is too low"),
        Fault.THROTTLED: runpod.problem(429, "rate limit exceeded", retry_after="1"),
        Fault.TROUBLE: runpod.problem(500, "something broke"),
    }

    def __init__(self, cloud: runpod.RunPodCloud, url: str) -> None:
        super().__init__(cloud, cloud.account, url)
        self.cloud = cloud

    def provider(self, list_lag: timedelta) -> Provider:
        clock = Hurry(HURRY)
        settings = runpod.settings_of(self.url)
        provider = RunPodProvider(settings, now=clock.now, sleep=clock.sleep)
        return quick(provider, list_lag)

    def empty_the_stock(self) -> None:
        self.cloud.account.stock["NVIDIA H100 80GB HBM3"] = 0

    def delete_by_hand(self, machine: Machine) -> None:
        self.cloud.pods[machine.ref].ended_at = self.cloud.now()

    @property
    def machines(self) -> list[Machine]:
        pods = self.cloud.pods.copy().values()
        return [Machine(each.asked["name"], each.id) for each in pods if each.ended_at is None]

    @property
    def made(self) -> int:
        return len(self.cloud.pods)


@contextmanager
def lambda_stand() -> Iterator[Stand]:
    """Run Lambda Cloud's double."""
    cloud = lambda_cloud.LambdaCloud(RealClock().now)
    with pytest.MonkeyPatch.context() as patch, cloud.serving() as url:
        patch.setenv(lambda_bench.KEY_ENV, lambda_bench.KEY)
        yield LambdaStand(cloud, url)


@contextmanager
def runpod_stand() -> Iterator[Stand]:
    """Run RunPod's double."""
    cloud = runpod.RunPodCloud(RealClock().now)
    with pytest.MonkeyPatch.context() as patch, cloud.serving() as url:
        patch.setenv(runpod.KEY_ENV, runpod.KEY)
        yield RunPodStand(cloud, url)
