"""Every scenario under examples/ holds, and one seed is one run in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from navarch.simulator.scenarios.reading import load
from navarch.simulator.scenarios.running import run_scenario

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "scenarios"
FILES = sorted(FOLDER.glob("*.yaml"))
LONG = FOLDER / "extreme-5000.yaml"
QUICK = [path for path in FILES if path != LONG]
"""What takes less than a few seconds."""

SAME = ("chaos-1000", "rolling-failures", "spot-interruption")
PROGRAM = """
import sys
from pathlib import Path
from navarch.simulator.scenarios.reading import load
from navarch.simulator.scenarios.running import run_scenario
for name in sys.argv[1:]:
    print(run_scenario(load(Path(name)), 5).digest)
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the examples' own classes be found, as PYTHONPATH=examples does."""
    monkeypatch.syspath_prepend(str(FOLDER.parent))


@pytest.mark.parametrize(
    "path",
    [*QUICK, pytest.param(LONG, marks=pytest.mark.soak)],
    ids=lambda path: path.stem,
)
def test_an_example_holds(path: Path) -> None:
    outcome = run_scenario(load(path))
    assert [check.message for check in outcome.failures] == []
    assert len(outcome.checks) >= 2


@pytest.mark.parametrize(
    "path",
    [path if path.stem in SAME else pytest.param(path, marks=pytest.mark.soak) for path in QUICK],
    ids=lambda path: path.stem,
)
def test_no_invariant_breaks_under_another_seed(path: Path) -> None:
    outcome = run_scenario(load(path), 11)
    broken = [check.message for check in outcome.failures if check.what == "invariants hold"]
    assert broken == []


def test_the_order_of_hashes_does_not_matter() -> None:
    def digests(hash_seed: str) -> str:
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, *(str(FOLDER / f"{name}.yaml") for name in SAME)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    first, second = digests("1"), digests("2")
    assert first == second
    assert len(set(first.split())) == len(SAME)


def test_another_seed_is_another_run() -> None:
    scenario = load(FOLDER / "spot-interruption.yaml")
    assert run_scenario(scenario, 1).digest != run_scenario(scenario, 2).digest
