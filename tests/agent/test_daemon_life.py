"""What a real agent process carries from one life into the next, and what keeps it out."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from agent.control_plane import Agents, ControlPlane, ended, word_from
from navarch.agent.sensors.injected import Xid, inject
from navarch.controlplane.clock import RealClock

BEFORE = "11111111-2222-3333-4444-555555555555"
AFTER = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"


def boot_file(agents: Agents) -> dict[str, object]:
    found: dict[str, object] = json.loads((agents.folder / "boot.json").read_bytes())
    return found


# --- the boot check ----------------------------------------------------------------------------


def test_a_node_with_too_few_gpus_stays_out_and_says_why(
    plane: ControlPlane, agents: Agents
) -> None:
    agent = agents.start(expected_gpus=8, gpu_count=6)
    assert agent.stderr is not None
    while "boot_check_failed" not in (line := agent.stderr.readline()):
        assert agent.poll() is None
    assert 'because="6 GPUs are seen (0, 1, 2, 3, 4, 5), expected 8" again_in=' in line
    assert boot_file(agents)["passed"] is False
    agent.send_signal(signal.SIGTERM)
    ended(agent)
    assert plane.calls == []


def test_one_that_registers_anyway_says_that_it_is_unhealthy(
    plane: ControlPlane, agents: Agents
) -> None:
    probe = [["sh", "-c", "echo lane 3 is down; exit 1"]]
    agents.start(boot_checks=probe, boot_check_register_anyway=True)
    plane.wait_for(lambda: bool(plane.heard("ReportHealth")))
    boot = plane.heard("ReportHealth")[0]["results"][0]
    assert (boot["checkName"], boot["status"]) == ("boot", "HEALTH_STATUS_UNHEALTHY")
    assert boot["message"] == "sh ended with 1: lane 3 is down"


def test_a_machine_in_service_is_not_silenced_when_its_agent_starts_anew(
    plane: ControlPlane, agents: Agents
) -> None:
    agents.start()
    plane.wait_for_next("Heartbeat")
    agents.kill()
    agents.start(expected_gpus=16)
    plane.wait_for_next("RegisterNode")
    plane.wait_for(
        lambda: any(
            result["message"].endswith("expected 16")
            for body in plane.heard("ReportHealth")
            for result in body["results"]
        )
    )


def test_real_sensors_run_where_there_is_no_gpu(
    plane: ControlPlane, agents: Agents, tmp_path: Path
) -> None:
    log = tmp_path / "kmsg"
    log.touch()
    agents.start(sensors="real", kernel_log=str(log))
    plane.wait_for(lambda: bool(plane.heard("ReportHealth")))
    labels = plane.heard("RegisterNode")[0]["metadata"]["labels"]
    assert labels["navarch.dev/sensors"] == "nvml+kernel_log+system"
    names = [result["checkName"] for result in plane.heard("ReportHealth")[0]["results"]]
    assert names == ["boot", "nvml", "xid", "system"]
    with log.open("a") as kernel:
        kernel.write("NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.\n")
    plane.wait_for(lambda: any(body["events"] for body in plane.heard("ReportHealth")))
    (event,) = next(body["events"] for body in plane.heard("ReportHealth") if body["events"])
    assert event["metrics"]["xid_code"] == "79"


# --- events outlive a crash --------------------------------------------------------------------


def test_an_event_sensed_before_a_kill_is_reported_by_the_next_life(
    plane: ControlPlane, agents: Agents
) -> None:
    agent = agents.start()
    plane.wait_for(lambda: bool(plane.heard("ReportHealth")))
    plane.wait_for_next("Heartbeat")
    plane.refused.add("ReportHealth")
    inject(agents.folder, Xid(79, gpu=3), now=RealClock().now())
    plane.wait_for(lambda: any(body["events"] for body in plane.heard("ReportHealth")))
    before = next(body for body in plane.heard("ReportHealth") if body["events"])
    kept = agents.folder / "reports.json"
    plane.wait_for(lambda: kept.exists() and b"xid" in kept.read_bytes())
    agent.kill()
    agent.wait()
    plane.calls.clear()
    plane.refused.clear()

    agents.start()
    plane.wait_for(lambda: any(body["events"] for body in plane.heard("ReportHealth")))
    again = next(body for body in plane.heard("ReportHealth") if body["events"])
    assert again == before
    plane.wait_for_next("Heartbeat")
    assert (agents.folder / "reports.json").read_bytes() == b"[]"


# --- reboots -----------------------------------------------------------------------------------


@pytest.fixture
def rebooting(tmp_path: Path) -> dict[str, object]:
    """Return the means of a machine that can be rebooted, and says when it is asked to."""
    (tmp_path / "boot_id").write_text(BEFORE)
    os.mkfifo(tmp_path / "asked")
    return {
        "allowed": ["reboot"],
        "reboot": ["sh", "-c", f"echo x >> {tmp_path / 'reboots'}; echo > {tmp_path / 'asked'}"],
        "boot_id_path": str(tmp_path / "boot_id"),
        "reboot_time_max": "PT60S",
    }


def test_a_reboot_is_done_once_and_told_by_the_agent_that_comes_up(
    plane: ControlPlane, agents: Agents, tmp_path: Path, rebooting: dict[str, object]
) -> None:
    plane.issue("c1", "REBOOT")
    agent = agents.start(means=rebooting)
    word_from(tmp_path / "asked")
    agent.kill()  # the machine goes down
    agent.wait()
    (tmp_path / "boot_id").write_text(AFTER)
    agents.start(means=rebooting)
    plane.wait_for(lambda: "c1" in plane.acks)
    ack = plane.acks["c1"]
    assert (ack["status"], ack["message"]) == (
        "COMMAND_STATUS_SUCCEEDED",
        f"rebooted: boot id {AFTER}, before {BEFORE}",
    )
    assert (tmp_path / "reboots").read_text() == "x\n"


def test_an_agent_restarted_meanwhile_waits_and_reboots_nothing(
    plane: ControlPlane, agents: Agents, tmp_path: Path, rebooting: dict[str, object]
) -> None:
    plane.issue("c1", "REBOOT")
    agent = agents.start(means=rebooting)
    word_from(tmp_path / "asked")
    agent.kill()
    agent.wait()
    agents.start(means={**rebooting, "reboot_time_max": "PT0S"})
    plane.wait_for(lambda: "c1" in plane.acks)
    ack = plane.acks["c1"]
    assert ack["status"] == "COMMAND_STATUS_FAILED"
    assert ack["message"].startswith("the machine did not reboot within 0:00:00")
    assert (tmp_path / "reboots").read_text() == "x\n"


@pytest.mark.parametrize("kind", ["REBOOT", "GPU_RESET"])
def test_what_takes_work_down_is_refused_where_nobody_allowed_it(
    plane: ControlPlane, agents: Agents, kind: str
) -> None:
    agents.start(means={"reboot": [sys.executable, "-c", "1"]})
    plane.issue("c1", kind)
    plane.wait_for(lambda: "c1" in plane.acks)
    assert plane.acks["c1"]["status"] == "COMMAND_STATUS_REFUSED"
