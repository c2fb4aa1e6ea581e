"""Loads and jobs as scenarios write them: what they mean, and how mistakes are named."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.errors import ConfigError
from navarch.simulator.loads import demand_of, jobs_of
from navarch.simulator.loads.shapes import Bursty, Constant, Diurnal, Ramp, Steps, Total
from navarch.simulator.loads.traced import Traced

HOUR = timedelta(hours=1)
NOWHERE = Path("nowhere")


def test_every_pattern_is_read() -> None:
    assert demand_of({"pattern": "constant", "level": 3}, NOWHERE) == Constant(3)
    ramp = demand_of({"pattern": "ramp", "from": 1, "to": 5, "lasts": "2h"}, NOWHERE)
    assert ramp == Ramp(1, 5, timedelta(), 2 * HOUR)
    steps = [{"at": "0h", "level": 5}, {"at": "3h", "level": 12}]
    read = demand_of({"pattern": "steps", "steps": steps, "jobs_per_node": 2}, NOWHERE)
    assert read == Steps((timedelta(), 3 * HOUR), (5, 12), 2)
    day = {"pattern": "diurnal", "base": 10, "peak": 40, "period": "12h", "seed": 4}
    assert demand_of(day, NOWHERE) == Diurnal(10, 40, 12 * HOUR, 7 * HOUR, seed=4)
    burst = {"pattern": "bursty", "per_day": 12, "size": 3, "lasts": "20m", "seed": 4}
    assert demand_of(burst, NOWHERE) == Bursty(12, 3, lasts=timedelta(minutes=20), seed=4)


def test_two_loads_of_one_run_roll_different_dice_and_equal_ones_equal_dice() -> None:
    written = {"pattern": "bursty", "per_day": 12, "size": 3}
    total = demand_of({"sum": [written, written]}, NOWHERE, seed=1)
    assert isinstance(total, Total)
    first, second = total.parts
    assert isinstance(first, Bursty)
    assert isinstance(second, Bursty)
    assert first.seed != second.seed
    assert demand_of({"sum": [written, written]}, NOWHERE, seed=1) == total
    assert demand_of({"sum": [written, written]}, NOWHERE, seed=2) != total


def test_a_trace_is_read_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "load.csv").write_text("time,value\n0,80\n60,40\n")
    written = {"trace": "load.csv", "unit": "utilization", "nodes": 20, "after": "repeat"}
    load = demand_of(written, tmp_path)
    assert isinstance(load, Traced)
    assert load.jobs(timedelta()) / load.jobs_per_node == pytest.approx(16)


@pytest.mark.parametrize(
    "written, text",
    [
        ({}, "demand: expected one of pattern, trace and sum, not none of them"),
        ({"pattern": "flat"}, "demand.pattern: expected one of constant, ramp, .* not 'flat'"),
        ({"pattern": "constant"}, "demand.level: is missing, expected a number"),
        ({"pattern": "constant", "level": "3"}, "demand.level: expected a number, not '3'"),
        ({"pattern": "constant", "level": 10**400}, "demand.level: expected a smaller number"),
        ({"pattern": "constant", "level": -3}, "demand.level: expected a number from 0"),
        (
            {"pattern": "constant", "level": 3, "high": 4},
            "demand.high: is unknown, expected one of pattern, level, jobs_per_node",
        ),
        (
            {"pattern": "diurnal", "base": 1, "peak": 2, "period": 24},
            "demand.period: expected a duration such as 30m, not 24",
        ),
        (
            {"pattern": "diurnal", "base": 1, "peak": 2, "period": "24"},
            "demand.period: expected a duration such as 30m, not '24': it has no unit",
        ),
        ({"trace": "none.csv"}, "demand.trace: .*none.csv: cannot be read"),
        (
            {"trace": "none.csv", "unit": "requests"},
            "demand.requests_per_node: is missing, expected a number",
        ),
        ({"sum": []}, r"demand.sum: expected a list, not \[\]"),
        ({"sum": [3]}, r"demand.sum\[0\]: expected a mapping, not 3"),
        (
            {"pattern": "steps", "steps": [{"at": "1h", "level": 1}, {"at": "1h", "level": 2}]},
            r"demand.steps\[1\].at: expected a later time than the one before",
        ),
    ],
)
def test_a_mistake_in_a_load_is_named(written: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        demand_of(written, NOWHERE)


def test_sums_within_sums_end_somewhere() -> None:
    written: dict[str, object] = {"pattern": "constant", "level": 1}
    for _ in range(50):
        written = {"sum": [written]}
    with pytest.raises(ConfigError, match="expected at most 8 sums within each other"):
        demand_of(written, NOWHERE)


def test_jobs_are_read_and_repeated() -> None:
    written = [
        {"name": "llm", "pool": "train", "nodes": 16, "work": "40h", "priority": 2},
        {"name": "eval", "pool": "train", "nodes": 1, "work": "1h", "every": "6h", "count": 3},
    ]
    jobs = jobs_of(written)
    assert [job.name for job in jobs] == ["llm", "eval-1", "eval-2", "eval-3"]
    assert [job.arrives // HOUR for job in jobs] == [0, 0, 6, 12]
    assert jobs[0].priority == 2
    assert jobs[0].checkpoint == timedelta(minutes=30)


def test_a_job_for_a_pool_that_is_not_there_is_refused() -> None:
    written = [{"name": "a", "pool": "tran", "nodes": 1, "work": "1h"}]
    assert jobs_of(written)[0].pool == "tran"
    text = r"jobs\[0\].pool: there is no pool 'tran', expected one of train, serve"
    with pytest.raises(ConfigError, match=text):
        jobs_of(written, pools=("train", "serve"))


def test_arrivals_by_chance_follow_the_seed() -> None:
    entry = {"name": "eval", "nodes": 1, "work": "1h", "every": "1h", "count": 400}
    written = [{**entry, "arrivals": "poisson"}]
    jobs = jobs_of(written, seed=1)
    assert jobs == jobs_of(written, seed=1) != jobs_of(written, seed=2)
    assert jobs[-1].arrives / (399 * HOUR) == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize(
    "written, text",
    [
        ("all", "jobs: expected a list, not 'all'"),
        ([{"name": "a", "nodes": 1}], r"jobs\[0\].work: is missing, expected a duration"),
        ([{"name": "a", "nodes": 1.5, "work": "1h"}], r"jobs\[0\].nodes: expected a whole number"),
        ([{"name": "a", "nodes": 0, "work": "1h"}], r"jobs\[0\].nodes: expected a number from 1"),
        ([{"name": "", "nodes": 1, "work": "1h"}], r"jobs\[0\].name: expected a name of 1 to 100"),
        (
            [{"name": "a", "nodes": 1, "work": "1h", "checkpoint_cost": "soon"}],
            r"jobs\[0\].checkpoint_cost: expected a duration such as 30m, not 'soon'",
        ),
        (
            [{"name": "a", "nodes": 1, "work": "1h"}] * 2,
            r"jobs\[1\].name: 'a' is the name of jobs\[0\]",
        ),
        (
            [{"name": "a", "nodes": 1, "work": "1h", "every": "365d", "count": 100}],
            r"jobs\[0\].arrives: expected a duration from 0s up to 3650d",
        ),
    ],
)
def test_a_mistake_in_a_job_is_named(written: object, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        jobs_of(written)


KEYS = st.sampled_from(
    [
        *("pattern", "sum", "level", "base", "peak", "from", "to", "lasts", "begins", "steps"),
        *("at", "per_day", "size", "name", "nodes", "work", "every", "count", "noise", "period"),
    ]
)

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["constant", "ramp", "steps", "diurnal", "bursty", "1h", "0s", "3650d"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(ANYTHING)
def test_whatever_is_written_is_read_or_refused(written: object) -> None:
    refused = None
    try:
        load = demand_of(written, NOWHERE)  # type: ignore[arg-type]  # outsiders write anything
    except ConfigError as error:
        refused = error
    else:
        assert load.jobs(HOUR) >= 0
    assert refused is None or refused.key.startswith("demand")
    with suppress(ConfigError):
        assert jobs_of(written)
