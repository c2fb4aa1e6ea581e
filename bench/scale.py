"""A large fleet of simulated agents against real control planes and relays, for as long as asked.

    python bench/scale.py
    python bench/scale.py --batched 100000 --direct 10000 --relays 20 --minutes 30 --json scale.json

A control plane runs with authentication and SQLite, or several with ``--servers 2 --store
postgresql://...``. `--batched` agents speak through relays, `--direct` ones to the control plane
itself. Every relay and every swarm of agents is a process of its own, and every agent has a
connection and a token of its own: 8 GPUs, a heartbeat every 30 seconds, other readings each time.
First all of them register; the minutes count from then. `--kill-leader-at 15` kills the process
that leads after so many minutes, without a warning.

It prints a line a minute, and at the end: processor time and memory of the control plane, how long
heartbeats and batches took, refused calls by code, and how many nodes were declared lost, which has
to be none. Without arguments it is short: 2,000 agents behind 2 relays, 200 without, for a minute.
The exit code is 1 when a node was lost, or when the agents had not all registered in time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaling.fleet import Fleet, Relays, Servers, Swarms, rss_mb
from scaling.latency import Latencies
from scaling.report import Measured, Minute, chart, results

RAMP_MAX = 1_800.0
"""How long registering may take."""


class Watch:
    """What is measured from outside."""

    def __init__(self, fleet: Fleet) -> None:
        """Measure this fleet."""
        self._fleet = fleet
        self.minutes: list[Minute] = []
        self.probes = Latencies()
        self._last: tuple[float, Latencies, float, float, float] | None = None
        self._codes: Counter[str] = Counter()

    async def probe(self) -> None:
        """Ask the control plane for its health each second: what waits there is its loop's lag."""
        while True:
            began = time.monotonic()
            if await self._fleet.servers.is_well():
                self.probes.add(time.monotonic() - began)
            await asyncio.sleep(1.0)

    def begin(self) -> None:
        """Count from now."""
        self.probes = Latencies()
        self._codes = self._fleet.swarms.codes()
        self._last = self._now()

    def minute(self, number: int) -> Minute:
        """Take a minute down, and print it."""
        assert self._last is not None
        now, before = self._now(), self._last
        self._last = now
        beats = now[1].minus(before[1])
        wall = now[0] - before[0]
        codes = self._fleet.swarms.codes()
        minute = Minute(
            number=number,
            beats=len(beats),
            p50=beats.at(0.5),
            p99=beats.at(0.99),
            longest=beats.at(1.0),
            cpu=(now[2] - before[2]) / wall,
            relays_cpu=(now[3] - before[3]) / wall,
            swarms_cpu=(now[4] - before[4]) / wall,
            rss=rss_mb(self._fleet.servers.pids()),
            relays_rss=rss_mb(self._fleet.relays.pids()),
            lag=self.probes.at(0.99),
            late=self._fleet.swarms.late(),
            refused=sum(codes.values()) - sum(self._codes.values()),
        )
        self._codes = codes
        self.minutes.append(minute)
        print(minute.line(), flush=True)
        return minute

    def _now(self) -> tuple[float, Latencies, float, float, float]:
        fleet = self._fleet
        return (
            time.monotonic(),
            fleet.swarms.beats("direct") if fleet.swarms.has("direct") else fleet.swarms.beats(""),
            fleet.servers.cpu_seconds(),
            fleet.relays.cpu_seconds(),
            fleet.swarms.cpu_seconds(),
        )


async def ramp(fleet: Fleet) -> float:
    """Have all agents register; return how many seconds that took."""
    began = time.monotonic()
    told = began
    while (have := fleet.swarms.registered()) < fleet.swarms.agents:
        await asyncio.sleep(1.0)
        fleet.check()
        if time.monotonic() - told >= 15:
            told = time.monotonic()
            print(
                f"  registered {have:,} of {fleet.swarms.agents:,} after {told - began:.0f} s, "
                f"server {rss_mb(fleet.servers.pids()):.0f} MB",
                flush=True,
            )
        if time.monotonic() - began > RAMP_MAX:
            raise SystemExit(f"only {have} agents registered: {dict(fleet.swarms.codes())}")
    return time.monotonic() - began


async def measure(asked: argparse.Namespace, folder: Path) -> bool:
    """Run the whole thing; return whether no node was lost."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with contextlib.AsyncExitStack() as stack:
        servers = Servers(folder, asked.servers, asked.store, asked.interval, asked.port)
        stack.push_async_callback(servers.stop)
        await servers.start()
        relays = Relays(folder, servers, asked.relays if asked.batched else 0)
        stack.push_async_callback(relays.stop)
        await relays.start()
        swarms = Swarms(folder, asked, servers, relays)
        stack.push_async_callback(swarms.stop)
        await swarms.start()
        fleet = Fleet(servers, relays, swarms)
        seconds = await ramp(fleet)
        print(f"{swarms.agents:,} agents registered in {seconds:.0f} s", flush=True)
        await asyncio.sleep(asked.interval)  # all have spoken once before anything counts
        watch = Watch(fleet)
        probing = asyncio.create_task(watch.probe())
        stack.callback(probing.cancel)
        since = await servers.last_seq()
        watch.begin()
        ramped = swarms.beats("batched"), swarms.beats("direct"), swarms.codes()
        cpu, began = servers.cpu_seconds(), time.monotonic()
        for number in range(1, asked.minutes + 1):
            await asyncio.sleep(began + number * 60 - time.monotonic())
            fleet.check()
            watch.minute(number)
            if number == asked.kill_leader_at:
                print(f"killed the leader, pid {await servers.kill_leader()}", flush=True)
        lost = await servers.facts_since(since, "node_lost")
        measured = Measured(
            asked=asked,
            ramp_seconds=seconds,
            cpu_share=(servers.cpu_seconds() - cpu) / (time.monotonic() - began),
            minutes=watch.minutes,
            batched=swarms.beats("batched").minus(ramped[0]),
            direct=swarms.beats("direct").minus(ramped[1]),
            registrations=swarms.registrations(),
            codes=swarms.codes() - ramped[2],
            relays=await relays.metrics(),
            probes=watch.probes,
            lost=lost,
        )
    found = results(measured)
    for each in found:
        print(f"{each['name']:<40} {each['value']:>14,} {each['unit']}")
    if asked.json:
        write(Path(asked.json), found, watch.minutes)
    return lost == 0


def write(path: Path, found: list[dict[str, Any]], minutes: Sequence[Minute]) -> None:
    """Write the results, and the chart beside them."""
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".svg").write_text(chart(minutes), encoding="utf-8")


def arguments() -> argparse.Namespace:
    """Read what is wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batched", type=int, default=2_000, help="agents behind relays")
    parser.add_argument("--direct", type=int, default=200, help="agents without")
    parser.add_argument("--relays", type=int, default=2)
    parser.add_argument("--swarms", type=int, default=0, help="processes; 0: as many as needed")
    parser.add_argument("--minutes", type=int, default=1)
    parser.add_argument("--interval", type=int, default=30, help="seconds between heartbeats")
    parser.add_argument("--form", choices=["proto", "json"], default="proto")
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--store", default="", help="postgresql://...; default: SQLite")
    parser.add_argument("--kill-leader-at", type=int, default=0, metavar="MINUTE")
    parser.add_argument("--port", type=int, default=21_100, help="the first of those used")
    parser.add_argument("--registering", type=int, default=64, help="registrations at one time")
    parser.add_argument("--folder", help="where everything is kept; default: a temporary one")
    parser.add_argument("--json", help="write the results here, and a chart beside them")
    asked = parser.parse_args()
    if asked.kill_leader_at and asked.servers < 2:
        parser.error("--kill-leader-at needs --servers 2 and a --store that they share")
    return asked


def main() -> None:
    """Run, and tell by the exit code whether all was well."""
    asked = arguments()
    with tempfile.TemporaryDirectory(prefix="navarch-scale-") as made:
        folder = Path(asked.folder or made)
        folder.mkdir(parents=True, exist_ok=True)
        well = asyncio.run(measure(asked, folder))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
