"""Blueprints for tests of the twin: small fleets that have trouble quickly."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from navarch.core.model.finding import Remedy
from navarch.core.model.pool import Disruption, PoolSpec
from navarch.providers.base import InstanceType
from navarch.simulator.faults import CloudPlan
from navarch.simulator.policies import PATIENT
from navarch.simulator.twin.blueprint import Blueprint, BootTime, Hazard, Seller, SpotMarket
from navarch.simulator.twin.faults import Fault, FaultKind

HOUR = timedelta(hours=1)

APPLICATION = Fault(FaultKind.XID, xid=31)
RESET = Fault(FaultKind.XID, xid=48, cure=Remedy.RESET_GPU)
CRASH = Fault(FaultKind.CRASH)
BLINK = Fault(FaultKind.NETWORK, lasts=timedelta(minutes=1))
"""Shorter than a node may be silent."""

CUT = Fault(FaultKind.NETWORK, lasts=timedelta(minutes=4))
HEAT = Fault(FaultKind.TEMPERATURE, lasts=timedelta(minutes=10))
BACKEND = Fault(FaultKind.BACKEND, cure=Remedy.REBOOT)
VANISH = Fault(FaultKind.VANISH)

KIND = InstanceType(
    name="gpu", gpu_count=8, gpu_type="H100", price_per_hour=20.0, spot_price_per_hour=8.0
)

POOL = PoolSpec(
    "train",
    "alpha",
    instance_type="gpu",
    min_nodes=6,
    max_nodes=8,
    disruption=Disruption(max_unavailable=2, max_replacements_per_hour=50),
)


def seller(name: str = "alpha", **changes: object) -> Seller:
    """Return a seller whose machines boot in about two minutes."""
    boot = BootTime(timedelta(minutes=2), 0.2)
    plain = Seller(CloudPlan(name, answer_time=timedelta(seconds=1)), boot, types=(KIND,))
    return replace(plain, **changes)


def blueprint(*hazards: Hazard, **changes: object) -> Blueprint:
    """Return a pool of six nodes of one seller, for two hours."""
    plain = Blueprint(
        pools=(POOL,), sellers=(seller(),), policy=PATIENT, hazards=hazards, lasts=2 * HOUR
    )
    return replace(plain, **changes)


def often(fault: Fault, per_node_day: float = 24.0) -> Hazard:
    """Return a hazard that comes to each node about once an hour."""
    return Hazard(fault, per_node_day)


def spot_market(**changes: object) -> SpotMarket:
    """Return a market that takes machines away after an hour, with two minutes of notice."""
    return replace(SpotMarket(mean_hours_to_interruption=1.0), **changes)
