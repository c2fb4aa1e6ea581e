"""What Google's quotas count: most are of one region and one model of GPU, some of the project.

A refusal names the *metric* and where it holds: ``Quota 'NVIDIA_H100_GPUS' exceeded.  Limit: 8.0 in
region us-central1.`` or ``Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0 globally.`` Spot machines
have metrics of their own (``PREEMPTIBLE_…``) where a project was given any, and else use up the
ordinary ones.

The metrics are those that "Allocation quotas" (cloud.google.com/compute/resource-usage) describes;
which types each counts follows from their names and models, and was not tried on a project. What is
not in the table is drawn small.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

from navarch.errors import QuotaScope

SAID: Final = re.compile(
    r"Quota '(?P<metric>[^']{1,200})' exceeded\.?\s+Limit: \S+\s+"
    r"(?:in region (?P<region>[a-z]+-[a-z]+[0-9]+)|(?P<globally>globally))"
)
"""How a refusal names its metric and place."""

SPOT: Final = "PREEMPTIBLE_"

OF_MODEL: Final[Mapping[str, tuple[str, ...]]] = {
    "NVIDIA_A100_GPUS": ("a2-highgpu-*", "a2-megagpu-*"),
    "NVIDIA_A100_80GB_GPUS": ("a2-ultragpu-*",),
    "NVIDIA_H100_GPUS": ("a3-highgpu-*", "a3-edgegpu-*"),
    "NVIDIA_H100_MEGA_GPUS": ("a3-megagpu-*",),
    "NVIDIA_H200_GPUS": ("a3-ultragpu-*",),
    "NVIDIA_B200_GPUS": ("a4-highgpu-*",),
    "NVIDIA_L4_GPUS": ("g2-*",),
    "NVIDIA_T4_GPUS": ("*+nvidia-tesla-t4:*",),
    "NVIDIA_V100_GPUS": ("*+nvidia-tesla-v100:*",),
    "NVIDIA_P100_GPUS": ("*+nvidia-tesla-p100:*",),
    "NVIDIA_P4_GPUS": ("*+nvidia-tesla-p4:*",),
}
"""The types that a metric of one model of GPU counts."""

OF_GPUS: Final = re.compile(r"NVIDIA_[A-Z0-9_]+_GPUS|GPUS[-_]PER[-_]GPU[-_]FAMILY.*", re.IGNORECASE)
"""Metrics of one model, those that are not in the table included."""

OF_FAMILY: Final = re.compile(r"(?P<family>[A-Z][0-9]{1,2}[A-Z]?)_CPUS")
"""Metrics of the processors of one family of machines."""


def quota_scope(said: str, instance_type: str, *, spot: bool) -> QuotaScope | None:
    """Say what the quota counts that Google's words name; None: the project, or not said."""
    found = SAID.search(said)
    if found is None:
        return None
    metric, region = found["metric"], found["region"] or ""
    is_of_spot = metric.startswith(SPOT)
    metric = metric.removeprefix(SPOT)
    family, is_of_gpus = OF_FAMILY.fullmatch(metric), OF_GPUS.fullmatch(metric) is not None
    types: tuple[str, ...] = ()
    if is_of_gpus:
        types = OF_MODEL.get(metric, (_family(instance_type),))
    elif family is not None:
        types = (f"{family['family'].lower()}-*",)
    if types and not any(fnmatchcase(instance_type, each) for each in types):
        types = (*types, _family(instance_type))
    kind = True if is_of_spot else None
    if is_of_gpus and not is_of_spot and not spot:
        kind = False  # spot may have a metric of its own
    return QuotaScope(region=region, instance_types=types, spot=kind)


def _family(instance_type: str) -> str:
    """Draw the pattern of the types that are like this one, but for their size."""
    machine, plus, attached = instance_type.partition("+")
    if plus:
        return f"*+{attached.partition(':')[0]}:*"
    return f"{machine.rpartition('-')[0]}-*"
