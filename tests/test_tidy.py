"""`tools/tidy.py` sees each fault that it promises to see; `make check` runs it on this project."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

A_MODULE = '"""What it knows."""\n'


@pytest.fixture(scope="session")
def tidy(project: Path) -> ModuleType:
    """Load the tool as a module; it lives outside every package."""
    spec = importlib.util.spec_from_file_location("tidy", project / "tools" / "tidy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tidy"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a work tree with one tidy module, which is an entry point."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    plant(tmp_path, "src/navarch/__init__.py", A_MODULE)
    return tmp_path


def plant(tree: Path, path: str, content: str) -> None:
    """Write one file into a tree."""
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    (tree / path).write_text(content)


def found(tidy: ModuleType, tree: Path) -> list[tuple[str, int, str]]:
    """List the faults of a tree as (path, line, rule)."""
    return [(fault.path, fault.line, fault.rule) for fault in tidy.faults_of_tree(tree)]


def test_a_tidy_tree_has_no_faults(tidy: ModuleType, tree: Path) -> None:
    assert found(tidy, tree) == []


@pytest.mark.parametrize(
    "path,content,expected",
    [
        ("notes.txt", "x" * 200_001, (1, "size")),
        ("notes.txt", "see /" + "home/ada/notes", (1, "machine")),
        ("notes.txt", "first\nfrom https://py" + "pi.org/simple", (2, "machine")),
        ("some.lock", "--index-" + "url https://example.org", (1, "machine")),
        ("tools/a.py", A_MODULE + "x = 1\n" * 500, (1, "module")),
        ("tools/a.py", A_MODULE + f"x = '{'y' * 95}'\n", (2, "columns")),
        ("tools/a.py", A_MODULE + "# TODO: finish\n", (2, "todo")),
        ("tools/a.py", "x = 1\n", (1, "docstring")),
        ("tools/a.py", "", (1, "docstring")),
        ("tools/a.py", A_MODULE + "def f():\n" + "    x = 1\n" * 70, (2, "function")),
        ("tools/a.py", A_MODULE + "async def f():\n" + "    x = 1\n" * 70, (2, "function")),
        ("tools/node_utils.py", A_MODULE, (1, "name")),
        ("tools/common/nodes.py", A_MODULE, (1, "name")),
        ("tools/a.py", A_MODULE + "class NodeHandler: ...\n", (2, "name")),
        ("tools/a.py", A_MODULE + "class A:\n    def get_info(self): ...\n", (3, "name")),
        ("src/navarch/lonely.py", A_MODULE, (1, "dead")),
        ("src/navarch/lonely.py", A_MODULE + "import navarch.lonely\n", (1, "dead")),
    ],
)
def test_each_planted_fault_is_named_with_its_place(
    tidy: ModuleType, tree: Path, path: str, content: str, expected: tuple[int, str]
) -> None:
    plant(tree, path, content)
    line, rule = expected
    assert found(tidy, tree) == [(path, line, rule)]


@pytest.mark.parametrize(
    "path,content",
    [
        ("some.lock", "x" * 200_001),
        ("tools/a.py", A_MODULE + "x = 1\n" * 499),
        ("tools/a.py", A_MODULE + "# TODO(#12): finish\n"),
        ("tools/a.py", A_MODULE + "def f():\n" + "    x = 1\n" * 69),
        ("tools/a.py", A_MODULE + "class PoolManager: ...\nclass GPUInfo: ...\n"),
        ("tools/a.py", A_MODULE + "def information(): ...\n\n\ndef metadata(): ...\n"),
        ("src/navarch/used.py", A_MODULE),
        ("src/navarch/lazy.py", A_MODULE),
        ("src/navarch/wire/generated/a_pb2.py", "class FooHandler: ...\n"),
    ],
)
def test_what_is_allowed_is_no_fault(tidy: ModuleType, tree: Path, path: str, content: str) -> None:
    plant(
        tree,
        "src/navarch/__init__.py",
        A_MODULE + "from navarch import used\nLAZY = {'Node': 'navarch.lazy'}\n",
    )
    plant(tree, path, content)
    assert found(tidy, tree) == []


def test_a_module_that_only_tests_use_is_dead(tidy: ModuleType, tree: Path) -> None:
    plant(tree, "src/navarch/lonely.py", A_MODULE)
    plant(tree, "tests/test_lonely.py", A_MODULE + "import navarch.lonely\n")
    assert found(tidy, tree) == [("src/navarch/lonely.py", 1, "dead")]


def test_what_git_ignores_is_not_looked_at(tidy: ModuleType, tree: Path) -> None:
    plant(tree, ".gitignore", "scratch/\n")
    plant(tree, "scratch/notes.py", "x = 1\n")
    assert found(tidy, tree) == []


def test_an_exception_silences_one_rule_in_one_file(
    tidy: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tree, "tools/a.py", "# TODO: finish\n")
    monkeypatch.setitem(tidy.EXCEPTIONS, ("tools/a.py", "todo"), "planted")
    assert found(tidy, tree) == [("tools/a.py", 1, "docstring")]


def test_every_exception_still_has_its_fault(
    tidy: ModuleType, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the files that are named are read: the whole tree once more would take seconds.
    named = sorted({path for path, _ in tidy.EXCEPTIONS})
    monkeypatch.setattr(tidy, "listed_files", lambda _root: named)
    exceptions = set(tidy.EXCEPTIONS)
    monkeypatch.setattr(tidy, "EXCEPTIONS", {})
    faults = {(fault.path, fault.rule) for fault in tidy.faults_of_tree(project)}
    assert exceptions - faults == set()


def run_tidy(project: Path, root: Path) -> subprocess.CompletedProcess[str]:
    """Run the tool as a person does."""
    command = [sys.executable, str(project / "tools" / "tidy.py"), str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_place_fault_and_expectation(project: Path, tree: Path) -> None:
    plant(tree, "tools/a.py", "x = 1\n")
    run = run_tidy(project, tree)
    expected = "tools/a.py:1: no module docstring, expected what the module knows [docstring]\n"
    assert (run.returncode, run.stdout, run.stderr) == (1, expected, "tidy: 1 faults\n")


def test_the_command_is_content_with_a_tidy_tree(project: Path, tree: Path) -> None:
    run = run_tidy(project, tree)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "tidy: no faults\n")


def test_the_command_refuses_a_folder_that_git_does_not_know(project: Path, tmp_path: Path) -> None:
    run = run_tidy(project, tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"tidy: {tmp_path} is not a git work tree")
