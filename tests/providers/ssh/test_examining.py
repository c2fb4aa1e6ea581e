"""What is told of machines of one's own before anything is lent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from navarch.providers.base import Finding, Wanted
from navarch.providers.ssh import SshSettings, remote
from navarch.providers.ssh.lease import Unreadable
from providers.ssh.rack import Rack


def told(rack: Rack, settings: SshSettings, *wanted: Wanted) -> Sequence[Finding]:
    """Examine by a new provider."""

    async def scenario() -> Sequence[Finding]:
        provider = rack.provider(settings)
        try:
            return await provider.examine_for(wanted)
        finally:
            await provider.close()

    return asyncio.run(scenario())


def test_each_machine_says_whether_it_is_free_or_whose_and_which_python_it_has(rack: Rack) -> None:
    rack.take(0)
    rack.mute(1)
    found = {what: (well, text) for what, well, text in told(rack, rack.settings(3))}
    assert found["machine m0"][0] is True
    assert found["machine m0"][1].startswith("lent of-somebody-else; python ")
    assert found["machine m1"] == (False, "the look ended with 1: ")
    assert found["machine m2"][1].startswith("free; python ")
    assert not (rack.folder(2)).exists(), "something was made there"


def test_a_host_key_that_is_not_the_pinned_one_and_a_key_that_is_not_let_in_are_named(
    rack: Rack,
) -> None:
    other = rack.machine(1, fingerprint="SHA256:" + "A" * 43)
    settings = rack.settings(machines=(rack.machine(0), other))
    found = {what: (well, text) for what, well, text in told(rack, settings)}
    assert found["machine m0"][0] is True
    assert found["machine m1"][0] is False
    assert rack.fingerprint in found["machine m1"][1]

    rack.lock_out()
    ((_, well, text),) = told(rack, rack.settings(1))
    assert (well, text) == (False, f"{settings.user} may not log in")


def test_a_machine_without_sudo_or_whose_sudo_asks_for_a_password_fails(rack: Rack) -> None:
    ((_, well, text),) = told(rack, structs.replace(rack.settings(1), sudo=True))
    assert well is (Path("/usr/bin/sudo").exists() and os.geteuid() == 0), text


def test_a_folder_that_cannot_be_made_is_a_failure(rack: Rack) -> None:
    rack.folder(0).write_text("somebody's file")
    ((_, well, text),) = told(rack, rack.settings(1))
    assert (well, text.partition(" as uid")[0]) == (
        *(False, "free; leases cannot be written there"),
    )


def test_the_machines_of_a_type_are_compared_with_what_pools_want(rack: Rack) -> None:
    rack.take(0)
    wanted = [
        Wanted(pool="a", instance_type="contract-test", nodes=2),
        Wanted(pool="b", instance_type="contract-test", nodes=1),
        Wanted(pool="c", instance_type="contract-test", nodes=1, zone="z1"),
        Wanted(pool="d", instance_type="other", nodes=1),
    ]
    found = [each for each in told(rack, rack.settings(2), *wanted) if "for" in each[0]]
    assert found == [
        (
            "machines for contract-test",
            False,
            "2 machines, 1 free, 3 could be wanted by a, b",
        ),
        ("machines for contract-test", True, "1 machines in z1, 1 free, 1 could be wanted by c"),
        ("machines for other", False, "0 machines, 0 free, 1 could be wanted by d"),
    ]


WORDS = [
    *(b"navarch-user 0\n", b"navarch-folder yes\n", b"navarch-folder no\n", b"navarch-python -\n"),
    *(b"navarch-python 3.11.2\n", b"\n", b"navarch-lease free -\n", b"navarch-user ", b"x"),
]


@given(st.binary(max_size=40) | st.lists(st.sampled_from(WORDS), max_size=6).map(b"".join))
def test_whatever_a_machine_prints_is_an_examination_or_unreadable(printed: bytes) -> None:
    try:
        sight, found = remote.told_apart(printed)
    except Unreadable:
        return
    assert printed.startswith(sight)
    assert found.uid >= 0


def test_an_examination_is_told_apart_from_the_sight_before_it() -> None:
    printed = b"navarch-lease free -\n\nnavarch-user 7\nnavarch-folder no\nnavarch-python 3.9.1\n"
    assert remote.told_apart(printed) == (
        *(b"navarch-lease free -\n", remote.Told(7, is_writable=False, python=(3, 9, 1))),
    )
    with pytest.raises(Unreadable, match="expected the words of an examination"):
        remote.told_apart(b"navarch-lease free -\n")
