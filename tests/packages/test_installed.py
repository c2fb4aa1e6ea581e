"""The packages installed where nothing else is, and run there.

It takes half a minute, and whatever package index pip is set to: a long test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXTRAS = ("aws", "gcp", "k8s", "slurm", "postgres", "dashboard", "sim", "http2", "models", "nvml")
LIBRARIES = ("botocore", "google.auth", "asyncpg", "textual", "zttp", "obstore", "pynvml")
"""What the extras bring; k8s, slurm and sim bring nothing."""

pytestmark = pytest.mark.soak


def run(*command: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program that knows nothing of this tree."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=check,
        cwd=cwd,
        timeout=600,
        env=environ,
    )


@pytest.fixture(scope="module")
def built(project: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Wheel and source archive, built as `make package` builds them."""
    out = tmp_path_factory.mktemp("dist")
    ended = run(sys.executable, project / "tools/package.py", out, cwd=project, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return sorted(out.iterdir())


@pytest.fixture(scope="module")
def bare(project: Path, built: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment with the wheel and what it cannot do without, by the lock."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    wheel = next(path for path in built if path.suffix == ".whl")
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    pip = (folder / "bin/python", "-m", "pip", "install", "--quiet")
    run(*pip, "--require-hashes", "-r", project / "requirements.lock", cwd=folder.parent)
    run(*pip, "--no-deps", wheel, cwd=folder.parent)
    return folder


def test_the_archives_are_a_wheel_and_its_source(built: list[Path]) -> None:
    assert [path.name for path in built] == [
        "navarch-0.1.0-py3-none-any.whl",
        "navarch-0.1.0.tar.gz",
    ]


def test_the_wheel_runs_where_nothing_else_is(bare: Path, tmp_path: Path) -> None:
    navarch = bare / "bin/navarch"
    assert run(navarch, "version", cwd=tmp_path).stdout == "0.1.0\n"
    place = run(bare / "bin/python", "-c", "import navarch; print(navarch.__file__)", cwd=tmp_path)
    assert place.stdout.startswith(str(bare))
    # Each reads a file that is no module: health rules, prices, templates, pages.
    assert "xid-" in run(navarch, "policy", "show", cwd=tmp_path).stdout
    run(navarch, "plugin", "new", "scheduler", "mine", cwd=tmp_path)
    scenario = "name: small\nduration: 10m\nproviders: {fake: {}}\n"
    scenario += "pools: {train: {provider: fake, min_nodes: 2, max_nodes: 3}}\n"
    (tmp_path / "small.yaml").write_text(scenario)
    run(navarch, "simulate", "run", "small.yaml", "--report", "report", cwd=tmp_path)
    assert (tmp_path / "report").exists()


def test_what_needs_an_extra_says_so(bare: Path, tmp_path: Path) -> None:
    config = "server: {store: 'postgresql://navarch@127.0.0.1:1/fleet'}\n"
    (tmp_path / "navarch.yaml").write_text(config)
    ended = run(
        *(bare / "bin/navarch", "server", "--config", "navarch.yaml"), cwd=tmp_path, check=False
    )
    assert ended.returncode == 1
    assert "pip install 'navarch[postgres]'" in ended.stderr


def test_every_extra_can_be_installed_and_brings_what_it_is_for(
    project: Path, bare: Path, built: list[Path], tmp_path: Path
) -> None:
    python = bare / "bin/python"
    wheel = next(path for path in built if path.suffix == ".whl")
    wanted = f"navarch[{','.join(EXTRAS)}] @ {wheel.as_uri()}"
    lock = project / "deploy/docker/requirements.lock"
    pins = [line.split(" ")[0] for line in lock.read_text().splitlines() if "==" in line[:60]]
    (tmp_path / "pins.txt").write_text("\n".join(pins))
    run(
        python, "-m", "pip", "install", "--quiet", "-c", tmp_path / "pins.txt", wanted, cwd=tmp_path
    )
    code = "import importlib, json, sys; print(json.dumps([importlib.import_module(n).__name__"
    code += " for n in sys.argv[1:]]))"
    found = run(python, "-c", code, *LIBRARIES, cwd=tmp_path)
    assert json.loads(found.stdout) == list(LIBRARIES)
    wrong = run(python, "-m", "pip", "check", cwd=tmp_path, check=False)
    assert (wrong.returncode, wrong.stderr) == (0, ""), wrong.stdout
