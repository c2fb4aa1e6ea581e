"""The start-up script vouches for the host keys of its machine, and nobody else can."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.ground import TOKEN, Ground, make_host_key
from navarch.bootstrap import FAILED_MARK, is_vouched_for
from navarch.bootstrap.host_keys import LINE_MARK, proof

FINGERPRINT = "SHA256:" + "k" * 43


def line(fingerprint: str = FINGERPRINT, token: str = TOKEN) -> str:
    return f"{LINE_MARK}{fingerprint} proof={proof(token, fingerprint)}"


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_each_host_key_of_the_machine_is_vouched_for(ground: Ground, shell: str) -> None:
    keys = [make_host_key(ground.root, kind) for kind in ("ed25519", "ecdsa")]

    done = ground.run(shell=shell, environ={"NAVARCH_BOOTSTRAP_HOST_KEYS": str(ground.root)})

    assert done.returncode == 0, done.stderr
    assert [is_vouched_for(ground.log, TOKEN, key) for key in keys] == [True, True]
    assert not is_vouched_for(ground.log, TOKEN, FINGERPRINT)
    assert not is_vouched_for(ground.log, "nvn1.of-another-node", keys[0])
    assert TOKEN not in ground.log + done.stdout


def test_keys_are_vouched_for_before_anything_can_fail(ground: Ground) -> None:
    key = make_host_key(ground.root)
    (ground.programs / "navarch").unlink()

    done = ground.run(environ={"NAVARCH_BOOTSTRAP_HOST_KEYS": str(ground.root)})

    assert FAILED_MARK in done.stdout
    assert is_vouched_for(ground.log, TOKEN, key)


@pytest.mark.parametrize(
    "trouble", ["no keys", "a file that is no key", "no ssh-keygen", "no sha256sum"]
)
def test_a_machine_whose_keys_cannot_be_told_becomes_a_node_all_the_same(
    ground: Ground, trouble: str
) -> None:
    if trouble == "a file that is no key":
        (ground.root / "ssh_host_rsa_key.pub").write_text("no key\n")
    elif trouble != "no keys":
        make_host_key(ground.root)
        ground.program(trouble.removeprefix("no "), "#!/bin/sh\nexit 127\n")

    done = ground.run(environ={"NAVARCH_BOOTSTRAP_HOST_KEYS": str(ground.root)})

    assert done.returncode == 0, done.stderr
    assert LINE_MARK not in ground.log


def test_a_script_without_a_token_vouches_for_nothing(ground: Ground) -> None:
    make_host_key(ground.root)
    done = ground.run(token=None, environ={"NAVARCH_BOOTSTRAP_HOST_KEYS": str(ground.root)})
    assert (done.returncode, LINE_MARK in ground.log) == (0, False)


def test_the_proof_is_what_the_decision_says() -> None:
    said = b"navarch host key 1\nt\nSHA256:x\nt\n"
    assert proof("t", "SHA256:x") == hashlib.sha256(said).hexdigest()


@given(st.text(), st.sampled_from(["", "\n", "\0", "2026-11-22T12:00:00Z "]))
def test_a_line_is_found_whatever_stands_around_it(around: str, before: str) -> None:
    assert is_vouched_for(f"{around}{before}{line()}\n{around}", TOKEN, FINGERPRINT)


@given(st.text(alphabet="SHA256:kxproof= navarch-bootstrap_0\n") | st.text())
def test_whatever_a_stranger_writes_vouches_for_nothing(text: str) -> None:
    made = line(token="guessed")
    assert not is_vouched_for(f"{text}\n{made}\n{text}", TOKEN, FINGERPRINT)


def test_the_proof_of_one_key_is_none_of_another() -> None:
    other = "SHA256:" + "x" * 43
    swapped = line(other).replace(other, FINGERPRINT)
    assert not is_vouched_for(swapped, TOKEN, FINGERPRINT)
