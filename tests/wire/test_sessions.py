"""Sessions of people at browsers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.errors import WireError
from navarch.wire.auth import Authenticator, Role, StaticToken, mint_node_token
from navarch.wire.sessions import (
    CSRF_HEADER,
    ENDED_MAX,
    HOLDS,
    HOLDS_MAX,
    Session,
    Sessions,
    Visit,
    cookie_name,
)

SECRET = b"0123456789abcdef"
OPS = StaticToken("ops", Role.OPERATOR, "ops-token")
EYES = StaticToken("eyes", Role.VIEWER, "eyes-token")
NAME = cookie_name("http", 50051)
START = datetime(2026, 11, 1, tzinfo=UTC)


class At:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def sessions(at: At | None = None, *tokens: StaticToken, secret: bytes = SECRET) -> Sessions:
    return Sessions(Authenticator(tokens or (OPS, EYES), secret), at or At())


def begun(of: Sessions, token: str = "ops-token") -> Visit:
    return of.begin(token, "10.0.0.1", 0.0)


def code_of(of: Sessions, token: str, peer: str = "p", at: float = 0.0) -> str:
    with pytest.raises(WireError) as caught:
        of.begin(token, peer, at)
    return caught.value.code


def visit(of: Sessions, cookie: str, method: str = "GET", **more: str) -> Visit | None:
    headers = [(b"cookie", f"a=b; {NAME}={cookie}; c=d".encode())]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    return of.visit(method, headers, NAME)


def test_a_session_stands_for_the_token_that_was_shown() -> None:
    known = sessions()
    opened = begun(known)
    assert (opened.principal.name, opened.principal.role) == ("ops", Role.OPERATOR)
    assert visit(known, known.cookie(opened.session)) == opened


def test_a_session_holds_over_a_restart_and_on_another_server_of_the_fleet() -> None:
    cookie = sessions().cookie(begun(sessions()).session)
    assert visit(sessions(), cookie) is not None
    assert visit(sessions(secret=b"another secret of 32 bytes......"), cookie) is None


def test_a_session_ends_when_its_token_leaves_the_configuration() -> None:
    known = sessions()
    opened = begun(known)
    later = sessions(None, EYES)
    assert visit(later, known.cookie(opened.session)) is None
    assert not later.holds(opened.session)
    changed = StaticToken("ops", Role.OPERATOR, "another-token")
    assert visit(sessions(None, changed), known.cookie(opened.session)) is None


def test_a_session_ends_by_itself_and_is_renewed_while_it_is_used() -> None:
    at = At()
    known = sessions(at)
    session = begun(known).session
    assert known.renewed(session) is None, "it is fresh"
    at.now += HOLDS * 0.6
    longer = known.renewed(session)
    assert longer is not None
    assert visit(known, known.cookie(longer)) is not None
    at.now = START + HOLDS + timedelta(seconds=1)
    assert visit(known, known.cookie(session)) is None
    assert visit(known, known.cookie(longer)) is not None


def test_nobody_stays_for_longer_than_a_week_without_the_token() -> None:
    at = At()
    known = sessions(at)
    session = begun(known).session
    while at.now < START + 2 * HOLDS_MAX and known.holds(session):
        at.now += HOLDS / 2
        session = known.renewed(session) or session
    assert HOLDS_MAX - HOLDS <= at.now - START <= HOLDS_MAX + HOLDS


def test_who_has_logged_out_is_not_known_again() -> None:
    known = sessions()
    opened, other = begun(known), begun(known)
    known.end(opened.session)
    assert visit(known, known.cookie(opened.session)) is None
    assert visit(known, known.cookie(other.session)) is not None


def test_ended_sessions_are_remembered_up_to_a_bound() -> None:
    known = sessions()
    opened = begun(known)
    known.end(opened.session)
    for number in range(ENDED_MAX - 1):
        known.end(Session(str(number), "", 0, 0))
    assert not known.holds(opened.session)
    known.end(Session("one more", "", 0, 0))
    assert known.holds(opened.session), "the oldest has given way"


def test_a_change_needs_the_code_that_no_other_page_can_read() -> None:
    known = sessions()
    opened = begun(known)
    cookie = known.cookie(opened.session)
    right = known.csrf(opened.session)
    assert visit(known, cookie, "POST", x_navarch_csrf=right) == opened
    for wrong in ("", "x", known.csrf(begun(known).session), "é"):
        with pytest.raises(WireError, match=CSRF_HEADER.decode()) as caught:
            visit(known, cookie, "POST", x_navarch_csrf=wrong)
        assert caught.value.code == "permission_denied"
    with pytest.raises(WireError):
        visit(known, cookie, "POST")


def test_who_shows_a_token_is_no_visitor() -> None:
    known = sessions()
    cookie = known.cookie(begun(known).session)
    assert visit(known, cookie, "POST", authorization="Bearer eyes-token") is None


def test_a_wrong_token_and_that_of_a_node_begin_no_session() -> None:
    known = sessions()
    assert code_of(known, "a guess") == "unauthenticated"
    assert code_of(known, "") == "unauthenticated"
    assert code_of(known, mint_node_token(SECRET, "n1")) == "permission_denied"


def test_who_guesses_is_slowed_down_and_the_others_are_not() -> None:
    known = sessions()
    codes = [code_of(known, "a guess", "10.0.0.9") for _ in range(12)]
    assert codes == ["unauthenticated"] * 10 + ["resource_exhausted"] * 2
    with pytest.raises(WireError) as caught:
        known.begin("ops-token", "10.0.0.9", 0.0)
    assert caught.value.retry_after is not None
    assert begun(known).principal.name == "ops"
    assert known.begin("ops-token", "10.0.0.9", 60.0).principal.name == "ops"


def test_guesses_from_everywhere_are_slowed_down_together() -> None:
    known = sessions()
    codes = {code_of(known, "a guess", f"10.0.{number}.1") for number in range(110)}
    assert codes == {"unauthenticated", "resource_exhausted"}


def test_cookies_of_two_servers_on_one_host_do_not_meet() -> None:
    assert cookie_name("http", 1) != cookie_name("http", 2)
    assert cookie_name("https", 1).startswith("__Host-")


@given(st.text(max_size=300))
def test_no_text_is_taken_for_a_session(text: str) -> None:
    assert sessions().read(text) is None


@given(st.binary(max_size=300))
def test_no_header_breaks_anything(raw: bytes) -> None:
    known = sessions()
    assert known.visit("GET", [(b"cookie", raw)], NAME) is None
    assert known.visit("GET", [(b"cookie", NAME.encode() + b"=" + raw)], NAME) is None


@given(st.data())
def test_a_session_that_was_changed_in_one_place_is_none(data: st.DataObject) -> None:
    known = sessions()
    cookie = known.cookie(begun(known).session)
    place = data.draw(st.integers(0, len(cookie) - 1))
    letter = data.draw(st.sampled_from("abcdefghijkABCDEFGH0123456789-_."))
    changed = cookie[:place] + letter + cookie[place + 1 :]
    assert changed == cookie or known.read(changed) is None
