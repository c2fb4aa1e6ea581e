"""What the real parts have in common: is it installed, where may it listen, has it come up.

A part that is missing is a skipped test that says what to install, never a test that passes.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

import pytest

PATIENCE_SECONDS = 60.0
"""How long a part may take to come up: many times what it takes on an idle machine."""


def require(programs: Sequence[str], package: str) -> None:
    """Skip the test loudly unless all these programs are on the path."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"NOT TESTED: {', '.join(missing)} missing; apt-get install {package}")


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def wait_for(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Ask every 50 ms until it is so; fail when it takes too long."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError(f"not within {seconds:g} s: {what}")


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def end(pids: Sequence[int], seconds: float = 5) -> None:
    """Ask these processes to end, and end those that do not."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    with suppress(AssertionError):
        wait_for(lambda: not any(map(is_alive, pids)), "all have ended", seconds)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
