"""Drivers that hang, go away or were never there: the sensor stays alive and says so."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from agent.nvml.clock import Clock
from infra.nvml.stand_in import NvmlState
from infra.real_parts import wait_for
from navarch.agent.sensors.nvml import NvmlSensor
from navarch.core.model.report import Health

Make = Callable[..., NvmlSensor]

HANG_SECONDS = 0.3
"""How long the sensors of these tests wait for a driver; long against what the stand-in takes."""


@pytest.fixture
def hasty(made: Make) -> NvmlSensor:
    """Return a sensor of eight GPUs that has looked once and soon gives up waiting."""
    sensor = made(seconds=HANG_SECONDS)
    wait_for(lambda: len(sensor.sample().gpus) == 8, "all GPUs were opened")
    sensor.events()
    return sensor


def reasons(sensor: NvmlSensor) -> list[tuple[int, object]]:
    return [(event.gpu_index, event.metrics.get("reason")) for event in sensor.events()]


def verdict(sensor: NvmlSensor) -> tuple[Health, str]:
    (result,) = sensor.check()
    return result.status, result.message


def lane_count() -> int:
    return sum(thread.name.startswith("nvml ") for thread in threading.enumerate())


def wait_until_nothing_hangs(sensor: NvmlSensor) -> None:
    wait_for(lambda: "hung" not in sensor.check()[0].details, "the calls have returned")


# --- calls that do not return ----------------------------------------------------------------


@pytest.mark.parametrize(
    "function", ["nvmlDeviceGetTemperatureV", "nvmlDeviceGetNvLinkErrorCounter"]
)
def test_a_gpu_whose_call_hangs_does_not_silence_the_others(
    function: str, hasty: NvmlSensor, state: NvmlState
) -> None:
    state.set(f"3 hang.{function} 1")
    assert reasons(hasty) == [(3, "hung")]
    for _ in range(3):
        assert reasons(hasty) == []
        assert [gpu.index for gpu in hasty.sample().gpus] == [0, 1, 2, 4, 5, 6, 7]
        status, text = verdict(hasty)
        assert status is Health.UNHEALTHY
        assert "7 of 8 GPUs answer; GPU 3 (" in text
    state.set(f"3 hang.{function} 1", "5 temp 99")
    assert [event.kind for event in hasty.events()] == ["thermal"]
    state.set()
    wait_until_nothing_hangs(hasty)
    assert verdict(hasty)[0] is Health.HEALTHY
    assert len(hasty.sample().gpus) == 8
    state.set(f"3 hang.{function} 1")
    assert reasons(hasty) == [(3, "hung")]


@pytest.mark.parametrize("function", ["nvmlDeviceGetCount_v2", "nvmlDeviceGetTemperatureV"])
def test_a_driver_that_hangs_in_every_call_is_one_fault_of_the_node(
    function: str, hasty: NvmlSensor, state: NvmlState
) -> None:
    state.set(f"-1 hang.{function} 1")
    assert reasons(hasty) == [(-1, "hung")]
    assert reasons(hasty) == []
    assert hasty.sample().gpus == ()
    assert len(hasty.gpus()) == 8
    status, text = verdict(hasty)
    assert status is Health.UNHEALTHY
    assert text == "the driver does not answer: a call into it hangs"
    state.set()
    wait_until_nothing_hangs(hasty)
    assert verdict(hasty)[0] is Health.HEALTHY


def test_a_driver_that_hangs_when_it_is_entered_is_entered_later(
    made: Make, state: NvmlState
) -> None:
    state.set("-1 hang.nvmlInitWithFlags 1")
    sensor = made(seconds=HANG_SECONDS)
    assert sensor.gpus() == ()
    assert reasons(sensor) == [(-1, "hung")]
    state.set()
    wait_until_nothing_hangs(sensor)
    assert len(sensor.gpus()) == 8


def test_xids_that_wait_while_asking_for_them_hangs_are_told_later(
    hasty: NvmlSensor, state: NvmlState
) -> None:
    state.set("-1 hang.nvmlEventSetWait_v2 1", "2 xid 63")
    assert hasty.events() == ()
    assert len(hasty.sample().gpus) == 8
    assert hasty.check()[0].details["hung"] == "events"
    state.set("2 xid 63")
    wait_until_nothing_hangs(hasty)
    assert [event.kind for event in hasty.events()] == ["xid:63"]


def test_a_driver_that_hangs_again_and_again_costs_no_more_threads(
    hasty: NvmlSensor, state: NvmlState
) -> None:
    threads = lane_count()
    for index in (1, 2):
        state.set(f"{index} hang.nvmlDeviceGetPowerUsage 1")
        for _ in range(5):
            hasty.sample()
            hasty.events()
        assert lane_count() == threads
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("nvml "))


def test_a_driver_is_never_left_while_a_call_hangs_in_it(
    hasty: NvmlSensor, state: NvmlState, clock: Clock
) -> None:
    hang = "3 hang.nvmlDeviceGetPowerUsage 1"
    state.set(hang, "-1 count 7")
    hasty.events()
    clock.wait(minutes=60)
    assert len(hasty.sample().gpus) == 6
    state.set(hang, "-1 reload 1")
    assert len(hasty.sample().gpus) == 7
    hasty.close()  # the stand-in ends the process where it is left under a call
    assert len(hasty.sample().gpus) == 7


# --- drivers that are not there --------------------------------------------------------------


@pytest.mark.parametrize(
    "code, reason, status",
    [
        (9, "driver_not_loaded", Health.UNHEALTHY),
        (18, "version_mismatch", Health.UNHEALTHY),
        (999, "nvml_error_999", Health.UNKNOWN),
    ],
)
def test_a_driver_that_cannot_be_entered_is_told_once_until_it_can(
    code: int, reason: str, status: Health, made: Make, state: NvmlState
) -> None:
    state.set(f"-1 init {code}")
    sensor = made()
    assert sensor.gpus() == ()
    assert reasons(sensor) == [(-1, reason)]
    assert reasons(sensor) == []
    assert verdict(sensor)[0] is status
    assert sensor.sample().gpus == ()
    state.set()
    assert len(sensor.gpus()) == 8
    assert verdict(sensor) == (Health.HEALTHY, "8 GPUs answer")
    state.set("-1 fail 9", "-1 init 9")
    assert reasons(sensor) == [(-1, "driver_not_loaded")]
    state.set("-1 fail 18", "-1 init 18")
    assert reasons(sensor) == [(-1, "version_mismatch")]


def test_an_agent_that_may_not_use_the_driver_says_what_would_help(
    made: Make, state: NvmlState
) -> None:
    state.set("-1 init 4")
    sensor = made()
    status, text = verdict(sensor)
    assert status is Health.UNKNOWN
    assert "may not use the driver" in text
    assert sensor.events() == ()


def test_a_driver_that_was_reloaded_is_used_again_at_once(
    hasty: NvmlSensor, state: NvmlState
) -> None:
    state.set("-1 reload 1")
    assert len(hasty.sample().gpus) == 8
    state.set("-1 reload 2")
    assert hasty.events() == ()
    assert verdict(hasty)[0] is Health.HEALTHY


def test_a_driver_that_answers_nothing_but_reloaded_is_unhealthy(
    hasty: NvmlSensor, state: NvmlState
) -> None:
    state.set("-1 fail 1")
    assert reasons(hasty) == [(-1, "driver_reloading")]
    assert verdict(hasty)[0] is Health.UNHEALTHY


def test_a_gpu_that_was_reset_is_found_when_the_driver_is_entered_again(
    hasty: NvmlSensor, state: NvmlState, clock: Clock
) -> None:
    state.set("3 fail.nvmlDeviceGetHandleByIndex_v2 16", "3 lost 1")
    assert reasons(hasty) == [(3, "gpu_lost")]
    clock.wait(minutes=6)
    assert reasons(hasty) == [(3, "reset_required")]
    state.set()
    assert verdict(hasty)[0] is Health.HEALTHY


def test_closed_sensors_hold_no_thread_and_read_again_when_asked(hasty: NvmlSensor) -> None:
    before = lane_count()
    hasty.close()
    wait_for(lambda: lane_count() < before, "the threads have ended")
    assert len(hasty.sample().gpus) == 8
