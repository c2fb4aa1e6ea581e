"""Names that were probably meant."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from navarch.dashboard.names import nearest

IDS = [f"training-k3f9-{n:04d}" for n in range(1, 201)] + ["lab-1", "Lab/rack-7"]


def test_a_name_with_one_wrong_letter_finds_the_right_one_first() -> None:
    assert nearest("training-k3f8-0042", IDS)[0].startswith("training-k3f9-0")
    assert nearest("lab-2", IDS)[0] == "lab-1"


def test_a_part_of_a_name_finds_those_that_have_it() -> None:
    assert nearest("0042", IDS)[0] == "training-k3f9-0042"
    assert nearest("RACK", IDS)[0] == "Lab/rack-7"


def test_no_more_names_are_told_than_are_wanted() -> None:
    assert len(nearest("training", IDS, 3)) == 3
    assert nearest("", IDS, 2) == ["Lab/rack-7", "lab-1"]
    assert nearest("x", []) == []


@given(st.text(max_size=300))
def test_whatever_is_asked_for_the_answer_is_of_the_names(text: str) -> None:
    found = nearest(text, IDS)
    assert 1 <= len(found) <= 5
    assert set(found) <= set(IDS)
