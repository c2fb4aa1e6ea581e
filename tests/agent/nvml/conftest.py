"""The real nvidia-ml-py in this process, driving the stand-in instead of a driver."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.nvml.clock import Clock
from infra.nvml.stand_in import STATE_VARIABLE, NvmlState, build, require_nvml
from infra.real_parts import wait_for
from navarch.agent.sensors.nvml import NvmlSensor


@pytest.fixture(scope="package")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let nvidia-ml-py load the stand-in, until the tests of this folder are over."""
    require_nvml()
    path = build(tmp_path_factory.mktemp("nvml"))
    pynvml: Any = importlib.import_module("pynvml")

    def forget() -> None:
        pynvml.nvmlLib = None
        pynvml._nvmlGetFunctionPointer_cache.clear()  # noqa: SLF001 - it has no other way

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pynvml, "CDLL", lambda _: ctypes.CDLL(str(path)))
        forget()
        yield path
        forget()


@pytest.fixture
def state(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NvmlState:
    """Return what the driver of this test says: eight healthy GPUs, at first."""
    state = NvmlState(tmp_path / "nvml.state")
    monkeypatch.setenv(STATE_VARIABLE, str(state.path))
    return state


@pytest.fixture
def clock() -> Clock:
    """Return the time of this test."""
    return Clock()


def nothing_hangs(sensor: NvmlSensor) -> bool:
    """Whether every call into the driver has returned."""
    return "hung" not in sensor.check()[0].details


@pytest.fixture
def made(state: NvmlState, clock: Clock) -> Iterator[Callable[..., NvmlSensor]]:
    """Return what makes sensors; they are closed, and their calls returned, when the test ends."""
    sensors: list[NvmlSensor] = []

    def make(*, expected_gpus: int | None = 8, seconds: float = 5) -> NvmlSensor:
        sensor = NvmlSensor(
            now=clock, expected_gpus=expected_gpus, call_time_max=timedelta(seconds=seconds)
        )
        sensors.append(sensor)
        return sensor

    yield make
    state.set()
    for sensor in sensors:
        wait_for(partial(nothing_hangs, sensor), "the calls returned")
        sensor.close()


@pytest.fixture
def sensor(made: Callable[..., NvmlSensor]) -> NvmlSensor:
    """Return a sensor of eight GPUs that has not looked yet."""
    return made()
