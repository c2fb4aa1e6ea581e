"""A week of three pools and three failing providers: nothing leaks, in the clouds or in memory.

Time passes in coarse steps (ticks of one minute, heartbeats of two), so that seven days fit into
a test; what is decided is the same.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from navarch.core.model import events as ev
from navarch.core.model.pool import Disruption, PoolSpec, Source
from navarch.core.scaling.base import QUEUE_DEPTH, UTILIZATION, Quality
from navarch.core.scaling.composite import CompositeAutoscaler
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.core.scaling.reactive import ReactiveAutoscaler
from navarch.core.settings import Settings
from navarch.errors import NoCapacity, ProviderError, QuotaExceeded, Throttled, Unauthorized
from navarch.simulator.autoscaling import Blindness, Burst, Load, ScaledPool
from navarch.simulator.dice import Dice, Stream
from navarch.simulator.faults import AgentPlan, CallFaults, CloudPlan, Cut, Plan
from navarch.simulator.markets import PLACES, REGIONS, ZONES, Trouble
from navarch.simulator.server import facts_of
from navarch.simulator.world import World

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
CLOUDS = ("alpha", "beta", "gamma")
RETAINED = 2 * HOUR


def a_week(seed: int, days: int) -> Plan:
    lasts = days * DAY
    rolls = Dice(seed).stream("week")
    return Plan(
        settings=Settings(
            heartbeat_interval=2 * MINUTE,
            health_check_interval=10 * MINUTE,
            provisioning_timeout=20 * MINUTE,
            registration_timeout=20 * MINUTE,
            inventory_interval=5 * MINUTE,
            inventory_interval_urgent=2 * MINUTE,
            witness_gap=3 * MINUTE,
            retain_terminated=RETAINED,
        ),
        pools=(
            a_pool("train", "priority", 2, 5),
            a_pool("serve", "cost", 1, 6),
            a_pool("batch", "round-robin", 0, 5),
        ),
        clouds=tuple(a_failing_cloud(rolls, name, lasts) for name in CLOUDS),
        agents=AgentPlan(
            within=6 * HOUR,
            stillborn=0.1,
            killed=0.4,
            restarted=0.5,
            frozen=0.3,
            frozen_max=30 * MINUTE,
            sick=0.3,
            calls_lost=0.02,
            drain_time=3 * MINUTE,
        ),
        scaled=(
            ScaledPool("serve", QueueBasedAutoscaler(10), Load(5, 50, DAY), 10, blind(rolls, days)),
            ScaledPool(
                "batch",
                CompositeAutoscaler("max", (ReactiveAutoscaler(), QueueBasedAutoscaler(10))),
                Load(0, 0, DAY, bursts(rolls, days)),
                10,
                blind(rolls, days),
            ),
        ),
        cuts=tuple(
            Cut(rolls.between(HOUR, lasts), rolls.between(MINUTE, HOUR), rolls.pick((0.3, 1.0)))
            for _ in range(days)
        ),
        requests=20 * days,
        vanishing=8 * days,
        stalls=days,
        guests=1,
        faults_last=lasts,
        evaluation_interval=2 * MINUTE,
        tick_interval=MINUTE,
        snapshot_every=500,
    )


def a_pool(name: str, strategy: str, low: int, high: int) -> PoolSpec:
    sources = tuple(
        Source(cloud, priority=number, weight=number + 1, regions=REGIONS, zones=ZONES)
        for number, cloud in enumerate(CLOUDS)
    )
    return PoolSpec(
        name,
        CLOUDS[0],
        instance_type="gpu",
        sources=sources,
        strategy=strategy,
        min_nodes=low,
        max_nodes=high,
        disruption=Disruption(max_unavailable=2),
    )


def a_failing_cloud(rolls: Stream, name: str, lasts: timedelta) -> CloudPlan:
    failures: tuple[type[ProviderError], ...] = (
        *(NoCapacity,) * 4,
        QuotaExceeded,
        Unauthorized,
        Throttled,
    )
    return CloudPlan(
        name,
        honours_tokens=rolls.chance(0.5),
        boot_time=4 * MINUTE,
        end_time=MINUTE,
        lateness_max=10 * MINUTE if rolls.chance(0.3) else timedelta(),
        launch=CallFaults(0.1, 0.05, 0.05, 0.05),
        terminate=CallFaults(0.1, 0.05, 0.05, 0.05),
        list=CallFaults(0.1, 0.05, 0.05, 0.05),
        outage_at=rolls.between(HOUR, lasts),
        outage_for=6 * HOUR,
        price_usd_per_hour=rolls.pick((None, 10.0, 20.0)),
        troubles=tuple(
            Trouble(
                failure,
                rolls.between(timedelta(), lasts),
                rolls.between(HOUR, 12 * HOUR),
                rolls.pick(PLACES) if failure is NoCapacity else "",
            )
            for failure in failures
        ),
    )


def blind(rolls: Stream, days: int) -> tuple[Blindness, ...]:
    return tuple(
        Blindness(
            rolls.pick((UTILIZATION, QUEUE_DEPTH)),
            rolls.between(timedelta(), days * DAY),
            rolls.between(10 * MINUTE, 8 * HOUR),
            rolls.pick((Quality.STALE, Quality.ABSENT, Quality.ERROR)),
        )
        for _ in range(2 * days)
    )


def bursts(rolls: Stream, days: int) -> tuple[Burst, ...]:
    return tuple(
        Burst(
            rolls.between(timedelta(), days * DAY),
            rolls.between(HOUR / 4, 3 * HOUR),
            rolls.integer(5, 50),
        )
        for _ in range(12 * days)
    )


def live_through(seed: int, days: int, crashes: tuple[int, ...] = ()) -> World:
    world = World(seed, a_week(seed, days), crashes=crashes)
    world.run()
    return world


def is_well(world: World, days: int) -> None:
    """Check that much has happened, and that little is left of it."""
    machine = world.server.machine
    assert machine is not None
    facts = facts_of(world.server.store)
    kinds = Counter(ev.kind(fact) for fact in facts)
    failures = {fact.failure for fact in facts if isinstance(fact, ev.LaunchFailed)}
    assert kinds["launch_requested"] >= 15 * days
    assert kinds["release_requested"] >= 3 * days
    assert {"NoCapacity", "Unavailable"} <= failures
    assert len(machine.fleet.instances) <= max_kept(facts, world)
    assert len(machine.fleet.nodes) <= len(machine.fleet.instances) + world.plan.guests
    alive = [m for cloud in world.server.clouds.values() for m in cloud.machines()]
    ours = [m.instance.name for m in alive if m.instance.name != "stranger"]
    assert sorted(ours) == sorted(i.id for i in machine.fleet.instances.values() if i.live)


def max_kept(facts: list[ev.Event], world: World) -> int:
    """Count the instances that were ever wanted within the time for which records are kept."""
    since = world.time.now - RETAINED - HOUR
    ended = (ev.LaunchFailed, ev.InstanceTerminated, ev.InstanceVanished)
    over = sum(isinstance(fact, ended) and fact.at < since for fact in facts)
    return sum(isinstance(fact, ev.LaunchRequested) for fact in facts) - over


def test_a_week_of_failing_providers_leaks_nothing() -> None:
    is_well(live_through(seed=1, days=7), days=7)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 10))
def test_weeks_in_which_the_control_plane_dies_too_leak_nothing(seed: int) -> None:
    rolls = Dice(seed).stream("crashes of a week")
    crashes = tuple(sorted({rolls.integer(0, 12_000) for _ in range(60)}))
    is_well(live_through(seed, days=7, crashes=crashes), days=7)
