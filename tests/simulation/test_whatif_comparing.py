"""Comparing variants: intervals are Student's, differences are paired, sentences say what is so."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from navarch.simulator.whatif import comparing
from navarch.simulator.whatif.comparing import Estimate
from navarch.simulator.whatif.measures import Measures

USUAL = Measures(
    availability=1.0,
    capacity_delivered=0.99,
    gpu_hours_good=100.0,
    gpu_hours_idle=0.0,
    gpu_hours_lost=1.0,
    cost_usd_by_provider={"a": 60.0, "b": 40.0},
    replacements_right=1,
    replacements_wrong=0,
    replacements_late=0,
    repairs_in_place=0,
    broken=1,
    repair_seconds_p50=None,
    repair_seconds_p95=None,
    repair_seconds_p99=None,
    unrepaired=0,
    budget_hits=0,
    budget_wait_hours=0.0,
    spot_interruptions=0,
)


def runs(capacities: Sequence[float], cost: float = 100.0) -> list[Measures]:
    return [
        msgspec.structs.replace(
            USUAL, capacity_delivered=each, cost_usd_by_provider={"a": cost - 40.0, "b": 40.0}
        )
        for each in capacities
    ]


def verdict(first: list[Measures], second: list[Measures]) -> str:
    found = comparing.compared(["x=1", "x=2"], [{"x": "1"}, {"x": "2"}], [first, second])
    (said,) = comparing.verdicts(found)
    return said


@pytest.mark.parametrize(
    "degrees, expected",
    [(1, 12.706), (4, 2.776), (30, 2.042), (31, 2.0395), (40, 2.0211), (60, 2.0003), (999, 1.9623)],
)
def test_students_t_is_that_of_the_tables(degrees: int, expected: float) -> None:
    assert comparing.t_975(degrees) == pytest.approx(expected, abs=0.0005)


def test_an_interval_is_the_textbooks() -> None:
    found = comparing.estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found is not None
    assert (found.mean, found.runs) == (3.0, 5)
    assert found.half_width == pytest.approx(1.9634, abs=0.001)


def test_runs_without_a_value_are_left_out_and_no_value_is_none() -> None:
    assert comparing.estimate([None, 2.0]) == Estimate(2.0, None, 1)
    assert comparing.estimate([None, None]) is None


def test_a_small_difference_in_noisy_runs_is_seen_because_seeds_are_paired() -> None:
    noisy = [0.90, 0.95, 0.99, 0.93, 0.97]
    said = verdict(runs(noisy), runs([each + 0.001 for each in noisy]))
    assert "0.1000 points of capacity more (± 0.0000, more than chance)" in said
    assert said.endswith("x=2 is better.")


def test_a_difference_that_goes_both_ways_may_be_chance() -> None:
    said = verdict(runs([0.90, 0.95, 0.99]), runs([0.95, 0.90, 0.99]))
    assert said.endswith("No difference beyond chance in capacity or cost.")


def test_more_capacity_for_more_money_is_a_trade() -> None:
    noisy = [0.90, 0.95, 0.99]
    said = verdict(runs(noisy), runs([each + 0.001 for each in noisy], cost=120.0))
    assert "20.00 USD more" in said
    assert said.endswith("A trade: x=2 gives more capacity for more money.")


def test_the_same_capacity_for_less_money_is_better() -> None:
    noisy = [0.90, 0.95, 0.99]
    said = verdict(runs(noisy), runs(noisy, cost=90.0))
    assert "the same capacity in every run, 10.00 USD less" in said
    assert said.endswith("x=2 is better.")


def test_a_sure_cost_and_an_unsure_capacity_make_no_verdict() -> None:
    said = verdict(runs([0.90, 0.95, 0.99]), runs([0.95, 0.93, 0.99], cost=101.0))
    assert said.endswith("x=2 costs more; whether the capacity differs takes more seeds to tell.")


def test_a_sure_capacity_and_an_unsure_cost_make_no_verdict() -> None:
    first, second = runs([0.90, 0.95, 0.99]), runs([0.91, 0.96, 1.0])
    second[0] = msgspec.structs.replace(second[0], cost_usd_by_provider={"a": 90.0, "b": 40.0})
    said = verdict(first, second)
    assert said.endswith("x=2 gives more capacity; whether the cost differs is not settled.")


def test_less_capacity_for_the_same_money_is_worse() -> None:
    noisy = [0.90, 0.95, 0.99]
    assert verdict(runs(noisy), runs([each - 0.01 for each in noisy])).endswith("x=2 is worse.")


def test_of_three_variants_the_best_are_named() -> None:
    names = ["x=1", "x=2", "x=3"]
    found = comparing.compared(
        names, [{}, {}, {}], [runs([0.9, 0.9]), runs([0.95, 0.95], 120), runs([0.93, 0.93], 80)]
    )
    assert comparing.verdicts(found)[-2:] == (
        "Most capacity on average: x=2.",
        "Lowest cost on average: x=3.",
    )
    assert found[0].costs["b"].mean == 40
