"""How one process of this machine is recognised, and what is never done to others."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from navarch.providers import local_process
from navarch.providers.local_process import LOCK_VARIABLE, AgentCommand

SLEEPER = AgentCommand(argv=("sleep", "600"), env={})


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Name a lock file that does not exist yet."""
    return tmp_path / "lock"


@pytest.fixture
def started(lock: Path) -> Iterator[int]:
    """Start a process that holds the lock, and end it after the test."""
    pid = local_process.start(SLEEPER, lock=lock, log=lock.with_name("log"))
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that has nothing to do with the lock."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def test_a_lock_is_held_from_the_start_of_the_process_to_its_end(lock: Path) -> None:
    before = local_process.is_held(lock)
    pid = local_process.start(SLEEPER, lock=lock, log=lock.with_name("log"))
    during = local_process.is_held(lock)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    as_a_zombie = local_process.is_held(lock)

    assert [before, during, as_a_zombie] == [False, True, False]
    assert local_process.reap(pid)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_a_second_process_cannot_be_started_with_a_lock_that_is_held(
    lock: Path, started: int
) -> None:
    with pytest.raises(BlockingIOError):
        local_process.start(SLEEPER, lock=lock, log=lock.with_name("log"))

    assert local_process.members(lock) == [started]


def test_a_program_that_cannot_be_started_leaves_the_lock_free(lock: Path) -> None:
    missing = AgentCommand(argv=("/no/such",), env={})

    with pytest.raises(FileNotFoundError):
        local_process.start(missing, lock=lock, log=lock.with_name("log"))

    assert not local_process.is_held(lock)


def test_the_holder_is_found_without_its_pid(lock: Path, started: int) -> None:
    assert local_process.holder(lock) == started
    assert local_process.holder(lock.with_name("other")) is None


def test_a_signal_reaches_nobody_who_does_not_belong_to_the_lock(
    lock: Path, started: int, bystander: subprocess.Popen[bytes]
) -> None:
    local_process.send(bystander.pid, lock, signal.SIGKILL)
    local_process.send(started, lock.with_name("other"), signal.SIGKILL)

    assert bystander.poll() is None
    assert local_process.is_held(lock)


def test_a_child_of_somebody_else_in_this_process_is_not_reaped(
    bystander: subprocess.Popen[bytes],
) -> None:
    bystander.kill()
    os.waitid(os.P_PID, bystander.pid, os.WEXITED | os.WNOWAIT)

    assert local_process.reap(bystander.pid)
    assert bystander.wait() == -signal.SIGKILL


def test_the_environment_is_the_given_one_and_the_mark(lock: Path) -> None:
    secret = AgentCommand(argv=("env",), env={"TOKEN": "hunter2"})
    log = lock.with_name("log")

    os.waitpid(local_process.start(secret, lock=lock, log=log), 0)

    assert sorted(log.read_text().splitlines()) == [f"{LOCK_VARIABLE}={lock}", "TOKEN=hunter2"]


def test_a_command_does_not_show_its_secrets() -> None:
    command = AgentCommand(argv=("navarch", "agent"), env={"TOKEN": "hunter2"})

    assert repr(command) == "AgentCommand(argv=('navarch', 'agent'), env=<TOKEN>)"
