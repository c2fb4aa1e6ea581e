"""The shell that runs on a machine, run here: claims, late words, and what is cut short."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from navarch.providers.ssh import remote
from navarch.providers.ssh.lease import Lease, Sight, State, Unreadable, read_sight, written


def lease(name: str = "n-1", nonce: str = "00aa") -> Lease:
    return Lease(name=name, token=name, nonce=nonce)


class Machine:
    """One machine, which is a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, body: str, name: str = "", *words: str, stdin: bytes = b"") -> int:
        return self._run(body, name, *words, stdin=stdin).returncode

    def claim(self, lease: Lease, *, length: int | None = None) -> int:
        content = written(lease)
        count = str(len(content) if length is None else length)
        return self.run(remote.CLAIM, lease.name, count, stdin=content)

    def start(self, lease: Lease, script: bytes = b"") -> int:
        words = (lease.nonce, str(len(script)))
        return self.run(remote.START, lease.name, *words, stdin=script)

    def withdraw(self, lease: Lease) -> int:
        return self.run(remote.WITHDRAW, lease.name, lease.nonce)

    def look(self, name: str = "") -> Sight:
        return read_sight(self._run(remote.LOOK, name).stdout)

    def end(self, lease: Lease) -> None:
        """Have it be what it is after a lease has ended."""
        work = self.folder / "leases" / lease.name
        work.rename(self.folder / "ended" / lease.name)

    def _run(
        self, body: str, name: str, *words: str, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        command = remote.command(body, str(self.folder), name, *words)
        return subprocess.run(
            ["bash", "-c", command], input=stdin, capture_output=True, timeout=30, check=False
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "leases-of-navarch")


def test_a_look_leaves_a_machine_as_it_was(machine: Machine) -> None:
    assert machine.look() == Sight(state=State.FREE)
    assert not machine.folder.exists()


def test_a_claim_is_seen_by_everybody_and_had_by_one(machine: Machine) -> None:
    assert machine.claim(lease()) == remote.DONE
    assert machine.claim(lease("n-2")) == remote.TAKEN
    assert machine.claim(lease(nonce="00bb")) == remote.SAME
    assert machine.look() == Sight(state=State.CLAIMED, lease=lease())
    assert machine.folder.stat().st_mode & 0o777 == 0o700


def test_of_many_who_claim_at_once_one_succeeds(machine: Machine) -> None:
    contents = [written(lease(f"n-{number}")) for number in range(12)]
    asked = []
    for number, content in enumerate(contents):
        command = remote.command(
            remote.CLAIM, str(machine.folder), f"n-{number}", str(len(content))
        )
        process = subprocess.Popen(
            ["sh", "-c", command], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        asked.append((process, content))

    for process, content in asked:
        process.communicate(content, timeout=30)

    statuses = sorted(process.returncode for process, _ in asked)
    assert statuses == [remote.DONE] + [remote.TAKEN] * 11


def test_a_sender_that_hangs_holds_up_nobody(machine: Machine) -> None:
    words = (remote.CLAIM, str(machine.folder), "n-1", "100")
    hangs = subprocess.Popen(["sh", "-c", remote.command(*words)], stdin=subprocess.PIPE)
    try:
        assert machine.claim(lease("n-2")) == remote.DONE
        assert machine.look() == Sight(state=State.CLAIMED, lease=lease("n-2"))
    finally:
        hangs.communicate(timeout=30)
    assert hangs.returncode == 70
    assert list(machine.folder.glob(".incoming.*")) == []


def test_a_lease_that_was_cut_short_is_none(machine: Machine) -> None:
    assert machine.claim(lease(), length=len(written(lease())) + 1) == 70
    assert machine.look() == Sight(state=State.FREE)
    assert machine.claim(lease("n-2")) == remote.DONE


def test_a_start_up_script_that_was_cut_short_is_not_run(machine: Machine) -> None:
    machine.claim(lease())
    run = machine.folder.parent / "run"

    status = machine.run(
        remote.START, "n-1", "00aa", "1000", stdin=f"#!/bin/sh\ntouch {run}\n".encode()
    )

    assert status == 70
    assert machine.look().state is State.CLAIMED
    assert not run.exists()


def test_a_lease_begins_when_its_claim_is_confirmed(machine: Machine) -> None:
    machine.claim(lease())

    assert machine.start(lease()) == remote.DONE
    assert machine.start(lease()) == remote.DONE

    assert machine.look() == Sight(state=State.LENT, lease=lease())


def test_a_claim_can_be_withdrawn_until_it_is_confirmed(machine: Machine) -> None:
    machine.claim(lease())
    assert machine.withdraw(lease()) == remote.DONE
    assert machine.withdraw(lease()) == remote.GONE
    assert machine.look() == Sight(state=State.FREE)

    machine.claim(lease())
    machine.start(lease())

    assert machine.withdraw(lease()) == remote.LENT


def test_a_word_for_an_earlier_claim_does_not_reach_a_later_one(machine: Machine) -> None:
    machine.claim(lease(nonce="00aa"))
    machine.withdraw(lease(nonce="00aa"))
    machine.claim(lease(nonce="00bb"))

    assert machine.start(lease(nonce="00aa")) == remote.GONE
    assert machine.withdraw(lease(nonce="00aa")) == remote.GONE
    assert machine.look().state is State.CLAIMED


def test_a_claim_that_nobody_came_back_for_is_free_for_others(machine: Machine) -> None:
    machine.claim(lease())
    subprocess.run(["touch", "-d", "11 minutes ago", machine.folder / "lease"], check=True)

    assert machine.look() == Sight(state=State.STALE, lease=lease())
    assert machine.claim(lease("n-2")) == remote.DONE
    assert machine.start(lease()) == remote.GONE
    assert machine.look() == Sight(state=State.CLAIMED, lease=lease("n-2"))


def test_a_lease_is_never_stale(machine: Machine) -> None:
    machine.claim(lease())
    machine.start(lease())
    subprocess.run(["touch", "-d", "11 days ago", machine.folder / "lease"], check=True)

    assert machine.look().state is State.LENT
    assert machine.claim(lease("n-2")) == remote.TAKEN


def test_a_name_that_has_ended_is_remembered_and_the_machine_is_free(machine: Machine) -> None:
    machine.claim(lease())
    machine.start(lease())
    machine.end(lease())  # and killed before the lease itself was removed

    assert machine.look("n-1") == Sight(state=State.FREE, has_ended=True)
    assert machine.look("n-2") == Sight(state=State.FREE)
    assert machine.claim(lease()) == remote.ENDED
    assert machine.claim(lease("n-2")) == remote.DONE


def test_a_machine_remembers_the_newest_hundred_names(machine: Machine) -> None:
    machine.claim(lease())
    machine.start(lease())
    for number in range(120):
        (machine.folder / "ended" / f"old-{number}").mkdir()
    script = machine.folder.parent / "release"
    script.write_bytes(remote.release_script((), timedelta(seconds=1)))

    command = ["sh", str(script), str(machine.folder), "n-1"]
    subprocess.run(command, check=True, timeout=30)

    kept = {path.name for path in (machine.folder / "ended").iterdir()}
    assert len(kept) == 100
    assert "n-1" in kept
    assert machine.look().state is State.FREE


def test_a_damaged_lease_is_no_free_machine(machine: Machine) -> None:
    machine.claim(lease())
    (machine.folder / "lease").write_text("n-1 00aa\n{")

    with pytest.raises(Unreadable, match="damaged"):
        machine.look()

    (machine.folder / "lease").write_bytes(b"")
    assert machine.run(remote.LOOK) == 70
    assert machine.claim(lease("n-2")) == 70


def test_a_folder_that_cannot_be_written_is_told(machine: Machine) -> None:
    machine.folder.parent.joinpath("file").touch()
    machine.folder = machine.folder.parent / "file"

    assert machine.claim(lease()) == 70


def test_sudo_must_not_ask(machine: Machine) -> None:
    assert remote.command("true", "f", "n", sudo=True).startswith("sudo -n sh -c ")
    assert remote.command("true", "f", "n").startswith("sh -c ")


@given(printed=st.binary(max_size=300))
@example(printed=b"navarch-lease lent -\n")
@example(printed=b"navarch-lease lent -\nn-1 00aa\n{}")
@example(printed=b'navarch-lease lent -\n../x 1\n{"name":"../x","token":"","nonce":"1"}')
@example(printed=b"navarch-lease \xff -\n")
@example(
    printed=b'navarch-lease lent -\nn 1\n{"name":"n","token":"","nonce":"1","labels":{"a":"\xff"}}'
)
def test_whatever_a_machine_says_is_a_sight_or_no_sight(printed: bytes) -> None:
    try:
        sight = read_sight(printed)
    except Unreadable:
        return
    assert sight.state is State.FREE


@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True),
    labels=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
)
def test_a_lease_is_read_as_it_was_written(name: str, labels: dict[str, str]) -> None:
    lease = Lease(name=name, token=name, nonce="00aa", labels=labels)

    assert read_sight(b"navarch-lease lent ended\n" + written(lease)) == Sight(
        state=State.LENT, lease=lease, has_ended=True
    )


def test_a_machine_that_lacks_a_program_says_so(machine: Machine) -> None:
    command = remote.command(remote.LOOK, str(machine.folder), "")
    emptied = command.replace("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "/")

    done = subprocess.run(
        ["/bin/sh", "-c", emptied.replace("sh -c", "/bin/sh -c", 1)],
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 70
    assert done.stderr == "flock is missing (util-linux, coreutils, findutils)\n"
