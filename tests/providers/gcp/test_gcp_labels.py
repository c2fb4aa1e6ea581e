"""Labels in the letters that Google allows, and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.errors import InvalidRequest
from navarch.providers.gcp.labels import decoded, encoded

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NASTY = st.lists(
    st.sampled_from(["_", "x", "-", "_x", "_x5f_", "navarch-dev-", "navarch.dev/", "a", "2d", "."])
).map("".join)
LABELS = st.dictionaries(TEXT | NASTY, TEXT | NASTY, max_size=8)


@given(LABELS)
def test_labels_come_back_to_the_letter_and_google_takes_them(labels: dict[str, str]) -> None:
    there = encoded(labels)

    assert {"managed-by": "navarch", **labels} == decoded(there)
    for key, value in there.items():
        assert re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key)
        assert re.fullmatch(r"[a-z0-9_-]{0,63}", value)


@given(st.dictionaries(st.text(max_size=63), st.text(max_size=63), max_size=8))
def test_labels_of_strangers_are_read_without_a_crash(labels: dict[str, str]) -> None:
    for text in decoded(labels).items():
        assert all(isinstance(each, str) for each in text)


def test_labels_stay_legible_in_a_bill() -> None:
    labels = {
        "navarch.dev/pool": "training",
        "team": "ml-platform",
        "cost_center": "cc_42",
        "Größe": "8",
        "example.com/owner": "Ada",
    }

    assert encoded(labels) == {
        "managed-by": "navarch",
        "navarch-dev-pool": "training",
        "team": "ml-platform",
        "cost_center": "cc_42",
        "example_x2e_com_x2f_owner": "_x41_da",
        "navarch-packed-00": encoded({"Größe": "8"})["navarch-packed-00"],
    }


def test_a_label_of_a_stranger_is_left_as_it_is() -> None:
    labels = {"gpu_x": "a_x_b", "odd": "_x41_", "navarch-packed-00": "not-ours", "bad": "_xd800_"}

    assert decoded(labels) == {
        "gpu_x": "a_x_b",
        "odd": "A",
        "navarch-packed-00": "not-ours",
        "bad": "_xd800_",
    }


def test_a_value_too_long_for_one_label_takes_several() -> None:
    there = encoded({"note": "x" * 200})

    assert sorted(there)[1:] == [f"navarch-packed-{number:02}" for number in range(len(there) - 1)]
    assert decoded(there)["note"] == "x" * 200


def test_more_than_a_machine_can_carry_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"need \d+ of Google's, expected 64"):
        encoded({"note": "x" * 3_000})
