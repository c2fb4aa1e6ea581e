"""A package of plugins, installed with pip, runs in a real control plane and is switched there."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.conftest import Up

PLUGINS = {
    "custom-scheduler": "scheduler",
    "custom-autoscaler": "autoscaler",
    "s3-loader": "model-loader",
    "acme-pii": "guardrail",
    "acme-prometheus": "metrics-provider",
}
"""What the package brings, by the word of the command line."""


@pytest.fixture
def installed(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the package into a folder of its own, which every new process looks into."""
    target = tmp_path / "site"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--disable-pip-version-check", "--target", str(target)),
            str(_copy(project / "examples" / "plugins" / "acme-navarch", tmp_path / "acme")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    monkeypatch.setenv("PYTHONPATH", str(target))
    return target


def _copy(package: Path, to: Path) -> Path:
    """Copy a package, so that building it leaves nothing in the tree."""
    for path in package.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = to / path.relative_to(package)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return to


def listed(fleet: Up) -> dict[str, dict[str, object]]:
    """What the control plane says of the package's plugins, by name."""
    found = fleet.call("ListPlugins").get("plugins", [])
    return {one["name"]: one for one in found if "acme-navarch" in one.get("origin", "")}


@pytest.mark.usefixtures("installed")
def test_an_installed_package_is_listed_switched_and_remembered(
    start_up: Callable[..., Up],
) -> None:
    fleet = start_up(nodes=1)
    found = listed(fleet)
    assert set(found) == set(PLUGINS)
    assert {one["origin"] for one in found.values()} == {"acme-navarch 1.0.0"}

    table = fleet.run("plugin", "list").stdout
    for name in PLUGINS:
        assert name in table
    with urllib.request.urlopen(f"{fleet.url}/debug/plugins", timeout=10) as page:  # noqa: S310
        assert b"custom-scheduler" in page.read()

    done = fleet.run("plugin", "disable", "scheduler", "custom-scheduler", "--reason", "too strict")
    assert done.returncode == 0, done.stderr
    assert "disabled" in done.stdout
    assert not listed(fleet)["custom-scheduler"].get("enabled", False)

    fleet.kill()
    again = start_up(nodes=1)
    assert not listed(again)["custom-scheduler"].get("enabled", False)
    done = again.run("plugin", "enable", "scheduler", "custom-scheduler")
    assert done.returncode == 0, done.stderr
    assert listed(again)["custom-scheduler"]["enabled"]
