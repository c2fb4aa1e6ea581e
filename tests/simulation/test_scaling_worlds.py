"""Worlds in which pools buy from several sellers and follow a load: what becomes of them."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model.pool import PoolSpec, Source
from navarch.core.scaling.base import QUEUE_DEPTH, Quality
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.core.settings import Settings
from navarch.errors import NoCapacity, ProviderError, QuotaExceeded, Unauthorized
from navarch.simulator.autoscaling import Blindness, Burst, Load, ScaledPool
from navarch.simulator.faults import AgentPlan, CloudPlan, Plan
from navarch.simulator.markets import MINUTE, ZERO, Trouble
from navarch.simulator.server import facts_of
from navarch.simulator.world import World

NODES_MAX = 6


def a_plan(*troubles: Trouble, scaled: tuple[ScaledPool, ...] = ()) -> Plan:
    """One pool that asks alpha first, which has these troubles, and then beta."""
    pool = PoolSpec(
        "train",
        "alpha",
        sources=(Source("alpha"), Source("beta", priority=1)),
        cooldown=ZERO,
        min_nodes=2,
        max_nodes=NODES_MAX,
    )
    return Plan(
        settings=Settings(),
        pools=(pool,),
        clouds=(CloudPlan("alpha", troubles=troubles), CloudPlan("beta")),
        agents=AgentPlan(),
        scaled=scaled,
    )


def a_queue(load: Load, *blindness: Blindness) -> ScaledPool:
    return ScaledPool("train", QueueBasedAutoscaler(10), load, 10, blindness)


def facts(plan: Plan) -> list[ev.Event]:
    world = World(1, plan)
    world.run()
    return facts_of(world.server.store)


def targets(plan: Plan) -> list[int]:
    return [fact.target for fact in facts(plan) if isinstance(fact, ev.TargetChanged)]


@pytest.mark.parametrize("failure", [NoCapacity, QuotaExceeded, Unauthorized])
def test_the_next_seller_is_asked_and_the_reason_names_the_one_that_refused(
    failure: type[ProviderError],
) -> None:
    seen = facts(a_plan(Trouble(failure, ZERO)))
    bought = [fact for fact in seen if isinstance(fact, ev.LaunchRequested)]
    assert [fact.provider for fact in bought] == ["alpha", "alpha", "beta", "beta"]
    expected = f"beta by priority: priority 1; not alpha: {failure.__name__} "
    assert [expected in fact.because for fact in bought[2:]] == [True, True]
    assert bought[2].at - bought[0].at <= timedelta(seconds=15)


def test_a_seller_whose_quota_was_raised_is_asked_again() -> None:
    load = Load(20, bursts=(Burst(25 * MINUTE, 60 * MINUTE, 20),))
    plan = a_plan(Trouble(QuotaExceeded, ZERO, 5 * MINUTE), scaled=(a_queue(load),))
    seen = facts(replace(plan, faults_last=30 * MINUTE))
    bought = [fact.provider for fact in seen if isinstance(fact, ev.LaunchRequested)]
    assert bought == ["alpha", "alpha", "beta", "beta", "alpha", "alpha"]


def test_a_pool_follows_its_load_and_drains_what_it_ends() -> None:
    load = Load(10, bursts=(Burst(4 * MINUTE, 4 * MINUTE, 40),))
    plan = a_plan(scaled=(a_queue(load),))
    assert targets(plan) == [5, 2]
    kinds = Counter(ev.kind(fact) for fact in facts(plan))
    assert (kinds["release_requested"], kinds["termination_requested"]) == (3, 3)
    assert kinds["command_issued"] == 3


@pytest.mark.parametrize("quality", [Quality.STALE, Quality.ABSENT, Quality.ERROR])
def test_a_blind_autoscaler_lowers_nothing(quality: Quality) -> None:
    load = Load(10, bursts=(Burst(ZERO, 4 * MINUTE, 40),))
    blind = Blindness(QUEUE_DEPTH, 3 * MINUTE, 7 * MINUTE, quality)
    plan = a_plan(scaled=(a_queue(load, blind),))
    lowered = [
        fact.at for fact in facts(plan) if isinstance(fact, ev.TargetChanged) and fact.target == 2
    ]
    began = World(1, plan).time.now
    assert [at - began >= 10 * MINUTE for at in lowered] == [True]


def test_a_pool_that_grows_again_calls_back_before_it_buys() -> None:
    load = Load(10, bursts=(Burst(ZERO, 4 * MINUTE, 40), Burst(5 * MINUTE, 30 * MINUTE, 40)))
    plan = a_plan(scaled=(a_queue(load),))
    patient = replace(plan, agents=AgentPlan(drain_time=3 * MINUTE))
    kinds = Counter(ev.kind(fact) for fact in facts(patient))
    assert targets(patient) == [5, 2, 5]
    assert (kinds["release_requested"], kinds["release_revoked"]) == (3, 3)
    assert kinds["launch_requested"] == 5
    assert kinds["termination_requested"] == 0
