"""What people and programs see of the fleet, to the letter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import yaml

from cli.connect_server import ConnectServer, Json, Refusal, Run
from golden_text import golden
from navarch.cli import clock

GPU = {
    "uuid": "GPU-5a1c",
    "name": "INJECTED NVIDIA H100",
    "pciBusId": "0000:1B:00.0",
    "memoryTotal": "85899345920",
    "driverVersion": "570.1",
}


def ago(**units: float) -> str:
    """Write a time so long ago as the wire does."""
    return (clock.now() - timedelta(**units)).isoformat().replace("+00:00", "Z")


def sick_node() -> Json:
    """Make a node of which every field is known."""
    return {
        "nodeId": "training-k3f9-0002",
        "provider": "local",
        "region": "here",
        "zone": "a",
        "instanceType": "h100-8x",
        "status": "NODE_STATUS_UNHEALTHY",
        "healthStatus": "HEALTH_STATUS_UNHEALTHY",
        "lastHeartbeat": ago(hours=2, minutes=30),
        "gpus": [GPU, {**GPU, "index": 1, "uuid": "GPU-77", "memoryTotal": "0"}],
        "metadata": {
            "hostname": "build\u001b[31m-1",
            "internalIp": "10.0.0.7",
            "externalIp": "192.0.2.7",
            "kernelVersion": "6.1.0",
            "labels": {"team": "ml", "navarch.dev/sensors": "injected"},
        },
        "pool": "training",
        "phase": "active",
        "intent": "cordoned",
        "contact": "connected",
        "because": "XID 79 on GPU 3: the GPU has fallen off the bus",
    }


def nodes() -> list[Json]:
    """Make a node of each kind."""
    lost = {"nodeId": "training-k3f9-0001", "status": "NODE_STATUS_UNHEALTHY", "contact": "lost"}
    rest = {"pool": "training", "phase": "active", "intent": "in_service"}
    return [
        {**lost, **rest, "healthStatus": "HEALTH_STATUS_HEALTHY", "lastHeartbeat": ago(days=3)},
        sick_node(),
        {"nodeId": "visitor", "status": "NODE_STATUS_ACTIVE", "contact": "connected"},
    ]


def pool() -> Json:
    """Make a pool whose repair has stopped."""
    return {
        "name": "training",
        "providers": ["local"],
        "instanceType": "h100-8x",
        "region": "here",
        "zones": ["a", "b"],
        "minNodes": 2,
        "maxNodes": 8,
        "targetNodes": 3,
        "currentNodes": 3,
        "readyNodes": 1,
        "healthyNodes": 2,
        "lostNodes": 1,
        "repairPaused": True,
        "because": "2 of 3 nodes fell silent together: this looks like our network",
        "labels": {"tier": "gold"},
    }


LOG_HEAD: Json = {"source": "ssh", "readAt": "2026-01-31T12:00:00Z"}


def start_up_log() -> Json:
    """Make a log of a script that failed, with a stranger's escape in it."""
    steps = [f"ok step {number}" for number in range(1, 11)]
    lines = [*steps, "E: \u001b[31mno such package", "FAILED step=command-1 code=100"]
    return {**LOG_HEAD, "text": "\n".join(lines) + "\n"}


def instances() -> list[Json]:
    """Make an instance that runs and one that never came to be."""
    return [
        {
            "instanceId": "training-k3f9-0001",
            "provider": "local",
            "region": "here",
            "zone": "a",
            "instanceType": "h100-8x",
            "state": "INSTANCE_STATE_RUNNING",
            "poolName": "training",
            "createdAt": ago(days=4),
            "nodeId": "training-k3f9-0001",
            "providerRef": "4711",
            "labels": {"team": "ml"},
        },
        {
            "instanceId": "training-k3f9-0004",
            "state": "INSTANCE_STATE_FAILED",
            "poolName": "training",
            "createdAt": ago(hours=5),
            "statusMessage": "no capacity for h100-8x in here",
        },
    ]


def facts() -> list[Json]:
    """Make three facts, the oldest first."""
    at = "2026-01-31T12:00:00.5Z"
    return [
        {"seq": "7", "at": at, "kind": "node_lost", "subjects": ["n1"], "text": "n1 is lost"},
        {
            "seq": "8",
            "at": at,
            "kind": "node_condemned",
            "subjects": ["n1", "training"],
            "text": "n1 is condemned",
            "because": "it was silent for 6 s",
        },
        {"seq": "9", "at": at, "kind": "instance_requested", "text": "odd\u001b[2J\ntext"},
    ]


@pytest.fixture
def fleet(server: ConnectServer) -> ConnectServer:
    """Prepare the answers of a small fleet."""
    answers: dict[str, Any] = {
        "ListNodes": {"nodes": nodes()},
        "GetNode": {"node": sick_node()},
        "ListInstances": {"instances": instances()},
        "GetInstance": {"instance": instances()[1]},
        "GetBootstrapLog": start_up_log(),
        "ListPools": {"pools": [pool(), {"name": "batch", "maxNodes": 1, "paused": True}]},
        "GetPool": {"pool": pool()},
        "ScalePool": {"pool": pool()},
        "PausePool": {"pool": {**pool(), "paused": True, "because": "paused: maintenance"}},
        "IssueCommand": {"commandId": "cmd-k3f9-000012", "issuedAt": "2026-01-31T12:00:00Z"},
        "ListEvents": {"events": facts()[::-1], "lastSeq": "9"},
        "ClearHealth": {"node": {**sick_node(), "healthStatus": "HEALTH_STATUS_UNKNOWN"}},
        "Explain": {"lines": ["n1 is LOST", "  because it is silent\u001b[0m since 12:00:00"]},
    }
    for method, answer in answers.items():
        server.prepare(method, answer)
    return server


SHOWN = {
    "list": ["list"],
    "list-wide": ["list", "-o", "wide"],
    "get": ["get", "training-k3f9-0002"],
    "instance-list": ["instance", "list"],
    "instance-list-wide": ["instance", "list", "-o", "wide"],
    "instance-get": ["instance", "get", "training-k3f9-0004"],
    "instance-get-log": ["instance", "get", "training-k3f9-0004", "--log"],
    "pool-list": ["pool", "list"],
    "pool-list-wide": ["pool", "list", "-o", "wide"],
    "pool-get": ["pool", "get", "training"],
    "pool-scale": ["pool", "scale", "training", "3"],
    "pool-pause": ["pool", "pause", "training"],
    "events": ["events"],
    "events-wide": ["events", "-o", "wide"],
    "explain": ["explain", "node", "n1"],
    "cordon": ["cordon", "n1"],
    "clear": ["clear", "training-k3f9-0002", "--reason", "the riser was reseated"],
    "reset": ["reset", "n1", "--gpu", "3"],
}


@pytest.mark.parametrize("case", SHOWN)
def test_people_see_what_the_golden_files_say(case: str, fleet: ConnectServer, run: Run) -> None:
    code, stdout, stderr = run(*SHOWN[case])
    assert (code, stderr) == (0, "")
    # Ages are in hours and days, so that they do not change while the test runs.
    stdout = re.sub(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ", "YYYY-MM-DD hh:mm:ssZ", stdout)
    assert stdout == golden(stdout, f"cli/{case}.txt")
    assert "\x1b" not in stdout


def asked(kind: str, **parameters: str) -> tuple[str, Json]:
    """Say how a command to an agent is asked for."""
    request = {"nodeId": "n1", "commandType": f"NODE_COMMAND_TYPE_{kind.upper()}", "reason": ""}
    return "IssueCommand", {**request, "parameters": parameters}


ASKED: dict[str, tuple[list[str], str, Json]] = {
    "list": (
        ["list", "--provider", "p", "--region", "r", "--status", "ACTIVE", "--pool", "t"],
        "ListNodes",
        {"provider": "p", "region": "r", "pool": "t", "status": "NODE_STATUS_ACTIVE"},
    ),
    "instances": (
        ["instance", "list", "--state", "failed", "--pool", "t"],
        "ListInstances",
        {"provider": "", "region": "", "poolName": "t", "state": "INSTANCE_STATE_FAILED"},
    ),
    "get": (["get", "n1"], "GetNode", {"nodeId": "n1"}),
    "instance": (["instance", "get", "i1"], "GetInstance", {"instanceId": "i1"}),
    "pool": (["pool", "get", "t"], "GetPool", {"poolName": "t"}),
    "scale": (
        ["pool", "scale", "t", "0", "--reason", "night"],
        "ScalePool",
        {"poolName": "t", "targetNodes": 0, "reason": "night"},
    ),
    "pause": (
        ["pool", "pause", "t", "--reason", "work"],
        "PausePool",
        {"poolName": "t", "paused": True, "reason": "work"},
    ),
    "resume": (
        ["pool", "resume", "t"],
        "PausePool",
        {"poolName": "t", "paused": False, "reason": ""},
    ),
    "explain": (
        ["explain", "pool", "t"],
        "Explain",
        {"kind": "SUBJECT_KIND_POOL", "id": "t"},
    ),
    "clear": (
        ["clear", "n1", "--reason", "reseated"],
        "ClearHealth",
        {"nodeId": "n1", "reason": "reseated"},
    ),
    "reset": (["reset", "n1", "--gpu", "all"], *asked("gpu_reset", gpu="all")),
    "reboot": (["reboot", "n1"], *asked("reboot")),
    "diagnose": (["diagnose", "n1"], *asked("run_diagnostic")),
    "diagnose-level": (["diagnose", "n1", "--level", "3"], *asked("run_diagnostic", level="3")),
    **{
        name: (
            [name, "n1", "--reason", "why"],
            "IssueCommand",
            {
                "nodeId": "n1",
                "commandType": f"NODE_COMMAND_TYPE_{name.upper()}",
                "reason": "why",
            },
        )
        for name in ("cordon", "uncordon", "drain", "terminate")
    },
}


@pytest.mark.parametrize("case", ASKED)
def test_the_server_is_asked_for_what_was_meant(case: str, fleet: ConnectServer, run: Run) -> None:
    arguments, method, request = ASKED[case]
    code, _, stderr = run(*arguments)
    assert (code, stderr) == (0, "")
    (asked_method, sent) = fleet.requests[0]
    paging = {"pageSize", "pageToken"}
    assert asked_method == method
    assert {key: sent[key] for key in sent if key not in paging} == request


@pytest.mark.parametrize(
    "arguments,method",
    [
        (["get", "n1"], "GetNode"),
        (["list"], "ListNodes"),
        (["instance", "list"], "ListInstances"),
        (["pool", "list"], "ListPools"),
        (["pool", "get", "t"], "GetPool"),
        (["pool", "resume", "t"], "PausePool"),
        (["drain", "n1"], "IssueCommand"),
        (["reboot", "n1"], "IssueCommand"),
        (["clear", "n1"], "ClearHealth"),
        (["explain", "node", "n1"], "Explain"),
    ],
)
def test_programs_get_one_document_the_json_of_the_api(
    arguments: list[str], method: str, fleet: ConnectServer, run: Run
) -> None:
    answer = fleet.answers[method]({})
    fleet.prepare(method, answer)
    as_json = run(*arguments, "-o", "json")
    as_yaml = run(*arguments, "-o", "yaml")
    assert (as_json.code, json.loads(as_json.stdout), as_json.stderr) == (0, answer, "")
    assert (as_yaml.code, yaml.safe_load(as_yaml.stdout), as_yaml.stderr) == (0, answer, "")


@pytest.mark.parametrize("form,read", [("json", json.loads), ("yaml", yaml.safe_load)])
def test_programs_get_an_instance_with_its_start_up_log(
    form: str, read: Callable[[str], Json], fleet: ConnectServer, run: Run
) -> None:
    code, stdout, stderr = run("instance", "get", "i1", "-o", form)
    assert (code, stderr) == (0, "")
    shown = fleet.answers["GetInstance"]({})
    assert read(stdout) == {**shown, "bootstrapLog": start_up_log()}
    assert fleet.requests[1] == ("GetBootstrapLog", {"instanceId": "i1"})


def test_an_instance_is_shown_although_its_log_cannot_be_had(
    fleet: ConnectServer, run: Run
) -> None:
    def refuse(request: Json) -> Json:
        raise Refusal(501, "unimplemented", "an older\nserver")

    fleet.answers["GetBootstrapLog"] = refuse
    code, stdout, stderr = run("instance", "get", "i1")
    assert (code, stderr) == (0, "")
    assert stdout.splitlines()[0] == "Instance:     training-k3f9-0004"
    told = "Start-up log: cannot be read: unimplemented: an older\\nserver"
    assert stdout.splitlines()[-1] == told
    shown = json.loads(run("instance", "get", "i1", "-o", "json").stdout)
    assert shown["bootstrapLog"] == {"problem": "unimplemented: an older\nserver"}


@pytest.mark.parametrize(
    "answer,told",
    [
        ({}, ["Start-up log: empty so far"]),
        ({"problem": "ssh: gone"}, ["Start-up log: cannot be read: ssh: gone"]),
        (
            {**LOG_HEAD, "text": "one\n", "problem": "ssh: gone"},
            [
                "Start-up log, from ssh at 2026-01-31 12:00:00Z: 1 lines",
                "Start-up log: cannot be read now: ssh: gone",
                "  one",
            ],
        ),
    ],
)
def test_what_is_missing_of_a_log_is_said_in_a_line(
    answer: Json, told: list[str], fleet: ConnectServer, run: Run
) -> None:
    fleet.prepare("GetBootstrapLog", answer)
    assert run("instance", "get", "i1").stdout.splitlines()[-len(told) :] == told


def test_a_pool_is_shown_with_its_newest_facts(fleet: ConnectServer, run: Run) -> None:
    at = "2026-01-31T12:00:00Z"
    facts = [{"seq": str(seq), "at": at, "text": f"fact {seq}"} for seq in range(1, 9)]
    fleet.prepare("Explain", {"lines": ["left alone for 20 s more: a/b"], "facts": facts})
    shown = run("pool", "get", "training").stdout
    assert fleet.requests[1] == ("Explain", {"kind": "SUBJECT_KIND_POOL", "id": "training"})
    assert "left alone for 20 s more: a/b\n" in shown
    assert [line.split()[-1] for line in shown.splitlines()[-5:]] == list("45678")


def test_lists_are_followed_through_their_pages(server: ConnectServer, run: Run) -> None:
    pages: dict[str, Json] = {
        "": {"nodes": [{"nodeId": "a"}], "nextPageToken": "second"},
        "second": {"nodes": [{"nodeId": "b"}], "nextPageToken": "third"},
        "third": {},
    }
    server.answers["ListNodes"] = lambda request: pages[request["pageToken"]]
    answer = json.loads(run("list", "-o", "json").stdout)
    assert answer == {"nodes": [{"nodeId": "a"}, {"nodeId": "b"}]}
    assert [request["pageSize"] for _, request in server.requests] == [1000, 1000, 1000]


def test_lost_nodes_can_be_asked_for_although_the_wire_knows_no_such_word(
    fleet: ConnectServer, run: Run
) -> None:
    answer = json.loads(run("list", "--status", "lost", "-o", "json").stdout)
    assert [node["nodeId"] for node in answer["nodes"]] == ["training-k3f9-0001"]
    assert fleet.requests[0][1]["status"] == "NODE_STATUS_UNHEALTHY"


@pytest.mark.parametrize(
    "arguments,method,what",
    [
        (["list"], "ListNodes", "no nodes"),
        (["instance", "list"], "ListInstances", "no instances"),
        (["pool", "list"], "ListPools", "no pools"),
        (["events"], "ListEvents", "no such facts"),
    ],
)
def test_an_empty_list_says_so_to_people_and_is_empty_for_programs(
    arguments: list[str], method: str, what: str, server: ConnectServer, run: Run
) -> None:
    server.prepare(method, {})
    assert run(*arguments) == (0, "", f"navarch: {what} at {server.url}\n")
    (entries, *_) = json.loads(run(*arguments, "-o", "json").stdout).values()
    assert entries == []


def test_an_answer_of_the_wrong_shape_is_one_line(server: ConnectServer, run: Run) -> None:
    server.prepare("GetNode", {"node": {"gpus": 3}})
    code, stdout, stderr = run("get", "n1")
    assert (code, stdout) == (1, "")
    assert stderr == (
        "navarch: the server's answer is not understood: Expected `array`, got `int`"
        " - at `$.gpus`\n"
    )
