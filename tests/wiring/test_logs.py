"""How daemons log: what the environment and the configuration say, and what comes out."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from navarch.config.telemetry import Logs
from navarch.errors import ConfigError
from navarch.wiring import logs

DAEMON = """
import logging, sys, threading, warnings
from navarch.config.telemetry import Logs
from navarch.telemetry.log import Log
from navarch.wiring import logs

logs.to_stderr("agent", node="n7")
if len(sys.argv) > 1:
    logs.as_written(Logs(level=sys.argv[1], format=sys.argv[2]))
log = Log("navarch.made.up")
log.debug("plugin_called", plugin="p")
log.info("node_lost", node="n8")
logging.getLogger("uvicorn.error").info("a connection")
logging.getLogger("uvicorn.error").warning("a %s", "library")
warnings.warn("this is old", DeprecationWarning, stacklevel=1)
threading.Thread(target=lambda: 1 / 0, name="worker").start()
"""


def said(*words: str, **environ: str) -> list[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "default", **environ}
    for name in ("LOG_LEVEL", "LOG_FORMAT"):
        if name not in environ:
            environment.pop(name, None)
    ran = subprocess.run(
        [sys.executable, "-c", DAEMON, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment,
    )
    assert ran.stdout == ""
    return ran.stderr.splitlines()


def test_where_nobody_watches_each_line_is_json_whoever_logs() -> None:
    told = [json.loads(line) for line in said()]
    assert [(each["level"], each["event"]) for each in told] == [
        ("info", "node_lost"),
        ("warning", "library_message"),
        ("warning", "library_message"),
        ("error", "thread_broke"),
    ]
    assert {each["service"] for each in told} == {"agent"}
    assert [each["node"] for each in told] == ["n8", "n7", "n7", "n7"]
    assert (told[1]["message"], told[1]["logger"]) == ("a library", "uvicorn.error")
    assert "this is old" in told[2]["message"]
    assert (told[3]["thread"], told[3]["error"]) == (
        "worker",
        "ZeroDivisionError: division by zero",
    )


def test_the_environment_overrules_the_configuration() -> None:
    lines = said("error", "json", LOG_LEVEL="debug", LOG_FORMAT="text")
    words = [line.split()[2] for line in lines if not line.startswith(" ")]
    assert words[:2] == ["plugin_called", "node_lost"]
    (line,) = said("error", "json")
    assert json.loads(line)["event"] == "thread_broke"
    assert said("warning", "text")[0].split()[1:3] == ["WARNING", "library_message"]


def test_on_a_terminal_lines_are_for_people() -> None:
    reading, writing = pty.openpty()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LOG_")}
    with subprocess.Popen([sys.executable, "-c", DAEMON], stderr=writing, env=environ) as process:
        os.close(writing)
        text = b""
        while True:
            try:
                text += os.read(reading, 65_536)
            except OSError:  # the other end is closed
                break
        assert process.wait(60) == 0
    os.close(reading)
    first = text.decode().splitlines()[0]
    assert first.split()[1:] == ["INFO", "node_lost", "node=n8"]


def test_a_format_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        logs.format_of({"LOG_FORMAT": "xml"}, terminal=False)
    assert str(caught.value) == "LOG_FORMAT is 'xml', expected one of json, text"


@pytest.mark.parametrize(
    "environ,written,level",
    [({}, None, "INFO"), ({}, "debug", "DEBUG"), ({"LOG_LEVEL": "ERROR"}, "debug", "ERROR")],
)
def test_the_level_is_the_environments_or_what_is_written(
    environ: dict[str, str], written: str | None, level: str
) -> None:
    assert logging.getLevelName(logs.level_of(environ, written)) == level
    assert Logs() == Logs(level=None, format=None)


PLANTED = {
    "in a token of the configuration": "tok-0123456789abcdef-config",
    "in the key of a provider": "lambda-key-0123456789abcdef",
    "in a variable that is called like a secret": "a secret with spaces 01",
}


def test_a_server_logs_none_of_its_secrets(tmp_path: Path) -> None:
    config = tmp_path / "navarch.yaml"
    config.write_text(
        """
server:
  address: "127.0.0.1:0"
  data: data
  store: "postgresql://navarch:s3cret-of-the-store@127.0.0.1:9/navarch"
  auth:
    tokens: [{name: hands, role: operator, token_env: HANDS}]
providers:
  lambda: {type: lambda, api_key_env: KEY}
pools:
  training: {provider: lambda, instance_type: gpu_1x_a10, region: us-east-1, max_nodes: 1}
"""
    )
    tokens, key, variable = PLANTED.values()
    environ = {**os.environ, "HANDS": tokens, "KEY": key, "MY_PASSWORD": variable}
    environ |= {"LOG_LEVEL": "debug"}
    ran = subprocess.run(
        [sys.executable, "-m", "navarch", "server", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environ,
        cwd=tmp_path,
    )
    assert ran.returncode != 0  # there is no database
    assert ran.stderr
    for secret in (*PLANTED.values(), "s3cret-of-the-store"):
        assert secret not in ran.stderr
    *events, last = ran.stderr.splitlines()
    assert [json.loads(line)["service"] for line in events] == ["server"] * len(events)
    assert last.startswith("navarch: ")
