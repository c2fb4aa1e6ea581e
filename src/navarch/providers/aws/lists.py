"""Lists of EC2, read page by page in a thread: machines, and what is sold where for how much."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from navarch.providers.aws import answers
from navarch.providers.aws.clients import Ask
from navarch.providers.aws.refusals import Garbled
from navarch.providers.aws.settings import AwsSettings
from navarch.providers.base import Instance, InstanceType

PAGES_MAX: Final = 1_000
"""Pages of one list: half a million machines."""

MACHINES_PAGE: Final = 500
"""Machines in a page, of the 1,000 that EC2 allows: parsing one keeps the event loop waiting."""

TYPES_PAGE: Final = 100
OFFERINGS_PAGE: Final = 1_000
PRICES_PAGE: Final = 1_000
"""The longest pages of these lists (EC2 API reference, read November 2026)."""

NAMES_MAX: Final = 200
"""The most values of one filter (EC2 user guide, "Filter resources", read November 2026)."""

LINUX: Final = "Linux/UNIX"
"""The product whose spot prices are read."""


def machines(
    ask: Ask,
    region: str,
    filters: Iterable[Mapping[str, object]],
    provider: str,
    gpus: Mapping[str, answers.Gpus],
) -> list[Instance]:
    """Read the machines of a region, each once. Cost: a request for each 500."""
    found: dict[str, Instance] = {}
    parameters = {"Filters": [*filters], "MaxResults": MACHINES_PAGE}
    for page in _pages(ask, region, "DescribeInstances", parameters):
        for described in answers.instances_of(page):
            instance = answers.machine(described, region, provider, gpus)
            found[instance.id] = instance
    return [*found.values()]


def types(ask: Ask, region: str, settings: AwsSettings, moment: datetime) -> list[InstanceType]:
    """Read what a region sells at a moment in the zones that machines can be launched into."""
    parameters = {
        "Filters": [{"Name": "instance-type", "Values": [*settings.type_patterns]}],
        "MaxResults": TYPES_PAGE,
    }
    described = {
        str(each.get("InstanceType") or ""): each
        for page in _pages(ask, region, "DescribeInstanceTypes", parameters)
        for each in answers.items(page, "InstanceTypes")
        if answers.gpus_of(each).count
    }
    names = [*described]
    zones = _zones(ask, region, names)
    prices = _prices(ask, region, names, moment)
    usable = frozenset(settings.zones_of(region))
    sold = []
    for name, each in described.items():
        here = {zone for zone in zones.get(name, ()) if not usable or zone in usable}
        costs = [prices[name, zone] for zone in here if (name, zone) in prices]
        if here:
            sold.append(answers.sold_type(each, (region,), min(costs, default=0.0)))
    return sold


def merged(lists: Iterable[Iterable[InstanceType]]) -> list[InstanceType]:
    """Join the price lists of regions: each type once, by name, spot at its lowest price."""
    joined: dict[str, InstanceType] = {}
    for each in (each for sold in lists for each in sold):
        before = joined.get(each.name)
        joined[each.name] = each if before is None else _both(before, each)
    return sorted(joined.values(), key=lambda each: each.name)


def _both(one: InstanceType, other: InstanceType) -> InstanceType:
    prices = [each.spot_price_per_hour for each in (one, other) if each.spot_price_per_hour]
    return InstanceType(
        name=one.name,
        gpu_count=one.gpu_count,
        gpu_type=one.gpu_type,
        memory_gb=one.memory_gb,
        vcpus=one.vcpus,
        spot_price_per_hour=min(prices, default=0.0),
        regions=(*one.regions, *other.regions),
    )


def _zones(ask: Ask, region: str, names: list[str]) -> dict[str, set[str]]:
    found: list[Mapping[str, Any]] = []
    for some in _parts(names):
        parameters = {
            "LocationType": "availability-zone",
            "Filters": [{"Name": "instance-type", "Values": some}],
            "MaxResults": OFFERINGS_PAGE,
        }
        for page in _pages(ask, region, "DescribeInstanceTypeOfferings", parameters):
            found += answers.items(page, "InstanceTypeOfferings")
    return answers.zones_selling(found)


def _prices(
    ask: Ask, region: str, names: list[str], moment: datetime
) -> dict[tuple[str, str], float]:
    """Read the spot prices of a moment: one for each type and zone."""
    found: list[Mapping[str, Any]] = []
    for some in _parts(names):
        parameters = {
            "InstanceTypes": some,
            "ProductDescriptions": [LINUX],
            "StartTime": moment,
            "MaxResults": PRICES_PAGE,
        }
        for page in _pages(ask, region, "DescribeSpotPriceHistory", parameters):
            found += answers.items(page, "SpotPriceHistory")
    return answers.spot_prices(found)


def _parts(names: list[str]) -> Iterator[list[str]]:
    return (names[start : start + NAMES_MAX] for start in range(0, len(names), NAMES_MAX))


def _pages(
    ask: Ask, region: str, operation: str, parameters: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Yield the pages of a list.

    :raises Garbled: they do not come to an end
    """
    token = ""
    for _ in range(PAGES_MAX):
        page = ask(region, operation, {**parameters, **({"NextToken": token} if token else {})})
        yield page
        following = str(page.get("NextToken") or "")
        if not following:
            return
        if following == token:
            raise Garbled(f"{operation}: a page that is followed by itself")
        token = following
    raise Garbled(f"{operation}: more than {PAGES_MAX} pages")
