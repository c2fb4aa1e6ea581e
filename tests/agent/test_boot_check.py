"""A machine that did not come up whole is not handed to anybody, and says why."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from navarch.agent.boot_check import (
    Admission,
    BootFinding,
    admission,
    check_boot,
    read_admission,
)
from navarch.core.model.gpu import GPU

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
TWO = tuple(GPU(n, f"GPU-{n}", driver_version="550.54", memory_total=80 << 30) for n in range(2))


def checked(
    gpus: tuple[GPU, ...] = TWO,
    faults: tuple[str, ...] = (),
    *,
    expected: int | None = None,
    checks: tuple[tuple[str, ...], ...] = (),
    seconds: float = 30,
) -> BootFinding:
    time_max = timedelta(seconds=seconds)
    checking = check_boot(gpus, faults, expected_gpus=expected, checks=checks, time_max=time_max)
    return asyncio.run(checking)


@pytest.mark.parametrize(
    "gpus, expected, text",
    [
        (TWO, 2, "2 of 2 GPUs are there, driver 550.54"),
        (TWO, None, "2 GPUs are there, driver 550.54"),
        ((), None, "no GPU is seen, and none was expected"),
        ((), 0, "no GPU is seen, and none was expected"),
    ],
)
def test_a_machine_that_is_whole_passes(
    gpus: tuple[GPU, ...], expected: int | None, text: str
) -> None:
    assert checked(gpus, expected=expected) == BootFinding(passed=True, text=text, gpus=gpus)


@pytest.mark.parametrize(
    "gpus, expected, text",
    [
        (TWO, 8, "2 GPUs are seen (0, 1), expected 8"),
        (TWO, 1, "2 GPUs are seen (0, 1), expected 1"),
        ((), 8, "no GPU is seen, expected 8: is the driver loaded?"),
        ((GPU(0, driver_version="550"),), None, "GPU 0 shows no memory"),
        ((GPU(3, memory_total=1),), None, "GPU 3 names no driver"),
    ],
)
def test_what_is_missing_is_named(gpus: tuple[GPU, ...], expected: int | None, text: str) -> None:
    assert checked(gpus, expected=expected) == BootFinding(passed=False, text=text, gpus=gpus)


def test_what_speaks_against_the_machine_is_named_with_the_rest() -> None:
    found = checked((), ("nvml: did not answer within 0:00:05",), expected=8)
    assert found.text == (
        "nvml: did not answer within 0:00:05; no GPU is seen, expected 8: is the driver loaded?"
    )


def test_every_program_of_the_operator_has_to_end_well() -> None:
    good, bad = ("sh", "-c", "echo fine"), ("sh", "-c", "echo first; echo lane 3 is down; exit 4")
    assert checked(checks=(good, good)).text == (
        "2 GPUs are there, driver 550.54, sh ended with 0, sh ended with 0"
    )
    found = checked(checks=(good, bad))
    assert (found.passed, found.text) == (False, "sh ended with 4: lane 3 is down")


def test_a_program_that_hangs_or_is_not_there_does_not_pass() -> None:
    assert checked(checks=(("sleep", "60"),), seconds=0.05).text == (
        "sleep took longer than 0:00:00.050000 and was ended"
    )
    assert checked(checks=(("/nonexistent/probe",),)).text == (
        "/nonexistent/probe cannot be started: No such file or directory"
    )


def test_no_program_runs_on_a_machine_that_is_broken_already(tmp_path: Path) -> None:
    checked((), expected=8, checks=(("touch", str(tmp_path / "ran")),))
    assert list(tmp_path.iterdir()) == []


PASSED, FAILED = BootFinding(passed=True, text="whole"), BootFinding(passed=False, text="broken")


def test_a_machine_that_passed_stays_admitted_until_it_boots_again() -> None:
    first = admission(FAILED, None, boot_id="a", now=NOW)
    assert first == Admission(passed=False, because="broken", at=NOW, boot_id="a", admitted=False)
    passed = admission(PASSED, first, boot_id="a", now=NOW)
    assert passed.admitted
    assert admission(FAILED, passed, boot_id="a", now=NOW).admitted
    assert not admission(FAILED, passed, boot_id="b", now=NOW).admitted


def test_without_a_boot_id_nobody_is_admitted_on_trust() -> None:
    passed = admission(PASSED, None, boot_id="", now=NOW)
    assert not admission(FAILED, passed, boot_id="", now=NOW).admitted


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"passed": 1}'])
def test_what_makes_no_sense_admits_nobody(tmp_path: Path, content: bytes) -> None:
    assert read_admission(tmp_path / "boot.json") is None
    (tmp_path / "boot.json").write_bytes(content)
    assert read_admission(tmp_path / "boot.json") is None
    written = admission(PASSED, None, boot_id="a", now=NOW)
    (tmp_path / "boot.json").write_bytes(msgspec.json.encode(written))
    assert read_admission(tmp_path / "boot.json") == written
