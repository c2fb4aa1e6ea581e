"""Several servers: which one a command speaks to, and the command that shows who leads."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cli.connect_server import ConnectServer, Json, Run

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def second() -> Iterator[ConnectServer]:
    far_end = ConnectServer()
    yield far_end
    far_end.close()


def stands(server: ConnectServer, role: str, seq: int, **more: object) -> None:
    """Have a server say what it is."""
    standing: Json = {"role": role, "seq": seq, "leader": "http://cp0:50051", "term": 3, **more}
    server.pages["/leaderz"] = (200 if role == "leader" else 503, standing)


def test_servers_are_given_one_by_one_or_with_commas(
    server: ConnectServer, second: ConnectServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    second.prepare("ListPools", {"pools": []})
    words = ("pool", "list", "-o", "json")
    assert run("-s", NOBODY, "-s", second.url, *words).code == 0
    assert run("-s", f"{NOBODY}, {second.url}", *words).code == 0
    monkeypatch.setenv("NAVARCH_SERVER", f"{NOBODY},{second.url}")
    assert run(*words).code == 0
    assert [method for method, _ in second.requests] == ["ListPools"] * 3


def test_a_write_goes_from_the_standby_to_the_leader(
    server: ConnectServer, second: ConnectServer, run: Run
) -> None:
    server.standby_of = second.url
    second.prepare("PausePool", {"pool": {"name": "training"}})
    code, _, _ = run("-s", server.url, "-s", second.url, "pool", "pause", "training")
    assert code == 0
    assert [method for method, _ in server.requests] == ["PausePool"]
    assert [method for method, _ in second.requests] == ["PausePool"]


def test_a_write_that_no_server_takes_names_the_leader(server: ConnectServer, run: Run) -> None:
    server.standby_of = "http://cp0:50051"
    code, _, stderr = run("pool", "pause", "training")
    assert code == 1
    assert "this control plane is a standby; the leader is http://cp0:50051" in stderr


def test_a_reading_of_a_standby_says_what_it_lacks(server: ConnectServer, run: Run) -> None:
    server.standby_of = "http://cp0:50051"
    server.prepare("ListPools", {"pools": []})
    code, stdout, stderr = run("pool", "list", "-o", "json")
    assert (code, json.loads(stdout)) == (0, {"pools": []})
    assert f"answered by {server.url}, a standby: it hears no heartbeats" in stderr


def test_leader_shows_each_server_and_how_far_behind_it_is(
    server: ConnectServer, second: ConnectServer, run: Run
) -> None:
    stands(server, "standby", 40, behind_seconds=0.1)
    stands(second, "leader", 42, behind_seconds=0.0)
    said = ("-s", server.url, "-s", second.url, "-s", NOBODY)
    code, stdout, stderr = run(*said, "leader")
    assert (code, stderr) == (0, "")
    head, first, other, away = stdout.splitlines()
    assert head.split() == ["SERVER", "ROLE", "SEQ", "LAG", "FOLLOWS", "LEADER"]
    assert first.split() == [server.url, "standby", "40", "2", "0.1s", "ago", "http://cp0:50051"]
    assert other.split() == [second.url, "leader", "42", "0", "-", "http://cp0:50051"]
    assert away.split()[:2] == [NOBODY, "away"]
    shown = json.loads(run(*said, "leader", "-o", "json").stdout)["servers"]
    assert [each["role"] for each in shown] == ["standby", "leader", "away"]
    assert [each.get("lag") for each in shown] == [2, 0, None]


def test_leader_fails_unless_exactly_one_leads(
    server: ConnectServer, second: ConnectServer, run: Run
) -> None:
    stands(server, "standby", 1)
    code, _, stderr = run("leader")
    assert (code, stderr) == (1, "navarch: one server should lead, but none does\n")
    stands(server, "leader", 1)
    stands(second, "leader", 1)
    code, _, stderr = run("-s", server.url, "-s", second.url, "leader")
    assert code == 1
    assert f"one server should lead, but {server.url} and {second.url} do" in stderr


def test_leader_warns_of_different_keys_before_a_failover_does(
    server: ConnectServer, second: ConnectServer, run: Run
) -> None:
    stands(server, "standby", 1, node_key="aaaa0000")
    stands(second, "leader", 1, node_key="bbbb1111")
    code, _, stderr = run("-s", server.url, "-s", second.url, "leader")
    assert code == 0
    assert "the servers have different keys of node tokens" in stderr
