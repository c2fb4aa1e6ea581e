"""The rules of placing in plain Python, node by node: slow, and short enough to be believed.

It knows the nodes as views only, and nothing of columns, caches and incremental updates.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from navarch.core.model.resources import NodeAffinity, ReplicaAffinity
from navarch.core.serving.views import Node, Pod, Slot, Taint

HOST = "kubernetes.io/hostname"
EPSILON = 1e-6


def label(node: Node, key: str) -> str | None:
    return node.labels.get(key, node.name if key == HOST else None)


def term_holds(node: Node, term: NodeAffinity) -> bool:
    value = label(node, term.key)
    return {
        "In": value is not None and value in term.values,
        "NotIn": value is None or value not in term.values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[term.operator]


def tolerates(pod: Pod, taint: Taint) -> bool:
    return any(
        each.effect in ("", taint.effect)
        and (
            (each.operator == "Exists" and each.key in ("", taint.key))
            or (each.operator == "Equal" and (each.key, each.value) == (taint.key, taint.value))
        )
        and (each.key or each.operator == "Exists")
        for each in pod.tolerations
    )


def company_holds(node: Node, nodes: Sequence[Node], pod: Pod, term: ReplicaAffinity) -> bool:
    pool = term.agent_pool or pod.agent_pool
    domain = label(node, term.topology_key)
    with_label = [each for each in nodes if label(each, term.topology_key) is not None]
    there = domain is not None and any(
        each.replicas.get(pool, 0) > 0
        for each in with_label
        if label(each, term.topology_key) == domain
    )
    if term.anti:
        return not there
    nobody = not any(each.replicas.get(pool, 0) > 0 for each in with_label)
    return (domain is not None) if nobody and pool == pod.agent_pool else there


def usable(pod: Pod, slot: Slot) -> bool:
    return slot.memory >= pod.gpu_memory


def free_whole(slot: Slot) -> bool:
    return not slot.mig_free and slot.free >= 1 - EPSILON


def near(pod: Pod, slots: Sequence[Slot]) -> bool:
    """Whether these GPUs are as near to each other as the pod wants them."""
    if len(slots) == 1:
        return True
    linked = pod.locality == "nvlink" or pod.min_bandwidth > 0
    if pod.locality == "same-socket" and len({slot.socket for slot in slots}) > 1:
        return False
    if not linked:
        return True
    one_group = len({slot.nvlink for slot in slots}) == 1 and slots[0].nvlink >= 0
    return one_group and all(slot.bandwidth >= pod.min_bandwidth for slot in slots)


def slices(pod: Pod, node: Node) -> int:
    return sum(slot.mig_free.get(pod.mig_profile, 0) for slot in node.gpus if usable(pod, slot))


def gpus_fit(pod: Pod, node: Node) -> bool:
    if pod.mig_profile:
        return slices(pod, node) >= (pod.gpu_request or 1)
    if not pod.gpu_request:
        return True
    slots = [slot for slot in node.gpus if usable(pod, slot) and not slot.mig_free]
    if pod.gpu_request < 1:
        return any(slot.free >= pod.gpu_request - EPSILON for slot in slots)
    whole = [slot for slot in slots if free_whole(slot)]
    return any(near(pod, some) for some in combinations(whole, int(pod.gpu_request)))


def share_price(pod: Pod, node: Node) -> float:
    gpus = pod.gpu_request
    if pod.mig_profile:
        gpus = (pod.gpu_request or 1) * int(pod.mig_profile[0]) / 7
    return node.price_per_hour * gpus / max(len(node.gpus), 1)


def fits(pod: Pod, node: Node, nodes: Sequence[Node]) -> bool:
    """Whether a pod may run on a node, the others being as they are."""
    hard = [each for each in node.taints if each.effect != "PreferNoSchedule"]
    price = share_price(pod, node)
    asks = bool(pod.gpu_request or pod.mig_profile)
    known_price = any(share_price(pod, each) for each in nodes)
    priced = not pod.cost_max or not (known_price or asks) or 0 < price <= pod.cost_max
    return (
        not (node.why_not or node.unschedulable or not node.healthy)
        and pod.gpu_type.casefold() in node.gpu_type.casefold()
        and all(tolerates(pod, each) for each in hard)
        and all(label(node, key) == value for key, value in pod.node_selector.items())
        and all(term_holds(node, term) for term in pod.affinity if not term.weight)
        and priced
        and (pod.spot_allowed or not node.spot)
        and all(
            company_holds(node, nodes, pod, term)
            for term in pod.replica_affinity
            if not term.weight
        )
        and gpus_fit(pod, node)
    )


def packing(pod: Pod, node: Node) -> float:
    total = max(len(node.gpus), 1)
    free = sum(0 if slot.mig_free else slot.free for slot in node.gpus)
    left = max(free - (0 if pod.mig_profile else pod.gpu_request), 0) / total
    if pod.strategy == "bin-pack":
        return 100 - 100 * left
    return 100 * left / (1 + node.replicas.get(pod.agent_pool, 0))


def fragmentation(pod: Pod, node: Node) -> float:
    if pod.mig_profile:
        return 100 / (1 + slices(pod, node) - (pod.gpu_request or 1))
    slots = [slot for slot in node.gpus if usable(pod, slot) and not slot.mig_free]
    if pod.gpu_request < 1:
        least = min(slot.free for slot in slots if slot.free >= pod.gpu_request - EPSILON)
        if least >= 1 - EPSILON:
            return 25
        return 100 - 50 * (least - pod.gpu_request)
    count, spare = int(pod.gpu_request), []
    linked = pod.locality == "nvlink" or pod.min_bandwidth > 0
    whole = [
        slot
        for slot in slots
        if free_whole(slot) and (count == 1 or slot.bandwidth >= pod.min_bandwidth)
    ]
    if count == 1 or (pod.locality != "same-socket" and not linked):
        spare.append(len(whole) - count)
        keys: list[object] = [slot.nvlink for slot in whole]
    else:
        keys = [
            (slot.socket if pod.locality == "same-socket" else 0, slot.nvlink if linked else 0)
            for slot in whole
            if not linked or slot.nvlink >= 0
        ]
        spare.append(len(whole) - count)
    spare += [keys.count(key) - count for key in set(keys)]
    least_left = min(each for each in spare if each >= 0)
    return 100 * (1 - min(least_left / max(len(node.gpus), 1), 1))


def score(pod: Pod, node: Node, nodes: Sequence[Node]) -> float:
    """Say how good a node is that fits, from 0 to 100."""
    parts: list[tuple[float, float]] = [(1.0, packing(pod, node))]
    if pod.strategy == "bin-pack" and (pod.gpu_request or pod.mig_profile):
        parts.append((1.0, fragmentation(pod, node)))
    if any(each.taints for each in nodes):
        soft = [each for each in node.taints if each.effect == "PreferNoSchedule"]
        parts.append((1.0, 100 / 2 ** sum(not tolerates(pod, each) for each in soft)))
    if pod.affinity:
        parts.append((1.0, _weighed([(t.weight, term_holds(node, t)) for t in pod.affinity])))
    if pod.replica_affinity:
        held = [(t.weight, company_holds(node, nodes, pod, t)) for t in pod.replica_affinity]
        parts.append((1.0, _weighed(held)))
    prices = [price for each in nodes if (price := share_price(pod, each))]
    if prices:
        price = share_price(pod, node)
        parts.append((0.5, 100 * min(prices) / price if price else 0.0))
    elif pod.cost_max and (pod.gpu_request or pod.mig_profile):
        parts.append((0.5, 0.0))
    if pod.model:
        here = pod.model in node.models
        seconds = 0 if here else pod.model_bytes / (node.fetch_bytes_per_second or 250e6)
        unknown = 100.0 if here else 25.0
        parts.append((1.0, 100 / (1 + seconds / 60) if pod.model_bytes else unknown))
    if pod.data_regions:
        parts.append((0.5, 100.0 if node.region in pod.data_regions else 0.0))
    if any(each.name in pod.avoid for each in nodes):
        parts.append((20.0, 0.0 if node.name in pod.avoid else 100.0))
    return sum(weight * value for weight, value in parts) / sum(weight for weight, _ in parts)


def _weighed(terms: Sequence[tuple[int, bool]]) -> float:
    total = sum(weight for weight, _ in terms)
    return 100 * sum(weight for weight, good in terms if good) / total if total else 0.0
