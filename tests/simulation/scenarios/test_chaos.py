"""Chaos comes at its rate, stays in its scope, and ends as it is told to."""

from __future__ import annotations

from collections import Counter

import pytest

from navarch.simulator.dice import Dice
from navarch.simulator.scenarios import ailments
from navarch.simulator.scenarios.chaos import Weighted
from navarch.simulator.scenarios.running import Run
from navarch.simulator.twin.faults import Fault
from simulation.scenarios.scenario_texts import read


def stressed(chaos: str, nodes: int = 200, minutes: int = 20) -> Run:
    """Lay out a fleet that is made up, and its chaos."""
    return Run(
        read(
            f"name: x\nstress:\n  duration: {minutes}m\n"
            f"  fleet_gen: {{total_nodes: {nodes}, regions: {{a: 1, b: 1}}}}\n"
            f"  chaos: {{{chaos}}}\n"
        ),
        3,
    )


def test_faults_come_at_the_rate_that_is_asked_for() -> None:
    run = stressed("failure_rate: 50, xid_distribution: {31: 1}")
    outcome = run.live()
    assert 150 <= outcome.faults <= 250  # 50 a minute and 1,000 nodes: 200 of 200 nodes in 20 min
    assert outcome.passed


def test_no_chaos_comes_where_it_is_switched_off() -> None:
    assert stressed("enabled: false, failure_rate: 1000").live().faults == 0


def test_chains_are_as_deep_and_as_wide_as_allowed() -> None:
    cascade = "cascading: {probability: 1, max_depth: 3, scope: rack, max_affected_percent: 100}"
    run = stressed(f"failure_rate: 2, xid_distribution: {{31: 1}}, {cascade}", nodes=100)
    run.live()
    assert run.monkey is not None
    had = run.monkey.had
    assert had.faults > 0
    assert had.faults * 2 < had.cascaded <= had.faults * 3  # the last chains are cut by the end
    capped = stressed(
        f"failure_rate: 50, xid_distribution: {{31: 1}}, {cascade.replace('100}', '5}')}", nodes=100
    )
    capped.live()
    assert capped.monkey is not None
    assert len(capped.monkey.reached) == 5


def test_a_chain_stays_in_its_rack(monkeypatch: pytest.MonkeyPatch) -> None:
    cascade = "cascading: {probability: 1, max_depth: 1, scope: rack, max_affected_percent: 100}"
    run = stressed(f"failure_rate: 3, xid_distribution: {{79: 1}}, {cascade}", minutes=10)
    struck: list[str] = []
    afflict = run.twin.afflict

    def seen(node_id: str, fault: Fault) -> bool:
        struck.append(run.twin.nodes[node_id].described.labels["rack"])
        return afflict(node_id, fault)

    monkeypatch.setattr(run.twin, "afflict", seen)
    run.live()
    assert run.monkey is not None
    had = run.monkey.had
    assert had.cascaded > 1
    assert len(struck) == had.faults + had.cascaded
    assert len(set(struck)) <= had.faults


def test_faults_that_recover_leave_a_fleet_that_is_well() -> None:
    recovery = "recovery: {probability: 1, mean_time: 1m, std_dev: 10s}"
    kinds = (
        "failure_types: [{type: nvml_failure}, {type: network}, {type: xid_error}, {type: crash}]"
    )
    run = stressed(f"failure_rate: 20, {kinds}, {recovery}", nodes=100)
    outcome = run.live()
    run.twin.run_until(run.twin.since + run.scenario.lasts)
    fleet = run.twin.fleet
    assert fleet is not None
    assert outcome.faults > 20
    statuses = Counter(node.status.value for node in fleet.nodes.values())
    assert statuses == {"active": 100}


def test_weights_are_shares() -> None:
    rolls = Dice(1).stream("test")
    picked = Counter(Weighted({"a": 3, "b": 1, "c": 0}).pick(rolls) for _ in range(4_000))
    assert set(picked) == {"a", "b"}
    assert 2_850 < picked["a"] < 3_150
    assert len(Counter(Weighted({"a": 0, "b": 0}).pick(rolls) for _ in range(100))) == 2


@pytest.mark.parametrize(
    "code, cure",
    [
        (13, "none"),
        (31, "none"),
        (48, "reset_gpu"),
        (79, "reboot"),
        (95, "reset_gpu"),
        (9999, "none"),
    ],
)
def test_what_ends_an_xid_is_in_the_catalogue(code: int, cure: str) -> None:
    assert ailments.cure_of_xid(code).value == cure


def test_a_made_up_fleet_has_the_shares_that_are_asked_for() -> None:
    text = """\
name: x
stress:
  fleet_gen:
    total_nodes: 1000
    templates: [{name: big, weight: 3}, {name: small, weight: 1, gpu_count: 1}]
    providers: {gcp: 60, aws: 40}
    regions: {us: 1, eu: 3}
    zones: {us: [us-a, us-b]}
    nodes_per_rack: 10
"""
    owned = Run(read(text), 1).twin.blueprint.owned
    assert Counter(node.provider for node in owned) == {"gcp": 600, "aws": 400}
    assert Counter(node.zone for node in owned) == {"us-a": 125, "us-b": 125, "eu-a": 750}
    assert Counter(node.gpus for node in owned) == {8: 750, 1: 250}
    racks = Counter(node.labels["rack"] for node in owned)
    assert max(racks.values()) == 10
    assert len({node.id for node in owned}) == 1000
