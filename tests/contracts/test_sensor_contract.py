"""What every sensor promises, asked of every sensor there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from navarch.agent.sensors.base import EVENT_TYPES, WATCH_SYSTEMS, Sensor
from navarch.agent.sensors.injected import InjectedSensor, Temperature, Xid, inject
from navarch.core.model.report import Health

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(params=["injected", "injected, with faults", "injected, without GPUs"])
def sensor(request: pytest.FixtureRequest, tmp_path: Path) -> Sensor:
    """Return each sensor in each of its moods; one more sensor is one more case here."""
    count = 0 if request.param.endswith("without GPUs") else 8
    injected = InjectedSensor(tmp_path, node_id="n1", now=lambda: NOW, gpu_count=count)
    if request.param.endswith("with faults"):
        inject(tmp_path, Xid(79, gpu=3), now=NOW)
        inject(tmp_path, Temperature(96), now=NOW)
    return injected


def test_gpus_are_numbered_from_zero_and_distinct(sensor: Sensor) -> None:
    gpus = sensor.gpus()
    indexes = [gpu.index for gpu in gpus]
    assert indexes == sorted(set(indexes))  # one that is lost leaves an honest gap
    assert len({gpu.uuid for gpu in gpus}) == len(gpus)
    assert sensor.gpus() == gpus


def test_a_sample_is_of_gpus_that_are_there_and_within_reason(sensor: Sensor) -> None:
    sample = sensor.sample()
    there = {gpu.index: gpu for gpu in sensor.gpus()}
    assert {gpu.index for gpu in sample.gpus} <= set(there)
    for gpu in sample.gpus:
        assert 0 <= gpu.utilization_percent <= 100
        assert 0 <= gpu.memory_used <= there[gpu.index].memory_total
        assert 0 <= gpu.power_watts <= 2_000
        assert -50 <= gpu.temperature_celsius <= 200
    assert 0 <= sample.cpu_percent <= 100
    assert 0 <= sample.memory_percent <= 100


def test_checks_have_the_same_names_each_time_and_say_what_they_found(sensor: Sensor) -> None:
    results = sensor.check()
    names = [result.check_name for result in results]
    assert [result.check_name for result in sensor.check()] == names
    assert len(set(names)) == len(names)
    for result in results:
        assert result.message
        assert result.status in set(Health)
        assert result.at is not None
        assert result.at.utcoffset() == timedelta(0)


def test_events_are_given_once_with_the_words_and_times_of_the_wire(sensor: Sensor) -> None:
    events = sensor.events()
    assert sensor.events() == ()
    for event in events:
        assert event.event_type in EVENT_TYPES
        assert event.system in WATCH_SYSTEMS | {""}
        assert event.timestamp is not None
        assert event.timestamp.utcoffset() == timedelta(0)
        assert event.gpu_index in {-1, *(gpu.index for gpu in sensor.gpus())}
        assert all(str(number) != "nan" for number in event.metrics.values())


def test_a_sensor_that_makes_things_up_says_so_everywhere(sensor: Sensor) -> None:
    if not sensor.injected:
        assert sensor.silent_until() is None
        return
    assert sensor.name == "injected"
    assert all("not real" in gpu.name for gpu in sensor.gpus())
    assert all(result.message.startswith("injected: ") for result in sensor.check())
    assert all(event.message.startswith("injected: ") for event in sensor.events())
