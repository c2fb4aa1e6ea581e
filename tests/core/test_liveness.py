"""Liveness: silence is measured by our own clock, from the latest sign of life."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from factories import POOL, SETTINGS, a_fleet, a_node, a_stranger, at, ending, fold_all, lost, name
from navarch.core import liveness
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.last_heard import LastHeard
from navarch.core.model.sightings import Sightings
from navarch.core.settings import Settings


def lost_nodes(
    fleet: Fleet, now: datetime, heard: dict[str, datetime] | None = None
) -> list[ev.NodeLost]:
    return list(liveness.lost(fleet, Sightings(heard=LastHeard(heard)), now, SETTINGS))


def test_a_node_is_lost_when_it_was_silent_for_longer_than_three_heartbeats() -> None:
    fleet = a_fleet(1)
    assert lost_nodes(fleet, at(seconds=90)) == []
    because = "silent for 91 s: more than 3 heartbeats of 30 s missed"
    assert lost_nodes(fleet, at(seconds=91)) == [ev.NodeLost(at(seconds=91), name(1), because)]


def test_the_patience_is_a_setting() -> None:
    settings = replace(Settings(), missed_heartbeats=10)
    fleet = a_fleet(1)
    assert list(liveness.lost(fleet, Sightings(), at(seconds=300), settings)) == []
    assert len(list(liveness.lost(fleet, Sightings(), at(seconds=301), settings))) == 1


def test_a_sighting_starts_the_silence_anew() -> None:
    fleet = a_fleet(2)
    heard = {name(1): at(minutes=5)}
    assert [fact.node_id for fact in lost_nodes(fleet, at(minutes=6), heard)] == [name(2)]


def test_a_restart_of_ours_is_not_an_outage_of_theirs() -> None:
    fleet = a_fleet(3, ev.Resumed(at(hours=2), "0.1.0"))
    assert lost_nodes(fleet, at(hours=2, seconds=90)) == []
    assert len(lost_nodes(fleet, at(hours=2, seconds=91))) == 3


def test_the_latest_of_the_three_signs_counts() -> None:
    sightings = Sightings(heard=LastHeard({name(1): at(minutes=1)}))
    fleet = fold_all(ev.Resumed(at(minutes=2), "0.1.0"))
    node = a_node(1, heard_at=at(minutes=3))
    assert liveness.heard_last(fleet, sightings, node) == at(minutes=3)
    fleet.resumed_at = at(minutes=4)
    assert liveness.heard_last(fleet, sightings, node) == at(minutes=4)
    sightings.heard[name(1)] = at(minutes=5)
    assert liveness.heard_last(fleet, sightings, node) == at(minutes=5)


def test_a_node_is_lost_once() -> None:
    assert lost_nodes(a_fleet(1, lost(1, at(minutes=2))), at(hours=1)) == []


def test_ended_nodes_may_be_silent() -> None:
    gone = ev.InstanceTerminated(at(), name(1), "gone")
    assert lost_nodes(a_fleet(1, ending(1, at()), gone), at(hours=1)) == []


def test_ending_nodes_and_strangers_are_listened_to() -> None:
    fleet = a_fleet(1, ending(1, at()), a_stranger())
    assert [fact.node_id for fact in lost_nodes(fleet, at(hours=1))] == [name(1), "lab-1"]


def test_a_paused_pool_is_listened_to() -> None:
    fleet = a_fleet(1, ev.PoolPaused(at(), POOL, "maintenance"))
    assert len(lost_nodes(fleet, at(hours=1))) == 1
