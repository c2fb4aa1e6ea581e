"""``config apply``: a file goes to the control plane, and what came of it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.connect_server import ConnectServer, Json, Refusal, Run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "navarch.yaml"
    path.write_text("pools: {}\n")
    return path


def test_the_text_and_the_name_of_the_file_are_sent(
    server: ConnectServer, run: Run, file: Path
) -> None:
    server.prepare("ApplyConfig", {"changes": ["pool a is new: 0 to 3 nodes", "server.metrics"]})
    told = run("config", "apply", str(file))
    assert told == (0, "pool a is new: 0 to 3 nodes\nserver.metrics\n", "")
    assert server.requests == [("ApplyConfig", {"text": "pools: {}\n", "source": str(file)})]
    as_json = run("config", "apply", str(file), "-o", "json")
    assert json.loads(as_json.stdout) == {
        "changes": ["pool a is new: 0 to 3 nodes", "server.metrics"]
    }


def test_a_file_that_changes_nothing_says_so(server: ConnectServer, run: Run, file: Path) -> None:
    server.prepare("ApplyConfig", {})
    told = f"navarch: {file} says what {server.url} does already\n"
    assert run("config", "apply", str(file)) == (0, "", told)
    assert json.loads(run("config", "apply", str(file), "-o", "json").stdout) == {"changes": []}


def test_every_mistake_is_a_line_and_exit_code_1(
    server: ConnectServer, run: Run, file: Path
) -> None:
    def refuse(request: Json) -> Json:
        raise Refusal(400, "invalid_argument", "a.yaml:1: x: wrong\na.yaml:2: y: \u001b[31mwrong")

    server.answers["ApplyConfig"] = refuse
    assert run("config", "apply", str(file)) == (
        1,
        "",
        "navarch: a.yaml:1: x: wrong\nnavarch: a.yaml:2: y: \\x1b[31mwrong\n",
    )


def test_what_needs_a_restart_is_one_line(server: ConnectServer, run: Run, file: Path) -> None:
    def refuse(request: Json) -> Json:
        raise Refusal(400, "failed_precondition", "needs a restart: server.data")

    server.answers["ApplyConfig"] = refuse
    assert run("config", "apply", str(file)) == (1, "", "navarch: needs a restart: server.data\n")


def test_a_file_that_is_not_there_is_not_sent(server: ConnectServer, run: Run) -> None:
    told = "navarch: /nowhere.yaml: there is no such file\n"
    assert run("config", "apply", "/nowhere.yaml") == (1, "", told)
    assert server.requests == []
