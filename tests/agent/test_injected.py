"""Injected sensors: each fault is seen as it was injected, and nonsense is survived."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from navarch.agent.sensors.base import WATCH_SYSTEMS
from navarch.agent.sensors.injected import (
    EVENT_KINDS,
    EVENTS_MAX,
    FILE_BYTES_MAX,
    Clear,
    Fault,
    Happening,
    InjectedSensor,
    Silence,
    Temperature,
    Utilization,
    Xid,
    inject,
)
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.errors import ConfigError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def a_sensor(folder: Path, *, gpu_count: int = 8, now: datetime = NOW) -> InjectedSensor:
    return InjectedSensor(folder, node_id="n1", now=lambda: now, gpu_count=gpu_count)


def result(sensor: InjectedSensor, name: str) -> CheckResult:
    return next(result for result in sensor.check() if result.check_name == name)


def test_without_faults_all_is_well(tmp_path: Path) -> None:
    sensor = a_sensor(tmp_path)
    assert [result.status for result in sensor.check()] == [Health.HEALTHY] * 2
    assert sensor.events() == ()
    assert sensor.silent_until() is None
    assert max(gpu.temperature_celsius for gpu in sensor.sample().gpus) < 70


def test_readings_depend_on_node_and_time_only(tmp_path: Path) -> None:
    assert a_sensor(tmp_path).sample() == a_sensor(tmp_path).sample()
    later = a_sensor(tmp_path, now=NOW + timedelta(minutes=3))
    assert later.sample() != a_sensor(tmp_path).sample()


def test_an_xid_is_one_event_and_is_not_judged_here(tmp_path: Path) -> None:
    sensor = a_sensor(tmp_path)
    inject(tmp_path, Xid(79, gpu=3, message="GPU has fallen off the bus"), now=NOW)
    assert sensor.events() == (
        HealthEvent(
            "xid",
            gpu_index=3,
            gpu_uuid=sensor.gpus()[3].uuid,
            system="DCGM_HEALTH_WATCH_DRIVER",
            metrics={"xid_code": "79"},
            message="injected: GPU has fallen off the bus",
            timestamp=NOW,
        ),
    )
    assert sensor.events() == ()
    xid = result(sensor, "xid")
    assert (xid.status, xid.message) == (
        Health.HEALTHY,
        "injected: 1 XID injected, the newest 79 on GPU 3; judged by the control plane's policy",
    )
    inject(tmp_path, Clear(), now=NOW)
    assert result(sensor, "xid").message == "injected: no XID was injected"


def test_the_same_xid_injected_twice_is_two_events(tmp_path: Path) -> None:
    sensor = a_sensor(tmp_path)
    inject(tmp_path, Xid(79, gpu=3), now=NOW)
    inject(tmp_path, Xid(79, gpu=3), now=NOW)
    assert [event.metrics["xid_code"] for event in sensor.events()] == ["79", "79"]


def test_an_event_is_not_given_again_after_a_restart_or_a_clear(tmp_path: Path) -> None:
    first = a_sensor(tmp_path)
    inject(tmp_path, Xid(79, gpu=3), now=NOW)
    assert len(first.events()) == 1
    assert a_sensor(tmp_path).events() == ()
    inject(tmp_path, Clear(), now=NOW)
    inject(tmp_path, Xid(48, gpu=1), now=NOW)
    assert [event.metrics["xid_code"] for event in a_sensor(tmp_path).events()] == ["48"]


def test_a_temperature_shows_in_sample_event_and_check(tmp_path: Path) -> None:
    sensor = a_sensor(tmp_path)
    inject(tmp_path, Temperature(96, gpu=3), now=NOW)
    assert sensor.sample().gpus[3].temperature_celsius == 96
    assert [(event.event_type, event.gpu_index) for event in sensor.events()] == [("thermal", 3)]
    assert result(sensor, "nvml").message == "injected: GPU 3 at 96 °C"
    inject(tmp_path, Clear(), now=NOW)
    assert sensor.sample().gpus[3].temperature_celsius < 70


def test_a_temperature_without_a_gpu_is_that_of_all(tmp_path: Path) -> None:
    sensor = a_sensor(tmp_path, gpu_count=4)
    inject(tmp_path, Temperature(90), now=NOW)
    assert [event.gpu_index for event in sensor.events()] == [0, 1, 2, 3]


def test_a_mild_temperature_is_no_event(tmp_path: Path) -> None:
    sensor = a_sensor(tmp_path)
    inject(tmp_path, Temperature(70), now=NOW)
    assert sensor.events() == ()
    assert result(sensor, "nvml").status is Health.HEALTHY


def test_utilization_is_as_injected(tmp_path: Path) -> None:
    sensor = a_sensor(tmp_path)
    inject(tmp_path, Utilization(80), now=NOW)
    assert sensor.sample().utilization_percent == 80


def test_silence_lasts_as_long_as_injected(tmp_path: Path) -> None:
    inject_into = a_sensor(tmp_path)
    inject(tmp_path, Silence(timedelta(minutes=2)), now=NOW)
    assert inject_into.silent_until() == NOW + timedelta(minutes=2)
    assert a_sensor(tmp_path, now=NOW + timedelta(minutes=2)).silent_until() is None


def test_faults_outlive_the_agent(tmp_path: Path) -> None:
    a_sensor(tmp_path)
    inject(tmp_path, Temperature(96, gpu=3), now=NOW)
    assert a_sensor(tmp_path).sample().gpus[3].temperature_celsius == 96


@pytest.mark.parametrize(
    "content, problem",
    [
        (b'{\n  "sensors": "injected",\n  !\n}', "injected.json:3: "),
        (b'{\n  "sensors": "injected",\n  "serial": "many"\n}', "injected.json:3: "),
        (b'{\n  "sensors": "injected",\n\n  "gpus": 3}', "unknown field `gpus`"),
        (b'{"sensors": "nvml"}', "injected.json:1: "),
        (b"", "injected.json:1: "),
        (b"\xff\xfe", "injected.json:1: "),
        (b"[" * 5_000, "injected.json:1: "),
        (b" " * (FILE_BYTES_MAX + 1), "is larger than"),
        (
            b'{"sensors": "injected",\n"temperatures_celsius": {"3": 9999}}',
            "injected.json:2: ",
        ),
        (
            b"""{"sensors": "injected", "events": [
                {"serial": 1, "kind": "xid", "gpu": 0, "at": "2026-01-31T12:00:00Z"}]}""",
            "have a value",
        ),
        (
            b"""{"sensors": "injected", "events": [
                {"serial": 1, "kind": "xid", "gpu": 0, "value": 79, "at": "2026-01-31T12:00:00Z"},
                {"serial": 2, "kind": "xid", "gpu": 99, "value": 7, "at": "2026-01-31T12:00:00Z"}]}
            """,
            "injected.json:3: ",
        ),
    ],
)
def test_junk_is_a_check_that_says_where(tmp_path: Path, content: bytes, problem: str) -> None:
    sensor = a_sensor(tmp_path)
    inject(tmp_path, Temperature(96, gpu=3), now=NOW)
    assert sensor.sample().gpus[3].temperature_celsius == 96
    (tmp_path / "injected.json").write_bytes(content)
    nvml = result(sensor, "nvml")
    assert nvml.status is Health.UNKNOWN
    assert problem in nvml.message
    assert sensor.sample().gpus[3].temperature_celsius == 96
    assert len(sensor.events()) == 1
    with pytest.raises(ConfigError, match=r"injected\.json"):
        inject(tmp_path, Clear(), now=NOW)


def test_a_file_that_is_gone_or_a_folder_is_survived(tmp_path: Path) -> None:
    sensor = a_sensor(tmp_path)
    (tmp_path / "injected.json").unlink()
    assert result(sensor, "nvml").status is Health.UNKNOWN
    (tmp_path / "injected.json").mkdir()
    assert "Is a directory" in result(sensor, "nvml").message


def test_real_sensors_refuse_faults(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not injected ones"):
        inject(tmp_path, Xid(79), now=NOW)


@pytest.mark.parametrize(
    "fault, problem",
    [
        (Xid(79, gpu=8), "there is no GPU 8, expected 0 to 7"),
        (Xid(79, gpu=-7), "impossible"),
        (Xid(79_000), "impossible"),
        (Temperature(500), "impossible"),
        (Utilization(101), "impossible"),
        (Happening("xid"), "'xid' cannot be injected, expected one of driver_error, "),
        (Happening("nonsense"), "'nonsense' cannot be injected"),
        (Happening("power", gpu=8), "there is no GPU 8"),
        (Happening("power", metrics={"No Name": 1}), "impossible"),
        (Happening("power", metrics={f"m{n}": n for n in range(17)}), "impossible"),
    ],
)
def test_an_impossible_fault_is_refused_and_changes_nothing(
    tmp_path: Path, fault: Fault, problem: str
) -> None:
    a_sensor(tmp_path)
    before = (tmp_path / "injected.json").read_bytes()
    with pytest.raises(ConfigError, match=problem):
        inject(tmp_path, fault, now=NOW)
    assert (tmp_path / "injected.json").read_bytes() == before


def test_faults_are_bounded(tmp_path: Path) -> None:
    sensor = a_sensor(tmp_path, gpu_count=64)
    for _ in range(EVENTS_MAX // 64):
        inject(tmp_path, Temperature(99), now=NOW)
    with pytest.raises(ConfigError, match="clear them first"):
        inject(tmp_path, Temperature(99), now=NOW)
    assert len(sensor.events()) == EVENTS_MAX // 64 * 64
    inject(tmp_path, Clear(), now=NOW)


def test_an_event_of_another_type_happens_once_and_is_not_judged(tmp_path: Path) -> None:
    sensor = a_sensor(tmp_path)
    inject(tmp_path, Happening("ecc_dbe", 2, {"ecc_dbe_count": 4}), now=NOW)
    assert sensor.events() == (
        HealthEvent(
            "ecc_dbe",
            gpu_index=2,
            gpu_uuid=sensor.gpus()[2].uuid,
            system="DCGM_HEALTH_WATCH_MEM",
            metrics={"ecc_dbe_count": 4},
            message="injected: ecc_dbe ecc_dbe_count=4",
            timestamp=NOW,
        ),
    )
    assert sensor.events() == ()
    assert {each.status for each in sensor.check()} == {Health.HEALTHY}


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_every_type_of_event_can_be_injected(tmp_path: Path, kind: str) -> None:
    sensor = a_sensor(tmp_path)
    inject(tmp_path, Happening(kind, metrics={"words": "a b", "rate": 0.5}), now=NOW)
    (event,) = sensor.events()
    assert (event.event_type, event.gpu_index, event.gpu_uuid) == (kind, -1, "")
    assert event.system in WATCH_SYSTEMS | {""}


@pytest.mark.parametrize("count", [-1, 65])
def test_a_strange_number_of_gpus_is_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(ConfigError, match="expected 0 to 64"):
        a_sensor(tmp_path, gpu_count=count)
