"""Our nodes as scheduler plugins see them, and the pools that could grow for a pod."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from navarch.core.model.fleet import Fleet, Weights
from navarch.core.model.gpu import GPU
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.ladder import Told
from navarch.core.model.messages import Sold
from navarch.core.model.node import Contact, Intent, Metadata, Node, Phase
from navarch.core.model.pool import PoolSpec, Source
from navarch.core.model.replica import ModelSeen, NodeServing, Replica, ReplicaState
from navarch.core.model.report import Health
from navarch.core.model.resources import (
    AgentPool,
    AgentPoolSpec,
    GPURequirements,
    Model,
    ModelSpec,
    ObjectMeta,
    Scheduling,
)
from navarch.core.model.sightings import Catalog, Sightings
from navarch.core.serving import nodes
from navarch.core.serving.recipes import Recipe
from navarch.core.serving.scheduling import Running, Snapshot
from navarch.core.serving.views import Pod, Slot, Taint

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GPUS = tuple(GPU(at, name="NVIDIA H100", memory_total=80 << 30) for at in range(4))
LABELS = {
    "navarch.io/nvlink": "0-1;2-3",
    "navarch.io/nvlink-bandwidth": "450G",
    "navarch.io/mig.3": "1g.10gb=7",
    "navarch.io/taint.dedicated": "batch",
    "navarch.io/socket": "nonsense",
    "team": "search",
}


def machine(**more: Any) -> Node:  # noqa: ANN401 - any field of a node
    found = Node(
        "n1",
        NOW,
        NOW,
        provider="alpha",
        region="east",
        zone="east-a",
        instance_type="h100-4x",
        pool="train",
        gpus=GPUS,
        metadata=Metadata(labels=LABELS),
        health=Health.HEALTHY,
    )
    return replace(found, **more)


def instance(**more: Any) -> Instance:  # noqa: ANN401 - any field of an instance
    found = Instance("n1", "train", "alpha", InstanceState.RUNNING, NOW, "wanted")
    return replace(found, instance_type="h100-4x", spot=True, **more)


def replica(name: str, *gpus: int, **more: Any) -> Replica:  # noqa: ANN401 - any field
    found = Replica(name, "d/web", NOW, ReplicaState.READY, node_id="n1", gpus=gpus)
    return replace(found, **more)


def fleet() -> Fleet:
    made = Fleet()
    made.put_node(machine())
    made.put_instance(instance())
    made.put_replica(replica("r1", 0))
    made.put_replica(replica("r2", 1, share=0.25))
    made.put_replica(replica("r3", 3, mig="1g.10gb", agent_pool="d/small"))
    made.put_replica(replica("r4", 2, state=ReplicaState.STOPPING, priority=7))
    made.weights["n1"] = {"d/llama": Weights(NOW)}
    return made


def sightings() -> Sightings:
    seen = Sightings()
    sold = Sold("h100-4x", 40.0, 12.0)
    seen.catalogs["alpha"] = Catalog(NOW, {"h100-4x": sold})
    seen.serving["n1"] = NodeServing(models=(ModelSeen("d/other", bytes_per_second=5),))
    return seen


def test_a_node_shows_what_is_left_of_its_gpus() -> None:
    (view,) = nodes.views(fleet(), sightings())
    assert [slot.free for slot in view.gpus] == [0.0, 0.75, 0.0, 1.0]
    assert view.gpus[3].mig_free == {"1g.10gb": 6}
    assert [slot.nvlink for slot in view.gpus] == [0, 0, 1, 1]
    assert {slot.bandwidth for slot in view.gpus} == {450 * 10**9}
    assert {slot.memory for slot in view.gpus} == {80 << 30}
    assert view.capacity == {"nvidia.com/gpu": 4.0, "nvidia.com/mig-1g.10gb": 7.0}
    assert view.replicas == {"d/web": 3, "d/small": 1}


def test_a_node_shows_where_it_is_and_what_it_costs() -> None:
    (view,) = nodes.views(fleet(), sightings())
    assert (view.gpu_type, view.pool, view.zone, view.spot) == (
        *("NVIDIA H100", "train", "east-a", True),
    )
    assert view.price_per_hour == 12.0
    assert view.models == {"d/llama"}
    assert view.fetch_bytes_per_second == 5.0
    assert view.taints == (Taint("dedicated", "batch"),)
    assert view.labels["kubernetes.io/hostname"] == "n1"
    assert view.labels["topology.kubernetes.io/zone"] == "east-a"
    assert view.labels["navarch.io/instance-type"] == "h100-4x"
    assert view.labels["team"] == "search"
    assert "navarch.io/socket: 'nonsense': expected" in view.annotations[nodes.IGNORED]
    assert nodes.views(fleet(), sightings(), {"n1": 3.5})[0].price_per_hour == 3.5


@pytest.mark.parametrize(
    "of_node,of_instance,why",
    [
        ({}, {}, ""),
        ({"intent": Intent.CORDONED}, {}, "cordoned"),
        ({"intent": Intent.DRAINED}, {}, "drained"),
        ({"health": Health.UNHEALTHY, "intent": Intent.CORDONED}, {}, "unhealthy"),
        ({"contact": Contact.LOST, "health": Health.UNHEALTHY}, {}, "lost"),
        ({"phase": Phase.LEAVING}, {}, "leaving"),
        ({"condemned": True}, {}, "being replaced"),
        ({"handed_over": "no spare"}, {}, "handed over to a person"),
        ({}, {"interrupted_at": NOW}, "taken away by its provider"),
        ({}, {"releasing_since": NOW}, "leaving"),
    ],
)
def test_the_gravest_reason_keeps_replicas_away(
    of_node: dict[str, object], of_instance: dict[str, object], why: str
) -> None:
    node = machine(**of_node)
    assert nodes.why_not(node, instance(**of_instance)) == why
    assert bool(why) or node.workload is Told.OPEN


def test_a_node_that_ends_is_not_shown() -> None:
    made = fleet()
    made.put_node(machine(phase=Phase.TERMINATING))
    assert nodes.views(made, sightings()) == []


def test_what_runs_is_listed_with_what_it_has() -> None:
    found = {each.replica: each for each in nodes.running(fleet())}
    assert found["r2"] == Running("r2", "n1", (1,), 0.25, "", 0, "d/web")
    assert found["r4"].stopping
    assert found["r3"].mig == "1g.10gb"


def test_a_replica_asks_for_what_its_resources_say() -> None:
    pool = AgentPool(
        ObjectMeta("web", "d", {"team": "search"}),
        spec=AgentPoolSpec(
            gpu_requirements=GPURequirements(count=2, memory=5, type="H100"),
            scheduling=Scheduling(max_cost_per_hour=9.0, data_regions=("east",)),
        ),
    )
    model = Model(ObjectMeta("llama", "d"), spec=ModelSpec(size=10))
    waiting = replica("r9", priority=3, gang="g", failed_nodes=("n1",))
    pod = nodes.pod_of(waiting, Recipe(pool, None, model, "t"))
    assert (pod.name, pod.gpu_request, pod.gpu_memory, pod.gpu_type) == ("r9", 2, 5, "H100")
    assert (pod.model, pod.model_bytes, pod.agent_pool) == ("d/llama", 10, "d/web")
    assert (pod.priority, pod.gang, pod.avoid, pod.cost_max) == (3, "g", ("n1",), 9.0)
    assert pod.spot_allowed is False
    assert nodes.pod_of(waiting, Recipe(pool, None, None, "t")).model == ""


def test_a_new_node_like_another_is_empty_and_in_service() -> None:
    made = fleet()
    made.put_node(machine(intent=Intent.CORDONED))
    (view,) = nodes.views(made, sightings())
    new = nodes.template(PoolSpec("train", "alpha"), like=view)
    assert [slot.free for slot in new.gpus] == [1.0] * 4
    assert new.gpus[3].mig_free == {"1g.10gb": 7}
    assert (new.why_not, new.unschedulable, new.replicas) == ("", False, {})
    assert new.models == frozenset()
    assert new.name == new.labels["kubernetes.io/hostname"] != "n1"
    assert new.price_per_hour == view.price_per_hour


def test_a_new_node_by_its_type_has_the_pool_s_labels() -> None:
    spec = PoolSpec(
        "train",
        "alpha",
        region="east",
        zones=("east-a", "east-b"),
        labels={"navarch.io/nvlink": "0-1", "navarch.io/taint.x": "y"},
        sources=(Source("alpha", spot=True),),
    )
    new = nodes.template(spec, gpu_count=2, gpu_type="H100", gpu_memory=5, price_per_hour=8.0)
    assert new.gpus == (Slot(0, memory=5, nvlink=0), Slot(1, memory=5, nvlink=0))
    assert (new.spot, new.zone, new.taints) == (True, "east-a", (Taint("x", "y"),))
    assert new.labels["navarch.io/pool"] == "train"


def test_the_cheapest_pool_that_fits_grows() -> None:
    def pool(name: str, gpus: int, price: float) -> tuple[str, Any]:
        spec = PoolSpec(name, "alpha")
        return name, nodes.template(spec, gpu_count=gpus, price_per_hour=price)

    pools = dict([pool("dear", 8, 80.0), pool("cheap", 4, 20.0), pool("unknown", 8, 0.0)])
    assert nodes.growable(Pod("p", gpu_request=2), pools) == "cheap"
    assert nodes.growable(Pod("p", gpu_request=8), pools) == "dear"
    assert nodes.growable(Pod("p", gpu_request=16), pools) == ""
    assert nodes.growable(Pod("p", gpu_request=-1), pools) == ""
    assert nodes.growable(Pod("p", gpu_request=1), {"unknown": pools["unknown"]}) == "unknown"


def test_what_was_seen_long_ago_costs_what_the_list_says() -> None:
    seen = sightings()
    seen.catalogs["alpha"] = Catalog(NOW - timedelta(days=1), {"h100-4x": Sold("h100-4x")})
    assert nodes.price_per_hour(seen, machine(), instance()) == 0.0
    assert len(Snapshot(nodes.views(fleet(), seen))) == 1
