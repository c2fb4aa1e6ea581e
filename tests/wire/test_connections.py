"""Connections that take too much: too many of one address, answers that nobody reads."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator

import pytest

from navarch.errors import WireError
from navarch.wire import connections, listener
from navarch.wire.admission import Rates
from navarch.wire.auth import Authenticator
from navarch.wire.client import ConnectClient
from wire.conftest import LiveServer, running


@pytest.fixture(scope="module")
def small() -> Iterator[LiveServer]:
    """A server that lets in three connections of an address, and two watchers."""
    with running(Authenticator(), rates=Rates(connections_per_address=3, watchers=2)) as server:
        yield server


# Real sockets are waited for in real time.


def settled(server: LiveServer, connections_now: int) -> None:
    """Wait until the server has noticed what connections there are."""
    deadline = time.monotonic() + 10  # noqa: TID251 - a real server is waited for
    counts = server.application.admission.connections
    while counts["127.0.0.1"] != connections_now:
        assert time.monotonic() < deadline, dict(counts)  # noqa: TID251 - as above
        time.sleep(0.01)  # noqa: TID251 - as above


def test_an_address_has_so_many_connections_and_one_more_is_told(small: LiveServer) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", small.port), timeout=10))
        settled(small, 3)
        beyond = http.client.HTTPConnection("127.0.0.1", small.port, timeout=10)
        beyond.request("GET", "/healthz")
        answer = beyond.getresponse()
        assert answer.status == 429
        assert answer.headers["retry-after"] == "10"
        assert answer.headers["connection"] == "close"
        assert json.loads(answer.read())["code"] == "resource_exhausted"
        beyond.close()
        with ConnectClient(small.url, timeout=10) as client, pytest.raises(WireError) as caught:
            client.call("Heartbeat", {"nodeId": "n1"})
        assert caught.value.code == "resource_exhausted"
        assert caught.value.retry_after is not None
    settled(small, 0)
    assert (
        "127.0.0.1" not in small.application.admission.connections
        or not (small.application.admission.connections["127.0.0.1"])
    )
    with ConnectClient(small.url, timeout=10) as client:
        client.call("Heartbeat", {"nodeId": "n1"})
    settled(small, 0)


def test_far_too_many_connections_are_hung_up_on(
    small: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "POLITE_MAX", 2)
    with contextlib.ExitStack() as stack:
        for number in range(5):
            stack.enter_context(socket.create_connection(("127.0.0.1", small.port), timeout=10))
            settled(small, number + 1)
        beyond = stack.enter_context(socket.create_connection(("127.0.0.1", small.port)))
        beyond.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert beyond.recv(1) == b""
        settled(small, 5)
    settled(small, 0)


def test_an_answer_that_nobody_reads_is_given_up(
    small: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS_MAX", 0.1)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(10)
        deaf.connect(("127.0.0.1", small.port))
        body = json.dumps({"subject": "flood"}).encode()
        envelope = b"\0" + len(body).to_bytes(4, "big") + body
        head = (
            "POST /navarch.ControlPlaneService/WatchEvents HTTP/1.1\r\nHost: x\r\n"
            f"Content-Type: application/connect+json\r\nContent-Length: {len(envelope)}\r\n\r\n"
        )
        deaf.sendall(head.encode() + envelope)
        small.service.watchers_left.clear()
        settled(small, 1)
        settled(small, 0)
        assert small.application.admission.refused["unread_answer"] == 1
        assert small.service.watchers_left.wait(10)
    assert small.application.admission.watching == 0


def test_a_slow_reader_that_goes_on_reading_is_served(
    small: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS_MAX", 0.2)
    before = small.application.admission.refused.get("unread_answer", 0)
    with ConnectClient(small.url, timeout=10) as client:
        texts = 0
        for number, _ in enumerate(client.stream("WatchEvents", {"subject": "flood"})):
            texts += 1
            if number % 200 == 0:
                time.sleep(0.01)  # noqa: TID251 - a slow reader
            if number == 4_000:
                break
    assert texts == 4_001
    assert small.application.admission.refused.get("unread_answer", 0) == before
    settled(small, 0)


def test_watchers_are_bounded_and_one_more_is_told(small: LiveServer) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(ConnectClient(small.url, timeout=10))
            stream = client.stream("WatchEvents", {"subject": "forever"})
            stack.callback(stream.close)
            next(stream)
        client = stack.enter_context(ConnectClient(small.url, timeout=10))
        with pytest.raises(WireError, match="2 callers watch already") as caught:
            next(client.stream("WatchEvents", {"subject": "forever"}))
        assert caught.value.code == "resource_exhausted"
        assert caught.value.retry_after is not None
    settled(small, 0)
    deadline = time.monotonic() + 10  # noqa: TID251 - a real server is waited for
    while small.application.admission.watching:
        assert time.monotonic() < deadline  # noqa: TID251 - as above
        time.sleep(0.01)  # noqa: TID251 - as above


def test_the_kernel_is_told_to_notice_peers_that_have_vanished() -> None:
    with listener.bind("127.0.0.1", 0) as listening:
        listening.listen()
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_a_body_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    from navarch.wire.limits import Limits

    limits = Limits(body_timeout=timedelta(seconds=0.2))
    with (
        running(Authenticator(), limits) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as slow,
    ):
        slow.sendall(
            b"POST /navarch.ControlPlaneService/GetNode HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        reply = http.client.HTTPResponse(slow)
        reply.begin()
        assert reply.headers["connection"] == "close"
        assert json.loads(reply.read())["code"] == "deadline_exceeded"
        assert slow.recv(1) == b""
