"""The clouds of a configuration as sellers of a twin: boot times, limits, types and prices.

Nothing is asked of any cloud, and no credentials are read. What a provider declares of itself is
written down here again, because a real one can be made only where its library and its keys are; a
test compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import assert_never

from msgspec import Struct, structs

from navarch.config import providers as written
from navarch.core.model.pool import PoolSpec, Source
from navarch.providers import catalog
from navarch.providers.base import InstanceType, ProviderFacts
from navarch.simulator.faults import CloudPlan
from navarch.simulator.twin.blueprint import GPU_TYPE, GPUS, BootTime, Seller, SpotMarket

AWS_LATE = timedelta(seconds=30)
"""What the provider adds to time-out and consistency: how late a request may reach EC2."""

MINUTE = timedelta(minutes=1)


def _spread(median: float, slow: float) -> float:
    """Say the spread of a lognormal from its median to a time that one in a hundred exceeds."""
    return round(math.log(slow / median) / 2.326, 2)


class Boot(Struct, frozen=True):
    """How machines of one kind of provider boot, and where that is known from."""

    time: BootTime
    never: float
    """The share of machines that never speak."""
    source: str


BOOTS: Mapping[str, Boot] = {
    "aws": Boot(
        BootTime(2.5 * MINUTE, _spread(2.5, 15)),
        0.004,
        "large clouds boot GPU machines within 2 to 3 minutes, 99.6% of them (Modal); 5 to 15 "
        "minutes are the vendor's own claim, taken for the slowest hundredth",
    ),
    "gcp": Boot(
        BootTime(2.5 * MINUTE, _spread(2.5, 20)),
        0.004,
        "as AWS; 10 to 20 minutes are the vendor's claim, taken for the slowest hundredth",
    ),
    "lambda": Boot(
        BootTime(5 * MINUTE, _spread(5, 20)),
        0.015,
        "smaller GPU clouds take 5 minutes and more (Modal); 1 to 2% of hosts fail their checks "
        "before delivery (Aegis)",
    ),
    "runpod": Boot(BootTime(5 * MINUTE, _spread(5, 20)), 0.015, "as Lambda"),
    "ssh": Boot(BootTime(MINUTE, 0.25), 0.0, "judged: the machine runs, a lease is written"),
    "docker": Boot(BootTime(timedelta(seconds=10), 0.25), 0.0, "judged: a container starts"),
    "process": Boot(BootTime(timedelta(seconds=2), 0.25), 0.0, "judged: a process starts"),
    "fake": Boot(BootTime(3 * MINUTE, 0.25), 0.0, "judged: a cloud in general"),
    "custom": Boot(BootTime(3 * MINUTE, 0.25), 0.0, "judged: a cloud in general"),
}
"""How long machines boot, by kind of provider (all read November 2026). No good public numbers by
cloud exist for machines of eight H100."""

NOTICES: Mapping[str, timedelta] = {"gcp": timedelta(seconds=30)}
"""How long before its end a spot machine hears of it, by kind; else two minutes, as on AWS (EC2 and
Google Cloud user guides, read November 2026)."""


SPOT_SELLERS = frozenset({"aws", "gcp", "fake", "custom"})
"""Kinds of provider that sell spot machines; the others refuse them."""


class Sold(Struct, frozen=True):
    """A seller, and what is not known of it."""

    seller: Seller
    doubts: tuple[str, ...] = ()


def facts_of(config: written.Provider) -> ProviderFacts:
    """Say what the real provider states of itself; the defaults for one of somebody else."""
    match config:
        case written.LambdaProvider():
            rate = min(10.0, 1 / config.request_interval.total_seconds())
            return _facts(240, 1, rate)
        case written.RunPodProvider():
            return _facts(240, 4, 1 / config.request_interval.total_seconds())
        case written.GcpProvider():
            return _facts(120, 16, 10.0, tokens=True)
        case written.AwsProvider():
            lag = config.timeout + AWS_LATE + config.consistency
            return _facts(lag.total_seconds(), 8, 2.0, tokens=True)
        case written.SshProvider():
            return _facts(120, min(4, len(config.machines) or 4), 10.0, tokens=True)
        case written.DockerProvider():
            return _facts(120, 4, 10.0)
        case written.ProcessProvider():
            return _facts(10, 4, 10.0, tokens=True)
        case written.FakeProvider():
            return _facts(0, 64, 10.0, tokens=True)
        case written.CustomProvider():
            return ProviderFacts()
        case _:
            assert_never(config)


def _facts(lag: float, at_once: int, rate: float, *, tokens: bool = False) -> ProviderFacts:
    return ProviderFacts(
        list_lag=timedelta(seconds=lag),
        launches_at_once=at_once,
        calls_per_second=rate,
        honours_tokens=tokens,
    )


def seller_of(
    name: str, config: written.Provider, pools: Iterable[PoolSpec], spot: SpotMarket
) -> Sold:
    """Say how a provider of the configuration sells what these pools buy from it.

    The types of `pools` are in the provider's own words. `spot` is how it takes machines away.
    """
    kind = written.kind_of(config)
    facts = facts_of(config)
    boot = BOOTS[kind]
    spots = _wanted(name, pools)
    types, stocks, doubts = _types(name, config, sorted(spots))
    sells_spot = kind in SPOT_SELLERS
    if any(spots.values()) and not sells_spot:
        doubts += (f"{name} sells no spot machines: it refuses them, as the real one does",)
    elif any(spots.values()):
        doubts += (f"no spot price of {name} is known: spot machines cost the list price",)
    plan = CloudPlan(
        name,
        honours_tokens=facts.honours_tokens,
        answer_time=timedelta(seconds=max(1.0, 1 / facts.calls_per_second)),
        end_time=timedelta(seconds=30) if kind in catalog.CLOUDS else timedelta(),
        declared_lag=facts.list_lag,
    )
    interval = timedelta()
    if isinstance(config, written.LambdaProvider):
        interval = config.launch_interval
    gpus, gpu_type = _gpus(config)
    seller = Seller(
        plan,
        boot=boot.time,
        gpus=gpus,
        gpu_type=gpu_type,
        types=types,
        quota=config.max_containers if isinstance(config, written.DockerProvider) else None,
        stocks=stocks,
        spot=_noticed(kind, spot) if sells_spot and any(spots.values()) else None,
        sells_spot=sells_spot,
        never_starts=boot.never,
        launches_at_once=facts.launches_at_once,
        launch_interval=interval,
    )
    return Sold(seller, doubts)


def _noticed(kind: str, spot: SpotMarket) -> SpotMarket:
    return SpotMarket(
        spot.mean_hours_to_interruption,
        spot.share_open,
        spot.mean_hours_closed,
        NOTICES.get(kind, SpotMarket().notice),
    )


def _wanted(name: str, pools: Iterable[PoolSpec]) -> dict[str, bool]:
    """Find the types that are bought here, and whether any of it is spot."""
    wanted: dict[str, bool] = {}
    for pool in pools:
        for source in pool.sources or (Source(pool.provider),):
            if source.provider == name:
                kind = source.instance_type or pool.instance_type
                is_spot = source.spot if pool.spot_percent is None else pool.spot_percent > 0
                wanted[kind] = wanted.get(kind, False) or is_spot
    return wanted


def _gpus(config: written.Provider) -> tuple[int, str]:
    if isinstance(config, written.FakeProvider | written.ProcessProvider):
        return config.gpu_count, config.gpu_type
    return GPUS, GPU_TYPE


Types = tuple[tuple[InstanceType, ...], dict[str, int], tuple[str, ...]]


def _types(name: str, config: written.Provider, wanted: Iterable[str]) -> Types:
    """Say what is sold of the types that are wanted, how many of each, and what is not known."""
    kind = written.kind_of(config)
    if kind in catalog.CLOUDS:
        return _catalogued(name, kind, wanted)
    match config:
        case written.SshProvider():
            return _inventory(name, config, wanted)
        case written.DockerProvider():
            sold = config.types or {"container": written.ContainerType()}
            types = tuple(
                InstanceType(name=each, gpu_count=one.gpu_count, gpu_type=one.gpu_type)
                for each, one in sold.items()
            )
            return _unnamed(types, wanted), {}, ()
        case written.FakeProvider():
            return (), dict(config.stock), ()
        case written.CustomProvider():
            doubt = (
                f"provider {name} is somebody else's and cannot be simulated as it is: it sells "
                f"machines of {GPUS} GPUs for nothing, with the limits of a provider in general"
            )
            return (), {}, (doubt,)
        case _:
            return (), {}, ()


def _catalogued(name: str, kind: str, wanted: Iterable[str]) -> Types:
    types, doubts = [], []
    for each in wanted:
        known = catalog.entry_of(kind, each)
        price = None if known is None else known.price_usd_per_hour
        if known is None:
            doubts.append(
                f"{name} sells {each}, which the catalogue does not know: taken for {GPUS} GPUs"
            )
        if price is None:
            doubts.append(f"no list price of {each} at {name} is known: it costs nothing here")
        types.append(
            InstanceType(
                name=each,
                gpu_count=GPUS if known is None else known.gpu_count,
                gpu_type="" if known is None else known.gpu,
                price_per_hour=price or 0.0,
            )
        )
    return tuple(types), {}, tuple(doubts)


def _inventory(name: str, config: written.SshProvider, wanted: Iterable[str]) -> Types:
    if not config.machines:
        doubt = (
            f"provider {name} learns its machines from a program, which is not run: it lends any "
            f"number of machines of {GPUS} GPUs"
        )
        return (), {}, (doubt,)
    stocks: dict[str, int] = {}
    types: dict[str, InstanceType] = {}
    for machine in config.machines:
        stocks[machine.instance_type] = stocks.get(machine.instance_type, 0) + 1
        types[machine.instance_type] = InstanceType(
            name=machine.instance_type,
            gpu_count=machine.gpu_count,
            gpu_type=machine.gpu_type,
            price_per_hour=machine.price_per_hour,
        )
    return _unnamed(tuple(types.values()), wanted), stocks, ()


def _unnamed(types: tuple[InstanceType, ...], wanted: Iterable[str]) -> tuple[InstanceType, ...]:
    """Let pools that name no type have the first there is."""
    return (structs.replace(types[0], name=""), *types) if "" in wanted else types
