"""Lanes: jobs that hang are given up, left alone and never repeated behind their own back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from infra.real_parts import wait_for
from navarch.agent.sensors.nvml_calls import Ask, Hung, Lanes, Library, Refused


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    """Return lanes to a library that no job of these tests really asks."""
    lanes = Lanes(Library(), call_time_max=timedelta(seconds=0.1))
    yield lanes
    wait_for(lambda: lanes.hung == (), "every job has returned")
    lanes.end()


def test_a_job_that_hung_makes_no_more_calls_and_is_not_begun_twice(lanes: Lanes) -> None:
    gate = threading.Event()
    begun = []
    called = []

    def job(ask: Ask) -> None:
        begun.append(1)
        gate.wait()
        with suppress(Refused):
            ask("nvmlSystemGetDriverVersion")
        called.append(1)

    for _ in range(3):
        assert isinstance(lanes.ask({"GPU 3": job})["GPU 3"], Hung)
    assert lanes.hung == ("GPU 3",)
    gate.set()
    wait_for(lambda: lanes.hung == (), "the job has returned")
    assert lanes.ask({"GPU 3": lambda _: "again"}) == {"GPU 3": "again"}
    assert len(begun) == 1
    assert called == []


def test_a_lane_that_hangs_leaves_the_others_their_answers(lanes: Lanes) -> None:
    gate = threading.Event()
    answers = lanes.ask({"GPU 0": lambda _: gate.wait(), "GPU 1": lambda _: "well"})
    gate.set()
    assert isinstance(answers["GPU 0"], Hung)
    assert answers["GPU 1"] == "well"


def test_a_fault_of_ours_in_a_job_is_raised_where_it_was_asked(lanes: Lanes) -> None:
    with pytest.raises(ZeroDivisionError):
        lanes.ask({"GPU 0": lambda _: 1 // 0, "GPU 1": lambda _: "well"})
