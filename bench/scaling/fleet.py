"""The processes of `bench/scale.py`: control planes, relays and swarms of agents."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pyqwest import Client, HTTPTransport

from navarch.errors import WireError
from navarch.wire.client import ConnectClient
from navarch.wiring.parts import fleet_secret
from scaling.latency import Latencies

OPERATOR = "an-operator-of-the-benchmark"
VIEWER = "a-viewer-of-the-benchmark"
BOOT_MAX = 120.0
AGENTS_A_SWARM = 15_000
"""Each has a descriptor, and 20,000 is what a process may have on many machines."""
TICKS = os.sysconf("SC_CLK_TCK")
LINE_MAX = 1024 * 1024


def rss_mb(pids: Iterable[int]) -> float:
    """How much memory these have."""
    total = 0.0
    for pid in pids:
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
        total += pages * os.sysconf("SC_PAGESIZE") / 1e6
    return total


class Processes:
    """Processes of one kind."""

    def __init__(self) -> None:
        """Begin with none."""
        self.running: list[asyncio.subprocess.Process] = []
        self._used: dict[int, float] = {}

    async def spawn(
        self, *words: str, log: Path, environ: dict[str, str], read: bool = False
    ) -> asyncio.subprocess.Process:
        """Start one."""
        with log.open("ab") as err:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *words,
                stdout=asyncio.subprocess.PIPE if read else asyncio.subprocess.DEVNULL,
                stderr=err,
                env={**os.environ, **environ},
                limit=LINE_MAX,
            )
        self.running.append(process)
        return process

    def pids(self) -> list[int]:
        """Those that run."""
        return [each.pid for each in self.running if each.returncode is None]

    def cpu_seconds(self) -> float:
        """How much processor time they have used; of an ended one, what was seen of it last."""
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            self._used[pid] = (int(fields[11]) + int(fields[12])) / TICKS
        return sum(self._used.values())

    def ended(self) -> list[int]:
        """The exit codes of those that have ended."""
        return [each.returncode for each in self.running if each.returncode is not None]

    async def stop(self) -> None:
        """End all of them."""
        for each in self.running:
            if each.returncode is None:
                each.terminate()
        for each in self.running:
            try:
                await asyncio.wait_for(each.wait(), 15)
            except TimeoutError:
                each.kill()
                await each.wait()


class Servers(Processes):
    """The control planes."""

    def __init__(self, folder: Path, number: int, store: str, interval: int, port: int) -> None:
        """Plan them on ports from `port` on; with several `store` has to be shared."""
        super().__init__()
        self._folder = folder
        self._number = number
        self._store = store
        self._interval = interval
        self.port = port
        self.urls = [f"http://127.0.0.1:{port + index}" for index in range(number)]
        self._killed: set[int] = set()
        self._client = Client(HTTPTransport(connect_timeout=2, timeout=10))

    @property
    def secret_file(self) -> Path:
        """Where the secret behind the nodes' tokens is."""
        return self._folder / "data-0" / "node-tokens.key"

    async def start(self) -> None:
        """Start them, and wait until they answer."""
        environ = {"SCALE_OPERATOR": OPERATOR, "SCALE_VIEWER": VIEWER, "LOG_LEVEL": "warning"}
        for index, url in enumerate(self.urls):
            config = self._written(index)
            words = ("-m", "navarch", "server", "--config", str(config))
            await self.spawn(*words, log=self._folder / f"server-{index}.log", environ=environ)
            await self._until_there(url)

    def _written(self, index: int) -> Path:
        data = self._folder / f"data-{index}"
        fleet_secret(self._folder / "data-0")
        if index:
            data.mkdir(exist_ok=True)
            copied = data / "node-tokens.key"
            copied.touch(mode=0o600)
            copied.write_bytes(self.secret_file.read_bytes())
        shared = f"\n  store: {self._store}\n  advertise: {self.urls[index]}"
        store = shared if self._store else ""
        path = self._folder / f"server-{index}.yaml"
        path.write_text(
            f"""
server:
  address: "127.0.0.1:{self.port + index}"
  data: {data}{store}
  heartbeat_interval: {self._interval}s
  external_nodes_max: 1000000
  auth:
    tokens:
      - {{name: operator, role: operator, token_env: SCALE_OPERATOR}}
      - {{name: viewer, role: viewer, token_env: SCALE_VIEWER}}
providers:
  fake: {{type: fake}}
pools:
  training: {{provider: fake, min_nodes: 0, max_nodes: 4}}
""",
            encoding="utf-8",
        )
        return path

    async def _until_there(self, url: str) -> None:
        ends = asyncio.get_running_loop().time() + BOOT_MAX
        while asyncio.get_running_loop().time() < ends:
            if self.ended():
                break
            if await self._answers(f"{url}/readyz"):
                return
            await asyncio.sleep(0.2)
        logs = "".join(each.read_text()[-2000:] for each in self._folder.glob("server-*.log"))
        raise SystemExit(f"{url} did not start:\n{logs}")

    async def _answers(self, url: str) -> bool:
        try:
            return (await self._client.get(url)).status == 200
        except (OSError, TimeoutError):
            return False

    async def leader(self) -> int:
        """Which of them leads."""
        if self._number == 1:
            return 0
        for index, url in enumerate(self.urls):
            if index not in self._killed and await self._answers(f"{url}/leaderz"):
                return index
        return -1

    async def is_well(self) -> bool:
        """Ask the first that runs for its health."""
        index = next(each for each in range(self._number) if each not in self._killed)
        return await self._answers(f"{self.urls[index]}/healthz")

    async def kill_leader(self) -> int:
        """Kill the one that leads; return its process id."""
        index = await self.leader()
        if index < 0:
            raise SystemExit("no control plane leads: there is none to kill")
        self._killed.add(index)
        process = self.running[index]
        process.send_signal(signal.SIGKILL)
        await process.wait()
        return process.pid

    async def call(self, method: str, **request: object) -> dict[str, Any]:
        """Call whichever leads, as a viewer; for half a minute if none does."""
        for _ in range(30):
            index = await self.leader()
            if index >= 0:
                with_token = ConnectClient(self.urls[index], VIEWER, timeout=30)
                try:
                    return await asyncio.to_thread(with_token.call, method, request)
                except WireError as error:
                    if error.code != "unavailable":
                        raise
                finally:
                    with_token.close()
            await asyncio.sleep(1)
        raise SystemExit("no control plane answers any more")

    async def last_seq(self) -> int:
        """The number of the newest fact."""
        answer = await self.call("ListEvents", limit=1)
        return int(answer.get("lastSeq", 0))

    async def facts_since(self, seq: int, kind: str) -> int:
        """How many facts of a kind came after that one."""
        found: int = 0
        while True:
            page = (await self.call("ListEvents", afterSeq=str(seq), limit=1000)).get("events", [])
            found += sum(1 for each in page if each["kind"] == kind)
            if len(page) < 1000:
                return found
            seq = int(page[-1]["seq"])

    def check(self) -> None:
        """End the run when one has ended by itself."""
        unexpected = len(self.ended()) - len(self._killed)
        if unexpected:
            raise SystemExit(f"a control plane has ended by itself: {self._folder}/server-*.log")


class Relays(Processes):
    """The relays, on the ports after those of the control planes."""

    def __init__(self, folder: Path, servers: Servers, number: int) -> None:
        """Plan them."""
        super().__init__()
        self._folder = folder
        self._servers = servers
        first = servers.port + 100
        self._client = Client(HTTPTransport(connect_timeout=5, timeout=10))
        self.urls = [f"http://127.0.0.1:{first + index}" for index in range(number)]

    async def start(self) -> None:
        """Start them, and wait until they are ready."""
        for url in self.urls:
            words = ["-m", "navarch", "relay", "--listen", url.removeprefix("http://")]
            for server in self._servers.urls:
                words += ["--server", server]
            environ = {"NAVARCH_RELAY_TOKEN": OPERATOR, "LOG_LEVEL": "info"}
            await self.spawn(*words, log=self._folder / "relays.log", environ=environ)
        for url in self.urls:
            await self._until_ready(url)

    async def _until_ready(self, url: str) -> None:
        for _ in range(int(BOOT_MAX * 5)):
            try:
                if (await self._client.get(f"{url}/readyz")).status == 200:
                    return
            except (OSError, TimeoutError):
                await asyncio.sleep(0.2)
                continue
            await asyncio.sleep(0.2)
        raise SystemExit(f"{url} is not ready: {(self._folder / 'relays.log').read_text()[-2000:]}")

    async def metrics(self) -> Counter[str]:
        """The sums of what they count, by the name in their pages."""
        sums: Counter[str] = Counter()
        for url in self.urls:
            text = (await self._client.get(f"{url}/metrics")).text()
            for line in text.splitlines():
                if not line.startswith("#"):
                    name, _, value = line.rpartition(" ")
                    sums[name] += float(value)  # type: ignore[assignment]
        return sums


class Told(NamedTuple):
    """What a swarm has said last."""

    kind: str
    line: dict[str, Any]


class Swarms(Processes):
    """The processes of agents."""

    def __init__(
        self, folder: Path, asked: argparse.Namespace, servers: Servers, relays: Relays
    ) -> None:
        """Plan them: as few as can hold the connections, or as many as asked for."""
        super().__init__()
        self._folder = folder
        self._asked = asked
        self._servers = servers
        self._relays = relays
        self._told: list[Told] = []
        self._reading: list[asyncio.Task[None]] = []
        self.agents = asked.batched + asked.direct

    async def start(self) -> None:
        """Start them: they register at once."""
        first = 0
        for kind, agents in (("batched", self._asked.batched), ("direct", self._asked.direct)):
            number = max(self._asked.swarms, -(-agents // AGENTS_A_SWARM)) if agents else 0
            for index in range(number):
                some = agents // number + (index < agents % number)
                await self._start_one(kind, first, some, max(number, 1))
                first += some

    async def _start_one(self, kind: str, first: int, agents: int, number: int) -> None:
        targets = self._relays.urls if kind == "batched" else self._servers.urls
        asked = self._asked
        words = [
            "-m",
            "scaling.swarm",
            "--agents",
            str(agents),
            "--first",
            str(first),
            "--form",
            asked.form,
        ]
        words += [
            "--interval",
            str(asked.interval),
            "--secret-file",
            str(self._servers.secret_file),
        ]
        words += ["--registering", str(max(1, asked.registering // number))]
        for url in targets:
            words += ["--target", url]
        log = self._folder / "swarms.log"
        environ = {"PYTHONPATH": str(Path(__file__).parents[1])}
        process = await self.spawn(*words, log=log, environ=environ, read=True)
        slot = len(self._told)
        self._told.append(Told(kind, {}))
        self._reading.append(asyncio.create_task(self._read(slot, kind, process)))

    async def _read(self, slot: int, kind: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._told[slot] = Told(kind, json.loads(line))

    def has(self, kind: str) -> bool:
        """Whether there are agents of this kind."""
        return any(each.kind == kind for each in self._told)

    def registered(self) -> int:
        """How many agents have registered."""
        return sum(each.line.get("registered", 0) for each in self._told)

    def beats(self, kind: str) -> Latencies:
        """How long heartbeats took; those of all kinds where none is named."""
        total = Latencies()
        for each in self._told:
            if each.line and kind in ("", each.kind):
                total = total.plus(each.line["beats"])
        return total

    def registrations(self) -> Latencies:
        """How long registrations took."""
        total = Latencies()
        for each in self._told:
            if each.line:
                total = total.plus(each.line["registrations"])
        return total

    def codes(self) -> Counter[str]:
        """Calls that failed, by code."""
        total: Counter[str] = Counter()
        for each in self._told:
            for code, number in each.line.get("codes", {}).items():
                total[f"{each.kind}: {code}"] += number
        return total

    def late(self) -> float:
        """How late the swarms themselves were at worst, in seconds, of late."""
        return max((each.line.get("late", 0.0) for each in self._told), default=0.0)

    async def stop(self) -> None:
        """End all of them."""
        await super().stop()
        for each in self._reading:
            each.cancel()


class Fleet(NamedTuple):
    """Everything that runs."""

    servers: Servers
    relays: Relays
    swarms: Swarms

    def check(self) -> None:
        """End the run when a process has ended that should not have."""
        self.servers.check()
        for what in (self.relays, self.swarms):
            if codes := what.ended():
                raise SystemExit(f"{type(what).__name__} ended by themselves: {codes}")
