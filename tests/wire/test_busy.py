"""What callers see of a control plane that has no room: the code, the status, and when to ask."""

from __future__ import annotations

import http.client
import json
import struct
from contextlib import ExitStack
from datetime import timedelta

import pytest

from navarch.errors import WireError
from navarch.wire.admission import DEFAULT_RATES, Rates
from navarch.wire.auth import Authenticator, Role, StaticToken, mint_node_token
from navarch.wire.client import ConnectClient
from navarch.wire.generated import navarch_pb2 as pb
from wire.conftest import ADMIN, SECRET, LiveServer, running

THREE_SECONDS = timedelta(seconds=3)


def post(
    server: LiveServer, method: str, body: bytes, content_type: str, token: str = ""
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"content-type": content_type}
    if token:
        headers["authorization"] = f"Bearer {token}"
    connection.request("POST", f"/navarch.ControlPlaneService/{method}", body, headers)
    response = connection.getresponse()
    told = response.read()
    connection.close()
    return response, told


def test_a_connect_call_is_told_in_a_header(open_server: LiveServer) -> None:
    for body, content_type in (
        (b'{"nodeId":"crowd"}', "application/json"),
        (pb.HeartbeatRequest(node_id="crowd").SerializeToString(), "application/proto"),
    ):
        response, told = post(open_server, "Heartbeat", body, content_type)
        assert response.status == 429
        assert response.headers["retry-after"] == "3"
        assert json.loads(told) == {"code": "resource_exhausted", "message": "too many wait"}


def test_a_grpc_web_call_is_told_in_its_trailers(open_server: LiveServer) -> None:
    message = pb.HeartbeatRequest(node_id="crowd").SerializeToString()
    body = b"\0" + struct.pack(">I", len(message)) + message
    response, told = post(open_server, "Heartbeat", body, "application/grpc-web+proto")
    said = told.decode("latin-1") + str(response.headers).lower()
    assert response.status == 200
    assert "retry-after: 3" in said.replace(":3", ": 3")
    assert "grpc-status: 8" in said.replace(":8", ": 8")


def test_our_client_says_when_to_ask_again(open_server: LiveServer) -> None:
    with ConnectClient(open_server.url, timeout=10) as client:
        with pytest.raises(WireError) as caught:
            client.call("Heartbeat", {"nodeId": "crowd"})
        assert (caught.value.code, caught.value.retry_after) == (
            "resource_exhausted",
            THREE_SECONDS,
        )
        with pytest.raises(WireError) as caught:
            list(client.stream("WatchEvents", {"subject": "crowd"}))
        assert (caught.value.code, caught.value.retry_after) == (
            "resource_exhausted",
            THREE_SECONDS,
        )
        with pytest.raises(WireError) as caught:
            client.call("Heartbeat", {"nodeId": "stranger"})
        assert caught.value.retry_after is None


def test_a_late_control_plane_refuses_heartbeats_and_nothing_else(open_server: LiveServer) -> None:
    lag = open_server.application.admission.lag
    lag.refusing, lag.seconds = True, 1.25
    heard = len(open_server.service.heard)
    try:
        with ConnectClient(open_server.url, timeout=10) as client:
            with pytest.raises(WireError, match=r"the control plane is 1\.2 s late") as caught:
                client.call("Heartbeat", {"nodeId": "n1"})
            assert caught.value.code == "resource_exhausted"
            assert caught.value.retry_after is not None
            assert client.call("GetNode", {"nodeId": "n1"})["node"]["nodeId"] == "n1"
        message = pb.HeartbeatRequest(node_id="n1").SerializeToString()
        body = b"\0" + struct.pack(">I", len(message)) + message
        response, told = post(open_server, "Heartbeat", body, "application/grpc-web+proto")
        assert response.status == 200
        said = told.decode("latin-1") + str(response.headers).lower()
        assert "grpc-status: 8" in said.replace(":8", ": 8")
    finally:
        lag.refusing = False
    assert len(open_server.service.heard) == heard
    assert open_server.refused("event_loop_lag") == 2


def test_costly_calls_are_refused_before_they_are_read_while_many_are_under_way(
    open_server: LiveServer,
) -> None:
    admission = open_server.application.admission
    callers = len(open_server.service.callers)
    with ExitStack() as stack:
        work = admission._work["RegisterNode"]  # noqa: SLF001 - the calls are not made here
        work.now = DEFAULT_RATES.costly_at_once
        stack.callback(setattr, work, "now", 0)
        client = stack.enter_context(ConnectClient(open_server.url, timeout=10))
        with pytest.raises(WireError, match="500 calls of RegisterNode are under way") as caught:
            client.call("RegisterNode", {"nodeId": "n1"})
        assert caught.value.code == "resource_exhausted"
        assert caught.value.retry_after is not None
        client.call("Heartbeat", {"nodeId": "n1"})
        assert open_server.refused("calls_at_once") == 1
        work.now -= 1
        client.call("RegisterNode", {"nodeId": "n1"})
        assert work.now == DEFAULT_RATES.costly_at_once - 1
    assert len(open_server.service.callers) == callers + 1


def test_an_agent_in_a_tight_loop_is_slowed_down_and_no_other() -> None:
    tokens = [StaticToken("root", Role.ADMIN, ADMIN)]
    with running(Authenticator(tokens, SECRET), rates=Rates(node_rate=0.5, node_burst=3)) as server:
        loop = ConnectClient(server.url, mint_node_token(SECRET, "n1"), timeout=10)
        quiet = ConnectClient(server.url, mint_node_token(SECRET, "n2"), timeout=10)
        shared = ConnectClient(server.url, ADMIN, timeout=10)
        with loop, quiet, shared:
            for _ in range(3):
                loop.call("Heartbeat", {"nodeId": "n1"})
            # Whoever speaks for it, a node has one bucket.
            for client in (loop, shared):
                with pytest.raises(WireError, match="node n1 calls too often") as caught:
                    client.call("Heartbeat", {"nodeId": "n1"})
                assert caught.value.code == "resource_exhausted"
                assert caught.value.retry_after is not None
                assert caught.value.retry_after >= timedelta(seconds=2)
            quiet.call("Heartbeat", {"nodeId": "n2"})
            shared.call("Heartbeat", {"nodeId": "n3"})
        assert server.refused("node_rate") == 2


def test_an_operators_token_has_a_rate_of_its_own() -> None:
    tokens = [StaticToken("root", Role.ADMIN, ADMIN), StaticToken("ops", Role.ADMIN, "other")]
    with running(Authenticator(tokens), rates=Rates(caller_rate=0.5, caller_burst=2)) as server:
        with ConnectClient(server.url, ADMIN, timeout=10) as client:
            client.call("GetNode", {"nodeId": "n1"})
            client.call("GetNode", {"nodeId": "n1"})
            with pytest.raises(WireError, match="root calls too often"):
                client.call("GetNode", {"nodeId": "n1"})
        with ConnectClient(server.url, "other", timeout=10) as client:
            client.call("GetNode", {"nodeId": "n1"})
        assert server.refused("caller_rate") == 1
