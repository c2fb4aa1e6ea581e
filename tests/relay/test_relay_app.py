"""What agents are answered, and what goes up, with a control plane that does as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from navarch.relay import app as apps
from navarch.relay import flushing as flushings
from navarch.relay import verdicts
from navarch.relay.app import Application
from navarch.relay.counting import Counts
from navarch.relay.flushing import Flushing
from navarch.relay.gathering import Gathering
from navarch.relay.roster import Roster
from navarch.relay.verdicts import Reply
from navarch.wire.generated import navarch_pb2 as pb
from relay.upstream import Upstream, batch_answer, refusing

INTERVAL = 0.01


class World:
    """A relay in this process."""

    def __init__(self, *, bytes_max: int = 1 << 20) -> None:
        self.upstream = Upstream()
        self.counts = Counts()
        self.roster = Roster()
        self.held = Gathering(bytes_max)
        self.flushing = Flushing(
            self.upstream,
            self.held,
            self.roster,
            self.counts,
            token="operator",
            interval=INTERVAL,
            spread=0.0,
        )
        self.app = Application(self.upstream, self.flushing, self.held, self.roster, self.counts)

    async def call(
        self, method: str, body: bytes, *, token: str = "mine", form: str = "proto"
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        headers = [
            (b"content-type", f"application/{form}".encode()),
            (b"authorization", f"Bearer {token}".encode()),
        ]
        path = f"/navarch.ControlPlaneService/{method}"
        return await self.request("POST", path, headers, body)

    async def request(
        self, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes = b""
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(event: dict[str, Any]) -> None:
            sent.append(event)

        scope = {"type": "http", "method": method, "path": path, "headers": headers}
        await self.app(scope, receive, send)  # type: ignore[arg-type]
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    async def beat(self, node_id: str = "n1", replicas: int = 0) -> pb.HeartbeatResponse:
        status, _, body = await self.call("Heartbeat", heartbeat(node_id, replicas))
        assert status == 200, body
        return pb.HeartbeatResponse.FromString(body)

    async def let_in(self, *node_ids: str) -> None:
        """Have nodes speak once: these calls are passed on, and their tokens are known."""
        for node_id in node_ids:
            await self.beat(node_id)
        self.upstream.calls.clear()

    async def passed_on(self) -> None:
        """Wait until nothing waits any more."""
        await until(lambda: not len(self.held))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.001)


def heartbeat(node_id: str, replicas: int = 0) -> bytes:
    beat = pb.HeartbeatRequest(node_id=node_id)
    for number in range(replicas):
        beat.serving.replicas.add(replica_id=f"r{number}", port=8000)
        beat.serving.models.add(model=f"m{number}", complete=True)
    return beat.SerializeToString()


def live(story: Callable[[World], Awaitable[None]], **options: int) -> World:
    """Run a story beside a relay that sends what it gathers."""

    async def whole() -> World:
        world = World(**options)
        running = asyncio.create_task(world.flushing.run())
        await until(lambda: bool(world.flushing.works(asyncio.get_running_loop().time())))
        async with asyncio.timeout(20):
            await story(world)
        world.flushing.stop()
        await running
        return world

    return asyncio.run(whole())


def test_the_first_heartbeat_is_passed_on_and_the_next_ones_go_up_together() -> None:
    async def story(world: World) -> None:
        await world.beat("n1")
        assert [method for method, _ in world.upstream.calls] == ["Heartbeat"]
        await world.let_in("n2")
        world.upstream.gate.clear()
        for node_id in ("n1", "n2", "n1"):
            assert (await world.beat(node_id)).acknowledged
        world.upstream.gate.set()
        await world.passed_on()
        assert world.upstream.calls == []
        assert set(world.upstream.heard) == {"n1", "n2"}

    assert live(story).counts.batched == 2


def test_what_a_node_serves_goes_up_with_its_heartbeat() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1")
        await world.beat("n1", replicas=3)
        await world.passed_on()
        assert world.upstream.heard["n1"] == heartbeat("n1", replicas=3)

    live(story)


def test_a_heartbeat_in_json_goes_up_as_well() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1")
        body = b'{"nodeId":"n1","serving":{"replicas":[{"replicaId":"r0","port":8000}]}}'
        status, headers, answer = await world.call("SendHeartbeat", body, form="json")
        assert (status, headers[b"content-type"]) == (200, b"application/json")
        assert json.loads(answer) == {"acknowledged": True}
        await world.passed_on()
        heard = pb.HeartbeatRequest.FromString(world.upstream.heard["n1"])
        assert [each.replica_id for each in heard.serving.replicas] == ["r0"]

    live(story)


def test_a_node_that_falls_silent_is_silent_upstream() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1", "n2")
        await world.beat("n1")
        await world.beat("n2")
        await world.passed_on()
        del world.upstream.batches[:]
        for _ in range(3):
            await world.beat("n2")
            await world.passed_on()
        assert {id_ for batch in world.upstream.batches for id_ in batch} == {"n2"}

    live(story)


def test_nobody_speaks_for_another_node() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1")
        world.upstream.reply = refusing(403, "permission_denied")
        status, _, body = await world.call("Heartbeat", heartbeat("n1"), token="another's")
        assert (status, json.loads(body)["code"]) == (403, "permission_denied")
        assert "n1" not in world.held
        assert (await world.beat("n1")).acknowledged

    live(story)


def test_a_node_that_must_register_hears_it_from_the_control_plane() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1", "n2")
        world.upstream.answers = lambda request: batch_answer(request, unknown=["n1"])
        await world.beat("n1")
        await world.passed_on()
        world.upstream.answers = batch_answer
        world.upstream.reply = refusing(404, "not_found")
        for _ in range(2):
            status, _, body = await world.call("Heartbeat", heartbeat("n1"))
            assert (status, json.loads(body)["code"]) == (404, "not_found")
        world.upstream.reply = Reply(200, (), b"")
        register = pb.RegisterNodeRequest(node_id="n1").SerializeToString()
        assert (await world.call("RegisterNode", register))[0] == 200
        world.upstream.calls.clear()
        await world.beat("n1")
        assert world.upstream.calls == []

    live(story)


def test_a_waiting_command_is_announced_and_the_poll_is_passed_on() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1")
        world.upstream.answers = lambda request: batch_answer(request, waiting=["n1"], interval=7)
        await world.beat("n1")
        await world.passed_on()
        answer = await world.beat("n1")
        assert (answer.commands_pending, answer.heartbeat_interval_seconds) == (True, 7)
        poll = pb.GetNodeCommandsRequest(node_id="n1").SerializeToString()
        await world.call("PollCommands", poll)
        assert world.upstream.calls == [("PollCommands", poll)]

    live(story)


def test_a_poll_for_which_nothing_waits_is_answered_here() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1")
        poll = pb.GetNodeCommandsRequest(node_id="n1").SerializeToString()
        await world.call("PollCommands", poll)
        assert len(world.upstream.calls) == 1
        await world.beat("n1")
        await world.passed_on()
        assert (await world.call("PollCommands", poll))[::2] == (200, b"")
        assert (await world.call("GetNodeCommands", b'{"nodeId":"n1"}', form="json"))[2] == b"{}"
        assert len(world.upstream.calls) == 1
        status, _, _ = await world.call("PollCommands", poll, token="another's")
        assert (status, len(world.upstream.calls)) == (200, 2)

    assert live(story).counts.polls_answered == 2


def test_a_result_never_overtakes_the_heartbeat_before_it() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1")
        world.upstream.gate.clear()
        await world.beat("n1", replicas=1)
        ack = pb.AckCommandRequest(node_id="n1", command_id="cmd-1").SerializeToString()
        telling = asyncio.create_task(world.call("AckCommand", ack))
        await until(lambda: ["n1"] in world.upstream.batches)
        assert world.upstream.calls == []
        world.upstream.gate.set()
        await telling
        assert world.upstream.calls == [("AckCommand", ack)]

    live(story)


def test_while_the_control_plane_is_away_heartbeats_are_kept_and_then_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verdicts, "AWAY_MAX", 0.4)

    async def story(world: World) -> None:
        await world.let_in("n1", "n2")
        world.upstream.away = True
        await world.beat("n1")
        await until(lambda: not world.flushing.works(asyncio.get_running_loop().time()))
        status, _, body = await world.call("Heartbeat", heartbeat("n2"))
        assert (status, json.loads(body)["code"]) == (503, "unavailable")
        assert "nobody is there" in json.loads(body)["message"]
        assert (await world.request("GET", "/readyz", []))[0] == 503
        assert (await world.request("GET", "/healthz", []))[0] == 200
        world.upstream.away = False
        await until(lambda: bool(world.flushing.works(asyncio.get_running_loop().time())))
        assert (await world.request("GET", "/readyz", []))[0] == 200
        await world.beat("n2")
        await world.passed_on()
        assert set(world.upstream.heard) == {"n2"}, "a sighting of long ago is none"

    assert live(story).counts.dropped["old"] == 1


def test_while_no_batch_gets_through_no_heartbeat_of_a_new_node_is_passed_on_either() -> None:
    async def story(world: World) -> None:
        world.upstream.away = True
        world.flushing.taken_at = asyncio.get_running_loop().time() - 60
        status, _, body = await world.call("Heartbeat", heartbeat("new"))
        assert (status, json.loads(body)["code"]) == (503, "unavailable")
        assert world.upstream.calls == []
        world.upstream.away = False

    live(story)


def test_new_nodes_make_themselves_known_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "STRANGERS_MAX", 2)

    async def story(world: World) -> None:
        world.upstream.calls_gate.clear()
        first = [asyncio.create_task(world.beat(f"n{number}")) for number in range(2)]
        await until(lambda: len(world.upstream.calls) == 2)
        for _ in range(3):
            status, headers, body = await world.call("Heartbeat", heartbeat("third"))
            assert (status, json.loads(body)["code"]) == (429, "resource_exhausted")
            assert 1 <= int(headers[b"retry-after"]) <= apps.LATER_MAX
        world.upstream.calls_gate.set()
        await asyncio.gather(*first)
        await world.beat("third")
        assert len(world.upstream.calls) == 3

    live(story)


def test_a_short_outage_loses_no_heartbeat() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1")
        world.upstream.away = True
        await world.beat("n1")
        await until(lambda: ["n1"] in world.upstream.batches)
        world.upstream.away = False
        await world.passed_on()
        assert set(world.upstream.heard) == {"n1"}

    assert live(story).counts.batches["unavailable"] >= 1


def test_a_control_plane_that_asks_for_patience_gets_it() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1")
        world.upstream.answers = lambda _: refusing(429, "resource_exhausted", retry_after="1")
        began = asyncio.get_running_loop().time()
        await world.beat("n1")
        await until(lambda: ["n1"] in world.upstream.batches)
        world.upstream.answers = batch_answer
        await world.passed_on()
        assert asyncio.get_running_loop().time() - began >= 1.0

    live(story)


def test_one_heartbeat_that_is_refused_does_not_hold_up_the_others() -> None:
    async def story(world: World) -> None:
        nodes = [f"n{number}" for number in range(9)]
        await world.let_in(*nodes)

        def picky(request: pb.HeartbeatBatchRequest) -> Reply:
            if any(each.node_id == "n4" for each in request.heartbeats):
                return refusing(400, "invalid_argument")
            return batch_answer(request)

        world.upstream.answers = picky
        for node_id in nodes:
            await world.beat(node_id)
        await world.passed_on()
        await until(lambda: len(world.upstream.heard) == 8)
        assert set(world.upstream.heard) == set(nodes) - {"n4"}
        world.upstream.calls.clear()
        await world.beat("n4")
        assert [method for method, _ in world.upstream.calls] == ["Heartbeat"]

    assert live(story).counts.dropped["refused"] == 1


def test_a_control_plane_that_refuses_everything_is_not_asked_for_each_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flushings, "SPLITS_MAX", 5)

    async def story(world: World) -> None:
        nodes = [f"n{number}" for number in range(64)]
        await world.let_in(*nodes)
        world.upstream.gate.clear()
        for node_id in nodes:
            await world.beat(node_id)
        world.upstream.answers = lambda _: refusing(400, "invalid_argument")
        world.upstream.gate.set()
        await until(lambda: bool(world.flushing.problem))
        assert len(world.upstream.batches) < 20
        world.upstream.answers = batch_answer

    live(story)


def test_more_than_fits_is_refused_and_the_rest_goes_up() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1", "n2")
        world.upstream.gate.clear()
        await until(lambda: bool(world.upstream.batches))
        await world.beat("n1")
        status, _, body = await world.call("Heartbeat", heartbeat("n2", replicas=5))
        assert (status, json.loads(body)["code"]) == (429, "resource_exhausted")
        world.upstream.gate.set()
        await world.passed_on()
        assert "n1" in world.upstream.heard

    live(story, bytes_max=20)


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("POST", "/navarch.ControlPlaneService/ListNodes", 404),
        ("POST", "/navarch.ControlPlaneService/HeartbeatBatch", 404),
        ("POST", "/navarch.ControlPlaneService/Nonsense", 404),
        ("GET", "/navarch.ControlPlaneService/Heartbeat", 405),
        ("POST", "/readyz", 405),
        ("GET", "/", 404),
    ],
)
def test_only_what_agents_call_is_served(method: str, path: str, status: int) -> None:
    async def story(world: World) -> None:
        found, _, body = await world.request(method, path, [])
        assert (found, json.loads(body)["code"]) == (status, "unimplemented")
        assert world.upstream.calls == []

    live(story)


def test_what_cannot_be_read_here_is_for_the_control_plane_to_refuse() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1")
        world.upstream.reply = refusing(400, "invalid_argument")
        for form, body in (("json", b"{"), ("proto", b"\xff\xff"), ("xml", b"<a/>")):
            assert (await world.call("Heartbeat", body, form=form))[0] == 400
            assert world.upstream.calls.pop() == ("Heartbeat", body)

    live(story)


def test_the_metrics_say_what_the_relay_does() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1")
        await world.beat("n1")
        await world.passed_on()
        _, _, page = await world.request("GET", "/metrics", [])
        lines = page.decode().splitlines()
        assert "navarch_relay_nodes 1" in lines
        assert 'navarch_relay_heartbeats_total{how="gathered"} 1' in lines
        assert "navarch_relay_batched_total 1" in lines
        assert 'navarch_relay_passed_total{method="Heartbeat",code="ok"} 1' in lines
        assert "operator" not in page.decode()

    live(story)


def test_what_is_left_goes_up_when_the_relay_stops() -> None:
    async def story(world: World) -> None:
        await world.let_in("n1")
        world.flushing.stop()
        await world.beat("n1")
        await world.flushing.finish()
        assert set(world.upstream.heard) == {"n1"}

    live(story)
