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
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
from msgspec import structs

from navarch.agent import reboot
from navarch.agent.assignments import BESIDE
from navarch.agent.boot_check import Admission, admission, check_boot, read_admission
from navarch.agent.commands import Commands
from navarch.agent.duties import Duties
from navarch.agent.equipment import Census, make_pretence, make_sensors, make_serving
from navarch.agent.interruption import Interruptions, make_interruptions
from navarch.agent.line import Line
from navarch.agent.record import CommandRecord, Rebooting
from navarch.agent.reports import FILE_NAME, ReportFile
from navarch.agent.sensing import Sensing
from navarch.agent.sensors.base import Sensor
from navarch.agent.settings import (
    MODEL_CACHE_LABEL,
    SENSORS_LABEL,
    STATE_FOLDER_LABEL,
    AgentSettings,
)
from navarch.agent.state import occupied, replace_file
from navarch.agent.turns import (
    BootChecked,
    CheckBoot,
    CommandFinished,
    EventsSensed,
    Execute,
    Input,
    KeepReports,
    Order,
    ReadSensors,
    Remark,
    Send,
    Stop,
    Tick,
)
from navarch.agent.worker import Worker
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.messages import AckCommand, RegisterNode, ReportHealth
from navarch.core.model.node import Metadata
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.errors import ConfigError
from navarch.telemetry.log import Log
from navarch.version import VERSION

Clock = Callable[[], datetime]

log = Log(__name__)

BOOT_NAME = "boot.json"
"""What the newest boot check found: the only place to read it while the node is not registered."""


def run_agent(
    settings: AgentSettings, *, now: Clock, sensors: Sequence[Sensor] | None = None
) -> None:
    """Run an agent until SIGTERM, SIGINT or a TERMINATE command; it returns then.

    `now` is the time, aware and never going backwards. `sensors` None means those that the
    settings name. To be called from the main thread. Raises `ConfigError` before anything is
    sent when a setting or the state folder cannot be used.
    """
    settings.check()
    line = Line(settings)
    with occupied(settings.state_dir):
        census = Census()
        sensors = make_sensors(settings, now, census) if sensors is None else sensors
        sensing = Sensing(sensors, time_max=settings.reading_time_max, now=now, census=census)
        record = CommandRecord(settings.state_dir / "commands.jsonl")
        asyncio.run(Daemon(settings, sensing, line=line, record=record, now=now).run())


class Daemon:
    """Performs one agent's duties."""

    def __init__(
        self,
        settings: AgentSettings,
        sensing: Sensing,
        *,
        line: Line,
        record: CommandRecord,
        now: Clock,
    ) -> None:
        """Take the parts; nothing happens yet."""
        self._settings = settings
        self._sensing = sensing
        self._line = line
        self._record = record
        self._now = now
        self._disk_thread = Worker("agent-record")
        self._inputs: asyncio.Queue[Input] = asyncio.Queue()
        self._spread = zlib.crc32(settings.node_id.encode()) / 2**32
        self._started_at = now()
        self._loop_started_at = 0.0
        self._serving = make_serving(
            settings, now=self._present, tell=self._inputs.put_nowait, spread=self._spread
        )
        self._commands = Commands(
            settings.state_dir,
            self._sensing.self_check,
            note_reboot=self._note_reboot,
            now=now,
            released=self._sensing.released,
            means=settings.means,
            pretence=make_pretence(settings, now),
            serving=self._serving,
        )
        self._interruptions: Interruptions | None = make_interruptions(
            settings.interruptions, settings.metadata, now=now
        )
        self._boot = CheckResult("boot", Health.UNKNOWN, "the boot check has not ended yet")
        self._report_file = ReportFile(settings.state_dir / FILE_NAME)
        self._reports: Sequence[ReportHealth] | None = None
        """To be written down; None when the file has them."""

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
        finally:
            if self._serving is not None:
                await self._serving.close()
        log.info("stopped", node=self._settings.node_id)

    def _signalled(self, work: asyncio.Task[None], number: signal.Signals) -> None:
        log.info("stopping", because=number.name)
        work.cancel()

    def _present(self) -> datetime:
        """Tell the time by which duties are due: an administrator may set the clock, not this.

        A clock set back an hour would otherwise silence the node for an hour.
        """
        passed = asyncio.get_running_loop().time() - self._loop_started_at
        return self._started_at + timedelta(seconds=passed)

    async def _work(self) -> None:
        """Turn after turn: take an input, or the time; perform what follows."""
        duties, awaited = self._begin()
        given: Input = Tick()
        async with asyncio.TaskGroup() as tasks:
            underway: set[asyncio.Task[None]] = set()
            if awaited is not None:
                underway.add(tasks.create_task(self._await_reboot(awaited)))
            if self._interruptions is not None:
                watching = self._interruptions.watch(lambda event: self._sensed_early((event,)))
                underway.add(tasks.create_task(watching))
            if self._serving is not None:
                underway.add(tasks.create_task(self._serving.run()))
            while True:
                for output in duties.step(given, self._present()):
                    if isinstance(output, Stop):
                        log.info("stopping", because=output.because)
                        if self._serving is not None:
                            await self._serving.end()
                        for task in underway:
                            task.cancel()
                        return
                    if coroutine := self._perform(output):
                        task = tasks.create_task(coroutine)
                        underway.add(task)
                        task.add_done_callback(underway.discard)
                given = await self._next_input(duties.next_due())

    def _begin(self) -> tuple[Duties, Rebooting | None]:
        """Take up what an earlier run has left; return a reboot that may still happen too."""
        settings = self._settings
        if self._serving is not None:
            self._serving.begin()
        awaited = self._settle_reboot()
        results = {
            result.id: AckCommand(
                settings.node_id, result.id, result.state, result.message, result.output
            )
            for result in self._record.results
        }
        log.info(
            "started",
            node=settings.node_id,
            server=",".join(settings.servers),
            sensors=self._sensing.name,
            version=VERSION,
            pid=os.getpid(),
        )
        duties = Duties(
            _registration(
                settings, self._sensing.name, self._serving.address if self._serving else ""
            ),
            start=self._present(),
            spread=self._spread,
            results=results,
            running=Order(awaited.id, CommandType.REBOOT) if awaited else None,
            reports=self._earlier_reports(),
            boot_check=True,
        )
        return duties, awaited

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
        self, output: Send | ReadSensors | CheckBoot | KeepReports | Execute | Remark
    ) -> Coroutine[object, object, None] | None:
        match output:
            case Send():
                return self._call(output)
            case ReadSensors():
                return self._read_sensors(output)
            case CheckBoot():
                return self._check_boot()
            case KeepReports():
                return self._keep(output.reports)
            case Execute():
                return self._execute(output.order)
            case Remark():
                level = logging.WARNING if output.grave else logging.INFO
                log.at(level, output.what, **output.facts)
        return None

    async def _call(self, send: Send) -> None:
        self._inputs.put_nowait(await self._line.call(send))

    # --- sensors -----------------------------------------------------------------------------

    async def _read_sensors(self, request: ReadSensors) -> None:
        """Take one reading; where checks are wanted, the boot check is the first of them."""
        reading = await self._sensing.read(checks=request.checks, early=self._sensed_early)
        if request.checks:
            boot = structs.replace(self._boot, at=self._now())
            reading = structs.replace(reading, results=(boot, *reading.results))
        self._inputs.put_nowait(reading)

    def _sensed_early(self, events: tuple[HealthEvent, ...]) -> None:
        self._inputs.put_nowait(EventsSensed(events))

    async def _check_boot(self) -> None:
        """Find out whether the machine came up whole, and let that be read from outside."""
        settings = self._settings
        gpus, faults = await self._sensing.inspect()
        found = await check_boot(
            gpus,
            faults,
            expected_gpus=settings.expected_gpus,
            checks=settings.boot_checks,
            time_max=settings.boot_check_time_max,
        )
        status = Health.HEALTHY if found.passed else Health.UNHEALTHY
        self._boot = CheckResult("boot", status, found.text)
        path = settings.state_dir / BOOT_NAME
        boot_id = reboot.boot_id_or_empty(settings.means.boot_id_path)
        written = admission(found, read_admission(path), boot_id=boot_id, now=self._now())
        try:
            await self._disk_thread.do(partial(_write_down, path, written))
        except OSError as error:
            log.error("boot_file_failed", error=error.strerror)
        may_register = written.admitted or settings.boot_check_register_anyway
        self._inputs.put_nowait(
            BootChecked(found.passed, found.text, gpus, may_register=may_register)
        )

    # --- reports that outlive us -------------------------------------------------------------

    def _earlier_reports(self) -> tuple[ReportHealth, ...]:
        """Read what the control plane has not taken from an earlier run."""
        try:
            reports, damage = self._report_file.read()
        except OSError as error:
            raise ConfigError(
                f"cannot be used: {error.strerror}", file=str(self._settings.state_dir / FILE_NAME)
            ) from error
        if damage:
            log.error("reports_damaged", error=damage)
        ours = tuple(each for each in reports if each.node_id == self._settings.node_id)
        if ours:
            log.info(
                "reports_found", reports=len(ours), events=sum(len(each.events) for each in ours)
            )
        return ours

    async def _keep(self, reports: Sequence[ReportHealth]) -> None:
        """Write the newest reports down; while the disk is slow, only the newest wait for it."""
        writing = self._reports is not None
        self._reports = reports
        while not writing and self._reports is not None:
            newest = self._reports
            try:
                await self._disk_thread.do(partial(self._report_file.write, newest))
            except OSError as error:
                log.error("reports_not_kept", error=error.strerror)
            if self._reports is newest:
                self._reports = None

    # --- commands ----------------------------------------------------------------------------

    async def _execute(self, order: Order) -> None:
        """Carry out a command between the two lines of its record, unless it may be repeated."""
        log.info("command_started", command=order.id, type=order.type)
        if order.type in BESIDE:
            result = await self._commands.carry_out(order)
            _log_end(result)
            self._inputs.put_nowait(result)
            return
        try:
            await self._disk_thread.do(lambda: self._record.started(order))
        except OSError as error:
            text = f"not begun, for that could not be recorded: {error.strerror}"
            result = CommandFinished(order.id, CommandState.FAILED, text)
        else:
            result = await self._commands.carry_out(order)
            await self._record_result(result)
        _log_end(result)
        self._inputs.put_nowait(result)

    async def _record_result(self, result: CommandFinished) -> None:
        """Write the result down; without that it is told now, and lost with the process."""
        try:
            await self._disk_thread.do(lambda: self._record.finished(result))
        except OSError as error:
            log.error("record_failed", command=result.id, error=error.strerror)

    async def _note_reboot(self, asked: Rebooting) -> None:
        await self._disk_thread.do(lambda: self._record.rebooting(asked))

    def _settle_reboot(self) -> Rebooting | None:
        """Say what came of a reboot that an earlier run asked for; return one still to come."""
        asked = self._record.awaited
        if asked is None:
            return None
        result = reboot.settled(asked, self._settings.means.boot_id_path)
        if result is None:
            return asked
        try:
            self._record.finished(result)
        except OSError as error:
            path = str(self._settings.state_dir / "commands.jsonl")
            raise ConfigError(f"cannot be used: {error.strerror}", file=path) from error
        _log_end(result)
        return None

    async def _await_reboot(self, asked: Rebooting) -> None:
        time_max = self._settings.means.reboot_time_max
        await self._finish(await reboot.outlived(asked, time_max=time_max, now=self._now))

    async def _finish(self, result: CommandFinished) -> None:
        await self._record_result(result)
        _log_end(result)
        self._inputs.put_nowait(result)


def _log_end(result: CommandFinished) -> None:
    log.info("command_finished", command=result.id, state=result.state, message=result.message)


def _write_down(path: Path, written: Admission) -> None:
    replace_file(path, msgspec.json.encode(written) + b"\n")


def _registration(settings: AgentSettings, sensors: str, cache: str) -> RegisterNode:
    """Describe the machine; which GPUs it has is found out by the boot check.

    `cache` is where others may fetch models from it; empty: nowhere.
    """
    labels = {
        **settings.labels,
        SENSORS_LABEL: sensors,
        STATE_FOLDER_LABEL: str(settings.state_dir.resolve()),
        **({MODEL_CACHE_LABEL: cache} if cache else {}),
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
        metadata=metadata,
    )
