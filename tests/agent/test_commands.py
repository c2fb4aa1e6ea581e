"""What a node does with each command, and what it says of it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from navarch.agent.assignments import BESIDE
from navarch.agent.commands import ALLOWED as ALLOWED_ALWAYS
from navarch.agent.commands import Commands, Means, SelfCheck, Serving
from navarch.agent.deeds import Deed, Unfit
from navarch.agent.record import Rebooting
from navarch.agent.sensors.base import SensorError
from navarch.agent.sensors.injected import (
    InjectedHardware,
    InjectedSensor,
    Temperature,
    Utilization,
    Xid,
    inject,
)
from navarch.agent.turns import CommandFinished, Order
from navarch.core.model.command import OUTPUT_BYTES_MAX, CommandState, CommandType

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
USUAL = Means()
DIAGNOSTIC = Order("c1", "run_diagnostic")


async def all_well() -> str:
    return "8 GPUs read"


async def all_broken() -> str:
    raise SensorError("the driver is not loaded")


async def no_reboot(asked: Rebooting) -> None:
    pytest.fail(f"{asked} was noted")


def a_node(
    folder: Path,
    *,
    means: Means = USUAL,
    check: SelfCheck = all_well,
    serving: Serving | None = None,
) -> Commands:
    return Commands(
        folder, check, note_reboot=no_reboot, now=lambda: NOW, means=means, serving=serving
    )


def carry_out(commands: Commands, order: Order) -> CommandFinished:
    return asyncio.run(commands.carry_out(order))


def a_diagnostic(folder: Path, script: str, *, seconds: float = 30) -> Commands:
    time_max = timedelta(seconds=seconds)
    program = (sys.executable, "-c", script)
    return a_node(folder, means=Means(diagnostic=program, diagnostic_time_max=time_max))


@pytest.mark.parametrize(
    "word, intent", [("cordon", "cordoned"), ("uncordon", "in_service"), ("drain", "drained")]
)
def test_what_is_wanted_of_the_node_is_written_down(tmp_path: Path, word: str, intent: str) -> None:
    result = carry_out(a_node(tmp_path), Order("c1", word))
    assert result.state is CommandState.SUCCEEDED
    written = msgspec.json.decode((tmp_path / "intent.json").read_bytes())
    assert written == {"intent": intent, "command": "c1"}


def test_a_drain_says_that_it_waited_for_nothing(tmp_path: Path) -> None:
    result = carry_out(a_node(tmp_path), Order("c1", "drain"))
    assert "no workload manager is attached: nothing was waited for" in result.message


def test_what_cannot_be_written_down_has_failed(tmp_path: Path) -> None:
    result = carry_out(a_node(tmp_path / "missing"), Order("c1", "cordon"))
    assert result.state is CommandState.FAILED
    assert "No such file" in result.message


def test_terminate_succeeds_and_ends_nothing_by_itself(tmp_path: Path) -> None:
    result = carry_out(a_node(tmp_path), Order("c1", "terminate"))
    assert result.state is CommandState.SUCCEEDED


KNOWN = {"cordon", "uncordon", "drain", "run_diagnostic", "terminate", "gpu_reset", "reboot"}


@pytest.mark.parametrize("word", [*sorted(set(CommandType) - KNOWN - BESIDE), "", "unknown", "999"])
def test_everything_else_is_refused_with_the_reason(tmp_path: Path, word: str) -> None:
    result = carry_out(a_node(tmp_path), Order("c1", word))
    assert result.state is CommandState.REFUSED
    assert result.message == f"this agent does not know how to carry out {word!r}"


@pytest.mark.parametrize("word", sorted(BESIDE))
def test_a_node_that_does_not_serve_refuses_to(tmp_path: Path, word: str) -> None:
    result = carry_out(a_node(tmp_path), Order("c1", word))
    assert result.state is CommandState.REFUSED
    assert result.message == "nothing is served here: start the agent with --serving"


class Served:
    """Serves, and writes down what."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def deed(self, order: Order) -> Deed:
        async def do() -> str:
            self.done.append(order.id)
            if order.id == "full":
                raise Unfit("256 replicas are here already")
            return "r1 is supervised"

        return Deed("start replica r1", do)


def test_what_is_served_is_done_or_refused_with_the_reason(tmp_path: Path) -> None:
    served = Served()
    node = a_node(tmp_path, serving=served)
    done = carry_out(node, Order("c1", "start_replica"))
    assert done == CommandFinished("c1", CommandState.SUCCEEDED, "r1 is supervised")
    full = carry_out(node, Order("full", "start_replica"))
    assert full == CommandFinished("full", CommandState.REFUSED, "256 replicas are here already")
    dry = a_node(tmp_path, serving=served, means=Means(dry_run=True))
    refused = carry_out(dry, Order("c2", "start_replica"))
    assert refused.message == "dry run, nothing was done: would start replica r1"
    assert served.done == ["c1", "full"]


def test_without_a_program_the_sensors_are_read(tmp_path: Path) -> None:
    expected = CommandFinished("c1", CommandState.SUCCEEDED, "the sensors were read", "8 GPUs read")
    assert carry_out(a_node(tmp_path), DIAGNOSTIC) == expected


def test_sensors_that_cannot_be_read_fail_the_diagnostic(tmp_path: Path) -> None:
    expected = CommandFinished("c1", CommandState.FAILED, "the driver is not loaded")
    assert carry_out(a_node(tmp_path, check=all_broken), DIAGNOSTIC) == expected


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
    commands = a_node(tmp_path, means=Means(diagnostic=("/nonexistent/dcgmi",)))
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


# --- what takes work down ----------------------------------------------------------------------

ALLOWED = ALLOWED_ALWAYS | {"gpu_reset", "reboot"}
ALL_ALLOWED = Means(allowed=ALLOWED)
ECHO = (sys.executable, "-c", "import sys; print(*sys.argv[1:])")


@pytest.mark.parametrize("word", ["gpu_reset", "reboot"])
def test_what_takes_work_down_has_to_be_allowed(tmp_path: Path, word: str) -> None:
    result = carry_out(a_node(tmp_path), Order("c1", word, {"gpu": "3"}))
    text = f"{word} is not allowed here: start the agent with --allow {word}"
    assert result == CommandFinished("c1", CommandState.REFUSED, text)


@pytest.mark.parametrize("gpu", ["3", "all"])
def test_a_gpu_is_reset_by_the_program(tmp_path: Path, gpu: str) -> None:
    node = a_node(tmp_path, means=Means(allowed=ALLOWED, gpu_reset=(*ECHO, "-i", "{gpu}")))
    result = carry_out(node, Order("c1", "gpu_reset", {"gpu": gpu}))
    assert (result.state, result.output) == (CommandState.SUCCEEDED, f"-i {gpu}\n")


@pytest.mark.parametrize("gpu", ["", "-1", "three", "3;reboot", "99999", "٣"])
def test_a_reset_of_no_gpu_is_refused(tmp_path: Path, gpu: str) -> None:
    node = a_node(tmp_path, means=Means(allowed=ALLOWED, gpu_reset=("false",)))
    order = Order("c1", "gpu_reset", {"gpu": gpu} if gpu else {})
    result = carry_out(node, order)
    assert result.state is CommandState.REFUSED
    assert result.message.endswith("expected parameter gpu with an index such as 3, or all")


@pytest.mark.parametrize(
    "gpu, program",
    [("3", "nvidia-smi --gpu-reset -i 3"), ("all", "nvidia-smi --gpu-reset")],
)
def test_without_a_program_nvidias_is_used(tmp_path: Path, gpu: str, program: str) -> None:
    node = a_node(tmp_path, means=Means(allowed=ALLOWED, dry_run=True))
    result = carry_out(node, Order("c1", "gpu_reset", {"gpu": gpu}))
    assert result.message == f"dry run, nothing was done: would run {program}"


def test_gpus_are_released_while_one_is_reset(tmp_path: Path) -> None:
    steps: list[str] = []

    @contextlib.asynccontextmanager
    async def released() -> AsyncIterator[None]:
        steps.append("released")
        yield
        steps.append("taken up")

    script = f"open({str(tmp_path / 'reset')!r}, 'w')"
    node = Commands(
        tmp_path,
        all_well,
        note_reboot=no_reboot,
        now=lambda: NOW,
        released=released,
        means=Means(allowed=ALLOWED, gpu_reset=(sys.executable, "-c", script)),
    )
    carry_out(node, Order("c1", "gpu_reset", {"gpu": "0"}))
    assert (steps, (tmp_path / "reset").exists()) == (["released", "taken up"], True)


@pytest.mark.parametrize(
    "order, would",
    [
        (Order("c1", "cordon"), "record cordoned in "),
        (Order("c1", "drain"), "record drained in "),
        (Order("c1", "terminate"), "end the agent"),
        (Order("c1", "run_diagnostic"), "read the sensors"),
        (Order("c1", "gpu_reset", {"gpu": "1"}), "run touch 1"),
        (Order("c1", "reboot"), "run touch rebooted"),
    ],
)
def test_a_dry_run_does_nothing_and_refuses(tmp_path: Path, order: Order, would: str) -> None:
    means = Means(
        allowed=ALLOWED, dry_run=True, gpu_reset=("touch", "{gpu}"), reboot=("touch", "rebooted")
    )
    result = carry_out(a_node(tmp_path, means=means), order)
    assert result.state is CommandState.REFUSED
    assert result.message.startswith(f"dry run, nothing was done: would {would}")
    assert list(tmp_path.iterdir()) == []


# --- diagnostics of NVIDIA's -------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters, level", [({}, "1"), ({"level": "3"}, "3"), ({"level": "long"}, "long")]
)
def test_nvidias_diagnostic_runs_at_the_level_asked_for(
    tmp_path: Path, parameters: dict[str, str], level: str
) -> None:
    program = tmp_path / "dcgmi"
    program.write_text("#!/bin/sh\necho $@\n")
    program.chmod(0o755)
    node = a_node(tmp_path, means=Means(diagnostic=(str(program),)))
    result = carry_out(node, Order("c1", "run_diagnostic", parameters))
    assert (result.state, result.output) == (CommandState.SUCCEEDED, f"diag -r {level}\n")


@pytest.mark.parametrize("level", ["--help", "1 2", "", "x" * 200])
def test_a_parameter_never_becomes_an_option(tmp_path: Path, level: str) -> None:
    node = a_node(tmp_path, means=Means(diagnostic=(*ECHO, "{level}")))
    result = carry_out(node, Order("c1", "run_diagnostic", {"level": level}))
    assert result.state is CommandState.REFUSED
    assert "is no value of parameter 'level'" in result.message


def test_a_parameter_that_a_program_needs_has_to_be_there(tmp_path: Path) -> None:
    node = a_node(tmp_path, means=Means(diagnostic=(*ECHO, "{suite}")))
    result = carry_out(node, DIAGNOSTIC)
    assert result.message == "parameter 'suite' is missing: the program needs it"


def test_a_program_that_leaves_another_behind_is_not_waited_for(tmp_path: Path) -> None:
    script = "import subprocess; subprocess.Popen(['sleep', '60']); print('done')"
    result = carry_out(a_diagnostic(tmp_path, script), DIAGNOSTIC)
    assert (result.state, result.output) == (CommandState.SUCCEEDED, "done\n")


# --- no hardware -------------------------------------------------------------------------------


def pretending(folder: Path, means: Means = ALL_ALLOWED) -> Commands:
    return Commands(
        folder,
        all_well,
        note_reboot=no_reboot,
        now=lambda: NOW,
        means=means,
        pretence=InjectedHardware(folder, now=lambda: NOW),
    )


def test_a_pretended_reset_ends_the_faults_of_its_gpu_and_no_others(tmp_path: Path) -> None:
    sensor = InjectedSensor(tmp_path, node_id="n1", now=lambda: NOW)
    for gpu in (3, 4):
        inject(tmp_path, Xid(79, gpu=gpu), now=NOW)
        inject(tmp_path, Temperature(96, gpu=gpu), now=NOW)
    result = carry_out(pretending(tmp_path), Order("c1", "gpu_reset", {"gpu": "3"}))
    text = "injected: pretended a reset of GPU 3"
    assert result == CommandFinished("c1", CommandState.SUCCEEDED, text)
    temperatures = [gpu.temperature_celsius for gpu in sensor.sample().gpus]
    assert (temperatures[3] < 70, temperatures[4]) == (True, 96)
    assert {event.gpu_index for event in sensor.events()} == {4}


@pytest.mark.parametrize("order", [Order("c1", "reboot"), Order("c1", "gpu_reset", {"gpu": "all"})])
def test_a_pretended_reboot_or_reset_of_all_ends_all_faults(tmp_path: Path, order: Order) -> None:
    sensor = InjectedSensor(tmp_path, node_id="n1", now=lambda: NOW)
    inject(tmp_path, Temperature(96), now=NOW)
    inject(tmp_path, Utilization(80), now=NOW)
    assert carry_out(pretending(tmp_path), order).message.startswith("injected: pretended a re")
    sample = sensor.sample()
    assert max(gpu.temperature_celsius for gpu in sample.gpus) < 85
    assert sample.utilization_percent == 80


def test_a_gpu_that_is_not_pretended_cannot_be_reset(tmp_path: Path) -> None:
    InjectedSensor(tmp_path, node_id="n1", now=lambda: NOW)
    result = carry_out(pretending(tmp_path), Order("c1", "gpu_reset", {"gpu": "8"}))
    assert result.state is CommandState.FAILED
    assert "there is no GPU 8, expected 0 to 7" in result.message


def test_a_program_that_was_named_is_run_though_the_gpus_are_pretended(tmp_path: Path) -> None:
    node = pretending(tmp_path, Means(allowed=ALLOWED, gpu_reset=(*ECHO, "{gpu}")))
    assert carry_out(node, Order("c1", "gpu_reset", {"gpu": "2"})).output == "2\n"


def test_a_dry_run_pretends_nothing(tmp_path: Path) -> None:
    sensor = InjectedSensor(tmp_path, node_id="n1", now=lambda: NOW)
    inject(tmp_path, Temperature(96, gpu=3), now=NOW)
    result = carry_out(
        pretending(tmp_path, Means(allowed=ALLOWED, dry_run=True)), Order("c1", "reboot")
    )
    assert result.message == "dry run, nothing was done: would pretend the reboot"
    assert sensor.sample().gpus[3].temperature_celsius == 96
