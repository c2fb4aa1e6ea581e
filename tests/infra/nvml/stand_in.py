"""A stand-in for NVIDIA's libnvidia-ml.so.1, built from nvml.c, that the real nvidia-ml-py drives.

What it says is in a file of lines "<gpu> <key> <value>", read anew on every call; nvml.c lists the
keys.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from infra.real_parts import require

SOURCE = Path(__file__).with_name("nvml.c")
STATE_VARIABLE = "FAKE_NVML_STATE"
LIBRARY_NAME = "libnvidia-ml.so.1"


def require_nvml() -> None:
    """Skip the test loudly unless the library can be built and driven."""
    require(["gcc"], "gcc")
    if find_spec("pynvml") is None:
        pytest.skip("NOT TESTED: the package nvidia-ml-py is missing; install navarch[nvml]")


def build(folder: Path, *, flags: Sequence[str] = ()) -> Path:
    """Compile the library into a folder; return its path."""
    library = folder / LIBRARY_NAME
    command = ["gcc", "-shared", "-fPIC", "-O1", "-pthread", *flags]
    subprocess.run([*command, "-o", str(library), str(SOURCE)], check=True)
    return library


class NvmlState:
    """What the library says, for a test to change."""

    def __init__(self, path: Path) -> None:
        """Begin with eight healthy GPUs."""
        self.path = path
        self.set()

    def set(self, *lines: str) -> None:
        """Say this and nothing else, from the next call on."""
        new = self.path.with_suffix(".new")
        new.write_bytes("".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))
        new.replace(self.path)
