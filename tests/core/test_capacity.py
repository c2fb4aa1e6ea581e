"""Capacity: as many machines as are wanted, inside the limits, and patience with a bad provider."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from factories import (
    POOL,
    PROVIDER,
    SETTINGS,
    a_fleet,
    a_pool,
    a_spec,
    at,
    condemned,
    ending,
    fold_all,
    launched,
    lost,
    name,
    requested,
    running,
)
from navarch.core import capacity
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Intent
from navarch.core.model.pool import TROUBLE_MEMORY
from navarch.core.model.report import Health


def launches(fleet: Fleet, now: datetime | None = None) -> list[ev.LaunchRequested]:
    return list(capacity.launches(fleet, now or at(), SETTINGS))


def victims(fleet: Fleet) -> list[str]:
    return [fact.instance_id for fact in capacity.surplus(fleet, at(hours=1))]


# --- buying ----------------------------------------------------------------------------------


def test_what_is_missing_is_bought_and_says_why() -> None:
    fleet = a_fleet(1, target=2, spec=a_spec(labels={"team": "ml"}))
    assert launches(fleet) == [
        ev.LaunchRequested(
            at(),
            name(2),
            pool=POOL,
            provider=PROVIDER,
            because="1 of 2 nodes; a test wants so many",
            instance_type="h100-8x",
            region="us-west-2",
            labels={"team": "ml"},
        )
    ]


def test_nothing_is_bought_when_nothing_is_missing() -> None:
    assert launches(a_fleet(2)) == []


def test_booting_machines_count() -> None:
    assert launches(a_fleet(0, requested(1), requested(2), launched(2), target=2)) == []


def test_condemned_machines_do_not_count() -> None:
    fleet = a_fleet(2, lost(1, at()), condemned(1, at()))
    assert [fact.instance_id for fact in launches(fleet)] == [name(3)]


def test_machines_that_are_ending_count_against_the_maximum() -> None:
    fleet = a_fleet(3, ending(1, at()), ending(2, at()), target=3, spec=a_spec(max_nodes=4))
    assert len(launches(fleet)) == 1


def test_a_pool_above_its_maximum_buys_nothing() -> None:
    fleet = a_fleet(3, ending(1, at()), target=3)
    fold_all(ev.PoolConfigured(at(), a_spec(max_nodes=2)), fleet=fleet)
    assert launches(fleet) == []


@pytest.mark.parametrize(
    "fact",
    [ev.PoolPaused(at(), POOL, "maintenance"), ev.PoolRetired(at(), POOL, "not in the file")],
)
def test_a_sleeping_pool_neither_buys_nor_ends(fact: ev.Fact) -> None:
    assert launches(a_fleet(0, fact, target=2)) == []
    assert victims(a_fleet(2, fact, target=0)) == []


def test_an_id_is_never_given_twice() -> None:
    fleet = a_fleet(3)
    gone = [ev.InstanceTerminated(at(), name(n), "gone") for n in (1, 2, 3)]
    names = tuple(name(n) for n in (1, 2, 3))
    fold_all(*gone, ev.RecordsForgotten(at(), "old", names, names), fleet=fleet)
    assert [fact.instance_id for fact in launches(fleet)] == [name(4), name(5), name(6)]


def test_two_pools_share_one_row_of_numbers() -> None:
    other = a_spec(name="serving", min_nodes=2)
    fleet = a_fleet(0, ev.PoolConfigured(at(), other), target=1)
    ids = [fact.instance_id for fact in launches(fleet)]
    assert ids == ["training-k3f9-0001", "serving-k3f9-0002", "serving-k3f9-0003"]


def test_zones_take_turns() -> None:
    fleet = a_fleet(0, target=4, spec=a_spec(zones=("a", "b", "c")))
    assert [fact.zone for fact in launches(fleet)] == ["b", "c", "a", "b"]


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


def test_a_pool_in_trouble_buys_when_its_wait_is_over() -> None:
    fleet = a_fleet(0, target=1)
    for n in (1, 2, 3):
        refused = ev.LaunchFailed(at(), name(n), "NoCapacity", "none left")
        fold_all(requested(n), refused, fleet=fleet)
    assert launches(fleet, at(seconds=9)) == []
    assert len(launches(fleet, at(seconds=10))) == 1


# --- ending ----------------------------------------------------------------------------------


def test_what_is_too_many_is_ended_and_says_why() -> None:
    facts = list(capacity.surplus(a_fleet(2, target=1), at(hours=1)))
    because = "2 nodes, 1 wanted: a test wants so many"
    assert facts == [ev.TerminationRequested(at(hours=1), name(1), because)]


def test_nothing_is_ended_when_nothing_is_too_many() -> None:
    assert victims(a_fleet(2, target=2)) == []
    assert victims(a_fleet(2, target=3)) == []


def test_those_go_first_that_do_least() -> None:
    fleet = a_fleet(
        0,
        running(1, at(minutes=1)),
        running(2, at(minutes=2)),
        running(3),
        ev.IntentChanged(at(), name(3), Intent.CORDONED, "for a look"),
        running(4),
        lost(4, at(minutes=30)),
        running(5),
        ev.HealthJudged(at(), name(5), Health.UNHEALTHY, "XID 79"),
        requested(6),
        requested(7, at(minutes=50)),
        launched(7, at(minutes=51)),
    )
    # Not registered (youngest first), not serving, out of service by intent, then the youngest.
    assert victims(fleet) == [name(n) for n in (7, 6, 4, 5, 3, 2, 1)]


def test_degraded_nodes_still_serve() -> None:
    degraded = ev.HealthJudged(at(), name(1), Health.DEGRADED, "hot")
    fleet = a_fleet(0, running(1), degraded, running(2, at(minutes=1)), target=1)
    assert victims(fleet) == [name(2)]


def test_condemned_machines_are_not_ended_as_surplus() -> None:
    fleet = a_fleet(3, lost(1, at()), condemned(1, at()), target=2)
    assert victims(fleet) == []


def test_counting() -> None:
    refused = ev.LaunchFailed(at(), name(5), "NoCapacity", "none left")
    fleet = a_fleet(
        3, lost(1, at()), condemned(1, at()), ending(2, at()), requested(4), requested(5), refused
    )
    counted = capacity.count(fleet, fleet.pools[POOL])
    assert [instance.id for instance in counted.current] == [name(3), name(4)]
    assert counted.existing == 4
