"""What EC2's answers mean: machines, types, and where and for how much they are sold.

An answer that lacks what it must have is `Garbled`, never an empty list: a page of somebody else's
that arrives with HTTP 200 must not read as "no machine exists".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from navarch.providers.aws.refusals import Garbled
from navarch.providers.base import INSTANCE_LABEL, Instance, InstanceStatus, InstanceType

STATUS: Final = {
    "pending": InstanceStatus.PROVISIONING,
    "running": InstanceStatus.RUNNING,
    "stopping": InstanceStatus.PROVISIONING,
    "stopped": InstanceStatus.PROVISIONING,
    "shutting-down": InstanceStatus.TERMINATING,
    "terminated": InstanceStatus.TERMINATED,
}
"""Who is stopped exists, costs its disks, and does not run."""

ENDED: Final = frozenset({InstanceStatus.TERMINATING, InstanceStatus.TERMINATED})

LISTED_STATES: Final = tuple(state for state in STATUS if state != "terminated")
"""What `list` asks for; EC2 shows terminated machines for about an hour."""

BYTES_OF_MIB: Final = 1024 * 1024


class Gpus(Struct, frozen=True):
    """The GPUs of a type."""

    count: int
    model: str


NO_GPUS: Final = Gpus(0, "")


def instances_of(page: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the instances in a page of DescribeInstances.

    :raises Garbled: it is no such page
    """
    found: list[Mapping[str, Any]] = []
    for reservation in items(page, "Reservations"):
        found += items(reservation, "Instances")
    return found


def items(answer: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return a list that an answer must have.

    :raises Garbled: it has none
    """
    found = answer.get(key)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Garbled(f"an answer without {key}")
    return found


def machine(
    described: Mapping[str, Any], region: str, provider: str, gpus: Mapping[str, Gpus]
) -> Instance:
    """Read one instance. Its id is the region's name and EC2's id, as in ``us-east-1/i-0abc``.

    :raises Garbled: it has no id or no state
    """
    ec2_id = described.get("InstanceId")
    state = (described.get("State") or {}).get("Name")
    if not ec2_id or not state:
        raise Garbled("an instance without id or state")
    tags = {
        str(each.get("Key") or ""): str(each.get("Value") or "")
        for each in described.get("Tags") or ()
    }
    kind = str(described.get("InstanceType") or "")
    has = gpus.get(kind, NO_GPUS)
    return Instance(
        id=f"{region}/{ec2_id}",
        provider=provider,
        name=tags.get(INSTANCE_LABEL) or tags.get("Name", ""),
        region=region,
        zone=str((described.get("Placement") or {}).get("AvailabilityZone") or ""),
        instance_type=kind,
        # EC2 may invent states; whatever they mean, the machine is there.
        status=STATUS.get(state, InstanceStatus.PROVISIONING),
        public_ip=str(described.get("PublicIpAddress") or ""),
        private_ip=str(described.get("PrivateIpAddress") or ""),
        gpu_count=has.count,
        gpu_type=has.model,
        labels=tags,
    )


def gpus_of(described: Mapping[str, Any]) -> Gpus:
    """Read the GPUs of a type; none where it has none, or only accelerators of another kind."""
    gpus: Sequence[Mapping[str, Any]] = (described.get("GpuInfo") or {}).get("Gpus") or ()
    count = sum(int(each.get("Count") or 0) for each in gpus)
    if not count:
        return NO_GPUS
    first = gpus[0]
    mib = int((first.get("MemoryInfo") or {}).get("SizeInMiB") or 0)
    words = [str(first.get("Manufacturer") or ""), str(first.get("Name") or "")]
    if mib:
        words.append(f"{mib // 1024}GB")
    return Gpus(count, " ".join(filter(None, words)))


def sold_type(
    described: Mapping[str, Any], regions: Iterable[str], spot_price: float
) -> InstanceType:
    """Read a line of the price list. EC2's own prices on demand are not in its answers.

    :raises Garbled: it has no name
    """
    name = described.get("InstanceType")
    if not name:
        raise Garbled("an instance type without a name")
    has = gpus_of(described)
    mib = int((described.get("MemoryInfo") or {}).get("SizeInMiB") or 0)
    return InstanceType(
        name=str(name),
        gpu_count=has.count,
        gpu_type=has.model,
        memory_gb=mib * BYTES_OF_MIB // 1_000_000_000,
        vcpus=int((described.get("VCpuInfo") or {}).get("DefaultVCpus") or 0),
        spot_price_per_hour=spot_price,
        regions=tuple(regions),
    )


def zones_selling(answer: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Read where each type is sold: zones by type."""
    zones: dict[str, set[str]] = {}
    for each in answer:
        kind, zone = each.get("InstanceType"), each.get("Location")
        if kind and zone:
            zones.setdefault(str(kind), set()).add(str(zone))
    return zones


def spot_prices(answer: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    """Read the newest price of each type in each zone, in US dollars an hour.

    :raises Garbled: a price is no number
    """
    newest: dict[tuple[str, str], tuple[Any, float]] = {}
    for each in answer:
        key = (str(each.get("InstanceType") or ""), str(each.get("AvailabilityZone") or ""))
        try:
            price = float(each.get("SpotPrice") or 0)
        except ValueError as cause:
            raise Garbled("a spot price that is no number") from cause
        at = each.get("Timestamp")
        before = newest.get(key)
        if before is None or (at is not None and before[0] is not None and at > before[0]):
            newest[key] = (at, price)
    return {key: price for key, (_, price) in newest.items() if price > 0}
