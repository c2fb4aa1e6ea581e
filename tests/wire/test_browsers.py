"""Whose page has caused a request."""

from __future__ import annotations

import pytest

from navarch.errors import WireError
from navarch.wire import browsers

OURS = "http://127.0.0.1:50051"


def refused(method: str, *, everybody: bool = True, **said: str) -> bool:
    return refused_saying(method, said, everybody=everybody)


def refused_saying(method: str, said: dict[str, str], *, everybody: bool = True) -> bool:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in said.items()]
    code = ""
    try:
        browsers.check(method, headers, scheme="http", everybody=everybody)
    except WireError as error:
        code = error.code
    assert code in ("", "permission_denied")
    return bool(code)


@pytest.mark.parametrize("everybody", [True, False])
def test_a_program_that_says_nothing_of_a_page_is_let_in(*, everybody: bool) -> None:
    for method in ("GET", "POST"):
        assert not refused(method, everybody=everybody, host="127.0.0.1:50051")
        assert not refused(method, everybody=everybody)


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "https://127.0.0.1:50051", "http://127.0.0.1:3000"),
        *("http://localhost:50051", "null", "", "http://127.0.0.1:50051.evil.example"),
    ],
)
@pytest.mark.parametrize("everybody", [True, False])
def test_a_page_of_another_origin_is_refused_by_its_origin(origin: str, *, everybody: bool) -> None:
    said = {"host": "127.0.0.1:50051", "origin": origin}
    assert refused_saying("POST", said, everybody=everybody)
    assert not refused("POST", everybody=everybody, host="127.0.0.1:50051", origin=OURS)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "unheard-of"])
def test_what_the_browser_says_of_the_page_comes_before_its_origin(site: str) -> None:
    said = {"host": "127.0.0.1:50051", "origin": OURS, "sec_fetch_site": site}
    assert refused_saying("POST", said)
    assert not refused("POST", host="localhost", origin="http://x", sec_fetch_site="same-origin")


def test_another_page_may_lead_here_but_not_fetch_anything() -> None:
    said = {"host": "localhost:50051", "sec_fetch_site": "cross-site"}
    assert not refused_saying("GET", {**said, "sec_fetch_mode": "navigate"})
    assert refused_saying("GET", {**said, "sec_fetch_mode": "no-cors"})
    assert refused_saying("GET", {**said, "sec_fetch_mode": "cors"})
    assert refused_saying("POST", {**said, "sec_fetch_mode": "navigate"})
    assert not refused("GET", host="localhost:50051", sec_fetch_site="none")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:50051", "localhost", "localhost:1", "[::1]:50051", "10.0.0.7:80", "a.localhost:1"],
)
def test_an_open_server_is_read_by_address_or_as_localhost(host: str) -> None:
    assert not refused("GET", host=host)
    assert not refused("POST", host=host, origin=f"http://{host}")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:50051", "localhost.evil.example", "127.0.0.1.evil.example:1"],
)
def test_an_open_server_does_not_answer_to_a_strangers_name(host: str) -> None:
    assert refused("GET", host=host)
    assert refused("POST", host=host, origin=f"http://{host}")
    assert not refused("POST", host=host), "a program may call it what it likes"
    assert not refused("GET", everybody=False, host=host), "a token is asked for there"


def test_who_shows_a_token_is_no_page() -> None:
    said = {"authorization": "Bearer x", "origin": "http://evil.example", "host": "evil.example"}
    assert not refused_saying("POST", {**said, "sec_fetch_site": "cross-site"})
