"""The packed column of what was heard last, against a plain dictionary."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from factories import at
from navarch.core.model.last_heard import ROWS_FIRST, LastHeard

IDS = [f"node-{number}" for number in range(8)]
BATCHES = [frozenset(IDS[:3]), frozenset(IDS[2:7]), frozenset[str]()]

moments = st.integers(0, 10**9).map(
    lambda microseconds: at() + timedelta(microseconds=microseconds)
)
words = st.one_of(
    st.tuples(st.just("one"), st.sampled_from(IDS), moments),
    st.tuples(st.just("many"), st.sampled_from(BATCHES), moments),
    st.tuples(st.just("forget"), st.sampled_from(IDS), moments),
)


@given(st.lists(words, max_size=30), moments)
def test_it_is_a_dictionary_that_can_be_searched(
    said: list[tuple[str, str | frozenset[str], datetime]], limit: datetime
) -> None:
    column, plain = LastHeard(), dict[str, datetime]()
    for what, who, when in said:
        if isinstance(who, frozenset):
            column.mark(who, when)
            plain |= dict.fromkeys(who, when)
        elif what == "one":
            column[who] = when
            plain[who] = when
        else:
            column.pop(who)
            plain.pop(who, None)
        assert column.moments() == plain
        assert len(column) == len(plain)
        assert sorted(column.before(limit)) == sorted(
            node_id for node_id, heard_at in plain.items() if heard_at < limit
        )
    assert all(
        (column.get(node_id), node_id in column) == (plain.get(node_id), node_id in plain)
        for node_id in IDS
    )
    assert column == LastHeard(plain)


def test_it_grows() -> None:
    many = {f"node-{number}": at(seconds=number) for number in range(3 * ROWS_FIRST)}
    assert LastHeard(many).moments() == many
    assert LastHeard(many).before(at(seconds=2)) == ["node-0", "node-1"]


def test_a_room_that_was_left_is_used_again() -> None:
    column = LastHeard({"a": at(), "b": at()})
    column.pop("a")
    column["c"] = at(seconds=1)
    assert column.before(at(seconds=1)) == ["b"]
    assert column.moments() == {"b": at(), "c": at(seconds=1)}
