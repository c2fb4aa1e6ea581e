"""HTTP/2 on the port of HTTP/1.1: what it serves, and what it does not put up with."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from navarch.errors import ConfigError
from navarch.wire import connections, http2, listener, protocols
from navarch.wire.admission import Rates
from navarch.wire.auth import Authenticator
from navarch.wire.frames import PREFACE, Frames
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.limits import Limits
from wire import http2_peer as h2
from wire.conftest import ADMIN, SECRET, TOKENS, LiveServer, running
from wire.http2_peer import Peer, frame, healthz, request

GET_NODE = "/navarch.ControlPlaneService/GetNode"
WATCH = "/navarch.ControlPlaneService/WatchEvents"
NOTHING = frame(h2.PING, payload=b"8 bytes.")
AUTHORIZED = {"authorization": f"Bearer {ADMIN}"}


# --- which protocol a connection speaks ------------------------------------------------------


@pytest.mark.skipif(shutil.which("curl") is None, reason="ABSENT: curl")
@pytest.mark.parametrize(
    "option, version",
    [("--http2-prior-knowledge", "2"), ("--http1.1", "1.1"), ("--http1.0", "1.1")],
)
def test_curl_chooses_the_version(both: LiveServer, option: str, version: str) -> None:
    told = ["-H", "content-type: application/json", "-H", f"authorization: Bearer {ADMIN}"]
    form = ["-s", "-w", "\n%{http_version} %{http_code}", "-d", '{"nodeId":"n1"}']
    asked = subprocess.run(
        ["curl", option, *told, *form, f"{both.url}{GET_NODE}"],
        check=True,
        capture_output=True,
        timeout=10,
        text=True,
    )
    body, _, seen = asked.stdout.rpartition("\n")
    assert seen == f"{version} 200"
    assert json.loads(body)["node"]["nodeId"] == "n1"


def test_the_preface_may_come_byte_by_byte(both: LiveServer) -> None:
    with socket.create_connection(("127.0.0.1", both.port), timeout=10) as slow:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in PREFACE + frame(h2.SETTINGS):
            slow.sendall(bytes([byte]))
        assert slow.recv(9)[3] == h2.SETTINGS


def test_a_request_without_a_body_is_complete(both: LiveServer) -> None:
    with Peer(both.port) as peer:
        peer.send(request(1, GET_NODE, end=True, content_type="application/json", **AUTHORIZED))
        assert peer.status(1) == 400  # an empty body is no JSON, and is not waited for


def test_without_its_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "navarch.wire.http2")
    monkeypatch.setitem(sys.modules, "zttp", None)  # as if it were not installed
    with pytest.raises(ConfigError) as caught:
        protocols.spoken(http2=True)
    assert str(caught.value) == "server.http2: HTTP/2 needs zttp: pip install 'navarch[http2]'"


# --- what is not put up with -----------------------------------------------------------------


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        PREFACE[:10],
        PREFACE,
        PREFACE + frame(h2.SETTINGS) + frame(h2.HEADERS, 0, 1, h2.fields(h2.CALL)),
        PREFACE + frame(h2.SETTINGS) + frame(h2.PING, payload=b"8 bytes.")[:-1],
        PREFACE + frame(h2.SETTINGS) + request(1, GET_NODE)[:7],
    ],
    ids=["silent", "preface", "no settings", "open headers", "open frame", "open head"],
)
def test_what_begins_and_does_not_end_is_closed(
    both: LiveServer, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEADER_SECONDS_MAX", 0.05)
    with socket.create_connection(("127.0.0.1", both.port), timeout=10) as patient:
        patient.sendall(begun)
        while patient.recv(1000):
            continue


def test_an_idle_connection_outlives_the_time_of_headers_and_is_closed_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "HEADER_SECONDS_MAX", 0.05)
    monkeypatch.setattr(listener, "IDLE_SECONDS_MAX", 0.3)
    with running(Authenticator(), http2=True) as live, Peer(live.port) as peer:
        peer.send(healthz(1))
        assert peer.status(1) == 200
        peer.socket.settimeout(0.15)
        with pytest.raises(TimeoutError):
            list(peer.frames())
        peer.socket.settimeout(10)
        assert peer.last_error() == h2.NO_ERROR


def test_a_flood_of_resets_ends_the_connection(both: LiveServer) -> None:
    flood = [
        request(stream, GET_NODE, end=False) + frame(h2.RST_STREAM, 0, stream, bytes(4))
        for stream in range(1, 2_000, 2)
    ]
    with Peer(both.port) as peer:
        peer.send(*flood)
        assert peer.last_error() == h2.ENHANCE_YOUR_CALM
    with Peer(both.port) as other:
        other.send(healthz(1))
        assert other.status(1) == 200


def test_a_flood_of_continuations_ends_the_connection(both: LiveServer) -> None:
    with Peer(both.port) as peer:
        peer.send(frame(h2.HEADERS, 0, 1, h2.fields(h2.CALL)))
        peer.send(*[frame(h2.CONTINUATION, 0, 1) for _ in range(20)])
        assert peer.last_error() == h2.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    "one",
    [
        frame(h2.SETTINGS),
        NOTHING,
        frame(h2.PRIORITY, 0, 1, bytes(5)),
        frame(h2.WINDOW_UPDATE, payload=bytes([0, 0, 0, 1])),
        frame(0x77),
    ],
    ids=["settings", "ping", "priority", "window update", "unknown"],
)
def test_a_flood_of_frames_without_a_request_ends_the_connection(
    both: LiveServer, one: bytes
) -> None:
    with Peer(both.port) as peer:
        peer.send(one * (http2.IDLE_FRAMES_BURST * 2))
        assert peer.last_error() == h2.ENHANCE_YOUR_CALM


def test_an_empty_body_without_end_ends_the_connection(both: LiveServer) -> None:
    with Peer(both.port) as peer:
        headers = {"content_type": "application/json", **AUTHORIZED}
        peer.send(request(1, GET_NODE, end=False, **headers))
        peer.send(frame(h2.DATA, 0, 1) * (http2.IDLE_FRAMES_BURST * 2))
        assert peer.last_error() == h2.ENHANCE_YOUR_CALM


def test_a_few_pings_are_answered(both: LiveServer) -> None:
    with Peer(both.port) as peer:
        peer.send(NOTHING * 3)
        assert [peer.next(h2.PING).payload for _ in range(3)] == [b"8 bytes."] * 3


def test_large_headers_are_refused_and_the_connection_goes_on(both: LiveServer) -> None:
    large = {f"x_{number}": "v" * 100 for number in range(330)}
    block = h2.fields(
        {**h2.CALL, ":path": GET_NODE, **{name.replace("_", "-"): v for name, v in large.items()}}
    )
    with Peer(both.port) as peer:
        peer.send(
            frame(h2.HEADERS, h2.END_STREAM, 1, block[:16_000]),
            frame(h2.CONTINUATION, 0, 1, block[16_000:32_000]),
            frame(h2.CONTINUATION, h2.END_HEADERS, 1, block[32_000:]),
        )
        assert peer.status(1) == 431
        peer.send(healthz(3))
        assert peer.status(3) == 200


def test_more_streams_than_agreed_are_refused_one_by_one(both: LiveServer) -> None:
    headers = {"content_type": "application/json", **AUTHORIZED}
    with Peer(both.port) as peer:
        peer.send(*[request(1 + 2 * n, GET_NODE, end=False, **headers) for n in range(129)])
        refused = peer.next(h2.RST_STREAM)
        assert (refused.stream, refused.payload) == (257, h2.REFUSED_STREAM.to_bytes(4))


def test_a_refused_body_need_not_be_sent_to_its_end(both: LiveServer) -> None:
    headers = {"content_type": "application/json", "content_length": "999999999"}
    with Peer(both.port) as peer:
        peer.send(request(1, GET_NODE, end=False, **headers))
        assert peer.status(1) == 401
        assert peer.next(h2.RST_STREAM, 1).payload == h2.NO_ERROR.to_bytes(4)
        peer.send(frame(h2.DATA, 0, 1, bytes(16_000)) * 2)
        peer.send(healthz(3))
        assert peer.status(3) == 200


def test_a_path_that_is_no_text_is_unknown(both: LiveServer) -> None:
    with Peer(both.port) as peer:
        peer.send(request(1, "/%ff%fe"))
        assert peer.status(1) == 404


# --- connections that are worn out -----------------------------------------------------------


def test_a_connection_is_retired_before_its_streams_run_out(
    both: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "STREAMS_MAX", 3)
    monkeypatch.setattr(http2, "RETIRE_SECONDS", 0.05)
    headers = {"content_type": "application/json", **AUTHORIZED}
    with Peer(both.port) as peer:
        peer.send(*[healthz(stream) for stream in (1, 3)])
        peer.send(request(5, GET_NODE, end=False, **headers))
        last = peer.next(h2.GOAWAY).payload
        assert int.from_bytes(last[:4]) == 2**31 - 1  # whatever comes now is still answered
        peer.send(healthz(7))
        assert peer.status(7) == 200
        peer.send(frame(h2.DATA, h2.END_STREAM, 5, b'{"nodeId":"n1"}'))
        assert peer.status(5) == 200
        final = peer.next(h2.GOAWAY).payload
        assert (int.from_bytes(final[:4]), int.from_bytes(final[4:])) == (7, h2.NO_ERROR)
        assert list(peer.frames()) == []


def test_a_retired_connection_takes_no_more_requests(
    both: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "STREAMS_MAX", 1)
    monkeypatch.setattr(http2, "RETIRE_SECONDS", 0.0)
    headers = {"content_type": "application/json", **AUTHORIZED}
    with Peer(both.port) as peer:
        peer.send(request(1, GET_NODE, end=False, **headers))
        peer.next(h2.GOAWAY)
        stream = 3
        while True:  # until the moment of grace, which is none, has passed
            peer.send(healthz(stream))
            told = next(each for each in peer.frames() if each.stream == stream)
            if told.kind == h2.RST_STREAM:
                break
            stream += 2
        assert told.payload == h2.REFUSED_STREAM.to_bytes(4)
        peer.send(frame(h2.DATA, h2.END_STREAM, 1, b'{"nodeId":"n1"}'))
        assert peer.status(1) == 200
        assert peer.last_error() == h2.NO_ERROR


def test_a_stopping_server_lets_go_of_its_connections() -> None:
    with running(Authenticator(TOKENS, SECRET), http2=True) as live:
        peer = Peer(live.port)
        peer.send(healthz(1))
        assert peer.status(1) == 200
    with peer:
        assert peer.last_error() == h2.NO_ERROR


# --- a reader that is slow -------------------------------------------------------------------


def test_an_answer_waits_for_its_reader(both: LiveServer) -> None:
    size = 60_000
    body = json.dumps({"nodeId": "n" * size}).encode()
    headers = {"content_type": "application/json", **AUTHORIZED}
    with Peer(both.port) as peer:
        for stream in (1, 3):
            peer.send(request(stream, GET_NODE, end=False, **headers))
            peer.send(
                *[
                    frame(h2.DATA, 0, stream, body[at : at + 16_000])
                    for at in range(0, len(body), 16_000)
                ]
            )
            peer.send(frame(h2.DATA, h2.END_STREAM, stream))
        got = {1: 0, 3: 0}
        ended: set[int] = set()
        while len(ended) < 2:
            each = peer.next(h2.DATA)
            got[each.stream] += len(each.payload)
            if each.flags & h2.END_STREAM:
                ended.add(each.stream)
            if each.payload and sum(got.values()) >= 65_535:  # the connection's first credit
                peer.send(frame(h2.WINDOW_UPDATE, payload=(65_535).to_bytes(4)))
        assert min(got.values()) > size


LARGE = 200_000
"""Bytes of an answer: more than may wait for its reader."""


def asked(peer: Peer, stream: int, kind: str, size: int = LARGE) -> None:
    """Ask for an answer of a size."""
    message = pb.GetNodeRequest(node_id="n" * size).SerializeToString()
    body = b"\0" + len(message).to_bytes(4) + message if "grpc" in kind else message
    peer.send(request(stream, GET_NODE, end=False, content_type=kind))
    for at in range(0, len(body), 16_000):
        peer.send(frame(h2.DATA, 0, stream, body[at : at + 16_000]))
    peer.send(frame(h2.DATA, h2.END_STREAM, stream))


def test_a_stream_that_is_not_read_is_given_up_and_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS_MAX", 0.1)
    with running(Authenticator(), Limits(), http2=True) as live, Peer(live.port, window=0) as peer:
        asked(peer, 1, "application/grpc")
        assert peer.next(h2.RST_STREAM).stream == 1
        assert live.application.admission.refused.get("unread_answer", 0) == 1
        peer.send(frame(h2.PING, payload=b"8 bytes."))
        assert peer.next(h2.PING).payload == b"8 bytes."


def test_a_connection_that_leaves_whole_answers_unread_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS_MAX", 0.05)
    with running(Authenticator(), Limits(), http2=True) as live, Peer(live.port, window=0) as peer:
        asked(peer, 1, "application/proto", 60_000)  # so little is written whole
        assert peer.status(1) == 200
        assert all(each.kind != h2.DATA for each in peer.frames())
        assert live.application.admission.refused.get("unread_answer", 0) == 1


def test_whoever_reads_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS_MAX", 0.1)
    monkeypatch.setattr(connections, "READ_BYTES_MIN", 1_000)
    with running(Authenticator(), Limits(), http2=True) as live, Peer(live.port, window=0) as peer:
        asked(peer, 1, "application/grpc")
        got = 0
        while got < LARGE:
            peer.send(frame(h2.WINDOW_UPDATE, 0, 1, (20_000).to_bytes(4)))
            peer.send(frame(h2.WINDOW_UPDATE, payload=(20_000).to_bytes(4)))
            got += len(peer.next(h2.DATA, 1).payload)
        assert live.application.admission.refused.get("unread_answer", 0) == 0


def test_connections_of_one_address_are_counted() -> None:
    rates = Rates(connections_per_address=1)
    with running(Authenticator(), rates=rates, http2=True) as live, Peer(live.port) as first:
        first.send(healthz(1))
        assert first.status(1) == 200
        with Peer(live.port) as second:
            second.send(healthz(1))
            assert second.status(1) == 429
        first.send(healthz(3))
        assert first.status(3) == 200


# --- anything at all -------------------------------------------------------------------------

KINDS = st.sampled_from([*range(10), 0x77])
CALLS = st.sampled_from(
    [
        healthz(1),
        request(1, GET_NODE, end=False, content_type="application/grpc"),
        request(3, "/%zz?%ff", content_type="text/plain"),
        frame(h2.HEADERS, h2.END_HEADERS, 5, h2.fields({":method": "CONNECT", ":authority": "x"})),
        frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 7, h2.fields({**h2.CALL, "é": "\xff"})),
        frame(h2.DATA, h2.END_STREAM, 1, b"\0\0\0\0\0"),
    ]
)
SENT = st.lists(
    CALLS | st.builds(frame, KINDS, st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40)),
    max_size=12,
)


def test_calls_end_with_a_connection_that_breaks_the_rules(both: LiveServer) -> None:
    both.service.watchers_left.clear()
    message = pb.WatchEventsRequest(subject="forever").SerializeToString()
    with Peer(both.port) as peer:
        peer.send(request(1, WATCH, end=False, content_type="application/grpc", **AUTHORIZED))
        peer.send(frame(h2.DATA, h2.END_STREAM, 1, b"\0" + len(message).to_bytes(4) + message))
        peer.next(h2.DATA, 1)
        peer.send(frame(h2.DATA, 0, 0, b"on no stream"))
        assert peer.last_error() == 1
    assert both.service.watchers_left.wait(10)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=SENT, noise=st.binary(max_size=30))
def test_nothing_that_a_peer_sends_breaks_the_server(
    both: LiveServer, sent: list[bytes], noise: bytes
) -> None:
    with Peer(both.port) as peer:
        peer.send(*sent, noise)
        with contextlib.suppress(OSError):  # hung up already
            peer.socket.shutdown(socket.SHUT_WR)
            list(peer.frames())
    with Peer(both.port) as other:
        other.send(healthz(1))
        assert other.status(1) == 200


@pytest.fixture(autouse=True)
def _no_errors_inside(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a peer does is no error of ours."""
    yield
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


# --- following frames ------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 2, 3, 4, 6, 8, 9, 0x77]),
            st.integers(0, 255),
            st.binary(max_size=30),
        ),
        max_size=12,
    ),
    st.data(),
)
def test_frames_are_followed_however_they_are_cut(
    sent: list[tuple[int, int, bytes]], data: st.DataObject
) -> None:
    whole = PREFACE + b"".join(frame(kind, flags, 1, body) for kind, flags, body in sent)
    at_once = Frames()
    idle = at_once.feed(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    in_parts = Frames()
    assert idle == sum(
        in_parts.feed(whole[start:end])
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)
    )
    assert in_parts.unfinished == at_once.unfinished
    last = [kind for kind, flags, _ in sent if kind in (1, 9) and (kind == 1 or flags & 4)]
    if not last:
        assert at_once.unfinished == 0
    in_parts.feed(frame(6, payload=b"8 bytes.")[:3])
    assert in_parts.unfinished > 0
