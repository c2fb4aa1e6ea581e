"""Relays between real agents and real control planes: an agent cannot tell."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import pytest

from integration.conftest import until
from integration.daemon import Daemon, free_port
from integration.relaying import Node, Relay, agent, guarded, relay, token_of
from navarch.errors import WireError
from navarch.wire.asgi import JsonCodec
from navarch.wire.generated import navarch_pb2 as pb


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything of these tests is kept; each has nodes of other names."""
    return tmp_path_factory.mktemp("relays")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Daemon]:
    with guarded(folder) as running:
        yield running


def shown(server: Daemon, node_id: str) -> dict[str, Any]:
    """A node as operators see it; empty for an unknown one."""
    try:
        node: dict[str, Any] = server.call("GetNode", nodeId=node_id)["node"]
    except WireError as error:
        if error.code != "not_found":
            raise
        return {}
    return node


def heartbeat(node_id: str, *, celsius: int = 50) -> pb.HeartbeatRequest:
    request = pb.HeartbeatRequest(node_id=node_id)
    request.metrics.gpu_metrics.add(gpu_index=0, temperature=celsius)
    return request


def told_of(server: Daemon, node_id: str, *kinds: str) -> list[str]:
    """The kinds of facts about a node, of these kinds."""
    wanted = f'"{node_id}"'
    return [each["kind"] for each in server.facts(*kinds) if wanted in each["payload"]]


# --- an agent cannot tell ------------------------------------------------------------------------


class Raw:
    """One connection, of which answers are compared byte for byte."""

    def __init__(self, url: str, node: str, token: str | None) -> None:
        self.node = node
        self._token = token
        host, port = url.removeprefix("http://").split(":")
        self.connection = HTTPConnection(host, int(port), timeout=15)

    def post(
        self,
        method: str,
        body: bytes,
        form: str = "application/json",
        token: str | None = "own",
        **headers: str,
    ) -> tuple[int, str | None, bytes]:
        sent = {"content-type": form, **{key.replace("_", "-"): v for key, v in headers.items()}}
        if token is not None:
            sent["authorization"] = f"Bearer {self._token if token == 'own' else token}"
        path = f"/navarch.ControlPlaneService/{method}"
        self.connection.request("POST", path, body, sent)
        answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, answer.headers["content-type"], text.replace(self.node.encode(), b"*")


def conversation(raw: Raw) -> list[tuple[int, str | None, bytes]]:
    """What an agent may say, well and badly, in one order."""
    node, binary = raw.node, "application/proto"
    beat = heartbeat(node)
    as_json = JsonCodec().encode(beat)
    own = msgspec.json.encode({"nodeId": node})
    report = {"nodeId": node, "results": [{"checkName": "nvml", "status": "HEALTH_STATUS_HEALTHY"}]}
    said = [
        raw.post("Heartbeat", as_json),  # not registered
        raw.post("RegisterNode", b'{"nodeId":""}'),
        raw.post("RegisterNode", msgspec.json.encode({"nodeId": node, "provider": "lab"})),
        raw.post("RegisterNode", pb.RegisterNodeRequest(node_id=node).SerializeToString(), binary),
        raw.post("PollCommands", own),
    ]
    for _ in range(2):  # the second time a relay answers by itself
        said += [
            raw.post("Heartbeat", as_json),
            raw.post("Heartbeat", as_json, connect_protocol_version="1"),
            raw.post("SendHeartbeat", beat.SerializeToString(), binary),
            raw.post("Heartbeat", b'{"node_id": "%b", "unknown": 1}' % node.encode()),
            raw.post("Heartbeat", b"{"),
            raw.post("Heartbeat", b"\xff\xff\xff", binary),
            raw.post("Heartbeat", as_json, "text/plain"),
            raw.post("Heartbeat", as_json, token=None),
            raw.post("Heartbeat", as_json, token="nvn1.bm9kZQ.00"),
            raw.post("Heartbeat", JsonCodec().encode(heartbeat("another"))),
            raw.post("Heartbeat", heartbeat("another").SerializeToString(), binary),
            raw.post(
                "Heartbeat", b'{"nodeId":"%b","metrics":{"cpuUsagePercent":"NaN"}}' % node.encode()
            ),
            raw.post("PollCommands", own),
            raw.post(
                "GetNodeCommands",
                pb.GetNodeCommandsRequest(node_id=node).SerializeToString(),
                binary,
            ),
            raw.post("PollCommands", b'{"nodeId":"another"}'),
            raw.post("ReportHealth", msgspec.json.encode(report)),
            raw.post("ReportHealth", msgspec.json.encode({"nodeId": "another"})),
            raw.post("AckCommand", msgspec.json.encode({"nodeId": node, "commandId": "cmd-1"})),
        ]
        time.sleep(0.3)  # for the batch of a relay
    return said


def test_what_an_agent_says_is_answered_alike_with_and_without_a_relay(
    server: Daemon, folder: Path
) -> None:
    with relay(folder, server.url) as between, ExitStack() as stack:
        until(between.is_ready, "the relay is ready")
        raws = [
            Raw(url, name, token_of(folder, name))
            for url, name in ((server.url, "by-itself"), (between.url, "by-relay"))
        ]
        for raw in raws:
            stack.enter_context(closing(raw.connection))
        direct, relayed = map(conversation, raws)
        assert relayed == direct
        for raw in raws:
            status, _, body = raw.post("Heartbeat", b"{" + b" " * (5 * 1024 * 1024))
            assert status == 429
            assert msgspec.json.decode(body)["code"] == "resource_exhausted"
        statuses = {status for status, _, _ in relayed}
        assert statuses == {200, 400, 401, 403, 404, 415}
        assert 'navarch_relay_heartbeats_total{how="gathered"}' in between.get("/metrics")[1]


# --- a life through a relay ----------------------------------------------------------------------


def test_a_real_agent_lives_through_a_relay_and_obeys(server: Daemon, folder: Path) -> None:
    with relay(folder, server.url) as between, agent(folder, "lives", between.url):
        until(lambda: shown(server, "lives").get("status") == "NODE_STATUS_ACTIVE", "it is active")
        done = server.run("diagnose", "lives", "--wait", "--reason", "to see")
        assert done.returncode == 0, done.stderr
        assert "8 GPUs read" in done.stdout
        page = between.get("/metrics")[1]
        assert 'navarch_relay_passed_total{method="AckCommand",code="ok"} 1' in page
        assert 'navarch_relay_passed_total{method="Heartbeat"' not in page


def test_a_node_that_falls_silent_behind_a_relay_is_lost_and_the_others_are_not(
    server: Daemon, folder: Path
) -> None:
    with relay(folder, server.url) as between, ExitStack() as stack:
        until(between.is_ready, "the relay is ready")
        quiet, *others = (
            stack.enter_context(closing(Node(folder, between.url, name)))
            for name in ("quiet", "speaks", "too")
        )
        for node in (quiet, *others):
            node.call("RegisterNode")
            node.call("Heartbeat")

        def speaking() -> bool:
            for node in others:
                node.call("Heartbeat")
            return bool(told_of(server, "quiet", "node_lost"))

        until(speaking, "the quiet one is lost")
        assert not any(told_of(server, node.id, "node_lost") for node in others)
        assert quiet.call("Heartbeat")["acknowledged"]
        until(lambda: told_of(server, "quiet", "node_returned"), "it speaks again")


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(8))
def test_a_relay_killed_at_any_moment_loses_nothing(
    server: Daemon, folder: Path, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311 - moments of a test, not secrets
    with relay(folder, server.url) as between, ExitStack() as agents:
        nodes = [f"seed-{seed}-{number}" for number in range(2)]
        for node in nodes:
            agents.enter_context(agent(folder, node, between.url))
        until(lambda: all(shown(server, node) for node in nodes), "both have registered")
        for node in nodes:
            time.sleep(dice.uniform(0, 0.6))
            issued = server.call(
                "IssueCommand",
                nodeId=node,
                commandType="NODE_COMMAND_TYPE_RUN_DIAGNOSTIC",
                reason="to see",
            )
            time.sleep(dice.uniform(0, 0.6))
            between.kill()
            between.start()
            until_done(server, str(issued["commandId"]))
        for node in nodes:
            assert told_of(server, node, "node_registered", "node_lost") == ["node_registered"]


def until_done(server: Daemon, command: str) -> None:
    def is_done() -> bool:
        return any(command in each["payload"] for each in server.facts("command_finished"))

    until(is_done, f"{command} is done")


def test_while_the_control_plane_is_away_the_relay_says_so_and_a_second_address_helps(
    server: Daemon, folder: Path
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with (
        relay(folder, nowhere) as lonely,
        relay(folder, nowhere, server.url) as between,
        closing(Node(folder, lonely.url, "helped")) as node,
        closing(Node(folder, between.url, "helped")) as helped,
    ):
        with pytest.raises(WireError, match="cannot reach the control plane") as refused:
            node.call("RegisterNode")
        assert refused.value.code == "unavailable"
        assert not lonely.is_ready()
        assert lonely.get("/healthz")[0] == 200
        until(between.is_ready, "the other address answers")
        helped.call("RegisterNode")
        assert helped.call("Heartbeat")["acknowledged"]


@pytest.mark.soak
def test_an_agent_with_two_relays_goes_on_by_the_other(server: Daemon, folder: Path) -> None:
    with relay(folder, server.url) as first, relay(folder, server.url) as second:
        with agent(folder, "roams", first.url, second.url):
            until(lambda: bool(shown(server, "roams")), "it has registered")
            first.kill()
            until(lambda: gathered(second), "it speaks by the other")
        assert told_of(server, "roams", "node_registered", "node_lost") == ["node_registered"]


def gathered(between: Relay) -> bool:
    return 'navarch_relay_heartbeats_total{how="gathered"}' in between.get("/metrics")[1]


def test_a_relay_whose_token_may_not_speak_for_others_is_not_ready(
    server: Daemon, folder: Path
) -> None:
    with relay(folder, server.url, token=token_of(folder, "n1")) as between:
        until(lambda: "permission_denied" in between.get("/readyz")[1], "it says why")
        assert not between.is_ready()
        assert "may not call it" in between.log


def test_a_stopped_relay_passes_on_what_it_has(server: Daemon, folder: Path) -> None:
    with (
        relay(folder, server.url) as between,
        closing(Node(folder, between.url, "stopped")) as node,
    ):
        until(between.is_ready, "the relay is ready")
        node.call("RegisterNode")
        model = {"model": "default/llama", "digest": "sha256:" + "0" * 64, "complete": True}
        node.call("Heartbeat", serving={"models": [model]})
        between.process.send_signal(signal.SIGTERM)
        assert between.process.wait(timeout=15) == 0
        until(lambda: server.facts("model_cached"), "the last heartbeat has arrived")
