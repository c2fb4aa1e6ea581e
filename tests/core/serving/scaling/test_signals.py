"""The catalogue of signals: names, units, and how parts make one value."""

from __future__ import annotations

import math

import pytest

from factories import at
from navarch.core.scaling.base import Quality, Reading
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.series import SAMPLES_MAX, Series
from navarch.errors import ConfigError


@pytest.mark.parametrize(
    "name,plain",
    [
        ("queue_depth", "queue-depth"),
        ("tokensPerSecond", "tokens-per-second"),
        ("ttft_p95", "ttft-p95"),
        ("ttftP95", "ttft-p95"),
        ("TTFTP95", "ttftp95"),
        ("latency-p95", "p95-latency"),
        ("p95Latency", "p95-latency"),
        ("gpuUtilization", "gpu-utilization"),
        ("my.own_signal", "my-own-signal"),
    ],
)
def test_a_signal_is_found_by_any_of_its_spellings(name: str, plain: str) -> None:
    assert signals.canonical(name) == plain


def test_each_alias_leads_to_a_signal_of_the_catalogue() -> None:
    assert set(signals.ALIASES.values()) <= set(signals.CATALOGUE)
    assert not set(signals.ALIASES) & set(signals.CATALOGUE)
    assert all(signals.canonical(name) == name for name in signals.CATALOGUE)


@pytest.mark.parametrize(
    "name,amount,value",
    [
        ("ttft-p95", "500ms", 0.5),
        ("ttft-p95", "1s", 1.0),
        ("ttft-p95", 2, 2.0),
        ("gpu-utilization", "70%", 70.0),
        ("queue-depth", "10", 10.0),
        ("tokens-per-second", "6e4 tokens/minute", 1000.0),
        ("my-own", 3, 3.0),
    ],
)
def test_a_target_is_read_in_the_unit_of_its_signal(
    name: str, amount: float | str, value: float
) -> None:
    assert signals.target(name, amount) == pytest.approx(value)


@pytest.mark.parametrize(
    "name,amount,words",
    [
        ("queue-depth", "500ms", "in ms: expected a number above 0 in requests"),
        ("ttft-p95", "70%", "in %: expected a number above 0 in seconds"),
        ("ttft-p95", "soon", "expected a number above 0 in seconds"),
        ("ttft-p95", "1.2.3s", "expected a number"),
        ("ttft-p95", 0, "expected a number above 0"),
        ("ttft-p95", -1, "expected"),
        ("ttft-p95", math.nan, "expected"),
        ("ttft-p95", "1e999", "expected"),
        ("my-own", "3ms", "is in ms"),
    ],
)
def test_a_target_in_another_unit_is_refused(name: str, amount: float | str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        signals.target(name, amount)


@pytest.mark.parametrize(
    "sample,words",
    [
        (Reading(1, "tokens", at()), "the unit is tokens, expected seconds"),
        (Reading(-1, "seconds", at()), "-1 cannot be"),
        (Reading(math.nan, "seconds", at()), "nan cannot be"),
        (Reading(math.inf, "ms", at()), "inf cannot be"),
    ],
)
def test_a_sample_that_cannot_be_is_an_error(sample: Reading, words: str) -> None:
    found = signals.judged("ttft-p95", sample)
    assert found.quality is Quality.ERROR
    assert words in found.detail


def test_a_sample_in_milliseconds_becomes_seconds() -> None:
    assert signals.judged("ttft-p95", Reading(250, "ms", at())) == Reading(0.25, "seconds", at())


def test_more_than_all_of_a_gpu_cannot_be() -> None:
    assert signals.fresh("gpu_utilization", 130, "x").quality is Quality.ERROR


def test_parts_make_one_value_by_the_rule_of_the_signal() -> None:
    assert signals.combined("queue-depth", [1, 2, 6]) == 9
    assert signals.combined("gpu-utilization", [1, 2, 6]) == 3
    assert signals.combined("ttft-p95", [1, 2, 6]) == 6
    assert signals.combined("session-tokens-per-second", [1, 2, 6]) == 1
    with pytest.raises(ValueError, match="no values"):
        signals.combined("queue-depth", [])


# --- series ----------------------------------------------------------------------------------


def sample(value: float, seconds: float = 0, quality: Quality = Quality.OK) -> Reading:
    return Reading(value, "requests", at(seconds=seconds), quality, "gateway")


def test_a_window_is_averaged_and_without_one_the_newest_counts() -> None:
    series = Series("queue-depth")
    for second, value in enumerate([100, 10, 20, 30]):
        series = series.extended(
            sample(value, second), at(seconds=second), keep=at(seconds=60) - at()
        )
    now = at(seconds=3)
    assert series.reading(now).value == 30
    assert series.reading(now, at(seconds=2) - at()).value == 20
    assert series.reading(now, at(seconds=60) - at()).value == 40


def test_a_sample_that_is_told_again_counts_once() -> None:
    series = Series("queue-depth", (sample(100),))
    for second in range(10):
        series = series.extended(sample(10, 5), at(seconds=5 + second), at(seconds=60) - at())
    assert series.reading(at(seconds=15), at(seconds=60) - at()).value == 55


def test_an_old_sample_is_stale_and_says_its_age() -> None:
    found = Series("queue-depth", (sample(10),)).reading(at(seconds=121))
    assert (found.quality, found.value, found.detail) == (Quality.STALE, 10, "121 s old")


def test_good_samples_do_not_make_up_for_a_newest_one_that_is_not() -> None:
    series = Series("queue-depth", (sample(10), sample(0, 1, Quality.ERROR)))
    found = series.reading(at(seconds=1), at(seconds=60) - at())
    assert found.quality is Quality.ERROR


def test_samples_that_are_not_good_do_not_enter_a_mean() -> None:
    series = Series(
        "queue-depth", (sample(10), sample(0, 1, Quality.ERROR), sample(0, 2, Quality.STALE))
    ).extended(sample(20, 3), at(seconds=3), at(seconds=60) - at())
    assert series.reading(at(seconds=3), at(seconds=60) - at()).value == 15


def test_a_series_is_bounded_and_still_covers_its_window() -> None:
    series = Series("queue-depth")
    hour = at(hours=1) - at()
    for second in range(3600):
        series = series.extended(sample(second, second), at(seconds=second), hour)
    assert len(series.samples) <= SAMPLES_MAX
    assert series.samples[0].value < 60
    found = series.reading(at(seconds=3599), hour).value
    assert found == pytest.approx(1800, rel=0.02)
