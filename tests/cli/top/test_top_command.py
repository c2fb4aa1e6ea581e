"""``navarch top``: what is printed without a terminal, and the whole program in a real one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.connect_server import ConnectServer, Json, Run
from cli.top.terminal import Terminal
from golden_text import golden
from live_plane import LivePlane, live_plane
from navarch.cli import clock

NOW = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)


def a_node(name: str, **more: object) -> Json:
    return {
        "nodeId": name,
        "pool": "training",
        "status": "NODE_STATUS_ACTIVE",
        "healthStatus": "HEALTH_STATUS_HEALTHY",
        "lastHeartbeat": "2026-05-04T12:00:28Z",
        "gpus": [{}, {"index": 1}],
        "phase": "active",
        "contact": "connected",
        "intent": "in_service",
        "because": "its checks found nothing wrong",
        **more,
    }


@pytest.fixture
def fleet(server: ConnectServer, monkeypatch: pytest.MonkeyPatch) -> ConnectServer:
    """A fleet in which one of each is wrong."""
    monkeypatch.setattr(clock, "now", lambda: NOW)
    pool = {"name": "training", "targetNodes": 6, "currentNodes": 6, "readyNodes": 2}
    pool |= {"lostNodes": 1, "bootingNodes": 1, "repairPaused": True}
    server.prepare("ListPools", {"pools": [{**pool, "because": "3 of 6 failed within 10 min"}]})
    sick = {"status": "NODE_STATUS_UNHEALTHY", "healthStatus": "HEALTH_STATUS_UNHEALTHY"}
    nodes = [
        a_node("n1"),
        a_node("n2", **sick, because="xid 79 on GPU 1\n\x1b[31m"),
        a_node("n3", status="NODE_STATUS_UNHEALTHY", contact="lost", because="silent for 90 s"),
        a_node("n4", healthStatus="HEALTH_STATUS_DEGRADED", because="GPU 0 is at 88 °C"),
        a_node("n5", status="NODE_STATUS_CORDONED", intent="cordoned", because="bad cable"),
        a_node("n6", phase="terminating", status="NODE_STATUS_TERMINATED"),
        a_node("n7", phase="terminated", status="NODE_STATUS_TERMINATED"),
        a_node("n8", lastHeartbeat=None),
    ]
    server.prepare("ListNodes", {"nodes": nodes})
    fact = {"kind": "node_lost", "subjects": ["n3"], "at": "2026-05-04T12:00:01Z"}
    facts = [{"seq": "41", "text": "node n3 is lost", "because": "silent for 90 s", **fact}]
    server.prepare("ListEvents", {"events": facts, "lastSeq": "41"})
    return server


def test_once_prints_what_is_wrong_first(
    fleet: ConnectServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, stdout, stderr = run("top", "--once", "--nodes", "6")
    assert (code, stderr) == (0, "")
    assert (said := stdout.replace(fleet.url, "http://SERVER")) == golden(said, "cli/top_once.txt")


def test_without_a_terminal_it_prints_as_once_does(fleet: ConnectServer, run: Run) -> None:
    assert run("top").stdout == run("top", "--once").stdout


def test_once_shows_the_nodes_that_are_asked_for(fleet: ConnectServer, run: Run) -> None:
    stdout = run("top", "--once", "--filter", "cable CORDONED").stdout
    assert re.findall(r"^n\d", stdout, re.MULTILINE) == ["n5"]
    assert not re.findall(r"^n\d", run("top", "--pool", "other").stdout, re.MULTILINE)


def test_programs_get_one_document(fleet: ConnectServer, run: Run) -> None:
    shown = json.loads(run("top", "-o", "json").stdout)
    assert (shown["server"], shown["role"], shown["seq"]) == (fleet.url, "leader", "41")
    assert [len(shown[key]) for key in ("pools", "nodes", "events")] == [1, 8, 1]


def test_without_textual_one_line_says_how_to_have_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("importlib.util.find_spec", {}.get)
    code, stdout, stderr = run("top")
    assert (code, stdout) == (1, "")
    assert stderr == (
        "navarch: navarch top draws with Textual, which is not installed: "
        "pip install 'navarch[dashboard]'; or print one screen with --once\n"
    )


# ---- in a real terminal


@pytest.fixture(scope="module")
def plane() -> Iterator[LivePlane]:
    """A control plane with two nodes."""
    with live_plane() as live:
        live.join(["n1", "n2"])
        yield live


def test_in_a_real_terminal_keys_reach_it_and_the_screen_is_given_back(plane: LivePlane) -> None:
    terminal = Terminal("top", "-s", plane.url, NO_COLOR="1")
    terminal.until("2 nodes, 16 GPUs")
    terminal.until("n2 ")
    terminal.press("/n2\r")
    terminal.until("with 'n2'")
    terminal.press("q")
    assert terminal.ended() == 0
    assert terminal.text.count("\x1b[?1049h") == terminal.text.count("\x1b[?1049l") == 1
    coloured = re.findall(r"\x1b\[[0-9;]*m", terminal.text)
    assert not [each for each in coloured if re.search(r"\b(3[1-6]|9[1-6])m", each)]


def test_a_server_that_is_not_there_is_shown_as_such_and_waited_for(tmp_path: Path) -> None:
    terminal = Terminal("top", "-s", "http://127.0.0.1:9")
    terminal.until("reconnecting")
    terminal.press("q")
    assert terminal.ended() == 0
