"""The agent as a process: performs what the duties ask, in real time, until it is told to stop.

Inputs come one after the other through a queue: answers of calls, readings, ends of commands.
There is at most one of each under way, so the queue is short by construction. Calls and sensors
block in threads that nobody waits for; commands are tasks. A control plane that is away never
ends the process; SIGTERM and SIGINT do, within a second, and without a farewell: the control
plane learns of the end by silence, as it would learn of a crash.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import zlib
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Final, TypeVar

from msgspec import structs

from navarch.agent.commands import Commands
from navarch.agent.duties import Duties
from navarch.agent.line import Line
from navarch.agent.record import CommandRecord
from navarch.agent.sensors.base import Sensor, SensorError
from navarch.agent.sensors.injected import InjectedSensor
from navarch.agent.settings import SENSORS_LABEL, STATE_FOLDER_LABEL, AgentSettings
from navarch.agent.state import occupied
from navarch.agent.turns import (
    CommandFinished,
    Execute,
    Input,
    Order,
    ReadSensors,
    Remark,
    Send,
    SensorsRead,
    Stop,
    Tick,
)
from navarch.agent.worker import Worker
from navarch.core.model.command import CommandState
from navarch.core.model.gpu import GPU
from navarch.core.model.messages import AckCommand, RegisterNode
from navarch.core.model.node import Metadata
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.errors import ConfigError

log = logging.getLogger("navarch.agent")

Clock = Callable[[], datetime]
Result = TypeVar("Result")

FACT_LENGTH_MAX: Final = 500
"""Characters of one fact in the log: some come from elsewhere."""


def run_agent(settings: AgentSettings, *, now: Clock, sensor: Sensor | None = None) -> None:
    """Run an agent until SIGTERM, SIGINT or a TERMINATE command; it returns then.

    `now` is the time, aware and never going backwards. `sensor` None means the one that the
    settings name. To be called from the main thread. Raises `ConfigError` before anything is
    sent when a setting or the state folder cannot be used.
    """
    settings.check()
    line = Line(settings)
    with occupied(settings.state_dir):
        sensor = sensor or _sensor(settings, now)
        record = CommandRecord(settings.state_dir / "commands.jsonl")
        asyncio.run(Daemon(settings, sensor, line=line, record=record, now=now).run())


def _sensor(settings: AgentSettings, now: Clock) -> Sensor:
    if settings.sensors != "injected":
        text = f"{settings.sensors!r} is no kind of sensors, expected 'injected'"
        raise ConfigError(text, key="sensors")
    return InjectedSensor(
        settings.state_dir,
        node_id=settings.node_id,
        now=now,
        gpu_count=settings.gpu_count,
        gpu_type=settings.gpu_type,
    )


class Daemon:
    """Performs one agent's duties."""

    def __init__(
        self,
        settings: AgentSettings,
        sensor: Sensor,
        *,
        line: Line,
        record: CommandRecord,
        now: Clock,
    ) -> None:
        """Take the parts; nothing happens yet."""
        self._settings = settings
        self._sensor = sensor
        self._line = line
        self._record = record
        self._now = now
        self._sensor_thread = Worker("agent-sensors")
        self._disk_thread = Worker("agent-record")
        self._commands = Commands(
            settings.state_dir,
            self._self_check,
            diagnostic=settings.diagnostic,
            time_max=settings.diagnostic_time_max,
        )
        self._inputs: asyncio.Queue[Input] = asyncio.Queue()
        self._started_at = now()
        self._loop_started_at = 0.0
        self._sensor_turn = asyncio.Lock()
        self._events: deque[HealthEvent] = deque()

    async def run(self) -> None:
        """Work until a signal or a `Stop`. What is under way then is given up."""
        loop = asyncio.get_running_loop()
        self._started_at, self._loop_started_at = self._now(), loop.time()
        work = asyncio.create_task(self._work())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, work, number)
        try:
            await work
        except asyncio.CancelledError:
            if not work.cancelled():
                raise
        _say("stopped", node=self._settings.node_id)

    def _signalled(self, work: asyncio.Task[None], number: signal.Signals) -> None:
        _say("stopping", because=number.name)
        work.cancel()

    def _present(self) -> datetime:
        """Tell the time by which duties are due: an administrator may set the clock, not this.

        A clock set back an hour would otherwise silence the node for an hour.
        """
        passed = asyncio.get_running_loop().time() - self._loop_started_at
        return self._started_at + timedelta(seconds=passed)

    async def _work(self) -> None:
        """Turn after turn: take an input, or the time; perform what follows."""
        duties = await self._begin()
        given: Input = Tick()
        async with asyncio.TaskGroup() as tasks:
            underway: set[asyncio.Task[None]] = set()
            while True:
                for output in duties.step(given, self._present()):
                    if isinstance(output, Stop):
                        _say("stopping", because=output.because)
                        for task in underway:
                            task.cancel()
                        return
                    if coroutine := self._perform(output):
                        task = tasks.create_task(coroutine)
                        underway.add(task)
                        task.add_done_callback(underway.discard)
                given = await self._next_input(duties.next_due())

    async def _begin(self) -> Duties:
        settings = self._settings
        gpus = await self._gpus()
        results = {
            result.id: AckCommand(
                settings.node_id, result.id, result.state, result.message, result.output
            )
            for result in self._record.results
        }
        _say(
            "started",
            node=settings.node_id,
            server=",".join(settings.servers),
            sensors=self._sensor.name,
            gpus=len(gpus),
            pid=os.getpid(),
        )
        return Duties(
            _registration(settings, self._sensor, gpus),
            start=self._present(),
            spread=zlib.crc32(settings.node_id.encode()) / 2**32,
            results=results,
        )

    async def _next_input(self, due: datetime) -> Input:
        """Wait for an input, but not beyond the moment when time itself is one."""
        patience = (due - self._present()).total_seconds()
        if patience <= 0 and self._inputs.empty():
            return Tick()
        try:
            async with asyncio.timeout(max(patience, 0)):
                return await self._inputs.get()
        except TimeoutError:
            return Tick()

    def _perform(
        self, output: Send | ReadSensors | Execute | Remark
    ) -> Coroutine[object, object, None] | None:
        match output:
            case Send():
                return self._call(output)
            case ReadSensors():
                return self._read_sensors(output)
            case Execute():
                return self._execute(output.order)
            case Remark():
                level = logging.WARNING if output.grave else logging.INFO
                _say(output.what, level, **output.facts)
        return None

    async def _call(self, send: Send) -> None:
        self._inputs.put_nowait(await self._line.call(send))

    # --- sensors -----------------------------------------------------------------------------

    async def _sense(self, job: Callable[[], Result]) -> Result:
        """Let the sensors do something. Raises `SensorError`, also when it takes too long."""
        time_max = self._settings.reading_time_max
        async with self._sensor_turn:
            if self._sensor_thread.busy:
                raise SensorError("the sensors still hang in an earlier reading")
            try:
                async with asyncio.timeout(time_max.total_seconds()):
                    return await self._sensor_thread.do(job)
            except TimeoutError as error:
                raise SensorError(f"the sensors did not answer within {time_max}") from error

    async def _gpus(self) -> tuple[GPU, ...]:
        """Ask which GPUs there are; when that fails there is none to be seen."""
        try:
            return await self._sense(self._sensor.gpus)
        except SensorError as error:
            _say("gpus_unknown", logging.ERROR, because=error)
            return ()

    async def _read_sensors(self, request: ReadSensors) -> None:
        """Take one reading; where checks are wanted, one that fails is the result of a check."""
        try:
            reading = await self._sense(lambda: self._read(checks=request.checks))
        except SensorError as error:
            _say("sensors_failed", logging.ERROR, sensors=self._sensor.name, because=error)
            result = CheckResult("nvml", Health.UNKNOWN, str(error), at=self._now())
            reading = SensorsRead(None, (result,) if request.checks else ())
        found = tuple(self._events.popleft() for _ in range(len(self._events)))
        self._inputs.put_nowait(structs.replace(reading, events=found))

    def _read(self, *, checks: bool) -> SensorsRead:
        """Read everything but the events, in the sensors' thread.

        Events are given once, so they are put where a reading that came too late leaves them to
        the next one.
        """
        sample = self._sensor.sample()
        results = self._sensor.check() if checks else ()
        silent_until = self._sensor.silent_until()
        self._events.extend(self._sensor.events())
        return SensorsRead(sample, results, silent_until=silent_until)

    async def _self_check(self) -> str:
        """Read the sensors for an operator. Raises `SensorError`."""
        sample, results = await self._sense(lambda: (self._sensor.sample(), self._sensor.check()))
        lines = [f"{len(sample.gpus)} GPUs read by {self._sensor.name} sensors"]
        lines.extend(f"{result.check_name}: {result.message}" for result in results)
        lines.extend(
            f"GPU {gpu.index}: {gpu.temperature_celsius} °C, {gpu.power_watts} W,"
            f" {gpu.utilization_percent:g} % busy"
            for gpu in sample.gpus
        )
        return "\n".join(lines)

    # --- commands ----------------------------------------------------------------------------

    async def _execute(self, order: Order) -> None:
        """Carry out a command between the two lines of its record."""
        _say("command_started", command=order.id, type=order.type)
        try:
            await self._disk_thread.do(lambda: self._record.started(order))
        except OSError as error:
            text = f"not begun, for that could not be recorded: {error.strerror}"
            result = CommandFinished(order.id, CommandState.FAILED, text)
        else:
            result = await self._commands.carry_out(order)
            await self._record_result(result)
        _say("command_finished", command=order.id, state=result.state, message=result.message)
        self._inputs.put_nowait(result)

    async def _record_result(self, result: CommandFinished) -> None:
        """Write the result down; without that it is told now, and lost with the process."""
        try:
            await self._disk_thread.do(lambda: self._record.finished(result))
        except OSError as error:
            _say("record_failed", logging.ERROR, command=result.id, because=error.strerror)


def _registration(settings: AgentSettings, sensor: Sensor, gpus: tuple[GPU, ...]) -> RegisterNode:
    labels = {
        **settings.labels,
        SENSORS_LABEL: sensor.name,
        STATE_FOLDER_LABEL: str(settings.state_dir.resolve()),
    }
    metadata = Metadata(
        hostname=socket.gethostname(),
        internal_ip=settings.internal_ip,
        external_ip=settings.external_ip,
        kernel_version=os.uname().release,
        labels=labels,
    )
    return RegisterNode(
        settings.node_id,
        provider=settings.provider,
        region=settings.region,
        zone=settings.zone,
        instance_type=settings.instance_type,
        gpus=gpus,
        metadata=metadata,
    )


def _say(what: str, level: int = logging.INFO, **facts: object) -> None:
    """Log one line: what happened, then facts as key=value, quoted where they hold spaces."""
    words = [f"{key}={_quoted(str(value))}" for key, value in facts.items()]
    log.log(level, "%s", " ".join([what, *words]))


def _quoted(text: str) -> str:
    text = text[:FACT_LENGTH_MAX]
    plain = text.isprintable() and text and not set(text) & set(' "=')
    return text if plain else repr(text)
