"""The bookkeeping of faults: each is told once, whatever the readings are."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from agent.nvml.clock import START
from navarch.agent.sensors.nvml_faults import PCIE_REPLAYS_MAX, Faults
from navarch.agent.sensors.nvml_readings import Device, Reading
from navarch.core.model.gpu import GPU
from navarch.core.model.report import HealthEvent

DEVICE = Device(None, GPU(3, "GPU-3"), slowdown_celsius=85)

counts = st.lists(st.none() | st.integers(0, 50), max_size=30)


def told(faults: Faults, reading: Reading, seconds: int = 0) -> list[HealthEvent]:
    return faults.notice(DEVICE, reading, at=START + timedelta(seconds=seconds))


@given(counts)
def test_rises_of_uncorrected_errors_add_up_to_what_was_shown(shown: list[int | None]) -> None:
    faults = Faults()
    sum_told = sum(
        int(event.metrics["ecc_dbe_count"])
        for count in shown
        for event in told(faults, Reading(ecc_dbe=count))
    )
    known = [count for count in shown if count is not None]
    rises = [
        after - before if after >= before else after
        for before, after in zip([0, *known], known, strict=False)
    ]
    assert sum_told == sum(rises)


@given(counts, counts)
def test_corrected_errors_and_link_errors_are_never_told_without_a_rise(
    errors: list[int | None], links: list[int | None]
) -> None:
    faults = Faults()
    before_errors: int | None = None
    before_links: int | None = None
    for error, link in zip(errors, links, strict=False):
        reading = Reading(ecc_sbe=error, links={} if link is None else {(1, "replay_errors"): link})
        kinds = {event.event_type for event in told(faults, reading)}
        rose = error is not None and before_errors is not None and error > before_errors
        assert ("ecc_sbe" in kinds) is rose
        rose = link is not None and before_links is not None and link > before_links
        assert ("nvlink" in kinds) is rose
        before_errors = before_errors if error is None else error
        before_links = before_links if link is None else link


@given(st.lists(st.none() | st.booleans(), max_size=30))
def test_a_condition_is_told_when_it_begins_and_silence_does_not_end_it(
    flags: list[bool | None],
) -> None:
    faults = Faults()
    stands = False
    for flag in flags:
        events = told(faults, Reading(row_remap_pending=flag))
        assert len(events) == (flag is True and not stands)
        stands = stands if flag is None else flag
        assert bool(faults.standing(3)) is stands


@given(st.lists(st.none() | st.integers(70, 110), max_size=40))
def test_between_two_reports_of_heat_the_gpu_was_cool_or_became_worse(
    readings: list[int | None],
) -> None:
    faults = Faults()
    worst = 0
    for celsius in readings:
        events = told(faults, Reading(temperature_celsius=celsius))
        worse = celsius is not None and celsius >= 85 and celsius // 5 > worst
        assert len(events) == worse
        if celsius is not None:
            worst = celsius // 5 if worse else 0 if celsius <= 80 else worst


@given(st.lists(st.tuples(st.integers(-30, 90), st.integers(0, 40)), max_size=30))
def test_few_pcie_replays_are_never_told_whatever_the_clock_does(
    steps: list[tuple[int, int]],
) -> None:
    faults = Faults()
    seconds = 0
    for passed, count in steps:
        seconds += passed
        for event in told(faults, Reading(pcie_replays=count), seconds):
            assert int(event.metrics["pcie_replay_count"]) > PCIE_REPLAYS_MAX


def test_pcie_replays_are_counted_from_zero_when_the_counter_was_reset() -> None:
    faults = Faults()
    totals = (100, 0, 8, 9)
    found = [told(faults, Reading(pcie_replays=total), at) for at, total in enumerate(totals)]
    assert [len(events) for events in found] == [0, 0, 0, 1]


def test_a_gpu_that_was_replaced_begins_with_nothing() -> None:
    faults = Faults()
    bad = Reading(ecc_dbe=1, ecc_sbe=1, row_remap_failed=True, clock_reasons=8, pcie_replays=1)
    first = told(faults, bad)
    assert [event.event_type for event in first] == ["ecc_dbe", "memory"]
    faults.forget(3)
    assert faults.standing(3) == ()
    assert told(faults, bad) == first
