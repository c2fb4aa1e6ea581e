"""What a node serves: carries out the commands about replicas and models, and tells how they stand.

Commands of one replica, or of one model, are carried out in the order in which they came; all
others beside each other. Each may come again after a restart, and changes nothing then: none is
written into the record of commands, for what they want is written down by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from navarch.agent.deeds import Deed, Unfit
from navarch.agent.serving import processes, wanted
from navarch.agent.serving.keeping import Kept, ReplicaFolder, folder_of, folders
from navarch.agent.serving.processes import Ports
from navarch.agent.serving.supervisor import Around, Supervisor
from navarch.agent.serving.wanted import Wanted
from navarch.agent.serving.weights import Weights
from navarch.agent.turns import Order, ServingSeen
from navarch.agent.worker import Worker
from navarch.core.model.command import CommandType
from navarch.core.model.replica import ModelSeen, NodeServing, ReplicaSeen
from navarch.core.model.resources import Model
from navarch.providers import local_process
from navarch.telemetry.log import Log

log = Log(__name__)

LOOK_EVERY: Final = timedelta(seconds=1)
"""How often the cache of models is asked how far it is."""

LOGS_EVERY: Final = timedelta(seconds=5)
"""How often the programs' logs are looked at, and cut."""

REPLICAS_MAX: Final = 256
"""Replicas of one node: as many as a heartbeat can name."""

END_MAX: Final = timedelta(minutes=1)
"""How long an agent that was told to end waits for its replicas."""

Tell = Callable[[ServingSeen], None]
"""Takes all that is served."""


class ServingHost:
    """The replicas and models of this node."""

    def __init__(
        self,
        root: Path,
        *,
        weights: Weights | None,
        now: Callable[[], datetime],
        tell: Tell,
        boot_id: str,
        spread: float,
    ) -> None:
        """Keep the replicas under `root`. Without `weights` no model can be loaded."""
        self._root = root / "replicas"
        self._weights = weights
        self._tell = tell
        self._around = Around(
            now=now,
            changed=self._changed,
            weights=weights,
            disk=Worker("agent-replicas"),
            reaper=Worker("agent-reaper"),
            ports=Ports(),
            boot_id=boot_id,
            spread=spread,
        )
        self._replicas: dict[str, Supervisor] = {}
        self._order: dict[str, tuple[asyncio.Lock, int]] = {}
        self._loading: dict[str, asyncio.Task[Path]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._told: NodeServing | None = None

    @property
    def address(self) -> str:
        """Where other nodes may fetch models from this one; empty: nowhere."""
        return "" if self._weights is None else self._weights.address

    @property
    def serving(self) -> NodeServing:
        """All that is served here, or is about to be; what was stopped is not named any more."""
        replicas = [each.seen for each in self._replicas.values()]
        models = self._weights.seen() if self._weights is not None else ()
        return NodeServing(tuple(replicas), models)

    # --- life --------------------------------------------------------------------------------

    def begin(self) -> None:
        """Find again what an earlier agent has left. Blocks while it looks at the disk.

        A record that cannot be read is put out of its misery: its processes are ended.
        """
        for folder in folders(self._root):
            try:
                kept = folder.read()
            except (OSError, msgspec.MsgspecError) as error:
                self._discard(folder, error)
            else:
                self._replicas[kept.wanted.replica] = Supervisor(folder, kept, self._around)

    def _discard(self, folder: ReplicaFolder, error: Exception) -> None:
        log.error("replica_record_unusable", folder=str(folder.path), error=str(error))
        for pid in local_process.members(folder.lock, processes.MARK):
            local_process.send(pid, folder.lock, signal.SIGKILL, processes.MARK)
        try:
            folder.remove()
        except OSError as problem:
            log.error("replica_not_removed", folder=str(folder.path), error=problem.strerror)

    async def run(self) -> None:
        """Supervise until cancelled; the programs of replicas go on then."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for supervisor in self._replicas.values():
                tasks.create_task(self._supervise(supervisor))
            tasks.create_task(self._cut_logs())
            while True:
                self._look()
                await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def end(self) -> None:
        """Stop every replica, for the machine is not wanted any more; give up after `END_MAX`."""
        stops = [each.stop() for each in self._replicas.values()]
        try:
            async with asyncio.timeout(END_MAX.total_seconds()):
                await asyncio.gather(*stops)
        except TimeoutError:
            log.error("replicas_left", because=f"not stopped within {END_MAX}")

    async def close(self) -> None:
        """Let go of the weights, and see to it that what was to be written is."""
        await self._around.disk.do(lambda: None)
        if self._weights is not None:
            await self._weights.close()

    async def _supervise(self, supervisor: Supervisor) -> None:
        await supervisor.run()
        replica = supervisor.wanted.replica
        if not supervisor.given_up and self._replicas.get(replica) is supervisor:
            del self._replicas[replica]
            self._look()

    async def _cut_logs(self) -> None:
        while True:
            await asyncio.sleep(LOGS_EVERY.total_seconds())
            for supervisor in tuple(self._replicas.values()):
                with contextlib.suppress(FileNotFoundError):  # it was never started, or is gone
                    await self._around.disk.do(partial(local_process.cut_log, supervisor.log))

    # --- telling -----------------------------------------------------------------------------

    def _changed(self) -> None:
        self._look()

    def _look(self) -> None:
        """Tell what is served if it is not what was told last."""
        serving, told = self.serving, self._told
        if serving == told:
            return
        self._told = serving
        urgent = told is None or _states(serving) != _states(told)
        self._tell(ServingSeen(serving, urgent))

    # --- commands ----------------------------------------------------------------------------

    def deed(self, order: Order) -> Deed:
        """Say what a command is going to do. Raises `Unfit` when it cannot be done as given."""
        match order.type:
            case CommandType.START_REPLICA:
                start = wanted.read_start(order)
                would = f"start replica {start.replica} of {start.agent_pool}"
                return Deed(would, partial(self._start, start))
            case CommandType.STOP_REPLICA:
                replica = wanted.read_stop(order)
                return Deed(f"stop replica {replica}", partial(self._stop, replica))
            case CommandType.LOAD_MODEL:
                model, peers = wanted.read_load(order)
                return Deed(f"load {model.full_name}", partial(self._load, model, peers))
            case _:
                model_name = wanted.read_unload(order)
                return Deed(f"remove {model_name}", partial(self._unload, model_name))

    async def _start(self, start: Wanted) -> str:
        async with self._in_order(f"replica {start.replica}"):
            known = self._replicas.get(start.replica)
            if known is not None and known.wanted == start and known.stays:
                return f"{start.replica} is supervised already"
            if start.model and (self._weights is None or self._weights.path(start.model) is None):
                raise Unfit(f"the weights of {start.model} are not on this node: load them first")
            if known is not None:
                await known.stop()
            elif len(self._replicas) >= REPLICAS_MAX:
                raise Unfit(f"{REPLICAS_MAX} replicas are here already")
            folder = folder_of(self._root, start.replica)
            kept = Kept(start)
            await self._around.disk.do(partial(folder.write, kept))
            supervisor = Supervisor(folder, kept, self._around)
            self._replicas[start.replica] = supervisor
            assert self._tasks is not None, "commands come only while we run"
            self._tasks.create_task(self._supervise(supervisor))
            self._look()
        return f"{start.replica} is supervised"

    async def _stop(self, replica: str) -> str:
        async with self._in_order(f"replica {replica}"):
            known = self._replicas.get(replica)
            if known is None:
                return f"{replica} is not here"
            text = await known.stop()
            if self._replicas.get(replica) is known:
                del self._replicas[replica]
            self._look()
        return f"{replica} is stopped: {text}"

    async def _load(self, model: Model, peers: tuple[str, ...]) -> str:
        weights = self._cache()
        async with self._in_order(f"model {model.full_name}"):
            loading = asyncio.create_task(weights.load(model, peers))
            self._loading[model.full_name] = loading
            try:
                await asyncio.wait((loading,))
            finally:
                loading.cancel()
                del self._loading[model.full_name]
                self._look()
            if loading.cancelled():
                raise Unfit(f"{model.full_name} is to be removed, by a later command")
            path = loading.result()
        return f"{model.full_name} is in {path}"

    async def _unload(self, model: str) -> str:
        weights = self._cache()
        users = [id_ for id_, each in self._replicas.items() if each.wanted.model == model]
        if users:
            raise Unfit(f"{model} is used by {', '.join(sorted(users)[:5])}: stop them first")
        if (loading := self._loading.get(model)) is not None:
            loading.cancel()
        async with self._in_order(f"model {model}"):
            await weights.unload(model)
            self._look()
        return f"{model} is not here"

    def _cache(self) -> Weights:
        if self._weights is None:
            raise Unfit("this agent has no cache of models")
        return self._weights

    @contextlib.asynccontextmanager
    async def _in_order(self, subject: str) -> AsyncIterator[None]:
        """Wait until those that came before, about the same subject, are done."""
        lock, users = self._order.get(subject, (asyncio.Lock(), 0))
        self._order[subject] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._order.pop(subject)
            if users > 1:
                self._order[subject] = (lock, users - 1)


def _states(serving: NodeServing) -> tuple[tuple[ReplicaSeen, ...], list[tuple[object, ...]]]:
    """Tell everything but how many bytes are there."""
    return serving.replicas, [_standing(model) for model in serving.models]


def _standing(model: ModelSeen) -> tuple[object, ...]:
    return (model.model, model.digest, model.complete, model.problem)
