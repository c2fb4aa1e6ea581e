"""The folder where an agent keeps what must outlive it, and how files in it change.

::

    agent.lock      held by the agent that runs; the folder belongs to one at a time
    agent.pid       its process id; gone after a clean end
    commands.jsonl  which commands were begun and what came of them (`navarch.agent.record`)
    reports.json    health reports that nobody has taken (`navarch.agent.reports`)
    boot.json       what the newest boot check found (`navarch.agent.boot_check`)
    intent.json     what operators last wanted of this node (`navarch.agent.commands`)
    serving/        replicas and models, where the agent serves (`navarch.agent.serving`)
    kernel_log.json where the kernel log was read to (`navarch.agent.sensors.kernel_log`)
    injected.json   faults for injected sensors (`navarch.agent.sensors.injected`)

A file is replaced as a whole: whoever reads it sees the old or the new one, also after a crash.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from navarch.errors import ConfigError

FOLDER_MODE = 0o700
"""For its owner only: what commands printed may be private."""


def replace_file(path: Path, content: bytes) -> None:
    """Give the file this content, durably and at once. Raises `OSError`; the old one then stays."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Hold the folder, made if missing, and tell our process id in it.

    Raises `ConfigError` when it is no folder, cannot be written, or another agent holds it.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        lock = (folder / "agent.lock").open("ab")
    except FileExistsError as error:
        raise ConfigError(f"{folder} is not a folder: name another state folder") from error
    except OSError as error:
        text = f"{folder} cannot be used as the state folder: {error.strerror}"
        raise ConfigError(text) from error
    with lock:
        pid_file = folder / "agent.pid"
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = pid_file.read_text().strip() if pid_file.exists() else "unknown"
            text = f"{folder} belongs to a running agent (pid {holder}): name another state folder"
            raise ConfigError(text) from error
        try:
            replace_file(pid_file, f"{os.getpid()}\n".encode())
        except OSError as error:
            raise ConfigError(f"{folder} cannot be written: {error.strerror}") from error
        try:
            yield
        finally:
            pid_file.unlink(missing_ok=True)
