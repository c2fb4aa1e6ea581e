"""Lists of nodes through the whole application: forms, gates, compression, pages, refusals."""

from __future__ import annotations

import gzip
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import pytest

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model.messages import Heartbeat, RegisterNode
from navarch.wire import answers
from navarch.wire.asgi import JsonCodec
from navarch.wire.auth import Authenticator, Role, StaticToken, mint_node_token
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.prepared import LARGE, Gzip
from pools import MONDAY, run
from requests_of import ask

SECRET = b"sixteen bytes and a few more"
OF_A_NODE = {"authorization": f"Bearer {mint_node_token(SECRET, 'n1')}"}
VIEWER = {"authorization": "Bearer viewer-token"}
PATH = "/navarch.ControlPlaneService/ListNodes"
IDS = ("n1", "n2", "n3")

Ask = Callable[..., Awaitable[tuple[int, Mapping[bytes, bytes], bytes]]]


def with_three_nodes(story: Callable[[ControlPlane, Ask], Awaitable[None]]) -> None:
    """Tell a story of a control plane with three nodes, all heard but the last."""

    async def told() -> None:
        tokens = [StaticToken("viewer", Role.VIEWER, "viewer-token")]
        clock = FakeClock(MONDAY)
        plane = ControlPlane(ServerConfig(clock=clock), authenticator=Authenticator(tokens, SECRET))
        async with plane:
            for node_id in IDS:
                await plane.runtime.ask(RegisterNode(node_id, region="east"))
            clock.advance(timedelta(milliseconds=1_250))
            await plane.runtime.ask(Heartbeat("n1"))
            application = plane.asgi_app

            async def list_nodes(
                body: bytes, form: str, **headers: str
            ) -> tuple[int, Mapping[bytes, bytes], bytes]:
                named = {name.replace("_", "-"): value for name, value in headers.items()}
                return await ask(application, PATH, body, {"content-type": form, **named})

            await story(plane, list_nodes)

    run(told())


def ordinary(plane: ControlPlane, *ids: str, token: str = "") -> pb.ListNodesResponse:
    machine = plane.runtime.machine
    nodes = [machine.fleet.nodes[id_] for id_ in ids]
    shown = [answers.node_info(each, machine.sightings.heard.get(each.id)) for each in nodes]
    return pb.ListNodesResponse(nodes=shown, next_page_token=token)


def test_every_form_has_the_bytes_of_the_ordinary_answer() -> None:
    async def story(plane: ControlPlane, listed: Ask) -> None:
        message = ordinary(plane, *IDS)
        as_json, as_proto = JsonCodec().encode(message), message.SerializeToString()
        status, headers, body = await listed(b"{}", "application/json", **VIEWER)
        assert (status, headers[b"content-type"], body) == (200, b"application/json", as_json)
        status, headers, body = await listed(b"", "application/proto", **VIEWER)
        assert (status, headers[b"content-type"], body) == (200, b"application/proto", as_proto)
        status, _, body = await listed(b"\0\0\0\0\0", "application/grpc-web+proto", **VIEWER)
        size = int.from_bytes(body[1:5], "big")
        assert (status, body[5 : 5 + size]) == (200, as_proto)
        assert b"grpc-status: 0" in body[5 + size :]

    with_three_nodes(story)


def test_an_answer_is_compressed_for_whoever_asks() -> None:
    async def story(plane: ControlPlane, listed: Ask) -> None:
        _, headers, body = await listed(b"{}", "application/json", accept_encoding="gzip", **VIEWER)
        assert headers[b"content-encoding"] == b"gzip"
        assert gzip.decompress(body) == JsonCodec().encode(ordinary(plane, *IDS))

    with_three_nodes(story)


@pytest.mark.parametrize("size", [10, LARGE, LARGE + 1, 10 * LARGE])
def test_answers_of_every_size_are_compressed_well(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    compressed = Gzip().compress(body)
    assert gzip.decompress(compressed) == body
    in_a_hurry = compressed[8] == 4  # RFC 1952, 2.3.1: the mark of the quickest algorithm
    assert in_a_hurry == (size > LARGE)


def test_pages_follow_each_other_and_filters_hold() -> None:
    async def story(plane: ControlPlane, listed: Ask) -> None:
        pages = []
        token = ""
        while True:
            asked = json.dumps({"pageSize": 2, "pageToken": token, "region": "east"}).encode()
            _, _, body = await listed(asked, "application/json", **VIEWER)
            pages.append(body)
            token = json.loads(body).get("nextPageToken", "")
            if not token:
                break
        expected = ordinary(plane, "n1", "n2", token="n2"), ordinary(plane, "n3")
        assert pages == [JsonCodec().encode(each) for each in expected]
        _, _, nobody = await listed(b'{"region":"west"}', "application/json", **VIEWER)
        assert nobody == b"{}"

    with_three_nodes(story)


@pytest.mark.parametrize(
    "body, headers, status, code",
    [
        (b"{}", {}, 401, "unauthenticated"),
        (b"{}", {"authorization": "Bearer wrong"}, 401, "unauthenticated"),
        (
            b"{}",
            {"authorization": f"Bearer {mint_node_token(SECRET, 'n1')}"},
            403,
            "permission_denied",
        ),
        (b'{"pageSize":1001}', VIEWER, 400, "invalid_argument"),
        (b'{"pageToken":"?"}', VIEWER, 400, "invalid_argument"),
        (b'{"status":77}', VIEWER, 400, "invalid_argument"),
        (b"{", VIEWER, 400, "invalid_argument"),
    ],
)
def test_who_may_not_or_asks_badly_is_refused_as_ever(
    body: bytes, headers: Mapping[str, str], status: int, code: str
) -> None:
    async def story(plane: ControlPlane, listed: Ask) -> None:
        actual, _, told = await listed(body, "application/json", **headers)
        assert (actual, json.loads(told)["code"]) == (status, code)

    with_three_nodes(story)
