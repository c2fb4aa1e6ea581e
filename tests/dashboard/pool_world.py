"""A fleet with a past: two pools whose journal goes back some hours before the test.

``training`` buys of ``cheap``, which has none left, and of ``dear``; it was scaled up and down, one
node fell silent and came back, one is sick. ``quiet`` has two nodes of a type whose price nobody
knows, and nothing ever happens there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import factories
from navarch.controlplane.clock import RealClock
from navarch.core.model import events as ev
from navarch.core.model.pool import PoolSpec, Source
from navarch.providers.base import InstanceType
from navarch.providers.fake import FakeCloud, FakeProvider
from navarch.stores.memory import MemoryStore

TRAINING = PoolSpec(
    "training",
    "cheap",
    instance_type="h100-8x",
    region="us-west-2",
    sources=(
        Source("cheap", priority=0),
        Source("dear", priority=1, regions=("us-west-2", "us-east-1")),
    ),
    strategy="cost",
    min_nodes=2,
    max_nodes=8,
    autoscaling="queue",
)
QUIET = PoolSpec("quiet", "fake", instance_type="mystery", min_nodes=2, max_nodes=4)


def provider(name: str, price: float) -> FakeProvider:
    """A cloud that sells the type of `TRAINING` at this price, and names no other."""
    sold = InstanceType(
        name="h100-8x",
        gpu_count=8,
        gpu_type="H100",
        price_per_hour=price,
        regions=("us-west-2", "us-east-1"),
    )
    cloud = FakeCloud(name=name, instance_types=(sold,))
    if name == "cheap":
        cloud.stock["h100-8x"] = 0
    return FakeProvider(name=name, cloud=cloud)


def _ago(now: datetime, **ago: float) -> datetime:
    return now - timedelta(**ago)


def past(now: datetime) -> list[ev.Fact]:
    """The journal up to now: six hours of it."""
    begun = _ago(now, hours=6)
    facts = factories.flat(
        ev.FleetFounded(begun, factories.TAG),
        ev.Resumed(begun, "0.1.0"),
        ev.PoolConfigured(begun, TRAINING),
        ev.PoolConfigured(begun, QUIET),
        *(_running(n, begun + timedelta(minutes=4), TRAINING) for n in (1, 2)),
        *(_running(n, begun + timedelta(minutes=3), QUIET) for n in (3, 4)),
        ev.TargetChanged(_ago(now, hours=4), "training", 5, "queue: 12 jobs wait, 3 for each node"),
        *(_running(n, _ago(now, hours=4), TRAINING) for n in (5, 6, 7)),
        ev.NodeLost(_ago(now, hours=3), _name("training", 6), "silent for 91 s"),
        ev.NodeReturned(_ago(now, hours=2.8), _name("training", 6), "it speaks again"),
        ev.TargetChanged(_ago(now, hours=2), "training", 4, "queue: 4 jobs wait, 3 for each node"),
        ev.ReleaseRequested(_ago(now, hours=2), _name("training", 7), "5 nodes, 4 wanted"),
        ev.TerminationRequested(_ago(now, hours=1.9), _name("training", 7), "it is drained"),
        ev.InstanceTerminated(_ago(now, hours=1.85), _name("training", 7), "the list has it not"),
        ev.TargetChanged(_ago(now, minutes=20), "training", 6, "queue: 17 jobs wait"),
        _requested(8, _ago(now, minutes=20), TRAINING, "cheap"),
        ev.LaunchFailed(
            _ago(now, minutes=19), _name("training", 8), "NoCapacity", "no h100-8x is left"
        ),
        *(_running(n, _ago(now, minutes=18), TRAINING) for n in (9, 10)),
    )
    return sorted(facts, key=lambda fact: fact.at)


def _name(pool: str, n: int) -> str:
    return f"{pool}-{factories.TAG}-{n:04d}"


def _requested(n: int, when: datetime, spec: PoolSpec, seller: str) -> ev.LaunchRequested:
    return ev.LaunchRequested(
        when, _name(spec.name, n), spec.name, seller, "too few", spec.instance_type, "us-west-2"
    )


def _running(n: int, when: datetime, spec: PoolSpec) -> list[ev.Fact]:
    """A machine that was asked for, launched a minute later, and booted for five."""
    name, minute = _name(spec.name, n), timedelta(minutes=1)
    seller = "dear" if spec is TRAINING else "fake"
    return [
        _requested(n, when, spec, seller),
        ev.InstanceLaunched(when + minute, name, f"m-{n}", f"{seller} launched it"),
        ev.NodeRegistered(
            when + 6 * minute,
            name,
            provider=seller,
            region="us-west-2",
            instance_type=spec.instance_type,
            pool=spec.name,
            instance_id=name,
            gpus=factories.gpus(),
        ),
    ]


def store(facts: Sequence[ev.Fact] | None = None) -> MemoryStore:
    """A journal with this past; None: `past` of the present."""
    kept = MemoryStore()
    kept.append_now(past(RealClock().now()) if facts is None else facts, after=0)
    return kept
