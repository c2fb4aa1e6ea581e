"""The recorder's memory has bounds, and what does not fit is counted."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.simulator.report import chains, samples
from navarch.simulator.report.samples import Sample, Samples
from navarch.simulator.report.truth import times
from simulation.report.lived import STORMY, a_stormy_day, recorded


def a_sample(seconds: float, serving: int, target: int = 10) -> Sample:
    return Sample(seconds, (serving, 0, 0, 0, 0, 0, 0), target, float(target))


def test_only_the_newest_entries_stay_and_the_others_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = a_stormy_day().report().timeline
    monkeypatch.setattr(chains, "ENTRIES_MAX", 100)
    cut = recorded(STORMY).report().timeline
    assert len(cut.entries) == 100
    assert cut.entries_left_out == len(whole.entries) - 100
    assert [each.number for each in cut.entries] == [each.number for each in whole.entries[-100:]]
    kept = {entry.number for entry in cut.entries}
    assert all(set(entry.after) <= kept for entry in cut.entries)
    assert {number for chain in cut.chains for number in chain.steps} == kept
    assert len(cut.chains) + cut.chains_left_out == len(whole.chains)


def test_a_chain_has_only_so_many_steps() -> None:
    timeline = a_stormy_day().report().timeline
    assert max(len(chain.steps) for chain in timeline.chains) <= chains.STEPS_MAX
    assert any(chain.left_out > 50 for chain in timeline.chains)


def test_merged_samples_are_the_worst_and_sums_are_made_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(samples, "SAMPLES_MAX", 8)
    some = Samples()
    for index in range(1, 1001):
        some.add(a_sample(index * 60.0, 4 if index == 500 else 10))
    points = some.condensed(5)
    assert some.count == 1000
    assert some.availability == 0.999
    assert some.wanted - some.delivered == 6 * 60
    assert len(points) == 5
    assert min(point.serving for point in points) == 4
    assert [point.seconds for point in points] == sorted(point.seconds for point in points)


@given(st.lists(st.floats(0, 1e7, allow_nan=False), max_size=300))
def test_percentiles_are_values_that_occurred(lengths: list[float]) -> None:
    told = times(array("d", lengths))
    assert told.count == len(lengths)
    if lengths:
        ranked = [round(length, 6) for length in sorted(lengths)]
        assert told.p50 == ranked[(len(ranked) + 1) // 2 - 1]
        assert told.p50 <= told.p95 <= told.p99 <= told.longest == ranked[-1]
        assert list(told.steps) == sorted(told.steps)
        assert told.steps[-1] == ranked[-1]
        assert len(told.steps) == min(len(ranked), 200)
