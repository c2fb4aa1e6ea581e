"""A pool used alone: it does what it is told, tells what it could not do, and leaks nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from navarch.controlplane.pool import Pool, PoolConfig, ProviderConfig
from navarch.core.scaling.base import PoolMetrics
from navarch.core.scaling.reactive import ReactiveAutoscaler
from navarch.errors import (
    NavarchError,
    PartialScaleUp,
    PluginError,
    ProviderError,
    Unavailable,
)
from navarch.providers.base import InstanceStatus
from navarch.providers.fake import FakeCloud
from pools import MONDAY, TYPE, Scene, TellingProvider, names, run

MINUTE = timedelta(minutes=1)


@pytest.fixture
def scene() -> Scene:
    """Give a clock and two providers."""
    return Scene()


# --- buying ----------------------------------------------------------------------------------


def test_a_new_pool_has_bought_nothing_and_asked_nobody(scene: Scene) -> None:
    pool = scene.pool(min_nodes=2)
    assert pool.nodes() == []
    assert scene.first.asked == []


def test_what_is_bought_is_returned_and_stays(scene: Scene) -> None:
    pool = scene.pool()
    bought = run(pool.scale_up(3))
    assert [node.id for node in bought] == scene.first.alive
    assert pool.nodes() == bought
    assert names(bought) == [1, 2, 3]
    assert [node.gpu_count for node in bought] == [8, 8, 8]
    assert [node.status for node in bought] == [InstanceStatus.RUNNING] * 3


def test_a_purchase_asks_for_what_the_configuration_says(scene: Scene) -> None:
    pool = scene.pool(
        region="us-west-2",
        zones=("us-west-2a",),
        labels={"workload": "training"},
        ssh_key_names=("ops",),
        user_data="#!/bin/sh",
    )
    [node] = run(pool.scale_up(1))
    [request] = scene.first.requests
    assert (request.name, request.token) == (node.name, node.name)
    assert (request.region, request.zone) == ("us-west-2", "us-west-2a")
    assert request.labels["workload"] == "training"
    assert request.ssh_key_names == ("ops",)
    assert request.user_data == "#!/bin/sh"


def test_a_machine_that_boots_is_a_node_and_is_shown_running_later(scene: Scene) -> None:
    scene.first.cloud.boot_time = 2 * MINUTE
    pool = scene.pool()
    [booting] = run(pool.scale_up(1))
    scene.clock.advance(5 * MINUTE)
    run(pool.scale_up(1))
    assert booting.status == InstanceStatus.PROVISIONING
    assert pool.nodes()[0].status == InstanceStatus.RUNNING


@pytest.mark.parametrize("count", [-1, 9, 100])
def test_an_impossible_number_is_refused_before_anything_is_bought(
    scene: Scene, count: int
) -> None:
    pool = scene.pool()
    run(pool.scale_up(2))
    with pytest.raises(ValueError, match=rf"training: 2 \+ {count} nodes, with max_nodes 10"):
        run(pool.scale_up(count))
    assert len(scene.first.alive) == 2


def test_no_more_and_no_fewer_do_nothing(scene: Scene) -> None:
    pool = scene.pool()
    assert run(pool.scale_up(0)) == []
    assert run(pool.scale_down(0)) == []
    assert scene.first.asked == []


def test_more_machines_than_a_provider_bears_at_once_do_not_wait_for_a_clock_nobody_moves() -> None:
    class Narrow(TellingProvider):
        launches_at_once = 3  # type: ignore[misc] # fewer than any fake needs
        calls_per_second = 1.0

    scene = Scene()
    narrow = Narrow("narrow", scene.clock)
    pool = Pool.simple(PoolConfig("training", TYPE, max_nodes=40), narrow, clock=scene.clock)
    assert len(run(pool.scale_up(40))) == 40


def test_a_provider_that_knows_no_tokens_sells_each_machine_once(scene: Scene) -> None:
    scene.first.cloud.honours_tokens = False
    pool = scene.pool()
    run(pool.scale_up(7))
    run(pool.scale_down(4))
    assert len(scene.first.cloud.machines) == 7
    assert len(scene.first.alive) == 3


def test_calls_at_the_same_time_take_turns(scene: Scene) -> None:
    pool = scene.pool()

    async def story() -> list[int]:
        bought = await asyncio.gather(pool.scale_up(2), pool.scale_up(3))
        return sorted(number for nodes in bought for number in names(nodes))

    assert run(story()) == [1, 2, 3, 4, 5]
    assert len(scene.first.alive) == 5


# --- letting go ------------------------------------------------------------------------------


def test_cordoned_nodes_go_first_and_then_the_youngest(scene: Scene) -> None:
    pool = scene.pool()

    async def story() -> list[int]:
        first, *_ = await pool.scale_up(2)
        scene.clock.advance(MINUTE)
        await pool.scale_up(2)
        pool.cordon(first.id)
        return names(await pool.scale_down(2))

    gone = run(story())
    assert 1 in gone
    assert 2 not in gone
    assert len(pool.nodes()) == 2
    assert [node.id for node in pool.nodes()] == scene.first.alive


def test_fewer_than_the_minimum_is_refused(scene: Scene) -> None:
    pool = scene.pool(min_nodes=2)
    run(pool.scale_up(3))
    with pytest.raises(ValueError, match="3 - 2 nodes, with min_nodes 2"):
        run(pool.scale_down(2))
    assert len(run(pool.scale_down(1))) == 1
    assert len(scene.first.alive) == 2


def test_an_end_that_is_refused_is_told_and_asked_for_again(scene: Scene) -> None:
    pool = scene.pool()
    run(pool.scale_up(2))
    scene.first.cloud.fail_next(Unavailable("down"), call="terminate")
    with pytest.raises(ProviderError, match="Unavailable: down: its end stays owed"):
        run(pool.scale_down(1))
    assert len(pool.nodes()) == 1
    assert len(scene.first.alive) == 2
    scene.clock.advance(MINUTE)
    run(pool.scale_up(1))
    assert len(scene.first.alive) == 2
    assert [node.id for node in pool.nodes()] == scene.first.alive


def test_a_slow_end_is_not_waited_for_and_counts_against_the_maximum(scene: Scene) -> None:
    scene.first.cloud.end_time = 3 * MINUTE
    pool = scene.pool(max_nodes=2)
    run(pool.scale_up(2))
    run(pool.scale_down(1))
    with pytest.raises(PartialScaleUp, match="1 machines still end"):
        run(pool.scale_up(1))
    scene.clock.advance(5 * MINUTE)
    assert len(run(pool.scale_up(1))) == 1
    assert len(scene.first.alive) == 2


# --- replacing -------------------------------------------------------------------------------


def test_a_replacement_is_bought_before_the_old_one_ends(scene: Scene) -> None:
    pool = scene.pool()
    old, other = run(pool.scale_up(2))
    scene.first.asked.clear()
    new = run(pool.replace(old.name))
    assert scene.first.asked == [f"provision {new.name}", f"terminate {old.id}"]
    assert [node.id for node in pool.nodes()] == [other.id, new.id]


def test_at_the_maximum_a_node_is_replaced_in_place(scene: Scene) -> None:
    pool = scene.pool(max_nodes=2)
    old, other = run(pool.scale_up(2))
    scene.first.asked.clear()
    new = run(pool.replace(old.id))
    assert scene.first.asked == [f"terminate {old.id}", f"provision {new.name}"]
    assert [node.id for node in pool.nodes()] == [other.id, new.id]


def test_the_old_one_stays_when_no_other_can_be_bought(scene: Scene) -> None:
    pool = scene.pool()
    [old] = run(pool.scale_up(1))
    scene.first.cloud.stock[TYPE] = 1
    with pytest.raises(PartialScaleUp, match="0 of 1 bought"):
        run(pool.replace(old.id))
    assert pool.nodes() == [old]
    assert scene.first.alive == [old.id]


# --- cordoning and naming --------------------------------------------------------------------


def test_nodes_are_cordoned_under_either_of_their_ids(scene: Scene) -> None:
    pool = scene.pool()
    first, second = run(pool.scale_up(2))
    pool.cordon(first.id, "bad cable")
    pool.cordon(first.id)
    pool.cordon(second.name)
    assert [node.cordoned for node in pool.nodes()] == [True, True]
    pool.uncordon(second.id)
    pool.uncordon(second.id)
    assert [node.cordoned for node in pool.nodes()] == [True, False]


def test_an_unknown_node_is_refused_with_those_there_are(scene: Scene) -> None:
    pool = scene.pool()
    [node] = run(pool.scale_up(1))
    with pytest.raises(NavarchError, match=f"has no node nobody; there are: {node.name}"):
        pool.cordon("nobody")
    with pytest.raises(NavarchError, match="has no node nobody"):
        run(pool.replace("nobody"))


def test_an_id_that_two_providers_use_is_refused(scene: Scene) -> None:
    scene.second = TellingProvider("second", scene.clock, FakeCloud(name="first"))
    scene.first.cloud.stock[TYPE] = 1
    pool = scene.wide_pool()
    first, second = run(pool.scale_up(2))
    assert first.id == second.id
    with pytest.raises(NavarchError, match="has 2 nodes first-000001"):
        pool.cordon(first.id)
    pool.cordon(second.name)
    assert [node.cordoned for node in pool.nodes()] == [False, True]


# --- looking ---------------------------------------------------------------------------------


def test_time_alone_changes_nothing(scene: Scene) -> None:
    pool = scene.pool()
    run(pool.scale_up(2))
    scene.clock.advance(timedelta(days=400))
    run(pool.scale_up(1))
    assert names(pool.nodes()) == [1, 2, 3]


def test_the_state_is_what_autoscalers_need(scene: Scene) -> None:
    pool = scene.pool(min_nodes=1)
    run(pool.scale_up(3))
    state = pool.state(PoolMetrics(utilization=91))
    assert (state.name, state.current_nodes, state.healthy_nodes) == ("training", 3, 3)
    assert (state.min_nodes, state.max_nodes) == (1, 10)
    assert (state.utilization, state.now, state.last_scale_time) == (91, MONDAY, MONDAY)


def test_the_clock_ends_the_cooldown(scene: Scene) -> None:
    pool = scene.pool(cooldown_period=5 * MINUTE)
    reactive = ReactiveAutoscaler(80, 20)
    run(pool.scale_up(2))
    busy = PoolMetrics(utilization=95)
    assert reactive.recommend(pool.state(busy)).target_nodes == 2
    scene.clock.advance(5 * MINUTE)
    assert reactive.recommend(pool.state(busy)).target_nodes == 3


def test_a_pool_outlives_an_event_loop(scene: Scene) -> None:
    pool = scene.pool()

    async def two() -> None:
        await asyncio.gather(pool.scale_up(1), pool.scale_up(1))

    run(two())
    run(two())
    assert len(pool.nodes()) == 4


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes,problem",
    [
        ({"name": "Training"}, "name 'Training': expected a letter"),
        ({"name": ""}, "name ''"),
        ({"min_nodes": 5, "max_nodes": 4}, "min_nodes 5 and max_nodes 4"),
        ({"min_nodes": -1}, "min_nodes -1"),
        ({"cooldown_period": -MINUTE}, "cooldown_period must not be negative"),
        ({"unhealthy_threshold": 0}, "unhealthy_threshold must be at least 1"),
    ],
)
def test_an_impossible_configuration_is_refused(changes: dict[str, object], problem: str) -> None:
    fields: dict[str, object] = {"name": "training", "instance_type": TYPE, **changes}
    with pytest.raises(ValueError, match=problem):
        PoolConfig(**fields)  # type: ignore[arg-type] # each case has the right types


def test_impossible_providers_and_strategies_are_refused(scene: Scene) -> None:
    config = PoolConfig("training")
    one = ProviderConfig("first", scene.first)
    with pytest.raises(ValueError, match="expected at least one"):
        Pool(config, [])
    with pytest.raises(ValueError, match="two have the same name"):
        Pool(config, [one, ProviderConfig("first", scene.second)])
    with pytest.raises(ValueError, match="strategy 'cheapest': expected one of priority, cost"):
        Pool(config, [one], "cheapest")
    with pytest.raises(ValueError, match="weight 0"):
        ProviderConfig("first", scene.first, weight=0)


def test_a_provider_that_misstates_its_facts_is_refused_at_once(scene: Scene) -> None:
    class Boastful(TellingProvider):
        launches_at_once = 0  # type: ignore[misc] # the fault that is planted

    with pytest.raises(PluginError, match="launches_at_once must be an int of 1 or more"):
        Pool.simple(PoolConfig("training"), Boastful("boastful", scene.clock))


def test_a_pool_that_was_handed_over_is_a_description(scene: Scene) -> None:
    pool = scene.pool()
    pool.hand_over()
    assert pool.config.name == pool.spec.name == "training"
    with pytest.raises(NavarchError, match="is run by a control plane"):
        run(pool.scale_up(1))
    with pytest.raises(NavarchError, match="is run by a control plane"):
        pool.nodes()


def test_a_pool_that_has_machines_cannot_be_handed_over(scene: Scene) -> None:
    pool = scene.pool()
    run(pool.scale_up(1))
    with pytest.raises(NavarchError, match="has 1 machines that a control plane would not know"):
        pool.hand_over()
    assert len(pool.nodes()) == 1
