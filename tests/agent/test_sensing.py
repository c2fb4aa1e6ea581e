"""Several sensors read as one: whatever one of them does, the others are read."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from navarch.agent.equipment import Census
from navarch.agent.outbox import EVENTS_MAX, REPORTS_MAX, Outbox
from navarch.agent.sensing import Sensing, merged_sample
from navarch.agent.sensors.base import SensorError
from navarch.agent.turns import SensorsRead
from navarch.core.model.gpu import GPU, GPUSample, NodeSample
from navarch.core.model.report import CheckResult, Health, HealthEvent

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
QUICK = timedelta(seconds=0.1)


class Stand:
    """A sensor that does as it is told."""

    injected = False

    def __init__(self, name: str, *, gpus: int = 0, sample: NodeSample | None = None) -> None:
        self.name = name
        self.gpu_count = gpus
        self.reading = sample or NodeSample(gpus=tuple(GPUSample(n, 40) for n in range(gpus)))
        self.status = Health.HEALTHY
        self.waiting: list[HealthEvent] = []
        self.mistake: Exception | None = None
        self.hangs = threading.Event()
        self.freed = threading.Event()
        self.asked = 0

    def gpus(self) -> tuple[GPU, ...]:
        self._suffer()
        return tuple(GPU(n, f"GPU-{n}", driver_version="550") for n in range(self.gpu_count))

    def sample(self) -> NodeSample:
        self.asked += 1
        self._suffer()
        return self.reading

    def check(self) -> tuple[CheckResult, ...]:
        self._suffer()
        return (CheckResult(f"{self.name}-check", self.status, "looked", at=NOW),)

    def events(self) -> tuple[HealthEvent, ...]:
        events, self.waiting = tuple(self.waiting), []
        return events

    def silent_until(self) -> datetime | None:
        return None

    def _suffer(self) -> None:
        if self.mistake is not None:
            raise self.mistake
        if self.hangs.is_set():
            self.freed.wait(30)


class Holding(Stand):
    """A sensor that keeps GPUs open."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def nvml() -> Iterator[Stand]:
    """Yield a sensor with two GPUs, and let its thread go in the end."""
    sensor = Stand("nvml", gpus=2)
    yield sensor
    sensor.freed.set()


def sensing(*sensors: Stand, time_max: timedelta = QUICK) -> Sensing:
    return Sensing(sensors, time_max=time_max, now=lambda: NOW, census=Census())


def read(sensed: Sensing, *, checks: bool = True) -> SensorsRead:
    async def reading() -> SensorsRead:
        return await sensed.read(checks=checks, early=_nobody)

    return asyncio.run(reading())


def _nobody(events: tuple[HealthEvent, ...]) -> None:
    pytest.fail(f"{events} came early")


def xid(code: int, **more: int) -> HealthEvent:
    return HealthEvent("xid", 0, metrics={"xid_code": code, **more}, timestamp=NOW)


def test_each_part_of_a_reading_comes_from_whoever_has_it(nvml: Stand) -> None:
    system = Stand("system", sample=NodeSample(20.0, 30.0))
    kernel = Stand("kernel_log")
    nvml.waiting, kernel.waiting = [xid(48)], [xid(79)]
    reading = read(sensing(nvml, kernel, system))
    assert reading.sample == NodeSample(20.0, 30.0, nvml.reading.gpus)
    names = [result.check_name for result in reading.results]
    assert names == ["nvml-check", "kernel_log-check", "system-check"]
    assert reading.events == (xid(48), xid(79))


def test_without_checks_there_are_none(nvml: Stand) -> None:
    assert read(sensing(nvml), checks=False).results == ()


def test_nothing_read_is_no_sample() -> None:
    assert merged_sample([NodeSample(), NodeSample()]) is None
    assert merged_sample([]) is None


def test_a_hung_driver_costs_its_own_part_only(
    nvml: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = Stand("kernel_log")
    sensed = sensing(nvml, kernel)
    before = [result.check_name for result in read(sensed).results]
    nvml.hangs.set()
    caplog.clear()
    for code in range(60, 70):
        kernel.waiting = [xid(code)]
        reading = read(sensed)
        assert reading.events == (xid(code),)
        assert [result.check_name for result in reading.results] == before
        assert [result.status for result in reading.results] == [Health.UNKNOWN, Health.HEALTHY]
    assert nvml.asked == 2
    assert [record.getMessage() for record in caplog.records] == [
        'sensor_failed sensor=nvml error="nvml: did not answer within 0:00:00.100000"'
    ]
    assert read(sensed).results[0].message == "nvml: still hangs in an earlier reading"


def test_a_driver_that_comes_back_is_read_again_and_its_events_are_not_lost(
    nvml: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> tuple[HealthEvent, ...]:
        sensed = sensing(nvml)
        nvml.hangs.set()
        nvml.waiting = [xid(79)]
        assert (await sensed.read(checks=True, early=_nobody)).events == ()
        nvml.hangs.clear()
        nvml.freed.set()
        events: tuple[HealthEvent, ...] = ()
        for _ in range(500):
            events += (await sensed.read(checks=False, early=_nobody)).events
            if events:
                break
            await asyncio.sleep(0.01)
        await sensed.read(checks=False, early=_nobody)
        return events

    with caplog.at_level(logging.INFO, "navarch.agent"):
        assert asyncio.run(story()) == (xid(79),)
    assert caplog.records[-1].getMessage() == "sensor_recovered sensor=nvml"


def test_a_hung_driver_for_a_long_time_grows_nothing(nvml: Stand) -> None:
    sensed = sensing(nvml, time_max=timedelta(seconds=0.01))
    nvml.hangs.set()

    async def readings(count: int) -> None:
        for _ in range(count):
            await sensed.read(checks=True, early=_nobody)

    asyncio.run(readings(50))
    threads = set(threading.enumerate())
    tracemalloc.start()
    asyncio.run(readings(50))
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    asyncio.run(readings(1000))
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    # Threads of other tests may end meanwhile; what matters is that none is new.
    assert set(threading.enumerate()) <= threads
    assert grown < 100_000


def test_events_of_quick_sensors_do_not_wait_for_a_slow_one(nvml: Stand) -> None:
    kernel = Stand("kernel_log")
    kernel.waiting = [xid(79)]
    nvml.hangs.set()

    async def reading() -> tuple[tuple[HealthEvent, ...], SensorsRead]:
        sensed = sensing(nvml, kernel, time_max=timedelta(seconds=30))
        early: asyncio.Future[tuple[HealthEvent, ...]] = asyncio.get_running_loop().create_future()
        whole = asyncio.create_task(sensed.read(checks=True, early=early.set_result))
        events = await early
        assert not whole.done()
        nvml.hangs.clear()
        nvml.freed.set()
        return events, await whole

    early, whole = asyncio.run(reading())
    assert early == (xid(79),)
    assert (whole.events, len(whole.results)) == ((), 2)


@pytest.mark.parametrize(
    "mistake, text",
    [
        (SensorError("the driver is not loaded"), "the driver is not loaded"),
        (KeyError("gpu"), "KeyError: 'gpu'"),
    ],
)
def test_a_sensor_that_fails_is_said_once_and_again_when_it_works(
    nvml: Stand, caplog: pytest.LogCaptureFixture, mistake: Exception, text: str
) -> None:
    sensed = sensing(nvml, Stand("system", sample=NodeSample(20.0, 30.0)))
    nvml.mistake = mistake
    nvml.waiting = [xid(79)]
    with caplog.at_level(logging.INFO, "navarch.agent"):
        reading = read(sensed)
        read(sensed)
        nvml.mistake = None
        read(sensed)
    assert reading.sample == NodeSample(20.0, 30.0)
    assert reading.results[0] == CheckResult("nvml", Health.UNKNOWN, text, at=NOW)
    assert reading.events == (xid(79),)
    whats = [record.getMessage().split()[0] for record in caplog.records]
    assert whats == ["sensor_failed", "sensor_recovered"]


def test_an_xid_without_its_line_makes_the_kernel_log_be_read_once_more(nvml: Stand) -> None:
    kernel = Stand("kernel_log")
    nvml.waiting = [xid(79)]
    answers: list[tuple[HealthEvent, ...]] = [(), (xid(79, pid=7),)]
    kernel.events = lambda: answers.pop(0)  # type: ignore[method-assign]
    assert read(sensing(nvml, kernel)).events == (xid(79, pid=7),)


def test_a_flood_is_folded_and_bounded(nvml: Stand) -> None:
    nvml.waiting = [
        HealthEvent("ecc_sbe", n % 8, metrics={"ecc_sbe_count": 1}, timestamp=NOW)
        for n in range(100_000)
    ]
    sensed = sensing(nvml, time_max=timedelta(seconds=30))
    reading = read(sensed)
    assert [event.count for event in reading.events] == [12_500] * 8
    box = Outbox("n1")
    box.add(reading.results, reading.events)
    assert len(box) == 1


def test_a_flood_of_all_different_events_is_cut_and_said(
    nvml: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    nvml.waiting = [xid(n) for n in range(100_000)]
    reading = read(sensing(nvml, time_max=timedelta(seconds=30)))
    assert len(reading.events) == REPORTS_MAX * EVENTS_MAX
    dropped = 100_000 - REPORTS_MAX * EVENTS_MAX
    assert caplog.records[-1].getMessage() == f"events_dropped sensor=nvml count={dropped}"
    box = Outbox("n1")
    box.add((), reading.events)
    assert len(box) == REPORTS_MAX


def test_gpus_are_those_of_whoever_sees_any_and_are_remembered(nvml: Stand) -> None:
    census = Census()
    sensed = Sensing((Stand("kernel_log"), nvml), time_max=QUICK, now=lambda: NOW, census=census)
    gpus, faults = asyncio.run(sensed.inspect())
    assert ([gpu.uuid for gpu in gpus], faults) == (["GPU-0", "GPU-1"], [])
    nvml.mistake = SensorError("gone")
    assert asyncio.run(sensed.inspect()) == ((), ["nvml: gone"])
    assert census.known() == gpus


def test_an_unhealthy_check_speaks_against_the_machine(nvml: Stand) -> None:
    nvml.status = Health.UNHEALTHY
    assert asyncio.run(sensing(nvml).inspect())[1] == ["check nvml-check: looked"]


def _ill(sensor: Stand) -> None:
    sensor.status = Health.UNHEALTHY


def _broken(sensor: Stand) -> None:
    sensor.mistake = SensorError("gone")


@pytest.mark.parametrize("hurt", [_ill, _broken])
def test_a_self_check_fails_when_a_sensor_does(nvml: Stand, hurt: Callable[[Stand], None]) -> None:
    sensed = sensing(nvml, Stand("system"))
    assert asyncio.run(sensed.self_check()).startswith("2 GPUs read by nvml sensors\n")
    hurt(nvml)
    with pytest.raises(SensorError):
        asyncio.run(sensed.self_check())


def test_gpus_are_let_go_of_for_a_reset_and_not_touched_meanwhile() -> None:
    holding, kernel = Holding("nvml", gpus=1), Stand("kernel_log")
    sensed = sensing(holding, kernel)

    async def reset() -> list[Health]:
        async with sensed.released():
            reading = await sensed.read(checks=True, early=_nobody)
        assert (await sensed.read(checks=True, early=_nobody)).sample == holding.reading
        return [result.status for result in reading.results]

    assert asyncio.run(reset()) == [Health.UNKNOWN, Health.HEALTHY]
    assert (holding.closed, holding.asked) == (1, 1)
