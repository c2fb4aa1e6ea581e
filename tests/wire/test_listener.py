"""Sockets, and connections that take their time."""

from __future__ import annotations

import http.client
import socket

import pytest

from navarch.errors import ConfigError
from navarch.wire import listener
from wire.conftest import LiveServer


def test_a_port_in_use_is_said_so() -> None:
    taken = listener.bind("127.0.0.1", 0)
    taken.listen()
    port = taken.getsockname()[1]
    with taken, pytest.raises(ConfigError) as caught:
        listener.bind("127.0.0.1", port)
    assert str(caught.value) == (
        f"server.address: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "is another server running there?"
    )


@pytest.mark.parametrize("host, port", [("host.invalid", 1), ("127.0.0.1", 70_000), ("8.8.8.8", 0)])
def test_an_address_that_is_not_ours_is_refused(host: str, port: int) -> None:
    with pytest.raises(ConfigError, match="cannot listen on"):
        listener.bind(host, port)


def test_loopback_is_told_from_the_rest() -> None:
    for host in ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"):
        assert listener.is_loopback(host), host
    for host in ("", "0.0.0.0", "::", "10.0.0.1", "example.com"):  # noqa: S104 -- refused here
        assert not listener.is_loopback(host), host


def test_headers_that_never_end_are_refused(raw: socket.socket) -> None:
    raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
    raw.sendall(b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1000) for number in range(40)))
    reply = http.client.HTTPResponse(raw)
    reply.begin()
    assert reply.status == 400
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HT"], ids=["silent", "slow"])
def test_a_connection_without_a_request_is_closed(
    server: LiveServer, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEADER_SECONDS_MAX", 0.05)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as patient:
        patient.sendall(begun)
        assert patient.recv(1) == b""


def test_an_idle_connection_is_kept_and_its_next_request_may_not_linger(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEADER_SECONDS_MAX", 0.05)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=0.2)
    connection.request("GET", "/healthz")
    assert connection.getresponse().read() == b'{"status":"ok"}'
    sock = connection.sock
    assert sock is not None
    with sock:
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(10)
        sock.sendall(b"GET /hea")
        assert sock.recv(1) == b""
