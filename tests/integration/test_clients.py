"""Clients that we did not write: curl with JSON, and the Connect library with protobuf.

Each does what an agent does: it registers a node of its own, sends a heartbeat, polls a command
that an operator issued, and acknowledges it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError

from integration.conftest import Up
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.generated.navarch_connect import ControlPlaneServiceClientSync

Start = Callable[..., Up]


def curl(url: str, method: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Call a method as the Connect documentation shows it; return the status and the answer."""
    done = subprocess.run(
        [
            *("curl", "--silent", "--max-time", "20", "--write-out", "\n%{http_code}"),
            *("--header", "Content-Type: application/json", "--data", json.dumps(request)),
            f"{url}/navarch.ControlPlaneService/{method}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed (Debian: curl)")
def test_curl_does_what_an_agent_does(start_up: Start) -> None:
    url = start_up(nodes=0).url

    unknown = curl(url, "Heartbeat", {"nodeId": "rack1-7"})
    registered = curl(
        url,
        "RegisterNode",
        {"nodeId": "rack1-7", "provider": "bare-metal", "gpus": [{"index": 0, "name": "H100"}]},
    )
    beat = curl(url, "Heartbeat", {"nodeId": "rack1-7", "metrics": {"cpuUsagePercent": 3.5}})
    issued = curl(
        url, "IssueCommand", {"nodeId": "rack1-7", "commandType": "NODE_COMMAND_TYPE_CORDON"}
    )
    pending = curl(url, "Heartbeat", {"nodeId": "rack1-7"})
    polled = curl(url, "PollCommands", {"nodeId": "rack1-7"})
    command_id = polled[1]["commands"][0]["commandId"]
    outcome = {"nodeId": "rack1-7", "commandId": command_id, "status": "COMMAND_STATUS_SUCCEEDED"}
    acknowledged = curl(url, "AckCommand", outcome)
    again = curl(url, "AckCommand", outcome)
    empty = curl(url, "PollCommands", {"nodeId": "rack1-7"})
    shown = curl(url, "GetNode", {"nodeId": "rack1-7"})

    assert (unknown[0], unknown[1]["code"]) == (404, "not_found")
    assert (registered[0], registered[1]["success"]) == (200, True)
    assert registered[1]["config"]["heartbeatIntervalSeconds"] == 1
    assert beat == (200, {"acknowledged": True, "heartbeatIntervalSeconds": 1})
    assert issued[1]["commandId"] == command_id
    assert pending[1]["commandsPending"] is True
    assert polled[1]["commands"][0]["type"] == "NODE_COMMAND_TYPE_CORDON"
    assert acknowledged == again == (200, {"acknowledged": True})
    assert empty == (200, {})
    assert shown[1]["node"]["status"] == "NODE_STATUS_CORDONED"
    assert shown[1]["node"]["gpus"] == [{"name": "H100"}]


def test_the_connect_library_does_what_an_agent_does(start_up: Start) -> None:
    with ControlPlaneServiceClientSync(start_up(nodes=0).url) as client:
        with pytest.raises(ConnectError) as unknown:
            client.heartbeat(pb.HeartbeatRequest(node_id="rack1-8"))
        registered = client.register_node(
            pb.RegisterNodeRequest(node_id="rack1-8", gpus=[pb.GPUInfo(index=0, name="H100")])
        )
        beat = client.send_heartbeat(pb.HeartbeatRequest(node_id="rack1-8"))
        issued = client.issue_command(
            pb.IssueCommandRequest(node_id="rack1-8", command_type=pb.NODE_COMMAND_TYPE_DRAIN)
        )
        polled = client.poll_commands(pb.GetNodeCommandsRequest(node_id="rack1-8"))
        acknowledged = client.ack_command(
            pb.AckCommandRequest(
                node_id="rack1-8",
                command_id=issued.command_id,
                status=pb.COMMAND_STATUS_SUCCEEDED,
                message="nothing ran",
            )
        )
        shown = client.get_node(pb.GetNodeRequest(node_id="rack1-8")).node

    assert unknown.value.code == Code.NOT_FOUND
    assert registered.success
    assert beat.acknowledged
    assert [command.command_id for command in polled.commands] == [issued.command_id]
    assert acknowledged.acknowledged
    assert shown.intent == "drained"
    assert shown.status == pb.NODE_STATUS_CORDONED


def test_an_agent_of_the_older_protocol_needs_no_acknowledgement(start_up: Start) -> None:
    with ControlPlaneServiceClientSync(start_up(nodes=0).url) as client:
        client.register_node(pb.RegisterNodeRequest(node_id="old-1"))
        client.issue_command(
            pb.IssueCommandRequest(node_id="old-1", command_type=pb.NODE_COMMAND_TYPE_CORDON)
        )
        first = client.get_node_commands(pb.GetNodeCommandsRequest(node_id="old-1"))
        beat = client.send_heartbeat(pb.HeartbeatRequest(node_id="old-1"))
        second = client.get_node_commands(pb.GetNodeCommandsRequest(node_id="old-1"))

    assert len(first.commands) == 1
    assert not beat.commands_pending
    assert list(second.commands) == []
