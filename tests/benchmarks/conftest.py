"""The package that makes the table of benchmarks; scripts of bench/ are in no package.

It is loaded by its place: with bench/ on the path, `plugins` and others would be found there.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


def loaded(name: str, path: Path, *folders: str) -> ModuleType:
    """Load a module from a file, and let others import it by that name."""
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=list(folders) or None
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


loaded("suite", BENCH / "suite" / "__init__.py", str(BENCH / "suite"))


@pytest.fixture(scope="session")
def bench() -> Path:
    """Return the folder of the scripts."""
    return BENCH


@pytest.fixture(scope="session")
def run() -> ModuleType:
    """Return the program."""
    return loaded("bench_run", BENCH / "run.py")
