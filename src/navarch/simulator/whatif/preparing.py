"""From a configuration to a blueprint: what production would run, in a simulated world.

Settings, pools, strategies, health policy and autoscalers are made as `navarch server` makes them,
by the same functions. Clouds are sellers of a twin, and faults come by a profile. No provider is
made, no credentials are read and nothing is contacted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from msgspec import Struct

from navarch.config import autoscaling as written
from navarch.config.providers import kind_of
from navarch.config.schema import Config
from navarch.core.model.pool import PoolSpec, Source
from navarch.core.selection import BUILT_IN
from navarch.core.selection.base import Ranker
from navarch.errors import ConfigError, PluginError
from navarch.simulator.twin.blueprint import Blueprint, Hazard, Scaled, Seller
from navarch.simulator.twin.demand import Demand
from navarch.simulator.whatif import sellers
from navarch.simulator.whatif.loads import EVERY_POOL, Load, demand_of
from navarch.simulator.whatif.profiles import Profile
from navarch.simulator.whatif.rates import spot_markets
from navarch.wiring import autoscalers, health, parts, providers

DAY = timedelta(days=1)
LASTS_MAX = 366 * DAY
"""The longest run."""


class World(Struct, frozen=True):
    """What a configuration is put into."""

    profile: Profile
    lasts: timedelta = 30 * DAY
    loads: tuple[Load, ...] = ()
    spot: str = ""
    """The spot market, by name; empty: the profile's."""
    places: int = 0
    """For how many nodes hazards are rolled at least: equally many in runs that are compared."""


class Prepared(Struct, frozen=True):
    """A run that can begin."""

    blueprint: Blueprint
    demands: Mapping[str, Demand]
    """By pool: what work there is. Pools without are wanted whole."""
    warnings: tuple[str, ...]
    """What is not simulated as it is, each a sentence."""


def blueprint_of(config: Config, world: World) -> Prepared:
    """Make a blueprint of a configuration.

    Raises `ConfigError` for what production would refuse too, and for loads that cannot be read or
    are for no pool.
    """
    if not timedelta() < world.lasts <= LASTS_MAX:
        raise ConfigError(f"a run of {world.lasts} is not possible, expected up to 366 days")
    pools = providers.pools_of(config)
    demands = _demands(config, world.loads)
    sold = _sellers(config, pools, world)
    warnings = [doubt for each in sold for doubt in each.doubts]
    warnings += _doubts(config, demands)
    shops = {each.seller.cloud.name: each.seller for each in sold}
    blueprint = Blueprint(
        name=config.file.name,
        settings=config.server.settings(),
        pools=pools,
        sellers=tuple(shops.values()),
        policy=health.policy_of(config),
        rankers=_rankers(pools),
        scaled=_scaled(config, demands),
        hazards=_hazards(world.profile, pools, shops),
        places=world.places,
        lasts=world.lasts,
        evaluation_interval=config.server.autoscale_interval,
    )
    return Prepared(blueprint, demands, tuple(dict.fromkeys(warnings)))


def _demands(config: Config, loads: Iterable[Load]) -> dict[str, Demand]:
    demands: dict[str, Demand] = {}
    for load in sorted(loads, key=lambda each: each.pool != EVERY_POOL):  # the special ones win
        if load.pool == EVERY_POOL and not config.autoscaling:
            message = f"load {load.path} is for pools with an autoscaler, and no pool has one"
            raise ConfigError(f"{message}; say POOL={load.path}", file=str(config.file))
        if load.pool != EVERY_POOL and load.pool not in config.pools:
            message = f"there is no pool {load.pool!r} for a load, expected one of "
            raise ConfigError(message + ", ".join(config.pools), file=str(config.file))
        for pool in (load.pool,) if load.pool else config.autoscaling:
            demands[pool] = demand_of(load.path, config.autoscaling.get(pool))
    return demands


def _sellers(config: Config, pools: tuple[PoolSpec, ...], world: World) -> list[sellers.Sold]:
    markets = spot_markets()
    name = world.spot or world.profile.spot
    if name not in markets:
        expected = f"expected one of {', '.join(markets)}"
        raise ConfigError(f"there is no spot market {name!r}, {expected}")
    used = {source.provider for pool in pools for source in pool.sources}
    used |= {pool.provider for pool in pools}
    return [
        sellers.seller_of(provider, written_as, pools, markets[name])
        for provider, written_as in config.providers.items()
        if provider in used
    ]


def _rankers(pools: tuple[PoolSpec, ...]) -> dict[str, Ranker]:
    foreign = {ranker.name: ranker for ranker in parts.foreign_rankers(pools)}
    return {**BUILT_IN, **foreign}


def _scaled(config: Config, demands: Mapping[str, Demand]) -> tuple[Scaled, ...]:
    made = []
    for pool, said in config.autoscaling.items():
        if pool not in demands:
            continue
        try:
            autoscaler = autoscalers.autoscaler(said)
        except (PluginError, ValueError) as error:
            key = f"pools.{pool}.autoscaling"
            raise ConfigError(str(error), file=str(config.file), key=key) from error
        made.append(Scaled(pool, autoscaler, demands[pool]))
    return tuple(made)


def _hazards(
    profile: Profile, pools: tuple[PoolSpec, ...], shops: Mapping[str, Seller]
) -> tuple[Hazard, ...]:
    """Let things happen to each pool's nodes by how many GPUs they have."""
    by_gpus: dict[int, list[str]] = {}
    for pool in pools:
        by_gpus.setdefault(gpus_of(pool, shops), []).append(pool.name)
    return tuple(
        hazard
        for gpus, names in by_gpus.items()
        for hazard in profile.hazards(gpus, tuple(names) if len(by_gpus) > 1 else ())
    )


def gpus_of(pool: PoolSpec, shops: Mapping[str, Seller]) -> int:
    """How many GPUs a pool's machines have; the most, where its sellers differ."""
    return max(
        _sold_gpus(source.instance_type or pool.instance_type, shops[source.provider])
        for source in pool.sources or (Source(pool.provider),)
    )


def _sold_gpus(kind: str, shop: Seller) -> int:
    return next((each.gpu_count for each in shop.types if each.name == kind), shop.gpus)


def _doubts(config: Config, demands: Mapping[str, Demand]) -> list[str]:
    """Say what of a configuration is not simulated as it is."""
    doubts = []
    for pool, said in config.autoscaling.items():
        if pool not in demands:
            held = config.pools[pool].min_nodes
            doubts.append(f"pool {pool} has an autoscaler and no load: it holds {held} nodes")
        if isinstance(said, written.Custom):
            doubts.append(f"the autoscaler of pool {pool} is somebody else's, and is run as it is")
    doubts += [
        f"nothing scales pool {pool}: its load changes only what counts as idle"
        for pool in demands
        if pool not in config.autoscaling
    ]
    if config.server.notifier is not None:
        doubts.append("the workload manager is simulated: it drains every node within 45 seconds")
    doubts += [
        f"provider {name} is for trying things out: its limits and prices are made up"
        for name, one in config.providers.items()
        if kind_of(one) == "fake"
    ]
    return doubts
