"""The units: systemd takes them, they are as closed as said, and their programs would start."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from navarch.cli.main import main

UNITS = {"server": 1.2, "relay": 1.2, "agent": 2.0}
"""Each with its exposure as `systemd-analyze security` of systemd 252 counts it, from 0 to 10."""
PROGRAM = "/opt/navarch/bin/navarch"


@pytest.fixture(scope="module")
def folder(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units, started from a program that is there."""
    folder = tmp_path_factory.mktemp("units")
    for unit in UNITS:
        text = (project / f"deploy/systemd/navarch-{unit}.service").read_text()
        path = folder / f"navarch-{unit}.service"
        path.write_text(text.replace(PROGRAM, str(Path(sys.executable).with_name("navarch"))))
    return folder


def analyzed(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("NOT TESTED: systemd is absent: the units of systemd")
    command = ["systemd-analyze", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: str, folder: Path) -> None:
    ended = analyzed("verify", "--man=no", str(folder / f"navarch-{unit}.service"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_systemd_finds_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    text = (folder / "navarch-relay.service").read_text()
    unit = tmp_path / "navarch-relay.service"
    unit.write_text(text.replace("NoNewPrivileges", "NoNewPrivilege"))
    assert "'NoNewPrivilege'" in analyzed("verify", "--man=no", str(unit)).stderr


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_no_more_exposed_than_the_docs_say(
    unit: str, folder: Path, project: Path
) -> None:
    path = str(folder / f"navarch-{unit}.service")
    ended = analyzed("security", "--offline=yes", "--no-pager", path)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", ended.stdout)
    assert found is not None, ended.stderr
    assert float(found[1]) <= UNITS[unit]
    page = (project / "docs" / "packages.md").read_text()
    assert f"| `navarch-{unit}.service` | {UNITS[unit]} |" in page


def unit_of(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # keys keep their case
    parser.read(path)
    return parser


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_starts_a_program_that_knows_its_options(unit: str, project: Path) -> None:
    service = unit_of(project / f"deploy/systemd/navarch-{unit}.service")["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program == PROGRAM
    assert words[0] == unit
    said = [word for word in words if not word.startswith("$NAVARCH")]
    required = [] if unit == "server" else ["--server", "http://localhost"]
    assert main([*said, *required, "--help"]) == 0
    assert service["Restart"] == "always"
    assert not {"WatchdogSec", "NotifyAccess"} & set(service)  # nobody would tell systemd


def test_drop_ins_change_only_what_the_unit_has(project: Path) -> None:
    base = set(unit_of(project / "deploy/systemd/navarch-agent.service")["Service"])
    new = {"KillMode", "LimitMEMLOCK"}
    for path in (project / "deploy/systemd/navarch-agent.service.d").iterdir():
        assert set(unit_of(path)["Service"]) <= base | new, path
