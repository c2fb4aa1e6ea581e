"""The plugin guide runs: its Python as one program, its commands with the output that it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from navarch.cli.main import main
from navarch.plugins.kinds import KINDS, SERVING, kind_of
from navarch.testing.scaffold import TEMPLATED


@pytest.fixture(scope="module")
def guide(project: Path) -> str:
    """Return the text of the guide."""
    return (project / "docs" / "plugin-guide.md").read_text(encoding="utf-8")


def blocks(guide: str, language: str) -> list[str]:
    """Return the blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", guide, re.DOTALL | re.MULTILINE)


def masked(text: str) -> str:
    """Blank out what was measured, and the columns that follow from its width."""
    text = re.sub(r"\d+\.\d ms", "TIME", text)
    return re.sub(r" {2,}", "  ", text).strip()


def test_the_python_of_the_guide_is_a_program_that_runs(guide: str, tmp_path: Path) -> None:
    program = tmp_path / "guide.py"
    program.write_text("\n".join(blocks(guide, "python")))
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", str(tmp_path), str(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "11 passed" in run.stdout


def test_the_plugins_of_the_guide_keep_their_contracts(
    guide: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "guide.py"
    program.write_text("\n".join(blocks(guide, "python")[:5]))
    code = main(["plugin", "verify", str(program)])
    told = capsys.readouterr().out
    assert code == 0, told
    kinds = re.findall(r"^(\S+) \S+ \(guide\.py:\w+\)$", told, re.MULTILINE)
    assert sorted(kinds) == sorted(SERVING)


def test_the_commands_of_the_guide_print_what_it_shows(
    guide: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = [block.removeprefix("$ ").partition("\n") for block in blocks(guide, "console")]
    assert len(shown) == 2
    for command, _, output in shown:
        assert main(command.split()[1:]) == 0
        assert masked(capsys.readouterr().out) == masked(output), command


def test_the_configuration_of_the_guide_names_kinds_that_there_are(guide: str) -> None:
    keys = {KINDS[kind].key for kind in SERVING}
    for block in blocks(guide, "yaml"):
        assert set(yaml.safe_load(block)["plugins"]) <= keys


def test_the_guide_names_every_group_and_every_template(guide: str) -> None:
    assert [kind for kind in SERVING if f"`{KINDS[kind].group}`" not in guide] == []
    begin = guide.partition("There are templates of")[2].partition(".")[0]
    words = {kind_of(word) for word in re.findall(r"`([a-z-]+)`", begin)}
    assert [kind for kind in TEMPLATED if kind not in words] == []
