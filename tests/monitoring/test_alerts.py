"""Each alert fires when it should, not before, and not when it should not: by `promtool`."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from infra.real_parts import require
from monitoring.alert_cases import CASES, Fires, Series
from monitoring.expressions import names_in
from navarch.monitoring import files, rules
from navarch.monitoring.rules import Alert, Chosen, Group

CHOSEN = Chosen()
GROUPS = files.groups(CHOSEN)
ALERTS = {alert.name: alert for alert in rules.alerts_in(GROUPS)}

_LABEL = re.compile(r"\{\{ \$labels\.(\w+) \}\}")
_VALUE = re.compile(r"\{\{ \$value(?: \| \w+)? \}\}")


def told(text: str, labels: Mapping[str, str], value: str) -> str:
    """Fill a template of Prometheus in; the number is given as people read it."""
    assert value or not _VALUE.search(text), f"say the value in: {text}"
    return _VALUE.sub(value, _LABEL.sub(lambda found: labels[found[1]], text))


def expected(alert: Alert, fires: Fires) -> dict[str, Any]:
    """Write the alert that `promtool` has to find."""
    labels = {"job": "navarch", **fires.labels}
    notes = {
        "summary": alert.summary,
        "description": alert.description,
        "runbook_url": rules.runbook_url(alert, CHOSEN),
        "dashboard_url": rules.board_url(alert, CHOSEN),
    }
    return {
        "exp_labels": {**labels, "severity": alert.severity},
        "exp_annotations": {name: told(text, labels, fires.value) for name, text in notes.items()},
    }


def held_against(
    series: Series, name: str, moments: Sequence[tuple[int, list[dict[str, Any]]]]
) -> dict[str, Any]:
    """Write one test of `promtool`: numbers, and what fires at which minute."""
    return {
        "interval": "1m",
        "input_series": [{"series": each, "values": numbers} for each, numbers in series.items()],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": alerts}
            for minute, alerts in moments
        ],
    }


def held_for(name: str) -> list[dict[str, Any]]:
    """Write the tests of an alert."""
    case = CASES[name]
    tests = [held_against(series, name, [(at, [])]) for series, at in case.quiet]
    for fires in (case.fires, *case.also):
        moments = [(fires.not_before, []), (fires.at, [expected(ALERTS[name], fires)])]
        tests.append(held_against(fires.series, name, moments))
    return tests


def needed_by(alert: Alert) -> Group:
    """Give an alert and the recorded series that it looks at, so that no others are reckoned."""
    recorded = {recording.name: recording for recording in rules.recordings_in(GROUPS)}
    wanted = names_in(alert.expr)
    while (
        more := {name for each in wanted & set(recorded) for name in names_in(recorded[each].expr)}
        - wanted
    ):
        wanted |= more
    needed = [recording for name, recording in recorded.items() if name in wanted]
    return Group("needed", (*needed, alert))


def run(folder: Path, tests: Mapping[str, Sequence[Any]]) -> subprocess.CompletedProcess[str]:
    """Have `promtool` run tests of alerts, by their names."""
    require(["promtool"], "prometheus")
    for name, each in tests.items():
        (folder / f"{name}.yml").write_text(rules.written([needed_by(ALERTS[name])], CHOSEN))
        content = {
            "rule_files": [f"{name}.yml"],
            "evaluation_interval": "1m",
            "tests": list(each),
        }
        (folder / f"{name}-tests.yml").write_text(yaml.safe_dump(content, sort_keys=False))
    return subprocess.run(
        ["promtool", "test", "rules", *(f"{name}-tests.yml" for name in tests)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_alert_has_a_case_and_every_case_an_alert() -> None:
    assert sorted(CASES) == sorted(ALERTS)
    assert [name for name, case in CASES.items() if not case.quiet] == []


def test_every_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    done = run(tmp_path, {name: held_for(name) for name in CASES})
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_case_that_is_wrong_is_found(tmp_path: Path) -> None:
    case = CASES["NavarchPoolBelowMin"]
    never = held_against(case.quiet[0][0], "NavarchPoolBelowMin", [(16, [])])
    never["alert_rule_test"][0]["exp_alerts"] = [
        expected(ALERTS["NavarchPoolBelowMin"], case.fires)
    ]
    done = run(tmp_path, {"NavarchPoolBelowMin": [never]})
    assert done.returncode == 1
    assert "FAILED" in done.stdout + done.stderr
