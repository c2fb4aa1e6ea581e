"""A real network between the control plane and its agents, and what happens when it is cut."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from navarch.core.model import events as ev
from navarch.stores.ledger import HistoryFile

INFRA = Path(__file__).parent.parent / "infra"
PARTS = ("ip", "iptables")
BRIDGE = "nvt0"
HOSTS = ("ag1", "ag2", "ag3")
ADDRESS = "10.77.9.1"
PORT = 50071
PATIENCE = 40.0
"""Seconds after which something that should happen has not."""


def _lacking() -> str:
    """Say what this machine lacks for the test; empty if nothing."""
    absent = [part for part in PARTS if shutil.which(part) is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: iproute2, iptables)"
    if os.geteuid() != 0:
        return "network namespaces take root"
    made = subprocess.run(["ip", "netns", "add", f"{BRIDGE}-try"], capture_output=True, check=False)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.decode().strip()}"
    subprocess.run(["ip", "netns", "del", f"{BRIDGE}-try"], check=True)
    return ""


class Fleet:
    """The control plane on its host, and the hosts of its agents."""

    def __init__(self, data: Path) -> None:
        self._data = data
        words = [str(INFRA / "cut_fleet.py"), str(data), ADDRESS, str(PORT), BRIDGE, *HOSTS]
        self._log = (data / "log").open("wb")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", f"{BRIDGE}-srv", sys.executable, *words],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(INFRA.parent)},
        )

    @property
    def log(self) -> str:
        return (self._data / "log").read_text()

    def facts(self, *kinds: type[ev.Event]) -> list[Any]:
        """Read facts of some kinds from the journal of the running control plane."""
        path = self._data / "navarch.db"
        with closing(HistoryFile.open(path, busy=timedelta(seconds=5))) as history:
            recorded = history.read(
                after=0, limit=1000, subject=None, since=None, newest_first=False
            )
        return [each.event for each in recorded if isinstance(each.event, kinds)]

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert self.process.poll() is None, f"the control plane has ended:\n{self.log}"
            assert time.monotonic() < deadline, f"{what} did not happen:\n{self.log}"
            time.sleep(0.1)

    def firewall(self, *rule: str) -> None:
        words = ["ip", "netns", "exec", f"{BRIDGE}-srv", "iptables", *rule]
        subprocess.run(words, check=True, capture_output=True)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self._log.close()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    if lacking := _lacking():
        pytest.skip(f"NOT TESTED: a cut of a real network: {lacking}")
    hosts = ["srv=1", *(f"{host}={number}" for number, host in enumerate(HOSTS, 11))]
    subprocess.run([INFRA / "hosts.sh", "up", BRIDGE, "10.77.9", *hosts], check=True)
    try:
        fleet = Fleet(tmp_path)
        try:
            fleet.until(lambda: "ready" in fleet.log, "the start")
            yield fleet
        finally:
            fleet.end()
    finally:
        subprocess.run(
            [INFRA / "hosts.sh", "down", BRIDGE, "srv", *HOSTS], check=True, capture_output=True
        )


def test_a_cut_between_the_control_plane_and_its_agents_replaces_nothing(fleet: Fleet) -> None:
    fleet.until(lambda: len(fleet.facts(ev.NodeRegistered)) == 3, "the registration of three nodes")
    fleet.firewall("-A", "INPUT", "-i", "eth0", "-j", "DROP")
    fleet.until(lambda: len(fleet.facts(ev.NodeLost)) == 3, "the loss of three nodes")
    fleet.until(lambda: bool(fleet.facts(ev.RepairHalted)), "the halt of repair")
    time.sleep(6)  # more than all grace there is: silence 3 s, grace 1 s, two lists
    ended = (ev.InstanceCondemned, ev.TerminationRequested, ev.InstanceVanished)
    assert fleet.facts(*ended) == []
    fleet.firewall("-F")
    fleet.until(lambda: len(fleet.facts(ev.NodeReturned)) == 3, "the return of three nodes")
    fleet.until(lambda: bool(fleet.facts(ev.RepairHalfOpened)), "the half-opening")
    fleet.until(lambda: bool(fleet.facts(ev.RepairContinued)), "the end of the halt")
    assert fleet.facts(*ended) == []
    assert len(fleet.facts(ev.LaunchRequested)) == 3


def test_one_host_that_is_cut_off_is_replaced_first_and_ended_then(fleet: Fleet) -> None:
    fleet.until(lambda: len(fleet.facts(ev.NodeRegistered)) == 3, "the registration of three nodes")
    fleet.firewall("-A", "INPUT", "-s", "10.77.9.12", "-j", "DROP")
    fleet.until(lambda: bool(fleet.facts(ev.TerminationRequested)), "the end of the silent node")
    story = fleet.facts(
        ev.NodeLost, ev.InstanceCondemned, ev.NodeRegistered, ev.TerminationRequested
    )
    assert [ev.kind(fact) for fact in story[3:]] == [
        "node_lost",
        "instance_condemned",
        "node_registered",
        "termination_requested",
    ]
    assert fleet.facts(ev.RepairHalted) == []
