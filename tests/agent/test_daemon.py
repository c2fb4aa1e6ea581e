"""The agent as a real process against a small real control plane: it outlives what may go wrong."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from agent.control_plane import PATIENCE, Agents, ControlPlane, ended, word_from
from navarch.agent.daemon import run_agent
from navarch.agent.sensors.injected import Xid, inject
from navarch.agent.settings import AgentSettings, read_token
from navarch.controlplane.clock import RealClock
from navarch.errors import ConfigError
from navarch.wire.trust import Trust

# --- what it says ------------------------------------------------------------------------------


def test_it_registers_speaks_reports_and_ends_at_once(plane: ControlPlane, agents: Agents) -> None:
    agent = agents.start(token="secret-of-n1")
    plane.wait_for_next("Heartbeat")
    plane.wait_for(lambda: bool(plane.heard("ReportHealth")))
    assert (agents.folder / "agent.pid").read_text() == f"{agent.pid}\n"
    agent.send_signal(signal.SIGTERM)
    log = ended(agent)

    registration = plane.heard("RegisterNode")[0]
    assert len(registration["gpus"]) == 8
    assert registration["metadata"]["labels"] == {
        "navarch.dev/pool": "training",
        "navarch.dev/sensors": "injected",
        "navarch.dev/state-dir": str(agents.folder),
    }
    assert len(plane.heard("Heartbeat")[0]["metrics"]["gpuMetrics"]) == 8
    statuses = {result["status"] for result in plane.heard("ReportHealth")[0]["results"]}
    assert statuses == {"HEALTH_STATUS_HEALTHY"}
    assert plane.tokens == {"Bearer secret-of-n1"}
    assert "secret-of-n1" not in log
    assert "registered heartbeat_interval=1s" in log
    assert "stopping because=SIGTERM" in log
    assert not (agents.folder / "agent.pid").exists()


def test_an_injected_fault_is_reported(plane: ControlPlane, agents: Agents) -> None:
    agents.start()
    plane.wait_for_next("Heartbeat")
    inject(agents.folder, Xid(79, gpu=3), now=RealClock().now())
    plane.wait_for(lambda: any(body["events"] for body in plane.heard("ReportHealth")))
    event = next(body["events"] for body in plane.heard("ReportHealth") if body["events"])[0]
    assert event["metrics"] == {"xid_code": "79"}
    plane.wait_for_next("Heartbeat", 2)
    assert sum(len(body["events"]) for body in plane.heard("ReportHealth")) == 1


# --- a control plane in trouble ----------------------------------------------------------------


def test_a_server_that_is_not_there_yet_is_waited_for(plane: ControlPlane, agents: Agents) -> None:
    plane.go()
    agent = agents.start()
    assert agent.stderr is not None
    while "server_away" not in agent.stderr.readline():
        assert agent.poll() is None
    plane.come()
    plane.wait_for(lambda: bool(plane.heard("Heartbeat")))


def test_a_server_that_was_away_and_forgot_is_joined_again(
    plane: ControlPlane, agents: Agents
) -> None:
    agent = agents.start()
    plane.wait_for_next("Heartbeat")
    plane.go()
    assert agent.stderr is not None
    while "server_away" not in agent.stderr.readline():
        assert agent.poll() is None
    plane.known.clear()
    before = len(plane.calls)
    plane.come()
    plane.wait_for_next("RegisterNode")
    plane.wait_for_next("Heartbeat")
    assert plane.calls[before + 1][0] == "RegisterNode"


def test_another_address_is_tried_when_one_is_away(plane: ControlPlane, agents: Agents) -> None:
    agents.start(servers=["http://127.0.0.1:1", plane.url])
    plane.wait_for(lambda: bool(plane.heard("Heartbeat")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_hangs_does_not_hold_up_the_end(
    plane: ControlPlane, agents: Agents, number: signal.Signals
) -> None:
    agent = agents.start()
    plane.wait_for_next("Heartbeat")
    plane.deaf.set()
    assert plane.hanging.wait(PATIENCE)
    agent.send_signal(number)
    agent.wait(timeout=2)
    ended(agent)


# --- commands ----------------------------------------------------------------------------------


def test_a_command_is_carried_out_and_its_result_told(plane: ControlPlane, agents: Agents) -> None:
    agents.start()
    plane.issue("c1", "RUN_DIAGNOSTIC")
    plane.wait_for(lambda: "c1" in plane.acks)
    assert plane.acks["c1"]["status"] == "COMMAND_STATUS_SUCCEEDED"
    assert plane.acks["c1"]["output"].startswith("8 GPUs read by injected sensors\n")


def test_terminate_ends_the_agent_after_its_result_was_told(
    plane: ControlPlane, agents: Agents
) -> None:
    agent = agents.start()
    plane.issue("c1", "TERMINATE")
    assert 'stopping because="command c1 told the node to end"' in ended(agent)
    assert plane.acks["c1"]["status"] == "COMMAND_STATUS_SUCCEEDED"


def test_a_command_cut_short_by_a_kill_has_failed_and_is_not_repeated(
    plane: ControlPlane, agents: Agents, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    os.mkfifo(tmp_path / "begun")
    script = f"echo $$ >> {runs}; echo begun > {tmp_path / 'begun'}; exec sleep 60"
    diagnostic = ["sh", "-c", script]
    plane.issue("c1", "RUN_DIAGNOSTIC")
    agent = agents.start(means={"diagnostic": diagnostic})
    assert word_from(tmp_path / "begun") == "begun\n"
    agent.kill()
    agent.wait()
    (pid,) = runs.read_text().split()
    os.kill(int(pid), signal.SIGKILL)

    agents.start(means={"diagnostic": diagnostic})
    plane.wait_for(lambda: "c1" in plane.acks)
    assert plane.acks["c1"]["status"] == "COMMAND_STATUS_FAILED"
    assert plane.acks["c1"]["message"] == "the agent was restarted while it ran"
    assert runs.read_text().split() == [pid]


def test_the_end_of_an_agent_ends_the_diagnostic_it_runs(
    plane: ControlPlane, agents: Agents, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "begun")
    script = f"echo $$ > {tmp_path / 'begun'}; exec sleep 60"
    plane.issue("c1", "RUN_DIAGNOSTIC")
    agent = agents.start(means={"diagnostic": ["sh", "-c", script]})
    pid = int(word_from(tmp_path / "begun"))
    agent.send_signal(signal.SIGTERM)
    ended(agent)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_two_agents_do_not_share_a_folder(plane: ControlPlane, agents: Agents) -> None:
    first = agents.start()
    plane.wait_for_next("Heartbeat")
    second = agents.start()
    log = second.communicate(timeout=PATIENCE)[1]
    assert second.returncode == 1
    assert f"belongs to a running agent (pid {first.pid})" in log


# --- wrong usage -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"servers": ()}, "server: no address"),
        ({"servers": ("localhost:50051",)}, "server: 'localhost:50051' is no address"),
        ({"servers": ("http://localhost:99999",)}, "server: .* is no address"),
        ({"servers": ("http://a b",)}, "server: .* is no address"),
        ({"node_id": "no spaces"}, "node-id: 'no spaces' is no id"),
        ({"node_id": ""}, "node-id: '' is no id"),
        ({"token": "zwölf"}, "server: the token is empty or not plain ASCII"),
        ({"sensors": "nvml"}, "sensors: 'nvml' is no kind of sensors, expected real or injected"),
        ({"tls": Trust()}, "tls: no address begins with https://"),
        ({"gpu_count": 65}, "gpu_count: 65 injected GPUs, expected 0 to 64"),
        ({"state_dir": Path("/dev/null")}, "/dev/null is not a folder"),
        ({"state_dir": Path("/proc/nothing")}, "/proc/nothing cannot be used"),
    ],
)
def test_wrong_usage_is_one_clear_line(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    usual = {"servers": ("http://localhost:1",), "node_id": "n1", "state_dir": tmp_path}
    given = {**usual, "sensors": "injected", **changes}
    with pytest.raises(ConfigError, match=problem) as caught:
        run_agent(AgentSettings(**given), now=RealClock().now)
    assert "\n" not in str(caught.value)


def test_a_token_comes_from_the_file_or_else_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    environment = {"NAVARCH_NODE_TOKEN": "from-environment"}
    assert read_token(environment, file) == "from-file"
    assert read_token(environment) == "from-environment"
    assert read_token({"NAVARCH_NODE_TOKEN": ""}) is None


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigError, match="token: "):
        read_token({}, tmp_path / "token")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token({}, tmp_path / "missing")
