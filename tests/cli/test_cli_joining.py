"""``navarch node-token``: tokens that the control plane of the same key takes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cli.connect_server import Run
from navarch.wire.auth import verify_node_token

SECRET = "a key of 64 signs, as the control plane makes one when it starts"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data folder of a control plane."""
    key = tmp_path / "node-tokens.key"
    key.write_text(SECRET)
    key.chmod(0o600)
    return tmp_path


def test_the_token_of_a_node_is_printed_and_is_for_that_node(folder: Path, run: Run) -> None:
    code, stdout, stderr = run("node-token", "gpu-17", "--data", str(folder))
    assert (code, stderr) == (0, "")
    assert verify_node_token(SECRET.encode(), stdout.strip()) == "gpu-17"
    assert run("node-token", "gpu-17", "--data", str(folder)).stdout == stdout


def test_tokens_of_several_nodes_are_files_that_nobody_else_reads(folder: Path, run: Run) -> None:
    out = folder / "tokens"
    for _ in range(2):
        code, stdout, _ = run("node-token", "n1", "n2", "--data", str(folder), "--out", str(out))
        assert (code, stdout) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == ["n1", "n2"]
    for path in out.iterdir():
        assert verify_node_token(SECRET.encode(), path.read_text().strip()) == path.name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "words,expected",
    [
        (["n1", "n2"], "several nodes need --out FOLDER"),
        (["a b"], "'a b' is not the id of a node"),
        (["rack/n1", "--out", "x"], "'rack/n1' is not an id that a file can be named by"),
        (["../n1", "--out", "x"], "'../n1' is not an id that a file can be named by"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], expected: str, folder: Path, run: Run) -> None:
    code, stdout, stderr = run("node-token", *words, "--data", str(folder))
    assert (code, stdout) == (2, "")
    assert expected in stderr


def test_a_key_is_never_made_by_the_way(tmp_path: Path, run: Run) -> None:
    code, _, stderr = run("node-token", "n1", "--data", str(tmp_path))
    assert code == 1
    assert "node-tokens.key: is not there" in stderr
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_others_may_read_is_not_used(folder: Path, run: Run) -> None:
    (folder / "node-tokens.key").chmod(0o644)
    code, stdout, stderr = run("node-token", "n1", "--data", str(folder))
    assert (code, stdout) == (1, "")
    assert "may be read by others" in stderr
