"""An HTTP API that is read: credentials, deadlines, limits, and every way to fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest

from http_double import Asked, serving
from navarch.errors import ConfigError
from navarch.peers.endpoint import Credentials, Endpoint
from navarch.peers.unanswered import Unanswered

SOON = timedelta(seconds=10)


def get(url: str, *, deadline: timedelta = SOON, credentials: Credentials | None = None) -> bytes:
    async def story() -> bytes:
        endpoint = Endpoint(url, credentials=credentials, bytes_max=1_000)
        try:
            return await endpoint.get("/things", {"a": "x y&z=1", "b": "ü"}, deadline)
        finally:
            await endpoint.close()

    return asyncio.run(story())


def lines(url: str) -> list[bytes]:
    async def story() -> list[bytes]:
        endpoint = Endpoint(url, bytes_max=1_000)
        async with aclosing(endpoint.lines("/things", {})) as read:
            found = [line async for line in read]
        await endpoint.close()
        return found

    return asyncio.run(story())


def refuse(asked: Asked) -> None:
    asked.answer("you\nmay   not", 403)


def redirect(asked: Asked) -> None:
    asked.answer("", 302, location="http://127.0.0.1:1/elsewhere")


def say_too_much(asked: Asked) -> None:
    asked.answer(b"x" * 2_000)


def break_off(asked: Asked) -> None:
    asked.connection.send_response(200)
    asked.connection.send_header("content-length", "100")
    asked.connection.end_headers()
    asked.connection.wfile.write(b"half")
    asked.connection.close_connection = True


def speak_gibberish(asked: Asked) -> None:
    asked.connection.wfile.write(b"\x00\x01 hello\r\n\r\n")
    asked.connection.close_connection = True


def say_nothing(asked: Asked) -> None:
    asked.closing.wait(30)


def stop_in_the_middle(asked: Asked) -> None:
    asked.start()
    asked.go_on("half")
    asked.closing.wait(30)


def test_an_answer_is_read_and_the_query_arrives_as_it_was() -> None:
    with serving(lambda asked: asked.answer("fine")) as web:
        assert get(web.url + "/base/") == b"fine"
    assert (web.asked[0].path, web.asked[0].query) == ("/base/things", {"a": "x y&z=1", "b": "ü"})
    assert "authorization" not in web.asked[0].headers


@pytest.mark.parametrize(
    "answer,words",
    [
        (refuse, r"/things: HTTP 403: you may not$"),
        (redirect, r"HTTP 302"),
        (say_too_much, r"above 1000 bytes"),
        (break_off, r"/things: "),
        (speak_gibberish, r"/things: "),
    ],
)
def test_every_failure_names_the_address(answer: Callable[[Asked], None], words: str) -> None:
    with serving(answer) as web, pytest.raises(Unanswered, match=words) as failure:
        get(web.url)
    assert web.url in str(failure.value)
    assert len(web.asked) == 1


@pytest.mark.parametrize("answer", [say_nothing, stop_in_the_middle])
def test_a_slow_answer_ends_with_the_deadline(answer: Callable[[Asked], None]) -> None:
    began = time.perf_counter()  # noqa: TID251 - the deadline is of real time
    with serving(answer) as web, pytest.raises(Unanswered, match=r"no answer within 0\.2 s"):
        get(web.url, deadline=timedelta(milliseconds=200))
    assert time.perf_counter() - began < 5  # noqa: TID251 - as above


def test_a_server_that_is_away_is_a_failure() -> None:
    with serving(refuse) as web:
        pass
    with pytest.raises(Unanswered, match="/things: "):
        get(web.url)


def test_the_status_of_a_refusal_is_kept() -> None:
    with serving(refuse) as web, pytest.raises(Unanswered) as failure:
        get(web.url)
    assert failure.value.status == 403


def test_lines_come_one_by_one_after_the_acceptance() -> None:
    def answer(asked: Asked) -> None:
        asked.start()
        for part in ("on", "e\ntw", "o\n\nthree\n"):
            asked.go_on(part)

    with serving(answer) as web:
        assert lines(web.url) == [b"", b"one", b"two", b"", b"three"]


@pytest.mark.parametrize(
    "content,words", [("one\ntw", "broke off within a line"), ("x" * 3_000, "a line above 1000")]
)
def test_a_line_that_does_not_end_is_a_failure(content: str, words: str) -> None:
    def answer(asked: Asked) -> None:
        asked.start()
        asked.go_on(content)

    with serving(answer) as web, pytest.raises(Unanswered, match=words):
        lines(web.url)


def test_a_token_is_read_anew_for_each_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    monkeypatch.setenv("THE_TOKEN", "from-env")
    with serving(lambda asked: asked.answer("fine")) as web:
        for token in ("one\n", "two\n"):
            file.write_text(token)
            get(web.url, credentials=Credentials(token_file=str(file)))
        get(web.url, credentials=Credentials(token_env="THE_TOKEN"))
        get(web.url, credentials=Credentials(username="me", password_env="THE_TOKEN"))
    assert [asked.headers["authorization"] for asked in web.asked] == [
        "Bearer one",
        "Bearer two",
        "Bearer from-env",
        "Basic bWU6ZnJvbS1lbnY=",
    ]


def test_a_secret_that_is_not_there_is_a_failure_and_nothing_is_sent(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with serving(lambda asked: asked.answer("fine")) as web:
        for credentials, words in (
            (Credentials(token_env="NO_SUCH_TOKEN"), "NO_SUCH_TOKEN is not set"),
            (Credentials(username="me", password_env="NO_SUCH"), "NO_SUCH is not set"),
            (Credentials(token_file=str(tmp_path / "none")), "none: No such file"),
            (Credentials(token_file=str(tmp_path / "empty")), "empty is empty"),
        ):
            with pytest.raises(Unanswered, match=words):
                get(web.url, credentials=credentials)
    assert web.asked == []


def test_what_cannot_be_an_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no address"):
        Endpoint("localhost:9090")
    with pytest.raises(ConfigError, match="No such file"):
        Endpoint("https://x", credentials=Credentials(ca_file=str(tmp_path / "none")))
    (tmp_path / "junk").write_text("-----BEGIN CERTIFICATE-----\njunk\n")
    with pytest.raises(ConfigError, match="cannot use"):
        Endpoint("https://x", credentials=Credentials(ca_file=str(tmp_path / "junk")))
    with pytest.raises(ConfigError, match="belong together"):
        Credentials(username="me")
    with pytest.raises(ConfigError, match="not several"):
        Credentials(token_env="A", token_file="b")
