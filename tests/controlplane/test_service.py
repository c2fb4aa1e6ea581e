"""The remote calls, without a wire: what they change, what they show, how they refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.service import Service
from navarch.errors import WireError
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.prepared import BinaryCodec
from pools import MONDAY, a_control_plane, a_spec, register_all, run

T = TypeVar("T")
Call = Callable[[Service, str], Awaitable[object]]


def served(call: Callable[[ControlPlane, Service, list[str]], Awaitable[T]]) -> T:
    """Call the service of a control plane whose pool has its two nodes."""

    async def story() -> T:
        async with a_control_plane(FakeClock(MONDAY), a_spec()) as (plane, _):
            ids = await register_all(plane, 2)
            return await call(plane, Service(plane.runtime), ids)

    return run(story())


def test_a_heartbeat_is_answered_with_the_interval() -> None:
    async def call(plane: ControlPlane, service: Service, ids: list[str]) -> pb.HeartbeatResponse:
        return await service.heartbeat(pb.HeartbeatRequest(node_id=ids[0]), None)

    answer = served(call)
    assert answer.acknowledged
    assert answer.heartbeat_interval_seconds == 30


def test_a_batch_of_heartbeats_says_who_has_to_register() -> None:
    async def call(
        plane: ControlPlane, service: Service, ids: list[str]
    ) -> pb.HeartbeatBatchResponse:
        beats = [pb.HeartbeatRequest(node_id=node_id) for node_id in (*ids, "stranger")]
        return await service.heartbeat_batch(pb.HeartbeatBatchRequest(heartbeats=beats), None)

    answer = served(call)
    assert (answer.acknowledged, list(answer.unknown_node_ids)) == (2, ["stranger"])


def test_a_command_is_issued_polled_and_acknowledged() -> None:
    async def call(plane: ControlPlane, service: Service, ids: list[str]) -> list[str]:
        node_id = ids[0]
        issued = await service.issue_command(
            pb.IssueCommandRequest(node_id=node_id, command_type=pb.NODE_COMMAND_TYPE_CORDON), None
        )
        handed = await service.poll_commands(pb.GetNodeCommandsRequest(node_id=node_id), None)
        assert [each.command_id for each in handed.commands] == [issued.command_id]
        await service.ack_command(
            pb.AckCommandRequest(
                node_id=node_id, command_id=issued.command_id, status=pb.COMMAND_STATUS_SUCCEEDED
            ),
            None,
        )
        again = await service.poll_commands(pb.GetNodeCommandsRequest(node_id=node_id), None)
        shown = await service.get_node(pb.GetNodeRequest(node_id=node_id), None)
        return [str(len(again.commands)), pb.NodeStatus.Name(shown.node.status)]

    assert served(call) == ["0", "NODE_STATUS_CORDONED"]


def test_nodes_pools_and_instances_are_listed() -> None:
    async def call(plane: ControlPlane, service: Service, ids: list[str]) -> list[list[str]]:
        listed = await service.list_nodes(pb.ListNodesRequest(), None)
        nodes = pb.ListNodesResponse.FromString(BinaryCodec().encode(listed))
        pools = await service.list_pools(pb.ListPoolsRequest(), None)
        instances = await service.list_instances(pb.ListInstancesRequest(), None)
        assert [each.node_id for each in nodes.nodes] == ids
        return [
            [each.name for each in pools.pools],
            [str(each.instance_id in ids) for each in instances.instances],
        ]

    assert served(call) == [["training"], ["True", "True"]]


def test_a_pool_is_scaled_within_its_limits_only() -> None:
    async def call(plane: ControlPlane, service: Service, ids: list[str]) -> tuple[str, int]:
        within, beyond = (
            pb.ScalePoolRequest(pool_name="training", target_nodes=target) for target in (4, 11)
        )
        await service.scale_pool(within, None)
        with pytest.raises(WireError, match="target 11 is above max_nodes 10") as caught:
            await service.scale_pool(beyond, None)
        return caught.value.code, plane.runtime.machine.fleet.pools["training"].target

    assert served(call) == ("invalid_argument", 4)


def test_a_paused_pool_says_so() -> None:
    async def call(plane: ControlPlane, service: Service, ids: list[str]) -> bool:
        await service.pause_pool(pb.PausePoolRequest(pool_name="training", paused=True), None)
        return plane.runtime.machine.fleet.pools["training"].paused

    assert served(call)


@pytest.mark.parametrize(
    "call",
    [
        lambda service, id_: service.get_node(pb.GetNodeRequest(node_id=id_), None),
        lambda service, id_: service.get_pool(pb.GetPoolRequest(pool_name=id_), None),
        lambda service, id_: service.get_instance(pb.GetInstanceRequest(instance_id=id_), None),
        lambda service, id_: service.heartbeat(pb.HeartbeatRequest(node_id=id_), None),
        lambda service, id_: service.poll_commands(pb.GetNodeCommandsRequest(node_id=id_), None),
    ],
    ids=["node", "pool", "instance", "heartbeat", "poll"],
)
def test_what_is_not_there_is_not_found(call: Call) -> None:
    async def ask(plane: ControlPlane, service: Service, ids: list[str]) -> str:
        with pytest.raises(WireError, match="nobody") as caught:
            await call(service, "nobody")
        return caught.value.code

    assert served(ask) == "not_found"


def test_the_facts_are_read_and_explained() -> None:
    async def call(plane: ControlPlane, service: Service, ids: list[str]) -> tuple[list[str], bool]:
        events = await service.list_events(pb.ListEventsRequest(subject=ids[0]), None)
        request = pb.ExplainRequest(kind=pb.SUBJECT_KIND_NODE, id=ids[0])
        explained = await service.explain(request, None)
        return [each.kind for each in events.events], ids[0] in explained.lines[0]

    kinds, explained = served(call)
    assert kinds == ["launch_requested", "instance_launched", "node_registered"]
    assert explained
