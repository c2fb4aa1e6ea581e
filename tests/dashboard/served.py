"""A control plane with its dashboard on a real socket, in a thread of its own.

It is made of what `navarch server` is made of, with a journal in memory and a provider that invents
machines: a test lets nodes register and fall ill by the public calls.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self, TypeVar

from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model.pool import PoolSpec
from navarch.dashboard import Site, furnish
from navarch.providers.fake import FakeProvider
from navarch.stores.base import Store
from navarch.wire import listener
from navarch.wire.auth import Authenticator, Role, StaticToken
from navarch.wire.client import ConnectClient

T = TypeVar("T")

TOKENS = {
    "vera": (Role.VIEWER, "token-of-vera"),
    "olaf": (Role.OPERATOR, "token-of-olaf"),
    "ada": (Role.ADMIN, "token-of-ada"),
}
"""By name: the role and the token of everybody who may log in."""

SECRET = b"a secret of thirty-two bytes ..."
POOL = PoolSpec("training", "fake", min_nodes=0, max_nodes=8)


class Served:
    """One control plane, its address, and how to speak to it."""

    def __init__(
        self,
        folder: Path,
        *,
        pools: Sequence[PoolSpec] = (POOL,),
        names: Iterable[str] = TOKENS,
        config: ServerConfig | None = None,
        store: Store | None = None,
    ) -> None:
        """Prepare; `names` may log in, and with none of them everybody may call."""
        tokens = [StaticToken(name, *TOKENS[name]) for name in names]
        self._folder = folder
        self._pools = pools
        self._tokens = tokens
        self._control_plane = ControlPlane(
            config, store, authenticator=Authenticator(tokens, SECRET)
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started = threading.Event()
        self._ended: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None
        self._site: Site | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it is, for browsers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def closed(self) -> bool:
        """Whether a token is needed."""
        return bool(self._tokens)

    async def hang_up(self) -> None:
        """End all streams; browsers call again."""
        assert self._site is not None, "it has not started"
        await self._site.close()

    @property
    def control_plane(self) -> ControlPlane:
        """The control plane; only its own thread may touch it (`do`)."""
        return self._control_plane

    def call(self, method: str, *, by: str = "olaf", **request: object) -> dict[str, Any]:
        """Make one public call with somebody's token."""
        token = TOKENS[by][1] if self._tokens else None
        with closing(ConnectClient(self.url, token)) as client:
            return client.call(method, request)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the control plane's own loop."""
        assert self._loop is not None, "it has not started"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def register(self, node_id: str, **more: Any) -> None:  # noqa: ANN401 - fields of the call
        """Have a node join that nobody launched."""
        gpus = [{"index": index, "uuid": f"GPU-{node_id}-{index}"} for index in range(8)]
        self.call("RegisterNode", nodeId=node_id, gpus=gpus, **more)

    def xid(self, node_id: str, code: int = 79) -> None:
        """Have a node report an XID, as often as it takes to be believed."""
        event = {"gpuIndex": 0, "eventType": "HEALTH_EVENT_TYPE_XID"}
        for _ in range(2):
            metrics = {"xid_code": str(code)}
            told: dict[str, object] = {**event, "metrics": metrics, "message": f"Xid {code}"}
            self.call("ReportHealth", nodeId=node_id, events=[told])

    def __enter__(self) -> Self:
        """Start, and wait until it answers."""
        self._thread.start()
        self._started.wait(30)
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        if self._loop is not None and self._ended is not None:
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(30)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        self._control_plane.register_provider(FakeProvider(gpu_count=8))
        async with self._control_plane as control_plane:
            await control_plane.configure_pools(self._pools)
            application = control_plane.asgi_app
            end = furnish(control_plane, application, self._folder)
            assert isinstance(application.face, Site)
            self._site = application.face
            listening = listener.bind("127.0.0.1", 0)
            listening.listen()
            self.port = listening.getsockname()[1]
            server = listener.EmbeddedServer(listener.config(application), self._started.set)
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            await self._ended.wait()
            await end()
            server.should_exit = True
            await serving
