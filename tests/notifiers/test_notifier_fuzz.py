"""Whatever a peer answers, a notifier raises its own three errors and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from navarch.controlplane.clock import FakeClock
from navarch.notifiers.base import (
    DrainStatus,
    Notifier,
    NotifierError,
    NotifierRefused,
    NotifierUnavailable,
    Workload,
)
from navarch.notifiers.kubernetes import KubernetesNotifier, KubernetesSettings
from navarch.notifiers.webhook import WebhookNotifier, WebhookSettings

NODE = Workload(node_id="n1", hostname="gpu-1")
NEVER = timedelta(seconds=20)

statuses = st.one_of(st.sampled_from([200, 204, 301, 404, 408, 429, 503]), st.integers(100, 999))
words = st.binary(max_size=30).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
headers = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *(b"Retry-After", b"Content-Encoding", b"Content-Type", b"Content-Length"),
                *(b"Transfer-Encoding", b"Location", b"X-Any", b"Connection"),
            ]
        ),
        st.one_of(
            words,
            st.sampled_from(
                [b"gzip", b"br", b"zstd", b"chunked", b"10", b"-1", b"close", b"9" * 40]
            ),
        ),
    ),
    max_size=4,
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"[" * 70_000, b'{"drained": true}', b'{"error": "unknown_node"}', b"null"]),
    st.sampled_from([b'{"status": "drained", "remaining": 0}', b'{"reason": "NotFound"}']),
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Draw what a server may send: an answer that is nearly right, or any bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    lines = [b"HTTP/1.1 %d %s" % (draw(statuses), draw(words))]
    lines += [b"%s: %s" % header for header in draw(headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + draw(bodies)


class Peers:
    """One loop with a server that answers what it is told, and notifiers that ask it."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.answer = b""
        self._server = self.runner.run(self._start())

    async def _start(self) -> asyncio.Server:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = [line for line in lines if line.startswith(b"content-length:")]
            await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
            writer.write(self.answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    def outcomes(self, notifier: Notifier, answer: bytes) -> list[object]:
        """Make every call, each of which gets this answer, and return what came of them."""
        self.answer = answer
        calls: list[Awaitable[object]] = [
            notifier.cordon(NODE, "XID 79"),
            notifier.drain(NODE, "XID 79", None),
            notifier.uncordon(NODE, "repaired"),
            notifier.drained(NODE),
        ]

        async def story() -> list[object]:
            outcomes: list[object] = []
            for call in calls:
                try:
                    outcomes.append(await call)
                except NotifierError as failure:
                    outcomes.append(failure)
            return outcomes

        return self.runner.run(story())

    def close(self) -> None:
        """End the server and the loop."""
        self._server.close()
        self.runner.run(self._server.wait_closed())
        self.runner.close()


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    """One server for all examples."""
    running = Peers()
    yield running
    running.close()


@pytest.fixture(scope="module")
def webhook(peers: Peers) -> Iterator[WebhookNotifier]:
    """A notifier that tells it everything."""
    url = f"{peers.url}/T0K3N"
    given_settings = WebhookSettings(
        cordon_url=url,
        uncordon_url=url,
        drain_url=url,
        drain_status_url=url,
        headers={"Authorization": "Bearer s3cret"},
        retries=0,
        timeout=NEVER,
    )
    notifier = WebhookNotifier(given_settings, now=FakeClock(datetime(2026, 5, 4, tzinfo=UTC)).now)
    yield notifier
    peers.runner.run(notifier.close())


@pytest.fixture(scope="module")
def kubernetes(peers: Peers) -> Iterator[KubernetesNotifier]:
    """A notifier that takes it for an API server."""
    notifier = KubernetesNotifier(KubernetesSettings(url=peers.url, timeout=NEVER))
    yield notifier
    peers.runner.run(notifier.close())


def demand_declared(outcomes: list[object]) -> None:
    """Check that each outcome is one that callers know, on one line, and never for lack of time."""
    for outcome in outcomes:
        assert isinstance(outcome, NotifierRefused | NotifierUnavailable | DrainStatus | None)
        if isinstance(outcome, NotifierError):
            assert str(outcome).isprintable()
            assert "T0K3N" not in str(outcome)
            assert "no answer within" not in str(outcome)
        if isinstance(outcome, NotifierUnavailable) and outcome.retry_after is not None:
            assert 0 <= outcome.retry_after <= 300


@given(answer=answers())
@example(answer=b"")
@example(answer=b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 60_000)
@example(answer=b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nno gzip")
@example(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
@example(answer=b"HTTP/1.1 429 \xff\r\nRetry-After: \xff\xfe\r\n\r\n")
@example(answer=b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n")
def test_no_answer_makes_a_webhook_raise_anything_else(
    peers: Peers, webhook: WebhookNotifier, answer: bytes
) -> None:
    demand_declared(peers.outcomes(webhook, answer))


@given(answer=answers())
@example(answer=b'HTTP/1.1 200 OK\r\n\r\n{"metadata": {"name": "gpu-1"}, "items": []}')
@example(answer=b'HTTP/1.1 200 OK\r\n\r\n{"metadata": {"name": "gpu-1"}, "items": null}')
@example(answer=b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 60_000)
def test_no_answer_makes_kubernetes_raise_anything_else(
    peers: Peers, kubernetes: KubernetesNotifier, answer: bytes
) -> None:
    demand_declared(peers.outcomes(kubernetes, answer))
