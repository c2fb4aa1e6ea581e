"""The stages of machines' lives, as facts tell them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings

import worlds
from factories import (
    POOL,
    a_fleet,
    at,
    condemned,
    ending,
    flat,
    fold_all,
    founded,
    launched,
    lost,
    name,
    registered,
    releasing,
    requested,
    running,
    sick,
    well,
)
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.dashboard.past.lives import (
    LIVE,
    Counts,
    Kind,
    Lives,
    Present,
    Stage,
    counted,
    kind_of,
    stage_of,
)

KIND = Kind(POOL, "fake", "h100-8x", "us-west-2")


def read(*facts: object, fleet: Fleet | None = None) -> tuple[Lives, Fleet]:
    """Fold facts, and have lives read them."""
    told = flat(*facts)  # type: ignore[arg-type]
    fleet = fold_all(*told) if fleet is None else fleet
    lives = Lives()
    for fact in told:
        lives.read(fact, fleet)
    return lives, fleet


def stages(lives: Lives) -> list[Stage | None]:
    return [turn.after for turn in lives.turns(KIND)]


def count(lives: Lives, fleet: Fleet, *moments: datetime) -> Counts:
    present = asyncio.run(Present.of(fleet, list(fleet.pools)))
    when = [moment.timestamp() for moment in moments]
    return counted(lives.turns(KIND), present.counts.get(KIND, {}), when)


def test_a_life_goes_from_the_order_through_boot_and_service_to_its_end() -> None:
    lives, _ = read(
        founded(target=1),
        requested(1, at()),
        launched(1, at(minutes=1)),
        registered(1, at(minutes=5)),
        lost(1, at(minutes=10)),
        ev.NodeReturned(at(minutes=11), name(1), "it speaks again"),
        sick(1, at(minutes=12)),
        well(1, at(minutes=14)),
        releasing(1, at(minutes=15)),
        ending(1, at(minutes=20)),
        ev.InstanceTerminated(at(minutes=21), name(1), "gone from the list"),
    )
    assert stages(lives) == [
        *(Stage.ORDERED, Stage.BOOTING, Stage.SERVING, Stage.SILENT, Stage.SERVING),
        *(Stage.SICK, Stage.SERVING, Stage.LEAVING, Stage.ENDING, None),
    ]


def test_a_refused_launch_was_never_paid_for() -> None:
    refused = ev.LaunchFailed(at(minutes=1), name(1), "NoCapacity", "none left")
    lives, fleet = read(founded(target=1), requested(1, at()), refused)
    counts = count(lives, fleet, at(), at(minutes=2))
    assert stages(lives) == [Stage.ORDERED, None]
    assert counts.hours[Stage.BOOTING] == 0


def test_a_machine_condemned_for_silence_that_speaks_again_serves_again() -> None:
    lives, fleet = read(
        founded(target=1),
        running(1),
        lost(1, at(minutes=1)),
        condemned(1, at(minutes=2), "silence"),
        ev.DrainBegun(at(minutes=3), name(1), "its replacement serves"),
        ev.NodeReturned(at(minutes=4), name(1), "it speaks again"),
    )
    assert stages(lives)[-1] is Stage.SERVING
    assert stage_of(fleet.instances[name(1)], fleet.nodes[name(1)]) is Stage.SERVING


def test_counts_go_back_from_the_present_to_the_exact_minute() -> None:
    lives, fleet = read(
        founded(target=2),
        requested(1, at()),
        launched(1, at(minutes=1)),
        registered(1, at(minutes=6)),
        requested(2, at(minutes=30)),
        launched(2, at(minutes=30)),
        registered(2, at(minutes=40)),
        lost(1, at(minutes=50)),
    )
    counts = count(lives, fleet, at(), at(minutes=35), at(minutes=45), at(minutes=60))
    assert counts.of([Stage.SERVING]) == [0, 1, 2, 1]
    assert counts.of(LIVE) == [1, 2, 2, 2]
    assert round(counts.hours[Stage.BOOTING] * 60) == 5 + 10
    assert round(counts.hours[Stage.SERVING] * 60) == (50 - 6) + (60 - 40)
    assert round(counts.hours[Stage.SILENT] * 60) == 10


def test_a_machine_without_any_fact_in_the_window_was_all_along_what_it_is() -> None:
    fleet = a_fleet(3)
    counts = count(Lives(), fleet, at(hours=1), at(hours=2))
    assert counts.of([Stage.SERVING]) == [3, 3]
    assert counts.hours[Stage.SERVING] == 3


def test_a_machine_met_in_the_middle_of_its_life_was_what_its_first_fact_implies() -> None:
    fleet = a_fleet(3, lost(1, at(hours=2)), ending(2, at(hours=2)), sick(3, at(hours=2)))
    lives, _ = read(lost(1, at(hours=2)), ending(2, at(hours=2)), sick(3, at(hours=2)), fleet=fleet)
    counts = count(lives, fleet, at(hours=1), at(hours=3))
    assert counts.of([Stage.SERVING]) == [3, 0]


def test_nodes_that_nobody_launched_have_no_life_here() -> None:
    fleet = a_fleet(1)
    lives, _ = read(ev.NodeLost(at(minutes=1), "lab-1", "silent"), fleet=fleet)
    assert list(lives.kinds()) == []


def test_what_is_older_than_wanted_is_forgotten() -> None:
    lives, _ = read(founded(target=2), running(1, at()), running(2, at(hours=3)))
    lives.forget(at(hours=1).timestamp())
    assert {turn.at for turn in lives.turns(KIND)} == {at(hours=3).timestamp()}
    lives.forget(at(hours=9).timestamp())
    assert list(lives.kinds()) == []


def test_a_mistaken_stage_is_put_right_by_the_fleet_itself() -> None:
    fleet = a_fleet(1, sick(1, at(minutes=5)))
    lives = Lives()
    lives.read(well(1, at(minutes=4)), fleet)  # a fact that this fleet knows better about
    assert stages(lives) == []
    lives.settle(fleet)
    assert stages(lives) == [Stage.SICK]
    lives.settle(fleet)
    assert stages(lives) == [Stage.SICK]


@given(worlds.runs)
@settings(max_examples=25, deadline=None)
def test_lives_tell_the_same_as_the_fold(run: worlds.Run) -> None:
    machine, facts, _ = worlds.finished(run)
    fleet = machine.fleet
    lives = Lives()
    for fact in facts:
        lives.read(fact, fleet)
    mended = {fact.node_id for fact in facts if isinstance(fact, ev.RepairEnded)}
    expected: dict[Kind, dict[Stage, int]] = {}
    for instance in fleet.instances.values():
        stage = stage_of(instance, fleet.nodes.get(instance.id))
        if stage is not None:
            here = expected.setdefault(kind_of(instance), {})
            here[stage] = here.get(stage, 0) + 1
    if mended:  # which findings a repair paid is not said by the fact: the fleet has the last word
        lives.settle(fleet)
    told: dict[Kind, dict[Stage, int]] = {}
    for kind in lives.kinds():
        here = told.setdefault(kind, {})
        for _, before, after in lives.turns(kind):
            if before is not None:
                here[before] = here.get(before, 0) - 1
            if after is not None:
                here[after] = here.get(after, 0) + 1
    found = {kind: {s: n for s, n in here.items() if n} for kind, here in told.items()}
    assert {kind: here for kind, here in found.items() if here} == expected


def test_thousands_of_machines_are_counted_at_every_moment() -> None:
    base = datetime(2026, 5, 1, tzinfo=UTC)
    facts = flat(*(running(n, base + timedelta(seconds=n)) for n in range(2_000)))
    lives, _ = read(*facts, fleet=a_fleet())
    moments = [base.timestamp() + 10 * index for index in range(360)]
    counts = counted(lives.turns(KIND), {Stage.SERVING: 2_000}, moments)
    assert counts.of([Stage.SERVING])[0] == 1
    assert counts.of([Stage.SERVING])[-1] == 2_000
