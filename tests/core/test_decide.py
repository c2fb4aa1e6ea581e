"""Deciding: the stages see each other's facts, change nothing, and are done after one look."""

from __future__ import annotations

from datetime import datetime

import pytest
from msgspec.structs import replace

from factories import (
    POOL,
    a_fleet,
    a_list,
    a_machine,
    a_spec,
    a_stranger,
    advised,
    at,
    condemned,
    fold_all,
    issued,
    lost,
    name,
    releasing,
    requested,
    running,
    sighted,
    xid,
)
from navarch.core.decide import decide
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.last_heard import LastHeard
from navarch.core.model.pool import Disruption
from navarch.core.model.sightings import Sightings
from navarch.core.strategies import Strategies

SILENT = at(minutes=2)
LATER = at(minutes=4)


def heard_now(fleet: Fleet, now: datetime) -> Sightings:
    """Return sightings in which connected nodes have just spoken and every machine is listed."""
    seen = sighted(fleet, a_list(now, *map(a_machine, range(1, fleet.serial + 1))))
    seen.heard = LastHeard({n.id: now for n in fleet.nodes.values() if n.lost_at is None})
    return seen


def decided_twice(fleet: Fleet, now: datetime = LATER) -> tuple[list[str], list[ev.Fact]]:
    """Decide, fold, decide again: return the kinds of the first facts, and the second facts."""
    seen = heard_now(fleet, now)
    first = decide(fleet, seen, now, Strategies())
    fold_all(first, fleet=fleet)
    return [ev.kind(fact) for fact in first], decide(fleet, seen, now, Strategies())


def test_an_empty_fleet_wants_nothing() -> None:
    assert decide(Fleet(), Sightings(), at(), Strategies()) == []


def test_a_fleet_that_has_what_it_wants_wants_nothing() -> None:
    fleet = a_fleet(3)
    assert decide(fleet, heard_now(fleet, LATER), LATER, Strategies()) == []


def test_deciding_changes_nothing() -> None:
    fleet = a_fleet(1, target=3)
    before = fleets.encode(fleet)
    assert len(decide(fleet, Sightings(), at(), Strategies())) == 2
    assert fleets.encode(fleet) == before


def test_a_stage_sees_the_facts_of_those_before_it() -> None:
    fleet = a_fleet(2)
    kinds = [ev.kind(fact) for fact in decide(fleet, Sightings(), at(hours=1), Strategies())]
    assert kinds == ["node_lost", "node_lost", "repair_halted"]


def test_a_launch_that_never_answered_is_given_up_and_tried_again_at_once() -> None:
    fleet = a_fleet(0, requested(1), target=1)
    kinds, again = decided_twice(fleet, at(minutes=11))
    assert kinds == ["termination_requested", "launch_requested"]
    assert again == []


def test_the_default_policy_calls_any_event_degraded() -> None:
    fleet = a_fleet(1, ev.HealthReported(at(), name(1), (), (xid(79),)))
    kinds, again = decided_twice(fleet)
    assert (kinds, again) == (["health_judged"], [])
    assert fleet.nodes[name(1)].health.value == "degraded"


def test_replacing_a_lost_node_takes_one_look() -> None:
    kinds, again = decided_twice(a_fleet(3, lost(1, SILENT)))
    assert (kinds, again) == (["instance_condemned", "launch_requested"], [])


def test_replacing_with_room_for_just_one_more_waits_for_the_replacement() -> None:
    kinds, again = decided_twice(a_fleet(3, lost(1, SILENT), spec=a_spec(max_nodes=4)))
    assert (kinds, again) == (["instance_condemned", "launch_requested"], [])


def test_replacing_in_place_takes_one_look() -> None:
    kinds, again = decided_twice(a_fleet(3, lost(1, SILENT), spec=a_spec(max_nodes=3)))
    assert (kinds, again) == (["instance_condemned", "termination_requested"], [])


def test_replacing_two_in_place_takes_one_look() -> None:
    spec = a_spec(max_nodes=5, disruption=Disruption(2))
    kinds, again = decided_twice(a_fleet(5, lost(1, SILENT), lost(2, SILENT), spec=spec))
    assert (kinds, again) == (["instance_condemned"] * 2 + ["termination_requested"] * 2, [])


def test_ending_in_place_gives_the_budget_no_room_for_another() -> None:
    fleet = a_fleet(5, lost(1, SILENT), lost(2, SILENT), spec=a_spec(max_nodes=5))
    kinds, again = decided_twice(fleet)
    assert (kinds, again) == (["instance_condemned", "termination_requested"], [])


@pytest.mark.parametrize("most", [4, 10])
def test_what_condemning_makes_missing_is_called_back_before_it_is_bought(most: int) -> None:
    """Nothing is bought, and nothing ends to make room, while a drained-down node can stay."""
    fewer = ev.TargetChanged(at(minutes=1), POOL, 3, "queue 3")
    fleet = a_fleet(
        4, releasing(4, at(minutes=1)), fewer, lost(1, SILENT), spec=a_spec(max_nodes=most)
    )
    kinds, again = decided_twice(fleet)
    assert kinds[:3] == ["instance_condemned", "release_revoked", "command_issued"]
    assert "launch_requested" not in kinds
    assert again == []


def test_following_an_autoscaler_takes_one_look() -> None:
    fleet = a_fleet(3)
    seen = replace(heard_now(fleet, LATER), recommendations=advised(1, LATER).recommendations)
    first = decide(fleet, seen, LATER, Strategies())
    kinds = [ev.kind(fact) for fact in first]
    assert kinds == ["target_changed", *["release_requested", "command_issued"] * 2]
    fold_all(first, fleet=fleet)
    assert decide(fleet, seen, LATER, Strategies()) == []


def test_shrinking_a_braked_pool_takes_one_look() -> None:
    halted = ev.RepairHalted(at(), POOL, "2 of 3 are silent")
    fleet = a_fleet(3, lost(1, SILENT), lost(2, SILENT), halted, target=1)
    _, again = decided_twice(fleet)
    assert again == []


def test_shrinking_one_pool_does_not_put_the_brake_on_another_at_the_second_look() -> None:
    others = [ev.PoolConfigured(at(), a_spec(name=pool, min_nodes=n)) for pool, n in _OTHERS]
    nodes = [fact for pool, n in (*_OF_B, *_OF_C) for fact in running(n, pool=pool)]
    silent = [ev.NodeLost(LATER, f"{pool}-k3f9-000{n}", "silent") for pool, n in _SILENT]
    fleet = a_fleet(3, others, nodes, silent, target=0)
    _, again = decided_twice(fleet)
    assert again == []


_OTHERS = (("b", 4), ("c", 1))
_OF_B = (("b", 4), ("b", 5), ("b", 6), ("b", 7))
_OF_C = (("c", 8),)
_SILENT = (("b", 4), ("b", 5), ("c", 8))


def test_a_condemned_machine_that_is_replaced_is_one_silent_node_less() -> None:
    gone = condemned(1, at(minutes=3))
    kinds, again = decided_twice(a_fleet(4, lost(1, SILENT), gone, target=3))
    assert (kinds, again) == (["termination_requested"], [])


def test_the_commands_of_a_node_that_has_just_ended_are_closed_in_the_same_look() -> None:
    command = issued(1, CommandType.TERMINATE, node_id="lab-1")
    dismissed = ev.NodeDismissed(at(), "lab-1", "not needed")
    fleet = a_fleet(0, a_stranger(), command, dismissed)
    facts = decide(fleet, Sightings(), at(minutes=2), Strategies())
    kinds = [ev.kind(fact) for fact in facts]
    assert kinds == ["node_lost", "node_retired", "command_finished"]


def test_a_fleet_read_back_from_a_snapshot_decides_alike() -> None:
    others = [ev.PoolConfigured(at(), a_spec(name=pool, min_nodes=2)) for pool in ("b", "a")]
    fleet = a_fleet(0, others, target=1)
    again = fleets.decode(fleets.encode(fleet))
    assert again == fleet
    decided = decide(fleet, Sightings(), at(), Strategies())
    assert decide(again, Sightings(), at(), Strategies()) == decided
