"""A short sweep sees nearly all there is to be seen, and what it does not see has a reason."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from navarch.core.model import events as ev
from navarch.simulator import coverage as covering
from navarch.simulator.coverage import POSSIBLE, Coverage, cover_seed
from navarch.simulator.dice import Dice
from navarch.simulator.incidents import Incident
from navarch.simulator.sweep import main

SEEDS = range(150)

RARE = {
    "node_dismissed": "an operator has to end a machine that was not bought here: 24 of 1,200",
    "node_retired": "the same: 23 of 1,200",
    "phase: leaving -> terminated": "a machine has to vanish while it is drained: 1 of 1,200",
    "intent: cordoned -> draining": "two wishes about one node, one cordoned: 31 of 1,200",
    "intent: draining -> in_service": "two wishes about one node, one in a drain: 19 of 1,200",
    "intent: draining -> cordoned": "the same: 14 of 1,200",
    "intent: drained -> in_service": "two wishes about one node, one drained: 7 of 1,200",
    "intent: drained -> cordoned": "the same: 15 of 1,200",
    "intent: drained -> draining": "the same: 11 of 1,200",
    "machine: it gets a broken GPU of an older one": "a machine in its third life: 3 of 1,200",
    "repair: the agent refuses": "few repairs in place come so far: 6 of 1,200",
    "repair: the agent tries in vain": "the same: 11 of 1,200",
    "repair: nothing is heard of it again": "the same: 13 of 1,200",
    "repair: the machine does not come back from a reboot": "the same, of reboots: 2 of 1,200",
    "workload manager: it does nothing and does not answer": "few pools have one: 11 of 1,200",
    "workload manager: it does what it is told and does not answer": "the same: 23 of 1,200",
}
"""What a short sweep need not see, to the reason, and in how many runs it was seen when measured.

A long one (`make soak`) sees all of it.
"""


def test_a_short_sweep_sees_all_that_is_not_rare() -> None:
    whole = Coverage()
    for seed in SEEDS:
        whole.add(cover_seed(seed))
    assert [text for _, text in whole.failures] == []
    assert whole.runs == len(SEEDS)
    assert whole.simulated > timedelta(days=1)
    assert set(whole.uncovered()) - set(RARE) == set()
    assert whole.surprises() == []


def test_whatever_is_rare_is_possible() -> None:
    assert set(RARE) <= {name for names in POSSIBLE.values() for name in names}


def test_no_name_stands_for_two_things() -> None:
    names = Counter(name for names in POSSIBLE.values() for name in names)
    assert [name for name, count in names.items() if count > 1] == []
    assert set(POSSIBLE["facts"]) == {
        each.__struct_config__.tag
        for each in ev.Fact.__args__
        if each not in ev.ServingFact.__args__
    }


def test_what_never_happened_is_listed_and_so_is_what_nobody_expected() -> None:
    coverage = Coverage(counts=Counter({Incident.FROZEN: 2, "instance: failed -> running": 1}))
    assert Incident.FROZEN not in coverage.uncovered()
    assert Incident.KILLED in coverage.uncovered()
    assert coverage.surprises() == ["instance: failed -> running"]
    text = "\n".join(coverage.report())
    assert "         2  agent: it stands still" in text
    assert "not known to be possible: instance: failed -> running" in text


def test_the_counts_of_two_parts_are_added_up() -> None:
    one, other = cover_seed(1), cover_seed(2)
    runs, facts = one.simulated + other.simulated, one.counts["resumed"] + other.counts["resumed"]
    one.add(other)
    assert (one.runs, one.simulated, one.counts["resumed"]) == (2, runs, facts)


def test_nothing_in_a_run_depends_on_what_is_counted() -> None:
    assert Dice(4).happened == Counter()
    assert cover_seed(5).counts == cover_seed(5).counts


def test_the_command_says_what_it_covered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3", "--coverage", "--jobs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {f"{section}:" for section in POSSIBLE} <= set(lines)
    assert any(line.startswith("never seen: ") for line in lines)
    assert lines[-1].startswith("3 seeds: 0 leaked, 0 doubled, 0 lost, 0 unconverged, 0 unsafe")


def test_a_soak_that_finds_something_says_so_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Coverage(runs=1, failures=[("unsafe", "World(9, crashes=())")])
    monkeypatch.setattr("navarch.simulator.sweep.soak", lambda *_: iter([found]))
    assert main(["--seeds", "1"]) == 1
    assert "World(9, crashes=())" in capsys.readouterr().out
    assert covering.CRASHES_MAX > 1
