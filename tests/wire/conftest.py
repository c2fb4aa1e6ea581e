"""A real server on loopback, with a small service behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from navarch.core.model import messages
from navarch.errors import WireError
from navarch.wire import calls, codec, listener, protocols
from navarch.wire.admission import DEFAULT_RATES, Admission, Rates
from navarch.wire.asgi import Application, Readiness
from navarch.wire.auth import Authenticator, Role, StaticToken
from navarch.wire.certificates import Certificates
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.generated.navarch_connect import ControlPlaneService
from navarch.wire.limits import Limits
from navarch.wire.standing import LEADER, Standing

SECRET = b"sixteen bytes and a few more"
ADMIN = "admin-token"
VIEWER = "viewer-token"
LIMITS = Limits(body_bytes=64 * 1024)


class SmallService(ControlPlaneService):
    """Decodes what it gets, remembers it, and answers something simple."""

    def __init__(self) -> None:
        self.heard: list[messages.Heartbeat] = []
        self.callers: list[str] = []
        self.watchers_left = threading.Event()

    async def register_node(
        self, request: pb.RegisterNodeRequest, ctx: calls.Context, /
    ) -> pb.RegisterNodeResponse:
        node = codec.register_node(request)
        self.callers.append(calls.current_principal().name)
        return pb.RegisterNodeResponse(success=True, message=f"hello {node.node_id}")

    async def heartbeat(
        self, request: pb.HeartbeatRequest, ctx: calls.Context, /
    ) -> pb.HeartbeatResponse:
        heartbeat = codec.heartbeat(request)
        if heartbeat.node_id == "stranger":
            raise WireError("not_found", "stranger is not registered")
        if heartbeat.node_id == "crowd":
            wait = timedelta(seconds=2.5)
            raise WireError("resource_exhausted", "too many wait", retry_after=wait)
        self.heard.append(heartbeat)
        return pb.HeartbeatResponse(acknowledged=True, heartbeat_interval_seconds=2)

    async def get_node(
        self, request: pb.GetNodeRequest, ctx: calls.Context, /
    ) -> pb.GetNodeResponse:
        if request.node_id == "broken":
            raise RuntimeError("the secret is hunter2")
        if request.node_id == "slow":
            await asyncio.Event().wait()
        gpu = pb.GPUInfo(memory_total=80 * 2**30)
        return pb.GetNodeResponse(
            node=pb.NodeInfo(node_id=request.node_id, status=pb.NODE_STATUS_ACTIVE, gpus=[gpu])
        )

    async def watch_events(
        self, request: pb.WatchEventsRequest, ctx: calls.Context, /
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        try:
            for seq in range(request.after_seq + 1, request.after_seq + 4):
                yield pb.WatchEventsResponse(event=pb.EventInfo(seq=seq, text=f"fact {seq}"))
            if request.subject == "fails":
                raise WireError("failed_precondition", "no more facts")
            if request.subject == "crowd":
                wait = timedelta(seconds=2.5)
                raise WireError("resource_exhausted", "too many watch", retry_after=wait)
            while request.subject == "flood":
                yield pb.WatchEventsResponse(event=pb.EventInfo(seq=1, text="x" * 4_000))
                await asyncio.sleep(0)
            if request.subject == "forever":
                await asyncio.Event().wait()
        finally:
            self.watchers_left.set()


@dataclass
class LiveServer:
    """A running server."""

    url: str
    port: int
    application: Application
    service: SmallService
    readiness: list[Readiness] = field(default_factory=list)
    """The last one counts."""

    def refused(self, reason: str) -> int:
        return self.application.refused.get(reason, 0)


class Post:
    """What a control plane is, as a test says it."""

    def __init__(self, standing: Standing) -> None:
        """Be this."""
        self.now = standing

    @property
    def leads(self) -> bool:
        return self.now.role == LEADER

    def standing(self) -> Standing:
        return self.now


@contextlib.contextmanager
def running(
    authenticator: Authenticator,
    limits: Limits = LIMITS,
    tls: Certificates | None = None,
    *,
    stands: Post | None = None,
    rates: Rates = DEFAULT_RATES,
    http2: bool = False,
    service: SmallService | None = None,
    connections_max: int = listener.CONNECTIONS_MAX,
) -> Iterator[LiveServer]:
    """Serve in a thread until the block ends."""
    service = service or SmallService()
    readiness = [Readiness(ready=True)]
    application = Application(
        service,
        authenticator=authenticator,
        ready=lambda: readiness[-1],
        limits=limits,
        admission=Admission(rates),
        stands=stands,
    )
    listening = listener.bind("127.0.0.1", 0)
    started = threading.Event()
    settings = listener.config(
        application,
        protocol=protocols.spoken(http2=http2),
        tls=None if tls is None else tls.context,
        connections_max=connections_max,
    )
    server = listener.EmbeddedServer(settings, started.set)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    try:
        assert started.wait(10)
        port = listening.getsockname()[1]
        yield LiveServer(f"http://127.0.0.1:{port}", port, application, service, readiness)
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
        assert not thread.is_alive()


TOKENS = (StaticToken("root", Role.ADMIN, ADMIN), StaticToken("eyes", Role.VIEWER, VIEWER))


@pytest.fixture(scope="session", params=[False, True], ids=["http1", "http2"])
def server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    """A server with an admin's token, a viewer's, and node tokens; HTTP/2 is off, then on."""
    with running(Authenticator(TOKENS, SECRET), http2=request.param) as live:
        yield live


@pytest.fixture(scope="session")
def both() -> Iterator[LiveServer]:
    """The same server, with HTTP/2."""
    with running(Authenticator(TOKENS, SECRET), http2=True) as live:
        yield live


@pytest.fixture(scope="session")
def open_server() -> Iterator[LiveServer]:
    """A server without any token."""
    with running(Authenticator()) as live:
        yield live


@pytest.fixture
def raw(server: LiveServer) -> Iterator[socket.socket]:
    """A plain connection to the server."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        yield connection


@pytest.fixture
def hanging_up() -> Iterator[str]:
    """Something that reads a request and hangs up without an answer."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65_536)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(10)
