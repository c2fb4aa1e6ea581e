"""The packed rings of samples, against a plain dictionary of deques."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from factories import at
from navarch.core.model.gpu import GPUSample, NodeSample
from navarch.core.model.samples import ROWS_FIRST, Readings, Samples, Utilization

IDS = [f"node-{number}" for number in range(6)]
KEPT = 3

percents = st.integers(0, 10**6).map(lambda parts: parts / 10**4)
gpu_samples = st.builds(
    GPUSample,
    index=st.integers(0, 255),
    temperature_celsius=st.integers(-(2**15), 2**15 - 1),
    power_watts=st.integers(0, 2**16 - 1),
    utilization_percent=percents,
    memory_used=st.integers(0, 2**32 - 1).map(lambda kib: kib * 1024),
)
samples = st.builds(NodeSample, percents, percents, st.lists(gpu_samples, max_size=9).map(tuple))
moments = st.integers(0, 10**9).map(lambda microseconds: timedelta(microseconds=microseconds))
words = st.one_of(
    st.tuples(st.just("one"), st.dictionaries(st.sampled_from(IDS), samples, max_size=1), moments),
    st.tuples(st.just("many"), st.dictionaries(st.sampled_from(IDS), samples), moments),
    st.tuples(st.just("forget"), st.dictionaries(st.sampled_from(IDS), samples), moments),
)


def columns(told: list[NodeSample]) -> Readings:
    """Return samples as columns, in arrays wide enough for the one with the most GPUs."""
    width = max((len(sample.gpus) for sample in told), default=0)

    def column(name: str, kind: type) -> NDArray[Any]:
        filled: NDArray[Any] = np.zeros((len(told), width), dtype=kind)
        for row, sample in enumerate(told):
            filled[row, : len(sample.gpus)] = [getattr(gpu, name) for gpu in sample.gpus]
        return filled

    return Readings(
        np.array([sample.cpu_percent for sample in told]),
        np.array([sample.memory_percent for sample in told]),
        np.array([len(sample.gpus) for sample in told], dtype=int),
        column("index", int),
        column("temperature_celsius", int),
        column("power_watts", int),
        column("utilization_percent", float),
        column("memory_used", int),
    )


def mean(plain: dict[str, deque[tuple[datetime, NodeSample]]], since: datetime) -> Utilization:
    """Return the utilization of all nodes, the long way."""
    newest = [ring[-1] for ring in plain.values()]
    counted = [(when, sample) for when, sample in newest if when >= since and sample.gpus]
    loads = [gpu.utilization_percent for _, sample in counted for gpu in sample.gpus]
    last = max(when for when, _ in counted)
    return Utilization(sum(loads) / len(loads), len(counted), len(loads), last)


@given(st.lists(words, max_size=25), moments)
def test_they_are_a_dictionary_of_the_newest_few(
    said: list[tuple[str, dict[str, NodeSample], timedelta]], limit: timedelta
) -> None:
    packed, plain = Samples(KEPT), dict[str, deque[tuple[datetime, NodeSample]]]()
    for what, told, passed in said:
        now = at() + passed
        if what == "forget":
            for who in told:
                packed.pop(who)
                plain.pop(who, None)
            continue
        if what == "one":
            for who, sample in told.items():
                packed.record(who, now, sample)
        else:
            packed.record_many(list(told), now, columns(list(told.values())))
        for who, sample in told.items():
            plain.setdefault(who, deque(maxlen=KEPT)).append((now, sample))
    assert sorted(packed) == sorted(plain)
    assert len(packed) == len(plain)
    assert {who: packed.history(who) for who in IDS} == {
        who: list(plain.get(who, ())) for who in IDS
    }
    for who in IDS:
        newest = plain[who][-1][1] if who in plain else None
        assert packed.newest(who) == newest
        assert packed.newest_at(who) == (plain[who][-1][0] if who in plain else None)
        assert (who in packed) == (who in plain)
        load = newest.utilization_percent if newest is not None else None
        assert packed.load(who) == (None if load is None else pytest.approx(load))
    found = packed.utilization(IDS, at() + limit)
    if found is None:
        assert not any(ring[-1][0] >= at() + limit and ring[-1][1].gpus for ring in plain.values())
    else:
        expected = mean(plain, at() + limit)
        assert found.mean == pytest.approx(expected.mean)
        assert replace(found, mean=0.0) == replace(expected, mean=0.0)


def test_what_is_too_large_becomes_the_largest_that_can_be_kept() -> None:
    extreme = NodeSample(
        1e300,
        -1e300,
        (
            GPUSample(999, 2**31 - 1, 2**31 - 1, 1e300, 2**62),
            GPUSample(0, -(2**31), -5, -1e300, -1025),
        ),
    )
    packed = Samples()
    packed.record("one", at(), extreme)
    kept = packed.newest("one")
    assert kept is not None
    assert [kept.cpu_percent, kept.memory_percent] == pytest.approx([3.4e38, -3.4e38])
    assert [gpu.utilization_percent for gpu in kept.gpus] == pytest.approx([3.4e38, -3.4e38])
    assert [replace(gpu, utilization_percent=0.0) for gpu in kept.gpus] == [
        GPUSample(255, 2**15 - 1, 2**16 - 1, 0.0, (2**32 - 1) * 1024),
        GPUSample(0, -(2**15), 0, 0.0, 0),
    ]


def test_columns_are_cut_like_single_samples() -> None:
    extreme = NodeSample(gpus=(GPUSample(999, 2**31 - 1, 2**31 - 1, 50.0, 2**62),))
    one, many = Samples(), Samples()
    one.record("n", at(), extreme)
    many.record_many(["n"], at(), columns([extreme]))
    assert one == many


def test_memory_is_rounded_to_whole_kibibytes() -> None:
    packed = Samples()
    packed.record("n", at(), NodeSample(gpus=(GPUSample(0, memory_used=80 * 2**30 + 700),)))
    assert packed.newest("n") == NodeSample(gpus=(GPUSample(0, memory_used=80 * 2**30 + 1024),))


def test_a_node_that_gains_gpus_keeps_its_past() -> None:
    packed = Samples()
    few = NodeSample(1.0, 2.0, (GPUSample(0, 40),))
    more = NodeSample(3.0, 4.0, tuple(GPUSample(index, 50) for index in range(3)))
    packed.record("n", at(), few)
    packed.record("n", at(seconds=1), more)
    packed.record("n", at(seconds=2), few)
    assert packed.history("n") == [
        (at(), few),
        (at(seconds=1), more),
        (at(seconds=2), few),
    ]


def test_pages_are_added_and_rows_used_again() -> None:
    packed = Samples(2)
    names = [f"n{number}" for number in range(ROWS_FIRST * 4)]
    told = [NodeSample(float(number % 100), 0.0, (GPUSample(0),)) for number in range(len(names))]
    packed.record_many(names, at(), columns(told))
    full = packed.nbytes
    for node_id in names[::2]:
        packed.pop(node_id)
    assert packed.nbytes == full
    packed.record_many(
        [f"m{number}" for number in range(len(names) // 2)], at(), columns(told[::2])
    )
    assert packed.nbytes == full
    assert [packed.newest(node_id) for node_id in names[1::2]] == told[1::2]
    assert packed.history("m3") == [(at(), told[6])]


def test_a_hundred_samples_of_eight_gpus_take_less_than_20_kb_a_node() -> None:
    packed = Samples()
    sample = NodeSample(50.0, 60.0, tuple(GPUSample(index, 60, 400, 99.5) for index in range(8)))
    names = [f"n{number}" for number in range(ROWS_FIRST)]
    told = columns([sample] * len(names))
    packed.record_many(names, at(), told)
    assert packed.nbytes / len(names) < 200  # nothing is taken before it is needed
    for second in range(1, 150):
        packed.record_many(names, at(seconds=second), told)
    assert packed.nbytes / len(names) < 13_000


def test_at_least_one_sample_is_kept() -> None:
    with pytest.raises(ValueError, match="0 samples of a node: expected at least 1"):
        Samples(0)
