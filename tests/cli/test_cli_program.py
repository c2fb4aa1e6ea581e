"""The program as a whole: its options, its errors, its exit codes, and how it ends."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.connect_server import ConnectServer, Json, Refusal, Run
from golden_text import GOLDEN, golden
from navarch.cli import main, session

WHOLE = GOLDEN / "config" / "whole.yaml"


def commands(group: click.Group, *path: str) -> dict[str, click.Command]:
    """Collect every command below a group, by its words."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, *path, name)
        else:
            found[" ".join((*path, name))] = command
    return found


COMMANDS = commands(main.cli)


def test_the_commands_are_those_of_the_golden_help(run: Run) -> None:
    code, stdout, stderr = run("--help")
    assert (code, stderr) == (0, "")
    assert stdout == golden(stdout, "cli/help.txt")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_so_has_each_of_its_options(name: str, run: Run) -> None:
    code, stdout, stderr = run(*name.split(), "--help")
    assert (code, stderr) == (0, "")
    assert f"Usage: navarch {name} [OPTIONS]" in stdout
    options = [one for one in COMMANDS[name].params if isinstance(one, click.Option)]
    assert [one.name for one in options if not one.help] == []


def test_the_version_is_told(run: Run) -> None:
    installed = importlib.metadata.version("navarch")
    assert run("version").stdout == f"{installed}\n"
    assert run("--version").stdout == f"navarch {installed}\n"


@pytest.mark.parametrize(
    "before,after",
    [
        (["-s", "http://127.0.0.1:1"], ["--server", "URL"]),
        (["-s", "URL"], []),
        ([], ["-s", "URL"]),
        ([], []),
    ],
)
def test_options_stand_before_or_behind_the_command_and_behind_wins(
    before: list[str], after: list[str], server: ConnectServer, run: Run
) -> None:
    server.prepare("ListPools", {"pools": []})
    said = [[server.url if word == "URL" else word for word in words] for words in (before, after)]
    code, stdout, _ = run(*said[0], "-o", "json", "pool", "list", *said[1])
    assert (code, json.loads(stdout)) == (0, {"pools": []})


def test_the_token_comes_from_the_option_or_else_the_environment(
    server: ConnectServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.prepare("ListPools", {})
    run("pool", "list")
    monkeypatch.setenv("NAVARCH_AUTH_TOKEN", "from-environment")
    run("pool", "list")
    run("pool", "list", "--token", "from-option")
    assert server.tokens == ["", "Bearer from-environment", "Bearer from-option"]


def test_without_options_the_server_is_the_local_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NAVARCH_SERVER", raising=False)
    context = click.Context(main.cli)
    assert session.Session.of(context).server == "http://localhost:50051"


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (["lst"], "No such command 'lst'. Did you mean 'list'?; see navarch --help"),
        (["list", "--statu", "x"], "No such option '--statu'"),
        (["list", "--status", "sick"], "Invalid value for '--status': 'sick' is not one of"),
        (["list", "-o", "xml"], "Invalid value for '-o' / '--output': 'xml' is not one of"),
        (["get"], "Missing argument 'NODE'; see navarch get --help"),
        (["--timeout", "5", "list"], "'5' is no duration such as 30s or 5m: it has no unit"),
        (["pool", "scale", "t", "many"], "'many' is not a valid integer range"),
        (["pool", "scale", "t", "--", "-1"], "-1 is not in the range x>=0"),
        (["explain", "zone", "a"], "'zone' is not one of 'node', 'instance', 'pool'"),
        (["events", "--since", "yesterday"], "is neither a duration such as 10m nor a time"),
        (["events", "--since", "2026-01-31T12:00:00"], "is neither a duration such as 10m nor"),
        (["events", "--limit", "5000"], "at most 1000, or say --since to read more"),
        (["inject", "n1"], "say exactly one of --xid"),
        (["inject", "n1", "--xid", "79", "--clear"], "say exactly one of --xid"),
        (["inject", "n1", "--gpu", "1", "--clear"], "--gpu goes with --xid"),
        (["reset", "n1"], "Missing option '--gpu'"),
        (["reset", "n1", "--gpu", "64"], "'64' is no GPU: expected an index from 0 to 63, or all"),
        (["diagnose", "n1", "--level", "5"], "5 is not in the range 1<=x<=4"),
        (["policy", "explain", "gpu"], "'gpu' is not a valid integer range"),
        (["policy", "test", "policy.yaml"], "Missing argument 'CASES'"),
        (["server"], "Missing option '--config'"),
        (["up", "--nodes", "-1"], "-1 is not in the range 0<=x<=1000"),
        (["up", "--port", "65536"], "65536 is not in the range 0<=x<=65535"),
        (["up", "--heartbeat-interval", "500ms"], "agents count in whole seconds, from 1s"),
        (["agent", "--server", "u"], "Missing option '--node-id'"),
        (
            ["agent", "--server", "u", "--node-id", "n", "--state-dir", "d", "--label", "x"],
            "'x' is no label such as team=ml",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], expected: str, run: Run
) -> None:
    code, stdout, stderr = run(*arguments)
    assert (code, stdout) == (2, "")
    assert expected in stderr
    assert stderr.startswith("navarch: ")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    "refusal,expected",
    [
        (
            Refusal(404, "not_found", "node n9 is not known"),
            "navarch: node n9 is not known\n",
        ),
        (
            Refusal(401, "unauthenticated", "no token was sent"),
            "navarch: no token was sent; say who calls with --token or NAVARCH_AUTH_TOKEN\n",
        ),
        (
            Refusal(403, "permission_denied", "viewers may not cordon"),
            "navarch: viewers may not cordon; a token of a higher role is needed\n",
        ),
        (
            Refusal(400, "invalid_argument", "evil \u001b[31m\nwords"),
            "navarch: evil \\x1b[31m\\nwords\n",
        ),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_1(
    refusal: Refusal, expected: str, server: ConnectServer, run: Run
) -> None:
    def refuse(request: Json) -> Json:
        raise refusal

    server.answers["IssueCommand"] = refuse
    assert run("cordon", "n9") == (1, "", expected)


def free_port() -> int:
    """Find a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_that_is_not_there_is_one_line_that_says_what_to_do(run: Run) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    code, stdout, stderr = run("list", "-s", url)
    assert (code, stdout) == (1, "")
    assert stderr == (
        f"navarch: cannot reach {url}: connection refused; is the server running?"
        " `navarch up` starts one\n"
    )


def test_an_address_that_is_none_is_one_line(run: Run) -> None:
    code, stdout, stderr = run("list", "-s", "localhost:50051")
    assert (code, stdout) == (1, "")
    assert "http://localhost:50051" in stderr
    assert stderr.count("\n") == 1


def test_a_configuration_is_checked_and_explained(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINING_MIN", "2")
    monkeypatch.chdir(GOLDEN / "config")
    checked = run("config", "check", "whole.yaml")
    warning = (
        "navarch: warning: whole.yaml:96: pools.batch.health.dry_run: repair only says what it"
        " would do: sick and lost nodes stay as they are\n"
    )
    assert checked == (0, "whole.yaml: no mistakes; 3 pools, 2 providers\n", warning)
    explained = run("config", "explain", "whole.yaml")
    assert explained == (0, golden(explained.stdout, "cli/config-explain.txt"), "")
    values = json.loads(run("config", "explain", "whole.yaml", "-o", "json").stdout)["values"]
    assert values[0] == {
        "key": "server.address",
        "value": "127.0.0.1:50051",
        "from": "whole.yaml:2",
    }
    schema = json.loads(run("config", "schema").stdout)
    assert sorted(schema["properties"]) == ["defaults", "plugins", "pools", "providers", "server"]


@pytest.mark.parametrize("command", ["check", "explain"])
def test_every_mistake_of_a_configuration_is_a_line(
    command: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(GOLDEN / "config")
    code, stdout, stderr = run("config", command, "limits.yaml")
    told = (GOLDEN / "config" / "limits.txt").read_text()
    expected = told.replace("navarch.yaml:", "navarch: limits.yaml:")
    assert (code, stdout, stderr) == (1, "", expected)


def test_programs_get_the_mistakes_as_a_document(run: Run) -> None:
    code, stdout, stderr = run("config", "check", str(GOLDEN / "config/list.yaml"), "-o", "json")
    faults = json.loads(stdout)["faults"]
    assert (code, stderr) == (1, "")
    assert [(fault["line"], fault["key"]) for fault in faults] == [(1, "")]
    assert run("config", "check", "/nowhere.yaml") == (
        1,
        "",
        "navarch: /nowhere.yaml: there is no such file\n",
    )


def test_an_agents_token_file_that_cannot_be_used_is_one_line(run: Run, tmp_path: Path) -> None:
    agent = ["agent", "--server", "u", "--node-id", "n", "--state-dir", "d", "--token-file"]
    absent = run(*agent, str(tmp_path / "absent"))
    expected = f"{tmp_path}/absent: the token cannot be read: No such file or directory"
    assert absent == (1, "", f"navarch: {expected}\n")
    (tmp_path / "empty").write_text("\n")
    empty = run(*agent, str(tmp_path / "empty"))
    assert empty == (1, "", f"navarch: {tmp_path}/empty: is empty, expected the node's token\n")


def program(*arguments: str) -> subprocess.Popen[str]:
    """Start the program as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "navarch.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Unbuffered, Python itself loses what a pipe takes in part, and the error with it.
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )


def test_ctrl_c_ends_it_quietly(server: ConnectServer) -> None:
    def one_fact_then_silence(request: Json) -> Iterator[Json]:
        yield {"event": {"seq": "1", "kind": "fleet_founded", "text": "began"}}
        server.ended.wait(20)

    server.prepare("ListEvents", {})
    server.streams["WatchEvents"] = one_fact_then_silence
    process = program("events", "--follow", "-o", "json", "-s", server.url)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["kind"] == "fleet_founded"
    process.send_signal(signal.SIGINT)
    rest, stderr = process.communicate(timeout=10)
    assert (process.returncode, rest, stderr.strip()) == (130, "", "")


def test_a_reader_that_leaves_ends_it_quietly(server: ConnectServer) -> None:
    long = [{"nodeId": f"node-{number:06d}", "because": "x" * 200} for number in range(2_000)]
    server.prepare("ListNodes", {"nodes": long})
    process = program("list", "-o", "json", "-s", server.url)
    assert process.stdout is not None
    assert process.stdout.readline() == "{\n"
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (1, "")


def test_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "navarch.cli.main", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == "navarch: cannot write the output: No space left on device\n"


HEAVY = (
    "asyncio",
    "connectrpc",
    "google.protobuf",
    "rich",
    "textual",
    "uvicorn",
    "uvloop",
    "pyqwest",
)


def test_commands_import_nothing_heavy(server: ConnectServer) -> None:
    server.prepare("ListNodes", {"nodes": [{"nodeId": "a"}]})
    code = (
        "import sys; from navarch.cli.main import main; main(sys.argv[1:]);"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    for arguments in (["--help"], ["list", "-s", server.url]):
        command = [sys.executable, "-c", code, *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ended.stdout.splitlines()[-1] == "[]"
