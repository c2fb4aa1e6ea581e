"""Fleets as wide as asked for: eight GPUs a node, no two of them alike."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.gpu import GPU, GPUSample, NodeSample
from navarch.core.model.node import Metadata
from navarch.core.model.pool import PoolSpec
from navarch.wire.generated import navarch_pb2 as pb

START = datetime(2026, 5, 1, tzinfo=UTC)
GPUS = 8
POOLS = 20
PROVIDER = "nobody"
TYPE = "gpu_8x_h100_sxm5"


def pool_name(number: int) -> str:
    """Return the name of a pool."""
    return f"pool{number:02}"


def node_id(number: int) -> str:
    """Return the id of a node, as instances are called."""
    return f"{pool_name(number % POOLS)}-k3f9-{number:06}"


def specs(nodes: int) -> list[PoolSpec]:
    """Return pools that have room for these nodes and want as many as there are."""
    size = -(-nodes // POOLS)
    return [
        PoolSpec(pool_name(number), PROVIDER, TYPE, min_nodes=size, max_nodes=size + 10)
        for number in range(POOLS)
    ]


def registration(number: int) -> pb.RegisterNodeRequest:
    """Return what the agent of a node says of it."""
    return pb.RegisterNodeRequest(
        node_id=node_id(number),
        provider=PROVIDER,
        region=("us-east-1", "us-west-2", "eu-central-1")[number % 3],
        zone=("a", "b")[number % 2],
        instance_type=TYPE,
        gpus=[
            pb.GPUInfo(
                index=each.index,
                uuid=each.uuid,
                name=each.name,
                pci_bus_id=each.pci_bus_id,
                memory_total=each.memory_total,
                driver_version=each.driver_version,
                cuda_version=each.cuda_version,
            )
            for each in gpus(number)
        ],
        metadata=pb.NodeMetadata(
            hostname=f"host-{number:06}",
            internal_ip=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            kernel_version="6.8.0-52-generic",
            labels={"rack": f"r{number // 16}", "fabric": f"leaf{number // 64}"},
        ),
    )


def gpus(number: int) -> tuple[GPU, ...]:
    """Return the GPUs of a node."""
    return tuple(
        GPU(
            index=index,
            uuid=f"GPU-{number:08x}-{index:04x}-4b7e-9a51-{number * 31 + index:012x}",
            name="NVIDIA H100 80GB HBM3",
            pci_bus_id=f"00000000:{0x1B + 0x10 * index:02X}:00.0",
            memory_total=85_520_809_984,
            driver_version="550.54.15",
            cuda_version="12.4",
        )
        for index in range(GPUS)
    )


def sample(number: int, turn: int) -> NodeSample:
    """Return a reading of a node; no two turns are alike."""
    return NodeSample(
        cpu_percent=float((number + turn) % 100),
        memory_percent=42.5,
        gpus=tuple(
            GPUSample(
                index,
                temperature_celsius=40 + (number + turn + index) % 40,
                power_watts=300 + (number * 7 + turn) % 400,
                utilization_percent=float((number + 13 * turn + index) % 101),
                memory_used=(number + turn) % 80 << 30,
            )
            for index in range(GPUS)
        ),
    )


def facts(nodes: int) -> Iterator[ev.Fact]:
    """Return a life of a fleet up to now: pools, launches, machines, nodes, clean reports."""
    yield ev.FleetFounded(START, "k3f9")
    for spec in specs(nodes):
        yield ev.PoolConfigured(START, spec)
    for number in range(nodes):
        yield from launch(number)
        at, name, pool = when(number), node_id(number), pool_name(number % POOLS)
        yield ev.NodeRegistered(
            at,
            name,
            provider=PROVIDER,
            region=("us-east-1", "us-west-2", "eu-central-1")[number % 3],
            zone=("a", "b")[number % 2],
            instance_type=TYPE,
            pool=pool,
            instance_id=name,
            gpus=gpus(number),
            metadata=Metadata(
                hostname=f"host-{number:06}",
                internal_ip=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
                kernel_version="6.8.0-52-generic",
                labels={"rack": f"r{number // 16}", "fabric": f"leaf{number // 64}"},
            ),
        )


def when(number: int) -> datetime:
    """Return when a node came: a hundred a second."""
    return START + timedelta(seconds=number // 100)


def launch(number: int) -> Iterator[ev.Fact]:
    """Return how the machine of a node was bought."""
    at, name = when(number), node_id(number)
    yield ev.LaunchRequested(
        at,
        name,
        pool_name(number % POOLS),
        PROVIDER,
        because="1 of 500 nodes are there",
        instance_type=TYPE,
    )
    yield ev.InstanceLaunched(at, name, ref=f"i-{number:017x}", because="launched")


def beats(nodes: int, turn: int) -> msg.HeartbeatBatch:
    """Return a heartbeat of every node, with a sample."""
    samples = {node_id(number): sample(number, turn) for number in range(nodes)}
    return msg.HeartbeatBatch(frozenset(samples), samples)
