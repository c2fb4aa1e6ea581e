"""``--wait``: a command to an agent is followed through the journal to its result."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cli.connect_server import ConnectServer, Json, Run

ID = "cmd-k3f9-000012"


def finished(seq: int, state: str, command_id: str = ID, **more: str) -> Json:
    """Make the fact that a command has come to a state."""
    payload = {"kind": "command_finished", "command_id": command_id, "state": state, **more}
    return {"event": {"seq": str(seq), "kind": "command_finished", "payload": json.dumps(payload)}}


def agent(server: ConnectServer, *facts: Json) -> None:
    """Prepare a server whose journal goes on with these facts behind number 7."""
    server.prepare("ListEvents", {"lastSeq": "7"})
    server.prepare("IssueCommand", {"commandId": ID})

    def watch(request: Json) -> Iterator[Json]:
        yield from facts
        server.ended.wait(20)

    server.streams["WatchEvents"] = watch


def test_the_result_is_told_with_what_the_program_printed(server: ConnectServer, run: Run) -> None:
    agent(
        server,
        {"event": {"seq": "8", "kind": "command_issued"}},
        finished(9, "succeeded", "cmd-k3f9-000011"),
        finished(10, "running"),
        finished(
            11, "succeeded", message="ended with 0", output="GPU 3: \u001b[1mpassed\nall done"
        ),
    )
    told = f"n1: run_diagnostic recorded as {ID}\nn1: run_diagnostic succeeded: ended with 0\n"
    printed = "  GPU 3: \\x1b[1mpassed\n  all done\n"
    assert run("diagnose", "n1", "--wait") == (0, told + printed, "")
    assert server.requests[-1] == ("WatchEvents", {"subject": "n1", "afterSeq": "7"})


@pytest.mark.parametrize("state", ["failed", "refused", "expired"])
def test_a_result_that_is_not_good_is_exit_code_1(
    state: str, server: ConnectServer, run: Run
) -> None:
    agent(server, finished(8, state, message="not allowed here"))
    code, stdout, stderr = run("reboot", "n1", "--wait")
    assert (code, stderr) == (1, "")
    assert stdout.splitlines()[1] == f"n1: reboot {state}: not allowed here"


def test_programs_get_command_and_result_as_one_document(server: ConnectServer, run: Run) -> None:
    agent(server, finished(8, "succeeded", output="done"))
    code, stdout, stderr = run("reset", "n1", "--gpu", "0", "--wait", "-o", "json")
    assert (code, stderr) == (0, "")
    result = {"state": "succeeded", "message": "", "output": "done"}
    assert json.loads(stdout) == {"commandId": ID, "result": result}


def test_a_result_that_is_not_understood_is_one_line(server: ConnectServer, run: Run) -> None:
    for payload in ("{", '{"command_id": 3}'):
        fact = {"seq": "8", "kind": "command_finished", "payload": payload}
        agent(server, {"event": fact})
        code, _, stderr = run("reboot", "n1", "--wait")
        assert code == 1
        assert stderr.startswith("navarch: the server's answer is not understood: ")
        assert stderr.count("\n") == 1
