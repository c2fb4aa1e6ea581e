"""The quick way at the connection: patience, order to stop, and who decides what is taken."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from navarch.core.model import messages
from navarch.core.model.samples import Columns, Readings
from navarch.core.settings import Settings
from navarch.wire import auth, hot_lane, listener
from navarch.wire.admission import Admission
from navarch.wire.asgi import Application, Readiness
from navarch.wire.auth import Authenticator, Principal, StaticToken
from navarch.wire.generated import navarch_pb2 as pb
from wire.conftest import ADMIN, LIMITS, SECRET, SmallService

BODY = pb.HeartbeatRequest(node_id="n1", metrics=pb.NodeMetrics()).SerializeToString()
BATCH = pb.HeartbeatBatchRequest(heartbeats=[pb.HeartbeatRequest(node_id="n1")]).SerializeToString()
POLL = pb.GetNodeCommandsRequest(node_id="n1").SerializeToString()


class Ear:
    """Takes what it is told to take."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.heard: list[str] = []
        self.takes = True
        self.breaks = False

    def heartbeat(self, node_id: str, sample: Columns | None) -> bool | None:
        del sample
        if self.breaks:
            raise RuntimeError("the secret is hunter2")
        if not self.takes:
            return None
        self.heard.append(node_id)
        return False

    def serving(self, heartbeat: messages.Heartbeat) -> bool | None:
        return self.heartbeat(heartbeat.node_id, None)

    def heartbeats(
        self, node_ids: frozenset[str], readings: tuple[Sequence[str], Readings]
    ) -> list[str] | None:
        del readings
        return [] if all(self.heartbeat(node_id, None) is False for node_id in node_ids) else None

    def poll(self, node_id: str) -> bool:
        return self.heartbeat(node_id, None) is False


class Doorkeeper(Admission):
    """Lets in whom a test lets in."""

    def __init__(self, admit: Callable[[Principal, str], bool]) -> None:
        super().__init__()
        self._admit = admit

    def hears(self, principal: Principal, node_id: str) -> bool:
        return self._admit(principal, node_id)


class Lane:
    """A server with a quick way, and an ear behind it."""

    def __init__(self, connections_max: int = listener.CONNECTIONS_MAX) -> None:
        self.ear = Ear()
        self.service = SmallService()
        self.admits = True
        self.asked: list[tuple[str, str]] = []
        tokens = [StaticToken("root", auth.Role.ADMIN, ADMIN)]
        self.application = Application(
            self.service,
            authenticator=Authenticator(tokens, SECRET),
            ready=lambda: Readiness(ready=True),
            limits=LIMITS,
            hearing=self.ear,
            admission=Doorkeeper(self._admit),
        )
        assert self.application.hot is not None
        self.hot = self.application.hot
        self.listening = listener.bind("127.0.0.1", 0)
        self.port = self.listening.getsockname()[1]
        started = threading.Event()
        config = listener.config(self.application, connections_max=connections_max)
        self.server = listener.EmbeddedServer(config, started.set)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        assert started.wait(10)

    def _admit(self, principal: Principal, node_id: str) -> bool:
        self.asked.append((principal.name, node_id))
        return self.admits

    def _serve(self) -> None:
        asyncio.run(self.server.serve(sockets=[self.listening]))

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.listening.close()
        assert not self.thread.is_alive()


@contextlib.contextmanager
def lane(connections_max: int = listener.CONNECTIONS_MAX) -> Iterator[Lane]:
    """Serve until the block ends."""
    serving = Lane(connections_max)
    try:
        yield serving
    finally:
        serving.stop()


@pytest.fixture(scope="module")
def running() -> Iterator[Lane]:
    with lane() as serving:
        yield serving


@pytest.fixture
def serving(running: Lane) -> Lane:
    """A server that takes and admits everything, with new counts."""
    running.ear.takes, running.ear.breaks, running.admits = True, False, True
    running.ear.heard.clear()
    running.service.heard.clear()
    running.asked.clear()
    running.hot.counts = type(running.hot.counts)()
    return running


def request(body: bytes = BODY, method: str = "Heartbeat", *more: str) -> bytes:
    lines = (
        f"POST /navarch.ControlPlaneService/{method} HTTP/1.1",
        "Host: navarch",
        "Content-Type: application/proto",
        f"Authorization: Bearer {ADMIN}",
        f"Content-Length: {len(body)}",
        *more,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def connected(serving: Lane) -> socket.socket:
    return socket.create_connection(("127.0.0.1", serving.port), timeout=10)


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read the only answer that is on its way."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


def ask(connection: socket.socket, *parts: bytes) -> tuple[int, bytes]:
    for part in parts:
        connection.sendall(part)
    return answer(connection)


def test_calls_are_counted_by_how_they_were_answered(serving: Lane) -> None:
    with connected(serving) as connection:
        for body, method in (
            (BODY, "Heartbeat"),
            (BATCH, "HeartbeatBatch"),
            (POLL, "PollCommands"),
        ):
            assert ask(connection, request(body, method))[0] == 200
        assert ask(connection, request(b"\xff"))[0] == 400
    counts = serving.hot.counts
    assert (counts.heartbeats, counts.batches, counts.batched, counts.polls) == (1, 1, 1, 1)
    assert counts.passed_on == 1
    assert serving.ear.heard == ["n1"] * 3
    assert serving.service.heard == []


def test_what_is_not_taken_at_once_takes_the_ordinary_way(serving: Lane) -> None:
    with connected(serving) as connection:
        assert ask(connection, request())[0] == 200
        serving.ear.takes = False
        assert [ask(connection, request())[0] for _ in range(2)] == [200, 200]
    assert (serving.hot.counts.heartbeats, serving.hot.counts.passed_on) == (1, 2)
    assert [each.node_id for each in serving.service.heard] == ["n1", "n1"]


def test_admission_is_asked_with_the_caller_and_the_node(serving: Lane) -> None:
    with connected(serving) as connection:
        for body, method in (
            (BODY, "Heartbeat"),
            (BATCH, "HeartbeatBatch"),
            (POLL, "PollCommands"),
        ):
            ask(connection, request(body, method))
        assert serving.asked == [("root", "n1"), ("root", ""), ("root", "n1")]
        serving.admits = False
        assert ask(connection, request())[0] == 200
    assert serving.ear.heard == ["n1"] * 3
    assert len(serving.service.heard) == 1  # the ordinary way, which would have refused it


def test_a_head_that_was_known_is_looked_at_again_when_told_to(serving: Lane) -> None:
    with connected(serving) as connection:
        assert ask(connection, request())[0] == 200
        serving.hot.forget()
        assert ask(connection, request())[0] == 200  # of the old head: the ordinary way
        assert serving.hot.counts.heartbeats == 1
        assert ask(connection, request(BODY, "SendHeartbeat"))[0] == 200
    assert serving.hot.counts.heartbeats == 2


def test_a_mistake_of_ours_is_logged_and_the_ordinary_way_answers(
    serving: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    serving.ear.breaks = True
    with connected(serving) as connection, caplog.at_level(logging.ERROR):
        assert ask(connection, request())[0] == 200
    assert [record.message for record in caplog.records] == ["quick_answer_broke method=Heartbeat"]
    caplog.clear()
    assert len(serving.service.heard) == 1


def test_a_body_that_takes_its_time_is_the_applications(
    serving: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot_lane, "BODY_SECONDS_MAX", 0.02)
    whole = request()
    with connected(serving) as connection:
        connection.sendall(whole[:-4])
        threading.Event().wait(0.1)
        assert ask(connection, whole[-4:])[0] == 200
        assert ask(connection, whole)[0] == 200
    assert (serving.hot.counts.heartbeats, len(serving.service.heard)) == (1, 1)


def test_a_caller_who_hangs_up_within_a_body_leaves_nothing_behind(serving: Lane) -> None:
    with connected(serving) as connection:
        connection.sendall(request()[:-4])
    with connected(serving) as connection:
        assert ask(connection, request())[0] == 200
    assert serving.ear.heard == ["n1"]


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "IDLE_SECONDS_MAX", 0.4)
    with lane() as serving, connected(serving) as connection:
        for _ in range(4):
            assert ask(connection, request())[0] == 200
            threading.Event().wait(0.15)
        assert connection.recv(1) == b""


def test_a_connection_too_many_is_refused_as_by_uvicorn() -> None:
    with lane(connections_max=2) as serving, connected(serving) as first:
        assert ask(first, request())[0] == 200
        with connected(serving) as second:
            assert ask(second, request())[0] == 503
        assert ask(first, request())[0] == 200


def test_a_server_that_stops_lets_a_request_under_way_be_answered() -> None:
    serving = Lane()
    with connected(serving) as connection, connected(serving) as idle:
        assert ask(idle, request())[0] == 200
        whole = request()
        connection.sendall(whole[:-4])
        threading.Event().wait(0.05)
        serving.server.should_exit = True
        assert idle.recv(1) == b""
        assert ask(connection, whole[-4:])[0] == 200
    serving.stop()
    assert len(serving.service.heard) == 1
