"""The webhook notifier over real sockets: what is sent, and what each answer means."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from http_receiver import Receiver, Sent, receiving
from navarch.controlplane.clock import FakeClock
from navarch.errors import ConfigError
from navarch.notifiers.base import (
    DrainStatus,
    NotifierError,
    NotifierRefused,
    NotifierUnavailable,
    NotifierUnknownNode,
    Workload,
)
from navarch.notifiers.webhook import WebhookNotifier, WebhookSettings

T = TypeVar("T")
START = datetime(2026, 5, 4, 12, tzinfo=UTC)
DEADLINE = datetime(2026, 5, 4, 13, tzinfo=UTC)
NODE = Workload(
    node_id="n1",
    hostname="gpu-1",
    internal_ip="10.0.0.1",
    pool="h100",
    provider="lambda",
    labels={"rack": "r1"},
)
SECRET_PATH = "/hooks/T0K3N"


class Waits:
    """Takes the place of sleeping, and remembers for how long."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def settings(url: str, **more: Any) -> WebhookSettings:  # noqa: ANN401 - whatever there is to set
    urls = {
        "cordon_url": f"{url}{SECRET_PATH}/cordon?key=K3Y",
        "uncordon_url": f"{url}{SECRET_PATH}/uncordon",
        "drain_url": f"{url}{SECRET_PATH}/drain",
        "drain_status_url": f"{url}{SECRET_PATH}/status/",
    }
    return WebhookSettings(**{**urls, **more})


def tell(
    settings: WebhookSettings,
    call: Callable[[WebhookNotifier], Awaitable[T]],
    *,
    clock: FakeClock | None = None,
    waits: Waits | None = None,
) -> T:
    async def story() -> T:
        now = (clock or FakeClock(START)).now
        notifier = WebhookNotifier(settings, now=now, sleep=waits or Waits())
        try:
            return await call(notifier)
        finally:
            await notifier.close()

    return asyncio.run(story())


def cordon(notifier: WebhookNotifier) -> Awaitable[None]:
    return notifier.cordon(NODE, "XID 79", intent=41)


def status(notifier: WebhookNotifier) -> Awaitable[DrainStatus]:
    return notifier.drained(NODE)


def fine(sent: Sent) -> None:
    sent.answer(200, '{"status": "drained", "remaining": 0}')


def bodies(web: Receiver) -> list[dict[str, Any]]:
    return [json.loads(sent.body) for sent in web.sent]


def test_each_action_is_posted_to_its_own_address_to_the_letter() -> None:
    async def all_of_them(notifier: WebhookNotifier) -> DrainStatus:
        await notifier.cordon(NODE, "XID 79\non GPU 3", intent=41)
        await notifier.drain(NODE, "XID 79", DEADLINE, intent=42)
        await notifier.uncordon(NODE, "repaired", intent=43)
        return await notifier.drained(NODE)

    with receiving(fine) as web:
        answer = tell(settings(web.url), all_of_them)
    assert answer == DrainStatus(done=True, remaining=0, text="drained, 0 left")
    assert [(sent.method, sent.path) for sent in web.sent] == [
        ("POST", "/hooks/T0K3N/cordon"),
        ("POST", "/hooks/T0K3N/drain"),
        ("POST", "/hooks/T0K3N/uncordon"),
        ("POST", "/hooks/T0K3N/status/"),
    ]
    assert web.sent[0].query == {"key": "K3Y"}
    first, second, *_ = bodies(web)
    delivery = first.pop("delivery_id")
    assert first == {
        "action": "cordon",
        "node_id": "n1",
        "hostname": "gpu-1",
        "internal_ip": "10.0.0.1",
        "pool": "h100",
        "provider": "lambda",
        "labels": {"rack": "r1"},
        "reason": "XID 79 on GPU 3",
        "deadline": None,
        "sent_at": 1777896000,
    }
    assert web.sent[0].headers["idempotency-key"] == delivery
    assert web.sent[0].headers["content-type"] == "application/json"
    assert (second["action"], second["deadline"]) == ("drain", "2026-05-04T13:00:00Z")
    assert len({body["delivery_id"] for body in bodies(web)[1:]} | {delivery}) == 4


def test_a_delivery_is_known_by_its_intent_and_without_one_by_its_time() -> None:
    clock = FakeClock(START)

    async def repeated(notifier: WebhookNotifier) -> None:
        for intent in (7, 7, 8, None, None):
            await notifier.cordon(NODE, "XID 79", intent=intent)
            clock.advance(timedelta(seconds=1))
        await notifier.cordon(Workload(node_id="n2"), "XID 79", intent=7)

    with receiving(fine) as web:
        tell(settings(web.url), repeated, clock=clock)
    keys = [sent.headers["idempotency-key"] for sent in web.sent]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 5


def test_the_body_is_signed_with_its_time_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text("from a file\n")
    monkeypatch.setenv("HOOK_SECRET", "from the environment")
    with receiving(fine) as web:
        tell(settings(web.url, secret_file=str(file)), cordon)
        tell(settings(web.url, secret_env="HOOK_SECRET"), cordon)
        tell(settings(web.url), cordon)
    for sent, secret in zip(web.sent, (b"from a file", b"from the environment"), strict=False):
        expected = hmac.new(secret, sent.body, hashlib.sha256).hexdigest()
        assert sent.headers["x-navarch-signature"] == f"sha256={expected}"
        assert sent.headers["x-navarch-timestamp"] == str(json.loads(sent.body)["sent_at"])
    assert "x-navarch-signature" not in web.sent[2].headers


def test_without_its_secret_nothing_is_sent(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with receiving(fine) as web:
        for more, words in (
            ({"secret_env": "NO_SUCH_SECRET"}, "NO_SUCH_SECRET is not set"),
            ({"secret_file": str(tmp_path / "none")}, "cannot read the secret file"),
            ({"secret_file": str(tmp_path / "empty")}, "is empty"),
            ({"secret_file": str(tmp_path / "binary")}, "is no text"),
        ):
            with pytest.raises(NotifierUnavailable, match=words):
                tell(settings(web.url, retries=0, **more), cordon)
    assert web.sent == []


def test_headers_are_sent_and_never_told() -> None:
    headers = {"Authorization": "Bearer v3ry-s3cret", "X-Team": "gpu", "X-Version": "1"}

    def echo(sent: Sent) -> None:
        sent.answer(403, json.dumps({**sent.headers, "key": "only v3ry-s3cret 1"}))

    with receiving(echo) as web:
        given = settings(web.url, headers=headers)
        with pytest.raises(NotifierRefused) as refused:
            tell(given, cordon)
    assert web.sent[0].headers["authorization"] == "Bearer v3ry-s3cret"
    text = f"{refused.value} {given!r} {given}"
    assert "v3ry" not in text
    assert "T0K3N" not in text
    assert "K3Y" not in text
    assert "HTTP 403" in text
    assert "only *** 1" not in repr(given)


def test_a_secret_at_the_end_of_an_excerpt_is_not_told_by_half() -> None:
    def echo(sent: Sent) -> None:
        sent.answer(400, "x" * 290 + sent.headers["authorization"])

    with receiving(echo) as web, pytest.raises(NotifierRefused) as refused:
        tell(settings(web.url, headers={"Authorization": "Bearer v3ry-s3cret"}), cordon)
    assert "Bear" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_every_2xx_is_agreement_whatever_its_body(code: int) -> None:
    with receiving(lambda sent: sent.answer(code, b"" if code == 204 else b"\xff" * 99)) as web:
        tell(settings(web.url), cordon)
    assert len(web.sent) == 1


@pytest.mark.parametrize("code", [300, 301, 302, 304, 307, 400, 401, 403, 404, 409, 410, 422, 451])
def test_a_refusal_is_final_and_quotes_the_answer(code: int) -> None:
    def refuse(sent: Sent) -> None:
        sent.answer(code, b"" if code == 304 else "nodes in\x1b maintenance", location="/other")

    with receiving(refuse) as web, pytest.raises(NotifierRefused, match=f"HTTP {code}") as refused:
        tell(settings(web.url), cordon)
    assert len(web.sent) == 1
    assert not isinstance(refused.value, NotifierUnknownNode)
    assert str(refused.value).startswith(f"webhook: cordon: {web.url}: HTTP {code}: ")
    assert ("nodes in· maintenance" in str(refused.value)) == (code != 304)


@pytest.mark.parametrize("code", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_not_now_is_tried_again_and_then_left_to_the_caller(code: int) -> None:
    waits = Waits()
    with (
        receiving(lambda sent: sent.answer(code, "busy")) as web,
        pytest.raises(NotifierUnavailable, match=f"HTTP {code}: busy") as failure,
    ):
        tell(settings(web.url), cordon, waits=waits)
    assert len(web.sent) == 3
    assert waits.seconds == [0.25, 0.5]
    assert failure.value.retry_after is None
    assert len({sent.headers["idempotency-key"] for sent in web.sent}) == 1


def test_a_receiver_that_recovers_is_heard() -> None:
    answers = iter([503, 200])
    waits = Waits()
    with receiving(lambda sent: sent.answer(next(answers), retry_after="3")) as web:
        tell(settings(web.url), cordon, waits=waits)
    assert (len(web.sent), waits.seconds) == (2, [3])


def test_a_pause_longer_than_the_call_is_the_callers() -> None:
    with (
        receiving(lambda sent: sent.answer(429, retry_after="3600")) as web,
        pytest.raises(NotifierUnavailable) as failure,
    ):
        tell(settings(web.url), cordon)
    assert len(web.sent) == 1
    assert failure.value.retry_after == 300


def test_silence_ends_with_the_timeout() -> None:
    timeout = timedelta(milliseconds=150)

    def say_nothing(sent: Sent) -> None:
        sent.closing.wait(30)

    with (
        receiving(say_nothing) as web,
        pytest.raises(NotifierUnavailable, match=r"no answer within 0\.15 s"),
    ):
        tell(settings(web.url, timeout=timeout), cordon)
    assert len(web.sent) == 1


def test_a_broken_connection_is_tried_again_and_named_without_its_path() -> None:
    def hang_up(sent: Sent) -> None:
        sent.hang_up()

    with receiving(hang_up) as web, pytest.raises(NotifierUnavailable) as failure:
        tell(settings(web.url), cordon)
    assert len(web.sent) >= 3
    with pytest.raises(NotifierUnavailable) as away:
        tell(settings(web.url), cordon)
    traces = ["".join(traceback.format_exception(one.value)) for one in (failure, away)]
    assert all("T0K3N" not in trace for trace in traces)
    for text in (str(failure.value), str(away.value)):
        assert text.startswith(f"webhook: cordon: {web.url}: ")
        assert "T0K3N" not in text
        assert "K3Y" not in text


def test_only_the_receivers_own_word_makes_a_node_unknown() -> None:
    async def all_of_them(notifier: WebhookNotifier) -> DrainStatus:
        for call in (notifier.cordon(NODE, ""), notifier.drain(NODE, "", None)):
            with pytest.raises(NotifierUnknownNode, match="unknown_node"):
                await call
        await notifier.uncordon(NODE, "")
        return await notifier.drained(NODE)

    with receiving(lambda sent: sent.answer(404, '{"error": "unknown_node"}')) as web:
        answer = tell(settings(web.url), all_of_them)
    assert (answer.done, answer.remaining) == (True, 0)

    for body in (
        "",
        "404 page not found",
        '{"error": "unknown node"}',
        '{"error": 1}',
        "[" * 9_999,
    ):

        def refuse(sent: Sent, body: str = body) -> None:
            sent.answer(404, body)

        with receiving(refuse) as web, pytest.raises(NotifierRefused) as refused:
            tell(settings(web.url), status)
        assert not isinstance(refused.value, NotifierUnknownNode)


@pytest.mark.parametrize(
    "body,done,remaining,text",
    [
        ('{"status": "drained"}', True, None, "drained"),
        ('{"drained": true}', True, None, "drained"),
        ('{"drained": true, "remaining": 0, "more": [1]}', True, 0, "drained, 0 left"),
        ('{"drained": false}', False, None, "draining"),
        ('{"status": "draining", "remaining": 3}', False, 3, "draining, 3 left"),
        ('{"status": "draining", "message": "a\\njob"}', False, None, "draining: a job"),
        ('{"status": "drained", "remaining": 3}', False, 3, "draining, 3 left"),
        ('{"status": "draining", "drained": true}', False, None, "draining"),
        ('{"status": "drained", "drained": false}', False, None, "draining"),
    ],
)
def test_a_drain_status_is_read_and_in_doubt_is_not_done(
    body: str,
    done: bool,  # noqa: FBT001 - a column of the table above
    remaining: int | None,
    text: str,
) -> None:
    with receiving(lambda sent: sent.answer(200, body)) as web:
        answer = tell(settings(web.url), status)
    assert answer == DrainStatus(done=done, remaining=remaining, text=text)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", b"[]", b"null", b"\xff", b'"drained"', b'{"status": "gone"}'),
        *(b'{"drained": 1}', b'{"drained": true, "remaining": -1}', b"[" * 60_000),
        b'{"drained": true, "remaining": 1e999}',
        b'{"drained": true, "message": "' + b"x" * 70_000 + b'"}',
        b'{"drained": true}' + b" " * 70_000,
    ],
)
def test_what_is_no_drain_status_is_not_taken_for_one(body: bytes) -> None:
    with (
        receiving(lambda sent: sent.answer(200, body)) as web,
        pytest.raises(NotifierUnavailable, match="no drain status"),
    ):
        tell(settings(web.url), status)


def test_an_action_without_an_address_is_told_to_nobody() -> None:
    async def all_of_them(notifier: WebhookNotifier) -> DrainStatus:
        await notifier.cordon(NODE, "")
        await notifier.uncordon(NODE, "")
        await notifier.drain(NODE, "", None)
        return await notifier.drained(NODE)

    with receiving(fine) as web:
        only_drain = tell(WebhookSettings(drain_url=f"{web.url}/drain"), all_of_them)
        only_cordon = tell(WebhookSettings(cordon_url=f"{web.url}/cordon"), all_of_them)
    assert [sent.path for sent in web.sent] == ["/drain", "/cordon"]
    assert not only_drain.done
    assert "no drain_status_url" in only_drain.text
    assert only_cordon.done
    assert "told to nobody" in only_cordon.text


@pytest.mark.parametrize(
    "more,words",
    [
        ({"cordon_url": "ftp://x/"}, "cordon_url is no address"),
        ({"cordon_url": "http://"}, "cordon_url is no address"),
        ({"cordon_url": "http://host:99999/"}, "cordon_url is no address"),
        ({"cordon_url": "http://host:0/"}, "cordon_url is no address"),
        ({"cordon_url": "http://[::1/"}, "cordon_url is no address"),
        ({"cordon_url": "https://host/a b"}, "everything else encoded"),
        ({"cordon_url": "https://host/ü"}, "everything else encoded"),
        ({"cordon_url": "https://me:pass@host/"}, "use headers for secrets"),
        ({"cordon_url": "https://host/#there"}, "use headers for secrets"),
        ({}, "no address is given"),
        ({"drain_status_url": "https://host/"}, "without drain_url"),
        ({"drain_url": "https://host/", "headers": {"a b": "c"}}, "cannot be the name"),
        ({"drain_url": "https://host/", "headers": {"Host": "x"}}, "set by Navarch itself"),
        ({"drain_url": "https://host/", "headers": {"A": "x\r\nB: y"}}, "the value of A"),
        ({"drain_url": "https://host/", "headers": {"A": ""}}, "the value of A"),
        ({"drain_url": "https://host/", "secret_env": "A", "secret_file": "b"}, "not both"),
        ({"drain_url": "https://host/", "retries": 11}, "expected 0 to 10"),
        ({"drain_url": "https://host/", "retries": -1}, "expected 0 to 10"),
        ({"drain_url": "https://host/", "timeout": timedelta()}, "more than zero"),
    ],
)
def test_what_can_never_work_is_refused_without_its_secrets(
    more: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        WebhookSettings(**more)
    assert "pass" not in str(refused.value)
    assert "B: y" not in str(refused.value)


def test_a_certificate_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    given = WebhookSettings(drain_url="https://host/", ca_file=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="No such file"):
        WebhookNotifier(given, now=FakeClock(START).now)


def test_many_nodes_are_told_at_once() -> None:
    async def many(notifier: WebhookNotifier) -> list[BaseException | None]:
        nodes = [Workload(node_id=f"n{n}") for n in range(40)]
        calls = [notifier.cordon(node, "storm", intent=n) for n, node in enumerate(nodes)]
        return await asyncio.gather(*calls, return_exceptions=True)

    with receiving(fine) as web:
        outcomes = tell(settings(web.url), many)
    assert outcomes == [None] * 40
    assert {body["node_id"] for body in bodies(web)} == {f"n{n}" for n in range(40)}


def test_every_error_is_one_that_callers_know() -> None:
    assert {NotifierRefused, NotifierUnavailable, NotifierUnknownNode} == {
        *NotifierError.__subclasses__(),
        *NotifierRefused.__subclasses__(),
    }
