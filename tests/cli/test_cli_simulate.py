"""``simulate``: mistakes are named with their lines, runs are shown, failures end with 1."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.connect_server import Run
from navarch.cli import clock
from navarch.simulator.report import report_from_json

PLAIN = """\
name: plain
fleet: [{id: node-1, provider: fake}]
events:
  - {at: 0s, action: start_fleet}
  - {at: 30s, action: assert, target: node-1, params: {expected_status: active}}
"""


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Write a scenario that holds."""
    path = tmp_path / "plain.yaml"
    path.write_text(PLAIN)
    return path


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """Write a scenario that does not hold."""
    path = tmp_path / "failing.yaml"
    path.write_text(PLAIN.replace("status: active", "status: draining"))
    return path


def test_a_scenario_without_mistakes_is_described(run: Run, plain: Path) -> None:
    outcome = run("simulate", "validate", str(plain))
    assert outcome.code == 0
    assert outcome.stdout == (
        f"{plain}: no mistakes; plain, 1 nodes, 2 events, 0 assertions, 0:00:30 of virtual time\n"
    )


def test_every_mistake_of_every_file_is_named(run: Run, plain: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: x\nflet: []\nevents:\n  - {at: 1s, action: strat_fleet}\n")
    outcome = run("simulate", "validate", str(plain), str(wrong))
    assert outcome.code == 1
    first, second = outcome.stderr.splitlines()
    assert f"{wrong}:2: flet" in first
    assert "did you mean fleet?" in first
    assert f"{wrong}:4: events[0].action" in second
    assert "did you mean start_fleet?" in second
    (_, named) = json.loads(
        run("simulate", "validate", str(plain), str(wrong), "-o", "json").stdout
    )
    assert [(each["line"], each["key"]) for each in named["errors"]] == [
        (2, "flet"),
        (4, "events[0].action"),
    ]


def test_a_run_that_holds_ends_with_0_and_a_table(run: Run, plain: Path) -> None:
    outcome = run("simulate", "run", str(plain), "--seed", "7")
    assert outcome.code == 0
    lines = outcome.stdout.splitlines()
    assert lines[0].split() == ["CHECK", "OUTCOME", "AT", "LINE"]
    assert " ".join(lines[1].split()) == ("assert node-1 to be status active passed +0:00:30 5")
    assert "plain, seed 7" in outcome.stdout
    assert lines[-1].split() == ["checks:", "2", "of", "2", "hold"]
    assert "plain.yaml: 0:00:30 of 0:00:30" in outcome.stderr


def test_a_run_that_does_not_hold_ends_with_1_and_says_what_was_seen(
    run: Run, failing: Path
) -> None:
    outcome = run("simulate", "run", str(failing))
    assert outcome.code == 1
    assert (
        "failing.yaml:5: expected node-1 to be status draining, seen active\n"
        "  plain, seed 0, at +0:00:30\n"
    ) in outcome.stdout
    told = json.loads(run("simulate", "run", str(failing), "-o", "json").stdout)
    assert not told["passed"]
    assert [check["passed"] for check in told["checks"]] == [False, True]


def test_a_report_holds_the_journal_and_is_the_same_every_time(
    run: Run, plain: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        assert run("simulate", "run", str(plain), "--report", str(tmp_path / name)).code == 0
    for name in ("journal.jsonl", "outcome.json", "report.json", "report.html"):
        first, second = (tmp_path / folder / name for folder in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
    journal = (tmp_path / "one" / "journal.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in journal]
    assert "node_registered" in kinds


def test_a_report_tells_what_was_demanded(run: Run, failing: Path, tmp_path: Path) -> None:
    outcome = run("simulate", "run", str(failing), "--report", str(tmp_path / "told"))
    assert outcome.code == 1
    assert "AVAILABILITY" in outcome.stdout
    told = report_from_json((tmp_path / "told" / "report.json").read_bytes())
    assert [(check.passed, check.line, check.at) for check in told.checks] == [
        (False, 5, 30),
        (True, None, 30),
    ]
    page = (tmp_path / "told" / "report.html").read_text()
    assert "What was demanded: 1 of 2 hold" in page
    assert "expected node-1 to be status draining, seen active" in page
    assert "Goodput" not in page


def test_a_report_tells_the_goodput_of_training_jobs(run: Run, plain: Path, tmp_path: Path) -> None:
    job = "{name: llm, nodes: 1, work: 10s, checkpoint_cost: 1s, restart: 1s}"
    plain.write_text(f"{PLAIN}jobs: [{job}]\n")
    outcome = run("simulate", "run", str(plain), "--report", str(tmp_path / "told"))
    assert "1 of 1 jobs done" in outcome.stdout
    (told,) = report_from_json((tmp_path / "told" / "report.json").read_bytes()).goodput
    assert (told.jobs_done, told.restarts) == (1, {})
    assert told.kept == pytest.approx(8 * 10 / 3600, rel=1e-3)
    assert "Goodput of nodes that nobody bought" in (tmp_path / "told" / "report.html").read_text()


def test_a_report_that_cannot_be_written_is_a_clear_error(
    run: Run, plain: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("")
    outcome = run("simulate", "run", str(plain), "--report", str(tmp_path / "taken" / "below"))
    assert outcome.code == 1
    assert "cannot be written" in outcome.stderr


@pytest.mark.parametrize("speed, takes", [("realtime", 30), ("60", 0.5)])
def test_a_run_is_paced_by_the_clock_on_the_wall(
    run: Run, plain: Path, monkeypatch: pytest.MonkeyPatch, speed: str, takes: float
) -> None:
    wall = datetime(2026, 5, 4, tzinfo=UTC)
    waited = timedelta()

    def wait(duration: timedelta) -> None:
        nonlocal waited
        waited += duration

    monkeypatch.setattr(clock, "now", lambda: wall + waited)
    monkeypatch.setattr(clock, "wait", wait)
    assert run("simulate", "run", str(plain), "--speed", speed).code == 0
    assert waited == timedelta(seconds=takes)


@pytest.mark.parametrize("speed", ["0", "-1", "quick", "inf", "nan"])
def test_a_speed_that_is_none_is_refused(run: Run, plain: Path, speed: str) -> None:
    outcome = run("simulate", "run", str(plain), "--speed", speed)
    assert outcome.code == 2
    assert "is no speed" in outcome.stderr


def test_a_mistaken_scenario_is_not_run(run: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: x\n")
    outcome = run("simulate", "run", str(wrong))
    assert outcome.code == 1
    assert "there are no nodes" in outcome.stderr


def test_a_policy_that_is_not_there_is_one_line(run: Run, plain: Path) -> None:
    plain.write_text(PLAIN + "server: {health_policy: gone.yaml}\n")
    for verb in ("validate", "run"):
        outcome = run("simulate", verb, str(plain))
        assert outcome.code == 1
        assert "gone.yaml: there is no such file" in outcome.stderr
