"""Turns of a host: what plugins leave in the traces, and what those in shadow would have said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from factories import name
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.plugin_host import PluginHost
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.resources import AgentPool, Autoscaling, MetricTarget, Scheduling
from navarch.core.serving.scheduling.gpus import GPUFit
from navarch.core.serving.views import Node, Pod
from navarch.errors import PluginError
from navarch.plugins import builtin
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Registry
from navarch.plugins.scheduling import Scheduler
from navarch.plugins.signals import ProviderChain
from navarch.plugins.turns import Turns
from navarch.wire.auth import Authenticator
from navarch.wire.pages import Pages
from serving_world import A_CLASS, A_MODEL, POOL, ServingWorld, a_pool

SCALING = Autoscaling(metrics=(MetricTarget("queue-depth", target=2.0),))


class Elsewhere:
    """A scheduler that lets nothing onto the first node."""

    name = "elsewhere"
    priority = 150

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        return not node.name.endswith("1")

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        return 50


class Ten:
    """An autoscaler that wants ten, always."""

    name = "ten"
    priority = 10
    metric_names = ("queue-depth",)

    def calculate_replicas(self, pool: AgentPool, current_metrics: Mapping[str, float]) -> int:
        return 10


class Queue:
    """A metrics provider that knows one number."""

    name = "queue"
    priority = 10

    async def get_metric(self, pool: AgentPool, metric_type: str) -> float:
        return 8.0

    def list_metrics(self) -> list[str]:
        return ["queue-depth"]


class Stage:
    """A host, and a world whose pool waits for two replicas."""

    def __init__(self, pool: AgentPool | None = None, nodes: int = 2) -> None:
        pool = pool or a_pool(autoscaling=SCALING)
        self.world = ServingWorld(nodes, resources=[A_MODEL, A_CLASS, pool])
        self.world.turn()
        self.clock = FakeClock(self.world.now)
        self.host = PluginHost(Registry(filler=builtin.candidates), self.clock)
        self.turns = Turns(self.host.registry, self.host.calls, shadows=self.host.shadows)

    def plan(self) -> msg.PlacementsProposed:
        problem = self.turns.problem(self.world.fleet, self.world.machine.sightings, self.world.now)
        assert problem is not None
        return self.turns.plan(problem)

    def place(self) -> list[str]:
        return [each.node_id for each in self.plan().proposals]

    def propose(self) -> list[str]:
        proposed = self.plan()
        self.world.turn(proposed)
        self.world.turns(6)
        return [each.node_id for each in proposed.proposals]

    def scale(self) -> int:
        async def turn() -> int:
            wanted = self.turns.signals_of(self.world.fleet, POOL)
            assert wanted is not None
            chain = ProviderChain(
                lambda: self.host.registry.metrics_providers,
                self.host.calls,
                self.clock.now,
            )
            samples = await chain.read(*wanted)
            now = self.world.now
            asked = self.turns.asking(self.world.fleet, POOL, samples, now)
            assert asked is not None
            proposals = await self.turns.ask_in_time(asked, now)
            return self.turns.recommended(asked, proposals, now).target

        return asyncio.run(turn())

    def in_shadow(self, kind: PluginKind, plugin: object) -> None:
        self.host.registry.register(kind, plugin)
        self.host.registry.set(kind, getattr(plugin, "name", ""), shadow=True)
        self.host.mark_shadows()

    def page(self, path: str) -> Any:  # noqa: ANN401 - a JSON document
        pages = Pages()
        self.host.serve(pages)
        return json.loads(pages.page(path, b"limit=1000", None, Authenticator([])).body)

    def shown(self, kind: str, name: str) -> dict[str, Any]:
        plugins = self.page(f"/debug/plugins/{kind}")["plugins"]
        return next(each for each in plugins if each["name"] == name)


def test_each_question_to_a_built_in_scheduler_leaves_a_trace_with_its_verdict() -> None:
    stage = Stage()
    placed = stage.place()
    traces = stage.page("/debug/plugins/scheduler/trace")["traces"]
    calls = [(each["plugin"], each["point"], each["verdict"]) for each in traces]
    assert ("gpu-fit", "prepare", "it has a say") in calls
    assert ("gpu-fit", "mask", "2 nodes, 2 fit") in calls
    assert ("node-selector", "prepare", "it has nothing to say") in calls
    scored = next(said for name, point, said in calls if (name, point) == ("packing", "score"))
    assert scored == "2 nodes, 12 to 12"
    assert {each["pool"] for each in traces} == {POOL}
    assert all(each["outcome"] == "ok" and each["seconds"] >= 0 for each in traces)
    assert stage.shown("scheduler", "gpu-fit")["calls"] == 2
    assert all(placed)
    assert len(set(calls)) == len(calls)  # the second replica is of the same kind


def test_a_built_in_scheduler_that_breaks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> object:
        raise ZeroDivisionError("no GPUs")

    stage = Stage()
    monkeypatch.setattr(GPUFit, "mask", broken)
    with pytest.raises(PluginError, match="gpu-fit failed in mask: ZeroDivisionError: no GPUs"):
        stage.place()
    assert stage.shown("scheduler", "gpu-fit")["failures"] == 1


def test_a_placement_is_the_same_with_and_without_traces() -> None:
    stage = Stage()
    pods = [Pod(f"p{at}", gpu_request=1 + at % 3) for at in range(12)]
    nodes = [Node(f"n{at}", capacity={"nvidia.com/gpu": 8.0}) for at in range(4)]
    traced = Scheduler(caller=stage.host.calls).place(pods, nodes)
    assert [(each.node, each.gpus, each.score) for each in traced] == [
        (each.node, each.gpus, each.score) for each in Scheduler().place(pods, nodes)
    ]
    assert np.isfinite([each.score for each in traced]).all()


def test_a_pool_that_is_scaled_leaves_traces_of_providers_and_autoscalers() -> None:
    stage = Stage()
    stage.host.registry.register(PluginKind.METRICS_PROVIDER, Queue())
    assert stage.scale() == 4
    scaled = stage.page("/debug/plugins/autoscaler/trace")["traces"]
    assert [(each["plugin"], each["point"], each["pool"], each["verdict"]) for each in scaled] == [
        ("queue-depth", "propose", POOL, "4 replicas: queue-depth 8 at 2 a replica needs 4")
    ]
    read = stage.page("/debug/plugins/metrics-provider/trace")["traces"]
    assert [each["plugin"] for each in read] == ["queue", "gateway", "static"]
    assert read[0]["subject"].startswith("queue-depth, ")


def test_a_scheduler_in_shadow_changes_nothing_and_shows_where_it_disagrees() -> None:
    stage = Stage()
    before = stage.place()
    stage.in_shadow(PluginKind.SCHEDULER, Elsewhere())
    assert stage.place() == before
    differ = stage.page("/debug/plugins/scheduler/shadow")["disagreements"]
    assert [(each["plugin"], each["point"]) for each in differ] == [("elsewhere", "place")] * 2
    assert {each["effective"] for each in differ} == set(before)
    assert {each["shadow"] for each in differ} == {name(2)}
    shown = stage.shown("scheduler", "elsewhere")
    assert (shown["shadow"], shown["shadow_same"], shown["shadow_different"]) == (True, 0, 2)
    traces = stage.page("/debug/plugins/scheduler/trace")["traces"]
    assert all(each["shadow"] == (each["plugin"] == "elsewhere") for each in traces)


def test_an_autoscaler_in_shadow_changes_nothing_and_shows_where_it_disagrees() -> None:
    stage = Stage()
    stage.host.registry.register(PluginKind.METRICS_PROVIDER, Queue())
    stage.in_shadow(PluginKind.REPLICA_AUTOSCALER, Ten())
    assert stage.scale() == 4
    (differs,) = stage.page("/debug/plugins/autoscaler/shadow")["disagreements"]
    assert (differs["plugin"], differs["effective"], differs["shadow"]) == ("ten", "4", "10")
    assert differs["pool"] == POOL
    assert stage.shown("autoscaler", "ten")["shadow_different"] == 1
    stage.host.registry.set(PluginKind.REPLICA_AUTOSCALER, "ten", shadow=False)
    assert stage.scale() == 8  # as many as the pool may have


@pytest.mark.parametrize("gang,displaced", [(True, 1), (2, 2)])
def test_who_lost_its_place_is_placed_again_alone_or_with_its_gang(
    gang: int, displaced: int
) -> None:
    stage = Stage(a_pool(scheduling=Scheduling(gang=gang)), nodes=3)
    places = stage.propose()
    assert places == [name(1), name(1)]  # together, as there is room
    one, other = stage.world.living()
    fold.apply(stage.world.fleet, ev.ReplicaDisplaced(stage.world.now, one.id, name(1), "moved"))
    stage.world.turn()
    assert stage.world.states().count("pending") == displaced
    stage.world.turns(6)
    assert len(stage.propose()) == displaced
    stage.world.turns(6)
    assert stage.world.states() == ["ready", "ready"]
    assert [each.id for each in stage.world.living()] == [one.id, other.id]
