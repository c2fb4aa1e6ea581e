"""What became of things, counted from facts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from factories import (
    PROVIDER,
    START,
    a_finding,
    a_spec,
    at,
    condemned,
    fold_all,
    founded,
    launched,
    lost,
    mending,
    name,
    refused,
    registered,
    requested,
    running,
    sick,
    well,
)
from navarch.controlplane.measures import OTHER
from navarch.controlplane.tally import Tally, error_word
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Outcome
from navarch.core.model.report import Health


def tallied(*facts: ev.Fact, fleet: Fleet | None = None, tally: Tally | None = None) -> Tally:
    """Fold facts and count each."""
    fleet = fleet or fold_all(founded())
    if tally is None:
        tally = Tally(frozenset({"nvml"}))
        tally.begin(fleet)
    for fact in facts:
        fold.apply(fleet, fact)
        tally.hear(fact, fleet)
    return tally


def test_launches_are_counted_by_their_outcome() -> None:
    tally = tallied(
        requested(1),
        launched(1),
        requested(2),
        refused(2, "NoCapacity"),
        requested(3),
        ev.LaunchUncertain(START, name(3), "no answer"),
        launched(3),
        requested(4),
        refused(4, "SomethingOfTheirOwn"),
    )
    assert tally.provisions == {
        (PROVIDER, "launched"): 2,
        (PROVIDER, "no_capacity"): 1,
        (PROVIDER, "outcome_unknown"): 1,
        (PROVIDER, OTHER): 1,
    }


def test_a_boot_lasts_from_the_wish_to_the_first_word() -> None:
    again = at(minutes=9)
    tally = tallied(
        requested(1, START),
        launched(1, at(minutes=1)),
        registered(1, at(minutes=4)),
        registered(1, again),
    )
    [boots] = tally.boots.values()
    assert (boots.count, boots.total) == (1, 240)


def test_a_boot_that_began_before_us_counts_from_its_beginning() -> None:
    fleet = fold_all(founded(), requested(1, START), launched(1, START))
    tally = tallied(registered(1, at(minutes=2)), fleet=fleet)
    [boots] = tally.boots.values()
    assert (boots.count, boots.total) == (1, 120)


def test_verdicts_are_counted_by_the_rule_that_decided() -> None:
    old, new = a_finding(when=START), a_finding(when=at(minutes=1), rule="newer")
    mild = a_finding(when=at(minutes=2), rule="mild", status=Health.DEGRADED)
    tally = tallied(
        *running(1),
        sick(1, at(minutes=3), old, new, mild),
        sick(1, at(minutes=4), a_finding(when=START, rule="check:nvml")),
        sick(1, at(minutes=5), a_finding(when=START, rule="check:of their own")),
        well(1, at(minutes=6)),
    )
    assert tally.verdicts == {
        ("newer", "unhealthy"): 1,
        ("check:nvml", "unhealthy"): 1,
        (OTHER, "unhealthy"): 1,
        ("", "healthy"): 1,
    }


def test_rules_beyond_the_bound_are_one_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("navarch.controlplane.tally.RULES_MAX", 2)
    facts = [
        sick(1, at(minutes=number), a_finding(when=START, rule=f"rule {number}"))
        for number in range(1, 5)
    ]
    tally = tallied(*running(1), *facts)
    assert [rule for rule, _ in tally.verdicts] == ["rule 1", "rule 2", OTHER]
    assert tally.verdicts[OTHER, "unhealthy"] == 2


def test_repairs_are_counted_by_rung_and_outcome() -> None:
    tally = tallied(
        *running(1),
        *running(2),
        *running(3),
        mending(1, START, Remedy.REBOOT),
        ev.RepairEnded(START, name(1), Outcome.SUCCEEDED, "clean"),
        mending(2, START, Remedy.RESET_GPU),
        ev.RepairEnded(START, name(2), Outcome.FAILED, "sick again"),
        condemned(1, START),
        ev.InstanceReprieved(START, name(1), "it is well"),
        condemned(2, START),
        condemned(2, START),  # for another cause
        ev.InstanceTerminated(START, name(2), "gone"),
        ev.InstanceTerminated(START, name(3), "gone, as nobody had condemned it"),
        ev.NodeHandedOver(START, name(1), "look"),
        ev.RepairWithheld(START, name(1), Remedy.REPLACE, "a dry run"),
    )
    assert tally.repairs == {
        ("reboot", "started"): 1,
        ("reboot", "succeeded"): 1,
        ("reset_gpu", "started"): 1,
        ("reset_gpu", "failed"): 1,
        ("replace", "started"): 2,
        ("replace", "revoked"): 1,
        ("replace", "succeeded"): 1,
        ("replace", "withheld"): 1,
        ("inspect", "started"): 1,
    }


def test_repairs_that_began_before_us_end_under_their_rung() -> None:
    fleet = fold_all(founded(), running(1), mending(1, START), running(2), condemned(2, START))
    tally = tallied(
        ev.RepairEnded(START, name(1), Outcome.FAILED, "sick again"),
        ev.InstanceVanished(START, name(2), "two lists"),
        fleet=fleet,
    )
    assert tally.repairs == {("reboot", "failed"): 1, ("replace", "succeeded"): 1}


def test_changes_of_a_target_are_counted_by_direction() -> None:
    pool = a_spec().name
    configured = ev.PoolConfigured(START, a_spec(min_nodes=3, max_nodes=9))
    tally = tallied(
        ev.TargetChanged(START, pool, 4, "more"),
        ev.TargetChanged(START, pool, 4, "as many"),
        ev.TargetChanged(START, pool, 2, "fewer"),
        configured,  # which makes it three, and is nobody's decision
        ev.TargetChanged(START, pool, 5, "more than that"),
    )
    assert tally.scalings == {(pool, "up"): 2, (pool, "down"): 1}


def test_silences_and_interruptions_are_counted() -> None:
    tally = tallied(
        *running(1),
        lost(1, START),
        ev.NodeReturned(START, name(1), "it speaks"),
        lost(1, START),
        ev.InterruptionNoticed(START, name(1), "taken away"),
    )
    assert tally.lost == {(a_spec().name,): 2}
    assert tally.interruptions == {(PROVIDER,): 1}


def test_the_golden_journal_is_counted_fact_by_fact(project: Path) -> None:
    """Every kind of fact is in it: nothing is unknown, and each is counted once."""
    lines = (project / "tests" / "golden" / "journal-0.1.jsonl").read_bytes().splitlines()
    facts = [ev.decode(line) for line in lines]
    tally = tallied(*facts, fleet=Fleet())
    assert tally.facts == Counter((ev.kind(fact),) for fact in facts)
    launched_or_not = (ev.InstanceLaunched, ev.LaunchFailed, ev.LaunchUncertain)
    assert tally.provisions.total() == sum(isinstance(fact, launched_or_not) for fact in facts)
    assert tally.verdicts.total() == tally.facts["health_judged",]
    assert tally.lost.total() == tally.facts["node_lost",]
    assert tally.repairs["inspect", "started"] == tally.facts["node_handed_over",]
    assert 0 < tally.scalings.total() <= tally.facts["target_changed",]
    assert tally.boots


def test_errors_of_providers_have_words_of_a_fixed_list() -> None:
    assert error_word("NoCapacity") == "no_capacity"
    assert error_word("OutcomeUnknown") == "outcome_unknown"
    assert error_word("KeyError") == OTHER
