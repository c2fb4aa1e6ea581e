"""An HTTP API that is written to: any status is an answer, and failures name the address."""

from __future__ import annotations

import asyncio
import traceback
from datetime import timedelta
from pathlib import Path

import pytest

from http_receiver import Sent, receiving
from navarch.peers.endpoint import Answer, Credentials, Endpoint
from navarch.peers.unanswered import Unanswered

SOON = timedelta(seconds=10)


def send(url: str, *, called: str = "", deadline: timedelta = SOON) -> Answer:
    async def story() -> Answer:
        endpoint = Endpoint(url, bytes_max=10)
        try:
            return await endpoint.send(
                "PATCH",
                "/secret/things?a=b%20c",
                body=b"body",
                headers={"content-type": "text/plain"},
                deadline=deadline,
                called=called,
            )
        finally:
            await endpoint.close()

    return asyncio.run(story())


@pytest.mark.parametrize("status", [200, 201, 302, 404, 503])
def test_a_request_arrives_as_it_was_and_any_status_is_an_answer(status: int) -> None:
    with receiving(lambda sent: sent.answer(status, "fine", retry_after="7")) as web:
        answer = send(web.url)
    [sent] = web.sent
    assert answer == Answer(status=status, body=b"fine", is_cut=False, retry_after="7")
    assert (sent.method, sent.path, sent.query) == ("PATCH", "/secret/things", {"a": "b c"})
    assert (sent.body, sent.headers["content-type"]) == (b"body", "text/plain")


@pytest.mark.parametrize("length,is_cut", [(9, False), (10, False), (11, True), (99_999, True)])
def test_an_answer_is_cut_at_the_limit(length: int, *, is_cut: bool) -> None:
    with receiving(lambda sent: sent.answer(200, b"x" * length)) as web:
        answer = send(web.url)
    assert (len(answer.body), answer.is_cut) == (min(length, 10), is_cut)


def test_an_address_that_is_secret_is_neither_in_the_error_nor_in_its_trace() -> None:
    with receiving(Sent.hang_up) as web:
        for url in (web.url, "http://127.0.0.1:1"):
            with pytest.raises(Unanswered) as failure:
                send(url, called="the receiver")
            assert str(failure.value).startswith("the receiver: ")
            assert "/secret" not in "".join(traceback.format_exception(failure.value))
            with pytest.raises(Unanswered, match=r"/secret/things\?a=b%20c: "):
                send(url)


def test_a_slow_answer_ends_with_the_deadline() -> None:
    def say_nothing(sent: Sent) -> None:
        sent.closing.wait(30)

    with receiving(say_nothing) as web, pytest.raises(Unanswered, match=r"within 0\.15 s"):
        send(web.url, deadline=timedelta(milliseconds=150))


def test_a_file_that_is_no_text_holds_no_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    with pytest.raises(Unanswered, match=r"the token file .* is no text"):
        Credentials(token_file=str(tmp_path / "token")).header()
