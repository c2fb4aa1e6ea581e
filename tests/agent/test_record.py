"""The record of commands, and the folder it lives in: both survive what a crash leaves behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from navarch.agent import state
from navarch.agent.record import INTERRUPTED, CommandRecord
from navarch.agent.state import occupied
from navarch.agent.turns import CommandFinished, Order
from navarch.core.model.command import CommandState
from navarch.errors import ConfigError

ORDER = Order("c1", "run_diagnostic")
DONE = CommandFinished("c1", CommandState.SUCCEEDED, "done", "line one\nline two\x00é")


def test_a_result_is_there_after_a_restart(tmp_path: Path) -> None:
    record = CommandRecord(tmp_path / "commands.jsonl")
    record.started(ORDER)
    record.finished(DONE)
    assert list(CommandRecord(tmp_path / "commands.jsonl").results) == [DONE]


def test_a_command_that_was_begun_only_has_failed(tmp_path: Path) -> None:
    CommandRecord(tmp_path / "commands.jsonl").started(ORDER)
    interrupted = CommandFinished("c1", CommandState.FAILED, INTERRUPTED)
    assert list(CommandRecord(tmp_path / "commands.jsonl").results) == [interrupted]


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_line_cut_short_by_a_crash_counts_as_not_written(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "commands.jsonl"
    record = CommandRecord(path)
    record.started(ORDER)
    whole = path.stat().st_size
    record.finished(DONE)
    os.truncate(path, max(path.stat().st_size - cut, whole))
    expected = CommandFinished("c1", CommandState.FAILED, INTERRUPTED)
    assert list(CommandRecord(path).results) == [expected]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "commands.jsonl"
    CommandRecord(path).started(ORDER)
    path.write_bytes(path.read_bytes() + b'{"step": "danced"}\n')
    with pytest.raises(ConfigError, match=r"commands\.jsonl:2: is no record of a command"):
        CommandRecord(path)


def test_a_write_that_fails_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "commands.jsonl"
    record = CommandRecord(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full_disk)
        with pytest.raises(OSError, match="No space left"):
            record.started(ORDER)
    assert path.read_bytes() == b""
    record.started(Order("c2", "cordon"))
    assert [result.id for result in CommandRecord(path).results] == ["c2"]


def _full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_record_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("navarch.agent.record.RESULTS_MAX", 4)
    monkeypatch.setattr("navarch.agent.record.LINES_MAX", 16)
    path = tmp_path / "commands.jsonl"
    record = CommandRecord(path)
    for number in range(50):
        record.finished(CommandFinished(f"c{number}", CommandState.SUCCEEDED))
        assert len(path.read_bytes().splitlines()) < 16
    results = [result.id for result in CommandRecord(path).results]
    assert results == ["c46", "c47", "c48", "c49"]


def test_a_record_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        CommandRecord(tmp_path)


# --- the folder --------------------------------------------------------------------------------


def test_an_occupied_folder_tells_the_process_id(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    with occupied(folder):
        assert (folder / "agent.pid").read_text() == f"{os.getpid()}\n"
    assert not (folder / "agent.pid").exists()


def test_a_folder_belongs_to_one_agent_at_a_time(tmp_path: Path) -> None:
    with occupied(tmp_path):
        expected = f"belongs to a running agent \\(pid {os.getpid()}\\)"
        with pytest.raises(ConfigError, match=expected), occupied(tmp_path):
            pytest.fail("two agents in one folder")
        assert (tmp_path / "agent.pid").exists()
    with occupied(tmp_path):
        pass


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"is not a folder|Not a directory"), occupied(path):
            pytest.fail("a file was taken for a folder")


def test_a_replacement_that_fails_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    state.replace_file(path, b"old")
    monkeypatch.setattr(os, "fsync", _full_disk)
    with pytest.raises(OSError, match="No space left"):
        state.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
