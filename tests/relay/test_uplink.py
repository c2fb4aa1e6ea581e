"""Calls upwards: at whichever address answers, and no more of them than are sensible."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

import pytest

from navarch.relay import uplink as uplinks
from navarch.relay.settings import RelaySettings
from navarch.relay.uplink import Away, Busy, Uplink
from navarch.relay.verdicts import refusal

STANDBY = b'{"code":"unavailable","message":"a standby"}'


class Peer:
    """Answers every request alike."""

    def __init__(self, status: int, body: bytes, *, silent: bool = False) -> None:
        self.answer = (
            b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\nretry-after: 2\r\n"
            b"content-length: %d\r\n\r\n%b" % (status, len(body), body)
        )
        self.silent = silent
        self.asked = 0


class Connection(asyncio.Protocol):
    """One connection to a peer."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        requests = data.count(b"\r\n\r\n")
        self._peer.asked += requests
        if not self._peer.silent:
            self._transport.write(self._peer.answer * requests)


@contextlib.asynccontextmanager
async def before(*peers: Peer) -> AsyncIterator[Uplink]:
    """An uplink to these, in their order."""
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        urls = []
        for peer in peers:
            server = await loop.create_server(partial(Connection, peer), "127.0.0.1", 0)
            stack.callback(server.close)
            urls.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        uplink = Uplink(RelaySettings(servers=tuple(urls), host="localhost", port=0))
        stack.push_async_callback(asyncio.sleep, 0.02)  # for connections to end
        stack.push_async_callback(uplink.close)
        yield uplink


def test_a_standby_sends_a_relay_to_the_next_address_which_it_then_keeps() -> None:
    async def story() -> None:
        standby, leader = Peer(503, STANDBY), Peer(200, b"{}")
        async with before(standby, leader) as uplink:
            for _ in range(3):
                assert (await uplink.call("Heartbeat", (), b"")).ok
        assert (standby.asked, leader.asked) == (1, 3)

    asyncio.run(story())


def test_where_nobody_serves_the_reason_is_passed_on_with_its_headers() -> None:
    async def story() -> None:
        peers = Peer(503, STANDBY), Peer(503, STANDBY)
        async with before(*peers) as uplink:
            reply = await uplink.call("Heartbeat", (), b"")
        assert refusal(reply).message == "a standby"
        assert reply.header(b"retry-after") == "2"
        assert [peer.asked for peer in peers] == [1, 1]

    asyncio.run(story())


def test_a_refusal_is_an_answer_and_nobody_else_is_asked() -> None:
    async def story() -> None:
        first, second = Peer(404, b'{"code":"not_found"}'), Peer(200, b"{}")
        async with before(first, second) as uplink:
            assert (await uplink.call("Heartbeat", (), b"")).status == 404
        assert second.asked == 0

    asyncio.run(story())


def test_a_silent_address_costs_a_share_of_the_time_and_the_other_one_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uplinks, "CALL_SECONDS_MAX", 0.6)

    async def story() -> None:
        async with before(Peer(200, b"", silent=True), Peer(200, b"{}")) as uplink:
            assert (await uplink.call("Heartbeat", (), b"")).ok
            assert uplink.chosen == 1

    asyncio.run(story())


def test_nobody_there_is_said_with_the_address() -> None:
    async def story() -> None:
        settings = RelaySettings(servers=("http://127.0.0.1:1",), host="localhost", port=0)
        uplink = Uplink(settings)
        with pytest.raises(Away, match=r"127\.0\.0\.1:1"):
            await uplink.call("Heartbeat", (), b"")
        await uplink.close()

    asyncio.run(story())


def test_too_many_calls_at_once_are_refused_but_not_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uplinks, "CALLS_MAX", 1)
    monkeypatch.setattr(uplinks, "CALL_SECONDS_MAX", 0.4)

    async def story() -> None:
        async with before(Peer(200, b"", silent=True)) as uplink:
            first = asyncio.create_task(uplink.call("ReportHealth", (), b""))
            while not uplink.underway:  # noqa: ASYNC110 - nothing tells of its beginning
                await asyncio.sleep(0)
            with pytest.raises(Busy):
                await uplink.call("ReportHealth", (), b"")
            with pytest.raises(Away):
                await uplink.call("HeartbeatBatch", (), b"", always=True)
            with pytest.raises(Away):
                await first
            assert uplink.underway == 0

    asyncio.run(story())
