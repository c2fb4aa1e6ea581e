"""The sensor in a process of its own, as an agent is started: the linker finds the library."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.nvml.stand_in import LIBRARY_NAME, STATE_VARIABLE, NvmlState, build, require_nvml

PROGRAM = """
import json
from datetime import UTC, datetime
from navarch.agent.sensors.nvml import NvmlSensor

sensor = NvmlSensor(now=lambda: datetime(2026, 1, 31, tzinfo=UTC), expected_gpus=8)
(result,) = sensor.check()
print(json.dumps({
    "gpus": len(sensor.gpus()),
    "sampled": len(sensor.sample().gpus),
    "events": [event.event_type for event in sensor.events()],
    "status": result.status,
    "message": result.message,
    "details": result.details,
}))
"""


def told(environment: Mapping[str, str]) -> dict[str, Any]:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def test_a_driver_of_2018_lacks_functions_and_nothing_is_wrong(tmp_path: Path) -> None:
    require_nvml()
    build(tmp_path, flags=["-DOLD_DRIVER"])
    state = NvmlState(tmp_path / "state")
    state.set("3 temp 85")
    found = told({"LD_LIBRARY_PATH": str(tmp_path), STATE_VARIABLE: str(state.path)})
    missing = found["details"].pop("not_offered_by_driver").split(", ")
    assert "nvmlDeviceGetRemappedRows" in missing
    assert "nvmlDeviceGetNvLinkState" in missing
    assert found == {
        "gpus": 8,
        "sampled": 8,
        "events": ["thermal"],
        "status": "degraded",
        "message": "GPU 3 (GPU-00000000-0000-0000-0000-000000000003, 0000:3E:00.0):"
        " temperature 85 °C, slowdown from 85 °C",
        "details": {"driver_version": "550.54.15", "expected": "8", "seen": "8"},
    }


def test_without_the_library_there_are_no_gpus_and_the_check_says_why() -> None:
    try:
        ctypes.CDLL(LIBRARY_NAME)
    except OSError:
        found = told({})
    else:
        pytest.skip(f"NOT TESTED: this machine has a {LIBRARY_NAME}")
    assert found == {
        "gpus": 0,
        "sampled": 0,
        "events": [],
        "status": "unknown",
        "message": "libnvidia-ml.so.1 is not installed: it comes with NVIDIA's driver",
        "details": {"expected": "8", "seen": "0"},
    }
