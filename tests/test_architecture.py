"""The walls of the house: who may import what, what is public, and where time and chance stand.

Each wall is also tried with a fault planted on purpose, because a fence that catches nothing looks
exactly like a house in order.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import grimp
import pytest

import navarch

PURE = frozenset(
    [
        *("__future__", "bisect", "collections", "dataclasses", "datetime", "enum", "functools"),
        *("heapq", "itertools", "math", "msgspec", "re", "statistics", "struct", "types"),
        *("typing", "zlib", "zoneinfo"),
    ]
)
"""What the core may import from outside: values and computing, nothing that reaches the world."""

COLUMNS = {
    "navarch.core.model.last_heard": {"numpy"},
    "navarch.core.model.sample_records": {"numpy", "mmap"},  # of memory alone, never of a file
    "navarch.core.model.samples": {"numpy"},
    "navarch.core.scaling.history": {"array"},
    **{
        f"navarch.core.serving.scheduling.{module}": {"numpy"}
        for module in ("batch", "company", "costs", "gpus", "nodes", "preempting", "shapes")
    },
    "navarch.core.serving.scheduling.snapshot": {"numpy"},
}
"""Which module keeps packed columns, and by what: memory, with no file behind it."""

HEAVY = frozenset(
    [
        *("asyncio", "click", "connectrpc", "google.protobuf", "httptools", "numpy", "pyqwest"),
        *("sqlite3", "uvicorn", "uvloop", "yaml"),
    ]
)
"""What `import navarch` must not bring in, so that it stays quick."""


@pytest.fixture(scope="session")
def imports() -> grimp.ImportGraph:
    """Return who imports whom in `navarch`, libraries as their top-level name."""
    return grimp.build_graph("navarch", include_external_packages=True, cache_dir=None)


def is_inside(module: str, package: str) -> bool:
    """Tell whether `module` is `package` or stands in it."""
    return module == package or module.startswith(package + ".")


def strays_of_core(imports: grimp.ImportGraph) -> list[tuple[str, str]]:
    """List the imports of the core that are not on the list, as (who, what)."""
    core = {module for module in imports.modules if is_inside(module, "navarch.core")}
    return sorted(
        (module, imported)
        for module in core
        for imported in imports.find_modules_directly_imported_by(module)
        if imported not in PURE
        and imported not in COLUMNS.get(module, set())
        and not is_inside(imported, "navarch.core")
        and not is_inside(imported, "navarch.errors")
    )


def lint_imports(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    """Check the import contracts of `config` on the package `navarch` that `folder` holds."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--config", config, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def ruff(path: str, source: str, project: Path) -> list[str]:
    """List the codes of the faults that ruff finds in `source`, taken to be the file `path`."""
    run = subprocess.run(
        [
            Path(sys.executable).with_name("ruff"),
            *("check", "--select", "TID251", "--output-format", "concise", "--no-cache"),
            *("--stdin-filename", path, "-"),
        ],
        input=source,
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    return [word for word in run.stdout.split() if word == "TID251"]


def test_the_core_imports_only_what_is_listed(imports: grimp.ImportGraph) -> None:
    assert strays_of_core(imports) == []


@pytest.mark.parametrize("planted", ["ctypes", "numpy", "navarch.stores", "navarch.core_tricks"])
def test_a_stray_import_of_the_core_is_seen(planted: str) -> None:
    imports = grimp.ImportGraph()
    imports.add_import(importer="navarch.core.fold", imported=planted)
    imports.add_import(importer="navarch.core.fold", imported="navarch.core.model.node")
    assert strays_of_core(imports) == [("navarch.core.fold", planted)]


def test_the_import_contracts_hold(project: Path) -> None:
    run = lint_imports(project / "src", project / "pyproject.toml")
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    "path,line,contract",
    [
        ("errors.py", "import navarch.core", "Rings: imports point inward"),
        ("core/model/node.py", "import navarch.core.fold", "The core: decisions above nouns"),
        ("core/liveness.py", "import random", "The core knows no clock"),
        ("controlplane/runtime.py", "import navarch.stores.sqlite", "Only wiring names"),
        ("providers/fake/cloud.py", "import navarch.providers.process", "Providers do not know"),
        ("brain.py", "", "Rings: imports point inward"),
    ],
)
def test_a_planted_import_breaks_the_right_contract(
    project: Path, tmp_path: Path, path: str, line: str, contract: str
) -> None:
    shutil.copytree(project / "src" / "navarch", tmp_path / "navarch")
    with (tmp_path / "navarch" / path).open("a") as planted:
        planted.write(f"\n{line}\n")
    run = lint_imports(tmp_path, project / "pyproject.toml")
    broken = [text for text in run.stdout.splitlines() if text.endswith("BROKEN")]
    assert run.returncode == 1, run.stdout + run.stderr
    assert [text for text in broken if text.startswith(contract)] != [], broken


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, datetime\n\nNOW = datetime.now(tz=UTC)\n",
        "import datetime as dt\n\nNOW = dt.datetime.now(tz=dt.UTC)\n",
        "from time import monotonic\n\nNOW = monotonic()\n",
        "import time\n\ntime.sleep(1)\n",
        "import random\n\nDIE = random.Random()\n",
        "import uuid\n\nNAME = uuid.uuid4()\n",
    ],
)
@pytest.mark.parametrize("path", ["src/navarch/core/fold.py", "src/navarch/agent/daemon.py"])
def test_time_and_chance_are_refused_where_they_are_not_at_home(
    project: Path, path: str, source: str
) -> None:
    assert set(ruff(path, source, project)) == {"TID251"}


def test_time_has_one_reader_and_chance_one_holder(project: Path) -> None:
    clock, dice = "src/navarch/controlplane/clock.py", "src/navarch/simulator/dice.py"
    assert ruff(clock, "import time\n\nNOW = time.time()\n", project) == []
    assert ruff(dice, "import random\n\nDIE = random.Random(1)\n", project) == []
    assert [path for path in (clock, dice) if not (project / path).is_file()] == []


def test_the_public_surface_is_what_was_promised(project: Path) -> None:
    """Change ``tests/golden/public_surface.txt`` and the changelog together, on purpose."""
    promised = (project / "tests" / "golden" / "public_surface.txt").read_text().splitlines()
    assert sorted(navarch.__all__) == promised


@pytest.mark.parametrize("name", sorted(navarch.__all__))
def test_every_public_name_can_be_imported_and_is_explained(name: str) -> None:
    value = getattr(importlib.import_module("navarch"), name)
    assert name == "__version__" or value.__doc__


def test_an_unknown_public_name_is_refused_by_name() -> None:
    name = "Nodule"
    with pytest.raises(AttributeError, match=name):
        getattr(navarch, name)


def test_the_version_is_the_package_s() -> None:
    assert navarch.__version__ == metadata.version("navarch")


def test_importing_navarch_is_light() -> None:
    script = "import sys, navarch; print(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(run.stdout.splitlines()) & HEAVY == set()
