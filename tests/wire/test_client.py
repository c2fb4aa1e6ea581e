"""The small client, against a real server and against peers that are none."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from navarch.errors import WireError
from navarch.wire.client import ConnectClient
from wire.conftest import ADMIN, LiveServer


def refused(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(WireError) as caught:
        call()
    return caught.value.code, caught.value.message


@pytest.fixture
def client(server: LiveServer) -> Iterator[ConnectClient]:
    with ConnectClient(server.url, ADMIN, timeout=10) as client:
        yield client


@contextlib.contextmanager
def peer(*replies: bytes) -> Iterator[str]:
    """Something that listens, reads a request for each reply, and then hangs up."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            for reply in replies:
                connection.recv(65_536)
                connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            thread.join(10)


def reply(body: bytes, status: str = "200 OK", content_type: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


# --- a control plane -------------------------------------------------------------------------


def test_calls_share_a_connection(client: ConnectClient) -> None:
    answer = client.call("GetNode", {"nodeId": "n1"})
    sock = client._connection.sock  # noqa: SLF001 -- the point of the test
    assert answer == {
        "node": {
            "nodeId": "n1",
            "status": "NODE_STATUS_ACTIVE",
            "gpus": [{"memoryTotal": "85899345920"}],
        }
    }
    assert client.call("Heartbeat", {"nodeId": "n1"})["acknowledged"] is True
    assert sock is client._connection.sock  # noqa: SLF001 -- as above


def test_a_refusal_is_told_and_the_connection_kept(client: ConnectClient) -> None:
    for _ in range(2):
        assert refused(lambda: client.call("Heartbeat", {"nodeId": "stranger"})) == (
            "not_found",
            "stranger is not registered",
        )
    assert client.call("Heartbeat", {"nodeId": "n1"})["acknowledged"] is True


def test_an_unknown_method(client: ConnectClient) -> None:
    assert refused(lambda: client.call("Nope")) == ("unimplemented", "no such method: Nope")


def test_a_wrong_token(server: LiveServer) -> None:
    with ConnectClient(server.url, "wrong") as client:
        assert refused(lambda: client.call("GetNode")) == (
            "unauthenticated",
            "the token is not valid",
        )
        code, _ = refused(lambda: list(client.stream("WatchEvents")))
        assert code == "unauthenticated"


def test_a_body_above_the_limit_is_told_as_such(client: ConnectClient) -> None:
    assert refused(lambda: client.call("Heartbeat", {"nodeId": "x" * 10_000_000})) == (
        "resource_exhausted",
        "the body is larger than 65536 bytes",
    )
    assert client.call("Heartbeat", {"nodeId": "n1"})["acknowledged"] is True


def test_a_stream(client: ConnectClient) -> None:
    facts = list(client.stream("WatchEvents", {"afterSeq": "4"}))
    assert [fact["event"]["seq"] for fact in facts] == ["5", "6", "7"]


def test_a_stream_that_fails_yields_what_came_before(client: ConnectClient) -> None:
    facts = client.stream("WatchEvents", {"subject": "fails"})
    assert [next(facts)["event"]["text"] for _ in range(3)] == ["fact 1", "fact 2", "fact 3"]
    assert refused(lambda: next(facts)) == ("failed_precondition", "no more facts")


def test_a_stream_that_is_left_ends_at_the_server_too(
    server: LiveServer, client: ConnectClient
) -> None:
    server.service.watchers_left.clear()
    facts = client.stream("WatchEvents", {"subject": "forever"})
    next(facts)
    facts.close()
    assert server.service.watchers_left.wait(10)
    assert client.call("Heartbeat", {"nodeId": "n1"})["acknowledged"] is True


def test_a_silent_stream_is_given_up(client: ConnectClient) -> None:
    facts = client.stream("WatchEvents", {"subject": "forever"}, silence_max=0.05)
    assert refused(lambda: list(facts))[0] == "deadline_exceeded"


def test_a_stream_is_ended_from_another_thread(client: ConnectClient) -> None:
    client.hang_up()  # without a connection it does nothing
    messages = client.stream("WatchEvents", {"subject": "forever"})
    hanging_up = threading.Timer(0.1, client.hang_up)
    hanging_up.start()
    code, message = refused(lambda: list(messages))
    hanging_up.join()
    assert code == "unavailable"
    assert "ended the stream" in message or "broke" in message


def test_no_answer_in_time(server: LiveServer) -> None:
    # Whether the server's own deadline or the client's comes first does not matter.
    with ConnectClient(server.url, ADMIN, timeout=0.05) as client:
        code, _ = refused(lambda: client.call("GetNode", {"nodeId": "slow"}))
    assert code == "deadline_exceeded"


# --- anything else ---------------------------------------------------------------------------


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    assert refused(lambda: ConnectClient(url).call("ListNodes")) == (
        "unavailable",
        f"cannot reach {url}: connection refused; is the server running?",
    )


def test_a_name_that_does_not_exist() -> None:
    code, message = refused(lambda: ConnectClient("http://host.invalid:1").call("ListNodes"))
    assert code == "unavailable"
    assert message.startswith("cannot reach http://host.invalid:1: ")


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost:50051", "ftp://x", "http://", "http://x:port", "http://x:99999"),
        *("http://x:0", "http://a b", "http://x?y=1", "http://user:pw@x", "http://[x"),
        "http://x\r\nHost: y",
    ],
)
def test_a_bad_address_is_refused_before_anything_is_sent(url: str) -> None:
    code, message = refused(lambda: ConnectClient(url))
    assert code == "invalid_argument"
    assert message.endswith("expected one such as http://localhost:50051")


@pytest.mark.parametrize("token", ["", "é", "a\r\nb"])
def test_a_bad_token_is_refused_before_anything_is_sent(token: str) -> None:
    assert refused(lambda: ConnectClient("http://x", token))[0] == "invalid_argument"


@pytest.mark.parametrize(
    "answer, code, message",
    [
        (reply(b"<html>"), "unknown", "its answer is not JSON"),
        (reply(b"[]"), "unknown", "its answer is not a JSON object"),
        (reply(b"<html>", "502 Bad Gateway"), "unavailable", "HTTP status 502"),
        (reply(b"", "302 Found"), "unknown", "HTTP status 302"),
        (reply(b'{"message":"go away"}', "403 Forbidden"), "permission_denied", "go away"),
        (reply(b'{"code":"aborted"}', "409 Conflict"), "aborted", "no reason given"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "unavailable", "broke"),
        (b"", "unavailable", "broke"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "unavailable", "broke"),
    ],
)
def test_peers_that_are_no_control_plane(answer: bytes, code: str, message: str) -> None:
    with peer(answer) as url, ConnectClient(url, timeout=10) as client:
        actual = refused(lambda: client.call("ListNodes"))
    assert actual[0] == code
    assert message in actual[1]


def envelope(flags: int, body: bytes) -> bytes:
    return bytes([flags]) + len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    "body, code, message",
    [
        (envelope(0, b"{}"), "unavailable", "ended the stream before its end"),
        (envelope(0, b"{}")[:-1], "unavailable", "ended the stream before its end"),
        (envelope(1, b"{}"), "unknown", "its stream is not one"),
        (b"\0\xff\xff\xff\xff", "unknown", "its stream is not one"),
        (envelope(0, b"junk"), "unknown", "its answer is not JSON"),
        (envelope(2, b'{"error":7}'), "unknown", "its error is not one"),
        (envelope(2, b'{"error":{"code":"aborted"}}'), "aborted", "no reason given"),
    ],
)
def test_streams_that_are_no_control_plane_s(body: bytes, code: str, message: str) -> None:
    answer = reply(body, content_type="application/connect+json")
    with peer(answer) as url, ConnectClient(url, timeout=10) as client:
        actual = refused(lambda: list(client.stream("WatchEvents")))
    assert actual[0] == code
    assert message in actual[1]


def test_a_connection_that_was_hung_up_while_idle_is_opened_again() -> None:
    answer = reply(b"{}")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = ConnectClient(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=10)

        def serve_two() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection:
                    received = b""
                    while not received.endswith(b"{}"):  # closing with some unread is a reset
                        received += connection.recv(65_536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve_two)
        thread.start()
        with client:
            assert client.call("ListNodes") == {}
            # The end of the first connection must have arrived before the second call.
            sock = client._connection.sock  # noqa: SLF001 -- as the comment says
            assert sock is not None
            assert sock.recv(1, socket.MSG_PEEK) == b""
            assert client.call("ListNodes") == {}
        thread.join(10)


def test_the_client_imports_little() -> None:
    program = (
        "import sys, navarch.wire.client;"
        "heavy = {'google', 'connectrpc', 'msgspec', 'uvicorn', 'asyncio'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
