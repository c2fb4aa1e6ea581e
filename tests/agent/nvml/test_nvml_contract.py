"""What every sensor promises, asked of the real one in its moods."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from contracts import test_sensor_contract as contract
from infra.nvml.stand_in import NvmlState
from navarch.agent.sensors.base import EVENT_TYPES, WATCH_SYSTEMS, Sensor
from navarch.agent.sensors.nvml import NvmlSensor

MOODS = {
    "healthy": (),
    "without GPUs": ("-1 count 0",),
    "without a driver": ("-1 init 9", "-1 fail 9"),
    "with faults": (
        *("3 temp 96", "1 ecc_dbe 3", "4 remap_pending 1", "5 reasons 64", "6 reasons 128"),
        *("-1 count 7", "2 xid 79"),
    ),
    "with a lost GPU": ("3 lost 1",),
}


@pytest.fixture(params=MOODS)
def sensor(
    request: pytest.FixtureRequest, made: Callable[..., NvmlSensor], state: NvmlState
) -> Sensor:
    """Return a sensor that has looked once, in each of its moods."""
    sensor = made(expected_gpus=None)
    sensor.events()
    state.set(*MOODS[request.param])
    return sensor


test_gpus = contract.test_gpus_are_numbered_from_zero_and_distinct
test_sample = contract.test_a_sample_is_of_gpus_that_are_there_and_within_reason
test_checks = contract.test_checks_have_the_same_names_each_time_and_say_what_they_found
test_honesty = contract.test_a_sensor_that_makes_things_up_says_so_everywhere


def test_events_are_given_once_with_the_words_and_times_of_the_wire(sensor: Sensor) -> None:
    events = sensor.events()
    assert sensor.events() == ()
    for event in events:
        assert event.event_type in EVENT_TYPES
        assert event.system in WATCH_SYSTEMS
        assert event.message
        assert event.timestamp is not None
        assert event.timestamp.utcoffset() == timedelta(0)
        assert -1 <= event.gpu_index < 8
        assert all(isinstance(value, int | str) for value in event.metrics.values())
