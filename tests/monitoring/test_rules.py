"""Rules and dashboards as values: the files are those of the code, and each expression is one."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from infra.real_parts import require
from monitoring.expressions import expressions_of, filled, names_in
from navarch.monitoring import files, grafana, rules
from navarch.monitoring.boards import BOARDS
from navarch.monitoring.grafana import COLUMNS, Board, Panel, Query, Row
from navarch.monitoring.rules import Alert, Chosen, Group, Recording
from navarch.monitoring.scraping import Scraping

ROOT = Path(__file__).resolve().parents[2]
CHOSEN = Chosen()
GROUPS = files.groups(CHOSEN)
ALERTS = {alert.name: alert for alert in rules.alerts_in(GROUPS)}


def test_the_files_of_the_repository_are_those_of_the_code() -> None:
    written = {
        "prometheus": files.rule_files(CHOSEN)
        | files.scrape_files(Scraping(targets=("127.0.0.1:50051",))),
        "grafana": files.dashboard_files(CHOSEN),
    }
    for folder, texts in written.items():
        there = {path.name: path.read_text() for path in (ROOT / "deploy" / folder).iterdir()}
        assert there == texts


@pytest.mark.parametrize("alert", ALERTS.values(), ids=lambda alert: alert.name)
def test_every_alert_says_who_when_what_and_where(alert: Alert) -> None:
    assert alert.severity in {"critical", "warning"}
    assert alert.lasts.endswith(("m", "h"))
    assert len(alert.summary) <= 90
    assert not alert.summary.endswith(".")
    assert alert.description.endswith(".")
    assert "{{ $labels." in alert.description
    assert alert.board in {board.uid for board in BOARDS}
    assert alert.by_pool == ("{{ $labels.pool }}" in alert.description)


def test_every_expression_is_promql() -> None:
    for where, expression in expressions_of(GROUPS, BOARDS):
        assert names_in(filled(expression)), where


def test_names_that_stand_twice_or_do_not_fit_are_refused() -> None:
    one = Recording("job:navarch_nodes:sum", "sum(navarch_nodes)", "All nodes.")
    with pytest.raises(ValueError, match="stand twice: job:navarch_nodes:sum"):
        rules.written((Group("a", (one,)), Group("b", (one,))), CHOSEN)
    with pytest.raises(ValueError, match="level:metric:operations"):
        rules.written((Group("a", (Recording("nodes", "up", "All."),)),), CHOSEN)


def test_what_an_installation_chooses_stands_in_its_rules() -> None:
    chosen = Chosen(
        jobs=("east", "west.1"),
        runbooks="https://docs.example/runbooks",
        grafana="https://grafana.example",
        dollars_per_hour_max=123456.5,
        lost_share_max=0.05,
    )
    text = files.rule_files(chosen)["navarch.rules.yml"]
    assert 'absent(up{job="east"})' in text
    assert 'or absent(up{job="west.1"})' in text
    assert 'up{job=~"east|west\\\\.1"} == 0' in text
    for _, expression in expressions_of(files.groups(chosen), ()):
        assert names_in(expression)
    assert "runbook_url: https://docs.example/runbooks/NavarchDown.md" in text
    assert "https://grafana.example/d/navarch-pool?var-job={{ $labels.job }}" in text
    assert "> 123456.5" in text
    assert "more than 123456.5 dollars" in text
    assert "> 0.05" in text


# --- dashboards -------------------------------------------------------------------------------


def panels_of(board: Board) -> list[dict[str, Any]]:
    """The panels of a written dashboard, headings left out."""
    document = json.loads(grafana.written(board, CHOSEN))
    return [panel for panel in document["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_panels_lie_beside_each_other_and_never_over_each_other(board: Board) -> None:
    document = json.loads(grafana.written(board, CHOSEN))
    covered: Counter[tuple[int, int]] = Counter()
    for panel in document["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        covered.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
    assert set(covered.values()) == {1}
    ids = [panel["id"] for panel in document["panels"]]
    assert sorted(set(ids)) == sorted(ids)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_panels_say_what_they_show_and_use_only_known_variables(board: Board) -> None:
    document = json.loads(grafana.written(board, CHOSEN))
    known = {variable["name"] for variable in document["templating"]["list"]}
    titles = [panel["title"] for panel in panels_of(board)]
    assert len(titles) == len(set(titles))
    for panel in panels_of(board):
        assert panel["description"].endswith(".")
        for target in panel["targets"]:
            asked = {word for word in ("job", "pool", "provider") if f"${word}" in target["expr"]}
            assert "job" in asked
            assert asked <= known


def test_every_alert_is_linked_from_a_panel_of_its_dashboard_and_no_other_is() -> None:
    linked = {
        (board.uid, name) for board in BOARDS for each in board.panels for name in each.alerts
    }
    assert {name for _, name in linked} == set(ALERTS)
    assert {(alert.board, alert.name) for alert in ALERTS.values()} <= linked


def test_a_dashboard_has_its_source_its_fleet_and_its_links() -> None:
    board = Board(
        uid="navarch-planted",
        title="Planted",
        about="Planted.",
        rows=(
            Row(
                "One",
                (
                    Panel(
                        title="Up", about="Up.", queries=(Query('up{job="$job"}', "{{instance}}"),)
                    ),
                ),
            ),
        ),
    )
    document = grafana.document(board, Chosen(control_plane="https://cp.example"))
    assert [each["name"] for each in document["templating"]["list"]] == ["datasource", "job"]
    assert document["schemaVersion"] == 42
    assert [link["url"] for link in document["links"]] == [
        "",
        "https://cp.example",
        "docs/runbooks",
    ]
    target = document["panels"][1]["targets"][0]
    assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert (target["expr"], target["legendFormat"]) == ('up{job="$job"}', "{{instance}}")


# --- Prometheus' own tools --------------------------------------------------------------------


def test_promtool_takes_the_rules_and_the_configuration(tmp_path: Path) -> None:
    require(["promtool"], "prometheus")
    token = tmp_path / "token"
    token.write_text("secret")
    scraping = Scraping(targets=("cp1:50051", "cp2:50051"), credentials_file=str(token))
    for name, text in (files.rule_files(CHOSEN) | files.scrape_files(scraping)).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["promtool", "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 rule files found" in done.stdout
    assert f"{sum(len(group.rules) for group in GROUPS)} rules found" in done.stdout
