"""What a runtime of pods promises, whichever API server it speaks to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from navarch.controlplane.pods.manifest import FLEET, REPLICA, PodSettings, WantedReplica
from navarch.controlplane.pods.runtime import PodRuntime
from navarch.core.model.replica import ReplicaSeen, ReplicaState
from navarch.core.model.resources import (
    AgentPool,
    AgentPoolSpec,
    GPURequirements,
    NodeAffinity,
    ObjectMeta,
    Readiness,
    ReplicaAffinity,
    Runtime,
    Scheduling,
    Toleration,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SETTINGS = PodSettings(fleet="k3f9")
RUNTIME = Runtime(
    kind="kubernetes",
    command=("serve", "--port", "{port}", "--name", "{replica}"),
    image="registry.example/serve:1",
    port=8080,
    readiness=Readiness(path="/ready", startup_timeout=timedelta(minutes=2)),
    env={"EXTRA": "yes"},
)
Json = dict[str, Any]


class Cluster(Protocol):
    """An API server, and whoever runs pods there."""

    def bind(self, name: str, node: str) -> None: ...
    def set_status(self, name: str, status: Json) -> None: ...
    def finish(self, name: str) -> None: ...
    def pod(self, name: str) -> Json | None: ...
    def names(self) -> list[str]: ...
    def add_pod(self, name: str, labels: dict[str, str]) -> None: ...


def wanted(
    id_: str,
    *,
    gpu: GPURequirements = GPURequirements(count=2),  # noqa: B008 - frozen
    scheduling: Scheduling = Scheduling(),  # noqa: B008 - frozen
    runtime: Runtime = RUNTIME,
) -> WantedReplica:
    """Make a wish for a replica of the pool default/chat."""
    spec = AgentPoolSpec(runtime=runtime, gpu_requirements=gpu, scheduling=scheduling)
    return WantedReplica(id_, AgentPool(metadata=ObjectMeta(name="chat"), spec=spec))


def running(*, ready: bool) -> Json:
    """Write what a kubelet writes of a pod whose container runs."""
    return {
        "phase": "Running",
        "podIP": "10.1.2.3",
        "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Ready", "status": "True" if ready else "False"},
        ],
        "containerStatuses": [container(running={"startedAt": "2026-05-01T12:00:00Z"})],
    }


def container(restarts: int = 0, last: Json | None = None, **state: Json) -> Json:
    """Write the status of the one container."""
    status = {
        "name": "replica",
        "image": "registry.example/serve:1",
        "imageID": "",
        "ready": False,
        "restartCount": restarts,
        "state": state,
    }
    return {**status, "lastState": {"terminated": last}} if last else status


class PodContract:
    """To be inherited with a fixture ``cluster`` and the method `runtime`."""

    def runtime(self, cluster: Cluster, settings: PodSettings = SETTINGS) -> PodRuntime:
        raise NotImplementedError

    def reconcile(
        self, cluster: Cluster, *replicas: WantedReplica, settings: PodSettings = SETTINGS
    ) -> dict[str, ReplicaSeen]:
        """Make one pass with a new runtime, as after a crash; return what is told by id."""

        async def story() -> Sequence[ReplicaSeen]:
            runtime = self.runtime(cluster, settings)
            try:
                return await runtime.reconcile(replicas, NOW)
            finally:
                await runtime.close()

        return {each.id: each for each in asyncio.run(story())}

    def test_what_is_wanted_is_made_once(self, cluster: Cluster) -> None:
        for _ in range(2):
            told = self.reconcile(cluster, wanted("chat-1"), wanted("chat-2"), wanted("chat-3"))
            assert {each.state for each in told.values()} == {ReplicaState.PENDING}
            assert cluster.names() == ["chat-1", "chat-2", "chat-3"]

    def test_a_pod_is_written_as_its_pool_says(self, cluster: Cluster) -> None:
        scheduling = Scheduling(
            node_selector={"disk": "fast"},
            affinity=(
                NodeAffinity("zone", "In", ("a", "b")),
                NodeAffinity("spot", "DoesNotExist", weight=10),
            ),
            replica_affinity=(ReplicaAffinity(anti=True), ReplicaAffinity("router", weight=5)),
            tolerations=(Toleration("gpu", "Exists", effect="NoSchedule"),),
            strategy="spread",
        )
        gpu = GPURequirements(count=2, memory=40 * 2**30)
        self.reconcile(cluster, wanted("chat-1", gpu=gpu, scheduling=scheduling))
        pod = cluster.pod("chat-1")
        assert pod is not None
        assert pod["metadata"]["labels"] == {
            "navarch.io/fleet": "k3f9",
            "navarch.io/replica": "chat-1",
            "navarch.io/agent-pool": "chat",
            "navarch.io/agent-pool-namespace": "default",
        }
        assert "ownerReferences" not in pod["metadata"]
        (main,) = pod["spec"]["containers"]
        assert main["command"] == ["serve", "--port", "8080", "--name", "chat-1"]
        assert main["image"] == "registry.example/serve:1"
        assert main["resources"]["limits"] == {"nvidia.com/gpu": "2"}
        assert {each["name"]: each["value"] for each in main["env"]} == {
            "EXTRA": "yes",
            "NAVARCH_AGENT_POOL": "default/chat",
            "NAVARCH_PORT": "8080",
            "NAVARCH_REPLICA": "chat-1",
        }
        assert main["readinessProbe"]["httpGet"]["path"] == "/ready"
        assert main["startupProbe"]["failureThreshold"] == 120
        assert pod["spec"]["nodeSelector"] == {"disk": "fast"}
        assert {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["spec"][
            "tolerations"
        ]
        node = pod["spec"]["affinity"]["nodeAffinity"]
        (term,) = node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert term["matchExpressions"] == [
            {"key": "zone", "operator": "In", "values": ["a", "b"]},
            {"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["40959"]},
        ]
        assert set(pod["spec"]["affinity"]) == {"nodeAffinity", "podAffinity", "podAntiAffinity"}
        assert pod["spec"]["topologySpreadConstraints"][0]["maxSkew"] == 1

    def test_what_is_not_wanted_is_deleted_and_told_until_it_is_gone(
        self, cluster: Cluster
    ) -> None:
        self.reconcile(cluster, wanted("chat-1"), wanted("chat-2"))
        cluster.bind("chat-1", "gpu-1")
        cluster.set_status("chat-1", running(ready=True))
        told = self.reconcile(cluster, wanted("chat-2"))
        assert told["chat-1"].state is ReplicaState.STOPPING
        told = self.reconcile(cluster, wanted("chat-2"))
        assert told["chat-1"].state is ReplicaState.STOPPING
        assert told["chat-1"].message == "its pod is ending"
        assert cluster.names() == ["chat-2"]
        cluster.finish("chat-1")
        assert set(self.reconcile(cluster, wanted("chat-2"))) == {"chat-2"}

    def test_pods_of_others_are_left_alone(self, cluster: Cluster) -> None:
        cluster.add_pod("theirs", {"app": "web"})
        cluster.add_pod("other-fleet", {FLEET: "zzzz", REPLICA: "other-fleet"})
        cluster.add_pod("half-ours", {FLEET: "k3f9", REPLICA: "somebody-else"})
        assert self.reconcile(cluster) == {}
        assert cluster.names() == ["half-ours", "other-fleet", "theirs"]

    def test_a_name_that_is_taken_is_a_reason_to_wait(self, cluster: Cluster) -> None:
        cluster.add_pod("chat-1", {"app": "web"})
        told = self.reconcile(cluster, wanted("chat-1"))
        assert told["chat-1"].state is ReplicaState.PENDING
        assert told["chat-1"].message == "a pod chat-1 is there, and is not ours"

    def test_a_pod_that_no_node_fits_says_why(self, cluster: Cluster) -> None:
        self.reconcile(cluster, wanted("chat-1"))
        text = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        status = {"phase": "Pending", "conditions": [{**condition, "message": text}]}
        cluster.set_status("chat-1", status)
        seen = self.reconcile(cluster, wanted("chat-1"))["chat-1"]
        assert (seen.state, seen.message) == (ReplicaState.PENDING, f"Unschedulable: {text}")

    def test_a_ready_pod_is_a_ready_replica_with_an_address(self, cluster: Cluster) -> None:
        self.reconcile(cluster, wanted("chat-1"))
        cluster.bind("chat-1", "gpu-1")
        cluster.set_status("chat-1", running(ready=False))
        seen = self.reconcile(cluster, wanted("chat-1"))["chat-1"]
        assert seen.state is ReplicaState.STARTING
        assert seen.message == "its program does not answer yet"
        cluster.set_status("chat-1", running(ready=True))
        assert self.reconcile(cluster, wanted("chat-1"))["chat-1"] == ReplicaSeen(
            "chat-1",
            ReplicaState.READY,
            port=8080,
            message="it answers",
            node="gpu-1",
            endpoint="10.1.2.3",
        )

    def test_a_crash_loop_is_told_with_the_programs_end(self, cluster: Cluster) -> None:
        self.reconcile(cluster, wanted("chat-1"))
        cluster.bind("chat-1", "gpu-1")
        waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}
        last = {"exitCode": 3, "reason": "Error"}
        status = running(ready=False)
        status["containerStatuses"] = [container(4, last, waiting=waiting)]
        cluster.set_status("chat-1", status)
        seen = self.reconcile(cluster, wanted("chat-1"))["chat-1"]
        assert (seen.state, seen.restarts) == (ReplicaState.STARTING, 4)
        assert seen.message == (
            "CrashLoopBackOff: back-off 40s restarting; its program ended with 3: Error"
        )

    def test_an_evicted_pod_is_told_as_ended_and_made_anew(self, cluster: Cluster) -> None:
        self.reconcile(cluster, wanted("chat-1"))
        cluster.bind("chat-1", "gpu-1")
        text = "The node was low on resource: ephemeral-storage."
        cluster.set_status("chat-1", {"phase": "Failed", "reason": "Evicted", "message": text})
        seen = self.reconcile(cluster, wanted("chat-1"))["chat-1"]
        assert (seen.state, seen.node) == (ReplicaState.ENDED, "gpu-1")
        assert seen.message == f"its pod has failed: Evicted: {text}"
        while cluster.pod("chat-1") is not None:  # a server may wait for the kubelet
            cluster.finish("chat-1")
        seen = self.reconcile(cluster, wanted("chat-1"))["chat-1"]
        assert (seen.state, seen.node) == (ReplicaState.PENDING, "")

    def test_a_pod_that_somebody_deletes_is_lost_though_it_is_wanted(
        self, cluster: Cluster
    ) -> None:
        self.reconcile(cluster, wanted("chat-1"))
        cluster.bind("chat-1", "gpu-1")
        cluster.set_status("chat-1", running(ready=True))
        self.reconcile(cluster)  # as a drain would
        seen = self.reconcile(cluster, wanted("chat-1"))["chat-1"]
        assert (seen.state, seen.message) == (ReplicaState.ENDED, "its pod was deleted")
