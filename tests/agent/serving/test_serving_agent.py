"""Replicas on a real agent, which speaks to a control plane over HTTP and may be killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.control_plane import Agents, ControlPlane, ended
from agent.serving.conftest import QUICK, SERVER
from navarch.agent.serving import processes
from navarch.core.model.resources import Runtime
from navarch.providers import local_process

SERVES: dict[str, Any] = {"serving": {}}


def issue_start(plane: ControlPlane, command_id: str, said: Path) -> None:
    """Have the test's server started as replica r1."""
    command = (sys.executable, "-c", SERVER, "{port}", str(said))
    runtime = Runtime(command=command, readiness=QUICK)
    plane.issue(
        command_id,
        "START_REPLICA",
        replica="r1",
        agent_pool="default/chat",
        runtime=msgspec.json.encode(runtime).decode(),
        gpus="0",
        share="1",
        mig="",
        model="",
    )


def states(plane: ControlPlane) -> list[str]:
    """How replica r1 stood in each heartbeat that names it."""
    found = []
    for beat in plane.heard("Heartbeat"):
        for replica in beat.get("serving", {}).get("replicas", []):
            assert replica["replicaId"] == "r1"
            found.append(replica["state"].removeprefix("REPLICA_STATE_"))
    return found


@pytest.fixture(autouse=True)
def nothing_left(agents: Agents) -> Iterator[None]:
    """End what agents that were killed have left."""
    yield
    agents.kill()
    for lock in agents.folder.glob("serving/replicas/*/lock"):
        for pid in local_process.members(lock, processes.MARK):
            os.kill(pid, signal.SIGKILL)


def test_an_agent_that_is_killed_leaves_its_replica_to_the_next_one(
    plane: ControlPlane, agents: Agents, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    agents.start(**SERVES)
    plane.wait_for(lambda: bool(plane.heard("Heartbeat")))
    assert plane.heard("Heartbeat")[0]["serving"] == {"replicas": [], "models": []}
    issue_start(plane, "c1", said)
    plane.wait_for(lambda: "READY" in states(plane))
    assert plane.acks["c1"]["status"] == "COMMAND_STATUS_SUCCEEDED"
    agents.kill()
    before = len(plane.calls)
    agents.start(**SERVES)
    plane.wait_for(lambda: any(name == "Heartbeat" for name, _ in plane.calls[before:]))
    beats = [body for name, body in plane.calls[before:] if name == "Heartbeat"]
    (replica,) = beats[0]["serving"]["replicas"]
    assert replica["state"] == "REPLICA_STATE_READY"
    assert len(said.read_text().splitlines()) == 1
    plane.issue("c2", "STOP_REPLICA", replica="r1")
    plane.wait_for(lambda: "c2" in plane.acks)
    assert plane.acks["c2"]["message"] == "r1 is stopped: ended"
    plane.wait_for_next("Heartbeat")
    assert plane.heard("Heartbeat")[-1]["serving"]["replicas"] == []


def test_a_node_that_is_told_to_end_ends_its_replicas_first(
    plane: ControlPlane, agents: Agents, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    agent = agents.start(**SERVES)
    issue_start(plane, "c1", said)
    plane.wait_for(lambda: "READY" in states(plane))
    plane.issue("c2", "TERMINATE")
    ended(agent)
    assert not Path(f"/proc/{said.read_text().split()[0]}").exists()
    assert list(agents.folder.glob("serving/replicas/*")) == []


def test_an_agent_that_does_not_serve_refuses_replicas(
    plane: ControlPlane, agents: Agents, tmp_path: Path
) -> None:
    agents.start()
    issue_start(plane, "c1", tmp_path / "said")
    plane.wait_for(lambda: "c1" in plane.acks)
    assert plane.acks["c1"]["status"] == "COMMAND_STATUS_REFUSED"
    text = "nothing is served here: start the agent with --serving"
    assert plane.acks["c1"]["message"] == text
    assert "serving" not in plane.heard("Heartbeat")[-1]
