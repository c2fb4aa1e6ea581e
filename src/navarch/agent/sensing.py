"""Several sensors read as one: each in a thread of its own, with its own deadline.

A driver may hang for ever. Its sensor then costs one thread and nothing more: it is not asked
again before it has answered, the others are read as if it were not there, and what it would have
checked is reported as unknown. That is logged once, and so is its return.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from msgspec import Struct, field

from navarch.agent.equipment import Census
from navarch.agent.outbox import EVENTS_MAX, REPORTS_MAX
from navarch.agent.sensors.base import HoldsGPUs, Sensor, SensorError
from navarch.agent.turns import SensorsRead
from navarch.agent.twins import KERNEL, Twins
from navarch.agent.worker import Worker
from navarch.core.model.gpu import GPU, GPUSample, NodeSample
from navarch.core.model.report import CheckResult, Health, HealthEvent, folded
from navarch.telemetry.log import Log

log = Log(__name__)

EARLY_AFTER: Final = timedelta(seconds=1)
"""How long events of quick sensors wait for slow ones."""

PENDING_MAX: Final = REPORTS_MAX * EVENTS_MAX
"""Different events that one sensor may have waiting: as many as the outbox has room for."""

Result = TypeVar("Result")
Early = Callable[[tuple[HealthEvent, ...]], None]


class _Part(Struct):
    """What one sensor said in one reading; what it could not say is missing."""

    sample: NodeSample | None = None
    results: tuple[CheckResult, ...] = ()
    silent_until: datetime | None = None
    mistakes: list[str] = field(default_factory=list)


class _Station:
    """One sensor, its thread, and what is known of it."""

    def __init__(self, sensor: Sensor, time_max: timedelta) -> None:
        """Start its thread."""
        self.sensor = sensor
        self.trouble = ""
        """Why it cannot be read; empty while it can."""
        self.checks: tuple[str, ...] = ()
        """The names of its checks, once they are known."""
        self.dropped = 0
        """Events that there was no room for, since this was last told."""
        self._released = False
        self._pending: tuple[HealthEvent, ...] = ()
        self._time_max = time_max
        self._worker = Worker(f"agent-{sensor.name}")
        self._turn = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether it has not answered yet."""
        return self._worker.busy

    async def ask(self, job: Callable[[], Result]) -> Result:
        """Let the sensor do something. Raises `SensorError`, also when it takes too long."""
        name = self.sensor.name
        async with self._turn:
            if self._worker.busy:
                raise SensorError(f"{name}: still hangs in an earlier reading")
            if self._released:
                raise SensorError(f"{name}: has let go of the GPUs while one is reset")
            try:
                async with asyncio.timeout(self._time_max.total_seconds()):
                    return await self._worker.do(job)
            except TimeoutError as error:
                text = f"{name}: did not answer within {self._time_max}"
                raise SensorError(text) from error
            except SensorError as error:
                raise SensorError(f"{name}: {error}") from error
            except Exception as error:
                # One sensor's fault must not end the agent that reports it.
                raise SensorError(f"{name}: {type(error).__name__}: {error}") from error

    @contextlib.asynccontextmanager
    async def released(self) -> AsyncIterator[None]:
        """Have it let go of the GPUs, if it holds any; it is not read meanwhile."""
        sensor = self.sensor
        if not isinstance(sensor, HoldsGPUs):
            yield
            return
        try:
            await self.ask(sensor.close)
        except SensorError as error:
            log.warning("gpus_not_released", error=str(error))
        self._released = True
        try:
            yield
        finally:
            self._released = False

    def read(self, *, checks: bool) -> _Part:
        """Read everything, in the sensor's thread; what fails leaves the rest.

        Events are given once, so they are put where a reading that came too late leaves them to
        the next one.
        """
        part = _Part()
        sensor = self.sensor
        part.sample = _attempted(sensor.sample, part)
        if checks:
            part.results = _attempted(sensor.check, part) or ()
        part.silent_until = _attempted(sensor.silent_until, part)
        _attempted(self.collect, part)
        return part

    def collect(self) -> None:
        """Fetch new events, in the sensor's thread. A flood of one fault becomes one event."""
        events = folded((*self._pending, *self.sensor.events()))
        self.dropped += sum(event.count for event in events[PENDING_MAX:])
        self._pending = events[:PENDING_MAX]

    def take(self) -> tuple[HealthEvent, ...]:
        """Return the events that were fetched, and forget them. Not while it is being read."""
        taken, self._pending = self._pending, ()
        return taken

    def unknown(self, because: str, now: datetime) -> tuple[CheckResult, ...]:
        """Tell of each of its checks that nobody knows."""
        names = self.checks or (self.sensor.name,)
        return tuple(CheckResult(name, Health.UNKNOWN, because, at=now) for name in names)


class Sensing:
    """Reads several sensors as one. One reading at a time."""

    def __init__(
        self,
        sensors: Sequence[Sensor],
        *,
        time_max: timedelta,
        now: Callable[[], datetime],
        census: Census,
    ) -> None:
        """Give each sensor its thread, and at most `time_max` for each answer.

        The `census` learns which GPUs are there whenever they are listed.
        """
        self._stations = [_Station(sensor, time_max) for sensor in sensors]
        self._now = now
        self._census = census
        self._twins = Twins()
        self.name = "+".join(sensor.name for sensor in sensors)
        """Which sensors these are."""

    async def inspect(self) -> tuple[tuple[GPU, ...], list[str]]:
        """List the GPUs that are there, and what speaks against the machine.

        That is every sensor that cannot be read, and every check that finds its part unhealthy.
        """
        answers = await asyncio.gather(*(self._inspect_one(each) for each in self._stations))
        gpus: dict[int, GPU] = {}
        for listed, _ in answers:
            gpus = {gpu.index: gpu for gpu in listed} | gpus
        known = tuple(gpus[index] for index in sorted(gpus))
        self._census.gpus = known or self._census.gpus
        return known, [fault for _, faults in answers for fault in faults]

    async def _inspect_one(self, station: _Station) -> tuple[tuple[GPU, ...], list[str]]:
        sensor = station.sensor
        try:
            gpus, results = await station.ask(lambda: (sensor.gpus(), sensor.check()))
        except SensorError as error:
            return (), [str(error)]
        ill = [result for result in results if result.status is Health.UNHEALTHY]
        return gpus, [f"check {result.check_name}: {result.message}" for result in ill]

    @contextlib.asynccontextmanager
    async def released(self) -> AsyncIterator[None]:
        """Have every sensor let go of the GPUs, so that they can be reset."""
        async with contextlib.AsyncExitStack() as stack:
            for station in self._stations:
                await stack.enter_async_context(station.released())
            yield

    async def read(self, *, checks: bool, early: Early) -> SensorsRead:
        """Take one reading of all sensors; what cannot be read is missing, or a check's result.

        Where a sensor is slow, the events of the others go to `early` and do not wait for it.
        """
        readings = [
            asyncio.create_task(self._read_one(station, checks=checks))
            for station in self._stations
        ]
        try:
            await asyncio.wait(readings, timeout=EARLY_AFTER.total_seconds())
            if not all(reading.done() for reading in readings) and (events := self._taken()):
                early(events)
            parts = await asyncio.gather(*readings)
        finally:
            for reading in readings:
                reading.cancel()
        sample = merged_sample([part.sample for part in parts if part.sample is not None])
        results = tuple(result for part in parts for result in part.results)
        silences = [part.silent_until for part in parts if part.silent_until is not None]
        events = await self._events()
        return SensorsRead(sample, results, events, silent_until=max(silences, default=None))

    async def self_check(self) -> str:
        """Read all sensors for an operator, and say in lines what they see.

        Raises `SensorError` when one cannot be read, or a check did not find its part well.
        """
        lines: list[str] = []
        for station in self._stations:
            sensor = station.sensor
            sample, results = await station.ask(partial(_looked, sensor))
            lines.append(f"{len(sample.gpus)} GPUs read by {sensor.name} sensors")
            lines.extend(f"{result.check_name}: {result.message}" for result in results)
            lines.extend(
                f"GPU {gpu.index}: {gpu.temperature_celsius} °C, {gpu.power_watts} W,"
                f" {gpu.utilization_percent:g} % busy"
                for gpu in sample.gpus
            )
            ill = [each for each in results if each.status in (Health.UNKNOWN, Health.UNHEALTHY)]
            if ill:
                name, status = ill[0].check_name, ill[0].status.value
                raise SensorError(f"check {name} is {status}: {ill[0].message}")
        return "\n".join(lines)

    # --- parts of a reading ------------------------------------------------------------------

    async def _read_one(self, station: _Station, *, checks: bool) -> _Part:
        try:
            part = await station.ask(lambda: station.read(checks=checks))
        except SensorError as error:
            part = _Part(mistakes=[str(error)])
        _say_trouble(station, part.mistakes)
        if part.results:
            station.checks = tuple(result.check_name for result in part.results)
        elif checks and part.mistakes:
            part.results = station.unknown(part.mistakes[0], self._now())
        return part

    async def _events(self) -> tuple[HealthEvent, ...]:
        """Collect what happened; where the kernel log is behind, look there once more."""
        batches = self._batches()
        kernel = next((each for each in self._stations if each.sensor.name == KERNEL), None)
        if kernel is not None and not kernel.busy and self._twins.lonely(batches):
            try:
                await kernel.ask(kernel.collect)
            except SensorError as error:
                _say_trouble(kernel, [str(error)])
            if not kernel.busy:
                batches += [(KERNEL, kernel.take())]
        return self._twins.merged(batches, self._now())

    def _taken(self) -> tuple[HealthEvent, ...]:
        return self._twins.merged(self._batches(), self._now())

    def _batches(self) -> list[tuple[str, tuple[HealthEvent, ...]]]:
        idle = [station for station in self._stations if not station.busy]
        for station in idle:
            if station.dropped:
                log.error("events_dropped", sensor=station.sensor.name, count=station.dropped)
                station.dropped = 0
        return [(station.sensor.name, station.take()) for station in idle]


def _looked(sensor: Sensor) -> tuple[NodeSample, tuple[CheckResult, ...]]:
    return sensor.sample(), sensor.check()


def _attempted(job: Callable[[], Result], part: _Part) -> Result | None:
    """Do a part of a reading; what goes wrong is noted, and the other parts go on."""
    try:
        return job()
    except Exception as error:  # noqa: BLE001 - one sensor's fault must not end the agent
        kind = "" if isinstance(error, SensorError) else f"{type(error).__name__}: "
        part.mistakes.append(f"{kind}{error}")
        return None


def _say_trouble(station: _Station, mistakes: Sequence[str]) -> None:
    """Log that a sensor fails, or works again: once each."""
    name = station.sensor.name
    if mistakes and not station.trouble:
        log.error("sensor_failed", sensor=name, error="; ".join(mistakes))
    if station.trouble and not mistakes:
        log.info("sensor_recovered", sensor=name)
    station.trouble = mistakes[0] if mistakes else ""


def merged_sample(samples: Iterable[NodeSample]) -> NodeSample | None:
    """Make one reading of several: each part from the first that has it; None when nobody has any.

    A processor that is not read shows 0, as one that does nothing: the busiest answer counts.
    """
    gpus: dict[int, GPUSample] = {}
    cpu = memory = 0.0
    for sample in samples:
        gpus = {gpu.index: gpu for gpu in sample.gpus} | gpus
        cpu = max(cpu, sample.cpu_percent)
        memory = max(memory, sample.memory_percent)
    merged = NodeSample(cpu, memory, tuple(gpus[index] for index in sorted(gpus)))
    return merged if merged != NodeSample() else None
