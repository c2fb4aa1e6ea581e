"""Words and alerts belong together: a runbook for each alert, and each series is documented."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from monitoring.expressions import expressions_of, filled, names_in
from navarch.cli import main
from navarch.monitoring import files, rules
from navarch.monitoring.boards import BOARDS
from navarch.monitoring.rules import Alert, Chosen, Group

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "monitoring.md"
METRICS = ROOT / "docs" / "metrics.md"
RUNBOOKS = ROOT / "docs" / "runbooks"
GROUPS = files.groups(Chosen())
ALERTS = {alert.name: alert for alert in rules.alerts_in(GROUPS)}

OF_PROMETHEUS = {"up", "ALERTS"}
"""Series that Prometheus itself makes."""


def unread(runbooks: set[str], alerts: set[str]) -> list[str]:
    """Name the alerts without a runbook, and the runbooks without an alert."""
    return [f"no runbook: {name}" for name in sorted(alerts - runbooks)] + [
        f"no alert: {name}" for name in sorted(runbooks - alerts)
    ]


def test_every_series_that_is_asked_for_is_documented_or_recorded() -> None:
    documented = (ROOT / "docs" / "metrics.md").read_text()
    documented += (ROOT / "docs" / "plugins.md").read_text()
    recorded = {recording.name for recording in rules.recordings_in(GROUPS)}
    unknown = {
        (where, name)
        for where, expression in expressions_of(GROUPS, BOARDS)
        for name in names_in(filled(expression)) - recorded - OF_PROMETHEUS
        if f"`{plain(name)}`" not in documented
    }
    assert unknown == set()


def plain(name: str) -> str:
    """Give the name of a histogram by that of one of its series."""
    for end in ("_bucket", "_count", "_sum"):
        name = name.removesuffix(end)
    return name


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    runbooks = {path.stem for path in RUNBOOKS.glob("Navarch*.md")}
    assert unread(runbooks, set(ALERTS)) == []


def test_a_planted_alert_without_a_runbook_is_found_and_the_other_way_round() -> None:
    planted = Alert(
        name="NavarchPlanted",
        severity="warning",
        expr="up == 0",
        lasts="1m",
        summary="planted",
        description="planted.",
        board="navarch-fleet",
    )
    names = {alert.name for alert in rules.alerts_in((*GROUPS, Group("planted", (planted,))))}
    runbooks = {path.stem for path in RUNBOOKS.glob("Navarch*.md")}
    assert unread(runbooks, names) == ["no runbook: NavarchPlanted"]
    assert unread(runbooks | {"NavarchForgotten"}, set(ALERTS)) == ["no alert: NavarchForgotten"]


@pytest.mark.parametrize("name", ALERTS)
def test_every_runbook_has_its_parts_and_names_what_the_alert_names(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert text.startswith(f"# {name}\n")
    assert headings == [
        "What it means",
        "What users feel",
        "Confirm",
        "What to do",
        "How it ends",
        "If the alert is wrong",
    ]
    assert f"`{ALERTS[name].severity}`" in text
    assert f"`{ALERTS[name].lasts}`" in text
    assert "navarch " in text
    assert "```promql" in text


def test_runbooks_ask_for_series_that_exist_and_in_promql() -> None:
    documented = (ROOT / "docs" / "metrics.md").read_text()
    documented += (ROOT / "docs" / "plugins.md").read_text()
    recorded = {recording.name for recording in rules.recordings_in(GROUPS)}
    unknown = {
        (path.stem, name)
        for path in RUNBOOKS.glob("Navarch*.md")
        for block in path.read_text().split("```promql\n")[1:]
        for expression in block.partition("```")[0].strip().split("\n")
        for name in names_in(expression) - recorded - OF_PROMETHEUS
        if f"`{plain(name)}`" not in documented
    }
    assert unknown == set()


def commands_in(text: str) -> list[list[str]]:
    """The commands of ours that a page shows, in its code and between its words, in words."""
    quoted = re.findall(r"`(navarch [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [
        line for block in text.split("```sh\n")[1:] for line in block.split("```")[0].split("\n")
    ]
    shown = [line for line in lines if line.startswith("navarch ")]
    return [shlex.split(" ".join(one.split()))[1:] for one in (*quoted, *shown)]


def fault_of(words: list[str]) -> str:
    """Say what the command line does not know of a command; empty: it knows all of it."""
    command: click.Command = main.cli
    known = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            known |= {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
            if word not in known:
                return f"{command.name} has no option {word}"
            skip = any(
                word in one.opts and isinstance(one, click.Option) and not one.is_flag
                for one in (*main.cli.params, *command.params)
            )
        elif isinstance(command, click.Group):
            found = command.commands.get(word)
            if found is None:
                return f"{command.name} has no command {word}"
            command = found
    return ""


@pytest.mark.parametrize("name", [*ALERTS, "../monitoring"])
def test_every_command_of_ours_that_a_page_shows_is_one(name: str) -> None:
    shown = commands_in((RUNBOOKS / f"{name}.md").read_text())
    assert shown
    assert [(words, fault) for words in shown if (fault := fault_of(words))] == []


def test_a_command_that_is_none_is_found() -> None:
    text = "Say `navarch pool acknowledge NAME` or\n\n```sh\nnavarch list --healthy\n```\n"
    faults = [fault_of(words) for words in commands_in(text)]
    assert faults == ["pool has no command acknowledge", "list has no option --healthy"]


def table(page: str, mark: str) -> list[list[str]]:
    """The rows of a marked table."""
    block = page.split(f"<!-- {mark} -->\n")[1].split("<!-- end -->", maxsplit=1)[0]
    rows = [line.strip("| \n").split(" | ") for line in block.strip().split("\n")]
    return rows[2:]


def test_the_page_names_all_alerts_recorded_series_and_dashboards() -> None:
    page = PAGE.read_text()
    assert [row[:3] for row in table(page, "alerts")] == [
        [f"[{alert.name}](runbooks/{alert.name}.md)", alert.severity, alert.lasts]
        for alert in ALERTS.values()
    ]
    assert table(page, "recordings") == [
        [f"`{recording.name}`", recording.about] for recording in rules.recordings_in(GROUPS)
    ]
    assert table(page, "dashboards") == [
        [board.title.removeprefix("Navarch: "), f"`{board.uid}`", board.about] for board in BOARDS
    ]


def test_everything_that_is_measured_stands_on_a_dashboard_or_in_a_rule() -> None:
    measured = set(
        re.findall(r"^\| `((?:navarch|process)_\w+)` \|", METRICS.read_text(), re.MULTILINE)
    )
    used = {
        plain(name)
        for _, expression in expressions_of(GROUPS, BOARDS)
        for name in names_in(filled(expression))
    }
    assert len(measured) > 50
    left_out = {name for name in measured - used if not name.startswith("navarch_node_")}
    assert left_out == set()  # those of single nodes are for whoever asked for them
