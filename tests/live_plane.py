"""A real control plane in a thread, on a real socket, with nodes that the test speaks for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from navarch.controlplane.clock import RealClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model.gpu import GPU
from navarch.core.model.messages import HeartbeatBatch, RegisterNode, ReportHealth
from navarch.core.model.pool import PoolSpec
from navarch.core.model.report import HealthEvent
from navarch.core.settings import Settings
from navarch.providers.fake import FakeProvider
from navarch.wire import listener
from navarch.wire.auth import Authenticator

PATIENCE = 30.0
GPUS = tuple(GPU(index=index, uuid=f"GPU-{index}", name="H100") for index in range(8))


class LivePlane:
    """One control plane, from the threads of a test."""

    def __init__(self, authenticator: Authenticator | None = None, port: int = 0) -> None:
        """Serve on this port of loopback, a free one for 0."""
        self._authenticator = authenticator
        self._listening = listener.bind("127.0.0.1", port)
        self._listening.listen()
        self.port = int(self._listening.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.plane: ControlPlane
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        config = ServerConfig(
            clock=RealClock(),
            heartbeat_interval_seconds=30,
            settings=Settings(external_nodes_max=100_000),
        )
        self.plane = ControlPlane(config, authenticator=self._authenticator or Authenticator())
        self.plane.register_provider(FakeProvider(gpu_count=8), "fake")
        async with self.plane:
            settings = listener.config(self.plane.asgi_app)
            settings.timeout_graceful_shutdown = 0  # a watcher would be waited for
            server = listener.EmbeddedServer(settings)
            serving = asyncio.create_task(server.serve(sockets=[self._listening]))
            self._ready.set()
            await self._stop.wait()
            server.should_exit = True
            await serving

    def start(self) -> None:
        """Serve."""
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def end(self) -> None:
        """Serve no more. May be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(PATIENCE)
        self._listening.close()
        assert not self._thread.is_alive()

    def ask(self, *messages: Any) -> None:  # noqa: ANN401 - the core's messages
        """Have the control plane take messages, and wait until they are in the journal."""

        async def take() -> None:
            await asyncio.gather(*(self.plane.runtime.ask(message) for message in messages))

        asyncio.run_coroutine_threadsafe(take(), self._loop).result(PATIENCE)

    def configure(self, *pools: PoolSpec) -> None:
        """Have these pools."""
        asyncio.run_coroutine_threadsafe(
            self.plane.configure_pools(list(pools)), self._loop
        ).result(PATIENCE)

    def join(self, ids: Sequence[str]) -> None:
        """Have nodes register, be heard and be judged healthy."""
        for at in range(0, len(ids), 500):
            some = ids[at : at + 500]
            self.ask(*(RegisterNode(id_, "lab", "east", "east-1", "h100-8x", GPUS) for id_ in some))
            self.ask(*(ReportHealth(id_) for id_ in some))
            self.hear(some)

    def hear(self, ids: Sequence[str]) -> None:
        """Have nodes be heard."""
        self.ask(HeartbeatBatch(frozenset(ids)))

    def sicken(self, node: str, code: int = 79) -> None:
        """Have a node report an XID of GPU 2."""
        event = HealthEvent("xid", gpu_index=2, metrics={"xid_code": code})
        self.ask(ReportHealth(node, events=(event,)))


@contextlib.contextmanager
def live_plane(authenticator: Authenticator | None = None, port: int = 0) -> Iterator[LivePlane]:
    """Serve a control plane without nodes until the block ends."""
    plane = LivePlane(authenticator, port)
    plane.start()
    try:
        yield plane
    finally:
        plane.end()


def a_pool(name: str = "training", **changes: Any) -> PoolSpec:  # noqa: ANN401 - fields of a spec
    """A pool that buys nothing by itself."""
    fields: dict[str, Any] = {"min_nodes": 0, "max_nodes": 10, "cooldown": timedelta(), **changes}
    return PoolSpec(name, "fake", "h100-8x", **fields)
