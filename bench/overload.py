"""A day of overload and recovery in virtual time, in which nothing may grow without bound.

    python bench/overload.py [--hours N] [--nodes N] [--chart FILE] [--json FILE]

The real control plane, behind its real ASGI application, on an event loop whose clock jumps from
one timer to the next; each call costs virtual time, so that a day of a slow machine passes in
minutes. The agents are the daemon's own state machines, and obey what they are told. Bounds are as
small as the fleet, so that they are met all the time. Every two hours bring, in turn:

- three times as many heartbeats as the machine can take, for a quarter of an hour;
- three times as many health reports, of twenty events each;
- a disk that takes three seconds for every append;
- watchers that come and go by the dozen;
- an outage of three minutes, after which all agents register within a second.

All the while an operator issues commands. Every ten minutes the resident memory is read. It passes
if the mean of the last quarter is within 5 % of that of the third quarter, no operator was
refused, every command was carried out, no node was taken for lost, and all agents are there at the
end.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from scaling.memory_chart import HOUR, chart

from navarch.agent import calls, turns
from navarch.agent.duties import Duties
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.inbox import Bounds
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model import events as ev
from navarch.core.model.command import CommandState
from navarch.core.model.gpu import GPU
from navarch.core.model.messages import RegisterNode
from navarch.core.model.report import CheckResult, Health
from navarch.core.settings import Settings
from navarch.simulator.dice import Dice
from navarch.stores.memory import MemoryStore
from navarch.testing import VirtualClock, VirtualLoop
from navarch.wire.admission import Rates

CYCLE: Final = 2 * HOUR
NODES: Final = 120
INTERVAL: Final = timedelta(seconds=30)
CALL_SECONDS: Final = 0.06
"""What a call costs: sixteen a second, three times what the fleet needs in peace."""
REFUSED_SECONDS: Final = 0.006
"""What a call costs that is refused before it is read."""
DRIFT_MAX: Final = 0.05
BOUNDS: Final = Bounds(operators=20, commands=40, reports=800, registrations=20, heartbeats=60)
CONNECTIONS: Final = 32
"""Of those who bring too much: at 60 ms a call two seconds of work, as the 16,384 that a server
lets in are one or two at 60 to 100 µs."""
RATES: Final = Rates(costly_at_once=20)
Answered = tuple[int, Any, timedelta | None]
"""The status, the answer as JSON, and for how long not to ask again."""
SAMPLE_EVERY: Final = 600.0


class Disk(MemoryStore):
    """A journal in memory that is as slow as it is told."""

    seconds = 0.005

    async def append(self, events: Sequence[ev.Event], *, after: int) -> int:
        """Append after a while."""
        await asyncio.sleep(self.seconds)
        return await super().append(events, after=after)


class World:
    """The control plane, its agents and whoever else calls."""

    def __init__(self, loop: VirtualLoop, nodes: int) -> None:
        self.loop = loop
        self.clock = VirtualClock(loop)
        self.disk = Disk()
        self.dice = Dice(1).stream("overload")
        self.plane: ControlPlane | None = None
        self.application: Any = None
        self.agents = [Agent(self, number) for number in range(nodes)]
        self.statuses: Counter[str] = Counter()
        self.lost = 0
        self.operator_seconds: list[float] = []
        self.operator_refused = 0
        self.commands: Counter[str] = Counter()
        self.samples: list[dict[str, float]] = []
        self.refused_before = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the control plane, or start it again over the same journal."""
        settings = Settings(
            heartbeat_interval=INTERVAL,
            health_check_interval=timedelta(minutes=5),
            external_nodes_max=10_000,
            retain_terminated=timedelta(hours=1),
        )
        config = ServerConfig(
            clock=self.clock,
            settings=settings,
            bounds=BOUNDS,
            rates=RATES,
            heartbeat_interval_seconds=int(INTERVAL.total_seconds()),
            health_check_interval_seconds=300,
            retain_terminated=timedelta(hours=1),
        )
        self.plane = ControlPlane(config, self.disk, retain=timedelta(minutes=30))
        await self.plane.start()
        self.plane.runtime.hears.append(self._hear)
        self.application = self.plane.asgi_app

    async def stop(self) -> None:
        """Stop the control plane."""
        assert self.plane is not None
        plane, self.plane, self.application = self.plane, None, None
        self.refused_before += sum(plane.admission.refused.values()) + plane.runtime.inbox.refused
        await plane.stop()

    def _hear(self, fact: ev.Fact) -> None:
        self.lost += isinstance(fact, ev.NodeLost)

    def soon(self, work: Any) -> None:  # noqa: ANN401 - any coroutine
        """Have something done beside the rest."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def call(self, method: str, body: dict[str, Any], form: str = "json") -> Answered:
        """Make a call; return the status, the answer and for how long not to ask again."""
        if self.application is None:
            self.statuses["away"] += 1
            return 503, {"code": "unavailable", "message": "connection refused"}, None
        data = json.dumps(body).encode()
        sent: list[Any] = []
        parts = [data]
        path = f"/navarch.ControlPlaneService/{method}"
        headers = [(b"content-type", f"application/{form}".encode())]
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "http_version": "1.1",
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "scheme": "http",
            "asgi": {"version": "3.0"},
        }
        gone = asyncio.Event()

        async def receive() -> Any:  # noqa: ANN401 - an event of ASGI
            if parts:
                self.loop.seconds += CALL_SECONDS  # it is read, and so costs what it costs
                return {"type": "http.request", "body": parts.pop(), "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(event: Any) -> None:  # noqa: ANN401 - an event of ASGI
            sent.append(event)

        await self.application(scope, receive, send)
        if parts:
            self.loop.seconds += REFUSED_SECONDS
        status = int(sent[0]["status"])
        self.statuses[str(status)] += 1
        answered = dict(sent[0]["headers"])
        advice = answered.get(b"retry-after")
        told = json.loads(b"".join(each.get("body", b"") for each in sent[1:]) or b"{}")
        return status, told, timedelta(seconds=int(advice)) if advice else None

    # --- what happens ----------------------------------------------------------------------

    async def cycle(self, begins: float, ends: float) -> None:
        """Live through two hours of everything."""
        minute = 60.0
        story = (
            (20 * minute, self.too_many_heartbeats),
            (40 * minute, self.many_reports),
            (60 * minute, self.slow_disk),
            (75 * minute, self.watchers),
            (90 * minute, self.outage),
        )
        for after, happens in story:
            await self.until(begins + after)
            if self.loop.seconds >= ends:
                return
            await happens()
        await self.until(begins + CYCLE)

    async def until(self, seconds: float) -> None:
        """Wait for a moment."""
        await asyncio.sleep(max(0.0, seconds - self.loop.seconds))

    async def too_many_heartbeats(self) -> None:
        """Three times what the machine can take, each teaching something."""
        model = {"model": "m", "bytesDone": "1", "bytesTotal": "9999999"}

        def heartbeat(turn: int) -> dict[str, Any]:
            changed = {**model, "bytesDone": str(turn)}
            return {"nodeId": self.any_node(), "serving": {"models": [changed]}}

        await self.pour("Heartbeat", heartbeat, minutes=15)

    async def many_reports(self) -> None:
        """Twenty events in each, at three times what can be taken."""

        def report(turn: int) -> dict[str, Any]:
            events = [
                {
                    "gpuIndex": number % 8,
                    "eventType": "HEALTH_EVENT_TYPE_XID",
                    "metrics": {"xid_code": str(self.dice.pick((13, 31, 43, 45)))},
                    "message": f"Xid in process {turn % 1000}",
                }
                for number in range(20)
            ]
            return {"nodeId": self.any_node(), "events": events}

        await self.pour("ReportHealth", report, minutes=5)

    def any_node(self) -> str:
        """Roll the id of a node."""
        return f"n{self.dice.integer(0, len(self.agents) - 1)}"

    async def pour(
        self, method: str, body: Callable[[int], dict[str, Any]], *, minutes: float
    ) -> None:
        """Make calls at three times the rate that can be taken, however late the answers are.

        A connection carries one call at a time, so there are as many at once as connections.
        """
        ends = self.loop.seconds + minutes * 60
        every = CALL_SECONDS / 3 * CONNECTIONS

        async def connection(number: int) -> None:
            due = self.loop.seconds + every * number / CONNECTIONS
            turn = number
            while due < ends:
                await asyncio.sleep(max(0.0, due - self.loop.seconds))
                turn += CONNECTIONS
                await self.call(method, body(turn))
                due = max(due + every, self.loop.seconds - 1.0)

        await asyncio.gather(*(connection(number) for number in range(CONNECTIONS)))

    async def slow_disk(self) -> None:
        """Every append takes three seconds."""
        self.disk.seconds = 3.0
        await asyncio.sleep(10 * 60)
        self.disk.seconds = Disk.seconds

    async def watchers(self) -> None:
        """Calls that come by the dozen, and list whatever there is."""
        for _ in range(60):
            for _ in range(24):
                self.soon(self.call("ListEvents", {"limit": 20}))
                self.soon(self.call("ListNodes", {"pageSize": 20}))
            await asyncio.sleep(5)

    async def outage(self) -> None:
        """Stop for three minutes; then all agents begin anew."""
        await self.stop()
        await asyncio.sleep(180)
        await self.start()
        for agent in self.agents:
            self.loop.call_later(self.dice.fraction(), agent.begin)

    async def operate(self, ends: float) -> None:
        """Issue a command a minute, and wait until it is said to be done."""
        turn = 0
        while self.loop.seconds < ends:
            await asyncio.sleep(60)
            if self.application is None or self.loop.seconds >= ends:
                continue
            turn += 1
            kind = ("NODE_COMMAND_TYPE_CORDON", "NODE_COMMAND_TYPE_UNCORDON")[turn % 2]
            body = {"nodeId": f"n{turn // 2 % len(self.agents)}", "commandType": kind}
            began = self.loop.seconds
            status, _, _ = await self.call("IssueCommand", body)
            if status == 200:
                self.operator_seconds.append(self.loop.seconds - began)
                self.commands["issued"] += 1
            elif status != 503:
                self.operator_refused += 1

    async def sample(self, ends: float) -> None:
        """Read the memory every ten minutes."""
        while self.loop.seconds < ends:
            await asyncio.sleep(SAMPLE_EVERY)
            gc.collect()
            pages = resident_pages()
            plane = self.plane
            refused = self.refused_before
            if plane is not None:
                refused += sum(plane.admission.refused.values()) + plane.runtime.inbox.refused
                refused += plane.runtime.inbox.shed
            found = {
                "hour": self.loop.seconds / HOUR,
                "rss_mb": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
                "refused": float(refused),
                "facts": float(self.disk.last_seq_now),
            }
            self.samples.append(found)
            print(
                f"\r{found['hour']:5.1f} h {found['rss_mb']:7.1f} MB {found['facts']:9,.0f} facts",
                end="",
                file=sys.stderr,
                flush=True,
            )


class Agent:
    """One node: the daemon's state machine, and a line to the control plane."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._number = number
        self._duties: Duties | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def registered(self) -> bool:
        """Whether it believes so."""
        return self._duties is not None and self._duties.registered

    def begin(self) -> None:
        """Begin as after a restart of the daemon."""
        gpus = tuple(GPU(index, f"GPU-{self._number}-{index}") for index in range(8))
        described = RegisterNode(f"n{self._number}", "own", "r1", "a", "h100-8x", gpus=gpus)
        spread = self._number * 0.618034 % 1.0
        self._duties = Duties(described, start=self._world.clock.now(), spread=spread)
        self._step(self._duties, turns.Tick())

    def _step(self, duties: Duties, given: turns.Input) -> None:
        if duties is not self._duties:
            return  # it has begun anew meanwhile
        now = self._world.clock.now()
        for output in duties.step(given, now):
            match output:
                case turns.Send():
                    self._world.soon(self._call(duties, output))
                case turns.ReadSensors():
                    result = CheckResult("nvml", Health.HEALTHY)
                    read = turns.SensorsRead(results=(result,) if output.checks else ())
                    self._world.loop.call_soon(self._step, duties, read)
                case turns.Execute():
                    self._world.commands["done"] += 1
                    done = turns.CommandFinished(output.order.id, CommandState.SUCCEEDED)
                    self._world.loop.call_later(1.0, self._step, duties, done)
                case _:
                    continue
        if self._timer is not None:
            self._timer.cancel()
        wait = max(0.05, (duties.next_due() - now).total_seconds())
        self._timer = self._world.loop.call_later(wait, self._step, duties, turns.Tick())

    async def _call(self, duties: Duties, send: turns.Send) -> None:
        method, body = calls.encode(send.request)
        status, told, advice = await self._world.call(method, body)
        given: turns.Answer
        if status == 200:
            given = calls.decode(send.request, told, call=send.call)
        else:
            given = turns.CallFailed(send.call, told["code"], told["message"], advice)
        self._step(duties, given)


def resident_pages() -> int:
    """Read how many pages of memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1])


async def live(loop: VirtualLoop, nodes: int, hours: float) -> World:
    """Live through so many hours."""
    world = World(loop, nodes)
    await world.start()
    for agent in world.agents:
        loop.call_later(world.dice.fraction(), agent.begin)
    ends = hours * HOUR
    world.soon(world.operate(ends))
    world.soon(world.sample(ends))
    begins = 0.0
    while begins < ends:
        await world.cycle(begins, ends)
        begins += CYCLE
    await asyncio.sleep(300)  # whatever is under way comes to its end
    return world


def run(nodes: int, hours: float) -> World:
    """Run it on a loop of its own; the control plane is stopped at the end."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        world = runner.run(live(loop, nodes, hours))
        missing = [agent for agent in world.agents if not agent.registered]
        assert not missing, f"{len(missing)} agents are not registered at the end"
        runner.run(world.stop())
    return world


def quarters(samples: Sequence[dict[str, float]]) -> tuple[float, float]:
    """Return the mean memory of the third and of the last quarter."""
    size = len(samples) // 4
    third, last = samples[2 * size : 3 * size], samples[-size:]
    return (
        statistics.mean(each["rss_mb"] for each in third),
        statistics.mean(each["rss_mb"] for each in last),
    )


def main() -> None:
    """Print the figures, draw the chart, and exit with 1 where something grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--chart", type=Path, help="write the chart here, as SVG")
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    world = run(asked.nodes, asked.hours)
    third, last = quarters(world.samples)
    drift = last / third - 1
    statuses = world.statuses
    figures = [
        ("cpu", time.process_time(), "s of processor"),
        ("calls", float(sum(statuses.values())), "calls"),
        ("refused", float(statuses["429"]), "of them refused with advice"),
        ("facts", world.samples[-1]["facts"], "facts"),
        ("third_quarter", third, "MB resident in the third quarter"),
        ("last_quarter", last, "MB resident in the last quarter"),
        ("drift", drift * 100, "% between them"),
        ("commands", float(world.commands["issued"]), "commands issued"),
        ("commands_done", float(world.commands["done"]), "commands carried out"),
        ("operator_refused", float(world.operator_refused), "commands refused"),
        ("operator_max", max(world.operator_seconds), "virtual s that a command waited at most"),
        ("lost", float(world.lost), "nodes taken for lost"),
    ]
    print(file=sys.stderr)
    for _, value, unit in figures:
        print(f"{value:14,.1f} {unit}")
    print(f"answers: {dict(statuses)}")
    if asked.chart:
        chart(world.samples, asked.chart)
    if asked.json:
        told = [
            {"name": f"overload.{name}", "value": value, "unit": unit, "runs": [value]}
            for name, value, unit in figures
        ]
        asked.json.write_text(json.dumps(told, indent=1) + "\n")
    sound = world.operator_refused == 0 and world.lost == 0
    passed = sound and drift < DRIFT_MAX and world.commands["done"] >= world.commands["issued"]
    print("passed" if passed else "FAILED")
    raise SystemExit(not passed)


if __name__ == "__main__":
    main()
