"""Drivers that say anything at all: nothing is raised, invented or told twice."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.nvml.clock import START
from infra.nvml.stand_in import NvmlState
from navarch.agent.sensors.base import EVENT_TYPES, WATCH_SYSTEMS
from navarch.agent.sensors.nvml import NvmlSensor

KEYS = (
    *("init", "count", "reload", "fail", "lost", "temp", "slowdown", "power_mw", "util", "used"),
    *("total", "ecc_sbe", "ecc_dbe", "remap_cor", "remap_unc", "remap_pending", "remap_failed"),
    *("retired_pending", "reasons", "pcie_replays", "links", "link.0.0", "link.5.4", "xid"),
    *("uuid", "name", "shutdown"),
)
FUNCTIONS = (
    *("nvmlInitWithFlags", "nvmlSystemGetDriverVersion", "nvmlSystemGetCudaDriverVersion_v2"),
    *("nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID"),
    *("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"),
    *("nvmlDeviceGetRemappedRows", "nvmlDeviceGetNvLinkState", "nvmlDeviceGetNvLinkErrorCounter"),
    *("nvmlEventSetCreate", "nvmlDeviceRegisterEvents", "nvmlEventSetWait_v2"),
)
CODES = st.sampled_from([*range(31), 999, -1, 2**31])
NUMBERS = st.sampled_from([0, 1, 2, 3, 44, 90, 999, 65535, 2**31, 2**32 - 1, 2**63, 2**64 - 1, -1])
GPUS = st.integers(-1, 9)
TEXTS = st.sampled_from(["GPU-a", "GPU-b", "\udcff\udcfe", "\x1b[31m"])

valued = st.tuples(GPUS, st.sampled_from(KEYS), NUMBERS | TEXTS)
failing = st.tuples(GPUS, st.sampled_from([f"fail.{name}" for name in FUNCTIONS]), CODES)
lines = st.lists(st.builds(lambda line: " ".join(map(str, line)), valued | failing), max_size=12)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(lines, min_size=1, max_size=3))
def test_whatever_the_driver_says_the_sensor_stays_alive_and_honest(
    state: NvmlState, said: list[list[str]]
) -> None:
    state.set()
    sensor = NvmlSensor(now=lambda: START, call_time_max=timedelta(seconds=20))
    for content in said:
        state.set(*content)
        gpus = sensor.gpus()
        assert len({gpu.index for gpu in gpus}) == len(gpus)
        assert len(gpus) <= 64
        for gpu in sensor.sample().gpus:
            assert gpu.index in range(64)
            assert 0 <= gpu.temperature_celsius <= 150
            assert 0 <= gpu.power_watts <= 2000
            assert 0 <= gpu.utilization_percent <= 100
            assert 0 <= gpu.memory_used <= 2**46
        for event in (*sensor.events(), *sensor.events()):
            assert event.event_type in EVENT_TYPES
            assert event.system in WATCH_SYSTEMS
            assert event.message.isprintable()
            for value in event.metrics.values():
                assert isinstance(value, str) or math.isfinite(value)
        assert sensor.events() == ()
        (result,) = sensor.check()
        assert result.check_name == "nvml"
        assert result.message.isprintable()
        assert result.message
    sensor.close()


@pytest.mark.parametrize("count", [0, 1, 64])
def test_as_many_gpus_are_described_as_the_driver_counts(count: int, state: NvmlState) -> None:
    state.set(f"-1 count {count}")
    sensor = NvmlSensor(now=lambda: START, call_time_max=timedelta(seconds=20))
    assert [gpu.index for gpu in sensor.gpus()] == list(range(count))
    assert len(sensor.sample().gpus) == count
    sensor.close()
