"""The quick way of a relay says and does what the ordinary way does, or nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.relay.quick import QuickCall
from navarch.wire.asgi import JsonCodec
from navarch.wire.generated import navarch_pb2 as pb
from relay.test_relay_app import World, heartbeat

FORMS = ("application/proto", "application/json")
FIGURES = st.one_of(st.floats(0, 100), st.floats(), st.just(0.0))
GPUS = st.fixed_dictionaries(
    {
        "gpu_index": st.integers(0, 7),
        "temperature": st.integers(-20, 120),
        "power_usage": st.integers(0, 1000),
        "utilization_percent": FIGURES,
        "memory_used": st.integers(-1, 2**40),
    }
)


def headers(form: str, token: str = "mine", *more: tuple[bytes, bytes]) -> list[Any]:
    return [
        (b"content-type", form.encode()),
        (b"authorization", f"Bearer {token}".encode()),
        *more,
    ]


def ready() -> World:
    """A relay that knows n1, and to which the control plane has answered."""
    world = World()
    now = asyncio.get_running_loop().time()
    world.flushing.taken_at = now
    world.roster.interval = 30
    from navarch.relay.roster import digest

    world.roster.admitted("n1", digest(b"Bearer mine"), now)
    return world


def both(method: str, form: str, body: bytes) -> tuple[Any, Any, World, World]:
    """What the quick way and the ordinary way answer, and what each did."""

    async def ask() -> tuple[Any, Any, World, World]:
        quick, slow = ready(), ready()
        call = quick.app.hot.prepare(method, headers(form))
        assert isinstance(call, QuickCall)
        answer = quick.app.hot.answer(call, body)
        path = f"/navarch.ControlPlaneService/{method}"
        status, said, text = await slow.request("POST", path, headers(form), body)
        return answer, (status, said, text), quick, slow

    return asyncio.run(ask())


def gathered(world: World) -> pb.HeartbeatRequest | None:
    bodies = [held.body for batch in world.held.take() for held in batch.values()]
    if not bodies:
        return None
    request = pb.HeartbeatRequest.FromString(bodies[0])
    request.ClearField("timestamp")  # a batch has no use for it
    return request


@given(
    st.sampled_from(FORMS),
    st.sampled_from(["n1", "n2", "", "bad id"]),
    st.lists(GPUS, max_size=4),
    FIGURES,
    st.integers(0, 1),
)
def test_a_heartbeat_is_answered_and_gathered_alike_on_both_ways(
    form: str, node_id: str, gpus: list[dict[str, Any]], cpu: float, stamped: int
) -> None:
    beat = pb.HeartbeatRequest(node_id=node_id)
    if stamped:
        beat.timestamp.FromSeconds(1_700_000_000)
    beat.metrics.cpu_usage_percent = cpu
    for gpu in gpus:
        beat.metrics.gpu_metrics.add(**gpu)
    body = JsonCodec().encode(beat) if form == FORMS[1] else beat.SerializeToString()
    answer, (status, said, text), quick, slow = both("Heartbeat", form, body)
    if answer is None:
        assert gathered(quick) is None
        return
    assert (200, dict(answer.headers), answer.body) == (status, said, text)
    assert gathered(quick) == gathered(slow)


@given(st.sampled_from(FORMS), st.binary(max_size=200))
def test_nothing_is_done_with_bytes_that_are_no_heartbeat(form: str, body: bytes) -> None:
    answer, (status, _, _), quick, slow = both("Heartbeat", form, body)
    if answer is not None:
        assert status == 200
        assert gathered(quick) == gathered(slow)
    else:
        assert gathered(quick) is None


@pytest.mark.parametrize("form", FORMS)
def test_the_usual_heartbeat_and_poll_take_the_quick_way(form: str) -> None:
    beat = pb.HeartbeatRequest(node_id="n1")
    beat.metrics.gpu_metrics.add(gpu_index=1, temperature=60)
    poll = pb.GetNodeCommandsRequest(node_id="n1")

    async def story() -> None:
        world = ready()
        for method, message in (("Heartbeat", beat), ("PollCommands", poll)):
            body = message.SerializeToString() if form == FORMS[0] else JsonCodec().encode(message)
            call = world.app.hot.prepare(method, headers(form))
            assert call is not None
            if method == "PollCommands":
                assert world.app.hot.answer(call, body) is None, "nothing is known of commands"
                now = asyncio.get_running_loop().time()
                world.roster.told(["n1"], frozenset(), now)
            answer = world.app.hot.answer(call, body)
            assert answer is not None
            assert answer.text.endswith(b"\r\n\r\n" + answer.body)
        assert gathered(world) == beat

    asyncio.run(story())


def test_another_token_an_unknown_node_and_a_control_plane_that_is_away_take_the_ordinary_way() -> (
    None
):
    async def story() -> None:
        world = ready()
        path = world.app.hot
        mine = path.prepare("Heartbeat", headers(FORMS[0]))
        others = path.prepare("Heartbeat", headers(FORMS[0], "another's"))
        assert mine is not None
        assert others is not None
        assert path.answer(others, heartbeat("n1")) is None
        assert path.answer(mine, heartbeat("n2")) is None
        world.flushing.taken_at -= 60
        assert path.answer(mine, heartbeat("n1")) is None
        assert gathered(world) is None

    asyncio.run(story())


@pytest.mark.parametrize(
    "more",
    [
        (b"authorization", b"Bearer again"),
        (b"content-type", b"application/json"),
        (b"content-encoding", b"gzip"),
        (b"connect-protocol-version", b"2"),
    ],
)
def test_unusual_headers_take_the_ordinary_way(more: tuple[bytes, bytes]) -> None:
    async def story() -> None:
        path = ready().app.hot
        assert path.prepare("Heartbeat", headers(FORMS[0], "mine", more)) is None
        assert path.prepare("ReportHealth", headers(FORMS[0])) is None

    asyncio.run(story())
