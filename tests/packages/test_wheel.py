"""The wheel has all of the package and nothing else; `tools/package.py` says where it has not."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def tool(project: Path) -> ModuleType:
    """The tool as a module; it lives outside every package."""
    spec = importlib.util.spec_from_file_location("package_tool", project / "tools" / "package.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["package_tool"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(tool: ModuleType, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this tree."""
    folder = tmp_path_factory.mktemp("package")
    built: Path = tool.by_backend(tool.copied(project, folder / "tree"), "wheel", folder / "out")
    return built


def test_the_wheel_has_what_is_tracked_and_nothing_else(
    tool: ModuleType, project: Path, wheel: Path
) -> None:
    assert tool.faults_of_wheel(project, wheel) == []
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "navarch/py.typed" in names
    assert "navarch/wire/proto/navarch.proto" in names
    assert "navarch/policy/data/xid_catalog.csv" in names
    assert "navarch/cli/top/top.tcss" in names
    assert not [name for name in names if Path(name).name.startswith(("test_", "conftest"))]


def tampered(wheel: Path, folder: Path, drop: str = "", **more: str) -> Path:
    """Copy a wheel without one file and with others."""
    copy = folder / wheel.name
    with (
        zipfile.ZipFile(wheel) as whole,
        zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as changed,
    ):
        for name in whole.namelist():
            if name != drop and name not in more:
                changed.writestr(name, whole.read(name))
        for name, text in more.items():
            changed.writestr(name, text)
    return copy


def test_a_file_that_is_forgotten_or_smuggled_in_is_named(
    tool: ModuleType, project: Path, wheel: Path, tmp_path: Path
) -> None:
    more = {"navarch/notes.txt": "", "tests/test_x.py": ""}
    faults = tool.faults_of_wheel(project, tampered(wheel, tmp_path, "navarch/py.typed", **more))
    assert faults == [
        "wheel: lacks navarch/py.typed",
        "wheel: has navarch/notes.txt, which is not ours",
        "wheel: has tests/test_x.py, which is not ours",
    ]


def test_metadata_that_is_not_the_projects_is_named(
    tool: ModuleType, project: Path, wheel: Path, tmp_path: Path
) -> None:
    place = "navarch-0.1.0.dist-info/METADATA"
    text = zipfile.ZipFile(wheel).read(place).decode().replace("click<9,>=8.1", "click>=7")
    faults = tool.faults_of_wheel(project, tampered(wheel, tmp_path, **{place: text}))
    assert len(faults) == 1
    assert faults[0].startswith("wheel: its needs is [")


def test_two_wheels_that_differ_are_told_apart(
    tool: ModuleType, wheel: Path, tmp_path: Path
) -> None:
    same = tmp_path / "same.whl"
    shutil.copyfile(wheel, same)
    assert tool.differences(wheel, same) == []
    other = tampered(wheel, tmp_path, **{"navarch/py.typed": "x"})
    assert tool.differences(wheel, other) == [
        "the wheel of the tree and the one of the archive differ in navarch/py.typed"
    ]
