"""Our nodes and replicas as scheduler plugins see them, and nodes that a pool could buy.

What a node's driver does not tell is read from its labels; `layout` says which. A label that cannot
be understood is left out, and named in the node's annotation `IGNORED`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance
from navarch.core.model.ladder import Told
from navarch.core.model.node import Intent, Phase
from navarch.core.model.node import Node as Machine
from navarch.core.model.pool import PoolSpec
from navarch.core.model.replica import Replica, ReplicaState
from navarch.core.model.report import Health
from navarch.core.model.sightings import Sightings
from navarch.core.serving.layout import Layout, layout, layout_of
from navarch.core.serving.recipes import Recipe
from navarch.core.serving.scheduling import BUILT_IN, Running, Shape, Snapshot, bind
from navarch.core.serving.scheduling.costs import price_of
from navarch.core.serving.scheduling.gpus import ask_of
from navarch.core.serving.scheduling.placing import ROOM
from navarch.core.serving.scheduling.shapes import Bound
from navarch.core.serving.views import GPU_RESOURCE, MIG_RESOURCE, Node, Pod, Slot

IGNORED: Final = "navarch.io/ignored-labels"
"""The annotation that names labels which were not understood, and why."""
_BOUND: Final = bind([each() for each in BUILT_IN])


def views(
    fleet: Fleet, sightings: Sightings, prices: Mapping[str, float] | None = None
) -> list[Node]:
    """Show every node that has not ended, in the order of their registration.

    `prices` are US dollars an hour by node; None: as the providers' price lists say. Cost:
    O(nodes, their GPUs and replicas).
    """
    return [
        view(fleet, sightings, machine, prices)
        for machine in fleet.nodes.values()
        if not machine.over
    ]


def view(
    fleet: Fleet,
    sightings: Sightings,
    machine: Machine,
    prices: Mapping[str, float] | None = None,
) -> Node:
    """Show one node. Who keeps views has to know what they are made of: `kept_views`."""
    instance = fleet.instances.get(machine.id)
    found = layout_of(fleet, machine)
    replicas = list(fleet.replicas_at(machine.id))
    slots = tuple(_slots(machine, found, replicas))
    gpu_type = machine.gpus[0].name if machine.gpus else ""
    if prices is None:
        price = price_per_hour(sightings, machine, instance)
    else:
        price = prices.get(machine.id, 0.0)
    return Node(
        machine.id,
        labels=found.labels | _well_known(machine, gpu_type),
        annotations={IGNORED: "; ".join(found.faults)} if found.faults else {},
        capacity=_capacity(machine, found),
        taints=found.taints,
        unschedulable=machine.intent is not Intent.IN_SERVICE,
        gpu_type=gpu_type,
        gpus=slots,
        healthy=machine.health is not Health.UNHEALTHY,
        why_not=why_not(machine, instance),
        provider=machine.provider,
        region=machine.region,
        zone=machine.zone,
        pool=machine.pool,
        spot=instance is not None and instance.spot,
        price_per_hour=price,
        models=frozenset(fleet.weights.get(machine.id, ())),
        fetch_bytes_per_second=fetch_rate(sightings, machine.id),
        replicas=dict(Counter(replica.agent_pool for replica in replicas)),
    )


def fetch_rate(sightings: Sightings, node_id: str) -> float:
    """How quickly a node brought weights lately, in bytes a second; 0: not known."""
    serving = sightings.serving.get(node_id)
    rates = [model.bytes_per_second for model in serving.models] if serving else []
    return float(max(rates, default=0))


def why_not(machine: Machine, instance: Instance | None) -> str:
    """Why no replica may begin to run on a node, the gravest first; empty: it may."""
    if not machine.connected:
        return "lost"
    if machine.health is Health.UNHEALTHY:
        return "unhealthy"
    if instance is not None and instance.interrupted:
        return "taken away by its provider"
    if machine.phase is Phase.LEAVING or (instance is not None and instance.releasing):
        return "leaving"
    if machine.repair is not None:
        return "in repair"
    if machine.condemned:
        return "being replaced"
    if machine.handed_over:
        return "handed over to a person"
    if machine.intent is not Intent.IN_SERVICE:
        return machine.intent.value
    return "" if machine.workload is Told.OPEN else "kept from work"


def price_per_hour(sightings: Sightings, machine: Machine, instance: Instance | None) -> float:
    """Say what a node costs by its provider's list, in US dollars an hour; 0: not known."""
    catalog = sightings.catalogs.get(machine.provider)
    type_ = (instance.instance_type if instance else "") or machine.instance_type
    sold = catalog.types.get(type_) if catalog else None
    if sold is None:
        return 0.0
    spot = instance is not None and instance.spot
    return (sold.spot_price_usd_per_hour if spot else sold.price_usd_per_hour) or 0.0


def _well_known(machine: Machine, gpu_type: str) -> dict[str, str]:
    """Labels that everybody counts on; the node's id is its host name, as that is unique."""
    known = {
        "kubernetes.io/hostname": machine.id,
        "node.kubernetes.io/instance-type": machine.instance_type,
        "topology.kubernetes.io/region": machine.region,
        "topology.kubernetes.io/zone": machine.zone,
        "navarch.io/gpu-type": gpu_type,
        "navarch.io/instance-type": machine.instance_type,
        "navarch.io/pool": machine.pool,
        "navarch.io/provider": machine.provider,
    }
    return {key: value for key, value in known.items() if value}


def _slots(machine: Machine, found: Layout, replicas: Sequence[Replica]) -> Iterator[Slot]:
    shares: dict[int, float] = {}
    slices: Counter[tuple[int, str]] = Counter()
    for replica in replicas:
        for index in replica.gpus:
            if replica.mig:
                slices[index, replica.mig] += 1
            else:
                shares[index] = shares.get(index, 0.0) + replica.share
    for gpu in machine.gpus:
        mig = {
            profile: max(count - slices[gpu.index, profile], 0)
            for profile, count in found.mig.get(gpu.index, {}).items()
        }
        yield Slot(
            gpu.index,
            free=max(1.0 - shares.get(gpu.index, 0.0), 0.0),
            memory=gpu.memory_total,
            socket=found.socket.get(gpu.index, 0),
            nvlink=found.nvlink.get(gpu.index, -1),
            bandwidth=found.bandwidth if gpu.index in found.nvlink else 0,
            mig_free=mig,
        )


def _capacity(machine: Machine, found: Layout) -> dict[str, float]:
    capacity: dict[str, float] = {GPU_RESOURCE: float(len(machine.gpus))}
    for index in {gpu.index for gpu in machine.gpus} & found.mig.keys():
        for profile, count in found.mig[index].items():
            key = MIG_RESOURCE + profile
            capacity[key] = capacity.get(key, 0.0) + count
    return capacity


def running(fleet: Fleet) -> tuple[Running, ...]:
    """List the replicas that hold a place, for `Scheduler.place`. Cost: O(replicas on nodes)."""
    return tuple(
        Running(
            *(replica.id, node_id, replica.gpus, replica.share, replica.mig),
            *(replica.priority, replica.agent_pool, replica.state is ReplicaState.STOPPING),
        )
        for node_id in fleet.replicas_on
        for replica in fleet.replicas_at(node_id)
    )


def pod_of(replica: Replica, recipe: Recipe) -> Pod:
    """Say what a replica asks for, by the resources of its pool."""
    spec, metadata = recipe.pool.spec, recipe.pool.metadata
    gpus, rules = spec.gpu_requirements, spec.scheduling
    return Pod(
        replica.id,
        namespace=metadata.namespace,
        labels=metadata.labels,
        annotations=metadata.annotations,
        gpu_request=gpus.count,
        gpu_memory=gpus.memory,
        gpu_type=gpus.type,
        mig_profile=spec.mig_profile,
        locality=gpus.topology.locality,
        min_bandwidth=gpus.topology.min_bandwidth,
        node_selector=rules.node_selector,
        affinity=rules.affinity,
        replica_affinity=rules.replica_affinity,
        tolerations=rules.tolerations,
        priority=replica.priority,
        gang=replica.gang,
        agent_pool=replica.agent_pool,
        model=recipe.model.full_name if recipe.model else "",
        model_bytes=recipe.model.spec.size if recipe.model else 0,
        spot_allowed=rules.spot_enabled,
        cost_max=rules.max_cost_per_hour,
        strategy=rules.strategy,
        data_regions=rules.data_regions,
        avoid=replica.failed_nodes,
    )


# --- nodes that are not there yet -------------------------------------------------------------


def template(
    spec: PoolSpec,
    *,
    like: Node | None = None,
    gpu_count: int = 0,
    gpu_type: str = "",
    gpu_memory: int = 0,
    price_per_hour: float = 0.0,
) -> Node:
    """Show a node that a pool would buy: empty, and in service.

    `like` is a node of the same pool, whose GPUs, labels and price are taken over. Without one the
    facts of its instance type are; memory is in bytes for each GPU, the price in US dollars.
    """
    name = f"new node of {spec.name}"
    if like is not None:
        slots = tuple(_emptied(slot, like) for slot in like.gpus)
        return msgspec.structs.replace(
            like,
            name=name,
            labels=like.labels | {"kubernetes.io/hostname": name},
            conditions=(),
            unschedulable=False,
            healthy=True,
            why_not="",
            gpus=slots,
            models=frozenset(),
            replicas={},
        )
    found = layout(spec.labels)
    zone = spec.zones[0] if spec.zones else ""
    spot = bool(spec.sources) and all(source.spot for source in spec.sources)
    labels = {
        "kubernetes.io/hostname": name,
        "navarch.io/gpu-type": gpu_type,
        "navarch.io/instance-type": spec.instance_type,
        "navarch.io/pool": spec.name,
        "navarch.io/provider": spec.provider,
        "topology.kubernetes.io/region": spec.region,
        "topology.kubernetes.io/zone": zone,
    }
    slots = tuple(
        Slot(
            index,
            memory=gpu_memory,
            socket=found.socket.get(index, 0),
            nvlink=found.nvlink.get(index, -1),
            bandwidth=found.bandwidth if index in found.nvlink else 0,
            mig_free=found.mig.get(index, {}),
        )
        for index in range(gpu_count)
    )
    return Node(
        name,
        labels=found.labels | {key: value for key, value in labels.items() if value},
        capacity={GPU_RESOURCE: float(gpu_count)},
        taints=found.taints,
        gpu_type=gpu_type,
        gpus=slots,
        provider=spec.provider,
        region=spec.region,
        zone=zone,
        pool=spec.name,
        spot=spot or spec.spot_percent == 100,
        price_per_hour=price_per_hour,
    )


def _emptied(slot: Slot, node: Node) -> Slot:
    """Give a GPU as it is on a new node: all slices of its labels, or all of it."""
    mig = layout(node.labels).mig.get(slot.index, slot.mig_free)
    return msgspec.structs.replace(slot, free=1.0, mig_free=mig if slot.mig_free else {})


def growable(pod: Pod, templates: Mapping[str, Node], bound: Sequence[Bound] | None = None) -> str:
    """Name the pool of machines whose new node would fit a pod most cheaply; empty: none would.

    `templates` are new nodes by the name of their pool: of pools that may grow. A pool whose price
    is not known comes after all others; ties go by name. Each is looked at as if it were the only
    node there is, so who has to be near other replicas fits nowhere. `bound` are the plugins that
    are asked; None: the built-in ones.
    """
    if ask_of(pod).fault:
        return ""
    options = []
    for name in sorted(templates):
        snapshot = Snapshot([templates[name]])
        if Shape(pod, ROOM, bound or _BOUND, snapshot).best() == 0:
            price = float(price_of(pod, snapshot)[0]) or float("inf")
            options.append((price, name))
    return min(options)[1] if options else ""
