"""A report of a real simulation, small and quick: one pool whose name the real fleet has too."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from navarch.core.model.pool import PoolSpec
from navarch.providers.base import InstanceType
from navarch.simulator.faults import CloudPlan
from navarch.simulator.report import Recorder, Report, write
from navarch.simulator.twin.blueprint import Blueprint, Seller
from navarch.simulator.twin.twin import Twin

SOLD = InstanceType(name="h100-8x", gpu_count=8, gpu_type="H100", price_per_hour=20.0)

BLUEPRINT = Blueprint(
    name="an hour",
    pools=(PoolSpec("training", "alpha", instance_type="h100-8x", min_nodes=3, max_nodes=4),),
    sellers=(Seller(CloudPlan("alpha"), types=(SOLD,)),),
    lasts=timedelta(hours=1),
)


def report(folder: Path) -> Report:
    """Live through `BLUEPRINT`, and leave its report in a folder."""
    twin = Twin(BLUEPRINT, seed=7)
    recorder = Recorder(twin)
    twin.run()
    made = recorder.report()
    write(made, folder, twin.journal)
    return made
