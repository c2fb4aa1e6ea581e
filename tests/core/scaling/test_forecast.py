"""Forecasting demand from its past, and choosing who forecasts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from navarch.core.scaling import forecast
from navarch.core.scaling.forecast import Demand, Season, Steady, Trend

HOUR = timedelta(hours=1)


def demand(values: Sequence[float]) -> Demand:
    """Return a past of this demand, measured on ten nodes."""
    return Demand([value * 10 for value in values], [10.0] * len(values))


def daily(hours: int, value: Callable[[int], float]) -> Demand:
    """Return a past of hourly samples; `value` is given the hour since the beginning."""
    return demand([value(hour) for hour in range(hours)])


def office(hour: int) -> float:
    """Return a demand that is high from nine to five, day after day."""
    return 20.0 if 9 <= hour % 24 < 17 else 5.0


def working_week(hour: int) -> float:
    """Return the same, but not on the last two of seven days."""
    return office(hour) if hour // 24 % 7 < 5 else 5.0


def test_demand_is_utilization_times_the_nodes_of_its_time() -> None:
    past = Demand([50.0, 25.0, 100.0], [8.0, 16.0, 2.0])
    assert [past.mean(index, index + 1) for index in range(3)] == [4.0, 4.0, 2.0]
    assert past.mean(0, 3) == pytest.approx(10 / 3)
    assert len(past) == 3


def test_steady_goes_on() -> None:
    outlook = Steady().outlook(demand([9, 9, 4, 4]), 4, 4, [1, 50])
    assert outlook == forecast.Outlook(4.0, (4.0, 4.0))


@pytest.mark.parametrize("lookback", [2, 5, 12, 30])
def test_a_straight_line_goes_on(lookback: int) -> None:
    past = demand([3 + 0.5 * index for index in range(40)])
    outlook = Trend().outlook(past, 40, lookback, [1, 10])
    assert outlook.level == pytest.approx(22.5)
    assert outlook.ahead == pytest.approx((23.0, 27.5))


def test_a_line_is_not_turned_by_an_odd_sample() -> None:
    values = [10 + 0.1 * index for index in range(30)]
    values[28] = 500
    outlook = Trend().outlook(demand(values), 30, 30, [10])
    assert outlook.ahead[0] == pytest.approx(14, abs=0.6)


def test_a_falling_line_ends_at_nothing() -> None:
    past = demand([10.0 - index for index in range(10)])
    assert Trend().outlook(past, 10, 10, [5]).ahead == (0.0,)


def test_a_season_knows_the_morning_at_night() -> None:
    past = daily(56, office)  # 8 in the morning of the third day
    outlook = Season("daily", 24).outlook(past, 56, 4, [1, 2, 10])
    assert outlook.ahead == pytest.approx((5.0, 20.0, 5.0))


def test_a_season_is_shifted_by_how_the_day_began() -> None:
    past = daily(56, lambda hour: office(hour) + (3 if hour >= 48 else 0))
    outlook = Season("daily", 24).outlook(past, 56, 4, [2])
    assert outlook.ahead == pytest.approx((23.0,))


def test_a_season_forgets_one_odd_day() -> None:
    past = daily(24 * 3 + 8, lambda hour: 90.0 if 24 <= hour < 48 else office(hour))
    outlook = Season("daily", 24).outlook(past, 24 * 3 + 8, 4, [2])
    assert outlook.ahead == pytest.approx((20.0,))


def test_a_model_never_looks_past_its_end() -> None:
    values = [office(hour) for hour in range(60)]
    changed = values[:56] + [math.nan] * 4
    for model in (Steady(), Trend(), Season("daily", 24)):
        known = model.outlook(demand(values), 56, 4, [1, 5])
        assert model.outlook(demand(changed), 56, 4, [1, 5]) == known


def models(lookback: int, step: int) -> list[forecast.Model]:
    """List the models for hourly samples."""
    return forecast.models(HOUR, (timedelta(days=7), timedelta(days=1)), lookback, step)


def test_the_models_are_listed_from_simple_to_long() -> None:
    names = [model.name for model in models(4, 1)]
    assert names == ["steady demand", "linear trend", "daily season", "weekly season"]


def test_a_season_shorter_than_what_is_looked_at_is_left_out() -> None:
    assert len(models(10, 5)) == 3
    assert forecast.models(HOUR, (timedelta(hours=6),), 2, 1)[2].name == "season of 6:00:00"


@pytest.mark.parametrize(
    "hours,value,name",
    [
        (30, lambda _: 7.0, "steady demand"),
        (30, lambda hour: 2.0 * hour, "linear trend"),
        (24 * 4 + 8, office, "daily season"),
        (24 * 14 + 8, working_week, "weekly season"),
        (24 * 19 + 8, working_week, "weekly season"),
    ],
)
def test_the_model_that_was_nearest_is_chosen(
    hours: int, value: Callable[[int], float], name: str
) -> None:
    choice = forecast.choose(daily(hours, value), models(4, 2), 4, 2)
    assert choice.model.name == name
    assert choice.error == pytest.approx(0, abs=0.01)


def test_a_past_too_short_to_try_anything_leaves_the_trend_untried() -> None:
    choice = forecast.choose(demand([1, 2, 3, 4]), models(4, 2), 4, 2)
    assert (choice.model.name, choice.error) == ("linear trend", None)


def test_the_error_is_in_nodes() -> None:
    past = daily(40, lambda hour: 10.0 + 4 * (hour % 2))
    choice = forecast.choose(past, [Steady()], 4, 1)
    assert choice.error == pytest.approx(2.0)


@pytest.mark.parametrize(
    "first,last,expected",
    [(0, 9, [0, 3, 6, 9]), (5, 6, [5, 6]), (5, 5, [5]), (6, 5, []), (9, 0, [])],
)
def test_moments_are_spread_evenly(first: int, last: int, expected: list[int]) -> None:
    assert forecast.spread(first, last) == expected


@pytest.mark.parametrize("values,expected", [([3], 3), ([9, 1, 5], 5), ([4, 1, 3, 2], 2.5)])
def test_the_median_is_the_middle(values: list[float], expected: float) -> None:
    assert forecast.median(values) == expected


def test_errors_too_large_to_square_are_survived() -> None:
    past = demand([0.0, 0.0, 2.0, 3e155, 0.0, 0.0])
    choice = forecast.choose(past, [Steady(), Trend()], 2, 1)
    assert choice.error is not None
    assert choice.error > 1e154


def test_the_dust_of_floating_point_chooses_no_model() -> None:
    past = demand([0.1 * 3 + index * 1e-17 for index in range(40)])
    assert forecast.choose(past, models(4, 1), 4, 1).model.name == "steady demand"
