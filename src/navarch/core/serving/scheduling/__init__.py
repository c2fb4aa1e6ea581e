"""Which node each replica goes to, decided for all nodes at once.

`Snapshot` holds the nodes as columns, `batch` says what a plugin is, `placing.Planner` places pods,
and `BUILT_IN` is what there is without plugins of others. Pure: no clock, no I/O, no chance.
"""

from __future__ import annotations

from navarch.core.serving.scheduling.batch import Batch, BatchScheduler, Watch
from navarch.core.serving.scheduling.company import ReplicaAffinities
from navarch.core.serving.scheduling.costs import ModelCache, Price, Regions, Spot
from navarch.core.serving.scheduling.gpus import Fragmentation, GPUFit, Packing
from navarch.core.serving.scheduling.nodes import (
    Avoid,
    GPUType,
    InService,
    NodeAffinities,
    NodeSelector,
    Taints,
)
from navarch.core.serving.scheduling.placing import Planner
from navarch.core.serving.scheduling.preempting import Running
from navarch.core.serving.scheduling.shapes import Shape, bind
from navarch.core.serving.scheduling.snapshot import Snapshot

BUILT_IN: tuple[type[Batch], ...] = (
    *(InService, GPUType, Taints, NodeSelector, NodeAffinities, Price, Spot),
    *(ReplicaAffinities, GPUFit, Packing, Fragmentation, ModelCache, Regions, Avoid),
)
"""Every built-in scheduler plugin, in the order in which they rule nodes out."""

__all__ = [
    "BUILT_IN",
    "Batch",
    "BatchScheduler",
    "Planner",
    "Running",
    "Shape",
    "Snapshot",
    "Watch",
    "bind",
]
