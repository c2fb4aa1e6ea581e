"""Runs of twins that tests of the report look at."""

from __future__ import annotations

import functools
import math
from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from navarch.core.model.finding import Remedy
from navarch.core.model.pool import Disruption, PoolSpec, Source
from navarch.core.scaling.reactive import ReactiveAutoscaler
from navarch.providers.base import InstanceType
from navarch.simulator.faults import CloudPlan
from navarch.simulator.policies import TABLES
from navarch.simulator.report.recorder import Recorder
from navarch.simulator.twin.blueprint import Blueprint, Hazard, Owned, Scaled, Seller, SpotMarket
from navarch.simulator.twin.faults import Fault, FaultKind
from navarch.simulator.twin.twin import Twin

HOUR = timedelta(hours=1)
FALLEN = Fault(FaultKind.XID, xid=79, gpu=3, cure=Remedy.REPLACE)
HARMLESS = Fault(FaultKind.XID, xid=31)


class Waves(Struct, frozen=True):
    """Work that comes and goes with the day."""

    low: float
    high: float
    jobs_per_node: float = 4.0

    def jobs(self, since: timedelta) -> float:
        wave = (1 - math.cos(2 * math.pi * (since / (24 * HOUR)))) / 2
        return self.jobs_per_node * (self.low + (self.high - self.low) * wave)


def a_seller(name: str, price: float, **more: object) -> Seller:
    kind = InstanceType(
        name="gpu",
        gpu_count=8,
        gpu_type="H100",
        price_per_hour=price,
        spot_price_per_hour=price / 3,
    )
    return replace(Seller(CloudPlan(name), types=(kind,)), **more)


def a_pool(name: str, nodes: int, most: int, *sources: Source) -> PoolSpec:
    return PoolSpec(
        name,
        sources[0].provider,
        instance_type="gpu",
        sources=sources,
        min_nodes=nodes,
        max_nodes=most,
        disruption=Disruption(max_unavailable=2, max_replacements_per_hour=10),
    )


CALM = Blueprint(
    name="calm",
    pools=(a_pool("train", 6, 8, Source("alpha")),),
    sellers=(a_seller("alpha", 20.0),),
    policy=TABLES["strict"],
    lasts=2 * HOUR,
)
"""Six nodes to which nothing happens by itself."""

STORMY = Blueprint(
    name="a stormy day",
    pools=(
        a_pool("serve", 4, 24, Source("beta"), Source("alpha", priority=1)),
        a_pool("train", 16, 19, Source("alpha"), Source("gamma", priority=1, spot=True)),
    ),
    sellers=(
        a_seller("alpha", 22.0, quota=16),
        a_seller("beta", 18.5, stock=10),
        a_seller("gamma", 24.0, spot=SpotMarket(mean_hours_to_interruption=2.0)),
    ),
    owned=(Owned("basement-1"), Owned("basement-2")),
    hazards=(
        Hazard(HARMLESS, 1.0, source="Llama 3 training report, table 5"),
        Hazard(FALLEN, 0.4, source="Llama 3 training report, table 5"),
        Hazard(Fault(FaultKind.XID, xid=48, cure=Remedy.RESET_GPU), 0.2, source="the same"),
        Hazard(Fault(FaultKind.CRASH), 0.1, source="assumed"),
        Hazard(Fault(FaultKind.VANISH), 0.03, source="assumed"),
        Hazard(Fault(FaultKind.NETWORK, lasts=timedelta(minutes=9)), 0.05, source="assumed"),
        Hazard(Fault(FaultKind.TEMPERATURE, temperature=91, lasts=timedelta(minutes=30)), 0.1),
    ),
    scaled=(Scaled("serve", ReactiveAutoscaler(80.0, 40.0), Waves(4, 14)),),
    policy=TABLES["strict"],
    lasts=12 * HOUR,
)
"""A day of twelve hours in which much goes wrong."""


def recorded(blueprint: Blueprint, seed: int = 1) -> Recorder:
    """Live through a blueprint."""
    twin = Twin(blueprint, seed)
    for owned in blueprint.owned:
        twin.welcome(owned)
    recorder = Recorder(twin)
    twin.run()
    return recorder


@functools.cache
def a_stormy_day() -> Recorder:
    """Live through the stormy day, once in a process."""
    return recorded(STORMY)
