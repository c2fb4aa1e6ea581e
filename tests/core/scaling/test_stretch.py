"""A stretch of a series is as good as the tuple of its values, and costs nothing to make."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.core.scaling.base import PoolMetrics
from navarch.core.scaling.history import Growing

VALUES = st.lists(st.floats(0, 100, width=32), max_size=40)


@given(VALUES, st.integers(1, 12))
def test_the_newest_values_are_kept_and_what_was_shown_stays(
    values: list[float], kept: int
) -> None:
    growing = Growing(kept)
    shown = []
    for number, value in enumerate(values, 1):
        growing.add(value)
        shown.append((growing.newest(), tuple(values[max(number - kept, 0) : number])))
    for stretch, expected in shown:
        assert tuple(stretch) == expected
        assert len(stretch) == len(expected)


@given(VALUES, st.slices(40), st.integers(-50, 50))
def test_it_behaves_as_the_tuple_does(values: list[float], part: slice, index: int) -> None:
    growing, expected = Growing(100), tuple(values)
    for value in values:
        growing.add(value)
    stretch = growing.newest()
    assert stretch == expected
    assert expected == stretch
    assert hash(stretch) == hash(expected)
    assert repr(stretch) == repr(expected)
    assert stretch[part] == expected[part]
    more = tuple(values[:2])
    assert stretch + more == expected + more
    assert more + stretch == more + expected
    assert list(reversed(stretch)) == list(reversed(expected))
    assert bool(stretch) == bool(expected)
    assert sum(stretch) == sum(expected)
    if -len(values) <= index < len(values):
        assert stretch[index] == expected[index]
    else:
        with pytest.raises(IndexError):
            stretch[index]


def test_metrics_with_a_stretch_are_copied_and_sent_as_values() -> None:
    growing = Growing(3)
    for value in (10.0, 20.0, 30.0, 40.0):
        growing.add(value)
    metrics = PoolMetrics(utilization_history=growing.newest())
    assert metrics == PoolMetrics(utilization_history=(20.0, 30.0, 40.0))
    assert copy.deepcopy(metrics) == metrics
    assert type(pickle.loads(pickle.dumps(metrics.utilization_history))) is tuple  # noqa: S301


def test_a_series_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="0 values: expected at least 1"):
        Growing(0)
