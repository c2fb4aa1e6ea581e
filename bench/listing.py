"""What it costs to list nodes, to be asked whether one is ready, and to be scraped.

    python bench/listing.py [--nodes 10000] [--runs 5] [--json FILE]

A control plane with as many nodes as asked for, eight GPUs each, in one process: requests go
through the whole application (gate, codec, service), without a socket, as a viewer with a token.
Between two lists every node is heard, so that no answer is like the one before. *first* is the
first list after the start, or after a restart: all fragments are made. *ordinary* is what the same
list costs when protobuf's own codecs write it, with nothing kept. CPU time.
"""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import timedelta

import msgspec
from figures import Figure, options, tell
from figures.asgi import asked, called
from figures.fleets import START, beats, facts, pool_name

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.stores.memory import MemoryStore
from navarch.wire import answers
from navarch.wire.asgi import Application, JsonCodec
from navarch.wire.auth import Authenticator, Role, StaticToken
from navarch.wire.generated import navarch_pb2 as pb

TOKEN = "viewer-token"  # noqa: S105 - of a benchmark
ORDINARY_NODES = 500
"""Nodes of which the ordinary codecs write a list; the cost is told for all, in proportion."""


class Bench:
    """A control plane and what is asked of it."""

    def __init__(self, nodes: int, runs: int) -> None:
        """Prepare."""
        self.nodes = nodes
        self.runs = runs
        self.figures: list[Figure] = []
        self._turn = 0
        self._clock = FakeClock(START + timedelta(days=1))

    async def run(self) -> None:
        """Measure everything."""
        store = MemoryStore()
        store.append_now(list(facts(self.nodes)), after=0)
        tokens = [StaticToken("viewer", Role.VIEWER, TOKEN)]
        plane = ControlPlane(
            ServerConfig(clock=self._clock), store, authenticator=Authenticator(tokens, None)
        )
        async with plane:
            assert len(plane.runtime.machine.fleet.nodes) == self.nodes
            for form in ("json", "proto"):
                await self._lists(plane, form)
            self._ordinary(plane)
            await self._pages(plane, plane.asgi_app)

    async def _heard(self, plane: ControlPlane) -> None:
        """Have every node be heard, a moment later than before."""
        self._turn += 1
        self._clock.advance(timedelta(microseconds=977))
        await plane.runtime.ask(beats(self.nodes, self._turn))

    async def _lists(self, plane: ControlPlane, form: str) -> None:
        size = f"{self.nodes:,} nodes"
        first = Figure(f"ListNodes {form}, {size}, first", "ms")
        whole = Figure(f"ListNodes {form}, {size}", "ms")
        application = plane.asgi_app
        asked_for = b"{}" if form == "json" else b""
        for _ in range(self.runs):
            application = plane.asgi_app
            (plane.listing.json if form == "json" else plane.listing.proto).clear()
            for figure in (first, whole):
                await self._heard(plane)
                gc.collect()
                begun = time.process_time()
                await called(application, "ListNodes", asked_for, form, TOKEN)
                figure.runs.append((time.process_time() - begun) * 1e3)
        self.figures += (first, whole)
        for page in (100, 1_000):
            name = f"ListNodes {form}, page of {page:,} of {size}"
            await self._heard(plane)
            figure = Figure(name, "ms")
            for _ in range(self.runs):
                await self._heard(plane)
                figure.runs.append(await self._page_cost(application, form, page))
            self.figures.append(figure)

    async def _page_cost(self, application: Application, form: str, page: int) -> float:
        """Page through all nodes, and return the mean cost of a page."""
        token, pages, spent = "", 0, 0.0
        while True:
            request = pb.ListNodesRequest(page_size=page, page_token=token)
            body = JsonCodec().encode(request) if form == "json" else request.SerializeToString()
            begun = time.process_time()
            answer = await called(application, "ListNodes", body, form, TOKEN)
            spent += time.process_time() - begun
            pages += 1
            if form == "json":
                token = msgspec.json.decode(answer).get("nextPageToken", "")
            else:
                token = pb.ListNodesResponse.FromString(answer).next_page_token
            if not token:
                return spent / pages * 1e3

    def _ordinary(self, plane: ControlPlane) -> None:
        machine = plane.runtime.machine
        nodes = list(machine.fleet.nodes.values())[:ORDINARY_NODES]
        for form, write in (("json", JsonCodec().encode), ("proto", proto)):
            figure = Figure(f"ListNodes {form}, {self.nodes:,} nodes, ordinary", "ms")
            for _ in range(min(self.runs, 3)):
                begun = time.process_time()
                shown = [
                    answers.node_info(each, machine.sightings.heard.get(each.id)) for each in nodes
                ]
                write(pb.ListNodesResponse(nodes=shown))
                spent = time.process_time() - begun
                figure.runs.append(spent * 1e3 * self.nodes / len(nodes))
            self.figures.append(figure)

    async def _pages(self, plane: ControlPlane, application: Application) -> None:
        size = f"{self.nodes:,} nodes"
        gate = {"authorization": f"Bearer {TOKEN}"}
        filtered = JsonCodec().encode(pb.ListNodesRequest(pool=pool_name(3), page_size=100))
        for name, work, times in (
            (
                f"ListNodes json, page of 100 of one pool of {size}",
                lambda: called(application, "ListNodes", filtered, "json", TOKEN),
                20,
            ),
            (f"GET /readyz, {size}", lambda: asked(application, "/readyz"), 1_000),
            (f"GET /healthz, {size}", lambda: asked(application, "/healthz"), 1_000),
            (f"GET /metrics, {size}", lambda: asked(application, "/metrics", headers=gate), 50),
        ):
            figure = Figure(name, "ms")
            for _ in range(self.runs):
                await self._heard(plane)
                gc.collect()
                begun = time.process_time()
                for _ in range(times):
                    await work()
                figure.runs.append((time.process_time() - begun) / times * 1e3)
            self.figures.append(figure)
        for form, fragments in (("json", plane.listing.json), ("proto", plane.listing.proto)):
            self.figures.append(
                Figure(f"kept of a node in {form}", "bytes", [fragments.bytes / self.nodes])
            )


def proto(message: pb.ListNodesResponse) -> bytes:
    """Write a message as protobuf does."""
    return message.SerializeToString()


def main() -> None:
    """Measure and tell."""
    asked_for = options("what it costs to list nodes")
    asked_for.add_argument("--nodes", type=int, default=10_000)
    given = asked_for.parse_args()
    bench = Bench(given.nodes, given.runs)
    asyncio.run(bench.run())
    tell(bench.figures, given.json)


if __name__ == "__main__":
    main()
