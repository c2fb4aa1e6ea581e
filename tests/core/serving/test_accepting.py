"""Proposed places: what is taken only once, whoever proposes it how often."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from factories import name
from navarch.core.model import messages as msg
from navarch.core.model.resources import Scheduling
from serving_world import A_CLASS, A_MODEL, ServingWorld, a_pool, want

DIVIDED = {"navarch.io/mig.0": "1g.10gb=2,3g.40gb=1", "navarch.io/mig.1": "1g.10gb=1"}
SMALL, BIG = "1g.10gb", "3g.40gb"


def divided(replicas: int = 2, gang: int = 1) -> ServingWorld:
    """Make a world whose first node has two divided GPUs, and whose replicas wait."""
    pool = a_pool(scheduling=Scheduling(gang=gang))
    world = ServingWorld(resources=[A_MODEL, A_CLASS, pool])
    node = world.fleet.nodes[name(1)]
    world.fleet.put_node(replace(node, metadata=replace(node.metadata, labels=DIVIDED)))
    world.turn(want(replicas, world.now))
    return world


def propose(world: ServingWorld, *places: tuple[tuple[int, ...], str]) -> list[str]:
    """Propose a place on the first node for each replica that waits; return their states."""
    waiting = [world.fleet.replicas[id_] for id_ in world.fleet.replicas_pending]
    world.turn(
        msg.PlacementsProposed(
            tuple(
                msg.Proposed(replica.id, name(1), gpus, mig=mig, because="free")
                for replica, (gpus, mig) in zip(waiting, places, strict=False)
            )
        )
    )
    return world.states()


def test_two_proposals_for_the_last_slice_are_not_both_taken() -> None:
    assert propose(divided(), ((1,), SMALL), ((1,), SMALL)).count("pending") == 1


def test_as_many_slices_are_taken_as_there_are_at_once_and_one_after_the_other() -> None:
    world = divided(4)
    assert propose(world, ((0,), SMALL)).count("pending") == 3
    assert propose(world, ((0,), SMALL), ((0,), BIG), ((0,), SMALL)).count("pending") == 1
    assert propose(world, ((0,), SMALL)).count("pending") == 1
    assert propose(world, ((1,), SMALL)).count("pending") == 0


def test_slices_of_one_replica_are_counted_each() -> None:
    assert propose(divided(), ((0, 0, 0), SMALL), ((0, 0), SMALL)).count("pending") == 1


def test_a_slice_that_the_node_does_not_have_is_not_taken() -> None:
    world = divided(4)
    places = (((1,), BIG), ((2,), SMALL), ((9,), SMALL), ((0,), "7g.80gb"))
    assert propose(world, *places).count("pending") == 4


def test_a_divided_gpu_is_not_taken_whole() -> None:
    world = divided()
    assert propose(world, ((0,), ""), ((2,), "")).count("pending") == 1


def test_a_gpu_is_not_given_twice_to_one_replica() -> None:
    assert propose(divided(), ((2, 2), ""), ((2, 3), "")).count("pending") == 1


def test_a_gang_takes_its_slices_wholly_or_not_at_all() -> None:
    world = divided(4, gang=2)
    places = (((1,), SMALL), ((1,), SMALL), ((1,), SMALL), ((0,), SMALL))
    one, other, *placed = propose(world, *places)
    assert one == other == "pending"
    assert "pending" not in placed


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(-1, 3), max_size=3).map(tuple),
            st.sampled_from(["", SMALL, BIG]),
            st.sampled_from([0.25, 0.5, 1.0]),
        ),
        max_size=12,
    ),
    st.integers(1, 8),
)
def test_nothing_is_ever_had_more_often_than_there_is(
    places: list[tuple[tuple[int, ...], str, float]], at_once: int
) -> None:
    world = divided(8)
    for start in range(0, len(places), at_once):
        waiting = list(world.fleet.replicas_pending)
        proposals = tuple(
            msg.Proposed(id_, name(1), gpus, share, mig, because="free")
            for id_, (gpus, mig, share) in zip(
                waiting, places[start : start + at_once], strict=False
            )
        )
        world.machine.step([msg.PlacementsProposed(proposals)], world.now)
    slices: Counter[tuple[int, str]] = Counter()
    shares: Counter[int] = Counter()
    for replica in world.fleet.replicas_at(name(1)):
        for index in replica.gpus:
            assert 0 <= index <= 3
            if replica.mig:
                slices[index, replica.mig] += 1
            else:
                shares[index] += round(replica.share * 4)
    assert slices <= Counter({(0, SMALL): 2, (0, BIG): 1, (1, SMALL): 1})
    assert shares <= Counter({2: 4, 3: 4})
