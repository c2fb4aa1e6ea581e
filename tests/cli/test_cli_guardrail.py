"""``navarch guardrail check``: a text is checked as an agent's would be."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from cli.connect_server import Run

TEXT = "Hello,\nwrite to alice@example.com\nor é +44 20 7946 0958\n"
CLASSES = """\
apiVersion: neuronetes.io/v1alpha1
kind: AgentClass
metadata: {name: strict}
spec:
  modelRef: {name: llama}
  guardrails:
    - {type: pii-detection, action: block, deadline: 200ms}
---
apiVersion: neuronetes.io/v1alpha1
kind: AgentClass
metadata: {name: mild}
spec:
  modelRef: {name: llama}
  guardrails:
    - {type: pii-detection, action: redact, config: {types: [email]}}
"""


@pytest.fixture
def mail(tmp_path: Path) -> str:
    (tmp_path / "mail.txt").write_text(TEXT)
    return str(tmp_path / "mail.txt")


@pytest.fixture
def classes(tmp_path: Path) -> str:
    (tmp_path / "classes.yaml").write_text(CLASSES)
    return str(tmp_path / "classes.yaml")


def test_findings_are_shown_with_their_places(run: Run, mail: str) -> None:
    outcome = run("guardrail", "check", mail)
    assert outcome.code == 0
    assert outcome.stdout.splitlines() == [
        "LINE  COLUMN  LENGTH  TYPE   SCORE",
        "2     10      17      email  0.95",
        "3     6       16      phone  0.90",
        "",
        "warn: 2 found: email, phone",
    ]


def test_the_redacted_text_comes_out_alone(run: Run, mail: str) -> None:
    outcome = run("guardrail", "check", mail, "--redact")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.stdout == "Hello,\nwrite to <EMAIL>\nor é <PHONE>\n"


def test_a_blocked_text_exits_with_1(run: Run, mail: str, classes: str) -> None:
    where = ("--agent-class", classes, "--name", "strict")
    outcome = run("guardrail", "check", mail, *where, "-o", "json")
    told = json.loads(outcome.stdout)
    assert (outcome.code, told["action"], told["passed"]) == (1, "block", False)
    assert told["findings"] == [
        {"start": 16, "end": 33, "line": 2, "column": 10, "type": "email", "score": 0.95}
    ]


def test_standard_input_is_checked_as_a_class_asks(
    run: Run, classes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    outcome = run("guardrail", "check", "-", "--agent-class", classes, "--name", "mild", "--redact")
    assert (outcome.code, outcome.stdout) == (
        0,
        "Hello,\nwrite to <EMAIL>\nor é +44 20 7946 0958\n",
    )


def test_one_of_several_classes_must_be_named(run: Run, mail: str, classes: str) -> None:
    outcome = run("guardrail", "check", mail, "--agent-class", classes)
    assert outcome.code == 1
    assert "expected one AgentClass, or --name; the file has: default/strict, default/mild" in (
        outcome.stderr
    )


def test_a_type_that_nobody_has_is_named(run: Run, mail: str) -> None:
    outcome = run("guardrail", "check", mail, "--type", "pii")
    assert outcome.code == 1
    assert "no guardrail plugin has the type 'pii'; there are: content-filter, " in outcome.stderr


def test_type_and_class_together_are_wrong_usage(run: Run, mail: str, classes: str) -> None:
    outcome = run("guardrail", "check", mail, "--agent-class", classes, "--type", "pii-detection")
    assert outcome.code == 2


@pytest.mark.parametrize("content,expected", [(None, "No such file"), (b"\xff", "is not UTF-8")])
def test_a_file_that_is_no_text_is_told(
    run: Run, tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "mail.txt"
    if content is not None:
        path.write_bytes(content)
    outcome = run("guardrail", "check", str(path))
    assert (outcome.code, expected in outcome.stderr) == (1, True)
