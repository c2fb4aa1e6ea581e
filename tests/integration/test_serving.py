"""The loop with real processes: load makes replicas, replicas make machines, and all of it goes."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from doubles.weights_server import serving_weights
from integration.conftest import Up, processes, until
from integration.serving_fleet import SERVER, answers, apply, push, replicas

CONFIG = """\
server:
  address: "127.0.0.1:0"
  autoscale_interval: 1s
providers:
  local: {type: process, gpu_count: 2, serving: true}
pools:
  gpus:
    provider: local
    instance_type: h100-2x
    min_nodes: 0
    max_nodes: 3
    cooldown: 1s
    autoscaling: {type: queue, jobs_per_node: 2}
"""

QUEUE = "metrics: [{type: queue-depth, target: 5}]"
BURST, MORE = 18.0, 28.0
"""Requests that wait: the work of four replicas, on two machines, and of six, on three."""
WANTED_SECONDS = 2.0
"""How soon a burst has to be answered by a number of replicas."""


def pids(fleet: Up) -> list[int]:
    """The programs of all replicas that run on this fleet's machines."""
    found = processes(str(SERVER))
    return [pid for pid, line in found.items() if str(fleet.data) in line]


def wait_ready(fleet: Up, number: int, depth: float) -> list[dict[str, Any]]:
    """Wait until so many replicas are ready and no other is wanted, while so many requests wait."""

    def there() -> list[dict[str, Any]]:
        push(fleet, depth)
        ready = replicas(fleet, "READY")
        return ready if len(ready) == len(replicas(fleet)) == number else []

    return until(there, f"{number} replicas are ready")


def moment(text: str) -> datetime:
    """Read a time of the journal."""
    return datetime.fromisoformat(text)


def after(fleet: Up, since: datetime, kind: str, text: str = "") -> list[float]:
    """After how many seconds facts of a kind came that say something."""
    facts = (each for each in fleet.facts() if each["kind"] == kind and text in each["text"])
    seconds = ((moment(each["at"]) - since).total_seconds() for each in facts)
    return [each for each in seconds if each >= 0]


def new_nodes(fleet: Up, known: set[str]) -> set[str]:
    """The nodes that have replicas, and are not known yet."""
    push(fleet, MORE)
    return {each["nodeId"] for each in replicas(fleet) if each.get("nodeId")} - known


def test_load_comes_is_served_through_crashes_and_goes(
    start_up: Callable[..., Up], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "navarch.yaml"
    config.write_text(CONFIG)
    with serving_weights({"tiny.bin": hashlib.shake_256(b"weights").digest(1 << 20)}) as web:
        fleet = start_up(config=config)
        apply(fleet, f"{web.url}/tiny.bin", QUEUE, smallest=0, largest=6)

        # A burst finds nothing: no replica, no machine.
        burst = datetime.now(UTC)
        push(fleet, BURST)
        until(lambda: any(each.get("nodeId") for each in replicas(fleet)), "a replica has a place")
        ready = wait_ready(fleet, 4, BURST)
        nodes = {each["nodeId"] for each in ready}
        assert len(nodes) == 2
        assert all(map(answers, ready))
        assert len(pids(fleet)) == 4
        wanted = min(after(fleet, burst, "replicas_wanted"))
        served = after(fleet, burst, "replica_advanced", " is ready")
        with capsys.disabled():
            print(f"\nafter the burst: wanted in {wanted:.3f} s,", end=" ")  # noqa: T201
            print(f"first ready in {served[0]:.1f} s, all in {served[-1]:.1f} s")  # noqa: T201
        assert wanted < WANTED_SECONDS

        # More load: a third machine. It dies while it loads, and with it one that serves.
        new = until(lambda: new_nodes(fleet, nodes), "a third machine gets replicas")
        victims = {min(nodes), *new}
        for pid in [pid for node, pid in fleet.agents().items() if node in victims]:
            os.kill(pid, signal.SIGKILL)
        until(lambda: new_nodes(fleet, nodes | new), "another machine gets replicas")
        ready = wait_ready(fleet, 6, MORE)
        assert not victims & {each["nodeId"] for each in ready}
        assert all(map(answers, ready))

        # The control plane dies; what runs goes on, and nothing is started twice.
        before = {each["replicaId"]: each["endpoint"] for each in ready}
        running = set(pids(fleet))
        assert len(running) == 6
        fleet.kill()
        assert all(map(answers, ready))
        fleet = start_up(config=config, port=fleet.port)
        ready = wait_ready(fleet, 6, MORE)
        assert {each["replicaId"]: each["endpoint"] for each in ready} == before
        assert set(pids(fleet)) == running

        # Nobody asks any more.
        def nothing() -> bool:
            push(fleet, 0)
            return not replicas(fleet) and not fleet.machines()

        until(nothing, "everything is given back")
        until(lambda: not pids(fleet), "no program is left")
        told_of_model = fleet.run("get-resource", "model", "tiny", "-o", "json").stdout
        assert '"cachedNodes": []' in told_of_model or "cachedNodes" not in told_of_model


@pytest.mark.soak
def test_the_demonstration_ends_well(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(project / "examples" / "serving" / "demo" / "demo.py")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one node is left" in done.stdout
