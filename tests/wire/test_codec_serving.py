"""What agents say of replicas and models, read from the wire."""

from __future__ import annotations

import pytest

from navarch.core.model.replica import ModelSeen, NodeServing, ReplicaSeen, ReplicaState
from navarch.errors import WireError
from navarch.wire import codec
from navarch.wire.generated import navarch_pb2 as pb

SERVED = pb.ReplicaStatus(
    replica_id="chat-1",
    state=pb.ReplicaState.REPLICA_STATE_READY,
    port=8000,
    restarts=2,
    message="it answers",
)
CACHED = pb.ModelStatus(model="default/llama", digest="sha256:1", bytes_total=7, complete=True)


def test_what_a_node_serves() -> None:
    serving = pb.NodeServing(replicas=[SERVED], models=[CACHED])
    read = codec.heartbeat(pb.HeartbeatRequest(node_id="n1", serving=serving))
    assert read.serving == NodeServing(
        (ReplicaSeen("chat-1", ReplicaState.READY, 8000, 2, "it answers"),),
        (ModelSeen("default/llama", "sha256:1", bytes_total=7, complete=True),),
    )
    nothing = codec.heartbeat(pb.HeartbeatRequest(node_id="n1", serving=pb.NodeServing()))
    assert nothing.serving == NodeServing()
    assert codec.heartbeat(pb.HeartbeatRequest(node_id="n1")).serving is None


def test_a_state_of_a_newer_agent_is_one_that_is_not_ready() -> None:
    newer = pb.ReplicaStatus(replica_id="chat-1")
    newer.state = 99  # type: ignore[assignment]
    serving = pb.NodeServing(replicas=[newer])
    read = codec.heartbeat(pb.HeartbeatRequest(node_id="n1", serving=serving)).serving
    assert read == NodeServing((ReplicaSeen("chat-1", ReplicaState.STARTING),))


@pytest.mark.parametrize(
    "serving, problem",
    [
        (pb.NodeServing(replicas=[SERVED] * 257), "serving.replicas: 257 entries, at most 256"),
        (pb.NodeServing(models=[CACHED] * 257), "serving.models: 257 entries, at most 256"),
        (pb.NodeServing(replicas=[SERVED] * 2), "serving.replicas: names a replica twice"),
        (pb.NodeServing(models=[CACHED] * 2), "serving.models: names a model twice"),
        (
            pb.NodeServing(replicas=[pb.ReplicaStatus(replica_id="r", port=65_536)]),
            "serving.replicas[0].port: 65536 is not from 0 to 65535",
        ),
        (
            pb.NodeServing(models=[pb.ModelStatus(model="m", bytes_done=-1)]),
            "serving.models[0].bytes_done: -1 is less than 0",
        ),
        (
            pb.NodeServing(replicas=[pb.ReplicaStatus(replica_id="r", message="x" * 5000)]),
            "serving.replicas[0].message: 5000 bytes, at most 4096 allowed",
        ),
    ],
)
def test_what_no_node_serves_is_refused(serving: pb.NodeServing, problem: str) -> None:
    with pytest.raises(WireError) as refused:
        codec.heartbeat(pb.HeartbeatRequest(node_id="n1", serving=serving))
    assert problem in refused.value.message
