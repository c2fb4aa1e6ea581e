"""Capacity: who counts, who is let go first and how, and who is called back before buying."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from factories import (
    POOL,
    SETTINGS,
    a_fleet,
    a_pool,
    a_sample,
    a_spec,
    at,
    condemned,
    drained,
    ending,
    fold_all,
    issued,
    launched,
    lost,
    name,
    refused,
    registered,
    releasing,
    requested,
    running,
    sick,
)
from navarch.core import capacity
from navarch.core.model import events as ev
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Intent, Phase
from navarch.core.model.pool import TROUBLE_MEMORY
from navarch.core.model.report import Health
from navarch.core.model.sightings import Sightings

LATER = at(hours=1)


def surplus(fleet: Fleet, now: datetime = LATER, seen: Sightings | None = None) -> list[ev.Fact]:
    return list(capacity.surplus(fleet, seen or Sightings(), now, SETTINGS))


def victims(fleet: Fleet, seen: Sightings | None = None) -> list[str]:
    """Name the machines that are let go, drained or not."""
    return [
        fact.instance_id
        for fact in surplus(fleet, seen=seen)
        if isinstance(fact, ev.ReleaseRequested | ev.TerminationRequested)
    ]


def called_back(fleet: Fleet, now: datetime = LATER) -> list[ev.Fact]:
    return list(capacity.called_back(fleet, now, SETTINGS))


def released(fleet: Fleet, now: datetime) -> list[ev.TerminationRequested]:
    return list(capacity.released(fleet, now, SETTINGS))


def judged(n: int, health: Health) -> ev.HealthJudged:
    return ev.HealthJudged(at(), name(n), health, "its checks")


def meant(n: int, intent: Intent) -> ev.IntentChanged:
    return ev.IntentChanged(at(), name(n), intent, "an operator")


# --- counting --------------------------------------------------------------------------------


def test_counting() -> None:
    fleet = a_fleet(
        4,
        (lost(1, at()), condemned(1, at()), ending(2, at()), releasing(3)),
        (requested(5), requested(6), refused(6), requested(7), launched(7)),
    )
    counted = capacity.count(fleet, fleet.pools[POOL])
    assert [each.id for each in fleet.current_of(POOL)] == [name(4), name(5), name(7)]
    assert counted.current == 3
    assert (counted.existing, counted.ending) == (6, 1)


def test_a_pool_without_machines_counts_none() -> None:
    fleet = a_fleet(0)
    assert capacity.count(fleet, fleet.pools[POOL]) == capacity.Count(0, 0, 0)


# --- patience --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failures,expected",
    [
        (1, timedelta()),
        (2, timedelta(seconds=5)),
        (3, timedelta(seconds=10)),
        (7, timedelta(seconds=160)),
        (8, timedelta(minutes=5)),
        (10_000, timedelta(minutes=5)),
    ],
)
def test_the_wait_doubles_with_each_failure_up_to_a_limit(
    failures: int, expected: timedelta
) -> None:
    pool = a_pool(failures=failures, failed_at=at())
    assert capacity.retry_at(pool, at(), SETTINGS) == at() + expected


def test_a_pool_without_failures_buys_at_once() -> None:
    assert capacity.retry_at(a_pool(), at(minutes=7), SETTINGS) == at(minutes=7)


def test_failures_long_ago_are_forgotten() -> None:
    pool = a_pool(failures=9, failed_at=at())
    now = at() + TROUBLE_MEMORY
    assert capacity.retry_at(pool, now, SETTINGS) == now


# --- who goes first --------------------------------------------------------------------------


def test_nobody_goes_when_nothing_is_too_many() -> None:
    assert surplus(a_fleet(2, target=2)) == []
    assert surplus(a_fleet(2, target=3)) == []


def having_said(loads: dict[int, float]) -> Sightings:
    """Return what is seen when nodes have said how busy they are."""
    seen = Sightings()
    for n, load in loads.items():
        seen.samples.record(name(n), at(), a_sample(load))
    return seen


def test_those_go_first_that_do_least() -> None:
    fleet = a_fleet(
        0,
        [fact for n in range(1, 9) for fact in running(n, at(minutes=n))],
        (lost(4, at(minutes=30)), judged(5, Health.UNHEALTHY)),
        (meant(3, Intent.CORDONED), meant(2, Intent.DRAINING), meant(1, Intent.DRAINED)),
        (requested(9), requested(10, at(minutes=50)), launched(10, at(minutes=51))),
    )
    loads = {6: 70.0, 7: 20.0, 3: 99.0}
    seen = having_said(loads)
    # Not registered (youngest first), not serving, drained, draining, cordoned, by load (one that
    # was never measured counts as full), and then the youngest.
    order = (10, 9, 5, 4, 1, 2, 3, 7, 6, 8)
    assert victims(fleet, seen) == [name(n) for n in order]


def test_the_youngest_of_equals_goes_first() -> None:
    fleet = a_fleet(0, *(running(n, at(minutes=m)) for n, m in ((1, 5), (2, 9), (3, 7))), target=1)
    assert victims(fleet) == [name(2), name(3)]


def test_an_idle_node_goes_before_a_younger_busy_one() -> None:
    fleet = a_fleet(0, running(1), running(2, at(minutes=9)), target=1)
    seen = having_said({1: 3.0, 2: 80.0})
    assert victims(fleet, seen) == [name(1)]


def test_degraded_nodes_still_serve() -> None:
    fleet = a_fleet(0, running(1), judged(1, Health.DEGRADED), running(2, at(minutes=1)), target=1)
    assert victims(fleet) == [name(2)]


def test_a_pool_never_goes_below_its_target() -> None:
    fleet = a_fleet(5, lost(1, at()), lost(2, at()), target=4)
    assert victims(fleet) == [name(1)]


def test_condemned_and_released_machines_are_not_let_go_again() -> None:
    fleet = a_fleet(4, lost(1, at()), condemned(1, at()), releasing(2), target=2)
    assert victims(fleet) == []


@pytest.mark.parametrize(
    "fact",
    [ev.PoolPaused(at(), POOL, "maintenance"), ev.PoolRetired(at(), POOL, "not in the file")],
)
def test_a_sleeping_pool_neither_shrinks_nor_grows(fact: ev.Fact) -> None:
    assert surplus(a_fleet(2, fact, target=0)) == []
    asleep = a_fleet(2, releasing(1), fact, target=2)
    assert called_back(asleep) == []
    assert released(asleep, at(hours=1)) == []


# --- letting go ------------------------------------------------------------------------------


def test_a_node_that_serves_is_drained_first_and_the_facts_say_why() -> None:
    because = "2 nodes, 1 wanted: a test wants so many"
    assert surplus(a_fleet(2, target=1)) == [
        ev.ReleaseRequested(LATER, name(1), because),
        ev.CommandIssued(
            LATER,
            "cmd-k3f9-000001",
            name(1),
            CommandType.DRAIN,
            LATER + SETTINGS.command_timeout,
            reason="the pool shrinks",
        ),
    ]


@pytest.mark.parametrize(
    "facts",
    [
        (requested(1),),
        (requested(1), launched(1)),
        (running(1), lost(1, at(minutes=2))),
    ],
)
def test_what_serves_nobody_is_ended_at_once(facts: tuple[ev.Fact, ...]) -> None:
    because = "1 nodes, 0 wanted: a test wants so many"
    fleet = a_fleet(0, *facts)
    assert surplus(fleet) == [ev.TerminationRequested(LATER, name(1), because)]


def test_a_sick_node_that_speaks_is_drained_like_any_other() -> None:
    """It may run jobs, whatever is wrong with one of its GPUs."""
    facts = surplus(a_fleet(1, judged(1, Health.UNHEALTHY), target=0))
    assert [ev.kind(fact) for fact in facts] == ["release_requested", "command_issued"]


def test_every_command_of_a_look_has_its_own_id() -> None:
    other = ev.PoolConfigured(at(), a_spec(name="b"))
    nodes = [fact for n in (3, 4) for fact in running(n, pool="b")]
    facts = surplus(a_fleet(2, issued(1, CommandType.REBOOT), other, nodes, target=0))
    ids = [fact.command_id for fact in facts if isinstance(fact, ev.CommandIssued)]
    assert ids == [f"cmd-k3f9-00000{n}" for n in (2, 3, 4, 5)]


def test_a_released_node_takes_no_more_work_and_forgets_earlier_drains() -> None:
    drain = issued(1, CommandType.DRAIN)
    fleet = a_fleet(1, drain, drained(1, drain, at(minutes=1)))
    assert fleet.nodes[name(1)].drained_at == at(minutes=1)
    fold_all(releasing(1, at(minutes=2)), fleet=fleet)
    node, instance = fleet.nodes[name(1)], fleet.instances[name(1)]
    assert (node.phase, node.drained_at, node.serving) == (Phase.LEAVING, None, False)
    assert (instance.releasing_since, instance.live) == (at(minutes=2), True)
    assert node.status.value == "draining"


def test_a_released_node_is_ended_when_it_is_drained() -> None:
    drain = issued(1, CommandType.DRAIN, at(minutes=2))
    fleet = a_fleet(1, releasing(1, at(minutes=2)), drain, target=0)
    assert released(fleet, at(minutes=3)) == []
    fold_all(drained(1, drain, at(minutes=3)), fleet=fleet)
    expected = ev.TerminationRequested(at(minutes=3), name(1), "it is drained; too many")
    assert released(fleet, at(minutes=3)) == [expected]


@pytest.mark.parametrize("state", [CommandState.FAILED, CommandState.REFUSED, CommandState.EXPIRED])
def test_a_drain_without_success_does_not_count_as_drained(state: CommandState) -> None:
    drain = issued(1, CommandType.DRAIN, at(minutes=2))
    result = ev.CommandFinished(at(minutes=3), drain.command_id, name(1), state)
    fleet = a_fleet(1, releasing(1, at(minutes=2)), drain, result, target=0)
    assert released(fleet, at(minutes=4)) == []


def test_the_result_of_a_drain_from_before_the_release_does_not_count() -> None:
    """It was released, called back and released again, before the first result came."""
    first, second = (issued(n, CommandType.DRAIN, at(minutes=n)) for n in (1, 3))
    back = ev.ReleaseRevoked(at(minutes=2), name(1), "wanted again")
    uncordon = issued(2, CommandType.UNCORDON, at(minutes=2))
    fleet = a_fleet(1, releasing(1, at(minutes=1)), first, back, uncordon, target=0)
    fold_all(releasing(1, at(minutes=3)), second, drained(1, first, at(minutes=4)), fleet=fleet)
    assert released(fleet, at(minutes=4)) == []
    fold_all(drained(1, second, at(minutes=5)), fleet=fleet)
    assert len(released(fleet, at(minutes=5))) == 1


def test_a_released_node_that_falls_silent_is_ended() -> None:
    fleet = a_fleet(1, releasing(1), lost(1, at(minutes=2)), target=0)
    because = "nothing is heard from it; too many"
    expected = ev.TerminationRequested(at(minutes=2), name(1), because)
    assert released(fleet, at(minutes=2)) == [expected]


@pytest.mark.parametrize("seconds,expected", [(900, 0), (901, 1)])
def test_a_drain_may_take_a_quarter_of_an_hour(seconds: int, expected: int) -> None:
    facts = released(a_fleet(1, releasing(1), target=0), at(seconds=seconds))
    assert len(facts) == expected
    assert all(fact.because.startswith("not drained within 0:15:00") for fact in facts)


def test_a_restart_of_ours_is_not_taken_off_the_time_to_drain() -> None:
    fleet = a_fleet(1, releasing(1), ev.Resumed(at(hours=5), "0.1.0"), target=0)
    assert released(fleet, at(hours=5, minutes=15)) == []
    assert len(released(fleet, at(hours=5, minutes=16))) == 1


def test_a_machine_that_is_ending_is_not_released_any_more() -> None:
    fleet = a_fleet(1, releasing(1), ending(1, at(minutes=1)), target=0)
    assert released(fleet, at(hours=1)) == []
    assert fleet.releasing == {}


# --- calling back ----------------------------------------------------------------------------


def test_a_pool_that_grows_calls_back_and_the_agent_is_told() -> None:
    assert called_back(a_fleet(2, releasing(1), target=2)) == [
        ev.ReleaseRevoked(LATER, name(1), "1 of 2 nodes: a test wants so many"),
        ev.CommandIssued(
            LATER,
            "cmd-k3f9-000001",
            name(1),
            CommandType.UNCORDON,
            LATER + SETTINGS.command_timeout,
            reason="the pool grows again",
        ),
    ]


def test_a_node_that_was_called_back_serves_again() -> None:
    fleet = a_fleet(2, releasing(1), target=2)
    fold_all(called_back(fleet), fleet=fleet)
    node = fleet.nodes[name(1)]
    assert (node.phase, node.serving, fleet.instances[name(1)].releasing) == (
        Phase.ACTIVE,
        True,
        False,
    )
    assert fleet.releasing == {}


def test_no_more_are_called_back_than_are_missing_the_oldest_first() -> None:
    fleet = a_fleet(4, *(releasing(n) for n in (3, 2, 1)), target=3)
    ids = [fact.instance_id for fact in called_back(fleet) if isinstance(fact, ev.ReleaseRevoked)]
    assert ids == [name(1), name(2)]


def test_nobody_is_called_back_when_nothing_is_missing() -> None:
    assert called_back(a_fleet(2, releasing(1), target=1)) == []
    assert called_back(a_fleet(2, target=2)) == []


@pytest.mark.parametrize("intent", [Intent.CORDONED, Intent.DRAINING, Intent.DRAINED])
def test_calling_back_does_not_undo_what_an_operator_wants(intent: Intent) -> None:
    facts = called_back(a_fleet(2, meant(1, intent), releasing(1), target=2))
    assert [ev.kind(fact) for fact in facts] == ["release_revoked"]


def test_a_silent_node_is_not_called_back() -> None:
    assert called_back(a_fleet(2, releasing(1), lost(1, at(minutes=2)), target=2)) == []


def test_a_sick_node_is_not_called_back() -> None:
    assert called_back(a_fleet(2, releasing(1), sick(1, at(minutes=2)), target=2)) == []


def test_a_machine_that_is_ending_is_not_called_back() -> None:
    fleet = a_fleet(2, releasing(1), ending(1, at(minutes=1)), target=2)
    assert called_back(fleet) == []


def test_registering_again_is_no_way_to_be_called_back() -> None:
    fleet = a_fleet(2, releasing(1), registered(1, at(minutes=1)), target=1)
    assert fleet.nodes[name(1)].phase is Phase.LEAVING
