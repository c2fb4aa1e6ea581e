"""What Google tells of a project before anything is bought: permissions and quotas.

Rights are asked of the Cloud Resource Manager (``projects.testIamPermissions``), which takes no
permission, but a token of a scope of its own. Quotas are in the descriptions of regions and of the
project (Compute Engine API v1, ``regions.get`` and ``projects.get``). Read November 2026.

The API enumerates the quotas of some GPUs only (`METRICS`); the newest families, H200, B200 and
RTX PRO 6000 among them, are counted elsewhere, and are said to be unknown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from msgspec import Struct, field

from navarch.providers.base import Finding, Wanted
from navarch.providers.gcp.launching import TYPE
from navarch.providers.gcp.resources import GPUS_IN_NAME
from navarch.providers.gcp.settings import GcpSettings, region_of

METRICS: Final[Sequence[tuple[re.Pattern[str], str]]] = (
    (re.compile(r"a3-(?:highgpu|edgegpu)-.*"), "NVIDIA_H100_GPUS"),
    (re.compile(r"a2-ultragpu-.*"), "NVIDIA_A100_80GB_GPUS"),
    (re.compile(r"a2-(?:highgpu|megagpu)-.*"), "NVIDIA_A100_GPUS"),
    (re.compile(r"g2-.*"), "NVIDIA_L4_GPUS"),
    (re.compile(r".*\+nvidia-tesla-t4:\d+"), "NVIDIA_T4_GPUS"),
    (re.compile(r".*\+nvidia-tesla-v100:\d+"), "NVIDIA_V100_GPUS"),
    (re.compile(r".*\+nvidia-tesla-p100:\d+"), "NVIDIA_P100_GPUS"),
    (re.compile(r".*\+nvidia-tesla-p4:\d+"), "NVIDIA_P4_GPUS"),
)
"""The quota of a type's GPUs (Compute Engine API v1, ``Quota.metric``, read November 2026)."""

EVERYWHERE: Final = "GPUS_ALL_REGIONS"
"""The quota of all GPUs of the project that are not spot."""

ALWAYS: Final = (
    *("compute.instances.create", "compute.instances.delete", "compute.instances.get"),
    *("compute.instances.list", "compute.instances.setLabels", "compute.instances.setMetadata"),
    *("compute.disks.create", "compute.zoneOperations.get", "compute.zoneOperations.list"),
    "compute.machineTypes.list",
)
"""What every launch, look and end takes ("Compute Engine IAM roles and permissions",
cloud.google.com, read November 2026)."""

PROJECT_OF: Final = re.compile(r"(?:.*/)?projects/([^/]+)/.*")


class QuotaTold(Struct):
    """One quota, as Google tells it."""

    metric: str = ""
    limit: float = 0.0
    usage: float = 0.0


class Quotas(Struct):
    """What is read of a region or of the project."""

    quotas: list[QuotaTold] = field(default_factory=list)

    def of(self, metric: str) -> QuotaTold | None:
        """Find one; None where it is not told, or is no number."""
        for each in self.quotas:
            if each.metric == metric and math.isfinite(each.limit) and math.isfinite(each.usage):
                return each
        return None


class Granted(Struct):
    """Those of the permissions that were asked about which we have."""

    permissions: list[str] = field(default_factory=list)


def permissions(settings: GcpSettings) -> list[str]:
    """Name the permissions that launches by these settings take in the project.

    What a network or an image of another project takes, that project grants, and is not asked.
    """
    named = [*ALWAYS]
    if _is_here(settings.image, settings, elsewhere=True):
        named.append("compute.images.useReadOnly")
    if _is_here(settings.subnetwork or settings.network, settings, elsewhere=False):
        named.append("compute.subnetworks.use")
        if settings.external_ip:
            named.append("compute.subnetworks.useExternalIp")
    if settings.network_tags:
        named.append("compute.instances.setTags")
    if settings.service_account:
        named.append("compute.instances.setServiceAccount")
    if settings.placement_policy:
        named.append("compute.resourcePolicies.use")
    return named


def _is_here(path: str, settings: GcpSettings, *, elsewhere: bool) -> bool:
    """Whether a path is of our project; a bare name is ours unless it can be `elsewhere` only."""
    found = PROJECT_OF.fullmatch(path)
    return found[1] == settings.project if found else not elsewhere


def judged_rights(asked: Iterable[str], granted: Granted, project: str) -> Finding:
    """Say whether all permissions are there."""
    missing = sorted(set(asked) - set(granted.permissions))
    if missing:
        return "rights", False, f"not granted in {project}: {', '.join(missing)}"
    return "rights", True, f"all permissions that launches take are granted in {project}"


class Needed(NamedTuple):
    """How many GPUs the pools could come to use of one quota of one region."""

    region: str
    """Empty: all of them together."""
    metric: str
    spot: bool
    gpus: int
    pools: tuple[str, ...]


def needed(wanted: Iterable[Wanted], settings: GcpSettings) -> tuple[list[Needed], list[Finding]]:
    """Add up what pools could use of each quota, and say of whom that cannot be told.

    A pool counts once for each quota, with the largest of its types.
    """
    most: dict[tuple[str, str, bool], dict[str, int]] = {}
    untold: dict[str, Finding] = {}
    for want in wanted:
        metric, gpus = metric_of(want.instance_type), gpus_of(want)
        regions = _regions(want, settings)
        why = "" if regions else "neither a region nor a zone is named"
        why = why if gpus is not None else "its GPUs are not known"
        why = why if metric else "its quota is not among those that regions tell of"
        if why:
            text = f"{want.instance_type}: {why}"
            untold[f"{want.pool} {text}"] = (f"quota for {want.pool}", None, text)
            continue
        # One for all regions as well: a pool has no more nodes there than in one of them.
        for region in [*regions, *([] if want.spot else [""])]:
            metric = metric if region else EVERYWHERE
            pools = most.setdefault((region, metric, want.spot), {})
            pools[want.pool] = max(pools.get(want.pool, 0), want.nodes * (gpus or 0))
    sums = [Needed(*key, sum(pools.values()), tuple(pools)) for key, pools in most.items()]
    return sums, list(untold.values())


def _regions(want: Wanted, settings: GcpSettings) -> list[str]:
    """Say where machines of a want may be made."""
    if want.zone:
        return [region_of(want.zone)]
    region = want.region or settings.region
    if region:
        return [region]
    return list(dict.fromkeys(map(region_of, settings.zones)))


def metric_of(instance_type: str) -> str:
    """Say which quota counts the GPUs of a type; empty where that is not known."""
    for pattern, metric in METRICS:
        if pattern.fullmatch(instance_type):
            return metric
    return ""


def gpus_of(want: Wanted) -> int | None:
    """Say how many GPUs a machine has; None where that is not known."""
    parts = TYPE.fullmatch(want.instance_type)
    if parts is not None and parts["count"]:
        return int(parts["count"])
    named = GPUS_IN_NAME.fullmatch(want.instance_type)
    return want.gpu_count or (int(named[1]) if named else None)


def judged(need: Needed, told: Quotas) -> Finding:
    """Say whether a region's quota suffices.

    Spot machines have quotas of their own, PREEMPTIBLE_…; a project that was never given one uses
    the ordinary one, which cannot be told from one that was given none.
    """
    what = f"quota of {need.region or 'all regions'}"
    metric = f"PREEMPTIBLE_{need.metric}" if need.spot else need.metric
    quota = told.of(metric)
    if quota is not None and (quota.limit > 0 or not need.spot):
        return what, *_compared(metric, quota, need.gpus, need.pools)
    if need.spot and (ordinary := told.of(need.metric)) is not None:
        well, text = _compared(need.metric, ordinary, need.gpus, need.pools)
        return what, (None if well else False), f"{metric} is none; {text}"
    return what, None, f"Google does not tell of {metric}"


def _compared(metric: str, quota: QuotaTold, gpus: int, pools: Sequence[str]) -> tuple[bool, str]:
    used = f", {quota.usage:g} of them in use now" if quota.usage else ""
    said = f"{quota.limit:g} GPUs are allowed{used}, {gpus} could be used by {', '.join(pools)}"
    well = quota.limit >= gpus
    return well, f"{said} ({metric})" if well else f"{said}: have {metric} raised"
