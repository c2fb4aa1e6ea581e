"""Whether a machine came up whole, asked before it registers: work must not meet a broken node.

What is asked: are as many GPUs there as were expected, does each have a driver and memory, can the
sensors be read, does no check find its part unhealthy, and does every program that the operator
named for it end with 0. There is no compute probe of our own: ``dcgmi diag -r 1`` is one that can
be named.

A machine that has passed once is admitted for as long as it is up: when its agent starts anew and
the check does not pass, the node registers all the same, with the check as a bad result. Work runs
there, and silence would take it down without a drain.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from navarch.agent import programs
from navarch.core.model.gpu import GPU

BOOT_CHECK_TIME_MAX: Final = timedelta(minutes=5)
"""How long one program may take: two of them within the 10 minutes in which an instance has to
register by default."""

LAST_LINE_MAX: Final = 200
"""Characters of what a program said last."""


class BootFinding(Struct, frozen=True):
    """What a boot check found."""

    passed: bool
    text: str
    """For people: every fault, or what is there."""
    gpus: tuple[GPU, ...] = ()


class Admission(Struct, frozen=True):
    """What is written down about the newest boot check, for people and for the next run."""

    passed: bool
    because: str
    at: datetime
    boot_id: str = ""
    """Which start of the machine it was about; empty when that cannot be read."""
    admitted: bool = False
    """Whether a check has passed since that start."""


def read_admission(path: Path) -> Admission | None:
    """Read what was written down; None when there is nothing that makes sense."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Admission)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None  # then the machine has to pass again


def admission(
    found: BootFinding, before: Admission | None, *, boot_id: str, now: datetime
) -> Admission:
    """Say whether the machine is admitted, after one more check."""
    same = before is not None and boot_id != "" and boot_id == before.boot_id
    already = same and before is not None and before.admitted
    return Admission(found.passed, found.text, now, boot_id, found.passed or already)


async def check_boot(
    gpus: tuple[GPU, ...],
    faults: Sequence[str],
    *,
    expected_gpus: int | None,
    checks: Sequence[programs.Arguments] = (),
    time_max: timedelta = BOOT_CHECK_TIME_MAX,
) -> BootFinding:
    """Judge the GPUs that were listed, then run the operator's programs, unless that failed.

    `faults` are what the sensors have against the machine. `expected_gpus` None means that any
    number will do.
    """
    faults = [*faults, *_faults(gpus, expected_gpus)]
    ran: list[str] = []
    for program in [] if faults else checks:
        try:
            ending = await programs.run(program, time_max=time_max)
        except OSError as error:
            faults.append(f"{program[0]} cannot be started: {error.strerror}")
            continue
        if ending.good:
            ran.append(ending.described)
        else:
            faults.append(_with_last_line(ending))
    if faults:
        return BootFinding(passed=False, text="; ".join(faults), gpus=gpus)
    text = ", ".join([_described(gpus, expected_gpus), *ran])
    return BootFinding(passed=True, text=text, gpus=gpus)


def _faults(gpus: Sequence[GPU], expected: int | None) -> list[str]:
    faults = []
    if expected and not gpus:
        faults.append(f"no GPU is seen, expected {expected}: is the driver loaded?")
    elif expected is not None and len(gpus) != expected:
        there = ", ".join(str(gpu.index) for gpu in gpus)
        faults.append(f"{len(gpus)} GPUs are seen ({there}), expected {expected}")
    for gpu in gpus:
        if not gpu.driver_version:
            faults.append(f"GPU {gpu.index} names no driver")
        if gpu.memory_total <= 0:
            faults.append(f"GPU {gpu.index} shows no memory")
    return faults


def _described(gpus: Sequence[GPU], expected: int | None) -> str:
    if not gpus:
        return "no GPU is seen, and none was expected"
    drivers = ", ".join(sorted({gpu.driver_version for gpu in gpus}))
    of = "" if expected is None else f" of {expected}"
    return f"{len(gpus)}{of} GPUs are there, driver {drivers}"


def _with_last_line(ending: programs.Ending) -> str:
    lines = ending.output.strip().splitlines()
    said = f": {lines[-1][:LAST_LINE_MAX]}" if lines else ""
    return f"{ending.described}{said}"
