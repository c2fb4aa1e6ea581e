"""Faults go into injected sensors of this machine, and nowhere else."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from cli.connect_server import ConnectServer, Run
from navarch.agent.sensors import injected
from navarch.agent.sensors.injected import InjectedSensor
from navarch.cli import clock


@pytest.fixture
def labels(server: ConnectServer, tmp_path: Path) -> dict[str, str]:
    """Prepare a node of this machine with injected sensors; return its labels, to be changed."""
    labels = {"navarch.dev/sensors": "injected", "navarch.dev/state-dir": str(tmp_path)}
    metadata = {"hostname": socket.gethostname(), "labels": labels}
    server.prepare("GetNode", {"node": {"nodeId": "n1", "metadata": metadata}})
    return labels


def sensor(folder: Path) -> InjectedSensor:
    """Make the node's sensor, which makes its file."""
    return InjectedSensor(folder, node_id="n1", now=clock.now)


def test_an_xid_reaches_the_sensor(labels: dict[str, str], run: Run, tmp_path: Path) -> None:
    gpus = sensor(tmp_path)
    outcome = run("inject", "n1", "--xid", "79", "--gpu", "3")
    assert outcome == (0, "n1: injected xid: code 79, gpu 3\n", "")
    (event,) = gpus.events()
    assert (event.event_type, event.gpu_index) == ("xid", 3)


@pytest.mark.parametrize(
    "arguments,fault,told",
    [
        (
            ["--temperature", "96"],
            injected.Temperature(celsius=96, gpu=-1),
            {"kind": "Temperature", "celsius": 96, "gpu": -1},
        ),
        (
            ["--utilization", "80"],
            injected.Utilization(percent=80),
            {"kind": "Utilization", "percent": 80.0},
        ),
        (
            ["--event", "ecc_dbe", "--metric", "ecc_dbe_count=4", "--gpu", "2"],
            injected.Happening("ecc_dbe", gpu=2, metrics={"ecc_dbe_count": 4}),
            {
                "kind": "Happening",
                "event": "ecc_dbe",
                "gpu": 2,
                "metrics": {"ecc_dbe_count": 4},
                "message": "",
            },
        ),
        (["--clear"], injected.Clear(), {"kind": "Clear"}),
    ],
)
def test_each_fault_is_written_as_the_sensor_itself_would(
    arguments: list[str],
    fault: injected.Fault,
    told: dict[str, object],
    labels: dict[str, str],
    run: Run,
    tmp_path: Path,
) -> None:
    sensor(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    sensor(other)
    code, stdout, _ = run("inject", "n1", *arguments, "-o", "json")
    assert (code, json.loads(stdout)) == (0, {"nodeId": "n1", "fault": told})
    injected.inject(other, fault, now=clock.now())
    written, expected = (
        json.loads((folder / injected.FILE_NAME).read_text()) for folder in (tmp_path, other)
    )
    for content in (written, expected):
        for event in content["events"]:
            event.pop("at")
    assert written == expected


def test_what_looks_like_a_number_is_one(labels: dict[str, str], run: Run, tmp_path: Path) -> None:
    gpus = sensor(tmp_path)
    words = ["a=1", "b=0.5", "c=0x10", "d=nan", "e=two words"]
    metrics = [part for word in words for part in ("--metric", word)]
    outcome = run("inject", "n1", "--event", "pcie", *metrics)
    told = "event pcie, gpu -1, a 1, b 0.5, c 0x10, d nan, e two words"
    assert outcome == (0, f"n1: injected happening: {told}\n", "")
    (event,) = gpus.events()
    assert event.metrics == {"a": 1, "b": 0.5, "c": "0x10", "d": "nan", "e": "two words"}


@pytest.mark.parametrize(
    "arguments, problem",
    [
        (["--event", "nonsense"], "'nonsense' cannot be injected, expected one of driver_error"),
        (["--xid", "79", "--metric", "a=1"], "--metric goes with --event only"),
    ],
)
def test_an_event_that_makes_no_sense_is_refused(
    labels: dict[str, str], run: Run, tmp_path: Path, arguments: list[str], problem: str
) -> None:
    sensor(tmp_path)
    outcome = run("inject", "n1", *arguments)
    assert outcome.code != 0
    assert problem in outcome.stderr


def test_silence_lasts_as_long_as_was_said(
    labels: dict[str, str], run: Run, tmp_path: Path
) -> None:
    gpus = sensor(tmp_path)
    before = clock.now()
    assert run("inject", "n1", "--silent", "2m").stdout == "n1: injected silence: duration PT120S\n"
    gpus.sample()
    until = gpus.silent_until()
    assert until is not None
    assert 120 <= (until - before).total_seconds() <= 150


def test_real_sensors_are_refused(labels: dict[str, str], run: Run) -> None:
    labels["navarch.dev/sensors"] = "nvml"
    assert run("inject", "n1", "--xid", "79") == (
        1,
        "",
        (
            "navarch: the sensors of n1 are nvml; faults go into injected sensors only, never"
            " into real hardware\n"
        ),
    )
    del labels["navarch.dev/sensors"]
    assert "are not known to be injected" in run("inject", "n1", "--clear").stderr


def test_a_node_elsewhere_is_refused(
    labels: dict[str, str], server: ConnectServer, run: Run
) -> None:
    metadata = {"hostname": "elsewhere", "labels": labels}
    server.prepare("GetNode", {"node": {"metadata": metadata}})
    here = socket.gethostname()
    expected = f"navarch: n1 runs on elsewhere, this is {here}; run the command there\n"
    assert run("inject", "n1", "--clear") == (1, "", expected)


def test_a_folder_without_injected_sensors_is_refused(
    labels: dict[str, str], run: Run, tmp_path: Path
) -> None:
    code, stdout, stderr = run("inject", "n1", "--clear")
    assert (code, stdout) == (1, "")
    assert stderr.startswith(f"navarch: {tmp_path}: ")
    labels["navarch.dev/state-dir"] = "relative"
    assert "does not say where its agent keeps its state" in run("inject", "n1", "--clear").stderr
