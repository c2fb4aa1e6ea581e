"""The budget: how many nodes a pool may lose to repair, at one time, in a zone and in an hour."""

from __future__ import annotations

import pytest

from factories import (
    POOL,
    a_fleet,
    a_spec,
    at,
    condemned,
    ending,
    fold_all,
    lost,
    mending,
    name,
    sick,
)
from navarch.core.model import events as ev
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Outcome
from navarch.core.model.pool import HOUR, Disruption
from navarch.core.repair import budget

SILENT = at(minutes=2)
LATER = at(minutes=4)


def allowed(at_once: int, percent: float = 0.0, an_hour: int = 6, zone: int = 0) -> ev.Fact:
    """Return the configuration of a pool that may lose so many nodes to repair."""
    disruption = Disruption(at_once, percent, zone, an_hour)
    return ev.PoolConfigured(at(), a_spec(disruption=disruption))


def at_once(fleet: Fleet) -> int:
    return budget.at_once(fleet, fleet.pools[POOL])


def here(n: int, zone: str, region: str = "r") -> ev.NodeRegistered:
    """Return that the agent of machine n says where it is."""
    return ev.NodeRegistered(
        at(), name(n), pool=POOL, instance_id=name(n), region=region, zone=zone
    )


def test_one_at_a_time_by_default() -> None:
    assert at_once(a_fleet(5)) == 1


@pytest.mark.parametrize(
    "number,percent,expected", [(0, 0.0, 0), (2, 0.0, 2), (0, 50.0, 3), (2, 50.0, 3), (1, 16.0, 1)]
)
def test_the_larger_of_number_and_share_counts(number: int, percent: float, expected: int) -> None:
    assert at_once(a_fleet(7, allowed(number, percent))) == expected


def test_machines_in_replacement_use_it_up_until_they_are_gone() -> None:
    fleet = a_fleet(7, allowed(2), lost(1, SILENT), condemned(1, SILENT))
    assert at_once(fleet) == 1
    fold_all(ending(1, LATER), fleet=fleet)
    assert at_once(fleet) == 1
    fold_all(ev.InstanceTerminated(LATER, name(1), "gone"), fleet=fleet)
    assert at_once(fleet) == 2


@pytest.mark.parametrize("outcome", Outcome)
def test_a_repair_in_place_uses_it_up_until_it_ends(outcome: Outcome) -> None:
    fleet = a_fleet(7, allowed(2), sick(1, SILENT), mending(1, SILENT))
    assert at_once(fleet) == 1
    fold_all(ev.RepairEnded(LATER, name(1), outcome, "so it ended"), fleet=fleet)
    assert at_once(fleet) == 2


def test_repairs_of_another_pool_do_not_count() -> None:
    other = "serving-k3f9-0008"
    facts: list[ev.Fact] = [
        ev.PoolConfigured(at(), a_spec(name="serving")),
        ev.LaunchRequested(at(), other, "serving", "fake", "too few"),
        ev.NodeRegistered(at(), other, pool="serving", instance_id=other),
        ev.RepairStarted(at(), other, Remedy.REBOOT, "it is sick"),
    ]
    assert at_once(a_fleet(7, *facts)) == 1


def test_a_half_open_breaker_lets_one_through() -> None:
    halted = ev.RepairHalted(SILENT, POOL, "5 of 7 are silent")
    half_open = ev.RepairHalfOpened(LATER, POOL, "a person has looked", tolerated=5)
    fleet = a_fleet(7, allowed(4), halted, half_open)
    assert at_once(fleet) == 1
    fold_all(condemned(1, LATER), fleet=fleet)
    assert at_once(fleet) == 0


# --- zones -----------------------------------------------------------------------------------


def in_zone(fleet: Fleet, n: int) -> int:
    return budget.in_zone(fleet, fleet.pools[POOL], fleet.nodes[name(n)])


def test_without_a_limit_a_zone_has_what_the_pool_has() -> None:
    assert in_zone(a_fleet(3, allowed(2), here(1, "a")), 1) == 2


def test_both_kinds_of_repair_use_a_zone_up() -> None:
    places = [here(1, "a"), here(2, "a"), here(3, "a"), here(4, "b"), here(5, "a", "elsewhere")]
    fleet = a_fleet(5, allowed(9, zone=3), *places)
    assert [in_zone(fleet, n) for n in (1, 4, 5)] == [3, 3, 3]
    fold_all(condemned(1, SILENT), sick(2, SILENT), mending(2, SILENT), fleet=fleet)
    assert [in_zone(fleet, n) for n in (3, 4, 5)] == [1, 3, 3]


def test_a_zone_is_where_the_agent_says_that_it_is() -> None:
    """The machines were bought without a zone, and the provider has named none."""
    fleet = a_fleet(2, allowed(9, zone=1), here(1, "a"), here(2, "a"), condemned(1, SILENT))
    assert fleet.instances[name(1)].zone == ""
    assert in_zone(fleet, 2) == 0


# --- the hour --------------------------------------------------------------------------------


def test_both_kinds_of_repair_count_for_an_hour() -> None:
    fleet = a_fleet(9, allowed(9, an_hour=3), condemned(1, SILENT), sick(2, SILENT))
    fold_all(mending(2, LATER), fleet=fleet)
    pool = fleet.pools[POOL]
    assert budget.this_hour(pool, LATER) == 1
    assert budget.this_hour(pool, SILENT + HOUR) == 2
    assert budget.this_hour(pool, LATER + HOUR) == 3


def test_a_reprieve_does_not_give_the_hour_its_budget_back() -> None:
    back = ev.NodeReturned(at(minutes=3), name(1), "it speaks")
    fleet = a_fleet(5, allowed(1, an_hour=1), lost(1, SILENT), condemned(1, SILENT), back)
    assert at_once(fleet) == 1
    assert budget.this_hour(fleet.pools[POOL], LATER) == 0


def test_only_the_last_hour_is_remembered() -> None:
    fleet = a_fleet(9, *(condemned(n, at(minutes=20 * n)) for n in range(1, 9)))
    assert fleet.pools[POOL].replacements == tuple(at(minutes=20 * n) for n in (6, 7, 8))
