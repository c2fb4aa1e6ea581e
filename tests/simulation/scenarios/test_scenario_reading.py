"""A scenario's file becomes a scenario, or every mistake in it with its line; nothing else."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from navarch.errors import ConfigError
from navarch.simulator.scenarios.comparing import Comparison
from navarch.simulator.scenarios.reading import FILE_MAX, examine, examine_text, load
from navarch.simulator.scenarios.running import run_scenario

PLAIN = """\
name: plain
fleet:
  - {id: node-1, provider: fake, gpu_count: 8}
  - {id: node-2}
events:
  - {at: 0s, action: start_fleet}
"""
POOL = """\
name: pool
providers: {fake: {boot_time: 1m}}
pools:
  train: {provider: fake, min_nodes: 1, max_nodes: 2}
"""
HERE = Path("here.yaml")


def mistakes(text: str) -> list[str]:
    """List what is wrong in a text."""
    return [str(fault) for fault in examine_text(text, path=HERE).faults]


def with_event(event: str, text: str = PLAIN) -> str:
    """Add an event to the plain scenario, on line 7."""
    return f"{text}  - {event}\n"


def test_a_plain_scenario_is_read() -> None:
    scenario = examine_text(PLAIN, path=HERE).scenario
    assert scenario is not None
    assert [node.id for node in scenario.written.fleet] == ["node-1", "node-2"]
    assert scenario.event_lines == (6,)
    assert scenario.lasts == timedelta()


def test_a_pool_is_written_as_in_a_configuration_and_inherits_its_defaults() -> None:
    scenario = examine_text(
        f"{POOL}defaults: {{health: {{unhealthy_after: 4}}}}", path=HERE
    ).scenario
    assert scenario is not None
    assert scenario.written.pools["train"].spec("train").unhealthy_after == 4


def test_the_numbers_of_xids_need_no_quotes() -> None:
    text = (
        "name: x\nstress: {fleet_gen: {total_nodes: 3}, chaos: {xid_distribution: {79: 1, 13: 2}}}"
    )
    scenario = examine_text(text, path=HERE).scenario
    assert scenario is not None
    assert scenario.stress is not None
    assert scenario.stress.chaos is not None
    assert scenario.stress.chaos.xid_distribution == {"79": 1.0, "13": 2.0}


def test_all_mistakes_are_named_at_once_with_line_key_and_nearest_word() -> None:
    text = """\
name: x
flet: []
fleet:
  - {id: node-1, gpu_cont: 8}
events:
  - at: 5
    action: inject_falure
    params: {failure_type: xid}
assertions:
  - {type: node_stat}
"""
    found = mistakes(text)
    assert [one.split(": ")[0] for one in found] == [
        "here.yaml:2",
        "here.yaml:4",
        "here.yaml:6",
        "here.yaml:7",
        "here.yaml:8",
        "here.yaml:10",
    ]
    for one, key, near in zip(
        found,
        ("flet", "gpu_cont", "events[0].at", "events[0].action", "failure_type", "type"),
        (
            "did you mean fleet?",
            "gpu_count?",
            "5s means",
            "inject_failure?",
            "xid_error",
            "node_status?",
        ),
        strict=True,
    ):
        assert key in one
        assert near in one


@pytest.mark.parametrize(
    "event, told",
    [
        ("{at: 1s, action: inject_failure, target: node-1}", "failure_type: missing"),
        (
            "{at: 1s, action: inject_failure, target: node-1, params: {failure_type: xid_error}}",
            "xid_code: missing",
        ),
        (
            (
                "{at: 1s, action: inject_failure, target: node-1, "
                "params: {failure_type: network, xid_code: 79}}"
            ),
            "network has no code",
        ),
        (
            "{at: 1s, action: inject_failure, target: node-3, params: {failure_type: network}}",
            "no node node-3, expected one under fleet; did you mean node-2?",
        ),
        (
            "{at: 1s, action: inject_failure, params: {failure_type: network}}",
            "target: missing",
        ),
        (
            (
                "{at: 1s, action: inject_failure, target: node-1, "
                "params: {failure_type: network, count: 1, percent: 5}}"
            ),
            "either count or percent",
        ),
        ("{at: 1s, action: assert, target: node-1}", "got neither"),
        (
            (
                "{at: 1s, action: assert, target: node-1, "
                "params: {expected_status: active, timeout: 5s}}"
            ),
            "timeout: assert does not take it",
        ),
        (
            "{at: 1s, action: log, target: node-1, params: {log_message: hello}}",
            "log has no target",
        ),
        ("{at: 1s, action: wait}", "duration: missing"),
        (
            "{at: 1s, action: issue_command, target: 'alias:sick', params: {command_type: cordon}}",
            "no event before it has given params.alias: sick",
        ),
        ("{at: 1s, action: stop_fleet, target: 'pool:train'}", "no pool train"),
        ("{at: 1s, action: stop_fleet, target: 'label:tier'}", "label:KEY=VALUE"),
        ("{at: 1s, action: scale_pool, target: train, params: {nodes: 3}}", "expected pool:NAME"),
    ],
)
def test_an_event_that_cannot_be_is_named_with_its_line(event: str, told: str) -> None:
    found = mistakes(with_event(event))
    assert any(one.startswith("here.yaml:7: events[1]") and told in one for one in found), found


@pytest.mark.parametrize(
    "more, told",
    [
        ("duration: 400d", "duration: expected at most 366d"),
        ("load: {train: {pattern: constant}}", "load.train: nothing follows it"),
        ("load: {trian: {pattern: constant}}", "did you mean train?"),
        ("assertions: [{type: pool_size, target: tran, expected: 1}]", "did you mean train?"),
        ("assertions: [{type: node_count, expected: many}]", "expected a number"),
        ("assertions: [{type: node_status, target: all, expected: activ}]", "did you mean active?"),
        ("assertions: [{type: node_status, expected: active}]", "target: missing"),
        ("assertions: [{type: no_orphans, expected: 3}]", "expected true, or nothing"),
        ("server: {health_policy: a.yaml, custom_policy: {use: 'a:B'}}", "got both"),
        ("stress: {duration: 1h}\nduration: 1h", "said twice"),
        ("events: [{at: 2h, action: wait, params: {duration: 1s}}]\nduration: 1h", "after the end"),
        ("fleet: [{id: all}]\nevents: [{at: 0s, action: start_fleet}]", "all means several"),
        ("fleet: [{id: one}]", "nothing starts it"),
    ],
)
def test_what_does_not_fit_together_is_named(more: str, told: str) -> None:
    found = mistakes(f"{POOL}{more}\n")
    assert any(told in one for one in found), found


def test_a_pool_that_contradicts_itself_is_named_as_in_a_configuration() -> None:
    text = POOL.replace("min_nodes: 1", "min_nodes: 5").replace("provider: fake", "provider: fak")
    assert mistakes(text) == [
        "here.yaml:4: pools.train.min_nodes: 5 is above max_nodes, expected at most 2",
        (
            "here.yaml:4: pools.train.provider: no such provider, expected one under providers: "
            "fake; did you mean fake?"
        ),
    ]


def test_a_pool_that_scales_needs_a_load() -> None:
    text = POOL.replace("max_nodes: 2}", "max_nodes: 2, autoscaling: {type: reactive}}")
    assert mistakes(text) == [
        (
            "here.yaml:4: pools.train.autoscaling: its autoscaler has no load to follow, "
            "expected load.train"
        )
    ]


def test_the_environment_does_not_reach_a_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "me")
    found = mistakes(PLAIN.replace("name: plain", "name: ${WHO}"))
    assert found == ["here.yaml:1: name: environment variable WHO is not set"]


def test_sizes_are_limited(tmp_path: Path) -> None:
    events = "  - &one {at: 1s, action: wait, params: {duration: 1s}}\n" + "  - *one\n" * 10_000
    assert "at most 10,000 entries, got 10,002" in mistakes(PLAIN + events)[0]
    assert "from 1 to 200,000" in mistakes("name: x\nstress: {fleet_gen: {total_nodes: 200001}}")[0]
    deep = "name: x\nload: {a: {b: " + "[" * 40 + "]" * 40 + "}}"
    assert "nested more than 32 levels" in mistakes(deep)[0]
    large = tmp_path / "large.yaml"
    large.write_text("#" * (FILE_MAX + 1))
    assert "larger than 4 MiB" in str(examine(large).faults[0])


def test_a_file_that_is_none_is_one_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone.yaml: there is no such file"):
        load(tmp_path / "gone.yaml")
    assert mistakes("") == ["here.yaml: is empty, expected a scenario"]
    assert mistakes("a: [")[0].startswith("here.yaml:1: not valid YAML")


@pytest.mark.parametrize(
    "written, seen, holds",
    [(5, 5, True), ("5", 4, False), (">= 3", 3, True), ("< 2.5", 2.5, False), ("!= 1", 2, True)],
)
def test_numbers_are_compared(written: object, seen: float, *, holds: bool) -> None:
    assert Comparison.read(written).holds(seen) is holds


# --- whatever is written ---------------------------------------------------------------------

KEYS = st.sampled_from(
    [
        *("name", "fleet", "events", "assertions", "pools", "providers", "stress", "chaos", "load"),
        *("id", "at", "action", "target", "params", "type", "expected", "fleet_gen", "server"),
        *("total_nodes", "min_nodes", "max_nodes", "provider", "failure_type", "xid_distribution"),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["5s", "start_fleet", "assert", "pool:a", "alias:", "label:x", "xid_error"]),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(KEYS, st.integers(), st.text(max_size=5)), inner, max_size=6),
    ),
    max_leaves=25,
)


def has_places(text: str) -> None:
    """Check that a text gives a scenario, or mistakes that say where they are."""
    examined = examine_text(text, path=HERE)
    assert (examined.scenario is None) == bool(examined.faults)
    for fault in examined.faults:
        assert fault.file == "here.yaml"
        assert "\n" not in fault.message.partition("\n")[0]
        assert fault.message


@given(st.dictionaries(KEYS, TREES, max_size=6))
def test_any_tree_gives_a_scenario_or_mistakes(tree: object) -> None:
    has_places(yaml.safe_dump(tree, allow_unicode=True))


@given(st.text(max_size=200))
def test_any_text_gives_a_scenario_or_mistakes(text: str) -> None:
    has_places(text)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"at": st.sampled_from(["0s", "5m", "9000d"])},
            optional={
                "action": st.sampled_from(
                    ["start_fleet", "inject_failure", "assert", "wait", "scale_pool", "set_load"]
                ),
                "target": st.sampled_from(["node-1", "any", "pool:x", "label:a=b", "alias:q", ""]),
                "params": st.dictionaries(
                    st.sampled_from(
                        ["failure_type", "xid_code", "count", "alias", "duration", "nodes", "jobs"]
                    ),
                    st.sampled_from(["xid_error", 79, 1, "q", "5s", -1, None]),
                ),
            },
        ),
        max_size=5,
    )
)
def test_any_events_give_a_scenario_or_mistakes(events: list[object]) -> None:
    tree = {"name": "x", "fleet": [{"id": "node-1"}], "events": events}
    has_places(yaml.safe_dump(tree))


def test_the_page_about_scenarios_has_every_key(project: Path) -> None:
    command = [sys.executable, str(project / "tools" / "scenario_keys.py"), "--check"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, "docs/simulator.md: run tools/scenario_keys.py" + run.stderr


def test_the_example_of_the_page_is_a_scenario_that_holds(project: Path) -> None:
    page = (project / "docs" / "simulator.md").read_text()
    text = page.partition("```yaml\n")[2].partition("```")[0]
    scenario = examine_text(text, path=HERE).scenario
    assert scenario is not None
    assert run_scenario(scenario).passed
