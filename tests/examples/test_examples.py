"""Every example runs, as a script and in virtual time, and comes to what it promises."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from navarch.controlplane.clock import FakeClock
from pools import MONDAY

EXAMPLES = (
    "control_loop",
    "custom_autoscaler",
    "custom_metrics_source",
    "custom_provider",
    "multi_provider_pool",
    "notifier_webhook",
    "simple_pool",
)


@pytest.fixture
def folder(project: Path) -> Path:
    """Return where the examples stand."""
    return project / "examples"


def load(folder: Path, name: str) -> ModuleType:
    """Import an example by its path; it belongs to no package."""
    spec = importlib.util.spec_from_file_location(f"examples.{name}", folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tried_here(folder: Path) -> None:
    files = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("test_"))
    assert files == sorted(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_as_a_script(folder: Path, name: str) -> None:
    command = [sys.executable, "-W", "error", str(folder / f"{name}.py")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() != ""


def test_the_tests_of_the_authors_pass(folder: Path) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"),
            *("--import-mode=prepend", str(folder)),
        ],
        cwd=folder.parent,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert " passed" in run.stdout


def test_a_simple_pool_is_cordoned_replaced_and_shrunk(folder: Path) -> None:
    main = load(folder, "simple_pool").main
    left = asyncio.run(main(FakeClock(MONDAY)))
    assert len(left) == 2
    assert "fake-000001" not in left


def test_several_providers_are_fallbacks_of_one_another(folder: Path) -> None:
    main = load(folder, "multi_provider_pool").main
    bought, shortage = asyncio.run(main(FakeClock(MONDAY)))
    assert bought == Counter(lambda_=0, gcp=5) + Counter({"lambda": 3})
    assert (len(shortage.bought), shortage.wanted) == (8, 10)
    assert "gpu_8x_h100_sxm5 is sold out" in shortage.because
    assert "a3-highgpu-8g is sold out" in shortage.because


def test_a_provider_of_ones_own_sells_to_a_pool(folder: Path) -> None:
    main = load(folder, "custom_provider").main
    bought = asyncio.run(main(FakeClock(MONDAY)))
    assert [instance.region for instance in bought] == ["us-east-1", "us-east-1"]


def test_an_autoscaler_of_ones_own_is_thrifty_off_peak(folder: Path) -> None:
    off_peak, peak = load(folder, "custom_autoscaler").main()
    assert (off_peak, peak) == (2, 11)


def test_a_metrics_source_of_ones_own_scales_and_holds(folder: Path) -> None:
    main = load(folder, "custom_metrics_source").main
    grown, held, shrunk = asyncio.run(main(FakeClock(MONDAY)))
    assert grown == "4: 350 jobs at 100 a node need 4 nodes"
    assert held.startswith("4: queue_depth could not be read")
    assert shrunk.startswith("0: 0 jobs")


def test_a_control_loop_by_hand_follows_the_demand(folder: Path) -> None:
    assert asyncio.run(load(folder, "control_loop").main()) == [2, 9, 9, 8]
