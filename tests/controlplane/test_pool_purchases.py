"""What a pool buys and from whom: fallbacks, partial purchases, and launches nobody answers for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta

import pytest

from navarch.controlplane.pool import Pool, PoolConfig, ProviderConfig
from navarch.errors import (
    NoCapacity,
    PartialScaleUp,
)
from navarch.providers.base import Instance, InstanceType, ProvisionRequest
from pools import TYPE, Backwards, Scene, TellingProvider, run, until

MINUTE = timedelta(minutes=1)


@pytest.fixture
def scene() -> Scene:
    """Give a clock and two providers."""
    return Scene()


# --- several providers -----------------------------------------------------------------------


def test_the_next_provider_is_the_fallback(scene: Scene) -> None:
    scene.first.cloud.stock[TYPE] = 2
    bought = run(scene.wide_pool().scale_up(5))
    assert [node.provider for node in bought] == ["first", "first", "second", "second", "second"]


def test_machines_are_known_by_the_names_that_the_pool_uses(scene: Scene) -> None:
    config = PoolConfig("training", TYPE)
    pool = Pool.simple(config, scene.first, "lambda", clock=scene.clock)
    [node] = run(pool.scale_up(1))
    assert node.provider == "lambda"


def test_a_provider_may_have_its_own_type_and_regions(scene: Scene) -> None:
    config = PoolConfig("training", TYPE, "us-west-2")
    own = ProviderConfig("first", scene.first, regions=["eu-1"], instance_type="gpu_8x_h100_sxm5")
    run(Pool(config, [own], clock=scene.clock).scale_up(1))
    [request] = scene.first.requests
    assert (request.region, request.instance_type) == ("eu-1", "gpu_8x_h100_sxm5")


def test_by_cost_the_first_purchase_already_knows_the_prices(scene: Scene) -> None:
    for provider, price in ((scene.first, 30.0), (scene.second, 20.0)):
        line = InstanceType(name=TYPE, gpu_count=8, gpu_type="H100", price_per_hour=price)
        provider.cloud.instance_types = (line,)
    [node] = run(scene.wide_pool("cost").scale_up(1))
    assert node.provider == "second"


def test_by_availability_who_has_one_is_asked_first(scene: Scene) -> None:
    line = InstanceType(name=TYPE, gpu_count=8, gpu_type="H100")
    scene.first.cloud.instance_types = scene.second.cloud.instance_types = (line,)
    scene.first.cloud.stock[TYPE] = 0
    run(scene.wide_pool("availability").scale_up(1))
    assert scene.first.asked == []


def test_in_turns_each_gets_its_weight(scene: Scene) -> None:
    config = PoolConfig("training", TYPE, max_nodes=8)
    providers = [
        ProviderConfig("first", scene.first, weight=3),
        ProviderConfig("second", scene.second, weight=1),
    ]
    run(Pool(config, providers, "round-robin", clock=scene.clock).scale_up(8))
    assert (len(scene.first.alive), len(scene.second.alive)) == (6, 2)


def test_a_ranker_of_others_is_a_strategy(scene: Scene) -> None:
    [node] = run(scene.wide_pool(Backwards()).scale_up(1))
    assert node.provider == "second"


# --- buying in part --------------------------------------------------------------------------


def test_a_partial_purchase_says_what_was_bought_and_why_not_all(scene: Scene) -> None:
    scene.first.cloud.stock[TYPE] = 2
    scene.second.cloud.quota = 1
    pool = scene.wide_pool()
    with pytest.raises(PartialScaleUp) as caught:
        run(pool.scale_up(5))
    error = caught.value
    assert (error.pool, error.wanted) == ("training", 5)
    assert [node.id for node in error.bought] == [node.id for node in pool.nodes()]
    assert [node.provider for node in error.bought] == ["first", "first", "second"]
    assert "NoCapacity: first: first: h100-8x is sold out" in error.because
    assert "QuotaExceeded: second: second: the account may have 1 machines" in error.because


def test_after_a_partial_purchase_nothing_is_bought_unasked(scene: Scene) -> None:
    scene.first.cloud.stock[TYPE] = 1
    pool = scene.pool()
    with pytest.raises(PartialScaleUp):
        run(pool.scale_up(4))
    scene.first.cloud.heal()
    scene.clock.advance(timedelta(hours=2))
    run(pool.scale_up(1))
    assert len(pool.nodes()) == 2
    assert len(scene.first.alive) == 2


def test_a_purchase_of_nothing_is_partial_too(scene: Scene) -> None:
    scene.first.cloud.stock[TYPE] = 0
    pool = scene.pool()
    with pytest.raises(PartialScaleUp, match="pool training: 0 of 2 bought: NoCapacity") as caught:
        run(pool.scale_up(2))
    assert caught.value.bought == ()
    assert pool.state().last_scale_time is None


def test_an_offer_that_was_sold_out_is_asked_again_after_a_while(scene: Scene) -> None:
    scene.first.cloud.fail_next(NoCapacity("none today"))
    pool = scene.pool()
    with pytest.raises(PartialScaleUp):
        run(pool.scale_up(1))
    with pytest.raises(PartialScaleUp, match="none today"):
        run(pool.scale_up(1))
    assert len(scene.first.asked) == 1
    scene.clock.advance(MINUTE)
    assert len(run(pool.scale_up(1))) == 1


# --- unknown outcomes ------------------------------------------------------------------------


def test_a_launch_whose_answer_is_lost_is_found_and_counts(scene: Scene) -> None:
    scene.first = TellingProvider("first", scene.clock)
    scene.first.cloud.lose_answer()
    pool = scene.pool()
    bought = run(_while_time_passes(scene, pool.scale_up(1)))
    assert [node.id for node in bought] == scene.first.alive


def test_a_launch_that_never_arrived_is_repeated_under_its_own_id(scene: Scene) -> None:
    scene.first.cloud.lose_request()
    [node] = run(_while_time_passes(scene, scene.pool().scale_up(1)))
    assert scene.first.asked == [f"provision {node.name}"] * 2
    assert scene.first.alive == [node.id]


def test_a_launch_that_cannot_be_looked_up_yet_is_no_purchase_and_no_leak(scene: Scene) -> None:
    scene.first.cloud.list_lag = 2 * MINUTE
    scene.first.cloud.lose_answer()
    pool = scene.pool()
    with pytest.raises(PartialScaleUp, match="its outcome is not known"):
        run(_while_time_passes(scene, pool.scale_up(1)))
    assert len(scene.first.alive) == 1
    scene.clock.advance(5 * MINUTE)
    [node] = run(pool.scale_up(1))
    assert scene.first.alive == [node.id]
    assert pool.nodes() == [node]


def test_a_provider_that_breaks_is_looked_up_like_one_that_is_silent(scene: Scene) -> None:
    class Broken(TellingProvider):
        async def provision(self, request: ProvisionRequest) -> Instance:
            raise KeyError("a fault of the provider's author")

    broken = Broken("broken", scene.clock)
    pool = Pool.simple(PoolConfig("training"), broken, clock=scene.clock)
    with pytest.raises(PartialScaleUp, match=r"KeyError.*its outcome is not known"):
        run(pool.scale_up(1))
    assert pool.nodes() == []


async def _while_time_passes(
    scene: Scene, call: Coroutine[object, object, list[Instance]]
) -> list[Instance]:
    """Move the clock on while a call waits for an answer that does not come."""
    working = asyncio.create_task(call)
    for _ in range(200):
        await asyncio.sleep(0)
    scene.clock.advance(MINUTE)
    return await working


def test_a_cancelled_purchase_leaves_nothing_that_nobody_knows(scene: Scene) -> None:
    scene.first.cloud.answer_after(30 * timedelta(seconds=1), times=2)
    pool = scene.pool()

    async def story() -> None:
        buying = asyncio.create_task(pool.scale_up(4))
        await until(lambda: len(scene.first.alive) == 4)
        for _ in range(20):
            await asyncio.sleep(0)
        buying.cancel()
        await asyncio.wait([buying])

    run(story())
    assert len(scene.first.alive) == 4
    assert len(pool.nodes()) == 2
    scene.clock.advance(MINUTE)
    run(pool.scale_up(1))
    assert sorted(node.id for node in pool.nodes()) == sorted(scene.first.alive)
