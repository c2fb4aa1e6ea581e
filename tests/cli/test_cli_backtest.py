"""``autoscale backtest``: a load goes through a pool's autoscaler, and the table tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.connect_server import Run

CONFIG = """
server: {autoscale_interval: 1m}
providers: {fake: {type: fake}}
pools:
  training:
    provider: fake
    min_nodes: 1
    max_nodes: 10
    cooldown: 0s
    autoscaling: {type: queue, jobs_per_node: 2}
  steps: {provider: fake, max_nodes: 10, autoscaling: {type: reactive, scale_up_step: 4}}
  still: {provider: fake, max_nodes: 10}
  broken: {provider: fake, max_nodes: 10, autoscaling: {type: custom, use: "fractions:Fraction"}}
"""
TRACE = "time,value\n0,4\n3600,12\n7200,4\n10800,4\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "navarch.yaml").write_text(CONFIG)
    (tmp_path / "load.csv").write_text(TRACE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tried(run: Run, *words: str, pool: str = "training") -> tuple[int, str, str]:
    return run("autoscale", "backtest", "--config", "navarch.yaml", "--pool", pool, *words)


def test_a_trace_is_replayed_with_the_pools_own_limits_and_jobs(folder: Path, run: Run) -> None:
    code, stdout, stderr = tried(run, "--trace", "load.csv", "--unit", "jobs", "-o", "json")
    assert (code, stderr) == (0, "")
    (load,) = json.loads(stdout)["loads"]
    (result,) = load["results"]
    assert (load["load"], result["name"]) == ("load.csv", "training (queue)")
    # 2 nodes, then 6, then 2 again; those 4 that are bought late work after 5 minutes.
    assert (result["node_hours"], result["scalings"], result["nodes_max"]) == (10.0, 2, 6)
    assert result["minutes_under_capacity"] == 5.0


def test_others_stand_beside_it_and_loads_below_one_another(folder: Path, run: Run) -> None:
    words = [
        "--seed",
        "1",
        "--seed",
        "2",
        "--interval",
        "30m",
        "--compare",
        "reactive,predictive",
        "--compare",
        "steps",
    ]
    code, stdout, stderr = tried(run, *words)
    assert (code, stderr) == (0, "")
    lines = stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        *("seed 1", "AUTOSCALER", "training (queue)", "reactive", "predictive"),
        "steps (reactive)",
        *("seed 2", "AUTOSCALER", "training (queue)", "reactive", "predictive"),
        "steps (reactive)",
    ]
    assert lines[1:6] != lines[7:]
    assert tried(run, *words) == (0, stdout, "")


def test_the_page_with_charts_is_written(folder: Path, run: Run) -> None:
    code, _, _ = tried(run, "--trace", "load.csv", "--unit", "jobs", "--html", "page.html")
    assert code == 0
    assert "<title>Backtest of load.csv</title>" in (folder / "page.html").read_text()


@pytest.mark.parametrize(
    "pool,words,expected",
    [
        (
            "nobody",
            ["--seed", "1"],
            "there is no pool nobody; there are: training, steps, still, broken",
        ),
        ("still", ["--seed", "1"], "pool still has no autoscaling: add some, or say --compare"),
        ("broken", ["--seed", "1"], "expected a class with recommend()"),
        (
            "training",
            ["--seed", "1", "--compare", "reactive,hope"],
            "called hope; there are: reactive, queue, predictive, training, steps, broken",
        ),
        ("training", ["--trace", "absent.csv"], "absent.csv: cannot be read"),
        (
            "training",
            ["--trace", "load.csv", "--html", "/nowhere/page.html"],
            "/nowhere/page.html: cannot be written: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_tried_is_one_line(
    pool: str, words: list[str], expected: str, folder: Path, run: Run
) -> None:
    code, stdout, stderr = tried(run, *words, pool=pool)
    assert (code, stdout) == (1, "")
    assert expected in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words,expected",
    [
        ([], "say either --trace or --seed"),
        (["--trace", "load.csv", "--seed", "1"], "say either --trace or --seed"),
        (["--seed", "1", "--interval", "0s"], "it must be above zero"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    words: list[str], expected: str, folder: Path, run: Run
) -> None:
    code, stdout, stderr = tried(run, *words)
    assert (code, stdout) == (2, "")
    assert expected in stderr
