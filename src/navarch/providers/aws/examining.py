"""What EC2 and Service Quotas tell of an account before anything is bought: rights and quotas.

EC2 answers a launch that says ``DryRun`` by what would become of it: ``DryRunOperation`` where the
rights suffice, ``UnauthorizedOperation`` where they do not, and its own error where the image, the
subnet or the type is wrong. It tells nothing of quotas and capacity (EC2 API reference,
RunInstances, DryRun, read November 2026).

Quotas are Service Quotas' to tell: vCPUs of a family of types, for a region, spot apart from the
rest (EC2 user guide, "Amazon EC2 instance type quotas" and "Spot Instance quotas", read November
2026). A family whose quota is not in `QUOTAS` is said to be unknown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from navarch.providers.aws.clients import Ask
from navarch.providers.aws.launch import Planned, planned
from navarch.providers.aws.refusals import Garbled, code_of
from navarch.providers.aws.settings import AwsSettings
from navarch.providers.base import Finding, ProvisionRequest, Wanted

WOULD_WORK: Final = "DryRunOperation"
NAME: Final = "navarch-dry-run"
"""What the machine would be called that is not made."""

NO_QUOTA: Final = "NoSuchResourceException"
"""What Service Quotas says where an account has no value of its own: the default holds."""

MAY_NOT_READ: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})


class Quota(NamedTuple):
    """A quota of EC2, in vCPUs for one region."""

    code: str
    name: str


QUOTAS: Final[Sequence[tuple[re.Pattern[str], bool, Quota]]] = (
    (re.compile(r"p\d.*"), False, Quota("L-417A185B", "Running On-Demand P instances")),
    (
        re.compile(r"p[2-4].*"),
        True,
        Quota("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests"),
    ),
    (re.compile(r"p5.*"), True, Quota("L-C4BD4855", "All P5 Spot Instance Requests")),
    (
        re.compile(r"(?:g|gr|vt)\d.*"),
        False,
        Quota("L-DB2E81BA", "Running On-Demand G and VT instances"),
    ),
    (
        re.compile(r"(?:g|gr|vt)\d.*"),
        True,
        Quota("L-3819A6DF", "All G and VT Spot Instance Requests"),
    ),
)
"""By the beginning of a type's name, and whether it is bought as spot (the links to the console in
"Spot Instance quotas" and "On-Demand Instance quotas", EC2 user guide, docs.aws.amazon.com; lists
of ``aws service-quotas list-service-quotas`` in public repositories agree; read November 2026)."""


def quota_of(instance_type: str, *, spot: bool) -> Quota | None:
    """Say which quota counts a type; None: it is not known here."""
    for pattern, of_spot, quota in QUOTAS:
        if of_spot is spot and pattern.fullmatch(instance_type):
            return quota
    return None


def launch_of(want: Wanted, settings: AwsSettings) -> Planned:
    """Plan the launch that is asked about.

    :raises InvalidRequest: the settings do not make one
    """
    return planned(
        ProvisionRequest(
            name=NAME,
            instance_type=want.instance_type,
            region=want.region,
            zone=want.zone,
            labels={},
        ),
        settings,
    )


def may_launch(ask: Ask, plan: Planned, instance_type: str) -> tuple[bool | None, str]:
    """Have EC2 say whether a launch would be allowed. One request.

    Raises what the SDK raises for any other answer than yes.
    """
    about = f"a launch of {instance_type} in {plan.region}"
    try:
        ask(plan.region, "RunInstances", {**plan.parameters, "DryRun": True})
    except Exception as error:
        if code_of(error) == WOULD_WORK:
            return True, f"{about} would be allowed"
        raise
    return None, f"{about}: EC2 has answered as if it were none"


def allowed(ask: Ask, region: str, quota: Quota) -> float:
    """Read the value of a quota: the account's own, or the default where it has none.

    :raises Garbled: what is answered is no value
    """
    which = {"ServiceCode": "ec2", "QuotaCode": quota.code}
    try:
        answer = ask(region, "GetServiceQuota", which)
    except Exception as error:
        if code_of(error) != NO_QUOTA:
            raise
        answer = ask(region, "GetAWSDefaultServiceQuota", which)
    return _value(answer, quota)


def _value(answer: Mapping[str, object], quota: Quota) -> float:
    told = answer.get("Quota")
    value = told.get("Value") if isinstance(told, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Garbled(f"{quota.code} has no value that is a number")
    if not math.isfinite(value) or value < 0:
        raise Garbled(f"{quota.code} has no value that is a number")
    return float(value)


class Needed(NamedTuple):
    """What the pools could come to use of one quota of one region."""

    region: str
    quota: Quota
    vcpus: int
    pools: tuple[str, ...]


def needed(wanted: Iterable[Wanted], settings: AwsSettings) -> tuple[list[Needed], list[Finding]]:
    """Add up what pools could use of each quota, and say of whom that cannot be told.

    A pool counts once for each quota, with the largest of its types: it never has more nodes than
    its maximum.
    """
    most: dict[tuple[str, Quota], dict[str, int]] = {}
    untold: dict[str, Finding] = {}
    for want in wanted:
        region = want.region or settings.region_of(want.zone) or settings.regions[0]
        quota = quota_of(want.instance_type, spot=want.spot)
        if quota is None or want.vcpus is None:
            kind = f"{want.instance_type}{' as spot' if want.spot else ''}"
            why = "its quota is not known here" if quota is None else "its vCPUs are not known"
            untold[f"{want.pool} {kind}"] = (f"quota for {want.pool}", None, f"{kind}: {why}")
            continue
        pools = most.setdefault((region, quota), {})
        pools[want.pool] = max(pools.get(want.pool, 0), want.nodes * want.vcpus)
    sums = [
        Needed(region, quota, sum(pools.values()), tuple(pools))
        for (region, quota), pools in most.items()
    ]
    return sums, list(untold.values())


def judged(need: Needed, value: float) -> tuple[bool, str]:
    """Say whether a quota suffices, and in which words."""
    pools = ", ".join(need.pools)
    said = f"{value:g} vCPUs are allowed, {need.vcpus} could be used by {pools}"
    if value >= need.vcpus:
        return True, f"{said} ({need.quota.name})"
    return False, f"{said}: have {need.quota.code} raised ({need.quota.name})"
