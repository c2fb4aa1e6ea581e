"""Which replicas of a fleet have pods."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from controlplane.pods.pod_contract import NOW, RUNTIME
from controlplane.pods.pod_double import PodApi
from navarch.controlplane.pods.elsewhere import PodsElsewhere, wishes
from navarch.controlplane.pods.manifest import PodSettings
from navarch.controlplane.pods.runtime import PodRuntime
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.replica import ReplicaSeen, ReplicaState
from navarch.core.model.resources import (
    AgentPool,
    AgentPoolSpec,
    GPURequirements,
    ObjectMeta,
    Resource,
    Runtime,
)


@pytest.fixture
def cluster() -> Iterator[PodApi]:
    """Yield an API server."""
    api = PodApi()
    yield api
    api.stop()


def applied(name: str, runtime: Runtime) -> ev.ResourceApplied:
    """Want a pool of agents."""
    spec = AgentPoolSpec(runtime=runtime, gpu_requirements=GPURequirements(count=1))
    resource: Resource = AgentPool(metadata=ObjectMeta(name=name), spec=spec)
    return ev.ResourceApplied(NOW, resource)


def requested(replica: str, agent_pool: str, runtime: str) -> ev.ReplicaRequested:
    """Want a replica."""
    return ev.ReplicaRequested(NOW, replica, agent_pool, "the load", runtime=runtime)


def a_fleet(*facts: ev.Fact) -> Fleet:
    """Fold facts of a fleet with one pool on Kubernetes and one on nodes of ours."""
    fleet = Fleet()
    given: tuple[ev.Fact, ...] = (
        applied("chat", RUNTIME),
        applied("here", Runtime(command=("serve",))),
        requested("chat-1", "default/chat", "kubernetes"),
        requested("chat-2", "default/chat", "kubernetes"),
        requested("here-1", "default/here", "process"),
    )
    for fact in (*given, *facts):
        fold.apply(fleet, fact)
    return fleet


def test_replicas_of_kubernetes_that_are_wanted_have_pods(cluster: PodApi) -> None:
    fleet = a_fleet()

    async def story() -> list[ReplicaSeen]:
        elsewhere = PodsElsewhere(
            lambda: fleet, lambda tag: PodRuntime(PodSettings(fleet=tag), url=cluster.url)
        )
        try:
            await elsewhere.turn("k3f9", NOW)
            fold.apply(fleet, ev.ReplicaStopping(NOW, "chat-2", "too many"))
            return list(await elsewhere.turn("k3f9", NOW))
        finally:
            await elsewhere.close()

    told = {each.id: each.state for each in asyncio.run(story())}
    assert told == {"chat-1": ReplicaState.PENDING, "chat-2": ReplicaState.STOPPING}
    assert cluster.names() == ["chat-1"]


def test_one_that_has_failed_gets_no_other_pod_before_its_time() -> None:
    retry_at = NOW + timedelta(seconds=30)
    fleet = a_fleet(
        ev.ReplicaPlaced(NOW, "chat-1", "gpu-1", "kubernetes has placed it"),
        ev.ReplicaDisplaced(NOW, "chat-1", "gpu-1", "Evicted", failed=True, retry_at=retry_at),
    )
    wanted, kept = wishes(fleet, NOW)
    assert ([each.id for each in wanted], kept) == (["chat-2"], frozenset({"chat-1"}))
    wanted, kept = wishes(fleet, retry_at)
    assert ([each.id for each in wanted], kept) == (["chat-1", "chat-2"], frozenset())


def test_a_pool_that_nobody_wants_any_more_takes_no_pod_with_it(cluster: PodApi) -> None:
    fleet = a_fleet()
    wanted, _ = wishes(fleet, NOW)
    fold.apply(fleet, ev.ResourceDeleted(NOW, "AgentPool", "default/chat"))
    assert wishes(fleet, NOW) == ([], frozenset({"chat-1", "chat-2"}))

    async def story() -> None:
        runtime = PodRuntime(PodSettings(fleet="k3f9"), url=cluster.url)
        try:
            await runtime.reconcile(wanted, NOW)
            await runtime.reconcile([], NOW, keep=frozenset({"chat-1"}))
        finally:
            await runtime.close()

    asyncio.run(story())
    assert cluster.names() == ["chat-1"]
