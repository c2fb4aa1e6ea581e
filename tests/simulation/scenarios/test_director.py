"""Events do what they say, and what is demanded is really compared."""

from __future__ import annotations

from datetime import timedelta

import pytest

from navarch.errors import ConfigError
from navarch.simulator.dice import Dice
from navarch.simulator.scenarios import startup
from navarch.simulator.scenarios.running import Run, run_scenario
from simulation.scenarios.scenario_texts import POOL, fleet, messages, pool, read

SECOND = timedelta(seconds=1)


def test_an_assertion_that_does_not_hold_says_all_that_is_needed() -> None:
    outcome = fleet(
        "{at: 30s, action: assert, target: node-1, params: {expected_status: draining}}"
    ).live()
    assert not outcome.passed
    (failed,) = outcome.failures
    lines = failed.message.split("\n")
    assert lines[0] == "test.yaml:8: expected node-1 to be status draining, seen active"
    assert lines[1] == "  fleet, seed 1, at +0:00:30"
    assert any('"kind":"node_registered"' in line and "node-1" in line for line in lines[2:])


@pytest.mark.parametrize(
    "event, seen",
    [
        ("target: all, params: {expected_status: cordoned}", "3 active"),
        ("target: any, params: {expected_health: degraded}", "3 healthy"),
        ("target: 'zone:us-a', params: {expected_status: draining}", "seen active"),
        ("target: 'label:tier=gold', params: {expected_health: unknown}", "seen healthy"),
        ("target: 'region:us', params: {expected_status: active, match: none}", "2 active"),
        ("target: 'provider:none', params: {expected_status: active}", "no nodes in provider:none"),
    ],
)
def test_every_kind_of_target_is_compared(event: str, seen: str) -> None:
    outcome = fleet(f"{{at: 2m, action: assert, {event}}}").live()
    assert len(outcome.failures) == 1
    assert seen in messages(outcome)[0]


def test_assertions_at_the_end_are_compared_too() -> None:
    more = """\
assertions:
  - {type: node_count, expected: 4}
  - {type: node_count, target: "region:us", expected: 2}
  - {type: node_count, target: active, expected: "< 3"}
  - {type: health_status, target: node-2, expected: unhealthy}
  - {type: availability_above, expected: 101}
  - {type: cost_below, expected: 0}
"""
    outcome = fleet("{at: 3m, action: log, params: {log_message: end}}", more=more).live()
    assert [check.line for check in outcome.failures] == [10, 12, 13, 14, 15]
    assert "seen 3 (3 active)" in messages(outcome)[0]
    assert [check.line for check in outcome.checks if check.passed] == [11, 0]


def test_a_wait_ends_when_it_is_so_and_events_that_are_late_follow_at_once() -> None:
    outcome = pool(
        "{at: 0s, action: wait_for_status, target: 'pool:train', "
        "params: {expected_status: active}}",
        "{at: 1s, action: log, params: {log_message: late}}",
    ).live()
    assert outcome.passed
    waited, late = outcome.log
    assert timedelta(seconds=30) < waited.at < timedelta(minutes=4)
    assert late.at == waited.at


def test_a_wait_that_is_in_vain_fails_after_its_timeout_with_what_was_seen() -> None:
    outcome = fleet(
        "{at: 10s, action: wait_for_status, target: node-1, "
        "params: {expected_status: unhealthy, timeout: 90s}}"
    ).live()
    (failed,) = outcome.failures
    assert failed.at == timedelta(seconds=100)
    assert messages(outcome) == [
        "test.yaml:8: expected node-1 to be status unhealthy within 0:01:30, seen active"
    ]


def test_a_refusal_is_a_failure_unless_it_is_expected() -> None:
    command = "{{at: {at}, action: issue_command, target: node-1, params: {params}}}"
    outcome = fleet(
        command.format(at="1m", params="{command_type: terminate}"),
        command.format(at="5m", params="{command_type: cordon, expect: refused}"),
        command.format(at="6m", params="{command_type: cordon}"),
        "{at: 7m, action: issue_command, target: node-2, "
        "params: {command_type: cordon, expect: refused}}",
    ).live()
    first, second = messages(outcome)
    assert "expected accepted, seen refused: node node-1 is" in first
    assert second == "test.yaml:11: expected refused, seen accepted"


def test_an_alias_means_the_same_nodes_for_the_rest_of_the_run() -> None:
    outcome = fleet(
        "{at: 1m, action: inject_failure, target: all, "
        "params: {failure_type: nvml_failure, count: 2, alias: sick}}",
        "{at: 3m, action: assert, target: 'alias:sick', params: {expected_health: unhealthy}}",
        "{at: 3m, action: assert, target: all, params: {expected_health: healthy, match: any}}",
        "{at: 4m, action: recover_failure, target: 'alias:sick'}",
        "{at: 5m, action: wait_for_status, target: all, params: {expected_health: healthy}}",
    ).live()
    assert messages(outcome) == []


def test_a_fleet_that_is_stopped_is_silent_and_starts_again() -> None:
    outcome = fleet(
        "{at: 1m, action: stop_fleet, target: node-1}",
        "{at: 5m, action: assert, target: node-1, params: {expected_status: unhealthy}}",
        "{at: 5m, action: assert, target: node-2, params: {expected_status: active}}",
        "{at: 6m, action: start_fleet, target: node-1}",
        "{at: 7m, action: wait_for_status, target: node-1, params: {expected_status: active}}",
    ).live()
    assert messages(outcome) == []


def test_what_is_done_to_a_node_that_is_not_there_is_a_failure() -> None:
    outcome = fleet(
        "{at: 1m, action: inject_failure, target: node-1, params: {failure_type: vanish}}",
        "{at: 2m, action: inject_failure, target: node-1, params: {failure_type: network}}",
        "{at: 2m, action: recover_failure, target: node-1}",
    ).live()
    assert messages(outcome) == [
        "test.yaml:9: expected node-1 to be there, seen no such machine",
        "test.yaml:10: expected node-1 to be there, seen no such machine",
    ]


@pytest.mark.parametrize(
    "kind, health",
    [
        ("xid_error, xid_code: 79", "unhealthy"),
        ("xid_error, xid_code: 31", "healthy"),
        ("temperature", "unhealthy"),
        ("temperature, temperature: 86", "degraded"),
        ("memory_error", "unhealthy"),
        ("nvlink_error", "degraded"),
        ("backend_error", "unhealthy"),
        ("nvml_failure", "unhealthy"),
        ("boot_failure", "unhealthy"),
        ("network", "healthy"),
        ("crash", "healthy"),
    ],
)
def test_every_failure_is_judged_by_the_products_own_policy(kind: str, health: str) -> None:
    outcome = fleet(
        f"{{at: 2m, action: inject_failure, target: node-1, params: {{failure_type: {kind}}}}}",
        f"{{at: 4m, action: assert, target: node-1, params: {{expected_health: {health}}}}}",
        "{at: 4m, action: assert, target: node-2, params: {expected_health: healthy}}",
    ).live()
    assert messages(outcome) == []


def test_a_pool_is_scaled_paused_and_let_go_on() -> None:
    outcome = pool(
        "{at: 10m, action: scale_pool, target: 'pool:train', params: {nodes: 5}}",
        "{at: 11m, action: scale_pool, target: 'pool:train', params: {nodes: 9, expect: refused}}",
        "{at: 20m, action: pause_pool, target: 'pool:train'}",
        "{at: 21m, action: inject_failure, target: 'pool:train', "
        "params: {failure_type: vanish, count: 1}}",
        "{at: 29m, action: resume_pool, target: 'pool:train'}",
        more="assertions: [{type: pool_size, target: train, expected: 4}]",
    ).live()
    assert messages(outcome) == []


def test_liveness_is_demanded_after_the_end() -> None:
    slow = POOL.replace("boot_time: 1m", "boot_time: 4h, boot_longest: 5h")
    outcome = run_scenario(read(f"{slow}liveness: 20m"), 1)
    (failed,) = outcome.failures
    assert failed.what == "liveness: every pool gets what it wants"
    assert "seen 0 serving nodes of 3 machines, 3 wanted, in train" in failed.message
    assert run_scenario(read(f"{slow}liveness: 0s"), 1).passed


def test_the_true_cure_of_an_xid_is_not_what_the_policy_says() -> None:
    """XID 79 ends with a reboot: where only resets are allowed, the node stays broken."""
    text = POOL.replace("max_nodes: 5}", "max_nodes: 5, health: {repair: [reset_gpu]}}")
    event = (
        "events:\n  - {at: 5m, action: inject_failure, target: 'pool:train', "
        "params: {failure_type: xid_error, xid_code: 79, count: 1, alias: sick}}\n"
    )
    end = "assertions: [{type: health_status, target: 'alias:sick', expected: unhealthy}]\n"
    assert run_scenario(read(f"{text}{event}{end}liveness: 0s"), 1).passed


@pytest.mark.parametrize(
    "pattern, after",
    [
        ("instant", [0, 0, 0, 0, 0]),
        ("linear", [0, 10, 20, 30, 40]),
        ("wave", [0, 0, 0, 40, 40]),
        ("exponential", [0, 29, 35, 38, 40]),
    ],
)
def test_a_start_is_spread_as_its_pattern_says(pattern: str, after: list[int]) -> None:
    rolls = Dice(1).stream("test")
    delays = startup.delays(5, pattern, 40 * SECOND, rolls, waves=2)
    assert [round(each / SECOND) for each in delays] == after


def test_jitter_stays_within_its_share_and_never_comes_before_the_start() -> None:
    rolls = Dice(1).stream("test")
    plain = startup.delays(200, "linear", 100 * SECOND, rolls)
    shaken = startup.delays(200, "linear", 100 * SECOND, rolls, jitter_percent=10)
    off = [abs(one - other) for one, other in zip(plain, shaken, strict=True)]
    assert SECOND < max(off) <= 10 * SECOND
    assert min(shaken) >= timedelta()


@pytest.mark.parametrize(
    "more, told",
    [
        ("server: {health_policy: gone.yaml}", "gone.yaml: there is no such file"),
        ("server: {custom_policy: {use: 'nowhere:Judge'}}", "cannot be imported"),
    ],
)
def test_what_cannot_be_had_is_a_clear_error(more: str, told: str) -> None:
    with pytest.raises(ConfigError, match="server") as caught:
        Run(read(POOL + more))
    assert told in str(caught.value)


def test_a_load_that_is_not_understood_is_a_clear_error() -> None:
    text = POOL.replace("max_nodes: 5}", "max_nodes: 5, autoscaling: {type: reactive}}")
    with pytest.raises(ConfigError, match=r"test.yaml:7: load.train.leve: .*did you mean"):
        Run(read(f"{text}load:\n  train: {{pattern: constant, level: 1, leve: 3}}"))
    with pytest.raises(ConfigError, match=r"test.yaml:8: load.train.level: expected a number"):
        Run(read(f"{text}load:\n  train:\n    level: many\n    pattern: constant"))


def test_a_judge_of_ones_own_judges() -> None:
    outcome = fleet(
        "{at: 2m, action: inject_failure, target: node-1, "
        "params: {failure_type: xid_error, xid_code: 79}}",
        "{at: 4m, action: assert, target: node-1, params: {expected_health: degraded}}",
        more="server: {custom_policy: {use: 'navarch.core.judging:Unjudged'}}\n",
    ).live()
    assert messages(outcome) == []
