"""How long a control plane takes from exec to answering, with a large fleet in its journal.

    python bench/start.py [--nodes 10000] [--runs 5] [--json FILE]

Makes a SQLite journal of as many nodes as asked for, with eight GPUs each, as a life of them would
have left it: a snapshot, alone or with 4,999 facts behind it, the most that an ordinary life leaves
to be replayed (of larger fleets than 10,000 nodes: half as many facts as nodes). Then runs
`navarch server --config`, asks ``/readyz`` until it says 200, and ends the process. Wall time is
what people wait, on a machine that does nothing else; CPU time is that of the process until then.

*pause* is the longest time for which the loop of a control plane stands still while it makes a
snapshot of such a fleet, *append* the longest that a fact waits to be journaled meanwhile, and
*written* how large the snapshot is.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

from figures import Figure, options, tell
from figures.fleets import POOLS, PROVIDER, START, TYPE, facts, node_id, pool_name, when

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.stores.sqlite import SqliteStore

TAIL = 4_999
PATIENCE_SECONDS = 120.0


def life(nodes: int, tail: int) -> list[ev.Fact]:
    """Return facts of which the last `tail` came after the snapshot."""
    told = list(facts(nodes))
    at = START + timedelta(hours=6)
    for number in range(tail):
        id_, then = node_id(number // 2 % nodes), at + timedelta(seconds=number)
        if number % 2:
            told.append(ev.NodeReturned(then, id_, because="it spoke again"))
        else:
            told.append(ev.NodeLost(then, id_, because="silent for 90 s"))
    return told


async def journal(path: Path, told: list[ev.Fact], tail: int) -> None:
    """Write a journal with its snapshot."""
    store = SqliteStore(path)
    await store.open()
    fleet, seq = fleets.Fleet(), 0
    for start in range(0, len(told), 10_000):
        group = told[start : start + 10_000]
        seq = await store.append(group, after=seq)
    for fact in told[: len(told) - tail]:
        fold.apply(fleet, fact)
    await store.snapshot(len(told) - tail, fleets.encode(fleet))
    await store.close()


def configuration(folder: Path, nodes: int, port: int) -> Path:
    """Write the configuration of a control plane over that journal."""
    size = -(-nodes // POOLS)
    pools = "".join(
        f"  {pool_name(number)}: {{provider: {PROVIDER}, instance_type: {TYPE}, "
        f"min_nodes: {size}, max_nodes: {size + 10}}}\n"
        for number in range(POOLS)
    )
    path = folder / "navarch.yaml"
    path.write_text(
        f'server:\n  address: "127.0.0.1:{port}"\n  data: {folder}\n'
        f"providers:\n  {PROVIDER}: {{type: fake}}\npools:\n{pools}"
    )
    return path


def started(config: Path, port: int) -> tuple[float, float]:
    """Start a server; return the seconds until it is ready, and those of processors."""
    program = Path(sys.executable).with_name("navarch")
    environ = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begun = time.perf_counter()
    with subprocess.Popen(
        [program, "server", "--config", config],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as server:
        try:
            while not is_ready(port):
                if server.poll() is not None or time.perf_counter() - begun > PATIENCE_SECONDS:
                    assert server.stderr is not None
                    server.kill()
                    raise SystemExit(server.stderr.read().decode()[-2_000:])
                time.sleep(0.005)
            wall = time.perf_counter() - begun
            cpu = cpu_of(server.pid)
        finally:
            server.send_signal(signal.SIGKILL)  # what it would do next is no start
    return wall, cpu


def is_ready(port: int) -> bool:
    """Whether ``/readyz`` says so."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def cpu_of(pid: int) -> float:
    """Return the seconds of processors that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a port where nobody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def measure(nodes: int, tail: int, runs: int) -> list[Figure]:
    """Measure the start over one journal."""
    what = f"{nodes:,} nodes, snapshot and {tail:,} facts"
    wall, cpu = Figure(f"ready, wall, {what}", "s"), Figure(f"ready, CPU, {what}", "s")
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "kept.db")
        asyncio.run(journal(kept, life(nodes, tail), tail))
        for run in range(runs + 1):
            port = free_port()
            here = Path(folder, f"run{run}")
            here.mkdir()
            config = configuration(here, nodes, port)
            for suffix in ("", ".lock", "-wal", "-shm"):
                source = kept.with_name(kept.name + suffix)
                if source.exists():
                    shutil.copy(source, here / f"navarch.db{suffix}")
            took = started(config, port)
            shutil.rmtree(here)
            if run:  # the first one read files from the disk
                wall.runs.append(took[0])
                cpu.runs.append(took[1])
    return [wall, cpu]


async def pauses(nodes: int, folder: Path) -> dict[str, float]:
    """Measure what a snapshot of such a fleet holds up, in milliseconds, and its size."""
    config = ServerConfig(clock=FakeClock(when(nodes)))  # so that nobody is silent
    async with ControlPlane(config, SqliteStore(folder / "navarch.db")) as plane:
        runtime = plane.runtime
        for fact in facts(nodes):
            fold.apply(runtime.machine.fleet, fact)
        await runtime.ask(msg.RegisterNode("a-first-fact"))
        snapshotting = asyncio.create_task(runtime.snapshot())
        beating = asyncio.create_task(longest_gap(snapshotting))
        waited = 0.0
        for number in itertools.count():
            begun = time.perf_counter()
            await runtime.ask(msg.RegisterNode(f"by-itself-{number}"))
            waited = max(waited, time.perf_counter() - begun)
            if snapshotting.done():
                break
            await asyncio.sleep(0.005)
        loaded = await runtime.store.load()
        assert loaded.snapshot is not None
        size = len(loaded.snapshot.state)
        return {"pause": await beating * 1e3, "append": waited * 1e3, "written": size / 1e6}


async def longest_gap(task: asyncio.Task[None]) -> float:
    """Return the longest time between two turns of the loop until a task has ended."""
    longest, last = 0.0, time.perf_counter()
    while not task.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


def snapshots(nodes: int, runs: int) -> list[Figure]:
    """Measure snapshots of a running control plane."""
    units = {"pause": "ms", "append": "ms", "written": "MB"}
    figures = {
        name: Figure(f"snapshot, {name}, {nodes:,} nodes", unit) for name, unit in units.items()
    }
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            for name, value in asyncio.run(pauses(nodes, Path(folder))).items():
                figures[name].runs.append(value)
    return list(figures.values())


def main() -> None:
    """Measure and tell."""
    asked = options("how long a control plane takes to start")
    asked.add_argument("--nodes", type=int, default=10_000)
    given = asked.parse_args()
    figures: list[Figure] = []
    for tail in (0, max(TAIL, given.nodes // 2 - 1)):
        figures += measure(given.nodes, tail, given.runs)
    figures += snapshots(given.nodes, given.runs)
    tell(figures, given.json)


if __name__ == "__main__":
    main()
