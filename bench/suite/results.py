"""What a run of the benchmarks has found, on which machine, and how it is kept."""

from __future__ import annotations

import os
import platform
import statistics
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

LIBRARIES = ("msgspec", "protobuf", "connectrpc", "uvicorn", "httptools", "uvloop", "numpy")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
BUSY = 0.5
"""Load of other programs from which on figures are said to be disturbed."""


class ResultsError(Exception):
    """A file of results cannot be read."""


class Figure(msgspec.Struct, frozen=True):
    """What a script has measured: its value is the median of its runs."""

    name: str
    value: float
    unit: str
    runs: list[float] = []

    @property
    def middle(self) -> tuple[float, float]:
        """The first and the third quartile of the runs: what a repetition may well show."""
        if len(self.runs) < 2:
            return self.value, self.value
        low, _, high = statistics.quantiles(self.runs, n=4, method="inclusive")
        return low, high

    @property
    def spread(self) -> float:
        """The distance of the quartiles."""
        low, high = self.middle
        return high - low


class ScriptRun(msgspec.Struct, frozen=True):
    """How one script went."""

    name: str
    seconds: float
    exit_code: int | None
    """None: it was not there, or it was stopped after too long."""
    load_before: float
    """Load average of the last minute when it began."""
    trouble: str = ""
    """Why there are no figures; empty where there are."""
    figures: list[Figure] = []


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured."""

    cpu: str
    cores: int
    kernel: str
    python: str
    libraries: dict[str, str]
    governor: str
    """Of the CPU's frequency; empty where it cannot be read."""
    load: float


class Results(msgspec.Struct, frozen=True):
    """One run of the benchmarks."""

    at: str
    """When it began, with the offset from UTC."""
    machine: Machine
    quick: bool
    scripts: list[ScriptRun]

    def figure(self, script: str, name: str) -> Figure | None:
        """Find a figure; None where it was not measured."""
        for ran in self.scripts:
            if ran.name == script:
                return next((each for each in ran.figures if each.name == name), None)
        return None

    def ran(self, script: str) -> ScriptRun | None:
        """Tell how a script went; None where it was not asked for."""
        return next((each for each in self.scripts if each.name == script), None)


def load_average() -> float:
    """Return the load of the last minute."""
    return os.getloadavg()[0]


def this_machine() -> Machine:
    """Describe the machine this runs on."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
        libraries={name: version for name in LIBRARIES if (version := _version(name))},
        governor=GOVERNOR.read_text().strip() if GOVERNOR.is_file() else "",
        load=load_average(),
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""


def read_figures(path: Path) -> list[Figure]:
    """Read what a script has written; raise `ResultsError`."""
    return _read(path, list[Figure])


def read(path: Path) -> Results:
    """Read a run that was kept; raise `ResultsError`."""
    return _read(path, Results)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise ResultsError(f"{path}: {error}") from error


def keep(results: Results, folder: Path, file: Path | None = None) -> Path:
    """Write a run into a file, or into a folder by its day and host; a second one gets a number."""
    path = file or _free(folder, f"{results.at[:10]}-{platform.node() or 'unknown'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    return path


def _free(folder: Path, stem: str) -> Path:
    path, number = folder / f"{stem}.json", 2
    while path.exists():
        path = folder / f"{stem}-{number}.json"
        number += 1
    return path
