"""Keeps one replica running: does what its `Life` decides, with real processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from pathlib import Path

from msgspec import Struct, structs

from navarch.agent.serving import probing, processes
from navarch.agent.serving.keeping import Kept, ReplicaFolder, Run
from navarch.agent.serving.life import (
    Ended,
    Found,
    Input,
    Life,
    Output,
    Probe,
    Probed,
    Signal,
    Start,
    Started,
    StartFailed,
    StopWanted,
    Stuck,
    Tick,
)
from navarch.agent.serving.processes import Ports, PortTaken, Program
from navarch.agent.serving.wanted import Wanted, arguments, environment
from navarch.agent.serving.weights import Weights
from navarch.agent.worker import Worker
from navarch.core.model.replica import ReplicaSeen, ReplicaState
from navarch.telemetry.log import Log

log = Log(__name__)


class Around(Struct, frozen=True):
    """What the supervisors of a node share."""

    now: Callable[[], datetime]
    """Never goes backwards."""
    changed: Callable[[], None]
    """Called whenever there may be something else to tell."""
    weights: Weights | None
    disk: Worker
    reaper: Worker
    """Ends processes."""
    ports: Ports
    boot_id: str
    spread: float
    """This node's chance, from 0 up to and without 1."""


class _WeightsGone(Exception):
    """The weights that a replica serves are not here."""


class Supervisor:
    """One replica."""

    def __init__(self, folder: ReplicaFolder, kept: Kept, around: Around) -> None:
        """Take over what an earlier agent has left; of a new replica nothing is there."""
        self.wanted: Wanted = kept.wanted
        self.ended = asyncio.Event()
        """Set when nothing of it runs, nor will."""
        self._folder = folder
        self._kept = kept
        self._around = around
        self._inputs: asyncio.Queue[Input] = asyncio.Queue()
        self._underway: set[asyncio.Task[None]] = set()
        self._program: Program | None = None
        run = kept.run or Run(0)
        if kept.run is not None:
            self._program = processes.found_again(run.trace, folder.lock, around.boot_id)
            if self._program is not None:
                around.ports.keep(run.port)
        found = Found(run.restarts, run.port, lives=self._program is not None, ready=run.ready)
        self._life = Life(
            kept.wanted.replica,
            kept.wanted.runtime,
            start=around.now(),
            spread=around.spread,
            found=found,
        )
        self._told = self._life.seen
        if kept.run is not None:
            log.info("replica_found", replica=kept.wanted.replica, lives=found.lives)

    @property
    def seen(self) -> ReplicaSeen:
        """What there is to be told of it."""
        if self._kept.over:
            return ReplicaSeen(
                self.wanted.replica,
                ReplicaState.ENDED,
                restarts=0 if self._kept.run is None else self._kept.run.restarts,
                message=self._kept.over,
            )
        return self._told

    @property
    def log(self) -> Path:
        """Where its program prints to."""
        return self._folder.log

    @property
    def given_up(self) -> bool:
        """Whether it will not be tried again here unless it is wanted anew."""
        return bool(self._kept.over)

    @property
    def stays(self) -> bool:
        """Whether nobody has told it to stop, nor was it given up."""
        return not self._kept.over and not self._kept.stopping

    async def run(self) -> None:
        """Keep it running until it is stopped or given up. Cancelled, its program goes on."""
        if self._kept.over:
            self.ended.set()
            return
        with contextlib.ExitStack() as leases:
            if self.wanted.model and self._around.weights is not None:
                with contextlib.suppress(LookupError):  # gone: what starts it will say so
                    leases.enter_context(self._around.weights.lease(self.wanted.model))
            try:
                async with asyncio.TaskGroup() as tasks:
                    await self._turns(tasks)
                    for task in self._underway:
                        task.cancel()
            finally:
                if self._program is not None:
                    self._program.close()
        await self._conclude()
        self._tell()
        self.ended.set()

    async def stop(self) -> str:
        """Have it stopped, wait until nothing of it is left, and say how it ended."""
        if self._kept.over:
            await self._around.disk.do(self._folder.remove)
            return self._kept.over
        await self._note(stopping=True)
        self._inputs.put_nowait(StopWanted())
        await self.ended.wait()
        return self._life.seen.message

    async def _conclude(self) -> None:
        if not self._life.stopped:
            await self._note(over=self._life.seen.message)
            return
        try:
            await self._around.disk.do(self._folder.remove)
        except OSError as error:
            log.error("replica_not_removed", replica=self.wanted.replica, error=error.strerror)

    # --- turns -------------------------------------------------------------------------------

    async def _turns(self, tasks: asyncio.TaskGroup) -> None:
        """Turn after turn: take an input, or the time; perform what follows."""
        if self._program is not None:
            self._do(self._follow(self._program), tasks)
        elif self._kept.run is not None:
            # Its program has ended, and what that has left must not meet the next one.
            await processes.end_all(self._folder.lock, self._around.reaper, self._stuck)
        if self._kept.stopping:
            self._inputs.put_nowait(StopWanted())
        given: Input = Tick()
        while True:
            was_ready = self._life.ready
            for output in self._life.step(given, self._around.now()):
                self._perform(output, tasks)
            if self._life.ready and not was_ready and self._kept.run is not None:
                self._do(self._note(run=structs.replace(self._kept.run, ready=True)), tasks)
            if self._life.over:
                return  # which is told when it is written down
            self._tell()
            given = await self._next()

    def _tell(self) -> None:
        """Say how it stands if that is not what was said last."""
        seen = self._life.seen
        if seen == self._told:
            return
        self._told = seen
        given_up = self._life.over and not self._life.stopped
        level = logging.WARNING if given_up else logging.INFO
        log.at(level, "replica_changed", replica=seen.id, state=seen.state, because=seen.message)
        self._around.changed()

    async def _next(self) -> Input:
        """Wait for an input, or until time is one."""
        due = self._life.next_due()
        patience = None if due is None else (due - self._around.now()).total_seconds()
        try:
            async with asyncio.timeout(None if patience is None else max(patience, 0)):
                return await self._inputs.get()
        except TimeoutError:
            return Tick()

    def _perform(self, output: Output, tasks: asyncio.TaskGroup) -> None:
        match output:
            case Start():
                self._do(self._start(output), tasks)
            case Probe():
                self._do(self._probe(output), tasks)
            case Signal():
                if self._program is not None:  # else it has ended, and that is on its way
                    (self._program.kill if output.kill else self._program.terminate)()

    def _do(self, work: Coroutine[object, object, None], tasks: asyncio.TaskGroup) -> None:
        task = tasks.create_task(work)
        self._underway.add(task)
        task.add_done_callback(self._underway.discard)

    # --- its program -------------------------------------------------------------------------

    async def _start(self, wanted: Start) -> None:
        """Start the program, and stay with it until it has ended."""
        port = 0
        try:
            model_path = self._model_path()
            port = self._around.ports.take(wanted.port, must=wanted.must)
            run = Run(port, restarts=self._life.starts)
            await self._write(run=run)
            program = processes.start(
                arguments(self.wanted, port, model_path),
                environment(os.environ, self.wanted, port, model_path),
                lock=self._folder.lock,
                log=self._folder.log,
            )
        except (OSError, PortTaken, _WeightsGone) as error:
            self._around.ports.give_back(port)
            self._inputs.put_nowait(StartFailed(f"cannot be started: {_reason(error)}"))
            return
        self._program = program
        self._inputs.put_nowait(Started(port))
        await self._note(run=structs.replace(run, trace=program.trace(self._around.boot_id)))
        await self._follow(program)

    def _model_path(self) -> Path | None:
        """Find the weights. Raises `_WeightsGone`."""
        name, weights = self.wanted.model, self._around.weights
        path = weights.path(name) if name and weights is not None else None
        if name and path is None:
            raise _WeightsGone(f"the weights of {name} are not on this node")
        return path

    async def _follow(self, program: Program) -> None:
        """Wait for the program's end, and for that of all it has left."""
        text = await program.wait()
        await program.cleared(self._around.reaper, self._stuck)
        self._program = None
        if self._kept.run is not None:
            self._around.ports.give_back(self._kept.run.port)
        words = processes.last_words(self._folder.log)
        self._inputs.put_nowait(Ended(f"{text}; it said last: {words}" if words else text))

    async def _probe(self, wanted: Probe) -> None:
        readiness = self.wanted.runtime.readiness
        text = await probing.trouble(wanted.port, readiness.path, readiness.timeout)
        self._inputs.put_nowait(Probed(wanted.run, good=not text, text=text))

    def _stuck(self, text: str) -> None:
        self._inputs.put_nowait(Stuck(text))

    # --- what outlives us --------------------------------------------------------------------

    async def _write(
        self,
        *,
        run: Run | None = None,
        stopping: bool | None = None,
        over: str = "",
    ) -> None:
        """Write down what has changed. Raises `OSError`."""
        kept = self._kept
        self._kept = Kept(
            kept.wanted,
            kept.run if run is None else run,
            kept.stopping if stopping is None else stopping,
            over,
        )
        await self._around.disk.do(partial(self._folder.write, self._kept))

    async def _note(
        self,
        *,
        run: Run | None = None,
        stopping: bool | None = None,
        over: str = "",
    ) -> None:
        """Write down what the replica can go on without."""
        try:
            await self._write(run=run, stopping=stopping, over=over)
        except OSError as error:
            log.error("replica_not_recorded", replica=self.wanted.replica, error=error.strerror)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
