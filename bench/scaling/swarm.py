"""Many simulated agents in one process: each registers, then speaks every so many seconds.

Run by `bench/scale.py`. Each agent has a connection and a token of its own. The client is a bare
protocol on sockets that writes prepared bytes, so that thousands of agents cost less than the
control plane that they measure; what they send is what a real agent sends, as protobuf or JSON.

On its standard output it writes a line of JSON every few seconds: counts, and how long calls took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

from navarch.wire.asgi import JsonCodec
from navarch.wire.auth import mint_node_token
from navarch.wire.generated import navarch_pb2 as pb
from scaling.latency import Latencies

GPUS = 8
READINGS = 256
"""Different readings that agents send: each heartbeat has another one than the last."""
TELL_EVERY = 5.0
TIMEOUT = 10.0
"""How long an agent waits for an answer, as real ones do."""
RETRY = 1.0
HOSTS = 100
"""Different addresses of loopback that agents come from."""
ID = b"NODE-ID-HERE"


def readings(form: str) -> list[bytes]:
    """Bodies of heartbeats with different values, for any node: its id is put in later."""
    dice = random.Random(1)  # noqa: S311 - readings, not secrets
    bodies = []
    for _ in range(READINGS):
        beat = pb.HeartbeatRequest()
        if form == "json":
            beat.node_id = ID.decode()
        beat.timestamp.GetCurrentTime()
        beat.metrics.cpu_usage_percent = round(dice.uniform(5, 95), 1)
        beat.metrics.memory_usage_percent = round(dice.uniform(20, 80), 1)
        for index in range(GPUS):
            beat.metrics.gpu_metrics.add(
                gpu_index=index,
                temperature=dice.randint(35, 85),
                power_usage=dice.randint(80, 700),
                utilization_percent=round(dice.uniform(0, 100), 1),
                memory_used=dice.randint(0, 80) * 2**30,
            )
        bodies.append(JsonCodec().encode(beat) if form == "json" else beat.SerializeToString())
    return bodies


def registration(node_id: str) -> bytes:
    """The body of a registration, as protobuf."""
    request = pb.RegisterNodeRequest(
        node_id=node_id, provider="lab", region="north", instance_type="h100-8x"
    )
    for index in range(GPUS):
        request.gpus.add(
            index=index,
            uuid=f"GPU-{node_id}-{index}",
            name="NVIDIA H100 80GB HBM3",
            memory_total=80 * 2**30,
            driver_version="550.54.15",
        )
    request.metadata.hostname = node_id
    return request.SerializeToString()


class Agent(asyncio.Protocol):
    """One node on one connection: one call at a time."""

    __slots__ = (
        "_began", "_buffer", "_failures", "_number", "_registering", "_target", "_token",
        "_transport", "awaiting", "joined", "node_id", "registered", "swarm",
    )  # fmt: skip

    def __init__(self, swarm: Swarm, number: int, token: str) -> None:
        """Connect nothing yet."""
        self.swarm = swarm
        self.node_id = f"sim-{number:06}"
        self.registered = False
        self.awaiting = False
        self.joined = False
        """Whether it has its turns."""
        self._token = token.encode()
        self._number = number
        self._target = 0
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._began = 0.0
        self._registering = False
        self._failures = 0

    # --- what it does --------------------------------------------------------------------

    async def connect(self) -> bool:
        """Connect to the next target; False when nobody is there."""
        targets = self.swarm.targets
        # Its own, or the one after it: as an agent with two addresses has it.
        host, port = targets[(self._number + self._target % 2) % len(targets)]
        try:
            # As from many hosts: a control plane bounds the connections from one.
            source = (f"127.1.0.{self._number % HOSTS + 1}", 0) if host == "127.0.0.1" else None
            await self.swarm.loop.create_connection(lambda: self, host, port, local_addr=source)
        except OSError:
            self.swarm.codes["refused connection"] += 1
            self._target += 1
            return False
        return True

    async def beat(self) -> None:
        """Speak: register first where that is due."""
        if self.awaiting:
            if time.monotonic() - self._began < TIMEOUT:
                return
            self.swarm.codes["timeout"] += 1
            self.go_on_elsewhere()
        if self._transport is None and not await self.connect():
            self.swarm.retry(self)
            return
        if self.registered:
            self._send(b"Heartbeat", self.swarm.body_of(self.node_id), self.swarm.content_type)
        else:
            self._registering = True
            self._send(b"RegisterNode", registration(self.node_id), b"application/proto")

    def go_on_elsewhere(self) -> None:
        """Give the connection up; the next call goes to the next target."""
        self.awaiting = False
        self._target += 1
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def _send(self, method: bytes, body: bytes, content_type: bytes) -> None:
        assert self._transport is not None
        self.awaiting = True
        self._began = time.monotonic()
        self._transport.write(
            b"POST /navarch.ControlPlaneService/%b HTTP/1.1\r\nhost: scale\r\ncontent-type: %b\r\n"
            b"connect-protocol-version: 1\r\nauthorization: Bearer %b\r\n"
            b"content-length: %d\r\n\r\n%b" % (method, content_type, self._token, len(body), body)
        )

    # --- what happens to it ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by name

    def connection_lost(self, exc: Exception | None) -> None:
        """Lose it: a call under way has failed."""
        self._transport = None
        self._buffer = b""
        if self.awaiting:
            self.awaiting = False
            self._target += 1
            self.swarm.codes["broken"] += 1
            self.swarm.retry(self)

    def data_received(self, data: bytes) -> None:
        """Take an answer, or a part of one."""
        data = self._buffer + data if self._buffer else data
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found or not _is_whole(head.lower(), rest):
            self._buffer = data
            return
        self._buffer = b""
        self.awaiting = False
        took = time.monotonic() - self._began
        registering, self._registering = self._registering, False
        status = int(head[9:12])
        if status == 200:
            self._failures = 0
            self.swarm.took(took, registering=registering)
            self.registered = True
            if registering:
                self.swarm.joined(self)
            return
        self._refused(rest, status, registering=registering)

    def _refused(self, body: bytes, status: int, *, registering: bool) -> None:
        try:
            code = str(json.loads(body[body.find(b"{") : body.rfind(b"}") + 1]).get("code"))
        except ValueError:
            code = f"HTTP {status}"
        self.swarm.codes[f"register {code}" if registering else code] += 1
        if code == "not_found":
            self.registered = False
        elif code in ("unavailable", "deadline_exceeded") and len(self.swarm.targets) > 1:
            self.go_on_elsewhere()
        self.swarm.retry(self)

    def patience(self) -> float:
        """How long to wait after a failure, as real agents do: doubled up to the interval."""
        self._failures += 1
        doubled: int = 1 << min(self._failures - 1, 10)
        return min(RETRY * doubled, self.swarm.interval)


def _is_whole(head: bytes, rest: bytes) -> bool:
    """Whether a body has come, of a known length or in chunks."""
    at = head.find(b"content-length:")
    if at >= 0:
        return len(rest) >= int(head[at + 15 :].split(b"\r\n", 1)[0])
    return b"chunked" not in head or rest.endswith(b"0\r\n\r\n")


class Swarm:
    """The agents of this process."""

    def __init__(self, asked: argparse.Namespace, secret: bytes) -> None:
        """Make agents with tokens of their own."""
        self.loop = asyncio.get_running_loop()
        parts = [urlsplit(url) for url in asked.target]
        self.targets = [(part.hostname or "", part.port or 80) for part in parts]
        self.content_type = f"application/{asked.form}".encode()
        self.codes: Counter[str] = Counter()
        self.beats = Latencies()
        self.registrations = Latencies()
        self.interval: float = asked.interval
        self._bodies = readings(asked.form)
        self._json = asked.form == "json"
        self._dice = random.Random(asked.first)  # noqa: S311 - jitter, not secrets
        self._late = 0.0
        self._at_once: int = asked.registering
        numbers = range(asked.first, asked.first + asked.agents)
        self._waiting = deque(
            Agent(self, each, mint_node_token(secret, f"sim-{each:06}")) for each in numbers
        )
        self._agents = asked.agents
        self._registered = 0
        self._wheel: list[list[Agent]] = [[] for _ in range(int(self.interval * 1.3 * SLOTS) + 2)]
        self._tasks: set[asyncio.Task[None]] = set()
        self._slot = 0
        self._extra: set[Agent] = set()
        """Agents with a turn out of their turn."""

    def body_of(self, node_id: str) -> bytes:
        """One of the readings, as this node's."""
        body = self._bodies[self._dice.randrange(READINGS)]
        if self._json:
            return body.replace(ID, node_id.encode(), 1)
        name = node_id.encode()
        return b"\x0a%c%b%b" % (len(name), name, body)

    def took(self, seconds: float, *, registering: bool) -> None:
        """Take note of an answer."""
        (self.registrations if registering else self.beats).add(seconds)

    def joined(self, agent: Agent) -> None:
        """Have an agent speak from now on, and the next one register."""
        if agent.joined:
            return
        agent.joined = True
        self._registered += 1
        self._plan(agent, self._dice.uniform(0, self.interval))
        self.register_next()

    def retry(self, agent: Agent) -> None:
        """Have an agent try again soon."""
        if agent not in self._extra:
            self._extra.add(agent)
            self._plan(agent, agent.patience() * self._dice.uniform(0.5, 1.0))

    def register_next(self) -> None:
        """Let one more begin."""
        if self._waiting:
            self._start(self._waiting.popleft())

    def _start(self, agent: Agent) -> None:
        task = self.loop.create_task(agent.beat())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _plan(self, agent: Agent, seconds: float) -> None:
        slot = self._slot + max(1, int(seconds * SLOTS))
        self._wheel[slot % len(self._wheel)].append(agent)

    async def run(self) -> None:
        """Speak until the process is ended."""
        began = self.loop.time()
        for _ in range(self._at_once):
            self.register_next()
        told = began
        while True:
            self._slot += 1
            due = began + self._slot / SLOTS
            wait = due - self.loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            self._late = max(self._late, -wait)
            bucket = self._wheel[self._slot % len(self._wheel)]
            self._wheel[self._slot % len(self._wheel)] = []
            for agent in bucket:
                self._turn(agent)
            if self.loop.time() - told >= TELL_EVERY:
                told = self.loop.time()
                self._tell()

    def _turn(self, agent: Agent) -> None:
        """Have an agent speak, and plan its next turn, a tenth early or late."""
        if agent in self._extra:
            self._extra.discard(agent)  # its usual turn, if it has one, is planned already
            if not agent.awaiting:
                self._start(agent)
            return
        self._plan(agent, self.interval * self._dice.uniform(0.9, 1.1))
        self._start(agent)

    def _tell(self) -> None:
        line = {
            "registered": self._registered,
            "agents": self._agents,
            "codes": dict(self.codes),
            "beats": self.beats.counts,
            "registrations": self.registrations.counts,
            "late": round(self._late, 3),
        }
        self._late = 0.0
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


SLOTS = 50
"""Turns a second."""


async def live(asked: argparse.Namespace, secret: bytes) -> None:
    """Run the swarm."""
    await Swarm(asked, secret).run()


def main() -> None:
    """Read the arguments, and speak until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", action="append", required=True)
    parser.add_argument("--agents", type=int, required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--interval", type=float, default=30.0)
    parser.add_argument("--registering", type=int, default=16)
    parser.add_argument("--form", choices=["proto", "json"], default="proto")
    parser.add_argument("--secret-file", required=True)
    asked = parser.parse_args()
    secret = Path(asked.secret_file).read_text(encoding="ascii").strip().encode()
    uvloop.run(live(asked, secret))


if __name__ == "__main__":
    main()
