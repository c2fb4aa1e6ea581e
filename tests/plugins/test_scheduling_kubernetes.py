"""Nodes of Kubernetes, as the API server writes them."""

from __future__ import annotations

from typing import Any

import pytest

from navarch.core.model.resources import AgentPool
from navarch.core.serving.views import NodeCondition, Pod, Taint
from navarch.errors import PluginError
from navarch.plugins import Scheduler, node_from_kubernetes

DOCUMENT: dict[str, Any] = {
    "kind": "Node",
    "metadata": {
        "name": "gke-1",
        "labels": {
            "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
            "nvidia.com/gpu.memory": "81559",
            "topology.kubernetes.io/zone": "us-east1-b",
            "topology.kubernetes.io/region": "us-east1",
            "cloud.google.com/gke-spot": "true",
            "navarch.io/nvlink": "0-1",
        },
    },
    "spec": {
        "providerID": "gce://project/us-east1-b/gke-1",
        "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
    },
    "status": {
        "capacity": {"cpu": "96", "memory": "1Ti", "nvidia.com/gpu": "2", "pods": "110"},
        "allocatable": {"nvidia.com/gpu": "2", "nvidia.com/mig-1g.10gb": "7"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
    },
}


def test_a_node_is_read_with_its_gpus_and_what_is_taken_of_them() -> None:
    node = node_from_kubernetes(DOCUMENT, taken={0: 0.5, 2: 3}, price_per_hour=9.0)
    assert (node.name, node.gpu_type, node.zone) == ("gke-1", "NVIDIA-H100-80GB-HBM3", "us-east1-b")
    assert (node.spot, node.provider, node.price_per_hour) == (True, "gce", 9.0)
    assert [slot.free for slot in node.gpus[:2]] == [0.5, 1.0]
    assert node.gpus[2].mig_free == {"1g.10gb": 4}
    assert node.gpus[0].memory == 81559 << 20
    assert [slot.nvlink for slot in node.gpus] == [0, 0, -1]
    assert node.taints == (Taint("nvidia.com/gpu", "present"),)
    assert node.conditions == (NodeCondition("Ready", "True", "KubeletReady"),)


def test_it_is_placed_on_like_any_other() -> None:
    cordoned = {**DOCUMENT, "spec": {"unschedulable": True}}
    pod = Pod("p", gpu_request=1, gpu_type="h100", gpu_memory=80 * 10**9)
    scheduler = Scheduler()
    free = {**DOCUMENT, "spec": {}}
    assert scheduler.place([pod], [node_from_kubernetes(free)], AgentPool())[0].gpus == (0,)
    blocked = scheduler.place([pod], [node_from_kubernetes(cordoned)], AgentPool())[0]
    assert blocked.counts == {"cordoned": 1}
    tainted = scheduler.place([pod], [node_from_kubernetes(DOCUMENT)], AgentPool())[0]
    assert tainted.counts == {"taint nvidia.com/gpu=present:NoSchedule": 1}


@pytest.mark.parametrize(
    "document,text",
    [
        ({}, "metadata.name is None: expected a name"),
        ({"metadata": []}, "metadata is list: expected an object"),
        ({"metadata": {"name": "n", "labels": {"a": 1}}}, "node n: labels: expected texts"),
        ({"metadata": {"name": "n"}, "status": {"capacity": []}}, None),
        ({"metadata": {"name": "n"}, "status": {"capacity": [1]}}, "expected amounts by name"),
        (
            {"metadata": {"name": "n"}, "status": {"capacity": {"nvidia.com/gpu": "1k"}}},
            "capacity: nvidia.com/gpu is '1k': expected a whole number up to 64",
        ),
        ({"metadata": {"name": "n"}, "spec": {"taints": [{"effect": "No"}]}}, "effect 'No'"),
        ({"metadata": {"name": "n"}, "spec": {"taints": ["a"]}}, "taints: expected a list of"),
        ({"metadata": {"name": "n"}, "status": {"conditions": [{}]}}, "one has no type"),
    ],
)
def test_a_document_that_is_no_node_is_refused(document: dict[str, Any], text: str | None) -> None:
    if text is None:
        assert node_from_kubernetes(document).gpus == ()
        return
    with pytest.raises(PluginError, match=text.replace("'", ".")):
        node_from_kubernetes(document)
