"""The remote calls about resources and replicas, without a wire."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.service import Service
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model.replica import Blocker, ModelSeen, NodeServing, ReplicaState
from navarch.errors import WireError
from navarch.wire.generated import navarch_pb2 as pb
from pools import MONDAY, a_control_plane, a_spec, register_all, run

T = TypeVar("T")

MODEL = """\
apiVersion: neuronetes.io/v1alpha1
kind: Model
metadata: {name: llama}
spec: {weightsURI: "s3://models/llama/", size: 140GB}
"""
CLASS = """\
apiVersion: neuronetes.io/v1alpha1
kind: AgentClass
metadata: {name: chat}
spec: {modelRef: {name: llama}}
"""


def served(call: Callable[[ControlPlane, Service, list[str]], Awaitable[T]]) -> T:
    """Call the service of a control plane whose pool has its two nodes."""

    async def story() -> T:
        async with a_control_plane(FakeClock(MONDAY), a_spec()) as (plane, _):
            ids = await register_all(plane, 2)
            return await call(plane, Service(plane.runtime), ids)

    return run(story())


async def apply(service: Service, text: str, *, dry_run: bool = False) -> list[tuple[str, str]]:
    """Apply a text, and return the name and the outcome of each resource."""
    request = pb.ApplyResourcesRequest(text=text, source="f.yaml", dry_run=dry_run)
    answer = await service.apply_resources(request, None)
    return [(f"{each.kind}/{each.name}", each.outcome) for each in answer.applied]


def test_resources_are_applied_listed_and_deleted() -> None:
    async def call(plane: ControlPlane, service: Service, ids: list[str]) -> None:
        name = "Model/default/llama"
        assert await apply(service, MODEL, dry_run=True) == [(name, "created")]
        assert not plane.runtime.machine.fleet.resources
        assert await apply(service, MODEL) == [(name, "created")]
        assert await apply(service, MODEL) == [(name, "unchanged")]
        changed = MODEL.replace("140GB", "70GB")
        assert await apply(service, changed, dry_run=True) == [(name, "configured")]
        assert await apply(service, f"{changed}---\n{CLASS}") == [
            (name, "configured"),
            ("AgentClass/default/chat", "created"),
        ]
        answer = await service.list_resources(pb.ListResourcesRequest(kind="Model"), None)
        (info,) = answer.resources
        document = json.loads(info.json)
        assert (info.name, info.generation) == ("default/llama", 2)
        assert document["spec"]["size"] == "70GB"
        assert document["metadata"]["generation"] == 2
        assert {each["type"] for each in document["status"]["conditions"]} == {
            "Loaded",
            "Preloaded",
        }
        await service.delete_resource(pb.DeleteResourceRequest(kind="Model", name="llama"), None)
        answer = await service.list_resources(pb.ListResourcesRequest(), None)
        assert [each.kind for each in answer.resources] == ["AgentClass"]

    served(call)


def test_one_mistake_keeps_all_of_a_text_from_being_applied() -> None:
    async def call(plane: ControlPlane, service: Service, ids: list[str]) -> WireError:
        bad = CLASS.replace("modelRef", "modelref").replace("name: chat", "name: Chat")
        with pytest.raises(WireError) as caught:
            await apply(service, f"{MODEL}---\n{bad}")
        assert not plane.runtime.machine.fleet.resources
        return caught.value

    error = served(call)
    assert error.code == "invalid_argument"
    assert [line.split(": ")[:2] for line in error.message.splitlines()] == [
        ["f.yaml:8", "metadata.name"],
        ["f.yaml:9", "spec.modelref"],
    ]


@pytest.mark.parametrize(
    "call, code",
    [
        (
            lambda s: s.list_resources(pb.ListResourcesRequest(kind="Model", name="no"), None),
            "not_found",
        ),
        (lambda s: s.list_resources(pb.ListResourcesRequest(name="no"), None), "not_found"),
        (lambda s: s.list_resources(pb.ListResourcesRequest(kind="Pod"), None), "invalid_argument"),
        (
            lambda s: s.delete_resource(pb.DeleteResourceRequest(kind="Model", name="no"), None),
            "not_found",
        ),
        (
            lambda s: s.delete_resource(pb.DeleteResourceRequest(kind="Model", name="a/b/c"), None),
            "invalid_argument",
        ),
        (
            lambda s: s.delete_resource(pb.DeleteResourceRequest(kind="Model"), None),
            "invalid_argument",
        ),
        (lambda s: s.apply_resources(pb.ApplyResourcesRequest(), None), "invalid_argument"),
        (lambda s: s.list_replicas(pb.ListReplicasRequest(page_size=-1), None), "invalid_argument"),
    ],
)
def test_what_cannot_be_done_is_refused(
    call: Callable[[Service], Awaitable[object]], code: str
) -> None:
    async def ask(plane: ControlPlane, service: Service, ids: list[str]) -> str:
        with pytest.raises(WireError) as caught:
            await call(service)
        return caught.value.code

    assert served(ask) == code


def test_replicas_are_listed_with_their_place_their_endpoint_and_what_is_loading() -> None:
    async def call(plane: ControlPlane, service: Service, ids: list[str]) -> None:
        machine, now = plane.runtime.machine, MONDAY
        for name in ("r1", "r2", "r3"):
            fact = ev.ReplicaRequested(now, name, "default/chat", "wanted", model="default/llama")
            fold.apply(machine.fleet, fact)
        for name in ("r1", "r2"):
            fold.apply(machine.fleet, ev.ReplicaPlaced(now, name, ids[0], "fits", gpus=(0, 1)))
        ready = ev.ReplicaAdvanced(now, "r1", ReplicaState.READY, "answers", port=8000)
        fold.apply(machine.fleet, ready)
        blocker = Blocker("2 nodes: 2 have no free GPU", cure="one node more")
        fold.apply(machine.fleet, ev.ReplicaBlocked(now, "r3", blocker))
        coming = ModelSeen("default/llama", bytes_done=3, bytes_total=9)
        machine.sightings.serving[ids[0]] = NodeServing(models=(coming,))
        answer = await service.list_replicas(pb.ListReplicasRequest(agent_pool="chat"), None)
        one, two, three = answer.replicas
        host = machine.fleet.nodes[ids[0]].metadata
        assert one.state == pb.REPLICA_STATE_READY
        assert one.endpoint.endswith(":8000") is bool(host.internal_ip or host.hostname)
        assert (two.state, two.endpoint, list(two.gpus)) == (pb.REPLICA_STATE_LOADING, "", [0, 1])
        assert (two.loading.bytes_done, two.loading.bytes_total) == (3, 9)
        assert (three.because, three.cure) == (blocker.summary, blocker.cure)
        assert not three.HasField("loading")
        here = await service.list_replicas(pb.ListReplicasRequest(node_id=ids[0]), None)
        assert [each.replica_id for each in here.replicas] == ["r1", "r2"]
        first = await service.list_replicas(pb.ListReplicasRequest(page_size=2), None)
        assert (len(first.replicas), first.next_page_token) == (2, "r2")
        other = await service.list_replicas(pb.ListReplicasRequest(agent_pool="x/chat"), None)
        assert not other.replicas

    served(call)


def test_the_examples_are_applied_whole(project: Path) -> None:
    files = sorted((project / "examples" / "serving").glob("*.yaml"))
    text = "---\n".join(file.read_text() for file in files)

    async def call(plane: ControlPlane, service: Service, ids: list[str]) -> dict[str, str]:
        assert {outcome for _, outcome in await apply(service, text)} == {"created"}
        pool = plane.runtime.machine.fleet.resources["AgentPool/default/chat"]
        return {each.type: each.status for each in pool.conditions}

    found = served(call)
    assert (found["ClassFound"], found["ModelFound"]) == ("True", "True")
