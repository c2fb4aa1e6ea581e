"""Where credentials come from, that they may change, and that nobody sees them."""

from __future__ import annotations

import base64
import logging
import threading
import traceback
from datetime import timedelta
from pathlib import Path

import pytest

from doubles.ec2 import Ec2Double
from doubles.ec2_bench import KEY, SECRET, USER_DATA, Bench, request, run
from navarch.errors import Unauthorized, Unavailable

OF_THE_SDK = {"access_key_id_env": "", "secret_access_key_env": ""}


def write_profile(tmp_path: Path, key: str) -> None:
    """Keep credentials where the SDK looks for them."""
    (tmp_path / "credentials").write_text(
        f"[gpu]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n"
    )


def test_credentials_of_the_environment_are_read_at_each_use(
    bench: Bench, ec2: Ec2Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = bench.provider()
    ec2.keys = {KEY}
    run(provider.list())

    ec2.keys = {"AKIDNEXT"}
    with pytest.raises(Unauthorized):
        run(provider.list())
    monkeypatch.setenv("OUR_KEY_ID", "AKIDNEXT")

    assert run(provider.list()) == []
    assert [each.key for each in ec2.asked] == [KEY, KEY, "AKIDNEXT"]


def test_a_missing_variable_is_named_and_nothing_is_sent(
    bench: Bench, ec2: Ec2Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OUR_SECRET")

    with pytest.raises(Unauthorized, match="OUR_SECRET is not set"):
        run(bench.provider().provision(request()))

    assert ec2.asked == []


def test_a_session_token_is_sent(
    bench: Bench, ec2: Ec2Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_TOKEN", "IQoJb3JpZ2lu")

    run(bench.provider(session_token_env="OUR_TOKEN").list())

    assert [each.session_token for each in ec2.asked] == ["IQoJb3JpZ2lu"]


def test_credentials_that_were_replaced_in_a_file_are_found_without_a_failure(
    bench: Bench, ec2: Ec2Double, tmp_path: Path
) -> None:
    write_profile(tmp_path, "AKIDOLD")
    provider = bench.provider(**OF_THE_SDK, profile="gpu")
    ec2.keys = {"AKIDOLD"}
    run(provider.list())

    ec2.keys = {"AKIDNEW"}
    write_profile(tmp_path, "AKIDNEW")

    assert run(provider.list()) == []
    assert [each.key for each in ec2.asked] == ["AKIDOLD", "AKIDOLD", "AKIDNEW"]


def test_credentials_that_are_revoked_are_tried_once_a_call(
    bench: Bench, ec2: Ec2Double, tmp_path: Path
) -> None:
    write_profile(tmp_path, "AKIDOLD")
    provider = bench.provider(**OF_THE_SDK, profile="gpu")
    ec2.keys = set()

    with pytest.raises(Unauthorized, match="launch of train-k3f9-0001 in us-east-1: AuthFailure"):
        run(provider.provision(request()))

    assert len(ec2.asked) == 1


@pytest.mark.parametrize(
    "profile, because", [("", "NoCredentialsError|credentials"), ("absent", "profile")]
)
def test_no_credentials_at_all_is_unauthorized(
    bench: Bench, ec2: Ec2Double, profile: str, because: str
) -> None:
    with pytest.raises(Unauthorized, match=because):
        run(bench.provider(**OF_THE_SDK, profile=profile).provision(request()))

    assert ec2.asked == []


def test_no_secret_is_shown_by_anything(
    bench: Bench, ec2: Ec2Double, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    provider = bench.provider()
    shown = [repr(provider), repr(bench.settings)]
    for code in ("AuthFailure", "InternalError", "InvalidParameterValue"):
        ec2.fail_next(code)
        with pytest.raises(Exception, match=code) as failed:
            run(provider.provision(request()))
        shown += traceback.format_exception(failed.value)

    text = "".join([*shown, caplog.text])
    assert SECRET not in text
    assert "s3cr3t" not in text


def test_the_sdk_logs_no_start_up_script_even_where_everything_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("botocore"), "level", logging.NOTSET)  # noqa: TID251
    caplog.set_level(logging.DEBUG)
    provider = bench.provider()

    run(provider.provision(request()))

    assert base64.b64encode(USER_DATA.encode()).decode() not in caplog.text
    assert USER_DATA not in caplog.text


def test_credentials_that_come_too_late_send_nothing(
    bench: Bench, ec2: Ec2Double, tmp_path: Path
) -> None:
    """A helper program that hangs is inside the deadline, and surely nothing was done."""
    helper = tmp_path / "helper"
    keys = '{"Version": 1, "AccessKeyId": "AKIDLATE", "SecretAccessKey": "x"}'
    helper.write_text(f"#!/bin/sh\nsleep 0.6\necho '{keys}'\n")
    helper.chmod(0o700)
    (tmp_path / "config").write_text(f"[profile gpu]\ncredential_process = {helper}\n")
    late = {**OF_THE_SDK, "profile": "gpu", "timeout": timedelta(seconds=0.2)}
    provider = bench.provider(**late)

    with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
        run(provider.provision(request()))

    run(provider.close())
    for each in threading.enumerate():
        if each.name == "ec2 aws":
            each.join(timeout=20)
    assert ec2.asked == []
