"""``navarch top`` with ten thousand nodes: soon there, quick to steer, and cheap to leave open."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cli.top.terminal import Terminal
from live_plane import live_plane

NODES = 10_000
PAGE_DOWN = "\x1b[6~"


def cpu_seconds(pid: int) -> float:
    """What a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.soak
def test_ten_thousand_nodes_are_steered_without_freezing() -> None:
    ids = [f"node-{number:05d}" for number in range(NODES)]
    with live_plane() as plane:
        plane.join(ids)
        terminal = Terminal("top", "-s", plane.url)
        terminal.until("10,000 nodes, 80,000 GPUs")
        begun = cpu_seconds(terminal.pid)
        assert begun < 5.0  # all of it read, parsed and drawn
        for _ in range(100):
            terminal.press(PAGE_DOWN)
        terminal.press("s")
        terminal.until("by node")
        assert cpu_seconds(terminal.pid) - begun < 3.0
        terminal.press("/node-09\r")
        terminal.until("nodes 1,000 of 10,000")
        terminal.press("\x1b")  # all nodes again: the costly state is the one that is measured
        terminal.until("nodes 10,000 of 10,000")
        terminal.press("ssss")
        plane.sicken("node-00007")
        terminal.until("!! UNHEALTHY")
        idle, since = cpu_seconds(terminal.pid), time.monotonic()  # noqa: TID251 - it is measured
        plane.hear(ids)
        terminal.rest(10.0)
        passed = time.monotonic() - since  # noqa: TID251 - as above
        assert (cpu_seconds(terminal.pid) - idle) / passed < 0.15
        terminal.press("q")
        assert terminal.ended() == 0
