"""``simulate run --serve``, ``interactive``, ``replay`` and ``shrink`` as programs."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.connect_server import Run

POOL = """\
name: live
duration: 30m
providers: {fake: {boot_time: 1m}}
pools:
  train: {provider: fake, min_nodes: 2, max_nodes: 4}
"""
FAILING = """\
name: failing
fleet: [{id: node-1}, {id: node-2}, {id: node-3}]
events:
  - {at: 0s, action: start_fleet}
  - at: 1m
    action: inject_failure
    target: node-2
    params: {failure_type: xid_error, xid_code: 79}
  - {at: 2m, action: log, params: {log_message: done}}
assertions: [{type: node_status, target: all, expected: active}]
"""


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Write a scenario of one pool."""
    path = tmp_path / "live.yaml"
    path.write_text(POOL)
    return path


def led(
    run: Run, file: Path, commands: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, str, str]:
    """Lead a run by commands, as from a pipe."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(commands))
    outcome = run("simulate", "interactive", str(file))
    return outcome.code, outcome.stdout, outcome.stderr


def test_a_run_is_led_by_commands(run: Run, pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = (
        "run 5m\nnodes train\ninject train-sim0-0001 xid_error xid=79 gpu=2\n"
        "until instance_condemned\n"
        "command train-sim0-0002 cordon reason='a try'\nscale train 3\nrun 10m\npools\nstatus\n"
        "explain node train-sim0-0001\nevents 3\nquit\nrun 5m\n"
    )
    code, out, err = led(run, pool, commands, monkeypatch)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("+0:05:00, ")
    assert "train-sim0-0001 of train: active, health healthy" in out
    assert "inject xid 79 into train-sim0-0001" in out
    assert "will be replaced: xid 79 on GPU 2" in out
    assert "cordon train-sim0-0002" in lines
    assert "3 wanted (scaled to 3 by an operator: live)" in out
    assert "time: +0:1" in out
    assert "train-sim0-0001 is terminated" in out
    assert lines[-1].split()[0].isdigit()


def test_mistakes_are_lines_and_the_run_goes_on(
    run: Run, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = (
        "nods\nrun\nrun 5 minutes\nrun five\nuntil node_lst\ninject nobody crash\n"
        "inject train-sim0-0001 xid_err\ncommand train-sim0-0001 dance\nscale trian 3\n"
        "explain node nobody\nexplain cat x\nevents 0\nsave /nowhere/at/all.yaml\n'open\nstatus\n"
    )
    code, out, err = led(run, pool, f"run 3m\n{commands}", monkeypatch)
    assert code == 1
    assert "Traceback" not in err
    told = err.splitlines()
    for number, words in enumerate(
        (
            "no command nods; did you mean nodes?",
            "expected: run DURATION",
            "expected: run DURATION",
            "'five' is no duration",
            "did you mean node_lost?",
            "seen no node nobody",
            "did you mean xid_error?",
            "params.command_type: expected one of",
            "did you mean train?",
            "node nobody is not known",
            "cat is nothing to explain, expected one of node, instance, pool",
            "0 is no count from 1 to 1,000",
            "cannot be written: No such file or directory",
            "not understood: no closing quotation",
        )
    ):
        assert words in told[number]
    assert "nodes: 2 active" in out


def test_what_was_done_is_saved_as_a_scenario_that_does_the_same(
    run: Run, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "saved.yaml"
    commands = (
        "run 5m\ninject train-sim0-0001 xid_error xid=79 gpu=2\nrun 5m\nscale train 3\nrun 2m\n"
        f"save {saved}\nevents 1000\n"
    )
    code, out, err = led(run, pool, commands, monkeypatch)
    assert (code, err) == (0, "")
    code, again, err = led(run, saved, "run 12m\nevents 1000\n", monkeypatch)
    assert (code, err) == (0, "")
    facts = [line for line in out.splitlines() if line.startswith(" ")]
    repeated = [line for line in again.splitlines() if line.startswith(" ")]
    assert len(facts) > 20
    assert repeated[: len(facts)] == facts


def test_a_fleet_is_served_until_it_is_interrupted(run: Run, pool: Path) -> None:
    report = pool.parent / "report"
    command = ["-m", "navarch", "simulate", "run", str(pool), "--serve", "--speed", "max"]
    command += ["--report", str(report)]
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as served:
        try:
            assert served.stdout is not None
            assert served.stderr is not None
            url = served.stdout.readline().split()[-1]
            served.stdout.readline()
            assert "the scenario is over at +0:30:00" in served.stderr.readline()
            listed = run("-s", url, "list", "-o", "json")
            assert len(json.loads(listed.stdout)["nodes"]) == 2
            assert run("-s", url, "cordon", "train-sim0-0001").code == 0
        finally:
            served.send_signal(signal.SIGINT)
        assert served.wait(20) == 0
        assert "Traceback" not in served.stderr.read()
    written = {each.name for each in report.iterdir()}
    assert written == {"journal.jsonl", "outcome.json", "report.html", "report.json"}


@pytest.mark.parametrize(
    "options, message",
    [
        (["--listen", "127.0.0.1:0"], "--listen goes with --serve"),
        (["--serve", "--listen", "0.0.0.0:0"], "can be reached by others"),
        (["--serve", "--listen", "here"], "is no address, expected HOST:PORT"),
        (["--speed", "fast"], "'fast' is no speed, expected realtime, max or a number"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    run: Run, pool: Path, options: list[str], message: str
) -> None:
    outcome = run("simulate", "run", str(pool), *options)
    assert outcome.code in (1, 2)
    assert message in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_a_report_is_replayed(run: Run, pool: Path, tmp_path: Path) -> None:
    run("simulate", "run", str(pool), "--report", str(tmp_path / "report"), "-o", "json")
    shown = run("simulate", "replay", str(tmp_path / "report"))
    assert shown.code == 0
    assert "train  2       2         2        2    4" in shown.stdout
    assert "nodes:      2 active" in shown.stdout
    early = run("simulate", "replay", str(tmp_path / "report"), "--until", "4", "-o", "json")
    document = json.loads(early.stdout)
    assert (document["seq"], document["facts"], document["nodes"]) == (4, 4, [])
    said = run("simulate", "replay", str(tmp_path / "report"), "--explain", "pool", "train")
    assert "pool train" in said.stdout
    later = run("simulate", "replay", str(tmp_path / "report"), "--at", "2026-01-01T00:10")
    assert "2 running" in later.stdout
    wrong = run("simulate", "replay", str(tmp_path / "report"), "--at", "noon")
    assert "'noon' is no time" in wrong.stderr
    missing = run("simulate", "replay", str(tmp_path / "nowhere"))
    assert (missing.code, missing.stderr.count("\n")) == (1, 1)


def test_a_failing_scenario_is_shrunk_to_one_that_fails_alike(run: Run, tmp_path: Path) -> None:
    failing, small = tmp_path / "failing.yaml", tmp_path / "small.yaml"
    failing.write_text(FAILING)
    outcome = run("simulate", "shrink", str(failing), "--seed", "5", "-o", str(small))
    assert outcome.code == 0
    assert small.read_text().startswith("# Fails with seed 5 at +")
    again = run("simulate", "run", str(small))
    assert again.code == 1
    assert "expected all to be status active, seen unhealthy" in again.stdout
    assert "node-2" in small.read_text()
    assert "node-3" not in small.read_text()
    text = run("simulate", "shrink", str(failing), "--seed", "5", "--max-runs", "3")
    assert "the limits are reached" in text.stderr
    assert "name: failing" in text.stdout


def test_a_scenario_that_holds_is_not_shrunk(run: Run, pool: Path) -> None:
    outcome = run("simulate", "shrink", str(pool))
    assert outcome.code == 1
    assert "nothing fails with seed 0" in outcome.stderr
