"""The serving plane of a running control plane: bursts, and plugins that misbehave."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from msgspec.structs import replace

from controlplane.pods.pod_contract import RUNTIME, running
from controlplane.pods.pod_double import PodApi
from factories import gpus
from navarch.controlplane import catalogue
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.pods.elsewhere import PodsElsewhere
from navarch.controlplane.pods.manifest import PodSettings
from navarch.controlplane.pods.runtime import PodRuntime
from navarch.controlplane.server_config import ServerConfig
from navarch.controlplane.serving import ServingParts
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.model.replica import NodeServing, ReplicaState
from navarch.core.model.resources import (
    AgentPool,
    AgentPoolSpec,
    Autoscaling,
    GPURequirements,
    MetricTarget,
    ObjectMeta,
    Runtime,
)
from navarch.core.serving.views import Node, Pod
from navarch.plugins.builtin import candidates
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Registry
from navarch.plugins.signals.gateway import PushedSample
from requests_of import get

POOL = "default/chat"
WAIT_MAX = 10.0


def a_pool(minimum: int = 1) -> AgentPool:
    """Return a pool of one to eight agents that follow the queue."""
    spec = AgentPoolSpec(
        min_replicas=minimum,
        max_replicas=8,
        gpu_requirements=GPURequirements(count=1),
        autoscaling=Autoscaling(metrics=(MetricTarget("queue-depth", 10),)),
        runtime=Runtime(command=("serve",)),
    )
    return AgentPool(metadata=ObjectMeta("chat"), spec=spec)


@asynccontextmanager
async def serving(*plugins: tuple[PluginKind, object]) -> AsyncIterator[ControlPlane]:
    """Run a control plane with one node of eight GPUs, its plugins, and a pool of agents."""
    registry = Registry(filler=candidates)
    for kind, plugin in plugins:
        registry.register(kind, plugin)
    control_plane = ControlPlane(ServerConfig(), serving=ServingParts(plugins=registry))
    async with control_plane:
        control_plane.serving.plan_deadline = timedelta(seconds=0.3)
        ask = control_plane.runtime.ask
        await ask(msg.RegisterNode("n1", gpus=gpus()))
        await ask(msg.Heartbeat("n1", serving=NodeServing()))
        await ask(msg.ApplyResources((a_pool(),), "a test"))
        yield control_plane


async def until(control_plane: ControlPlane, happened: Callable[[Fleet], bool]) -> None:
    """Wait until the fleet is so."""
    async with asyncio.timeout(WAIT_MAX):
        while not happened(control_plane.runtime.machine.fleet):
            await control_plane.runtime.wait_appended(control_plane.runtime.seq)


def placed(fleet: Fleet) -> int:
    """Count the replicas that have a place."""
    return sum(each.placed for each in fleet.replicas_in(POOL))


def blocked(word: str) -> Callable[[Fleet], bool]:
    """Make what says whether a replica waits for a reason with this word in it."""

    def says(fleet: Fleet) -> bool:
        blockers = (each.blocker for each in fleet.replicas_in(POOL))
        return any(each is not None and word in each.summary for each in blockers)

    return says


def test_a_pushed_sample_makes_replicas_and_they_are_placed() -> None:
    async def run() -> None:
        async with serving() as control_plane:
            await until(control_plane, lambda fleet: placed(fleet) == 1)
            taken = control_plane.push([PushedSample(POOL, "queue-depth", 42.0)])
            assert taken.accepted == 1
            began = asyncio.get_running_loop().time()
            await until(control_plane, lambda fleet: placed(fleet) == 5)
            assert asyncio.get_running_loop().time() - began < 2

    asyncio.run(run())


def test_metrics_tell_of_replicas_and_of_how_old_their_load_is() -> None:
    async def run() -> None:
        async with serving() as control_plane:
            control_plane.push([PushedSample(POOL, "queue-depth", 420.0)])
            await until(control_plane, lambda fleet: placed(fleet) == 8)
            _, page = await get(control_plane.asgi_app, "/metrics")
            lines = page.decode().splitlines()
            for name, number in (("target_", 8), ("", 8), ("pending_", 0)):
                shown = f'navarch_agent_pool_{name}replicas{{agent_pool="{POOL}"}} {number}'
                assert shown in lines, shown
            age = f'navarch_agent_pool_signal_age_seconds{{agent_pool="{POOL}",signal="'
            [told] = [line for line in lines if line.startswith(age)]
            assert 0 <= float(told.rpartition(" ")[2]) < WAIT_MAX
            assert list(catalogue.faults(page.decode())) == []
            await control_plane.runtime.ask(msg.DeleteResource("AgentPool", POOL, "a test"))
            assert POOL not in control_plane.serving.samples

    asyncio.run(run())


class Hangs:
    """A scheduler that never answers."""

    name = "hangs"
    priority = 1

    def __init__(self) -> None:
        self.released = threading.Event()

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        return self.released.wait(20)

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        return 1


def test_a_scheduler_that_hangs_is_named_and_the_control_plane_goes_on() -> None:
    async def run() -> None:
        plugin = Hangs()
        async with serving((PluginKind.SCHEDULER, plugin)) as control_plane:
            await until(control_plane, blocked("hangs"))
            answer = await control_plane.runtime.ask(msg.Heartbeat("n1"))
            assert isinstance(answer, msg.HeartbeatAccepted)  # others are answered
            off = msg.SetPlugin("scheduler", "hangs", enabled=False, reason="it hangs")
            await control_plane.runtime.ask(off)
            await until(control_plane, lambda fleet: placed(fleet) == 1)
            plugin.released.set()

    asyncio.run(run())


class Raises:
    """A scheduler and an autoscaler that only fail."""

    name = "raises"
    priority = 500
    metric_names = ("queue-depth",)

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        raise RuntimeError("no idea")

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        return 1

    def calculate_replicas(self, pool: AgentPool, current_metrics: object) -> int:
        raise RuntimeError("no idea")


def test_a_scheduler_that_raises_rules_nodes_out_by_its_name() -> None:
    async def run() -> None:
        async with serving((PluginKind.SCHEDULER, Raises())) as control_plane:
            await until(control_plane, blocked("raises failed"))
            summary = control_plane.plugins.calls.summary(PluginKind.SCHEDULER, "raises")
            assert summary.failures >= 1
            assert "no idea" in summary.last_failure

    asyncio.run(run())


def test_an_autoscaler_that_raises_holds_and_others_are_heard() -> None:
    async def run() -> None:
        async with serving((PluginKind.REPLICA_AUTOSCALER, Raises())) as control_plane:
            control_plane.push([PushedSample(POOL, "queue-depth", 30.0)])
            await until(control_plane, lambda fleet: placed(fleet) == 3)

    asyncio.run(run())


class Picky:
    """A scheduler that lets no node pass."""

    name = "picky"
    priority = 5

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        return False

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        return 1


def test_a_scheduler_in_shadow_has_no_effect_and_its_disagreement_is_kept() -> None:
    async def run() -> None:
        async with serving() as control_plane:
            control_plane.plugins.registry.register(PluginKind.SCHEDULER, Picky())
            watch = msg.SetPlugin("scheduler", "picky", shadow=True, reason="a candidate")
            await control_plane.runtime.ask(watch)
            control_plane.push([PushedSample(POOL, "queue-depth", 30.0)])
            await until(control_plane, lambda fleet: placed(fleet) == 3)
            differ = control_plane.plugins.shadows.disagreements(PluginKind.SCHEDULER)
            assert {each.shadow for each in differ} == {"nowhere"}
            assert {each.effective for each in differ} == {"n1"}

    asyncio.run(run())


async def until_it_has(cluster: PodApi, *, pods: int) -> None:
    """Wait until a cluster has so many pods."""
    async with asyncio.timeout(WAIT_MAX):
        while len(cluster.names()) != pods:  # noqa: ASYNC110 - it is in another thread
            await asyncio.sleep(0.05)


def test_a_pool_that_says_kubernetes_is_run_by_a_cluster_from_the_wish_to_the_end() -> None:
    async def run() -> None:
        cluster = PodApi()
        spec = replace(a_pool().spec, runtime=RUNTIME)
        pool = replace(a_pool(), spec=spec)
        planes: list[ControlPlane] = []
        elsewhere = PodsElsewhere(
            lambda: planes[0].runtime.machine.fleet,
            lambda tag: PodRuntime(PodSettings(fleet=tag), url=cluster.url),
        )
        parts = ServingParts(plugins=Registry(filler=candidates), elsewhere=elsewhere)
        control_plane = ControlPlane(ServerConfig(), serving=parts)
        planes.append(control_plane)
        try:
            async with control_plane:
                control_plane.serving.pods_every = timedelta(seconds=0.1)
                await control_plane.runtime.ask(msg.ApplyResources((pool,), "a test"))
                await until_it_has(cluster, pods=1)
                (name,) = cluster.names()
                cluster.bind(name, "gke-1")
                cluster.set_status(name, running(ready=True))
                await until(control_plane, lambda fleet: fleet.replicas[name].node_id == "gke-1")
                ready = ReplicaState.READY
                await until(control_plane, lambda fleet: fleet.replicas[name].state is ready)
                gone = msg.DeleteResource("AgentPool", POOL, "enough")
                await control_plane.runtime.ask(gone)
                await until_it_has(cluster, pods=0)
                cluster.finish(name)
                ended = ReplicaState.ENDED
                await until(control_plane, lambda fleet: fleet.replicas[name].state is ended)
        finally:
            cluster.stop()

    asyncio.run(run())
