"""The ladder: the lowest rung that is high enough, allowed, and not tried lately; or a person."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from factories import (
    POOL,
    SETTINGS,
    a_finding,
    a_fleet,
    a_spec,
    a_stranger,
    at,
    fold_all,
    gpus,
    mending,
    name,
    registered,
    sick,
    xid,
)
from navarch.core.model import events as ev
from navarch.core.model.finding import RUNG, Finding, Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Outcome
from navarch.core.model.pool import PoolSpec
from navarch.core.model.report import Health
from navarch.core.repair import ladder

RESET, REBOOT, REPLACE, INSPECT = (
    Remedy.RESET_GPU,
    Remedy.REBOOT,
    Remedy.REPLACE,
    Remedy.INSPECT,
)
ALL = (RESET, REBOOT, REPLACE)
NOW = at(hours=1)


def tried(rung: Remedy, outcome: Outcome = Outcome.FAILED, hours: float = 0.5) -> list[ev.Fact]:
    """Return that a repair of node 1 was tried and came to this."""
    return [mending(1, at(), rung), ev.RepairEnded(at(hours=hours), name(1), outcome, "so")]


def due(fleet: Fleet, hours: float = 1) -> Remedy:
    pool, node = fleet.pools[POOL], fleet.nodes[name(1)]
    return ladder.due(fleet, pool, node, at(hours=hours), SETTINGS)


def a_sick_fleet(
    remedy: Remedy, *facts: ev.Fact, rungs: tuple[Remedy, ...] = ALL, **spec: object
) -> Fleet:
    return a_fleet(3, sick(1, at(), a_finding(remedy)), *facts, spec=a_spec(ladder=rungs, **spec))


def test_the_rungs_are_in_the_order_of_their_gravity() -> None:
    assert sorted(RUNG, key=RUNG.__getitem__) == list(Remedy)
    assert list(ladder.ACTIVE_RUNGS) == [RESET, REBOOT, REPLACE]


# --- what is asked for -----------------------------------------------------------------------


@pytest.mark.parametrize("remedy", [Remedy.NONE, Remedy.OBSERVE, Remedy.RESTART_APP])
def test_what_asks_only_to_be_watched_leads_to_nothing(remedy: Remedy) -> None:
    fleet = a_sick_fleet(remedy)
    assert ladder.gravest(fleet.nodes[name(1)]) is None
    assert due(fleet) is Remedy.NONE


@pytest.mark.parametrize("status", [Health.UNKNOWN, Health.HEALTHY, Health.DEGRADED])
def test_only_what_is_unhealthy_leads_to_a_repair(status: Health) -> None:
    fleet = a_fleet(1, sick(1, at(), a_finding(status=status)))
    assert due(fleet) is Remedy.NONE


def test_the_finding_that_asks_for_most_decides() -> None:
    findings = [a_finding(remedy) for remedy in (RESET, REPLACE, Remedy.OBSERVE, REBOOT)]
    fleet = a_fleet(1, sick(1, at(), *findings), spec=a_spec(ladder=ALL))
    assert ladder.gravest(fleet.nodes[name(1)]) == findings[1]
    assert due(fleet) is REPLACE


# --- what is allowed -------------------------------------------------------------------------


def test_by_default_a_node_is_only_replaced() -> None:
    assert PoolSpec("a", "b").ladder == (REPLACE,)
    for remedy in ALL:
        assert due(a_sick_fleet(remedy, rungs=(REPLACE,))) is REPLACE


@pytest.mark.parametrize("remedy", ALL)
def test_the_rung_that_is_asked_for_is_taken_where_it_is_allowed(remedy: Remedy) -> None:
    assert due(a_sick_fleet(remedy)) is remedy


def test_a_lower_rung_than_asked_for_is_never_taken() -> None:
    assert due(a_sick_fleet(REPLACE, rungs=(RESET, REBOOT))) is INSPECT
    assert due(a_sick_fleet(REBOOT, rungs=(RESET, REPLACE))) is REPLACE


def test_the_order_of_the_configuration_does_not_matter() -> None:
    assert due(a_sick_fleet(RESET, rungs=(REPLACE, RESET, REBOOT))) is RESET


def test_without_auto_replace_replacing_is_for_a_person() -> None:
    assert due(a_sick_fleet(REPLACE, auto_replace=False)) is INSPECT
    assert due(a_sick_fleet(RESET, auto_replace=False)) is RESET
    assert due(a_sick_fleet(RESET, rungs=(REPLACE,), auto_replace=False)) is INSPECT


def test_a_machine_that_we_did_not_launch_is_not_replaced() -> None:
    judged = ev.HealthJudged(at(), "lab-1", Health.UNHEALTHY, "sick", (a_finding(RESET),))
    fleet = a_fleet(1, a_stranger(), judged, spec=a_spec(ladder=ALL))
    allowed = ladder.allowed(fleet, fleet.pools[POOL], fleet.nodes["lab-1"])
    assert allowed == (RESET, REBOOT)


def test_what_needs_a_person_gets_one() -> None:
    assert due(a_sick_fleet(INSPECT)) is INSPECT


# --- escalation ------------------------------------------------------------------------------


def test_a_reset_that_did_not_help_is_followed_by_a_reboot_and_that_by_a_replacement() -> None:
    fleet = a_sick_fleet(RESET)
    seen = [due(fleet)]
    for rung in (RESET, REBOOT):
        fold_all(tried(rung), fleet=fleet)
        seen.append(due(fleet))
    assert seen == [RESET, REBOOT, REPLACE]


def test_when_the_ladder_is_climbed_a_person_has_to_look() -> None:
    fleet = a_sick_fleet(RESET, *tried(RESET), *tried(REBOOT), rungs=(RESET, REBOOT))
    assert due(fleet) is INSPECT


def test_a_repair_that_helped_for_a_while_is_not_tried_again_either() -> None:
    fleet = a_sick_fleet(RESET, *tried(RESET, Outcome.SUCCEEDED))
    assert due(fleet) is Remedy.NONE
    fold_all(sick(1, at(hours=0.9), a_finding(RESET)), fleet=fleet)
    assert due(fleet) is REBOOT


def test_a_repair_that_was_called_off_does_not_count() -> None:
    assert due(a_sick_fleet(RESET, *tried(RESET, Outcome.REVOKED))) is RESET


def test_after_a_day_it_may_be_tried_again() -> None:
    fleet = a_sick_fleet(RESET, *tried(RESET))
    assert due(fleet, hours=24.49) is REBOOT
    assert due(fleet, hours=24.51) is RESET


def test_a_node_that_was_repaired_too_often_is_replaced_or_handed_over() -> None:
    """Three attempts within a day: neither of the lower rungs is taken any more."""
    attempts = [*tried(RESET), *tried(RESET), *tried(RESET)]
    assert due(a_sick_fleet(RESET, *attempts[:4])) is REBOOT
    assert due(a_sick_fleet(RESET, *attempts)) is REPLACE
    assert due(a_sick_fleet(RESET, *attempts, auto_replace=False)) is INSPECT


# --- which GPU -------------------------------------------------------------------------------


def on(index: int, remedy: Remedy = RESET, code: int = 95, uuid: str = "") -> Finding:
    """Return a finding about one GPU."""
    return a_finding(remedy, code=code, event=xid(code, gpu_index=index, gpu_uuid=uuid))


def gpu_of(*findings: Finding) -> int:
    return ladder.gpu_of(a_fleet(1, sick(1, at(), *findings)).nodes[name(1)])


def test_the_only_gpu_that_asks_is_reset() -> None:
    assert gpu_of(on(3)) == 3
    assert gpu_of(on(3), on(3, code=119)) == 3
    assert gpu_of(on(3), on(5, Remedy.OBSERVE)) == 3


def test_all_are_reset_where_several_ask_or_nobody_knows_which() -> None:
    """A reset that helps pays all debts: then all who have one must have had it."""
    assert gpu_of(on(3), on(5)) == -1
    assert gpu_of(on(-1)) == -1
    assert gpu_of(a_finding(RESET, event=None, number=0)) == -1


def hardware(*findings: Finding) -> tuple[str, ...]:
    cards = tuple(replace(gpu, uuid=f"GPU-{gpu.index}-of-1") for gpu in gpus())
    fleet = a_fleet(1, replace(registered(1), gpus=cards), sick(1, at(), *findings))
    return ladder.hardware(fleet, fleet.nodes[name(1)])


def test_the_gpus_behind_the_faults_are_named_once() -> None:
    assert hardware(on(3), on(3, code=119), on(5)) == ("GPU-3-of-1", "GPU-5-of-1")


def test_the_event_itself_knows_best_which_gpu_it_was() -> None:
    assert hardware(on(3, uuid="GPU-x")) == ("GPU-x",)


def test_a_gpu_that_another_machine_has_is_not_blamed() -> None:
    cards = [replace(gpu, uuid=f"GPU-{gpu.index}-of-2") for gpu in gpus()]
    there = replace(registered(2), gpus=tuple(cards))
    fleet = a_fleet(2, there, sick(1, at(), on(3, uuid="GPU-0-of-2"), on(4, uuid="GPU-y")))
    assert ladder.hardware(fleet, fleet.nodes[name(1)]) == ("GPU-y",)


def test_a_fault_of_no_known_gpu_names_none() -> None:
    harmless = replace(on(2), status=Health.DEGRADED)
    assert hardware(on(-1), on(9), harmless, a_finding(event=None)) == ()
