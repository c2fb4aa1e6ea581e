"""Secrets: planted in every place that they could come from, and found in no line."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from navarch.telemetry import formats, redaction
from navarch.telemetry.log import Event
from navarch.telemetry.redaction import HIDDEN, without_secrets
from navarch.telemetry.values import FIELD_BYTES_MAX

SECRET = "S3cr3tW0rdOfTheHouse"

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\nAAAABG5vbmU\n"

PLANTED = {
    "a bearer token": f"sent Authorization: Bearer {SECRET}",
    "a header as Python shows it": f"headers={{'Authorization': 'Bearer {SECRET}'}}",
    "a header as bytes": f"[(b'authorization', b'Bearer {SECRET}'), (b'host', b'x')]",
    "a header with a scheme of its own": f"authorization: AWS4-HMAC-SHA256 Signature={SECRET}",
    "basic authentication": f"Basic {SECRET}Zm9vOmJhcg==",
    "a cookie": f"Set-Cookie: session={SECRET}; HttpOnly",
    "an api key in a header": f"x-api-key: {SECRET}",
    "a password in an address": f"postgresql://navarch:{SECRET}@db.example/navarch: refused",
    "a password with a slash": f"cannot reach postgresql://navarch:a/{SECRET}@db/navarch",
    "a token as a user": f"https://{SECRET}@github.example/x.git",
    "a connection string": f"host=db user=navarch password={SECRET} dbname=x",
    "a quoted connection string": f"password='{SECRET} and more'",
    "a query": f"https://x.example/?access_token={SECRET}&page=1",
    "a signed address": f"https://b.s3.example/m?X-Amz-Signature={SECRET}&X-Amz-Expires=60",
    "the credential of one": f"X-Amz-Credential={SECRET}%2F2026%2Feu",
    "a shared access signature": f"https://a.blob.example/m?sv=2&sig={SECRET}",
    "JSON": json.dumps({"client_secret": SECRET, "id": 1}),
    "JSON inside of JSON": json.dumps(json.dumps({"api_key": SECRET})),
    "YAML": f"token: {SECRET}",
    "an environment": f"AWS_SECRET_ACCESS_KEY={SECRET} PATH=/bin",
    "a token of a node": f"nvn1.bm9kZQ.{SECRET}",
    "a private key": f"{PEM}{SECRET}",
}


def logged(form: formats.Format, message: object, raised: BaseException | None = None) -> str:
    told = (type(raised), raised, raised.__traceback__) if raised is not None else None
    record = logging.LogRecord("navarch.x", logging.INFO, "x", 1, message, None, told)
    return formats.formatter(form, {"service": "server"}).format(record)


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("where", PLANTED)
def test_a_secret_is_in_no_line(where: str, form: formats.Format) -> None:
    text = PLANTED[where]
    error = RuntimeError(f"the provider says: {text}")
    lines = (
        logged(form, Event("x", {"error": text})),
        logged(form, Event("x", {"held": ["a", {"b": text}]})),
        logged(form, Event("x", {"raw": text.encode(), "error": error})),
        logged(form, Event("x", {}), raised=error),
        logged(form, text.replace("%", "")),
        str(Event("x", {"error": text})),
    )
    assert [line for line in lines if SECRET in line] == []
    assert all(HIDDEN in line for line in lines)


@pytest.mark.parametrize(
    "secret",
    [
        JWT,
        "AKIAIOSFODNN7EXAMPLE",
        "ya29.a0AfB_byC-x",
        f"ghp_{SECRET}",
        f"sk-{SECRET}",
        f"hf_{SECRET}",
    ],
)
def test_tokens_of_known_forms_are_known_anywhere(secret: str) -> None:
    assert without_secrets(f"it said {secret}, then hung up") == f"it said {HIDDEN}, then hung up"


@pytest.mark.parametrize(
    "name",
    [
        *("token", "api_key", "apiKey", "password", "authorization", "Authorization", "cookie"),
        *("client_secret", "AWS_SECRET_ACCESS_KEY", "private_key", "user_data", "x-api-key"),
        *("node_token", "set-cookie", "credentials", "session_token"),
    ],
)
def test_a_field_that_is_called_like_a_secret_shows_nothing(name: str) -> None:
    for form in ("json", "text"):
        for fields in ({name: SECRET}, {"headers": {name: SECRET}}, {name: [SECRET]}):
            assert SECRET not in logged(form, Event("x", fields)), (form, fields)


def test_what_is_no_secret_is_told() -> None:
    for text in (
        "pool training wants 5 nodes: queue 12 asks for 13, capped by max 10",
        "unauthenticated: a token is required: send one",
        "the token is not valid",
        "http://127.0.0.1:50051/readyz answers 503",
        "https://navarch@example.org/x",
        "tokens: 3, keys: 4",
        "node-1 nvlink key events",
        "basic checks passed",
        "XID 79 at PCI:0000:3b:00",
        "server.auth.tokens: token_file: /etc/navarch/operator.token",
    ):
        assert without_secrets(text) == text
    assert "token_file=/etc/x" in str(Event("x", {"token_file": "/etc/x"}))


# --- what the process holds ------------------------------------------------------------------


@pytest.fixture(name="held")
def _held() -> Iterator[None]:
    redaction.know("open sesame 1", "two\nlines of key", 'quo"ted\\secret', "short")
    redaction.know_url("postgresql://me:p%40ss-word@db/x")
    yield
    redaction.forget(
        ["open sesame 1", "two\nlines of key", 'quo"ted\\secret', "p%40ss-word", "p@ss-word"]
    )


@pytest.mark.usefixtures("held")
def test_what_the_process_holds_is_blanked_wherever_it_stands() -> None:
    for secret in ("open sesame 1", "lines of key", 'quo"ted\\secret', "p@ss-word", "p%40ss-word"):
        error = RuntimeError(f"cannot use <{secret}>")
        for line in (
            logged("json", Event("x", {"error": f"odd {secret}odd"})),
            logged("text", Event("x", {"held": {"a": [secret]}})),
            logged("json", Event("x", {f"{secret}": 1})),
            logged("json", Event("x", {}), raised=error),
            logged("text", f"library: {secret}"),
        ):
            assert secret not in line
            assert json.dumps(secret)[1:-1] not in line
    assert "short" in logged("json", Event("x", {"error": "a short one"}))


@pytest.mark.usefixtures("held")
def test_a_secret_across_the_cut_of_a_long_field_is_not_half_told() -> None:
    for before in range(FIELD_BYTES_MAX - 100, FIELD_BYTES_MAX + 20, 3):
        line = logged("json", Event("x", {"error": "y" * before + "open sesame 1" * 400}))
        assert "open sesa" not in line
        line = logged(
            "json", Event("x", {"error": "y " * (before // 2) + "open sesame 1 " * 9_000})
        )
        assert "open sesa" not in line


def test_secret_looking_variables_of_the_environment_are_known() -> None:
    environ = {
        "LAMBDA_API_KEY": "from-the-environment-1",
        "PGPASSWORD": "from-the-environment-2",
        "HOME": "/a/home/directory",
        "NAVARCH_TOKEN_FILE": "/etc/navarch/token",
    }
    redaction.know_environment(environ)
    try:
        text = without_secrets(" ".join(environ.values()))
        assert text == f"{HIDDEN} {HIDDEN} /a/home/directory /etc/navarch/token"
    finally:
        redaction.forget(environ.values())
    assert without_secrets("from-the-environment-1") == "from-the-environment-1"


# --- and nobody can make it slow -------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("a://a:" * 2_000, "eyJ-" * 3_000, "password" * 1_500, "token : " * 1_500, "a." * 6_000),
        *(
            "-----BEGIN PRIVATE KEY-----" * 400,
            "basic " * 2_000,
            "token=" * 2_000,
            "x://" + "@" * 8_000,
        ),
        *("cookie," * 1_800, '"token\\"' * 1_500, "a" * 8_000 + "://:@"),
    ],
)
def test_no_text_takes_long(text: str) -> None:
    began = time.thread_time()
    without_secrets(text[:8_192])
    assert time.thread_time() - began < 0.25


@settings(max_examples=50, deadline=None)
@given(some.text(), some.sampled_from(sorted(PLANTED)))
def test_it_never_raises_and_what_was_blanked_stays_so(text: str, where: str) -> None:
    once = without_secrets(f"{PLANTED[where]} {text}")
    assert SECRET not in once
    assert SECRET not in without_secrets(once)
