"""Delta debugging: what is left fails, and nothing of it can be left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from navarch.simulator.shrinking.reducing import Attempts, Limits, ddmin, least


@given(st.sets(st.integers(0, 60), max_size=5), st.integers(1, 60))
def test_exactly_what_is_needed_is_left(needed: set[int], count: int) -> None:
    items = sorted({*range(count), *needed})
    assert ddmin(items, lambda some: needed <= set(some)) == sorted(needed)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_least_number_is_found(low: int, more: int) -> None:
    assert least(0, low + more, lambda number: number >= low) == low


def test_one_of_many_is_found_in_few_tries() -> None:
    tries = []

    def fails(some: list[int]) -> bool:
        tries.append(some)
        return 777 in some

    assert ddmin(range(1000), fails) == [777]
    assert len(tries) < 40


def test_each_candidate_is_tried_once_and_within_limits() -> None:
    tried: list[int] = []

    def fails(number: int) -> bool | None:
        tried.append(number)
        return None if number < 0 else True

    attempts = Attempts(fails, str, Limits(runs=2), lambda _line: None)
    assert not attempts.fails(-1)
    assert attempts.fails(1)
    assert attempts.fails(1)
    assert (attempts.runs, attempts.fails(2), attempts.spent) == (1, True, True)
    assert not attempts.fails(3)
    assert attempts.fails(1)
    assert tried == [-1, 1, 2]
