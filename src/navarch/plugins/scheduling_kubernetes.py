"""Nodes of a Kubernetes cluster as scheduler plugins see them.

The documents are those of the API server, as JSON objects. What they do not say, such as what runs
on a node, the caller adds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from navarch.core.serving.layout import layout
from navarch.core.serving.scheduling.snapshot import GPUS_MAX, SLICES_MAX, slots_of
from navarch.core.serving.views import (
    GPU_RESOURCE,
    MIG_RESOURCE,
    Node,
    NodeCondition,
    Slot,
    Taint,
)
from navarch.errors import PluginError

PRODUCT: Final = "nvidia.com/gpu.product"
"""The label with the GPU's product name, as NVIDIA's GPU feature discovery writes it."""
MEMORY: Final = "nvidia.com/gpu.memory"
"""The label with the memory of one GPU in MiB: NVIDIA/k8s-device-plugin, release notes of v0.17.2
(read November 2026)."""
SPOT: Final = (
    ("karpenter.sh/capacity-type", "spot"),
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("cloud.google.com/gke-spot", "true"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
)
"""Labels by which clusters say that a machine may be taken away: of Karpenter, Amazon EKS, Google
GKE and Azure AKS, as public manifests for each select by them (GitHub, read November 2026)."""
_QUANTITY = re.compile(r"\d{1,18}")


def node_from_kubernetes(
    document: Mapping[str, Any],
    *,
    taken: Mapping[int, float] | None = None,
    replicas: Mapping[str, int] | None = None,
    price_per_hour: float = 0.0,
    models: frozenset[str] = frozenset(),
) -> Node:
    """Read a Node of Kubernetes.

    `taken` is the share of each GPU that somebody has, by index, and `replicas` how many run there
    by pool of agents. Labels of `navarch.core.serving.layout` count here too. Raises `PluginError`
    when the document is no node, or says something that no node can.
    """
    metadata, spec, status = (_part(document, key) for key in ("metadata", "spec", "status"))
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        raise PluginError(f"node document: metadata.name is {name!r}: expected a name")
    labels = _words(name, metadata, "labels")
    found = layout(labels)
    capacity = _amounts(name, status, "capacity")
    spec_taints = tuple(_taint(name, each) for each in _listed(name, spec, "taints"))
    zone = labels.get("topology.kubernetes.io/zone", "")
    bare = Node(
        name,
        labels=labels,
        annotations=_words(name, metadata, "annotations"),
        capacity=capacity,
        allocatable=_amounts(name, status, "allocatable"),
        conditions=tuple(_condition(name, each) for each in _listed(name, status, "conditions")),
        taints=(*spec_taints, *found.taints),
        unschedulable=spec.get("unschedulable") is True,
        gpu_type=labels.get(PRODUCT, ""),
        region=labels.get("topology.kubernetes.io/region", ""),
        zone=zone,
        provider=str(spec.get("providerID", "")).partition("://")[0],
        pool=labels.get("navarch.io/pool", ""),
        spot=any(labels.get(key) == value for key, value in SPOT),
        price_per_hour=price_per_hour,
        models=models,
        replicas=dict(replicas or {}),
    )
    return _with_gpus(bare, taken or {})


def _with_gpus(node: Node, taken: Mapping[int, float]) -> Node:
    """Give each GPU its memory, its neighbours and what is left of it."""
    found = layout(node.labels)
    size = node.labels.get(MEMORY, "0")
    memory = int(size) << 20 if _QUANTITY.fullmatch(size) else 0
    slots = []
    for slot in slots_of(node):
        left = max(1.0 - taken.get(slot.index, 0.0), 0.0)
        used = int(taken.get(slot.index, 0.0))
        slots.append(
            Slot(
                slot.index,
                free=left,
                memory=memory,
                socket=found.socket.get(slot.index, 0),
                nvlink=found.nvlink.get(slot.index, -1),
                bandwidth=found.bandwidth if slot.index in found.nvlink else 0,
                mig_free={profile: max(n - used, 0) for profile, n in slot.mig_free.items()},
            )
        )
    return msgspec.structs.replace(node, gpus=tuple(slots), allocatable={})


def _part(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = document.get(key, {})
    if not isinstance(part, Mapping):
        raise PluginError(f"node document: {key} is {type(part).__name__}: expected an object")
    return part


def _listed(name: str, part: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    found = part.get(key) or []
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise PluginError(f"node {name}: {key}: expected a list of objects")
    return found


def _words(name: str, part: Mapping[str, Any], key: str) -> dict[str, str]:
    found = part.get(key) or {}
    if not isinstance(found, Mapping) or not all(isinstance(each, str) for each in found.values()):
        raise PluginError(f"node {name}: {key}: expected texts by name")
    return {str(word): value for word, value in found.items()}


def _amounts(name: str, status: Mapping[str, Any], key: str) -> dict[str, float]:
    """Read the amounts of GPUs and slices; all others are nobody's question here."""
    amounts = {}
    found = status.get(key) or {}
    if not isinstance(found, Mapping):
        raise PluginError(f"node {name}: {key}: expected amounts by name")
    for resource, amount in found.items():
        if resource != GPU_RESOURCE and not str(resource).startswith(MIG_RESOURCE):
            continue
        limit = GPUS_MAX if resource == GPU_RESOURCE else SLICES_MAX
        if not _QUANTITY.fullmatch(str(amount)) or int(str(amount)) > limit:
            text = f"expected a whole number up to {limit}"
            raise PluginError(f"node {name}: {key}: {resource} is {amount!r}: {text}")
        amounts[str(resource)] = float(str(amount))
    return amounts


def _taint(name: str, document: Mapping[str, Any]) -> Taint:
    key, value = str(document.get("key", "")), str(document.get("value", ""))
    match document.get("effect"):
        case "NoSchedule":
            return Taint(key, value, "NoSchedule")
        case "PreferNoSchedule":
            return Taint(key, value, "PreferNoSchedule")
        case "NoExecute":
            return Taint(key, value, "NoExecute")
        case other:
            raise PluginError(f"node {name}: taint {key}: effect {other!r}: not one of Kubernetes")


def _condition(name: str, document: Mapping[str, Any]) -> NodeCondition:
    if not isinstance(document.get("type"), str):
        raise PluginError(f"node {name}: conditions: one has no type")
    return NodeCondition(
        *(str(document.get(key, "")) for key in ("type", "status", "reason", "message"))
    )
