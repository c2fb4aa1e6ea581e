"""What a node does with each command, and what it says of it."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from navarch.agent.commands import Commands
from navarch.agent.sensors.base import SensorError
from navarch.agent.turns import CommandFinished, Order
from navarch.core.model.command import OUTPUT_BYTES_MAX, CommandState, CommandType

DIAGNOSTIC = Order("c1", "run_diagnostic")


async def all_well() -> str:
    return "8 GPUs read"


async def all_broken() -> str:
    raise SensorError("the driver is not loaded")


def carry_out(commands: Commands, order: Order) -> CommandFinished:
    return asyncio.run(commands.carry_out(order))


def a_diagnostic(folder: Path, script: str, *, seconds: float = 30) -> Commands:
    time_max = timedelta(seconds=seconds)
    program = (sys.executable, "-c", script)
    return Commands(folder, all_well, diagnostic=program, time_max=time_max)


@pytest.mark.parametrize(
    "word, intent", [("cordon", "cordoned"), ("uncordon", "in_service"), ("drain", "drained")]
)
def test_what_is_wanted_of_the_node_is_written_down(tmp_path: Path, word: str, intent: str) -> None:
    result = carry_out(Commands(tmp_path, all_well), Order("c1", word))
    assert result.state is CommandState.SUCCEEDED
    written = msgspec.json.decode((tmp_path / "intent.json").read_bytes())
    assert written == {"intent": intent, "command": "c1"}


def test_a_drain_says_that_it_waited_for_nothing(tmp_path: Path) -> None:
    result = carry_out(Commands(tmp_path, all_well), Order("c1", "drain"))
    assert "no workload manager is attached: nothing was waited for" in result.message


def test_what_cannot_be_written_down_has_failed(tmp_path: Path) -> None:
    result = carry_out(Commands(tmp_path / "missing", all_well), Order("c1", "cordon"))
    assert result.state is CommandState.FAILED
    assert "No such file" in result.message


def test_terminate_succeeds_and_ends_nothing_by_itself(tmp_path: Path) -> None:
    result = carry_out(Commands(tmp_path, all_well), Order("c1", "terminate"))
    assert result.state is CommandState.SUCCEEDED


KNOWN = {"cordon", "uncordon", "drain", "run_diagnostic", "terminate"}


@pytest.mark.parametrize("word", [*sorted(set(CommandType) - KNOWN), "", "unknown", "999"])
def test_everything_else_is_refused_with_the_reason(tmp_path: Path, word: str) -> None:
    result = carry_out(Commands(tmp_path, all_well), Order("c1", word))
    assert result.state is CommandState.REFUSED
    assert result.message == f"this agent does not know how to carry out {word!r}"


def test_without_a_program_the_sensors_are_read(tmp_path: Path) -> None:
    expected = CommandFinished("c1", CommandState.SUCCEEDED, "the sensors were read", "8 GPUs read")
    assert carry_out(Commands(tmp_path, all_well), DIAGNOSTIC) == expected


def test_sensors_that_cannot_be_read_fail_the_diagnostic(tmp_path: Path) -> None:
    expected = CommandFinished("c1", CommandState.FAILED, "the driver is not loaded")
    assert carry_out(Commands(tmp_path, all_broken), DIAGNOSTIC) == expected


def test_a_diagnostic_is_really_run(tmp_path: Path) -> None:
    script = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    expected = CommandFinished(
        "c1", CommandState.SUCCEEDED, f"{sys.executable} ended with 0", "out\nerr\n"
    )
    assert carry_out(a_diagnostic(tmp_path, script), DIAGNOSTIC) == expected


def test_a_diagnostic_that_ends_badly_has_failed(tmp_path: Path) -> None:
    result = carry_out(a_diagnostic(tmp_path, "raise SystemExit(3)"), DIAGNOSTIC)
    assert (result.state, result.message[-12:]) == (CommandState.FAILED, "ended with 3")


def test_a_diagnostic_killed_by_a_signal_says_which(tmp_path: Path) -> None:
    script = "import os; os.kill(os.getpid(), 9)"
    result = carry_out(a_diagnostic(tmp_path, script), DIAGNOSTIC)
    assert result.message.endswith("was ended by signal 9")


def test_a_diagnostic_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    script = (
        "import subprocess, time; subprocess.Popen(['sleep', '60']);"
        "print('begun', flush=True); time.sleep(60)"
    )
    result = carry_out(a_diagnostic(tmp_path, script, seconds=1), DIAGNOSTIC)
    assert (result.state, result.output) == (CommandState.FAILED, "begun\n")
    assert result.message.endswith("took longer than 0:00:01 and was ended")


def test_of_a_long_output_the_end_is_kept(tmp_path: Path) -> None:
    script = "print('é' * 200_000 + 'end', end='')"
    result = carry_out(a_diagnostic(tmp_path, script), DIAGNOSTIC)
    assert len(result.output.encode()) in {OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX - 1}
    assert result.output.endswith("ééend")


def test_a_program_that_is_not_there_has_failed(tmp_path: Path) -> None:
    commands = Commands(tmp_path, all_well, diagnostic=("/nonexistent/dcgmi",))
    assert carry_out(commands, DIAGNOSTIC).state is CommandState.FAILED


def test_parameters_reach_the_program_and_secrets_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAVARCH_NODE_TOKEN", "secret")
    script = (
        "import os;print(os.environ['NAVARCH_PARAMETER_LEVEL'], 'NAVARCH_NODE_TOKEN' in os.environ)"
    )
    order = Order("c1", "run_diagnostic", {"level": "3"})
    assert carry_out(a_diagnostic(tmp_path, script), order).output == "3 False\n"


@pytest.mark.parametrize("name", ["LD_PRELOAD", "a=b", "", "x" * 40])
def test_a_strange_parameter_is_refused(tmp_path: Path, name: str) -> None:
    order = Order("c1", "run_diagnostic", {name: "3"})
    assert carry_out(a_diagnostic(tmp_path, ""), order).state is CommandState.REFUSED
