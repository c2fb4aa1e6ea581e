"""Pages of a listing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from navarch.wire.queries import Page


@given(st.sets(st.text("abc", min_size=1)).map(sorted), st.integers(1, 5))
def test_pages_together_are_the_listing(ids: list[str], size: int) -> None:
    seen: list[str] = []
    token = ""
    while True:
        page, token = Page(size=size, after=token).of(ids)
        assert len(page) <= size
        seen.extend(page)
        if not token:
            break
    assert seen == ids


def test_without_a_size_everything_is_one_page() -> None:
    assert Page().of(["a", "b"]) == (["a", "b"], "")
    assert Page(size=3).of([]) == ([], "")


def test_what_went_between_two_pages_hides_nothing() -> None:
    _, token = Page(size=2).of(["a", "b", "c", "d"])
    assert token == "b"
    assert Page(size=2, after=token).of(["a", "c", "d"]) == (["c", "d"], "")
