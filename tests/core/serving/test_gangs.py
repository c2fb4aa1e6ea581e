"""Gangs after they were placed: what becomes of the others when one loses its place."""

from __future__ import annotations

from datetime import timedelta

import pytest

from factories import name
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.node import Intent
from navarch.core.model.replica import Replica, ReplicaState
from navarch.core.model.resources import Runtime, Scheduling
from navarch.core.serving import gangs
from serving_world import A_CLASS, A_MODEL, ServingWorld, a_pool, want


def a_world(gang: int = 2, nodes: int = 4) -> ServingWorld:
    """Make a world whose two replicas are ready on the nodes 1 and 2."""
    pool = a_pool(scheduling=Scheduling(gang=gang))
    world = ServingWorld(nodes, resources=[A_MODEL, A_CLASS, pool])
    world.turn()
    place(world, name(1), name(2))
    world.turns(6)
    assert world.states() == ["ready", "ready"]
    return world


def place(world: ServingWorld, *node_ids: str) -> None:
    """Propose the nodes, in their order, to the replicas that may be placed now."""
    waiting = gangs.due(world.fleet, world.now)
    pairs = zip(waiting, node_ids, strict=True)
    proposals = (msg.Proposed(each.id, on, (0,), because="free") for each, on in pairs)
    world.turn(msg.PlacementsProposed(tuple(proposals)))


def lose(world: ServingWorld, node_id: str) -> None:
    """Let a node fall silent until it is lost."""
    world.deaf.add(node_id)
    world.turns(4, seconds=30)


def on(world: ServingWorld) -> list[str]:
    """Return where the replicas are."""
    return [each.node_id for each in world.living()]


def test_who_loses_its_node_takes_its_gang_along_and_they_come_up_together() -> None:
    world = a_world()
    first, second = world.living()
    lose(world, name(1))
    assert world.states() == ["pending", "pending"]
    mate = world.fleet.replicas[second.id]
    assert mate.because.startswith(f"replica {first.id} of its gang has lost its place: its node")
    assert (mate.failures, mate.failed_nodes) == (0, ())
    world.turns(8)
    assert world.replicas[name(2)] == {}  # what ran of it was stopped meanwhile
    place(world, name(3), name(2))
    world.turns(6)
    assert world.states() == ["ready", "ready"]
    assert on(world) == [name(3), name(2)]


def test_where_replicas_are_only_placed_together_the_others_keep_their_places() -> None:
    world = a_world(gang=True)
    lose(world, name(1))
    assert world.states() == ["pending", "ready"]
    place(world, name(3))
    world.turns(6)
    assert on(world) == [name(3), name(2)]
    assert world.states() == ["ready", "ready"]


def test_a_gang_waits_for_the_member_that_could_not_be_started() -> None:
    world = a_world()
    first, second = world.living()
    world.replicas[name(1)][first.id] = ReplicaState.ENDED
    world.turn()
    assert world.states() == ["pending", "pending"]
    one, mate = (world.fleet.replicas[each.id] for each in (first, second))
    assert one.failed_nodes == (name(1),)
    assert one.retry_at is not None
    assert mate.retry_at is not None
    assert gangs.due(world.fleet, world.now + timedelta(seconds=4)) == []
    later = max(one.retry_at, mate.retry_at)
    assert {each.id for each in gangs.due(world.fleet, later)} == {first.id, second.id}


def test_a_gang_leaves_a_drained_node_as_a_whole_when_another_is_ready() -> None:
    world = a_world()
    old = {each.id for each in world.living()}
    fold.apply(world.fleet, ev.IntentChanged(world.now, name(1), Intent.DRAINING, "maintenance"))
    world.turn()
    assert world.states() == ["ready", "ready", "pending", "pending"]
    place(world, name(3), name(4))
    for _ in range(8):
        assert _ready_gangs(world.living(), 2) >= 1
        world.turn()
    assert on(world) == [name(3), name(4)]
    assert not old & {each.id for each in world.living()}


def test_gangs_are_replaced_as_a_whole_where_they_are_to_run_in_another_way() -> None:
    world = a_world()
    old = {each.id for each in world.living()}
    pool = a_pool(scheduling=Scheduling(gang=2), runtime=Runtime(command=("serve", "--better")))
    world.apply(pool)
    world.turn()
    place(world, name(3), name(4))
    for _ in range(8):
        assert _ready_gangs(world.living(), 2) >= 1
        world.turn()
    assert world.states() == ["ready", "ready"]
    assert not old & {each.id for each in world.living()}


def test_fewer_replicas_means_fewer_whole_gangs() -> None:
    world = a_world()
    world.turn(want(4, world.now))
    place(world, name(3), name(4))
    world.turns(6)
    assert world.states() == ["ready"] * 4
    world.turn(want(2, world.now))
    world.turns(4)
    left = world.living()
    assert len(left) == 2
    assert len({each.gang for each in left}) == 1


def test_a_gang_that_had_to_give_a_member_up_is_replaced() -> None:
    world = a_world()
    victim = world.living()[0]
    fold.apply(world.fleet, ev.ReplicaStopping(world.now, victim.id, "room for another"))
    world.turn()
    waiting = [each for each in world.living() if each.state is ReplicaState.PENDING]
    assert len(waiting) == 2
    assert len({each.gang for each in waiting} | {victim.gang}) == 2
    place(world, name(3), name(4))
    world.turns(8)
    assert on(world) == [name(3), name(4)]


@pytest.mark.parametrize("gang", [1, 2, True])
def test_deciding_again_changes_nothing(gang: int) -> None:
    world = a_world(gang)
    lose(world, name(1))
    assert world.machine.step([msg.Tick()], world.now).facts == []


def _ready_gangs(replicas: list[Replica], size: int) -> int:
    ready = [each.gang for each in replicas if each.state is ReplicaState.READY]
    return sum(ready.count(gang) >= size for gang in set(ready))
