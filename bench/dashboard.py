"""What the dashboard costs: the server while somebody looks, and the browser in which it is shown.

    python bench/dashboard.py [--nodes 10000] [--seconds 15] [--runs 3] [--json FILE]

A control plane with as many nodes as asked for, eight GPUs each, listens in a process of its own.
Every node is heard each 30 seconds (batches of 500, as relays send them) and five nodes a second
change their state. *Server* is the CPU of that process with one viewer less the CPU without, as a
share of one core. *First paint* is from the click on a link until Chromium has painted anything,
*map drawn* until every machine stands there. *Longest task* is the longest time that the page's
main thread was busy at a stretch, by its own CPU clock, while updates come in and while the page is
opened; long tasks are those of more than 50 ms on the wall, which another program may have caused.
Needs Debian's chromium.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from figures import Figure, options, tell
from figures.fleets import facts, node_id, sample
from playwright.sync_api import Browser, Page, sync_playwright

from navarch.controlplane.control_plane import ControlPlane
from navarch.dashboard import furnish
from navarch.stores.memory import MemoryStore
from navarch.wire import listener
from navarch.wire.auth import Authenticator, Role, StaticToken

TOKEN = "token-of-a-benchmark"  # noqa: S105 - of a benchmark
BATCH = 500
HEARD_EVERY = 30.0
CHANGES_A_SECOND = 5
SERVICE = "/navarch.ControlPlaneService/"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]


# --- the server ------------------------------------------------------------------------------


async def serve(nodes: int) -> None:
    """Serve a fleet until the standard input ends."""
    store = MemoryStore()
    store.append_now(list(facts(nodes)), after=0)
    tokens = [StaticToken("bench", Role.OPERATOR, TOKEN)]
    async with ControlPlane(None, store, authenticator=Authenticator(tokens)) as plane:
        application = plane.asgi_app
        end = furnish(plane, application, Path("/nonexistent"))
        listening = listener.bind("127.0.0.1", 0)
        listening.listen()
        server = listener.EmbeddedServer(listener.config(application))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        print(listening.getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await end()
        server.should_exit = True
        await serving


class Server:
    """The server's process, and how much it computes."""

    def __init__(self, nodes: int) -> None:
        """Start it, and wait until it listens."""
        command = [sys.executable, __file__, "--nodes", str(nodes), "--serve"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def cpu_seconds(self) -> float:
        """How long it has computed, in all its threads."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


# --- the fleet -------------------------------------------------------------------------------


class Life(threading.Thread):
    """Nodes that are heard, and some that change."""

    def __init__(self, port: int, nodes: int) -> None:
        """Prepare what is sent; the same bytes are sent again and again."""
        super().__init__(daemon=True)
        self._port = port
        self._nodes = nodes
        self._batches = [
            json.dumps({"heartbeats": [_beat(number) for number in range(first, last)]}).encode()
            for first in range(0, nodes, BATCH)
            for last in [min(nodes, first + BATCH)]
        ]
        self._over = threading.Event()
        self.changes = 0

    def run(self) -> None:
        """Send until it is over."""
        line = http.client.HTTPConnection("127.0.0.1", self._port)
        every = HEARD_EVERY / len(self._batches)
        beats = itertools.cycle(self._batches)
        turns = itertools.count()
        begun = time.monotonic()
        beat_due = change_due = begun
        while not self._over.is_set():
            now = time.monotonic()
            if now >= beat_due:
                _post(line, "HeartbeatBatch", next(beats))
                beat_due += every
            if now >= change_due:
                self._change(line, next(turns))
                change_due += 1 / CHANGES_A_SECOND
            self._over.wait(max(0.0, min(beat_due, change_due) - time.monotonic()))

    def end(self) -> None:
        """Stop sending."""
        self._over.set()
        self.join()

    def _change(self, line: http.client.HTTPConnection, turn: int) -> None:
        """Close a node to work, or open one that was closed a while ago."""
        number = (turn - turn % 2) * 7919 % self._nodes
        word = "UNCORDON" if turn % 2 else "CORDON"
        wish = {
            "nodeId": node_id(number),
            "commandType": f"NODE_COMMAND_TYPE_{word}",
            "reason": f"turn {turn} of a benchmark",
        }
        _post(line, "IssueCommand", json.dumps(wish).encode())
        self.changes += 1


def _beat(number: int) -> dict[str, Any]:
    read = sample(number, 0)
    gpus = [
        {
            "gpuIndex": each.index,
            "temperature": each.temperature_celsius,
            "powerUsage": each.power_watts,
            "utilizationPercent": each.utilization_percent,
            "memoryUsed": str(each.memory_used),
        }
        for each in read.gpus
    ]
    metrics = {"cpuUsagePercent": 40, "memoryUsagePercent": 42.5, "gpuMetrics": gpus}
    return {"nodeId": node_id(number), "metrics": metrics}


def _post(line: http.client.HTTPConnection, method: str, body: bytes) -> None:
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    line.request("POST", SERVICE + method, body, headers)
    answer = line.getresponse()
    said = answer.read()
    assert answer.status == 200, said[:300]


# --- the browser -----------------------------------------------------------------------------

DRAWN = ".page-fleet canvas[data-drawn]"


def log_in(page: Page, url: str) -> None:
    """Show the token once."""
    page.goto(url)
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.locator(".connection[data-state=live]").wait_for()


def painted(
    browser: Browser,
    state: Any,  # noqa: ANN401
    url: str,
    file: Path,
) -> tuple[float, float, float]:
    """Open the page as somebody who is logged in.

    Milliseconds to the first paint, and to the map, and the longest task on the way.
    """
    context = browser.new_context(storage_state=state, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    browser.start_tracing(page=page, path=file, categories=["toplevel", "__metadata"])
    page.goto(url)
    page.wait_for_selector(DRAWN)
    browser.stop_tracing()
    drawn = float(page.evaluate("performance.getEntriesByName('map-drawn')[0].startTime"))
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    context.close()
    return float(paint), drawn, longest_task(file)[0]


def busy(browser: Browser, page: Page, seconds: float, folder: Path) -> tuple[float, float, int]:
    """Let updates come in; the longest task in CPU and in wall ms, and how many were long."""
    page.evaluate("""() => {
      window.longTasks = [];
      new PerformanceObserver((list) => window.longTasks.push(...list.getEntries()))
        .observe({entryTypes: ["longtask"]});
    }""")
    file = folder / "trace.json"
    browser.start_tracing(page=page, path=file, categories=["toplevel", "__metadata"])
    page.wait_for_timeout(seconds * 1000)
    browser.stop_tracing()
    cpu, wall = longest_task(file)
    return cpu, wall, int(page.evaluate("window.longTasks.length"))


def longest_task(file: Path) -> tuple[float, float]:
    """The longest task of a page's main thread in a trace, in ms of CPU and of the wall."""
    events = json.loads(file.read_text())["traceEvents"]
    mains = {
        (each["pid"], each["tid"])
        for each in events
        if each.get("name") == "thread_name" and each["args"].get("name") == "CrRendererMain"
    }
    tasks = [
        each
        for each in events
        if (each.get("pid"), each.get("tid")) in mains
        and each.get("name") in ("RunTask", "ThreadControllerImpl::RunTask")
        and each.get("dur")
    ]
    assert tasks, "the trace has no tasks of a page's main thread"
    cpu = max(each.get("tdur", 0) for each in tasks) / 1000
    return cpu, max(each["dur"] for each in tasks) / 1000


def share(server: Server, seconds: float, wait: Any) -> float:  # noqa: ANN401
    """The server's CPU while something is waited for, in percent of one core."""
    before, begun = server.cpu_seconds(), time.monotonic()
    wait(seconds)
    return (server.cpu_seconds() - before) / (time.monotonic() - begun) * 100


def main() -> None:
    """Measure everything."""
    asked = options(__doc__ or "")
    asked.set_defaults(runs=3)
    asked.add_argument("--nodes", type=int, default=10_000)
    asked.add_argument("--seconds", type=float, default=15.0, help="how long one run looks")
    asked.add_argument("--serve", action="store_true", help="be the server; for this script alone")
    given = asked.parse_args()
    if given.serve:
        asyncio.run(serve(given.nodes))
        return
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Debian's chromium is absent")
    size = f"{given.nodes:,} nodes"
    alone = Figure(f"server without a viewer, {size}", "%")
    viewed = Figure(f"server for one viewer, {size}", "%")
    paint = Figure(f"first paint, {size}", "ms")
    drawn = Figure(f"map drawn, {size}", "ms")
    task_cpu = Figure(f"longest task, {size}", "ms")
    task_wall = Figure(f"longest task by the clock on the wall, {size}", "ms")
    load_cpu = Figure(f"longest task while it is opened, {size}", "ms")
    long_tasks = Figure(f"long tasks, {size}", "")
    server = Server(given.nodes)
    life = Life(server.port, given.nodes)
    url = f"http://127.0.0.1:{server.port}"
    life.start()
    try:
        with TemporaryDirectory() as folder, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page = context.new_page()
            log_in(page, url)
            state = context.storage_state()
            page.goto("about:blank")
            for _ in range(given.runs):
                alone.runs.append(share(server, given.seconds, time.sleep))
                page.goto(url)
                page.wait_for_selector(DRAWN)
                time.sleep(2)
                looked = share(
                    server, given.seconds, lambda span: page.wait_for_timeout(span * 1000)
                )
                viewed.runs.append(looked - alone.runs[-1])
                cpu, wall, long_ = busy(browser, page, given.seconds, Path(folder))
                task_cpu.runs.append(cpu)
                task_wall.runs.append(wall)
                long_tasks.runs.append(long_)
                page.goto("about:blank")
                first, whole, loading = painted(browser, state, url, Path(folder) / "load.json")
                load_cpu.runs.append(loading)
                paint.runs.append(first)
                drawn.runs.append(whole)
            browser.close()
    finally:
        life.end()
        server.end()
    print(f"{life.changes} changes of state")
    figures = [alone, viewed, paint, drawn, load_cpu, task_cpu, task_wall, long_tasks]
    tell(figures, given.json)


if __name__ == "__main__":
    main()
