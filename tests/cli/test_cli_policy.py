"""``policy``: what is wrong with a file is drawn, cases are tried, codes are explained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.connect_server import Run
from golden_text import golden

POLICY = """\
version: v1
metadata: {name: ours, description: What we do.}
rules:
  - name: off-the-bus
    description: the GPU is gone
    condition: event.event_type == "xid" && known.code == 79
    result: unhealthy
    repair: reboot
    follows: NVIDIA
  - {name: rest, condition: "true", result: healthy}
"""
MISTAKEN = """\
version: v1
metadata: {name: ours}
rules:
  - {name: a, condition: 'event.event_tpe == "xid"', result: unhealthy}
  - {name: b, condition: "true", result: sick}
"""
CASES = """\
cases:
  - name: off the bus
    events: [{event_type: xid, gpu_index: 3, metrics: {xid_code: 79}}]
    expect: {status: unhealthy, rule: off-the-bus, repair: reboot}
  - name: the application's own fault
    events: [{event_type: xid, gpu_index: 3, metrics: {xid_code: 31}}]
    expect: {status: healthy}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "mistaken.yaml").write_text(MISTAKEN)
    (tmp_path / "cases.yaml").write_text(CASES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_policy_without_mistakes_is_told_with_its_digest(folder: Path, run: Run) -> None:
    code, stdout, stderr = run("policy", "check", "policy.yaml")
    assert (code, stderr) == (0, "")
    assert stdout.startswith("policy.yaml: no mistakes; ours, 2 rules, digest ")
    checked = json.loads(run("policy", "check", "policy.yaml", "-o", "json").stdout)
    assert (checked["file"], checked["errors"], checked["warnings"]) == ("policy.yaml", [], [])
    assert (checked["policy"]["name"], checked["policy"]["rules"]) == ("ours", 2)
    assert stdout.endswith(f"{checked['policy']['digest']}\n")


def test_every_mistake_is_drawn_and_exit_code_1(folder: Path, run: Run) -> None:
    code, stdout, stderr = run("policy", "check", "mistaken.yaml")
    assert (code, stdout) == (1, "")
    lines = stderr.splitlines()
    assert lines[0].startswith("navarch: mistaken.yaml:4:")
    drawn = "    - {name: a, condition: 'event.event_tpe == \"xid\"', result: unhealthy}"
    assert lines[1] == drawn
    assert lines[2].rstrip("^") == " " * lines[2].index("^")
    assert drawn.index("event.event_tpe") <= lines[2].index("^") < drawn.index(' == "xid"')
    assert lines[3].startswith("navarch: mistaken.yaml:5:")
    assert len(lines) == 6
    checked = run("policy", "check", "mistaken.yaml", "-o", "json")
    assert (checked.code, checked.stderr) == (1, "")
    document = json.loads(checked.stdout)
    assert document["policy"] is None
    places = [(error["line"], error["key"]) for error in document["errors"]]
    assert places == [(4, "rules[0].condition"), (5, "rules[1].result")]
    assert [error["column"] > 1 for error in document["errors"]] == [True, True]


def test_what_is_probably_not_meant_is_a_warning(folder: Path, run: Run) -> None:
    (folder / "policy.yaml").write_text(POLICY.replace('"xid"', '"xdi"'))
    code, stdout, stderr = run("policy", "check", "policy.yaml")
    assert code == 0
    assert stdout.startswith("policy.yaml: no mistakes; ours")
    assert stderr.startswith("navarch: warning: policy.yaml: line 4: rule off-the-bus: ")
    assert stderr.count("\n") == 1


def test_cases_that_pass_are_a_table(folder: Path, run: Run) -> None:
    code, stdout, stderr = run("policy", "test", "policy.yaml", "cases.yaml")
    assert (code, stderr) == (0, "")
    assert stdout == golden(stdout, "cli/policy-test.txt")


def test_a_case_that_fails_is_exit_code_1(folder: Path, run: Run) -> None:
    (folder / "cases.yaml").write_text(CASES.replace("status: healthy", "status: degraded"))
    code, stdout, stderr = run("policy", "test", "policy.yaml", "cases.yaml")
    assert (code, stderr) == (1, "")
    assert stdout == golden(stdout, "cli/policy-test-failed.txt")
    as_json = run("policy", "test", "policy.yaml", "cases.yaml", "-o", "json")
    assert (as_json.code, as_json.stderr) == (1, "")
    document = json.loads(as_json.stdout)
    assert (document["policy"], document["passed"], document["errors"]) == (
        "policy.yaml",
        False,
        [],
    )
    assert [case["passed"] for case in document["cases"]] == [True, False]
    assert document["cases"][1] == {
        "name": "the application's own fault",
        "line": 5,
        "passed": False,
        "status": "healthy",
        "rule": "rest",
        "problems": ['status: expected "degraded", got "healthy"'],
    }


def test_a_mistake_in_the_cases_or_the_policy_is_drawn(folder: Path, run: Run) -> None:
    (folder / "cases.yaml").write_text(CASES.replace("off-the-bus", "off-the-buss"))
    code, stdout, stderr = run("policy", "test", "policy.yaml", "cases.yaml")
    assert (code, stdout) == (1, "")
    assert stderr.startswith("navarch: cases.yaml:4:")
    assert "did you mean off-the-bus?" in stderr
    assert stderr.count("\n") == 3
    code, stdout, stderr = run("policy", "test", "mistaken.yaml", "cases.yaml")
    assert (code, stdout) == (1, "")
    assert stderr.startswith("navarch: mistaken.yaml:4:")


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "absent.yaml"],
        ["show", "absent.yaml"],
        ["test", "policy.yaml", "absent.yaml"],
        ["explain", "79", "--policy", "absent.yaml"],
    ],
)
def test_a_file_that_is_not_there_is_one_line(arguments: list[str], folder: Path, run: Run) -> None:
    told = "navarch: absent.yaml: there is no such file\n"
    assert run("policy", *arguments) == (1, "", told)


def test_the_rules_are_a_table_in_their_order(folder: Path, run: Run) -> None:
    shown = run("policy", "show", "policy.yaml")
    assert shown == (0, golden(shown.stdout, "cli/policy-show.txt"), "")
    wide = run("policy", "show", "policy.yaml", "-o", "wide")
    assert wide == (0, golden(wide.stdout, "cli/policy-show-wide.txt"), "")
    document = json.loads(run("policy", "show", "policy.yaml", "-o", "json").stdout)
    assert (document["name"], document["description"]) == ("ours", "What we do.")
    assert document["rules"][0] == {
        "name": "off-the-bus",
        "description": "the GPU is gone",
        "condition": 'event.event_type == "xid" && known.code == 79',
        "result": "unhealthy",
        "repair": "reboot",
        "lasting": None,
        "settles": False,
        "follows": "NVIDIA",
        "line": 4,
    }


def test_without_a_file_it_is_the_policy_that_is_built_in(run: Run) -> None:
    code, stdout, stderr = run("policy", "show", "-o", "json")
    assert (code, stderr) == (0, "")
    document = json.loads(stdout)
    assert document["name"] == "default"
    assert len(document["rules"]) > 10


def test_a_code_is_explained_by_catalogue_and_policy(folder: Path, run: Run) -> None:
    code, stdout, stderr = run("policy", "explain", "79")
    assert (code, stderr) == (0, "")
    assert stdout.startswith("XID 79: GPU fell off the PCIe bus\n")
    ours = run("policy", "explain", "79", "--policy", "policy.yaml", "-o", "json")
    document = json.loads(ours.stdout)
    assert (document["kind"], document["code"]) == ("xid", 79)
    assert document["known"]["text"] == "GPU fell off the PCIe bus"
    assert document["verdict"] == {
        "policy": "ours",
        "rule": "off-the-bus",
        "status": "unhealthy",
        "repair": "reboot",
        "lasting": True,
        "because": "XID 79 (GPU fell off the PCIe bus): the GPU is gone (follows NVIDIA)",
    }


def test_an_nvswitchs_code_and_one_that_nobody_knows_are_explained_too(run: Run) -> None:
    assert run("policy", "explain", "12028", "--sxid").stdout.startswith("SXID 12028: ")
    assert json.loads(run("policy", "explain", "12028", "--sxid", "-o", "json").stdout)["known"]
    assert run("policy", "explain", "9999").stdout.startswith("XID 9999: no catalogue has it\n")
    assert json.loads(run("policy", "explain", "9999", "-o", "json").stdout)["known"] is None


# --- the policy that a configuration names --------------------------------------------------------


def configured(folder: Path, policy: str) -> None:
    (folder / "navarch.yaml").write_text(f"server: {{health_policy: {policy}}}\n")


def test_config_check_checks_the_policy_that_is_named(folder: Path, run: Run) -> None:
    configured(folder, "policy.yaml")
    assert run("config", "check", "navarch.yaml") == (
        0,
        "navarch.yaml: no mistakes; 0 pools, 0 providers\n",
        "",
    )
    configured(folder, "mistaken.yaml")
    code, stdout, stderr = run("config", "check", "navarch.yaml")
    assert (code, stdout) == (1, "")
    assert stderr.startswith(f"navarch: {folder}/mistaken.yaml:4:")
    configured(folder, "absent.yaml")
    told = f"navarch: {folder}/absent.yaml: there is no such file\n"
    assert run("config", "check", "navarch.yaml") == (1, "", told)


def test_programs_get_the_mistakes_of_both_files(folder: Path, run: Run) -> None:
    configured(folder, "mistaken.yaml")
    code, stdout, stderr = run("config", "check", "navarch.yaml", "-o", "json")
    document = json.loads(stdout)
    assert (code, stderr, document["faults"], document["warnings"]) == (1, "", [], [])
    assert document["policy"]["file"] == str(folder / "mistaken.yaml")
    assert [fault["line"] for fault in document["policy"]["faults"]] == [4, 5]
    (folder / "navarch.yaml").write_text("server: {}\n")
    code, stdout, _ = run("config", "check", "navarch.yaml", "-o", "json")
    assert (code, json.loads(stdout)["policy"]) == (0, None)


def test_a_server_that_cannot_begin_names_the_key_and_draws_each_mistake(folder: Path) -> None:
    server = '{address: "127.0.0.1:0", data: data, health_policy: mistaken.yaml}'
    (folder / "navarch.yaml").write_text(f"server: {server}\n")
    ended = subprocess.run(
        [sys.executable, "-m", "navarch", "server", "--config", "navarch.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    key, *told = ended.stderr.splitlines()[-7:]
    named = f"navarch: {folder}/navarch.yaml: server.health_policy: the policy cannot be used:"
    assert key == named
    mistakes, drawn, carets = told[0::3], told[1::3], told[2::3]
    places = [mistake.removeprefix(f"{folder}/mistaken.yaml:")[:2] for mistake in mistakes]
    assert places == ["4:", "5:"]
    assert all(line.startswith("    - {name: ") for line in drawn)
    assert [line.strip() for line in carets] == ["^", "^"]
