"""The sensor of real GPUs against a driver that says what a test wants."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from agent.nvml.clock import START, Clock
from infra.nvml.stand_in import NvmlState
from navarch.agent.sensors.nvml import NvmlSensor
from navarch.core.model.gpu import GPU, GPUSample
from navarch.core.model.report import Health, HealthEvent
from navarch.errors import ConfigError

Make = Callable[..., NvmlSensor]


def told(sensor: NvmlSensor) -> list[tuple[str, int, dict[str, str | int | float]]]:
    return [(one.event_type, one.gpu_index, one.metrics) for one in sensor.events()]


def verdict(sensor: NvmlSensor) -> tuple[Health, str]:
    (result,) = sensor.check()
    return result.status, result.message


# --- what is there ---------------------------------------------------------------------------


def test_healthy_gpus_are_described_read_and_called_healthy(sensor: NvmlSensor) -> None:
    assert sensor.gpus()[3] == GPU(
        index=3,
        uuid="GPU-00000000-0000-0000-0000-000000000003",
        name="NVIDIA H100 80GB HBM3",
        pci_bus_id="0000:3E:00.0",
        memory_total=85_520_809_984,
        driver_version="550.54.15",
        cuda_version="12.4",
    )
    assert sensor.sample().gpus == tuple(GPUSample(n, 45, 300, 90.0, 1000) for n in range(8))
    assert verdict(sensor) == (Health.HEALTHY, "8 GPUs answer")
    assert sensor.events() == ()
    assert sensor.silent_until() is None


def test_a_reading_of_eight_gpus_costs_less_than_20_ms_of_cpu_time(sensor: NvmlSensor) -> None:
    sensor.events()
    before = time.process_time()
    for _ in range(5):
        sensor.sample()
        sensor.check()
        sensor.events()
    assert (time.process_time() - before) / 5 < 0.06  # 8 ms was measured for all three


@pytest.mark.parametrize("count", [-1, 65])
def test_an_impossible_number_of_expected_gpus_is_refused(count: int, clock: Clock) -> None:
    with pytest.raises(ConfigError, match="expected_gpus"):
        NvmlSensor(now=clock, expected_gpus=count)


def test_a_deadline_of_nothing_is_refused(clock: Clock) -> None:
    with pytest.raises(ConfigError, match="call_time_max"):
        NvmlSensor(now=clock, call_time_max=timedelta(0))


def test_without_the_package_there_are_no_gpus_and_the_check_says_why(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    sensor = NvmlSensor(now=clock, expected_gpus=8)
    assert sensor.gpus() == ()
    assert sensor.sample().gpus == ()
    assert sensor.events() == ()
    status, text = verdict(sensor)
    assert status is Health.UNKNOWN
    assert "nvidia-ml-py is not installed" in text
    sensor.close()


# --- GPUs that go away -----------------------------------------------------------------------


def test_a_lost_gpu_is_told_once_and_again_when_it_is_lost_again(
    sensor: NvmlSensor, state: NvmlState
) -> None:
    lost = [("driver_error", 3, {"reason": "gpu_lost", "expected": 8, "seen": 7})]
    sensor.events()
    for _ in range(2):
        state.set("3 lost 1")
        assert told(sensor) == lost
        assert told(sensor) == []
        assert [gpu.index for gpu in sensor.sample().gpus] == [0, 1, 2, 4, 5, 6, 7]
        assert sensor.gpus()[3].uuid.endswith("3")
        status, text = verdict(sensor)
        assert status is Health.UNHEALTHY
        assert "7 of 8 GPUs answer; GPU 3 (GPU-00000000-0000-0000-0000-000000000003" in text
        state.set()
        assert told(sensor) == []
        assert verdict(sensor)[0] is Health.HEALTHY


def test_a_gpu_that_was_lost_before_the_agent_came_is_told_and_not_described(
    sensor: NvmlSensor, state: NvmlState
) -> None:
    state.set("3 lost 1")
    assert [gpu.index for gpu in sensor.gpus()] == [0, 1, 2, 4, 5, 6, 7]
    assert [(kind, index) for kind, index, _ in told(sensor)] == [("driver_error", 3)]


def test_missing_gpus_are_told_once_and_again_when_more_go(
    sensor: NvmlSensor, state: NvmlState
) -> None:
    sensor.events()
    for count in (7, 5):
        state.set(f"-1 count {count}")
        assert told(sensor) == [
            ("driver_error", -1, {"reason": "gpu_missing", "expected": 8, "seen": count})
        ]
        assert told(sensor) == []
        status, text = verdict(sensor)
        assert status is Health.UNHEALTHY
        assert "GPU 7 (GPU-00000000-0000-0000-0000-000000000007) is missing" in text
    state.set("-1 count 6")
    assert told(sensor) == []
    state.set()
    assert told(sensor) == []
    assert verdict(sensor)[0] is Health.HEALTHY


def test_without_a_number_to_expect_it_is_what_was_there_once(made: Make, state: NvmlState) -> None:
    sensor = made(expected_gpus=None)
    state.set("-1 count 0")
    assert verdict(sensor)[0] is Health.UNKNOWN
    state.set("-1 count 4")
    assert verdict(sensor) == (Health.HEALTHY, "4 GPUs answer")
    state.set("-1 count 3")
    assert [metrics["expected"] for _, _, metrics in told(sensor)] == [4]


def test_gpus_keep_their_index_when_the_driver_counts_the_rest_anew(
    sensor: NvmlSensor, state: NvmlState, clock: Clock
) -> None:
    uuids = [gpu.uuid for gpu in sensor.gpus()]
    state.set("3 lost 1")
    sensor.events()
    clock.wait(minutes=6)
    del uuids[3]
    state.set("-1 count 7", *(f"{at} uuid {uuid}" for at, uuid in enumerate(uuids)))
    sensor.events()
    assert [gpu.index for gpu in sensor.gpus()] == [0, 1, 2, 4, 5, 6, 7]
    assert [gpu.uuid for gpu in sensor.gpus()] == uuids
    assert [gpu.index for gpu in sensor.sample().gpus] == [0, 1, 2, 4, 5, 6, 7]


def test_a_gpu_that_was_replaced_does_not_inherit_faults(
    sensor: NvmlSensor, state: NvmlState
) -> None:
    hot = "2 temp 99"
    state.set(hot)
    assert [kind for kind, _, _ in told(sensor)] == ["thermal"]
    state.set(hot, "-1 reload 1", "2 uuid GPU-new")
    assert [(one.event_type, one.gpu_uuid) for one in sensor.events()] == [("thermal", "GPU-new")]


# --- memory ----------------------------------------------------------------------------------


def test_uncorrected_errors_are_told_at_the_start_and_with_each_rise(
    sensor: NvmlSensor, state: NvmlState
) -> None:
    state.set("3 ecc_dbe 4")
    assert told(sensor) == [("ecc_dbe", 3, {"ecc_dbe_count": 4, "ecc_dbe_total": 4})]
    assert told(sensor) == []
    state.set("3 ecc_dbe 5")
    assert told(sensor) == [("ecc_dbe", 3, {"ecc_dbe_count": 1, "ecc_dbe_total": 5})]
    state.set()
    assert told(sensor) == []


def test_corrected_errors_are_told_from_the_second_look_on(
    sensor: NvmlSensor, state: NvmlState
) -> None:
    state.set("3 ecc_sbe 100")
    assert told(sensor) == []
    state.set("3 ecc_sbe 130")
    assert told(sensor) == [("ecc_sbe", 3, {"ecc_sbe_count": 30, "ecc_sbe_total": 130})]
    state.set("3 ecc_sbe 2")
    assert told(sensor) == []
    state.set("3 ecc_sbe 3")
    assert told(sensor) == [("ecc_sbe", 3, {"ecc_sbe_count": 1, "ecc_sbe_total": 3})]


ROWS = {"remapped_correctable": 0, "remapped_uncorrectable": 2}


@pytest.mark.parametrize(
    "line, metrics",
    [
        ("4 remap_pending 1", {"row_remap_pending": 1, **ROWS}),
        ("4 remap_failed 1", {"row_remap_failed": 1, **ROWS}),
        ("4 retired_pending 1", {"retired_pages_pending": 1}),
    ],
)
def test_memory_to_be_repaired_is_told_once_and_degrades_while_it_stands(
    line: str, metrics: dict[str, int], sensor: NvmlSensor, state: NvmlState
) -> None:
    state.set("4 remap_unc 2", line)
    assert told(sensor) == [("memory", 4, metrics)]
    for _ in range(2):
        assert told(sensor) == []
        status, text = verdict(sensor)
        assert status is Health.DEGRADED
        assert "GPU 4 (" in text
    state.set("4 remap_unc 2")
    assert verdict(sensor)[0] is Health.HEALTHY
    state.set("4 remap_unc 2", line)
    assert told(sensor) == [("memory", 4, metrics)]


# --- heat, power, links ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "threshold, celsius",
    [
        ("5 slowdown 90", 90),
        ("5 fail.nvmlDeviceGetTemperatureThreshold 3", 85),
        ("5 slowdown 65535", 85),
    ],
)
def test_heat_is_told_at_the_limit_of_the_board_and_again_after_it_has_cooled(
    threshold: str, celsius: int, sensor: NvmlSensor, state: NvmlState
) -> None:
    def found_at(temperature: int) -> list[object]:
        state.set(threshold, f"5 temp {temperature}")
        return [metrics["temperature"] for _, _, metrics in told(sensor)]

    assert found_at(celsius - 1) == []
    assert found_at(celsius) == [celsius]
    assert found_at(celsius + 3) == []
    assert verdict(sensor)[0] is Health.DEGRADED
    assert found_at(celsius - 4) == []
    assert found_at(celsius) == []
    assert found_at(celsius - 5) == []
    assert verdict(sensor)[0] is Health.HEALTHY
    assert found_at(celsius) == [celsius]


@pytest.mark.parametrize(
    "mask, kind, metrics",
    [
        (0x48, "thermal", {"reason": "hw_thermal_slowdown", "temperature": 45}),
        (0x88, "power", {"reason": "hw_power_brake", "power_watts": 300}),
        (0x08, "power", {"reason": "hw_slowdown", "power_watts": 300}),
    ],
)
def test_clocks_that_the_hardware_slows_are_told_once(
    mask: int, kind: str, metrics: dict[str, str | int], sensor: NvmlSensor, state: NvmlState
) -> None:
    state.set(f"0 reasons {mask}")
    assert [*told(sensor), *told(sensor)] == [(kind, 0, metrics)]
    assert told(sensor) == []
    assert verdict(sensor)[0] is Health.DEGRADED


def test_a_slowdown_of_one_moment_and_reasons_of_software_are_no_faults(
    sensor: NvmlSensor, state: NvmlState
) -> None:
    for mask in (0x08, 0x01, 0x08, 0x04, 0x20):
        state.set(f"0 reasons {mask}")
        assert told(sensor) == []


def test_errors_of_an_nvlink_are_told_with_the_link(sensor: NvmlSensor, state: NvmlState) -> None:
    state.set("6 link.17.0 5")
    assert told(sensor) == []
    state.set("6 link.17.0 6", "6 link.17.2 40", "6 link.3.1 1")
    assert told(sensor) == [
        ("nvlink", 6, {"link_id": 3, "recovery_errors": 1}),
        ("nvlink", 6, {"link_id": 17, "replay_errors": 1, "crc_flit_errors": 40}),
    ]
    assert told(sensor) == []


def test_pcie_replays_are_told_when_there_are_more_than_eight_a_minute(
    sensor: NvmlSensor, state: NvmlState, clock: Clock
) -> None:
    def after_a_minute(total: int) -> list[object]:
        clock.wait(minutes=1)
        state.set(f"1 pcie_replays {total}")
        return [metrics["pcie_replay_count"] for _, _, metrics in told(sensor)]

    sensor.events()
    assert after_a_minute(8) == []
    assert after_a_minute(17) == [9]
    assert after_a_minute(30) == []
    assert after_a_minute(31) == []
    assert after_a_minute(45) == [14]
    assert after_a_minute(0) == []


# --- XIDs ------------------------------------------------------------------------------------


def test_an_xid_is_told_once_with_its_gpu_and_the_driver(
    sensor: NvmlSensor, state: NvmlState
) -> None:
    state.set("2 xid 13")
    assert sensor.events() == ()
    state.set("2 xid 13", "6 xid 79", "5 xid 31", "5 xid 31", "5 xid 0", "5 xid 4294967295")
    assert sensor.events() == tuple(
        HealthEvent(
            event_type="xid",
            gpu_index=index,
            gpu_uuid=f"GPU-00000000-0000-0000-0000-00000000000{index}",
            system="DCGM_HEALTH_WATCH_DRIVER",
            metrics={"xid_code": code, "driver_version": "550.54.15"},
            message=f"GPU {index}: the driver reports XID {code}",
            timestamp=START,
        )
        for index, code in ((6, 79), (5, 31), (5, 31))
    )
    assert sensor.events() == ()


def test_xids_are_still_told_after_the_driver_was_reloaded(
    sensor: NvmlSensor, state: NvmlState
) -> None:
    sensor.events()
    state.set("-1 reload 1")
    assert sensor.events() == ()
    state.set("-1 reload 1", "1 xid 48")
    assert [event.kind for event in sensor.events()] == ["xid:48"]


def test_a_driver_without_xid_events_is_no_fault(sensor: NvmlSensor, state: NvmlState) -> None:
    state.set("-1 fail.nvmlEventSetCreate 3")
    assert sensor.events() == ()
    state.set("3 fail.nvmlDeviceRegisterEvents 3", "-1 fail.nvmlEventSetWait_v2 15")
    assert sensor.events() == ()
    assert verdict(sensor)[0] is Health.HEALTHY


# --- readings that cannot be believed --------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        *("3 temp 65535", "3 temp -1", "3 power_mw 4294967295", "3 power_mw 5000000"),
        *("3 util 101", "3 util -1", "3 used 18446744073709551615", "3 used 85520809985"),
        *("3 total 0", "3 fail.nvmlDeviceGetUtilizationRates 3", "3 fail 999"),
    ],
)
def test_a_gpu_whose_reading_is_absurd_is_left_out_of_the_sample(
    line: str, sensor: NvmlSensor, state: NvmlState
) -> None:
    state.set(line)
    assert [gpu.index for gpu in sensor.sample().gpus] == [0, 1, 2, 4, 5, 6, 7]


@pytest.mark.parametrize(
    "line",
    [
        *("3 temp 65535", "3 temp -1", "3 ecc_dbe -1", "3 ecc_sbe 4294967295"),
        *("3 pcie_replays -1", "3 link.0.0 -1", "3 reasons -1", "3 remap_pending 4294967295"),
        *("3 retired_pending 2", "3 remap_failed -1", "3 power_mw -1"),
    ],
)
def test_absurd_numbers_are_no_events_and_forget_nothing(
    line: str, sensor: NvmlSensor, state: NvmlState, clock: Clock
) -> None:
    good = ("3 ecc_sbe 5", "3 pcie_replays 5", "3 link.0.0 5")
    for lines in (good, (*good, line), (*good, line), good):
        state.set(*lines)
        assert sensor.events() == ()
        clock.wait(minutes=1)
    assert verdict(sensor)[0] is Health.HEALTHY


def test_a_driver_that_counts_absurdly_invents_no_gpu(sensor: NvmlSensor, state: NvmlState) -> None:
    state.set("-1 count 4294967295")
    assert sensor.gpus() == ()
    assert verdict(sensor)[0] is Health.UNKNOWN
    assert [(kind, index) for kind, index, _ in told(sensor)] == [("driver_error", -1)]


def test_texts_that_cannot_be_read_are_left_empty(sensor: NvmlSensor, state: NvmlState) -> None:
    state.set("3 name \udcff\udcfe", "4 name H100\x07")
    assert [gpu.name for gpu in sensor.gpus()[3:5]] == ["", "H100"]


def test_a_function_that_the_driver_lacks_is_named_and_nothing_is_wrong(
    sensor: NvmlSensor, state: NvmlState
) -> None:
    state.set(
        "-1 fail.nvmlDeviceGetRemappedRows 13", "-1 fail.nvmlDeviceGetTemperatureV 13", "3 temp 90"
    )
    assert told(sensor) == [("thermal", 3, {"temperature": 90})]
    (result,) = sensor.check()
    assert result.details["not_offered_by_driver"] == (
        "nvmlDeviceGetRemappedRows, nvmlDeviceGetTemperatureV"
    )
    assert len(sensor.sample().gpus) == 8
