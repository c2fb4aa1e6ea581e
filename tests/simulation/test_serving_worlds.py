"""The serving plane in virtual time: whatever happens, nothing is doubled and all is given back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from navarch.core.model import events as ev
from navarch.core.serving import accepting, nodes
from navarch.simulator.replicas import sweeping
from navarch.simulator.replicas.people import Wave
from navarch.simulator.replicas.world import Failure, Plan, World, drawn
from navarch.simulator.timeline import EPOCH


@pytest.mark.parametrize("seed", range(12))
def test_a_world_rests_when_its_troubles_are_over(seed: int) -> None:
    world = World(seed)
    world.run()
    assert world.peak > 0 or world.seen["replica_displaced"]


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, 2000, 100))
def test_many_worlds_rest(first: int) -> None:
    lines: list[str] = []
    assert sweeping.sweep(first, 100, lines.append) == 0, lines


def test_the_same_seed_gives_the_same_journal() -> None:
    one, other = World(5), World(5)
    one.run()
    other.run()
    assert [ev.encode(fact) for fact in one.journal] == [ev.encode(fact) for fact in other.journal]


def a_plan(*, crashes: frozenset[int] = frozenset(), nodes_max: int = 4) -> Plan:
    """Return a plain world: one wave that needs four replicas, or more."""
    wave = Wave(EPOCH + timedelta(seconds=30), EPOCH + timedelta(seconds=150), 30)
    pace = drawn(0).pace
    return Plan((wave,), pace, nodes_max, 6, 1.0, (), crashes)


def test_a_control_plane_that_is_killed_at_any_step_gives_all_back() -> None:
    for step in range(5, 60, 6):
        world = World(3, a_plan(crashes=frozenset({step})))
        world.run()
        assert world.seen["crashes"] == 1


def test_every_decision_of_a_world_has_a_reason() -> None:
    world = World(4)
    world.run()
    kinds = (ev.ReplicasWanted, ev.ReplicaRequested, ev.ReplicaPlaced, ev.ReplicaDisplaced)
    decided = [fact for fact in world.journal if isinstance(fact, kinds)]
    assert decided
    assert all(fact.because for fact in decided)


def test_gpus_that_are_given_away_twice_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "_fits", lambda *_arguments: True)
    slots = nodes._slots  # noqa: SLF001 - a planted bug
    monkeypatch.setattr(nodes, "_slots", lambda machine, found, _: slots(machine, found, []))
    with pytest.raises(Failure, match="given away twice"):
        World(3, a_plan(nodes_max=1)).run()


def test_replicas_that_nobody_stops_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("navarch.core.serving.upkeep._Desk.strays", lambda _self: iter(()))
    monkeypatch.setattr("navarch.core.serving.hearing.answered", lambda *_arguments: iter(()))
    monkeypatch.setattr("navarch.core.serving.hearing.heard", lambda *_arguments: iter(()))
    with pytest.raises(Failure):
        World(3, a_plan()).run()
