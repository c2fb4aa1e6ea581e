"""The commands about plugins: what they ask the server, and what they show."""

from __future__ import annotations

import json

import pytest

from cli.connect_server import ConnectServer, Run

PLUGIN = {
    "kind": "scheduler",
    "name": "prefer-ssd",
    "priority": 150,
    "enabled": True,
    "origin": "foreign 1.0",
    "version": "1.2",
    "summary": "Prefers nodes that have a fast disk.",
    "calls": "12",
    "failures": "1",
    "latencyP50": 0.00025,
    "latencyP99": 1.5,
    "lastFailure": "score: KeyError: 'disk'",
    "isolated": "until 00:00:30 UTC",
    "broken": "no config",
    "because": "it is slow",
}
TRACE = {
    "at": "2026-06-01T00:00:00Z",
    "kind": "scheduler",
    "plugin": "prefer-ssd",
    "point": "score",
    "pool": "default/chat",
    "subject": "pod-1",
    "seconds": 0.002,
    "outcome": "ok",
    "verdict": "70",
    "shadow": True,
}


@pytest.fixture
def plugins(server: ConnectServer) -> ConnectServer:
    """A server with one plugin that has been called once."""
    off = {**PLUGIN, "name": "\x1b[31m", "enabled": False}
    server.prepare("ListPlugins", {"plugins": [PLUGIN, off, {**PLUGIN, "shadow": True}]})
    server.prepare("ListPluginTraces", {"traces": [TRACE]})
    server.prepare("SetPlugin", {"plugin": {**PLUGIN, "enabled": False}})
    return server


def test_plugins_are_listed_with_what_they_did(plugins: ConnectServer, run: Run) -> None:
    code, stdout, stderr = run("plugin", "list", "--kind", "scheduler")
    assert (code, stderr) == (0, "")
    lines = [line.split() for line in stdout.splitlines()]
    assert " ".join(lines[0]) == "KIND NAME PRIORITY STATE CALLS FAILED P50 P99 ORIGIN"
    told = "scheduler prefer-ssd 150 ENABLED 12 1 250 us 1.5 s foreign 1.0"
    assert " ".join(lines[1]) == told
    assert lines[2][:4] == ["scheduler", "\\x1b[31m", "150", "DISABLED"]
    assert lines[3][3] == "SHADOW"
    assert plugins.requests == [("ListPlugins", {"kind": "scheduler"})]
    wide = run("plugin", "list", "-o", "wide").stdout
    for told in ("score: KeyError: 'disk'", "until 00:00:30 UTC", "no config", "it is slow"):
        assert told in wide
    as_json = json.loads(run("plugin", "list", "-o", "json").stdout)
    assert as_json["plugins"][0] == PLUGIN


def test_calls_are_shown_with_what_was_said(plugins: ConnectServer, run: Run) -> None:
    code, stdout, stderr = run("plugin", "trace", "scheduler", "--pool", "default/chat")
    assert (code, stderr) == (0, "")
    _, line = stdout.splitlines()
    assert "prefer-ssd (shadow)  score  default/chat  pod-1    2 ms  ok       70" in line
    asked = {"kind": "scheduler", "pool": "default/chat", "limit": 100}
    assert plugins.requests == [("ListPluginTraces", asked)]


@pytest.mark.parametrize(
    "arguments,wish",
    [
        (["enable", "scheduler", "prefer-ssd"], {"enabled": True}),
        (["disable", "scheduler", "prefer-ssd"], {"enabled": False}),
        (["priority", "scheduler", "prefer-ssd", "-7"], {"priority": -7}),
        (["shadow", "scheduler", "prefer-ssd", "on"], {"shadow": True}),
        (["shadow", "scheduler", "prefer-ssd", "off"], {"shadow": False}),
    ],
)
def test_a_wish_is_sent_with_its_reason(
    arguments: list[str], wish: dict[str, object], plugins: ConnectServer, run: Run
) -> None:
    outcome = run("plugin", *arguments, "--reason", "a test")
    assert outcome == (0, "scheduler prefer-ssd: disabled, priority 150\n", "")
    named = {"kind": "scheduler", "name": "prefer-ssd", "reason": "a test"}
    assert plugins.requests == [("SetPlugin", {**named, **wish})]


def test_nothing_to_show_is_said(server: ConnectServer, run: Run) -> None:
    server.prepare("ListPlugins", {})
    server.prepare("ListPluginTraces", {})
    assert "no plugins at http" in run("plugin", "list").stderr
    assert run("plugin", "trace", "guardrail").stderr == "navarch: no calls yet\n"


def test_the_schema_of_a_plugin_needs_no_server(run: Run) -> None:
    outcome = run("plugin", "schema", "scheduler", "plugins.foreign:PreferSsd")
    assert outcome.code == 0
    assert list(json.loads(outcome.stdout)["properties"]) == ["weight", "label", "patience"]
    refused = run("plugin", "schema", "guardrail", "nobody")
    assert (refused.code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("navarch: no guardrail is called nobody; there are: ")
