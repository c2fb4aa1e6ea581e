"""The Slurm notifier with stand-ins for Slurm's programs: names, words, and complaints.

What real Slurm prints is in ``tests/integration/notifiers``; here is what cannot be had from one.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.errors import ConfigError
from navarch.notifiers import slurm
from navarch.notifiers.base import (
    NotifierError,
    NotifierRefused,
    NotifierUnavailable,
    NotifierUnknownNode,
    Workload,
)
from navarch.notifiers.slurm import NODE_LABEL, SlurmNotifier, SlurmSettings

T = TypeVar("T")
NODE = Workload(node_id="n1", hostname="gpu1.cluster.example.com")

SHOWN = """NodeName=gpu1 Arch=x86_64 CoresPerSocket=1
   OS=Linux State=FAKE Reason=fake #1 SMP
   State={state} ThreadsPerCore=1 TmpDisk=0
   Partitions=train
   {reason}

"""
"""What scontrol of 22.05 prints, shortened."""


class Programs:
    """Stand-ins for scontrol and squeue in a folder, and what they were called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.show()
        self.update()
        self.jobs()

    def show(self, state: str = "IDLE", reason: str = "", *, printed: str = "") -> None:
        """Have ``scontrol show`` print a node."""
        reason = f"Reason={reason} [root@2026-11-22T13:46:43]" if reason else ""
        text = printed or SHOWN.format(state=state, reason=reason)
        (self.folder / "shown").write_text(text)

    def update(self, complaint: str = "", status: int = 0) -> None:
        """Have ``scontrol`` complain, about a ``show`` too, and end like that."""
        script = (
            f'echo "$@" >> {self.calls}\n'
            f"{'echo ' + shlex.quote(complaint) + ' >&2' if complaint else ':'}\n"
            f"if [ {status} != 0 ]; then exit {status}; fi\n"
            f'if [ "$1" = show ]; then cat {self.folder / "shown"}; fi\n'
        )
        self._write("scontrol", script)

    def jobs(self, *lines: str) -> None:
        """Have ``squeue`` print these."""
        (self.folder / "jobs").write_text("".join(f"{line}\n" for line in lines))
        self._write("squeue", f"cat {self.folder / 'jobs'}\n")

    def called(self) -> list[str]:
        """Each call of scontrol, its words joined by spaces."""
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    def settings(self, timeout: timedelta = timedelta(seconds=30)) -> SlurmSettings:
        """Run these."""
        return SlurmSettings(
            scontrol=str(self.folder / "scontrol"),
            squeue=str(self.folder / "squeue"),
            timeout=timeout,
        )

    def _write(self, name: str, script: str) -> None:
        file = self.folder / name
        file.write_text(f"#!/bin/sh\n{script}")
        file.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """Programs of a Slurm whose node is idle."""
    return Programs(tmp_path)


def tell(programs: Programs, call: Callable[[SlurmNotifier], Awaitable[T]]) -> T:
    async def story() -> T:
        return await call(SlurmNotifier(programs.settings()))

    return asyncio.run(story())


def cordon(notifier: SlurmNotifier) -> Awaitable[None]:
    return notifier.cordon(NODE, "XID 79 (GPU 3)")


def uncordon(notifier: SlurmNotifier) -> Awaitable[None]:
    return notifier.uncordon(NODE, "repaired")


def test_an_idle_node_is_drained_by_the_first_part_of_its_hostname(programs: Programs) -> None:
    tell(programs, cordon)
    assert programs.called() == [
        "show node gpu1",
        "update NodeName=gpu1 State=DRAIN Reason=navarch: XID 79 GPU 3",
    ]


def test_the_label_names_the_node(programs: Programs) -> None:
    node = Workload(node_id="n1", hostname="ip-10-0-0-1", labels={NODE_LABEL: "gpu1"})
    tell(programs, lambda notifier: notifier.drain(node, "XID 79", None))
    assert programs.called()[-1] == "update NodeName=gpu1 State=DRAIN Reason=navarch: XID 79"


def test_a_repeated_cordon_changes_nothing(programs: Programs) -> None:
    programs.show("MIXED+DRAIN", "navarch: XID 79 GPU 3")
    tell(programs, cordon)
    assert programs.called() == ["show node gpu1"]


@pytest.mark.parametrize("reason", ["Kill task failed", "Reboot ASAP", "xid79, says navarch:", ""])
def test_what_somebody_else_drains_is_neither_renamed_nor_given_back(
    programs: Programs, reason: str
) -> None:
    programs.show("IDLE+DRAIN", reason)
    tell(programs, cordon)
    tell(programs, uncordon)
    assert programs.called() == ["show node gpu1"] * 2


def test_our_drain_is_given_back_without_raising_a_node_that_is_down(programs: Programs) -> None:
    programs.show("DOWN*+DRAIN", "navarch: XID 79")
    tell(programs, uncordon)
    assert programs.called()[-1] == "update NodeName=gpu1 State=UNDRAIN"


def test_the_reason_why_a_node_is_down_is_kept(programs: Programs) -> None:
    programs.show("DOWN", "Not responding")
    tell(programs, cordon)
    expected = "Reason=navarch: XID 79 GPU 3 , before: Not responding"
    assert programs.called()[-1].endswith(expected)
    programs.show("DOWN+DRAIN", expected.removeprefix("Reason="))
    tell(programs, cordon)
    assert len(programs.called()) == 3


@pytest.mark.parametrize(
    "state,jobs,done,remaining",
    [
        ("IDLE+DRAIN", [], True, 0),
        ("DOWN*", [], True, 0),
        ("IDLE+DRAIN+NOT_RESPONDING", [], True, 0),
        ("IDLE", [], False, 0),
        ("IDLE+DRAIN+COMPLETING", [], False, 0),
        ("MIXED+DRAIN", ["7 RUNNING", "8 COMPLETING", "9 PENDING", "7 RUNNING"], False, 2),
        ("IDLE+DRAIN", ["9 PENDING"], True, 0),
        ("IDLE+DRAIN", ["9 SUSPENDED"], False, 1),
    ],
)
def test_a_node_is_drained_when_no_job_is_there_and_none_will_come(
    programs: Programs,
    state: str,
    jobs: list[str],
    done: bool,  # noqa: FBT001 - a column of the table above
    remaining: int,
) -> None:
    programs.show(state)
    programs.jobs(*jobs)
    status = tell(programs, lambda notifier: notifier.drained(NODE))
    assert (status.done, status.remaining) == (done, remaining)
    assert status.text.startswith("gpu1 is ")


@pytest.mark.parametrize(
    "complaint,kind",
    [
        ("slurm_update error: Invalid node name specified", NotifierUnknownNode),
        ("Node gpu1 not found", NotifierUnknownNode),
        ("slurm_update error: Invalid user id", NotifierRefused),
        ("slurm_update error: Access/permission denied", NotifierRefused),
        ("slurm_load_node error: Unable to contact slurm controller", NotifierUnavailable),
        ("bash: line 1: scontrol: command not found", NotifierUnavailable),
        ("ssh: Could not resolve hostname login: not found", NotifierUnavailable),
        ("", NotifierUnavailable),
    ],
)
def test_each_complaint_means_what_it_says(
    programs: Programs, complaint: str, kind: type[NotifierError]
) -> None:
    programs.update(complaint, status=1)
    with pytest.raises(kind, match=complaint or "ended with 1") as failure:
        tell(programs, cordon)
    assert type(failure.value) is kind
    if kind is NotifierUnknownNode:
        tell(programs, uncordon)
        assert tell(programs, lambda notifier: notifier.drained(NODE)).done
    else:
        with pytest.raises(kind):
            tell(programs, lambda notifier: notifier.drained(NODE))


@pytest.mark.parametrize(
    "printed", ["\n", "NodeName=gpu10 \n   State=IDLE x\n", "State=IDLE", "\0"]
)
def test_what_is_no_node_is_not_taken_for_one(programs: Programs, printed: str) -> None:
    programs.show(printed=printed)
    with pytest.raises(NotifierUnavailable, match="something else than a node"):
        tell(programs, cordon)


def test_a_program_that_is_not_there_or_too_slow_is_unavailable(programs: Programs) -> None:
    (programs.folder / "scontrol").unlink()
    with pytest.raises(NotifierUnavailable, match="cannot be run: No such file"):
        tell(programs, cordon)
    (programs.folder / "scontrol").write_text("#!/bin/sh\nsleep 60\n")
    (programs.folder / "scontrol").chmod(0o755)

    async def story() -> None:
        settings = programs.settings(timeout=timedelta(milliseconds=150))
        await cordon(SlurmNotifier(settings))

    with pytest.raises(NotifierUnavailable, match=r"no answer within 0\.15 s"):
        asyncio.run(story())


@pytest.mark.parametrize(
    "hostname",
    [
        "",
        ".",
        "ALL",
        "all",
        "gpu[1-8]",
        "gpu1,gpu2",
        "-x",
        "gpu1 State=DOWN",
        "gpu1\n",
        "g;ls",
        "ü",
    ],
)
def test_a_name_that_slurm_would_read_as_something_else_is_refused(
    programs: Programs, hostname: str
) -> None:
    node = Workload(node_id="n1", labels={NODE_LABEL: hostname} if hostname else {})
    for call in (
        lambda notifier: notifier.cordon(node, ""),
        lambda notifier: notifier.uncordon(node, ""),
        lambda notifier: notifier.drained(node),
    ):
        with pytest.raises(NotifierRefused, match="n1") as refused:
            tell(programs, call)
        assert not isinstance(refused.value, NotifierUnknownNode)
    assert programs.called() == []


@given(st.text())
def test_a_reason_is_one_word_for_slurm_and_for_any_shell(reason: str) -> None:
    written = slurm._written(reason)  # noqa: SLF001 - what scontrol is given
    assert written.startswith("navarch:")
    assert len(written) <= len("navarch: ") + slurm.REASON_MAX
    assert shlex.split(shlex.quote(written)) == [written]
    assert not set(written) & set("\"'`$&|;<>()[]{}*?!#~=\\\n\t")
    assert slurm._written(written.removeprefix("navarch:")) == written  # noqa: SLF001 - as above


def test_a_shell_on_the_way_changes_nothing(programs: Programs, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    remote.write_text('#!/bin/sh\nexec sh -c "$*"\n')
    remote.chmod(0o755)
    settings = programs.settings()

    async def story() -> None:
        through = SlurmSettings(
            scontrol=settings.scontrol,
            squeue=settings.squeue,
            prefix=(str(remote),),
            prefix_is_shell=True,
        )
        notifier = SlurmNotifier(through)
        await notifier.cordon(NODE, "XID 79; rm -rf it")
        await notifier.drained(NODE)

    asyncio.run(story())
    update = "update NodeName=gpu1 State=DRAIN Reason=navarch: XID 79 rm -rf it"
    assert programs.called() == ["show node gpu1", update, "show node gpu1"]


def test_settings_that_can_never_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be empty"):
        SlurmSettings(scontrol="")
    with pytest.raises(ConfigError, match="cannot be empty"):
        SlurmSettings(prefix=("ssh", ""))
    with pytest.raises(ConfigError, match="timeout"):
        SlurmSettings(timeout=timedelta())
