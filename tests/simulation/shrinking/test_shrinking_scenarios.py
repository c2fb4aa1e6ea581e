"""Scenarios that fail get small, and go on failing in the same way."""

from __future__ import annotations

from pathlib import Path

import pytest

from navarch.core.repair import replacing
from navarch.errors import ConfigError
from navarch.simulator.scenarios.reading import examine_text
from navarch.simulator.scenarios.running import Outcome, run_scenario
from navarch.simulator.shrinking.failures import masked
from navarch.simulator.shrinking.reducing import Limits
from navarch.simulator.shrinking.scenarios import NothingFails, Shrunk, shrink

FIFTY = """\
name: fifty
stress:
  duration: 10m
  seed: 7
  fleet_gen:
    total_nodes: 50
    providers: {gcp: 50, aws: 35}
    regions: {us: 40, eu: 20}
    startup: {pattern: linear, duration: 30s, jitter_percent: 10}
  chaos:
    failure_rate: 100
    failure_types:
      - {type: xid_error, weight: 70}
      - {type: network, weight: 10}
      - {type: temperature, weight: 10}
    cascading: {probability: 0.15, scope: rack}
    recovery: {probability: 0.3, mean_time: 2m, std_dev: 30s}
assertions:
  - {type: node_count, expected: 50}
  - {type: node_status, target: all, expected: active}
"""
POOL = """\
name: pool
duration: 20m
seed: 3
providers: {fake: {boot_time: 1m}, other: {boot_time: 2m}}
pools:
  train: {provider: fake, min_nodes: 12, max_nodes: 16}
  serve: {provider: other, min_nodes: 4, max_nodes: 6}
stress:
  chaos:
    failure_rate: 40
    failure_types: [{type: xid_error}, {type: crash}]
"""


def shrunk(text: str, runs: int = 200) -> Shrunk:
    return shrink(text, path=Path("test.yaml"), limits=Limits(runs))


def lived(text: str) -> Outcome:
    scenario = examine_text(text, path=Path("test.yaml")).scenario
    assert scenario is not None
    return run_scenario(scenario)


def test_chaos_among_fifty_nodes_becomes_one_fault_of_one_node() -> None:
    small = shrunk(FIFTY)
    assert [event["action"] for event in small.tree["events"]] == ["start_fleet", "inject_failure"]
    assert len(small.tree["fleet"]) == 1
    assert "stress" not in small.tree
    assert small.is_whole
    (failed,) = lived(small.text).failures
    assert failed.what == "node_status: all to be status active"
    told = small.text.splitlines()
    assert told[0] == "# Fails with seed 7 at +0:00:42:"
    assert told[1] == "# expected all to be status active, seen unhealthy"
    assert shrunk(FIFTY).text == small.text


def test_a_broken_rule_of_the_core_is_shown_by_few_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lived(POOL).passed
    monkeypatch.setattr(replacing, "_replaced_because", lambda *_: "nobody likes to wait")
    small = shrunk(POOL)
    pools = small.tree["pools"]
    assert sum(pool.get("max_nodes", 0) for pool in pools.values()) <= 3
    assert len(small.tree["events"]) <= 2
    assert small.tree["liveness"] == "0s"
    (failed,) = lived(small.text).failures
    assert failed.what == "invariants hold"
    assert masked(failed.message.split("\n")[0]) == masked(small.seen.first_line)


def test_a_demand_is_not_missed_for_another_reason() -> None:
    """Without its nodes a scenario misses every demand; that is no smaller way to fail."""
    twelve = FIFTY.replace("total_nodes: 50", "total_nodes: 12")
    text = twelve.replace("  - {type: node_count, expected: 50}\n", "").replace(
        "{type: node_status, target: all, expected: active}",
        "{type: node_count, expected: 12, status: active}",
    )
    small = shrunk(text, 60)
    assert len(small.tree["fleet"]) == 12
    assert [event["action"] for event in small.tree["events"]] == ["start_fleet", "inject_failure"]


def test_what_does_not_fail_is_not_shrunk() -> None:
    with pytest.raises(NothingFails, match="nothing fails with seed 3"):
        shrunk(POOL)


def test_limits_are_kept() -> None:
    small = shrunk(FIFTY, 3)
    assert small.runs == 3
    assert not small.is_whole
    assert lived(small.text).failures


def test_mistakes_are_named_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match=r"test\.yaml:2: flet"):
        shrunk("name: x\nflet: []\n")


def test_sentences_are_compared_without_ids_and_numbers() -> None:
    one = "over_budget: train-sim0-0007 was condemned, 3 of 5 serve"
    assert masked(one) == masked(one.replace("0007", "0012").replace("3 of", "2 of"))
    assert masked(one) != masked(one.replace("condemned", "ended"))
