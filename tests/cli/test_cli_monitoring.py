"""`navarch monitoring`: rules, dashboards and a configuration of Prometheus as files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from cli.connect_server import Run
from golden_text import golden

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def test_rules_are_printed_as_they_stand_in_the_repository(run: Run) -> None:
    code, stdout, stderr = run("monitoring", "rules")
    assert (code, stderr) == (0, "")
    assert stdout == (DEPLOY / "prometheus" / "navarch.rules.yml").read_text()


def test_rules_have_what_an_installation_chooses(run: Run) -> None:
    words = ["--job", "east", "--runbooks", "https://docs.example/", "--cost-max", "2500"]
    code, stdout, _ = run("monitoring", "rules", *words, "--lost-max", "0.1")
    assert code == 0
    found = {
        rule["alert"]: rule
        for group in yaml.safe_load(stdout)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert 'job="east"' in found["NavarchDown"]["expr"]
    runbook = found["NavarchDown"]["annotations"]["runbook_url"]
    assert runbook == "https://docs.example/NavarchDown.md"
    assert found["NavarchCostAboveBudget"]["expr"].endswith("> 2500")
    assert found["NavarchGpuTimeLost"]["expr"].endswith("> 0.1")


def test_dashboards_are_written_into_a_folder_that_is_made(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "grafana"
    code, stdout, stderr = run("monitoring", "dashboards", "--out", str(folder))
    assert (code, stderr) == (0, "")
    written = {path.name: path.read_text() for path in folder.iterdir()}
    assert written == {path.name: path.read_text() for path in (DEPLOY / "grafana").iterdir()}
    assert sorted(stdout.split()) == sorted(str(folder / name) for name in written)


def test_dashboards_link_the_control_plane_that_is_named(run: Run, tmp_path: Path) -> None:
    address = ["--control-plane", "https://cp1.example:50051/"]
    assert run("monitoring", "dashboards", *address, "--out", str(tmp_path)).code == 0
    links = json.loads((tmp_path / "navarch-fleet.json").read_text())["links"]
    assert [link["url"] for link in links][1] == "https://cp1.example:50051"


def test_a_configuration_of_prometheus_is_that_of_the_golden_file(run: Run) -> None:
    targets = ["cp1.example:50051", "cp2.example:50051"]
    code, stdout, stderr = run("monitoring", "scrape", *targets, "--ca-file", "/etc/ca.pem")
    assert (code, stderr) == (0, "")
    assert stdout == golden(stdout, "cli/monitoring-scrape.txt")


def test_who_asks_for_no_token_is_scraped_without_one(run: Run) -> None:
    stdout = run("monitoring", "scrape", "127.0.0.1:50051", "--no-credentials").stdout
    [job] = yaml.safe_load(stdout)["scrape_configs"]
    assert job == {"job_name": "navarch", "static_configs": [{"targets": ["127.0.0.1:50051"]}]}


@pytest.mark.parametrize("word", ['a"b', "a{b", "a$b", "a\\b", "a\nb", ""])
def test_a_name_that_would_break_a_file_of_others_is_refused(word: str, run: Run) -> None:
    code, stdout, stderr = run("monitoring", "rules", "--job", word)
    assert (code, stdout) == (2, "")
    assert "does not fit: expected signs that can be seen, without quotation marks" in stderr


def test_a_folder_that_cannot_be_written_to_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, _, stderr = run("monitoring", "rules", "--out", str(tmp_path / "file" / "below"))
    assert code == 1
    assert stderr == f"navarch: cannot write to {tmp_path / 'file' / 'below'}: Not a directory\n"
