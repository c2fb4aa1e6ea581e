"""How much memory a node takes in a control plane, in all and by parts.

    python bench/memory.py [--nodes 2000 10000] [--runs 3] [--json FILE]

Each run is a process of its own: a control plane over a SQLite journal with its pools, in which so
many nodes of eight GPUs register through the wire's own messages, and send a hundred samples each.
Then all nodes are listed, in JSON and in protobuf, so that everything that is kept for lists is
there. Resident memory, read after each part, with what the allocator holds free given back; a part
is the growth that it brought, divided by the nodes. *samples, by count* are the bytes of their
columns. The budget is 20 KB for samples and everything else of a node.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from figures import Figure, options, tell
from figures.fleets import GPUS, launch, node_id, registration

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.scale_measures import resident_bytes
from navarch.controlplane.server_config import ServerConfig
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model.samples import KEPT, Readings
from navarch.stores.sqlite import SqliteStore
from navarch.wire import codec
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.queries import NodeQuery

PARTS = ("fleet", "samples", "list json", "list proto")
LAUNCHED_AT_ONCE = 50
WARM = 64
"""Nodes that register before anything is measured, so that no code is loaded meanwhile."""


def resident() -> int:
    """Return the resident memory, without what the allocator holds free."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return resident_bytes()


async def measured(nodes: int, folder: Path) -> dict[str, float]:
    """Return what each part takes, in bytes a node."""
    store = SqliteStore(folder / "navarch.db")
    clock = FakeClock(datetime(2026, 5, 2, tzinfo=UTC))
    async with ControlPlane(ServerConfig(clock=clock), store) as plane:
        machine = plane.runtime.machine
        marks: list[int] = []
        for first, count in ((nodes, WARM), (0, nodes)):
            if first == 0:
                marks.append(resident())
            await register(plane, first, count)
            if first == 0:
                marks.append(resident())
            sample(plane, first, count)
        marks.append(resident())
        for form in ("json", "proto"):
            answer = plane.listing.list(machine.fleet, machine.sightings.heard, NodeQuery())
            for node in answer.nodes:
                (plane.listing.json if form == "json" else plane.listing.proto).of(node)
            del answer, node
            marks.append(resident())
        taken = {
            part: (after - before) / nodes
            for part, before, after in zip(PARTS, marks, marks[1:], strict=False)
        }
        counted = machine.sightings.samples.nbytes / (nodes + WARM)
        return {**taken, "all": sum(taken.values()), "samples, by count": counted}


async def register(plane: ControlPlane, first: int, count: int) -> None:
    """Have nodes be launched and registered, as a pool buys them: a few at a time."""
    for start in range(first, first + count, LAUNCHED_AT_ONCE):
        numbers = range(start, min(start + LAUNCHED_AT_ONCE, first + count))
        await take(plane, [fact for number in numbers for fact in launch(number)])
        for number in numbers:
            wire = registration(number).SerializeToString()
            message = codec.register_node(pb.RegisterNodeRequest.FromString(wire))
            await plane.runtime.ask(message)


async def take(plane: ControlPlane, told: list[ev.Fact]) -> None:
    """Have facts be in the journal and in the fleet, as if they had been decided here."""
    runtime = plane.runtime
    runtime.seq = await runtime.store.append(told, after=runtime.seq)
    for fact in told:
        fold.apply(runtime.machine.fleet, fact)


def sample(plane: ControlPlane, first: int, count: int) -> None:
    """Have nodes send as many samples as are kept."""
    ids = [node_id(number) for number in range(first, first + count)]
    sightings = plane.runtime.machine.sightings
    dice = np.random.default_rng(1)
    for turn in range(KEPT):
        at = datetime(2026, 5, 2, tzinfo=UTC) + timedelta(seconds=30 * turn)
        sightings.heard.mark(frozenset(ids), at)
        shape = (count, GPUS)
        sightings.samples.record_many(
            ids,
            at,
            Readings(
                cpu_percent=dice.random(count) * 100,
                memory_percent=dice.random(count) * 100,
                gpus=np.full(count, GPUS),
                index=np.broadcast_to(np.arange(GPUS), shape),
                temperature_celsius=dice.integers(30, 90, shape),
                power_watts=dice.integers(80, 700, shape),
                utilization_percent=dice.random(shape) * 100,
                memory_used=dice.integers(0, 80 << 30, shape),
            ),
        )


def main() -> None:
    """Measure in processes of their own, and tell."""
    asked = options("how much memory a node takes")
    asked.add_argument("--nodes", type=int, nargs="+", default=[2_000, 10_000])
    asked.add_argument("--child", type=int, help="measure once, for so many nodes, in this process")
    asked.set_defaults(runs=5)
    given = asked.parse_args()
    if given.child:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(asyncio.run(measured(given.child, Path(folder)))))
        return
    figures: list[Figure] = []
    for nodes in given.nodes:
        of_nodes: dict[str, Figure] = {}
        for _ in range(given.runs):
            command = [sys.executable, __file__, "--child", str(nodes)]
            told = json.loads(subprocess.check_output(command))
            for part, value in told.items():
                name = f"memory of a node, {part}, {nodes:,} nodes"
                of_nodes.setdefault(part, Figure(name, "bytes")).runs.append(value)
        figures += of_nodes.values()
    tell(figures, given.json)


if __name__ == "__main__":
    main()
