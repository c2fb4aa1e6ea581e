"""A standby behind a real server: what it answers, what it refuses, and how clients go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError

from navarch.errors import WireError
from navarch.wire.asgi import SERVICE
from navarch.wire.auth import Authenticator
from navarch.wire.client import ConnectClient
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.generated.navarch_connect import ControlPlaneServiceClientSync
from navarch.wire.servers import REPEATABLE, Servers
from navarch.wire.standing import STANDBY, Standing, only_reads
from wire.conftest import LiveServer, Post, running

LEADER_URL = "http://cp1:50051"
REFUSAL = f"this control plane is a standby; the leader is {LEADER_URL}"


@pytest.fixture(scope="module")
def post() -> Post:
    return Post(Standing(role=STANDBY, leader=LEADER_URL, term=7, seq=41, behind_seconds=0.2))


@pytest.fixture(scope="module")
def standby(post: Post) -> Iterator[LiveServer]:
    with running(Authenticator(), stands=post) as live:
        yield live


@pytest.fixture
def leader(open_server: LiveServer) -> LiveServer:
    return open_server


def get(server: LiveServer, path: str) -> tuple[int, dict[str, object]]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_a_standby_answers_reads_and_says_what_it_is(standby: LiveServer) -> None:
    with ConnectClient(standby.url) as client:
        assert client.call("GetNode", {"nodeId": "n1"})["node"]["nodeId"] == "n1"
        assert client.standby


def test_a_standby_refuses_writes_and_names_the_leader(standby: LiveServer) -> None:
    with ConnectClient(standby.url) as client:
        with pytest.raises(WireError) as caught:
            client.call("RegisterNode", {"nodeId": "n1"})
        refusal = caught.value
        assert (refusal.code, refusal.message) == ("unavailable", REFUSAL)
        assert (refusal.leader, refusal.maybe_done) == (LEADER_URL, False)
    assert standby.refused("unavailable")


def test_clients_of_the_library_hear_the_same(standby: LiveServer) -> None:
    with ControlPlaneServiceClientSync(standby.url) as client:
        with pytest.raises(ConnectError, match="the leader is") as caught:
            client.register_node(pb.RegisterNodeRequest(node_id="n1"))
        assert caught.value.code is Code.UNAVAILABLE


def test_leaderz_is_200_on_the_leader_alone(
    standby: LiveServer, leader: LiveServer, post: Post
) -> None:
    status, said = get(standby, "/leaderz")
    assert status == 503
    assert said == {
        "role": "standby",
        "leader": LEADER_URL,
        "holder": "",
        "term": 7,
        "seq": 41,
        "behind_seconds": 0.2,
        "node_key": "",
    }
    assert get(leader, "/leaderz")[0] == 200
    assert get(standby, "/readyz") == (200, {"ready": True, "reason": "", "role": "leader"})


def test_a_standby_that_knows_no_leader_says_so() -> None:
    assert Standing(role=STANDBY).refusal.endswith("nobody leads at the moment")
    assert Standing(role=STANDBY).headers == [(b"navarch-role", b"standby")]
    assert Standing(role=STANDBY, leader="http://a\r\nb").headers == [(b"navarch-role", b"standby")]


def test_methods_that_viewers_may_call_are_those_that_only_read() -> None:
    reads = {name for name in SERVICE.methods_by_name if only_reads(name)}
    assert {"ListNodes", "WatchEvents", "Explain", "ListReplicas"} < reads
    assert not reads & {"Heartbeat", "PollCommands", "IssueCommand", "ApplyConfig", "PushMetrics"}
    assert reads <= REPEATABLE
    assert set(SERVICE.methods_by_name) >= REPEATABLE
    assert not only_reads("NoSuchMethod")


# --- several servers ---------------------------------------------------------------------------

NOBODY = "http://127.0.0.1:9"


def test_a_write_goes_on_from_who_is_away_to_the_standby_to_the_leader(
    standby: LiveServer, leader: LiveServer
) -> None:
    servers = Servers([NOBODY, standby.url, leader.url], timeout=5)
    assert servers.call("RegisterNode", {"nodeId": "n1"})["success"]
    assert servers.chosen.url == leader.url
    assert servers.call("RegisterNode", {"nodeId": "n2"})["success"]
    servers.close()


def test_a_read_stays_with_the_first_that_answers(standby: LiveServer, leader: LiveServer) -> None:
    servers = Servers([standby.url, leader.url], timeout=5)
    servers.call("GetNode", {"nodeId": "n1"})
    assert servers.chosen.url == standby.url
    servers.close()


def test_whom_a_standby_names_is_asked_next(
    standby: LiveServer, leader: LiveServer, post: Post
) -> None:
    before = post.now
    post.now = Standing(role=STANDBY, leader=leader.url)
    servers = Servers([standby.url, NOBODY, leader.url], timeout=5)
    try:
        servers.call("RegisterNode", {"nodeId": "n1"})
        assert servers.chosen.url == leader.url
        assert [each.standby for each in servers.clients] == [True, False, False]
    finally:
        servers.close()
        post.now = before


def test_when_nobody_takes_it_each_has_its_say(standby: LiveServer) -> None:
    servers = Servers([standby.url, NOBODY], timeout=5)
    with pytest.raises(WireError) as caught:
        servers.call("RegisterNode", {"nodeId": "n1"})
    assert caught.value.code == "unavailable"
    assert "none of 2 servers took it" in caught.value.message
    assert REFUSAL in caught.value.message
    assert "connection refused" in caught.value.message
    servers.close()


def test_what_a_control_plane_refuses_is_not_asked_of_another(leader: LiveServer) -> None:
    servers = Servers([leader.url, NOBODY], timeout=5)
    with pytest.raises(WireError, match="stranger is not registered") as caught:
        servers.call("Heartbeat", {"nodeId": "stranger"})
    assert (caught.value.code, servers.chosen.url) == ("not_found", leader.url)
    servers.close()


def test_a_command_that_may_have_been_issued_is_not_issued_by_another(
    hanging_up: str, leader: LiveServer
) -> None:
    servers = Servers([hanging_up, leader.url], timeout=5)
    with pytest.raises(WireError, match="it may have been done, so no other server") as caught:
        servers.call("IssueCommand", {"nodeId": "n1"})
    assert caught.value.maybe_done
    servers.close()


def test_what_may_be_repeated_is_asked_of_another(hanging_up: str, leader: LiveServer) -> None:
    servers = Servers([hanging_up, leader.url], timeout=5)
    assert servers.call("RegisterNode", {"nodeId": "n1"})["success"]
    servers.close()


def test_a_stream_begins_at_the_next_one_and_is_not_begun_twice(leader: LiveServer) -> None:
    servers = Servers([NOBODY, leader.url], timeout=5)
    seqs = [each["event"]["seq"] for each in servers.stream("WatchEvents", {"afterSeq": "4"})]
    assert seqs == ["5", "6", "7"]
    with pytest.raises(WireError, match="no more facts"):
        list(servers.stream("WatchEvents", {"subject": "fails"}))
    servers.close()


def test_an_address_that_is_none_is_told_at_once() -> None:
    with pytest.raises(WireError, match="is no address of a server"):
        Servers(["http://a", "nonsense"])
    with pytest.raises(WireError, match="no address"):
        Servers([])
