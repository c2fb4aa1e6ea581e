"""A node that serves, and programs that it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from machines import zombies
from navarch.agent.serving import processes
from navarch.agent.serving.host import ServingHost
from navarch.agent.turns import Order, ServingSeen
from navarch.core.model.replica import ModelSeen, NodeServing, ReplicaSeen, ReplicaState
from navarch.core.model.resources import Model, Readiness, Runtime
from navarch.errors import NavarchError
from navarch.providers import local_process

PATIENCE = 20.0
"""Seconds until a test gives up. Nothing here should take more than two."""

START = datetime(2026, 1, 31, 12, tzinfo=UTC)

SERVER = """
import os, signal, socket, subprocess, sys
port = int(sys.argv[1])
said = open(sys.argv[2], "a")
words = [os.environ.get(name, "-") for name in (
    "CUDA_VISIBLE_DEVICES", "NAVARCH_GPU_SHARE", "NAVARCH_NODE_TOKEN", "EXTRA")]
print(os.getpid(), port, *words, file=said, flush=True)
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "child" in sys.argv:
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    print("child", child.pid, file=said, flush=True)
if "crash" in sys.argv:
    print("no memory left on GPU 0")
    sys.exit(3)
listener = socket.create_server(("127.0.0.1", port))
if "mute" in sys.argv:
    signal.pause()
while True:
    connection, _ = listener.accept()
    connection.recv(1000)
    sick = os.path.exists(sys.argv[2] + ".sick")
    status = b"503 Sick" if sick else b"200 OK"
    connection.sendall(b"HTTP/1.1 " + status + b"\\r\\ncontent-length: 0\\r\\n\\r\\n")
    connection.close()
"""
"""Answers 200, and writes down who it is. Words at its end make it worse."""

QUICK = Readiness(
    period=timedelta(milliseconds=100),
    timeout=timedelta(seconds=2),
    failure_threshold=2,
    startup_timeout=timedelta(seconds=30),
)


class Cache:
    """A cache of models whose loads end when a test says so."""

    def __init__(self, folder: Path) -> None:
        self.address = ""
        self.folder = folder
        self.models: dict[str, ModelSeen] = {}
        self.leases: list[str] = []
        self.peers: tuple[str, ...] = ()
        self.go_on = asyncio.Event()
        self.problem = ""
        self.closed = False

    async def load(self, model: Model, peers: Sequence[str]) -> Path:
        self.peers = tuple(peers)
        name = model.full_name
        self.models[name] = ModelSeen(name, bytes_done=1, bytes_total=2)
        await self.go_on.wait()
        if self.problem:
            raise NavarchError(self.problem)
        self.models[name] = ModelSeen(name, "sha256:1", 2, 2, complete=True)
        return self.folder

    async def unload(self, name: str) -> None:
        self.models.pop(name, None)

    def path(self, name: str) -> Path | None:
        return self.folder if name in self.models and self.models[name].complete else None

    @contextlib.contextmanager
    def lease(self, name: str) -> Iterator[None]:
        self.leases.append(name)
        yield
        self.leases.remove(name)

    def seen(self) -> tuple[ModelSeen, ...]:
        return tuple(self.models.values())

    async def close(self) -> None:
        self.closed = True


class Site:
    """One node: its host now, and what it has told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = folder / "said"
        self.cache = Cache(folder / "weights")
        self.told: list[ServingSeen] = []
        self._moved = asyncio.Event()
        self.host = self._make()

    def _make(self) -> ServingHost:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        return ServingHost(
            self.folder / "serving",
            weights=self.cache,
            now=lambda: START + timedelta(seconds=loop.time() - begun),
            tell=self._hear,
            boot_id="boot-1",
            spread=0.0,
        )

    def _hear(self, told: ServingSeen) -> None:
        self.told.append(told)
        self._moved.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ServingHost]:
        """Run a new host over the folder; at the end it is gone as by a crash."""
        self.host = self._make()
        self.host.begin()
        running = asyncio.create_task(self.host.run())
        await asyncio.sleep(0)
        try:
            yield self.host
        finally:
            if running.done():
                running.result()
            running.cancel()
            await asyncio.wait((running,))
            await self.host.close()

    async def order(self, kind: str, **parameters: str) -> str:
        """Carry out a command."""
        return await self.host.deed(Order("c1", kind, parameters)).do()

    async def start(self, replica: str = "r1", *words: str, **changes: object) -> str:
        """Have a replica of the test's server started."""
        command = (sys.executable, "-c", SERVER, "{port}", str(self.said), *words)
        model = str(changes.pop("model", ""))
        gpus = str(changes.pop("gpus", "0,1"))
        share = str(changes.pop("share", "1.0"))
        runtime = msgspec.structs.replace(Runtime(command=command, readiness=QUICK), **changes)
        return await self.order(
            "start_replica",
            replica=replica,
            agent_pool="default/chat",
            runtime=msgspec.json.encode(runtime).decode(),
            gpus=gpus,
            share=share,
            model=model,
        )

    def seen(self, replica: str = "r1") -> ReplicaSeen | None:
        """What is told of a replica now."""
        found = [each for each in self.host.serving.replicas if each.id == replica]
        return found[0] if found else None

    async def until(self, what: Callable[[NodeServing], bool]) -> NodeServing:
        """Wait until what is told makes something true."""
        async with asyncio.timeout(PATIENCE):
            while not (self.told and what(self.told[-1].serving)):
                self._moved.clear()
                await self._moved.wait()
        return self.told[-1].serving

    async def until_state(self, state: ReplicaState, replica: str = "r1") -> ReplicaSeen:
        """Wait until a replica is told to be in a state."""
        serving = await self.until(
            lambda serving: any(
                each.id == replica and each.state is state for each in serving.replicas
            )
        )
        return next(each for each in serving.replicas if each.id == replica)

    def runs(self) -> list[list[str]]:
        """What the programs have written down: number, port, GPUs, share, token, EXTRA."""
        if not self.said.exists():
            return []
        return [line.split() for line in self.said.read_text().splitlines()]

    def leftovers(self) -> list[int]:
        """Every process of every replica that lives."""
        root = self.folder / "serving" / "replicas"
        locks = [path / "lock" for path in root.iterdir()] if root.exists() else []
        return [pid for lock in locks for pid in local_process.members(lock, processes.MARK)]


def kill_leftovers(site: Site) -> None:
    """Leave nothing behind."""
    for pid in site.leftovers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def _programs_are_reaped() -> Iterator[None]:
    """Reap what a host has left that was killed in a test: it was no process of its own."""
    yield
    for pid in zombies():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


@pytest.fixture
def on_a_node(tmp_path: Path) -> Iterator[Callable[[Callable[[Site], object]], None]]:
    """Yield what runs a story on a node."""
    sites: list[Site] = []

    def run(story: Callable[[Site], object]) -> None:
        async def play() -> None:
            site = Site(tmp_path)
            sites.append(site)
            async with asyncio.timeout(3 * PATIENCE):
                outcome = story(site)
                assert asyncio.iscoroutine(outcome)
                await outcome

        asyncio.run(play())

    yield run
    for site in sites:
        kill_leftovers(site)
