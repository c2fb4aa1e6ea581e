"""Several real control planes over a real PostgreSQL, a cloud, and callers that never stop.

`Site` starts the processes; `Callers` write and note what was acknowledged; `verdict` counts what
came of it: facts in the journal against acknowledgements, machines in the cloud against the
journal. Nothing here knows why a control plane dies.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from infra.cloud_process import CALLER_VARIABLE, ask
from infra.real_parts import wait_for
from navarch.controlplane.clock import stopwatch
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.errors import WireError
from navarch.simulator.dice import Dice
from navarch.stores.base import Recorded
from navarch.stores.postgres import PostgresStore
from navarch.wire.client import ConnectClient
from navarch.wire.servers import Servers

TESTS: Final = Path(__file__).resolve().parent.parent
PATH: Final = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH", ""))))
POOL: Final = "training"
NODES: Final = (2, 7)
"""The fewest and the most that callers ever want."""
AWAY: Final = frozenset({"unavailable", "deadline_exceeded", "unknown"})
ENDING: Final = frozenset({"failed_precondition", "not_found"})
"""What the agent of a machine may hear that is being ended."""
SUCCEEDED: Final = "COMMAND_STATUS_SUCCEEDED"
PAUSE: Final = 0.05
"""Seconds between two tries of a caller: what a failover is measured to."""


@dataclass
class Member:
    """One control plane: how it is started, and the process when there is one."""

    name: str
    url: str
    command: list[str]
    environ: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, as a supervisor does."""
        with self.log.open("ab") as log:
            environ = {**os.environ, **self.environ}
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=environ, cwd=TESTS
            )

    def kill(self) -> None:
        """End it without any warning."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def standing(self, seconds: float = 2.0) -> dict[str, Any]:
        """What ``/leaderz`` says; empty while it is away."""
        try:
            with closing(ConnectClient(self.url, timeout=seconds)) as client:
                return client.page("/leaderz")[1]
        except WireError:
            return {}


class Site:
    """Control planes that share a journal, and the cloud that they buy from."""

    def __init__(
        self,
        folder: Path,
        store: str,
        hosts: Sequence[tuple[str, str, int, Sequence[str]]],
        cloud: str,
        token: str = "",
    ) -> None:
        """Prepare one for each of `hosts`: its name, address, port, and what runs its program.

        `store` is the URL of the database, `cloud` the address of the cloud, ``HOST:PORT``.
        """
        self.store = store
        self.cloud = cloud
        self.token = token
        self.members = [self._member(folder / host[0], *host) for host in hosts]

    def _member(
        self, folder: Path, name: str, address: str, port: int, prefix: Sequence[str]
    ) -> Member:
        data = folder / "data"
        data.mkdir(parents=True)
        key = data / "node-tokens.key"
        key.write_text("0123456789abcdef" * 2)
        key.chmod(0o600)
        config = folder / "navarch.yaml"
        config.write_text(
            f"server:\n"
            f'  address: "{address}:{port}"\n'
            f"  advertise: http://{address}:{port}\n"
            f"  data: {data}\n"
            f"  store: {self.store}\n"
            f"  heartbeat_interval: 5s\n"
            f"providers:\n"
            f"  cloud: {{type: custom, use: 'infra.cloud_process:CloudClient', "
            f"config: {{url: 'http://{self.cloud}'}}}}\n"
            f"pools:\n"
            f"  {POOL}: {{provider: cloud, instance_type: any, min_nodes: {NODES[0]}, "
            f"max_nodes: {NODES[1]}, cooldown: 0s}}\n"
        )
        command = [*prefix, sys.executable, "-m", "navarch", "server", "--config", str(config)]
        environ = {"PYTHONPATH": PATH, CALLER_VARIABLE: name}
        if self.token:
            environ["NAVARCH_AUTH_TOKEN"] = self.token
        return Member(name, f"http://{address}:{port}", command, environ, folder / "log")

    @property
    def urls(self) -> list[str]:
        """Where they all are."""
        return [each.url for each in self.members]

    def leader(self) -> Member | None:
        """The one that says that it leads."""
        leading = [each for each in self.members if each.standing().get("role") == "leader"]
        return leading[0] if len(leading) == 1 else None

    def wait_leader(self, seconds: float = 60.0) -> Member:
        """Wait until exactly one leads."""
        found: list[Member] = []

        def leads() -> bool:
            leader = self.leader()
            found.extend([leader] if leader else [])
            return leader is not None

        wait_for(leads, "one leads", seconds)
        return found[-1]

    def end(self) -> None:
        """End all that are left."""
        for member in self.members:
            if member.process is not None:
                member.process.send_signal(signal.SIGCONT)
                member.kill()


@contextmanager
def a_cloud(address: str, port: int) -> Iterator[str]:
    """Run the cloud in a process of its own, and yield where it is."""
    command = [sys.executable, "-m", "infra.cloud_process", address, str(port)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": PATH}, cwd=TESTS)
    where = f"{address}:{port}"

    def answers() -> bool:
        try:
            ask(where, "list", {})
        except Exception:  # noqa: BLE001 - not yet
            return False
        return True

    try:
        wait_for(answers, "the cloud answers")
        yield where
    finally:
        process.kill()
        process.wait()


@dataclass
class Acknowledged:
    """What callers were told was done."""

    nodes: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    at: list[tuple[float, str]] = field(default_factory=list)
    """When, by `stopwatch`, and by whom."""
    in_doubt: int = 0
    """Calls of which nobody knows whether they were done."""
    wrong: list[str] = field(default_factory=list)
    """Refusals that no caller should see."""


class Callers:
    """Threads that never stop calling: new nodes, commands, scalings, and the machines' agents."""

    def __init__(self, site: Site, seed: int) -> None:
        """Call all control planes of the site as one."""
        self._site = site
        self._dice = Dice(seed).stream("callers")
        self.got = Acknowledged()
        self._over = threading.Event()
        self._still = threading.Event()
        work = (self._writes, self._scales, self._agents)
        self._threads = [threading.Thread(target=each, daemon=True) for each in work]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def settle(self) -> None:
        """Want the most nodes from now on, so that the end is known."""
        self._still.set()

    def acknowledged(self, after: float, but: str) -> float | None:
        """When the first write after a moment was acknowledged by anybody `but` one."""
        newest = self.got.at[-2_000:]
        return next((at for at, url in newest if at > after and url != but), None)

    def _servers(self) -> Servers:
        return Servers(self._site.urls, self._site.token or None, timeout=5)

    def _call(
        self,
        servers: Servers,
        method: str,
        request: dict[str, Any],
        expected: frozenset[str] = frozenset(),
    ) -> dict[str, Any] | None:
        """Call once; None when nobody has said that it was done. `expected` are refusals."""
        try:
            answer = servers.call(method, request)
        except WireError as error:
            self.got.in_doubt += error.maybe_done or error.code == "unknown"
            if error.code not in AWAY | expected:
                self.got.wrong.append(str(error))
            return None
        self.got.at.append((stopwatch(), servers.chosen.url))
        return answer

    def _writes(self) -> None:
        serial = 0
        with closing(self._servers()) as servers:
            while not self._over.wait(PAUSE):
                serial += 1
                node = f"lab-{serial}"
                if self._call(servers, "RegisterNode", {"nodeId": node}) is None:
                    continue
                self.got.nodes.append(node)
                if serial % 4 == 0:
                    command = {"nodeId": node, "commandType": "NODE_COMMAND_TYPE_CORDON"}
                    answer = self._call(servers, "IssueCommand", command)
                    if answer is not None:
                        self.got.commands.append(answer["commandId"])

    def _scales(self) -> None:
        with closing(self._servers()) as servers:
            while not self._over.wait(0.3 + 1.2 * self._dice.fraction()):
                wanted = NODES[1] if self._still.is_set() else self._dice.integer(*NODES)
                request = {"poolName": POOL, "targetNodes": wanted, "reason": "a test"}
                self._call(servers, "ScalePool", request)

    def _agents(self) -> None:
        """Be the agents of all machines: register, poll, and say that everything was done."""
        with closing(self._servers()) as servers:
            while not self._over.wait(0.5):
                for machine in ask(self._site.cloud, "list", {})["machines"]:
                    self._agent(servers, machine["name"])

    def _agent(self, servers: Servers, node: str) -> None:
        self._call(servers, "RegisterNode", {"nodeId": node}, ENDING)
        polled = self._call(servers, "PollCommands", {"nodeId": node}, ENDING) or {}
        for command in polled.get("commands", ()):
            done = {"nodeId": node, "commandId": command["commandId"]}
            self._call(servers, "AckCommand", {**done, "status": SUCCEEDED}, ENDING)


# --- what came of it ---------------------------------------------------------------------------


@dataclass
class Verdict:
    """What was lost, leaked and doubled, and what it is counted against."""

    facts: int = 0
    terms: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Machines that the journal believes in and the cloud does not have."""
    machines: int = 0
    launches: int = 0
    in_doubt: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether all is as it should be."""
        return not (self.lost or self.leaked or self.doubled or self.missing or self.wrong)


def journal(url: str) -> list[Recorded]:
    """All facts of the journal, which must be gapless."""

    async def read() -> list[Recorded]:
        store = PostgresStore(url, stopwatch=stopwatch)
        await store.connect()
        try:
            found: list[Recorded] = []
            while page := await store.read(after=len(found), limit=5_000):
                found += page
            assert [each.seq for each in found] == list(range(1, await store.last_seq() + 1))
            return found
        finally:
            await store.close()

    return asyncio.run(read())


def folded(recorded: Sequence[Recorded]) -> fleets.Fleet:
    """The fleet that facts make."""
    fleet = fleets.Fleet()
    for each in recorded:
        fold.apply(fleet, each.event)  # type: ignore[arg-type]
    return fleet


def wait_calm(site: Site, seconds: float = 120.0) -> None:
    """Wait until the cloud has as many machines as are wanted, and all of them serve."""

    def calm() -> bool:
        leader = site.leader()
        if leader is None or len(ask(site.cloud, "list", {})["machines"]) != NODES[1]:
            return False
        with closing(ConnectClient(leader.url, site.token or None, timeout=5)) as client:
            try:
                shown = client.call("ListInstances", {"pageSize": 1000}).get("instances", [])
            except WireError:
                return False
        states = Counter(each["state"] for each in shown)
        ended = states["INSTANCE_STATE_TERMINATED"] + states["INSTANCE_STATE_FAILED"]
        return states["INSTANCE_STATE_RUNNING"] == NODES[1] == states.total() - ended

    wait_for(calm, "the fleet is what is wanted", seconds)


def verdict(site: Site, got: Acknowledged) -> Verdict:
    """Hold the journal and the cloud against what callers were told."""
    recorded = journal(site.store)
    fleet = folded(recorded)
    kinds: dict[type, list[Any]] = {}
    for each in recorded:
        kinds.setdefault(type(each.event), []).append(each.event)
    registered = {fact.node_id for fact in kinds.get(ev.NodeRegistered, ())}
    issued = {fact.command_id for fact in kinds.get(ev.CommandIssued, ())}
    record = ask(site.cloud, "record", {})
    machines = record["machines"]
    alive = Counter(each["name"] for each in machines if not each["ended"])
    live = {each.id for each in fleet.instances.values() if each.live}
    ever = Counter(each["name"] for each in machines)
    return Verdict(
        facts=len(recorded),
        terms=len(kinds.get(ev.Resumed, ())),
        acknowledged=len(got.at),
        lost=[*sorted(set(got.nodes) - registered), *sorted(set(got.commands) - issued)],
        leaked=sorted(set(alive) - live),
        doubled=sorted(name for name, count in ever.items() if count > 1),
        missing=sorted(live - set(alive)),
        machines=len(machines),
        launches=sum(each["verb"] == "provision" for each in record["asked"]),
        in_doubt=got.in_doubt,
        wrong=got.wrong[:5],
    )


@dataclass
class Others:
    """Whether anybody but the one that was killed has acknowledged a write."""

    callers: Callers
    since: float
    before: str
    seconds: float = 0.0

    def acknowledged(self) -> bool:
        """Look; `seconds` is how long it took."""
        first = self.callers.acknowledged(self.since, but=self.before)
        self.seconds = 0.0 if first is None else first - self.since
        return first is not None


def kill_leaders(
    site: Site, callers: Callers, kills: int, seed: int, tell: Callable[[int, float], None]
) -> list[float]:
    """Kill leader after leader at moments drawn from `seed`; return each takeover in seconds.

    A takeover lasts from the kill to the first write that another has acknowledged.
    """
    dice = Dice(seed).stream("kills")
    took: list[float] = []
    for number in range(kills):
        leader = site.wait_leader()
        threading.Event().wait(2.5 * dice.fraction())
        killed_at = stopwatch()
        leader.kill()
        others = Others(callers, killed_at, leader.url)
        wait_for(others.acknowledged, f"somebody leads after kill {number + 1}", 30.0)
        took.append(others.seconds)
        tell(number + 1, others.seconds)
        leader.start()
    return took
