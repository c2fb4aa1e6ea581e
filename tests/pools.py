"""Pools, providers that tell what was asked of them, and control planes in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from msgspec.structs import replace

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.pool import Pool, PoolConfig, ProviderConfig
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model.instance import InstanceState
from navarch.core.model.messages import RegisterNode
from navarch.core.model.offer import Offer
from navarch.core.model.pool import PoolSpec
from navarch.core.selection.base import Market, Ranker
from navarch.core.settings import Settings
from navarch.providers.base import Instance, ProvisionRequest
from navarch.providers.fake import FakeCloud, FakeProvider

MONDAY = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
TYPE = "h100-8x"

T = TypeVar("T")


def run(story: Coroutine[Any, Any, T]) -> T:
    """Run a story to its end; one that hangs fails."""

    async def bounded() -> T:
        async with asyncio.timeout(10):
            return await story

    return asyncio.run(bounded())


async def until(holds: Callable[[], bool]) -> None:
    """Let everybody else run until something holds; `run` bounds the wait."""
    while not holds():  # noqa: ASYNC110 - what is waited for sets no event
        await asyncio.sleep(0)


class TellingProvider(FakeProvider):
    """A fake provider that keeps what was asked of it, in order."""

    def __init__(self, name: str, clock: FakeClock, cloud: FakeCloud | None = None) -> None:
        cloud = cloud or FakeCloud(name=name)
        super().__init__(name=name, cloud=cloud, now=clock.now, sleep=clock.sleep)
        self._clock = clock
        self.asked: list[str] = []
        self.requests: list[ProvisionRequest] = []

    async def provision(self, request: ProvisionRequest) -> Instance:
        self.asked.append(f"provision {request.name}")
        self.requests.append(request)
        return await super().provision(request)

    async def terminate(self, instance_id: str) -> None:
        self.asked.append(f"terminate {instance_id}")
        await super().terminate(instance_id)

    @property
    def alive(self) -> list[str]:
        """The ids of the machines that exist, whatever anybody believes."""
        return [machine.instance.id for machine in self.cloud.alive(self._clock.now())]


class Backwards:
    """A ranker of others: asks those of the highest priority number first."""

    name = "backwards"

    def rank(self, offers: Sequence[Offer], market: Market) -> Sequence[Offer]:
        return sorted(offers, key=lambda each: each.priority, reverse=True)

    def because(self, offer: Offer, market: Market) -> str:
        return "it is the last"


class Scene:
    """A clock, two providers, and pools over them."""

    def __init__(self) -> None:
        self.clock = FakeClock(MONDAY)
        self.first = TellingProvider("first", self.clock)
        self.second = TellingProvider("second", self.clock)

    def pool(self, **changes: object) -> Pool:
        """Make a pool that buys from the first provider alone."""
        config = replace(PoolConfig("training", TYPE, max_nodes=10), **changes)
        return Pool.simple(config, self.first, clock=self.clock)

    def wide_pool(self, strategy: str | Ranker = "priority", **changes: object) -> Pool:
        """Make a pool that buys from the first provider, and else from the second."""
        config = replace(PoolConfig("training", TYPE, max_nodes=10), **changes)
        providers = [
            ProviderConfig("first", self.first, priority=1),
            ProviderConfig("second", self.second, priority=2),
        ]
        return Pool(config, providers, strategy, clock=self.clock)


def names(nodes: Sequence[Instance]) -> list[int]:
    """Return the serial numbers in our ids."""
    return [int(node.name.rsplit("-", 1)[1]) for node in nodes]


def a_spec(**changes: object) -> PoolSpec:
    """Return a pool of a control plane: two to ten nodes, scaled without a cooldown."""
    spec = PoolSpec("training", "fake", TYPE, min_nodes=2, max_nodes=10, cooldown=timedelta())
    return replace(spec, **changes)


SETTINGS = Settings(registration_timeout=timedelta(minutes=2))


@asynccontextmanager
async def a_control_plane(
    clock: FakeClock, *specs: PoolSpec, settings: Settings = SETTINGS
) -> AsyncIterator[tuple[ControlPlane, FakeProvider]]:
    """Start a control plane over a provider in memory; it has the pools of `specs`."""
    provider = FakeProvider(now=clock.now, sleep=clock.sleep)
    control_plane = ControlPlane(ServerConfig(clock=clock, settings=settings))
    control_plane.register_provider(provider)
    async with control_plane:
        await control_plane.configure_pools(specs)
        yield control_plane, provider


async def register_all(control_plane: ControlPlane, count: int) -> list[str]:
    """Wait until so many machines of ours are there, be their agents, and return their ids."""
    fleet = control_plane.runtime.machine.fleet

    def waiting() -> list[str]:
        return [
            each.id
            for each in fleet.instances.values()
            if each.state is InstanceState.PENDING_REGISTRATION
        ]

    while len(running(control_plane)) < count:
        await until(lambda: bool(waiting()))
        for id_ in waiting():
            await control_plane.runtime.ask(RegisterNode(id_))
    return running(control_plane)


def running(control_plane: ControlPlane) -> list[str]:
    """Return the ids of all machines that run."""
    instances = control_plane.runtime.machine.fleet.instances.values()
    return [each.id for each in instances if each.state is InstanceState.RUNNING]


async def pass_time(clock: FakeClock, duration: timedelta, step: timedelta) -> None:
    """Move a clock on in steps, and let everybody do what is due after each."""
    passed = timedelta()
    await _let_run()
    while passed < duration:
        clock.advance(step)
        passed += step
        await _let_run()


async def _let_run() -> None:
    for _ in range(20):
        await asyncio.sleep(0)
