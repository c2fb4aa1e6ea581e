"""Targets: an autoscaler's word becomes a wish, within the limits and not against an operator."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from factories import (
    POOL,
    a_fleet,
    a_pool,
    a_spec,
    advised,
    at,
    condemned,
    ending,
    fold_all,
    launched,
    lost,
    refused,
    releasing,
    requested,
)
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.sightings import Recommendation, Sightings
from navarch.core.scaling import target
from navarch.core.scaling.base import PoolMetrics

NOW = at(minutes=5)
SPEC = a_spec(min_nodes=2, max_nodes=8)


def changes(fleet: Fleet, seen: Sightings) -> list[tuple[int, str]]:
    facts = list(target.targets(fleet, seen, NOW))
    assert all((fact.at, fact.pool) == (NOW, POOL) for fact in facts)
    return [(fact.target, fact.because) for fact in facts]


# --- following -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted,expected",
    [
        (5, (5, "queue: queue 12")),
        (2, (2, "queue: queue 12")),
        (8, (8, "queue: queue 12")),
        (0, (2, "queue: queue 12; raised from 0 to min_nodes 2")),
        (-7, (2, "queue: queue 12; raised from -7 to min_nodes 2")),
        (13, (8, "queue: queue 12; cut from 13 to max_nodes 8")),
    ],
)
def test_a_word_is_followed_within_the_limits_and_a_cut_is_named(
    wanted: int, expected: tuple[int, str]
) -> None:
    fleet = a_fleet(0, spec=SPEC, target=3)
    assert changes(fleet, advised(wanted, at(minutes=4))) == [expected]


def test_nothing_changes_when_the_target_is_already_that() -> None:
    fleet = a_fleet(0, spec=SPEC, target=8)
    assert changes(fleet, advised(8, NOW)) == []
    assert changes(fleet, advised(99, NOW)) == []


def test_a_word_that_holds_changes_nothing() -> None:
    fleet = a_fleet(0, spec=SPEC, target=3)
    assert changes(fleet, advised(5, NOW, held=True)) == []


def test_a_pool_without_an_autoscaler_keeps_its_target() -> None:
    assert changes(a_fleet(0, target=3), Sightings()) == []
    assert changes(a_fleet(0, target=3), advised(5, NOW, pool="serving")) == []


@pytest.mark.parametrize(
    "fact",
    [ev.PoolPaused(at(), POOL, "maintenance"), ev.PoolRetired(at(), POOL, "not in the file")],
)
def test_a_sleeping_pool_does_not_listen(fact: ev.Fact) -> None:
    assert changes(a_fleet(0, fact, target=3), advised(5, NOW)) == []


def test_following_is_done_once() -> None:
    fleet, seen = a_fleet(0, spec=SPEC, target=3), advised(5, NOW)
    fold_all(target.targets(fleet, seen, NOW), fleet=fleet)
    assert fleet.pools[POOL].target == 5
    assert fleet.pools[POOL].target_changed_at == NOW
    assert changes(fleet, seen) == []


# --- who spoke last --------------------------------------------------------------------------


@pytest.mark.parametrize("minutes,expected", [(1, []), (2, []), (3, [5])])
def test_a_word_from_before_the_last_change_is_not_followed(
    minutes: int, expected: list[int]
) -> None:
    """An operator scaled at minute 2: what was said until then did not know of it."""
    by_operator = ev.TargetChanged(at(minutes=2), POOL, 3, "scaled to 3 by an operator")
    fleet = a_fleet(0, by_operator, spec=SPEC)
    followed = [number for number, _ in changes(fleet, advised(5, at(minutes=minutes)))]
    assert followed == expected


def test_a_pool_that_never_changed_hears_any_word() -> None:
    fleet = fold_all(ev.PoolConfigured(at(), SPEC))
    assert changes(fleet, advised(5, at())) == [(5, "queue: queue 12")]


def test_a_limit_that_was_moved_does_not_bring_an_old_word_back() -> None:
    fleet, seen = a_fleet(0, spec=SPEC, target=3), advised(12, at(minutes=4))
    fold_all(target.targets(fleet, seen, at(minutes=4)), fleet=fleet)
    fold_all(ev.PoolConfigured(NOW, replace(SPEC, max_nodes=20)), fleet=fleet)
    assert (fleet.pools[POOL].target, changes(fleet, seen)) == (8, [])


def test_cutting_names_who_said_it() -> None:
    word = Recommendation(at(), 9, "it is Monday", "scheduled")
    pool = a_pool(spec=a_spec(max_nodes=4))
    expected = (4, "scheduled: it is Monday; cut from 9 to max_nodes 4")
    assert target.within_limits(pool, word) == expected


# --- what autoscalers see --------------------------------------------------------------------


def test_what_boots_or_is_still_to_be_bought_counts_as_current_and_is_not_sick() -> None:
    fleet = a_fleet(1, requested(2), requested(3), launched(3), target=5)
    state = target.pool_state(fleet, fleet.pools[POOL], PoolMetrics(), NOW)
    assert (state.current_nodes, state.healthy_nodes, state.booting_nodes) == (5, 1, 4)
    assert state.unhealthy_nodes == 0


def test_of_the_registered_only_those_count_that_are_wanted() -> None:
    fleet = a_fleet(
        6,
        (lost(1, at()), condemned(1, at()), ending(2, at()), releasing(3), lost(4, at())),
        (requested(7), refused(7)),
        target=3,
    )
    state = target.pool_state(fleet, fleet.pools[POOL], PoolMetrics(), NOW)
    assert (state.current_nodes, state.healthy_nodes, state.booting_nodes) == (3, 2, 0)
    assert state.unhealthy_nodes == 1


def test_more_than_are_wanted_do_not_make_anybody_boot() -> None:
    fleet = a_fleet(5, target=2)
    state = target.pool_state(fleet, fleet.pools[POOL], PoolMetrics(), NOW)
    assert (state.current_nodes, state.booting_nodes, state.unhealthy_nodes) == (2, 0, 0)


def test_a_state_carries_the_limits_the_metrics_and_the_time() -> None:
    spec = replace(SPEC, cooldown=timedelta(minutes=7))
    fleet = fold_all(ev.PoolConfigured(at(), spec))
    metrics = PoolMetrics(utilization=55.0, queue_depth=12)
    state = target.pool_state(fleet, fleet.pools[POOL], metrics, NOW)
    assert (state.name, state.min_nodes, state.max_nodes) == (POOL, 2, 8)
    assert (state.metrics, state.now) == (metrics, NOW)
    assert (state.cooldown_period, state.last_scale_time) == (timedelta(minutes=7), None)
    fold_all(ev.TargetChanged(at(minutes=1), POOL, 4, "more"), fleet=fleet)
    state = target.pool_state(fleet, fleet.pools[POOL], metrics, NOW)
    assert (state.last_scale_time, state.cooldown_left) == (at(minutes=1), timedelta(minutes=3))
