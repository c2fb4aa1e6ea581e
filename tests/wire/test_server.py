"""The application behind a real uvicorn, asked by hand and by the Connect library's client."""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import re
import socket
from collections.abc import Iterator, Mapping
from datetime import timedelta

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from pyqwest import SyncClient

from navarch.telemetry.log import Event
from navarch.wire import auth
from navarch.wire.asgi import Readiness
from navarch.wire.auth import Authenticator
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.generated.navarch_connect import ControlPlaneServiceClientSync
from navarch.wire.limits import Limits
from wire.conftest import ADMIN, SECRET, VIEWER, LiveServer, running

JSON = {"Content-Type": "application/json"}
AS_ADMIN = {**JSON, "Authorization": f"Bearer {ADMIN}"}
HEARTBEAT = "/navarch.ControlPlaneService/Heartbeat"
GET_NODE = "/navarch.ControlPlaneService/GetNode"
NODE_TOKEN = auth.mint_node_token(SECRET, "n1")


class Answer:
    """What came back."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> object:
        return json.loads(self.body)

    @property
    def refusal(self) -> tuple[int, str, str]:
        """Status, code and message of an error in the form of the Connect protocol."""
        error = json.loads(self.body)
        assert self.headers["content-type"] == "application/json"
        assert set(error) == {"code", "message"}
        return self.status, error["code"], error["message"]


def ask(
    server: LiveServer,
    path: str,
    body: bytes | Iterator[bytes] = b"",
    headers: Mapping[str, str] = AS_ADMIN,
    method: str = "POST",
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body, dict(headers))
        return Answer(connection.getresponse())
    finally:
        connection.close()


# --- calls -----------------------------------------------------------------------------------


def test_a_json_call(server: LiveServer) -> None:
    answer = ask(server, GET_NODE, b'{"nodeId":"n1"}')
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.body == (
        b'{"node":{"nodeId":"n1","status":"NODE_STATUS_ACTIVE",'
        b'"gpus":[{"memoryTotal":"85899345920"}]}}'
    )


def test_a_protobuf_call_and_a_stream_by_the_library_s_client(server: LiveServer) -> None:
    headers = {"authorization": f"Bearer {ADMIN}"}
    client = ControlPlaneServiceClientSync(server.url, http_client=SyncClient())
    reply = client.get_node(pb.GetNodeRequest(node_id="n1"), headers=headers)
    assert reply.node.node_id == "n1"
    facts = client.watch_events(pb.WatchEventsRequest(after_seq=4), headers=headers)
    assert [fact.event.seq for fact in facts] == [5, 6, 7]
    with pytest.raises(ConnectError) as caught:
        client.heartbeat(pb.HeartbeatRequest(node_id="stranger"), headers=headers)
    assert (caught.value.code, caught.value.message) == (
        Code.NOT_FOUND,
        "stranger is not registered",
    )


def test_a_grpc_web_call(server: LiveServer) -> None:
    message = pb.GetNodeRequest(node_id="n1").SerializeToString()
    frame = b"\0" + len(message).to_bytes(4, "big") + message
    headers = {**AS_ADMIN, "Content-Type": "application/grpc-web+proto"}
    answer = ask(server, GET_NODE, frame, headers)
    assert answer.status == 200
    size = int.from_bytes(answer.body[1:5], "big")
    reply = pb.GetNodeResponse.FromString(answer.body[5 : 5 + size])
    assert reply.node.node_id == "n1"
    assert b"grpc-status: 0" in answer.body[5 + size :]


def test_a_compressed_body_is_read(server: LiveServer) -> None:
    headers = {**AS_ADMIN, "Content-Encoding": "gzip"}
    assert ask(server, GET_NODE, gzip.compress(b'{"nodeId":"n1"}'), headers).status == 200


def test_a_method_that_the_service_lacks_is_unimplemented(server: LiveServer) -> None:
    answer = ask(server, "/navarch.ControlPlaneService/Explain", b"{}")
    assert answer.refusal[:2] == (501, "unimplemented")


# --- refusals by form ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body, message",
    [
        (b"{", "not JSON: Input data was truncated"),
        (b"7", "JSON: an object was expected"),
        (b'{"nodeId":["n1"]}', "nodeId"),
        (b"{}", "node_id: is required"),
        (b'{"nodeId":"a b"}', "node_id: 'a b' is no id"),
    ],
)
def test_a_bad_body_is_an_invalid_argument(server: LiveServer, body: bytes, message: str) -> None:
    before = server.refused("invalid_argument")
    status, code, text = ask(server, HEARTBEAT, body).refusal
    assert (status, code) == (400, "invalid_argument")
    assert message in text
    assert server.refused("invalid_argument") == before + 1


def test_bytes_that_are_no_protobuf_are_an_invalid_argument(server: LiveServer) -> None:
    headers = {**AS_ADMIN, "Content-Type": "application/proto"}
    assert ask(server, HEARTBEAT, b"\xff\xff", headers).refusal[:2] == (400, "invalid_argument")


@pytest.mark.parametrize(
    "path",
    ["/", "/metrics/", "/navarch.ControlPlaneService/", "/navarch.ControlPlaneService/Nope"],
)
def test_an_unknown_path_is_404_and_not_a_missing_node(server: LiveServer, path: str) -> None:
    before = server.refused("unknown_path")
    status, code, _ = ask(server, path, b"{}").refusal
    assert (status, code) == (404, "unimplemented")
    assert server.refused("unknown_path") == before + 1


@pytest.mark.parametrize(
    "content_type, message",
    [
        ("text/plain", "content-type 'text/plain' is not served here"),
        ("", "content-type '' is not served here"),
        ("application/connect+json", "is not served here"),
        ("application/grpc", "gRPC needs HTTP/2"),
        ("application/grpc+proto", "gRPC needs HTTP/2"),
    ],
)
def test_a_wrong_content_type_is_415(server: LiveServer, content_type: str, message: str) -> None:
    answer = ask(server, GET_NODE, b"{}", {**AS_ADMIN, "Content-Type": content_type})
    status, code, text = answer.refusal
    assert (status, code) == (415, "unimplemented")
    assert message in text
    assert "application/json" in answer.headers["accept-post"]


def test_a_stream_wants_a_stream_s_content_type(server: LiveServer) -> None:
    answer = ask(server, "/navarch.ControlPlaneService/WatchEvents", b"{}")
    assert answer.refusal[0] == 415
    assert "application/connect+json" in answer.headers["accept-post"]


def test_a_call_is_a_post(server: LiveServer) -> None:
    answer = ask(server, GET_NODE, method="GET")
    assert answer.refusal[:2] == (405, "unimplemented")
    assert answer.headers["allow"] == "POST"


def test_a_header_that_is_no_text_is_refused(raw: socket.socket) -> None:
    raw.sendall(
        b"POST /navarch.ControlPlaneService/GetNode HTTP/1.1\r\nHost: x\r\n"
        b"X-Odd: \xff\xfe\r\nContent-Length: 0\r\n\r\n"
    )
    reply = http.client.HTTPResponse(raw)
    reply.begin()
    assert Answer(reply).refusal == (400, "invalid_argument", "a header is not UTF-8 text")


# --- refusals by size ------------------------------------------------------------------------


def parts(total: int) -> list[bytes]:
    return [b"x" * 8192] * (total // 8192)


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
@pytest.mark.parametrize("factor", [2, 4], ids=["twice", "four times"])
def test_a_body_above_the_limit_is_told_so(
    server: LiveServer, *, chunked: bool, factor: int
) -> None:
    before = server.refused("body_bytes")
    body = parts(factor * 64 * 1024)
    answer = ask(server, HEARTBEAT, iter(body) if chunked else b"".join(body))
    assert answer.refusal == (429, "resource_exhausted", "the body is larger than 65536 bytes")
    assert server.refused("body_bytes") == before + 1


def test_a_body_that_announces_far_too_much_is_not_waited_for(raw: socket.socket) -> None:
    raw.sendall(
        b"POST /navarch.ControlPlaneService/Heartbeat HTTP/1.1\r\nHost: x\r\n"
        b"Content-Type: application/json\r\nAuthorization: Bearer admin-token\r\n"
        b"Content-Length: 9999999999\r\n\r\n"
    )
    reply = http.client.HTTPResponse(raw)
    reply.begin()
    answer = Answer(reply)
    assert answer.refusal[:2] == (429, "resource_exhausted")
    assert answer.headers["connection"] == "close"
    assert raw.recv(1) == b""


def test_a_body_that_is_too_large_only_when_unpacked_is_refused(server: LiveServer) -> None:
    headers = {**AS_ADMIN, "Content-Encoding": "gzip"}
    answer = ask(server, HEARTBEAT, gzip.compress(b" " * 10_000_000), headers)
    assert answer.refusal[:2] == (429, "resource_exhausted")


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    limits = Limits(body_timeout=timedelta(milliseconds=50))
    with (
        running(Authenticator(), limits) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as slow,
    ):
        slow.sendall(
            b"POST /navarch.ControlPlaneService/Heartbeat HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        reply = http.client.HTTPResponse(slow)
        reply.begin()
        answer = Answer(reply)
        assert answer.refusal == (
            504,
            "deadline_exceeded",
            "the body did not arrive within 0.05 seconds",
        )
        assert slow.recv(1) == b""
        assert server.refused("body_timeout") == 1


def test_a_limit_of_a_field_is_counted_by_its_name(server: LiveServer) -> None:
    before = server.refused("labels")
    labels = {str(number): "" for number in range(65)}
    body = json.dumps({"nodeId": "n1", "metadata": {"labels": labels}}).encode()
    answer = ask(server, "/navarch.ControlPlaneService/RegisterNode", body)
    assert answer.refusal == (
        400,
        "invalid_argument",
        "metadata.labels: 65 entries, at most 64 allowed",
    )
    assert server.refused("labels") == before + 1


# --- who may ---------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic abc"])
def test_without_a_good_token_nothing_is_read(server: LiveServer, header: str | None) -> None:
    headers = JSON if header is None else {**JSON, "Authorization": header}
    before = server.refused("unauthenticated")
    answer = ask(server, HEARTBEAT, b"this is not even JSON", headers)
    assert answer.refusal[:2] == (401, "unauthenticated")
    assert server.refused("unauthenticated") == before + 1


def test_a_viewer_reads_and_does_not_write(server: LiveServer) -> None:
    headers = {**JSON, "Authorization": f"Bearer {VIEWER}"}
    assert ask(server, GET_NODE, b'{"nodeId":"n1"}', headers).status == 200
    assert ask(server, HEARTBEAT, b'{"nodeId":"n1"}', headers).refusal == (
        403,
        "permission_denied",
        "Heartbeat: needs the role operator, and 'eyes' has viewer",
    )


def test_a_node_speaks_for_itself_only(server: LiveServer) -> None:
    headers = {**JSON, "Authorization": f"Bearer {NODE_TOKEN}"}
    assert ask(server, HEARTBEAT, b'{"nodeId":"n1"}', headers).status == 200
    assert ask(server, HEARTBEAT, b'{"nodeId":"n2"}', headers).refusal == (
        403,
        "permission_denied",
        "node_id: the token is for node 'n1' and not for 'n2'",
    )
    assert ask(server, GET_NODE, b'{"nodeId":"n1"}', headers).refusal[0] == 403


def test_a_method_knows_who_called(server: LiveServer) -> None:
    for token, name in ((ADMIN, "root"), (NODE_TOKEN, "n1")):
        headers = {**JSON, "Authorization": f"Bearer {token}"}
        ask(server, "/navarch.ControlPlaneService/RegisterNode", b'{"nodeId":"n1"}', headers)
        assert server.service.callers[-1] == name


def test_an_open_server_lets_in_everybody_but_no_wrong_token(open_server: LiveServer) -> None:
    assert ask(open_server, HEARTBEAT, b'{"nodeId":"n1"}', JSON).status == 200
    wrong = {**JSON, "Authorization": f"Bearer {ADMIN}"}
    assert ask(open_server, HEARTBEAT, b'{"nodeId":"n1"}', wrong).refusal[0] == 401


# --- faults inside ---------------------------------------------------------------------------


def test_a_fault_inside_is_logged_and_not_told(
    server: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    status, code, message = ask(server, GET_NODE, b'{"nodeId":"broken"}').refusal
    assert (status, code) == (500, "internal")
    assert "hunter2" not in message
    found = re.search(r"internal error ([0-9a-f]{8}-\d{6})", message)
    assert found is not None
    [record] = [each for each in caplog.records if found[1] in each.getMessage()]
    assert record.levelno == logging.ERROR
    assert "hunter2" in str(record.exc_info and record.exc_info[1])


def test_a_call_ends_at_the_caller_s_deadline(server: LiveServer) -> None:
    headers = {**AS_ADMIN, "Connect-Timeout-Ms": "50"}
    answer = ask(server, GET_NODE, b'{"nodeId":"slow"}', headers)
    assert answer.refusal[:2] == (504, "deadline_exceeded")


# --- health ----------------------------------------------------------------------------------


def test_healthz_is_open(server: LiveServer) -> None:
    answer = ask(server, "/healthz", headers={}, method="GET")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert ask(server, "/healthz", headers={}, method="HEAD").status == 200
    assert ask(server, "/healthz", headers={}, method="POST").refusal[0] == 405


def test_readyz_says_whether_and_why_not(server: LiveServer) -> None:
    answer = ask(server, "/readyz", headers={}, method="GET")
    assert (answer.status, answer.json) == (200, {"ready": True, "reason": "", "role": "leader"})
    server.readiness.append(Readiness(ready=False, reason="replaying the journal"))
    try:
        answer = ask(server, "/readyz", headers={}, method="GET")
    finally:
        server.readiness.pop()
    assert answer.status == 503
    assert answer.json == {"ready": False, "reason": "replaying the journal", "role": "leader"}


# --- request ids ------------------------------------------------------------------------------

STRANGER = b'{"nodeId":"stranger"}'


def test_a_refused_call_has_an_id_in_its_answer_and_in_the_log(
    server: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "navarch.wire"):
        missing = ask(server, HEARTBEAT, STRANGER)
        mine = ask(server, HEARTBEAT, STRANGER, {**AS_ADMIN, "X-Request-Id": "my-own:id.1"})
        forged = ask(server, HEARTBEAT, STRANGER, {**AS_ADMIN, "X-Request-Id": 'a" b=c'})
        nobody = ask(server, GET_NODE, b"{}", {**JSON, "Authorization": "Bearer not-a-token-1"})
        path = ask(server, "/navarch.ControlPlaneService/Nothing", b"{}")
        good = ask(server, HEARTBEAT, b'{"nodeId":"n1"}')
    told = {
        event.fields["request"]: event.fields
        for event in (each.msg for each in caplog.records)
        if isinstance(event, Event) and event.word == "call_refused"
    }
    ids = [each.headers["x-request-id"] for each in (missing, mine, forged, nobody, path)]
    assert list(told)[:4] == ids[:4]
    assert ids[1] == "my-own:id.1"
    assert all(re.fullmatch(r"[0-9a-f]{8}-\d{6}", each) for each in (ids[0], *ids[2:]))
    assert (told[ids[0]]["method"], told[ids[0]]["caller"]) == ("Heartbeat", "root")
    assert (told[ids[3]]["code"], told[ids[3]]["caller"]) == ("unauthenticated", "")
    assert good.headers["x-request-id"] is None
    assert "not-a-token" not in caplog.text


def test_a_flood_of_refusals_is_logged_sparingly(
    server: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "navarch.wire"):
        for _ in range(60):
            ask(server, HEARTBEAT, STRANGER)
    assert 1 <= len(caplog.records) < 40
