"""The fleet: its indexes follow every fact, and a snapshot brings the same fleet back."""

from __future__ import annotations

from datetime import datetime

import msgspec
import pytest
from msgspec.structs import replace

from factories import (
    POOL,
    a_fleet,
    a_stranger,
    at,
    check,
    condemned,
    ending,
    fold_all,
    indexes,
    issued,
    launched,
    lost,
    name,
    refused,
    registered,
    releasing,
    requested,
    running,
)
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model.command import CommandType
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Lemon, Outcome, Told
from navarch.core.model.replica import ReplicaState
from navarch.core.model.report import Health

LEMON = "GPU-0"


def registered_with_a_lemon(when: datetime) -> ev.NodeRegistered:
    """Return that machine 1 has a GPU that made two others sick."""
    return replace(registered(1), at=when)


THERE = {"members", "bought_from"}
COUNTED = {*THERE, "current"}
SERVES = {*COUNTED, "serving"}

LIFE: list[tuple[ev.Fact, set[str]]] = [
    (requested(1), {*COUNTED, "booting"}),
    (ev.LaunchUncertain(at(), name(1), "timeout"), {*COUNTED, "booting", "uncertain"}),
    (launched(1), {*COUNTED, "booting"}),
    (running(1)[2], SERVES),
    (lost(1, at(minutes=2)), {*COUNTED, "lost"}),
    (condemned(1, at(minutes=3)), {*THERE, "lost", "condemned", "untold"}),
    (ev.NodeReturned(at(minutes=4), name(1), "it speaks"), SERVES),
    (ev.HealthReported(at(minutes=5), name(1), (check(),)), {*SERVES, "unjudged"}),
    (ev.HealthJudged(at(minutes=5), name(1), Health.HEALTHY, "fine"), SERVES),
    (ev.HealthJudged(at(minutes=6), name(1), Health.UNHEALTHY, "sick"), {*COUNTED, "ailing"}),
    (
        ev.RepairStarted(at(minutes=6), name(1), Remedy.REBOOT, "sick"),
        {*COUNTED, "ailing", "repairing", "untold"},
    ),
    (
        ev.WorkloadTold(at(minutes=6), name(1), Told.DRAINING, "it has agreed"),
        {*COUNTED, "ailing", "repairing", "emptying"},
    ),
    (
        ev.NodeEmptied(at(minutes=6), name(1), "it is idle"),
        {*COUNTED, "ailing", "repairing"},
    ),
    (
        ev.RepairEnded(at(minutes=6), name(1), Outcome.SUCCEEDED, "clean"),
        {*SERVES, "untold"},
    ),
    (ev.WorkloadTold(at(minutes=6), name(1), Told.OPEN, "it has agreed"), SERVES),
    (releasing(1, at(minutes=6)), {*THERE, "releasing", "untold"}),
    (ev.ReleaseRevoked(at(minutes=7), name(1), "wanted"), SERVES),
    (registered_with_a_lemon(at(minutes=8)), {*SERVES, "distrusted"}),
    (releasing(1, at(minutes=8)), {*THERE, "releasing", "distrusted", "untold"}),
    (
        ev.InterruptionNoticed(at(minutes=8), name(1), "spot"),
        {*THERE, "releasing", "interrupted", "distrusted", "untold"},
    ),
    (ending(1, at(minutes=9)), {*THERE, "ending"}),
    (ev.InstanceTerminated(at(minutes=10), name(1), "gone"), {"ended", "gone"}),
    (ev.RecordsForgotten(at(hours=9), "old", (name(1),), (name(1),)), set()),
]
"""The life of a machine, and which indexes name it after each fact."""


def test_the_indexes_follow_a_life() -> None:
    fleet = a_fleet(0)
    twice = Lemon(2, at(), "it made two machines sick")
    for fact, expected in LIFE:
        if "distrusted" in expected:
            fleet.lemons[LEMON] = twice
        fold_all(fact, fleet=fleet)
        assert {index for index, ids in indexes(fleet).items() if ids} == expected, fact
        assert indexes(Fleet(fleet.records())) == indexes(fleet), fact


AGENTS = "default/chat"
REPLICA = "chat-k3f9-r00001"
WAITS = {"replicas_of", "replicas_pending"}
PLACED = {"replicas_of", "replicas_on"}

REPLICAS_LIFE: list[tuple[ev.Fact, set[str]]] = [
    (ev.ReplicaRequested(at(), REPLICA, AGENTS, "wanted"), WAITS),
    (ev.ReplicaPlaced(at(), REPLICA, "n1", "fits", gpus=(0,)), PLACED),
    (ev.ReplicaAdvanced(at(), REPLICA, ReplicaState.READY, "answers"), PLACED),
    (ev.ReplicaDisplaced(at(), REPLICA, "n1", "lost"), WAITS),
    (ev.ReplicaPlaced(at(), REPLICA, "n2", "fits", gpus=(1,)), PLACED),
    (ev.ReplicaStopping(at(), REPLICA, "too many"), PLACED),
    (ev.ReplicaEnded(at(), REPLICA, "stopped"), {"replicas_ended"}),
    (ev.ReplicasForgotten(at(), (REPLICA,)), set()),
]
"""The life of a replica, and which indexes name it after each fact."""


def test_the_indexes_follow_a_replica() -> None:
    fleet = Fleet()
    for fact, expected in REPLICAS_LIFE:
        fold_all(fact, fleet=fleet)
        assert {index for index, ids in indexes(fleet).items() if ids} == expected, fact
        assert indexes(Fleet(fleet.records())) == indexes(fleet), fact


STRANGERS_LIFE: list[tuple[ev.Fact, set[str]]] = [
    (a_stranger(), {"foreign", "serving"}),
    (ev.NodeDismissed(at(minutes=1), "lab-1", "not needed"), {"foreign"}),
    (ev.RecordsForgotten(at(hours=9), "old", (), ("lab-1",)), set()),
]
"""The life of a machine that nobody bought here, and which indexes name it after each fact."""


def test_the_indexes_follow_a_stranger() -> None:
    fleet = Fleet()
    for fact, expected in STRANGERS_LIFE:
        fold_all(fact, fleet=fleet)
        assert {index for index, ids in indexes(fleet).items() if ids} == expected, fact
        assert indexes(Fleet(fleet.records())) == indexes(fleet), fact


def test_every_index_has_its_part_in_a_life() -> None:
    lives = (*LIFE, *REPLICAS_LIFE, *STRANGERS_LIFE)
    assert set().union(*(named for _, named in lives)) == set(indexes(Fleet()))


@pytest.mark.parametrize(
    "facts",
    [
        (requested(1), ev.LaunchUncertain(at(), name(1), "timeout"), refused(1)),
        (running(1), releasing(1), ev.InstanceVanished(at(minutes=1), name(1), "gone")),
        (running(1), condemned(1, at()), ev.InstanceVanished(at(minutes=1), name(1), "gone")),
        (requested(1), ending(1, at()), ev.InstanceTerminated(at(), name(1), "never was")),
    ],
)
def test_what_has_ended_is_waited_for_no_more_and_forgotten_wholly(
    facts: tuple[ev.Fact, ...],
) -> None:
    fleet = a_fleet(0, *facts)
    assert {index for index, ids in indexes(fleet).items() if ids} <= {"ended", "gone"}
    fold_all(ev.RecordsForgotten(at(hours=48), "old", (name(1),), (name(1),)), fleet=fleet)
    assert not any(indexes(fleet).values())


def test_the_machines_of_a_pool_are_those_that_have_not_ended_oldest_first() -> None:
    other = [requested(4, pool="serving")]
    gone = ev.InstanceTerminated(at(), name(2), "gone")
    fleet = a_fleet(3, ending(2, at()), gone, requested(5), other, ending(1, at()))
    ids = [instance.id for instance in fleet.instances_of(POOL)]
    assert ids == [name(1), name(3), name(5)]
    assert [instance.id for instance in fleet.instances_of("serving")] == ["serving-k3f9-0004"]
    assert list(fleet.instances_of("nowhere")) == []


def test_a_snapshot_holds_the_records_and_brings_the_indexes_back() -> None:
    fleet = a_fleet(3, requested(4), lost(1, at()), ending(2, at()), refused(4), a_stranger())
    again = fleets.decode(fleets.encode(fleet))
    assert again == fleet
    assert indexes(again) == indexes(fleet)
    assert [i.id for i in again.instances_of(POOL)] == [i.id for i in fleet.instances_of(POOL)]
    assert set(msgspec.json.decode(fleets.encode(fleet))) <= set(fleets.Snapshot.__struct_fields__)


def test_a_snapshot_of_nothing_is_nothing() -> None:
    assert fleets.encode(Fleet()) == b"{}"
    assert fleets.decode(b"{}") == Fleet()


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"pools": 7}', b'{"serial": "x"}'])
def test_what_is_no_snapshot_is_refused(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        fleets.decode(raw)


def test_a_copy_does_not_notice_what_happens_to_its_original() -> None:
    fleet = a_fleet(3, issued(1, CommandType.CORDON))
    copy = fleet.copy()
    before = fleets.encode(copy), indexes(copy)
    assert (copy, indexes(copy)) == (fleet, indexes(fleet))
    fold_all(ending(1, at()), lost(2, at()), releasing(3), requested(4), fleet=fleet)
    fold_all(issued(2, CommandType.REBOOT), fleet=fleet)
    assert (fleets.encode(copy), indexes(copy)) == before


def test_a_fleet_is_compared_by_its_records() -> None:
    assert a_fleet(2) == a_fleet(2)
    assert a_fleet(2) != a_fleet(3)
    assert Fleet() != "a fleet"
