"""What EC2's quotas count: each is of one region, and most of some families of types.

The quotas of running machines are counted in vCPUs for each *bucket* of families, on demand and
spot apart, as the names of the quotas say: "Running On-Demand G and VT instances", "All P5 Spot
Instance Requests" (those of GPU families with their codes are in `examining`). Which other families
share a bucket is general knowledge of EC2 and was not tried on an account.

A bucket that is drawn too small here costs one more refusal; one too large would keep away from
types that could be had. So what is not known is drawn small.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from navarch.errors import QuotaScope

ON_DEMAND: Final = (
    ("p[0-9]*",),
    ("g[0-9]*", "gr[0-9]*", "vt[0-9]*"),
    ("dl[0-9]*",),
    ("trn[0-9]*",),
    ("inf[0-9]*",),
    ("f[0-9]*",),
    ("x[0-9]*",),
    ("u-*", "u[0-9]*"),
    ("hpc[0-9]*",),
    ("[acdhimrtz][0-9]*", "im[0-9]*", "is[0-9]*"),
)
"""The buckets on demand, as patterns of types."""

SPOT: Final = (("p[2-4]*",), ("p5*",), *ON_DEMAND[1:])
"""The buckets of spot: as on demand, but for the P family, which has several."""

OF_RUNNING: Final = frozenset(
    {"InstanceLimitExceeded", "MaxSpotInstanceCountExceeded", "VcpuLimitExceeded"}
)
"""Codes of the quotas of running machines; the others are of disks, addresses and the like."""

OF_ACCOUNT: Final = frozenset({"Blocked", "PendingVerification"})
"""Codes that say something of the account."""


def quota_scope(code: str, region: str, instance_type: str, *, spot: bool) -> QuotaScope | None:
    """Say what the quota counts that EC2 named by a code; None: the account."""
    code = code.removeprefix("Server.").removeprefix("Client.")
    if code in OF_ACCOUNT or not code:
        return None
    if code not in OF_RUNNING:
        return QuotaScope(region=region)
    return QuotaScope(region=region, instance_types=_bucket(instance_type, spot=spot), spot=spot)


def _bucket(instance_type: str, *, spot: bool) -> tuple[str, ...]:
    for patterns in SPOT if spot else ON_DEMAND:
        if any(fnmatchcase(instance_type, each) for each in patterns):
            return patterns
    return (f"{instance_type.partition('.')[0]}.*",)
