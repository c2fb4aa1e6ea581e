"""From a scenario to the blueprint of a twin: clouds, pools, loads, the policy and the fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from msgspec import Struct

from navarch.core.judging import HealthPolicy
from navarch.core.selection import BUILT_IN
from navarch.core.settings import Settings
from navarch.errors import ConfigError, PluginError
from navarch.policy import HealthPolicy as CelPolicy
from navarch.policy import check_file
from navarch.providers.base import InstanceType
from navarch.providers.fake.limits import Rate
from navarch.providers.fake.limits import Shortage as TrueShortage
from navarch.simulator.dice import Dice, Stream
from navarch.simulator.faults import CallFaults, CloudPlan
from navarch.simulator.loads import Training
from navarch.simulator.scenarios import clouds_schema, loads, reading
from navarch.simulator.scenarios.events_schema import FleetNode
from navarch.simulator.scenarios.reading import Examined
from navarch.simulator.scenarios.schema import Scenario
from navarch.simulator.scenarios.stress_schema import FleetGen, Template
from navarch.simulator.timeline import EPOCH
from navarch.simulator.twin.blueprint import (
    Blueprint,
    BootTime,
    DiskFull,
    Owned,
    Scaled,
    Seller,
    SpotMarket,
)
from navarch.simulator.twin.demand import Demand
from navarch.simulator.twin.twin import Twin
from navarch.wiring import autoscalers, plugins
from navarch.wiring.parts import foreign_rankers

HOUR = timedelta(hours=1)
POLICIES = plugins.Kind("policy", "navarch.policies", ("evaluate",))


class Built(Struct, frozen=True):
    """A blueprint, and what events may change in it."""

    blueprint: Blueprint
    dials: Mapping[str, loads.Dial]
    """The load of each pool that has one."""
    training: Training | None
    """The jobs that want to run, if any."""
    fleet: tuple[Owned, ...]
    """The nodes that nobody buys, in the order of their start."""


def build(scenario: Scenario, seed: int) -> Built:
    """Make the blueprint of a scenario.

    Raises `ConfigError` for what cannot be had: a policy, a trace, somebody's class.
    """
    written = scenario.written
    dials = loads.dials_of(scenario, seed)
    training = loads.training_of(scenario, seed)
    stress = scenario.stress
    fleet = tuple(_owned(each) for each in written.fleet)
    sample_every = timedelta(minutes=1)
    if stress is not None:
        sample_every = stress.metrics_interval
        if stress.fleet_gen is not None:
            fleet = _made_up(stress.fleet_gen, Dice(seed).stream("scenario", "fleet"))
    pools = tuple(pool.spec(name) for name, pool in written.pools.items())
    scaled = []
    for name, pool in written.pools.items():
        if pool.autoscaling is None:
            continue
        try:
            scaler = autoscalers.autoscaler(pool.autoscaling)
        except (PluginError, ValueError) as error:
            raise scenario.fault(str(error), f"pools.{name}.autoscaling") from error
        demand: Demand | None = dials.get(name)
        if demand is None:
            assert training is not None, "a pool that scales has a load or jobs"
            demand = training.demand(name)
        scaled.append(Scaled(name, scaler, demand))
    try:
        rankers = {**BUILT_IN, **{ranker.name: ranker for ranker in foreign_rankers(pools)}}
    except PluginError as error:
        raise scenario.fault(str(error), "pools") from error
    blueprint = Blueprint(
        name=scenario.name,
        settings=_settings(written.server),
        pools=pools,
        sellers=tuple(_seller(name, cloud) for name, cloud in written.providers.items()),
        owned=fleet,
        policy=_policy(scenario),
        rankers=rankers,
        scaled=tuple(scaled),
        lasts=scenario.lasts,
        sample_every=sample_every,
        evaluation_interval=written.server.autoscale_interval,
        network=written.network.meant,
        crashes_per_day=written.outages.crashes_per_day,
        stalls_per_day=written.outages.stalls_per_day,
        stall_max=written.outages.stall_max,
        disk_full=tuple(DiskFull(each.begins, each.lasts) for each in written.outages.disk_full),
    )
    return Built(blueprint, dials, training, fleet)


def examine(path: Path) -> Examined:
    """Read a scenario, and try to have what it names: policies, loads and somebody's classes."""
    examined = reading.examine(path)
    if examined.scenario is None:
        return examined
    try:
        build(examined.scenario, examined.scenario.seed)
    except ConfigError as error:
        return Examined(None, (error,))
    return examined


def open_markets(scenario: Scenario, twin: Twin) -> None:
    """Give the clouds of a twin the limits that a seller of a blueprint does not know."""
    for name, cloud in scenario.written.providers.items():
        truth = twin.clouds[name].truth
        truth.stock = dict(cloud.stock)
        if cloud.throttle is not None:
            truth.rate = Rate(calls=cloud.throttle.calls, per=cloud.throttle.per)
        truth.shortages = tuple(
            TrueShortage(
                instance_type=each.instance_type,
                region=each.region,
                zone=each.zone,
                is_spot=each.spot,
                begins=EPOCH + each.begins,
                ends=None if each.lasts is None else EPOCH + each.begins + each.lasts,
            )
            for each in cloud.shortages
        )


# --- the control plane -----------------------------------------------------------------------


def _settings(server: clouds_schema.ControlPlane) -> Settings:
    repair = server.repair
    return Settings(
        heartbeat_interval=server.heartbeat_interval,
        health_check_interval=server.health_check_interval,
        drain_timeout=server.drain_timeout,
        registration_timeout=server.registration_timeout,
        probation=repair.probation,
        probation_max=repair.probation_max,
        reset_timeout=repair.reset_timeout,
        reboot_timeout=repair.reboot_timeout,
        relapse_window=repair.relapse_window,
        attempts_max=repair.attempts_max,
        clean_reports_to_heal=repair.clean_reports_to_heal,
    )


def _policy(scenario: Scenario) -> HealthPolicy:
    server = scenario.written.server
    if server.custom_policy is not None:
        custom = server.custom_policy
        try:
            made: HealthPolicy = plugins.make(POLICIES, custom.use, custom.config)
        except PluginError as error:
            raise scenario.fault(str(error), "server.custom_policy") from error
        return made
    if server.health_policy is None:
        return CelPolicy.default()
    report = check_file(scenario.file.parent / server.health_policy)
    if report.policy is None:
        mistakes = "\n".join(str(error) for error in report.errors)
        message = f"the policy cannot be used:\n{mistakes}"
        raise scenario.fault(message, "server.health_policy")
    return report.policy


# --- clouds ----------------------------------------------------------------------------------


def _seller(name: str, cloud: clouds_schema.Cloud) -> Seller:
    outage = cloud.outage
    plan = CloudPlan(
        name,
        end_time=cloud.end_time,
        answer_time=cloud.answer_time,
        staleness=cloud.list_lag,
        launch=_faults(cloud.launch_errors),
        terminate=_faults(cloud.terminate_errors),
        list=_faults(cloud.list_errors),
        outage_at=None if outage is None else outage.begins,
        outage_for=timedelta() if outage is None else outage.lasts,
    )
    boot = BootTime(cloud.boot_time, cloud.boot_spread, cloud.boot_longest)
    types = tuple(
        InstanceType(
            name=each.name,
            gpu_count=each.gpu_count,
            gpu_type=each.gpu_type,
            price_per_hour=each.price,
            spot_price_per_hour=each.spot_price,
            regions=each.regions,
        )
        for each in cloud.instance_types
    )
    return Seller(
        plan,
        boot=boot,
        gpus=cloud.gpu_count,
        gpu_type=cloud.gpu_type,
        types=types,
        quota=cloud.quota,
        spot=None if cloud.spot is None else _spot(cloud.spot),
        never_starts=cloud.never_starts,
    )


def _spot(spot: clouds_schema.Spot) -> SpotMarket:
    mean = spot.mean_time_to_interruption
    return SpotMarket(
        mean_hours_to_interruption=0.0 if mean is None else mean / HOUR,
        share_open=spot.share_open,
        mean_hours_closed=spot.mean_time_closed / HOUR,
        notice=spot.notice,
    )


def _faults(errors: clouds_schema.CallErrors) -> CallFaults:
    return CallFaults(
        refused=errors.refused,
        request_lost=errors.request_lost,
        answer_lost=errors.answer_lost,
        answer_late=errors.answer_late,
    )


# --- the fleet -------------------------------------------------------------------------------


def _owned(node: FleetNode) -> Owned:
    return Owned(
        node.id,
        provider=node.provider,
        region=node.region,
        zone=node.zone,
        instance_type=node.instance_type,
        gpus=node.gpu_count,
        gpu_type=node.gpu_type,
        labels=node.labels,
    )


def _made_up(made: FleetGen, rolls: Stream) -> tuple[Owned, ...]:
    """Make a fleet up: shares are met exactly but for rounding, and who gets what is by chance."""
    count = made.total_nodes
    templates = {each.name: each for each in made.templates} or {"node": Template(name="node")}
    kinds = _dealt({name: each.weight for name, each in templates.items()}, count, rolls)
    providers = _dealt(dict(made.providers) or {"fake": 1.0}, count, rolls)
    regions = _dealt(dict(made.regions) or {"region-1": 1.0}, count, rolls)
    turns: dict[str, int] = {}
    in_zone: dict[str, int] = {}
    fleet = []
    width = len(str(count))
    for number in range(count):
        kind, region = templates[kinds[number]], regions[number]
        zones = made.zones.get(region) or (f"{region}-a",)
        turn = turns[region] = turns.get(region, -1) + 1
        zone = zones[turn % len(zones)]
        place = in_zone[zone] = in_zone.get(zone, -1) + 1
        rack = f"{zone}-rack-{place // made.nodes_per_rack + 1}"
        node = Owned(
            f"node-{number + 1:0{width}}",
            provider=providers[number],
            region=region,
            zone=zone,
            instance_type=kind.instance_type,
            gpus=kind.gpu_count,
            gpu_type=kind.gpu_type,
            labels={**kind.labels, "template": kind.name, "rack": rack},
        )
        fleet.append(node)
    return tuple(fleet)


def _dealt(weights: Mapping[str, float], count: int, rolls: Stream) -> Sequence[str]:
    """Deal `count` cards by weight, then shuffle them; equal weights where all are 0."""
    names = list(weights)
    total = sum(weights.values())
    shares = [weights[name] / total if total else 1 / len(names) for name in names]
    cards: list[str] = []
    upto = 0.0
    for name, share in zip(names, shares, strict=True):
        upto += share
        cards += [name] * (round(upto * count) - len(cards))
    cards += [names[-1]] * (count - len(cards))
    for last in range(count - 1, 0, -1):
        other = rolls.integer(0, last)
        cards[last], cards[other] = cards[other], cards[last]
    return cards
