"""Pods on a scripted API server: the contract, and what a real one seldom does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.pods.pod_contract import (
    NOW,
    RUNTIME,
    SETTINGS,
    Cluster,
    PodContract,
    running,
    wanted,
)
from controlplane.pods.pod_double import PodApi, Refused
from navarch.controlplane.pods import manifest, reading
from navarch.controlplane.pods.manifest import PodSettings, WantedReplica
from navarch.controlplane.pods.runtime import PodRuntime, PodsUnavailable
from navarch.core.model.replica import ReplicaSeen, ReplicaState
from navarch.core.model.resources import (
    AgentPool,
    AgentPoolSpec,
    GPURequirements,
    Model,
    ModelSpec,
    ObjectMeta,
)


@pytest.fixture
def cluster() -> Iterator[PodApi]:
    """Yield an API server."""
    api = PodApi()
    yield api
    api.stop()


class TestScripted(PodContract):
    """The scripted server keeps the contract."""

    def runtime(self, cluster: Cluster, settings: PodSettings = SETTINGS) -> PodRuntime:
        assert isinstance(cluster, PodApi)
        return PodRuntime(settings, url=cluster.url)


def reconciled(api: PodApi, *replicas: WantedReplica) -> dict[str, ReplicaSeen]:
    """Make one pass."""
    return TestScripted().reconcile(api, *replicas)


def test_lists_come_page_by_page(cluster: PodApi) -> None:
    replicas = [wanted(f"chat-{number}") for number in range(7)]
    reconciled(cluster, *replicas)
    assert len(reconciled(cluster, *replicas)) == 7
    assert cluster.asked.count("GET /api/v1/pods") == 1 + 4


def test_a_list_that_was_forgotten_is_begun_again(cluster: PodApi) -> None:
    replicas = [wanted(f"chat-{number}") for number in range(3)]
    reconciled(cluster, *replicas)
    cluster.faults.extend([None, Refused(410, "Expired", "too old")])
    assert len(reconciled(cluster, *replicas)) == 3


def test_a_server_without_an_answer_changes_nothing(cluster: PodApi) -> None:
    reconciled(cluster, wanted("chat-1"))
    cluster.faults.append(Refused(503, "ServiceUnavailable", "etcd is away"))
    with pytest.raises(PodsUnavailable, match="HTTP 503: etcd is away"):
        reconciled(cluster)
    assert cluster.names() == ["chat-1"]


def test_a_refused_pod_waits_with_the_servers_reason(cluster: PodApi) -> None:
    text = "exceeded quota: gpus, requested: 2, used: 8, limited: 8"
    cluster.faults.extend([None, Refused(403, "Forbidden", text)])
    seen = reconciled(cluster, wanted("chat-1"))["chat-1"]
    assert seen.state is ReplicaState.PENDING
    assert seen.message == f"Kubernetes refuses its pod: HTTP 403: {text}"


def test_a_pod_that_was_made_meanwhile_is_adopted(cluster: PodApi) -> None:
    reconciled(cluster, wanted("chat-1"))
    pod = cluster.pod("chat-1")
    assert pod is not None
    pod["metadata"]["labels"], labels = {}, pod["metadata"]["labels"]  # not in the list

    async def story() -> Sequence[ReplicaSeen]:
        runtime = PodRuntime(SETTINGS, url=cluster.url)
        posted = cluster.answer

        def answer(method: str, target: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            if method == "POST":
                pod["metadata"]["labels"] = labels
            return posted(method, target, body)

        cluster.answer = answer  # type: ignore[method-assign]
        try:
            return await runtime.reconcile([wanted("chat-1")], NOW)
        finally:
            await runtime.close()

    (seen,) = asyncio.run(story())
    assert (seen.state, seen.message) == (ReplicaState.PENDING, "")


def test_a_pod_that_may_not_be_deleted_says_so(cluster: PodApi) -> None:
    reconciled(cluster, wanted("chat-1"))
    cluster.faults.extend([None, Refused(403, "Forbidden", "pods is forbidden")])
    seen = reconciled(cluster)["chat-1"]
    assert seen.state is ReplicaState.STOPPING
    assert seen.message == "its pod cannot be deleted: HTTP 403: pods is forbidden"


def test_a_kind_of_gpu_is_looked_for_among_those_of_the_nodes(cluster: PodApi) -> None:
    cluster.add_node("gpu-1", **{"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"})
    cluster.add_node("gpu-2", **{"nvidia.com/gpu.product": "NVIDIA-L4"})
    h100 = wanted("chat-1", gpu=GPURequirements(type="h100 80GB"))
    b200 = wanted("chat-2", gpu=GPURequirements(type="B200"))
    told = reconciled(cluster, h100, b200)
    pod = cluster.pod("chat-1")
    assert pod is not None
    node = pod["spec"]["affinity"]["nodeAffinity"]
    (term,) = node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    (expression,) = term["matchExpressions"]
    assert expression["values"] == ["NVIDIA-H100-80GB-HBM3"]
    assert told["chat-2"].message == (
        "no node's label nvidia.com/gpu.product holds 'B200'; "
        "there are: NVIDIA-H100-80GB-HBM3, NVIDIA-L4"
    )


def test_what_cannot_be_a_pod_is_never_sent(cluster: PodApi) -> None:
    bare = wanted("chat-1", runtime=msgspec.structs.replace(RUNTIME, image=""))
    odd = wanted("chat-2", runtime=msgspec.structs.replace(RUNTIME, command=("a", "{zone}")))
    told = reconciled(cluster, bare, odd)
    assert told["chat-1"].message == "runtime.image: is missing, and a pod needs one"
    assert told["chat-2"].message.startswith("runtime.command: {zone} is not known, expected")
    assert cluster.asked == ["GET /api/v1/pods"]


def test_nobody_at_the_address_is_told_as_such() -> None:
    async def story() -> None:
        runtime = PodRuntime(SETTINGS, url="http://127.0.0.1:1", timeout=timedelta(seconds=2))
        try:
            with pytest.raises(PodsUnavailable, match=r"127\.0\.0\.1:1"):
                await runtime.reconcile([], NOW)
        finally:
            await runtime.close()

    asyncio.run(story())


def limits(gpu: GPURequirements, mig: str = "") -> dict[str, str]:
    """Write a pod and return what it takes of a node."""
    spec = AgentPoolSpec(runtime=RUNTIME, gpu_requirements=gpu, mig_profile=mig)
    pool = AgentPool(metadata=ObjectMeta(name="chat"), spec=spec)
    written = manifest.manifest(WantedReplica("chat-1", pool), SETTINGS)
    found: dict[str, str] = written["spec"]["containers"][0]["resources"]["limits"]
    return found


def test_gpus_slices_and_shares_are_resources_of_their_own() -> None:
    assert limits(GPURequirements(count=4)) == {"nvidia.com/gpu": "4"}
    assert limits(GPURequirements(count=0)) == {}
    assert limits(GPURequirements(count=0.25)) == {"nvidia.com/gpu.shared": "1"}
    assert limits(GPURequirements(count=2), "1g.10gb") == {"nvidia.com/mig-1g.10gb": "2"}


def test_models_come_from_a_claim_or_from_where_they_are() -> None:
    model = Model(metadata=ObjectMeta(name="llama"), spec=ModelSpec("hf://org/llama@1"))
    runtime = msgspec.structs.replace(RUNTIME, command=("serve", "{model_path}"))
    pool = wanted("chat-1", runtime=runtime).pool
    replica = WantedReplica("chat-1", pool, model)
    plain = manifest.manifest(replica, SETTINGS)["spec"]
    assert plain["containers"][0]["command"] == ["serve", "hf://org/llama@1"]
    assert "volumes" not in plain
    claimed = manifest.manifest(replica, PodSettings(fleet="k3f9", model_claim="models"))["spec"]
    assert claimed["containers"][0]["command"] == ["serve", "/models/default/llama"]
    assert claimed["volumes"][0]["persistentVolumeClaim"]["claimName"] == "models"


@given(st.text(max_size=300))
def test_every_text_becomes_a_value_that_a_label_can_have(text: str) -> None:
    made = manifest.label(text)
    assert len(made) <= 63
    assert not made or (made[0].isalnum() and made[-1].isalnum() and made.isascii())


PHASES = st.sampled_from(["", "Pending", "Running", "Failed", "Succeeded", "Unknown", "Odd"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)


@given(PHASES, JSON, st.booleans())
def test_whatever_a_server_says_of_a_pod_is_read_or_refused(
    phase: str,
    anything: object,
    is_wanted: bool,  # noqa: FBT001 - hypothesis
) -> None:
    status = {**running(ready=True), "phase": phase, "message": anything}
    pod = {"metadata": {"name": "chat-1"}, "spec": {"nodeName": anything}, "status": status}
    try:
        read = msgspec.convert(pod, reading.Pod)
    except msgspec.ValidationError:
        return
    seen = reading.seen(read, wanted=is_wanted)
    assert seen.id == "chat-1"
    assert len(seen.message) <= reading.TEXT_MAX
