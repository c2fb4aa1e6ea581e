"""What a relay believes of its nodes: for a while, and only what it was told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from navarch.relay.roster import FORGOTTEN, LOOK_EVERY, TRUSTED, Roster, digest

MINE, OTHER = digest(b"Bearer mine"), digest(b"Bearer other")


def test_a_node_is_let_in_only_with_what_was_checked_for_it() -> None:
    roster = Roster()
    assert not roster.admits("n1", MINE, 0.0)
    roster.admitted("n1", MINE, 0.0)
    assert roster.admits("n1", MINE, 1.0)
    assert not roster.admits("n1", OTHER, 1.0)
    assert not roster.admits("n2", MINE, 1.0)


def test_no_header_is_not_an_empty_one() -> None:
    assert digest(None) != digest(b"")


@given(st.binary(max_size=20))
def test_what_was_checked_is_checked_again_after_a_while(token: bytes) -> None:
    roster = Roster()
    roster.admitted("n1", digest(token), 0.0)
    assert roster.admits("n1", digest(token), TRUSTED * 0.74)
    assert not roster.admits("n1", digest(token), TRUSTED * 1.26)


def test_another_token_of_a_node_takes_the_place_of_the_first() -> None:
    roster = Roster()
    roster.admitted("n1", MINE, 0.0)
    roster.admitted("n1", OTHER, 1.0)
    assert roster.admits("n1", OTHER, 2.0)
    assert not roster.admits("n1", MINE, 2.0)


def test_there_is_room_for_so_many_and_then_for_whoever_takes_the_place_of_the_silent() -> None:
    roster = Roster(nodes_max=2)
    for node_id in ("n1", "n2", "n3"):
        roster.admitted(node_id, MINE, 0.0)
    assert len(roster) == 2
    assert not roster.admits("n3", MINE, 0.0)
    roster.admits("n1", MINE, FORGOTTEN)
    later = FORGOTTEN + LOOK_EVERY + 1.0
    roster.admitted("n3", MINE, later)
    assert roster.admits("n1", MINE, later)
    assert roster.admits("n3", MINE, later)
    assert not roster.admits("n2", MINE, later)


def test_nothing_waits_for_a_node_only_where_that_was_said_and_not_long_ago() -> None:
    roster = Roster()
    roster.interval = 30
    roster.admitted("n1", MINE, 0.0)
    assert not roster.has_nothing("n1", 0.0)
    roster.told(["n1", "stranger"], frozenset(), 10.0)
    assert roster.has_nothing("n1", 70.0)
    assert not roster.has_nothing("n1", 90.0)
    assert not roster.has_nothing("stranger", 10.0)


def test_a_waiting_command_is_remembered_until_the_node_has_polled() -> None:
    roster = Roster()
    roster.admitted("n1", MINE, 0.0)
    roster.told(["n1"], {"n1"}, 1.0)
    assert roster.is_pending("n1")
    assert not roster.has_nothing("n1", 1.0)
    roster.polled("n1")
    assert not roster.is_pending("n1")
    roster.told(["n1"], {"n1"}, 2.0)
    assert roster.is_pending("n1")
    roster.told(["n1"], frozenset(), 3.0)
    assert not roster.is_pending("n1")


def test_a_forgotten_node_is_asked_for_again() -> None:
    roster = Roster()
    roster.admitted("n1", MINE, 0.0)
    roster.told(["n1"], {"n1"}, 1.0)
    roster.forget(["n1", "n2"])
    assert len(roster) == 0
    assert not roster.admits("n1", MINE, 2.0)
    assert not roster.is_pending("n1")
