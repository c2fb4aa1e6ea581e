"""As whom Google Cloud is asked: files, the metadata server, and tokens that end or are taken."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from doubles.compute_engine_faults import Refuse
from doubles.compute_engine_identity import ACCOUNT, key_pair
from doubles.gcp_bench import Bench
from navarch.errors import ProviderError, Unauthorized, Unavailable
from navarch.providers.gcp import GcpProvider

LOST = {"GOOGLE_APPLICATION_CREDENTIALS": "", "CLOUDSDK_CONFIG": "/nonexistent"}


def listing(bench: Bench, **settings: Any) -> None:  # noqa: ANN401
    bench.run(lambda provider: provider.list(), **settings)


def by_file(path: object) -> dict[str, Any]:
    return {"credentials_file": str(path), "use_metadata_server": False}


def test_a_key_file_is_exchanged_for_a_token_that_is_kept(bench: Bench) -> None:
    async def story(provider: GcpProvider) -> None:
        for _ in range(3):
            await provider.list()

    bench.run(story, **by_file(bench.key_file()))

    assert len(bench.double.identity.given) == 1


def test_many_who_wait_ask_for_one_token(bench: Bench) -> None:
    async def story(provider: GcpProvider) -> None:
        await asyncio.gather(*(provider.list() for _ in range(8)))

    bench.run(story)

    assert len(bench.double.identity.given) == 1


def test_a_token_is_replaced_before_it_ends(bench: Bench) -> None:
    async def story(provider: GcpProvider) -> None:
        await provider.list()
        bench.time.advance(timedelta(minutes=55))
        await provider.list()
        bench.time.advance(timedelta(minutes=2))
        await provider.list()

    bench.run(story)

    assert len(bench.double.identity.given) == 2


def test_a_token_that_cannot_be_replaced_is_used_to_its_end(bench: Bench) -> None:
    async def story(provider: GcpProvider) -> None:
        await provider.list()
        bench.double.identity.faults.extend([(500, b"")] * 2)
        bench.time.advance(timedelta(minutes=58))
        await provider.list()
        bench.time.advance(timedelta(minutes=3))
        with pytest.raises(Unavailable, match="HTTP 500"):
            await provider.list()

    bench.run(story)


def test_a_token_taken_back_is_replaced_within_the_call(bench: Bench) -> None:
    async def story(provider: GcpProvider) -> None:
        await provider.list()
        bench.double.identity.revoke()
        await provider.list()

    bench.run(story)

    assert len(bench.double.identity.given) == 2


def test_credentials_revoked_half_way_are_unauthorized(bench: Bench) -> None:
    async def story(provider: GcpProvider) -> None:
        await provider.list()
        bench.double.identity.is_refused = True
        with pytest.raises(Unauthorized, match="invalid_grant: Invalid JWT Signature"):
            await provider.list()

    bench.run(story, **by_file(bench.key_file()))


def test_a_token_that_is_never_taken_is_unauthorized(bench: Bench) -> None:
    bench.double.script("list", *[Refuse(401, "authError")] * 2)

    with pytest.raises(Unauthorized, match="HTTP 401"):
        listing(bench)


def test_a_key_that_was_changed_is_used_for_the_next_token(bench: Bench, tmp_path: Path) -> None:
    broken, link = tmp_path / "broken.json", tmp_path / "key.json"
    broken.write_text("{}")
    link.symlink_to(broken)
    good = bench.key_file()

    async def story(provider: GcpProvider) -> None:
        with pytest.raises(Unauthorized, match="type is ''"):
            await provider.list()
        os.replace(good, link)  # noqa: PTH105 - as a rotation does it
        await provider.list()

    bench.run(story, **by_file(link))


def test_a_users_own_credentials_do_as_well(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "user.json"
    described = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "s",
        "refresh_token": "r-1",
        "token_uri": f"{bench.double.url}/token",
    }
    path.write_text(json.dumps(described))

    async def story(provider: GcpProvider) -> None:
        await provider.list()

    # google-auth takes the address of a user's tokens from itself, not from the file.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", described["token_uri"]
        )
        bench.run(story, **by_file(path))

    assert len(bench.double.identity.given) == 1


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "no file of credentials"),
        (b"\xff\xfe", "no file of credentials"),
        (b"[]", "no file of credentials"),
        (b"[" * 10_000, "no file of credentials"),
        (b'{"type": "gdch_service_account"}', "type is 'gdch_service_account', expected serv"),
        (b'{"type": "service_account"}', "no whole service_account"),
        (b'{"type": "authorized_user"}', "no whole authorized_user"),
        (b'{"type": "external_account"}', "no whole external_account"),
        (b'{"type": "impersonated_service_account"}', "no whole impersonated_service_account"),
    ],
)
def test_a_broken_file_is_unauthorized_and_says_what_it_is(
    bench: Bench, tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "credentials.json"
    path.write_bytes(content)

    with pytest.raises(Unauthorized, match=says):
        listing(bench, **by_file(path))


def test_a_missing_file_is_named(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(Unauthorized, match=r"cannot read .*gone\.json: No such file"):
        listing(bench, **by_file(tmp_path / "gone.json"))


def test_a_key_is_in_no_error(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    described = {
        "type": "service_account",
        "private_key": secret,
        "client_email": ACCOUNT,
        "token_uri": f"{bench.double.url}/token",
    }
    path.write_text(json.dumps(described))

    with pytest.raises(Unauthorized) as refused:
        listing(bench, **by_file(path))

    told = f"{refused.value!r} {refused.value.__cause__!r}"
    assert "c2VjcmV0" not in told
    assert refused.value.__suppress_context__


def test_an_echo_of_the_assertion_is_blanked(bench: Bench) -> None:
    echo = json.dumps({"error": "invalid_grant", "error_description": f"bad {'eyJ' * 40}.x"})
    bench.double.identity.faults.append((400, echo.encode()))

    with pytest.raises(Unauthorized, match=r"invalid_grant: bad \*\*\*"):
        listing(bench, **by_file(bench.key_file()))


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b"null", b"\xff", b'{"access_token": 7}', b'{"expires_in": "x"}']
)
def test_a_token_endpoint_that_talks_nonsense_is_no_crash(bench: Bench, body: bytes) -> None:
    bench.double.identity.faults.append((200, body))

    with pytest.raises(ProviderError, match="no access token"):
        listing(bench, **by_file(bench.key_file()))


def test_a_token_endpoint_that_is_not_there_is_unavailable(bench: Bench) -> None:
    path = Path(bench.key_file())
    described = json.loads(path.read_text())
    path.write_text(json.dumps({**described, "token_uri": "http://127.0.0.1:1/token"}))

    with pytest.raises(Unavailable, match="refused"):
        listing(bench, **by_file(path))


def test_a_deadline_ends_the_thread_as_well(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("navarch.providers.gcp.tokens.TOKEN_TIME_MAX", timedelta(milliseconds=200))
    released = threading.Event()
    waited_in_vain: list[bool] = []

    def wait(asked: object) -> tuple[int, bytes]:
        waited_in_vain.append(not released.wait(5))
        return 500, b""

    monkeypatch.setattr(bench.double.identity, "answer", wait)

    async def story(provider: GcpProvider) -> None:
        with pytest.raises(Unavailable, match=r"no access token within 0.2 s"):
            await provider.list()

    bench.run(story, **by_file(bench.key_file()))  # which waits for its threads at its end
    assert waited_in_vain == []
    released.set()


@pytest.mark.parametrize(
    "status, body, kind, says",
    [
        (404, b"no", Unauthorized, "no service account"),
        (500, b"", Unavailable, "HTTP 500"),
        (200, b"{}", Unavailable, "no token"),
        (200, b'{"access_token": "ya29.x", "expires_in": -1}', Unavailable, "no token"),
        (200, b'{"access_token": "a b", "expires_in": 9}', Unavailable, "no header can carry"),
    ],
)
def test_a_metadata_server_without_a_token_has_its_error(
    bench: Bench, status: int, body: bytes, kind: type[ProviderError], says: str
) -> None:
    bench.double.identity.faults.append((status, body))

    with pytest.raises(kind, match=says) as failed:
        listing(bench)

    assert "ya29" not in f"{failed.value!r} {failed.value.__cause__!r}"


def test_the_environment_names_a_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", bench.key_file())

    listing(bench, use_metadata_server=False, metadata_url="http://127.0.0.1:1")

    assert len(bench.double.identity.given) == 1


def test_gclouds_own_file_comes_next(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    Path(bench.key_file()).rename(tmp_path / "application_default_credentials.json")

    listing(bench, use_metadata_server=False, metadata_url="http://127.0.0.1:1")

    assert len(bench.double.identity.given) == 1


def test_the_metadata_server_comes_last(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LOST.items():
        monkeypatch.setenv(name, value)

    listing(bench, use_metadata_server=False)

    assert len(bench.double.identity.given) == 1


def test_without_any_credentials_a_person_is_needed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in LOST.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(Unauthorized, match="give credentials_file, or set"):
        listing(bench, use_metadata_server=False, metadata_url="http://127.0.0.1:1")


def test_a_metadata_server_out_of_reach_is_unavailable_where_it_was_asked_for(
    bench: Bench,
) -> None:
    with pytest.raises(Unavailable, match="refused"):
        listing(bench, metadata_url="http://127.0.0.1:1")


def test_the_double_refuses_the_assertion_of_a_stranger(bench: Bench) -> None:
    path = Path(bench.key_file())
    described = {**json.loads(path.read_text()), "client_email": "eve@example.com"}
    path.write_text(json.dumps(described))
    assert key_pair()[0] in described.values()

    with pytest.raises(Unauthorized, match="invalid_grant"):
        listing(bench, **by_file(path))
