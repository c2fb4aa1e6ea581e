"""A reboot happens once, wherever the agent dies, and afterwards it is known whether it did.

The boundaries are those of `navarch.agent.reboot`: each is tried with a real agent that ends there
as ``kill -9`` would end it, and with another one that takes over.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import add
from pathlib import Path

import pytest

from navarch.agent.reboot import BOOT_ID_PATH, BootIdError, outlived, read_boot_id, settled
from navarch.agent.record import INTERRUPTED, CommandRecord, Rebooting
from navarch.agent.turns import CommandFinished, Order
from navarch.core.model.command import CommandState

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
BEFORE = "11111111-2222-3333-4444-555555555555"
AFTER = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
ASKED = Rebooting("c1", BEFORE, NOW)

LIFE = """
import asyncio, json, os, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from navarch.agent import programs, reboot
from navarch.agent.commands import Commands, Means
from navarch.agent.record import CommandRecord
from navarch.agent.turns import Order

folder, dies = Path(sys.argv[1]), sys.argv[2]
record = CommandRecord(folder / "commands.jsonl")
run = programs.run

def die():
    os.kill(os.getpid(), 9)

async def note(asked):
    if dies == "before the note":
        die()
    record.rebooting(asked)
    if dies == "after the note":
        die()

async def dying_run(*arguments, **options):
    ending = await run(*arguments, **options)
    if dies == "after the program":
        die()
    return ending

programs.run = dying_run
means = Means(
    allowed=frozenset({"reboot"}),
    reboot=("sh", "-c", "echo x >> " + str(folder / "reboots")),
    reboot_time_max=timedelta(seconds=0.01),
    boot_id_path=folder / "boot_id",
)
now = lambda: datetime(2026, 1, 31, 12, tzinfo=UTC)
commands = Commands(folder, None, note_reboot=note, now=now, means=means)
order = Order("c1", "reboot")
record.started(order)
result = asyncio.run(commands.carry_out(order))
if dies == "before the result":
    die()
record.finished(result)
"""


def live(folder: Path, dies: str) -> int:
    """Carry a reboot out in a process that may die on the way; return its exit code."""
    (folder / "boot_id").write_text(BEFORE + "\n")
    return subprocess.run(
        [sys.executable, "-c", LIFE, str(folder), dies], check=False, timeout=30
    ).returncode


def reboots(folder: Path) -> int:
    path = folder / "reboots"
    return path.read_text().count("x") if path.exists() else 0


def take_over(folder: Path) -> tuple[list[CommandFinished], bool]:
    """Begin a new life; return the results it knows, and whether it still awaits the reboot."""
    record = CommandRecord(folder / "commands.jsonl")
    if record.awaited is not None and (result := settled(record.awaited, folder / "boot_id")):
        record.finished(result)
    return list(CommandRecord(folder / "commands.jsonl").results), record.awaited is not None


@pytest.mark.parametrize(
    "dies, asked",
    [
        ("before the note", 0),
        ("after the note", 0),
        ("after the program", 1),
        ("before the result", 1),
    ],
)
def test_a_death_anywhere_never_reboots_twice(tmp_path: Path, dies: str, asked: int) -> None:
    assert live(tmp_path, dies) == -9
    assert reboots(tmp_path) == asked
    results, awaits = take_over(tmp_path)
    known = {result.id for result in results} | ({"c1"} if awaits else set())
    assert known == {"c1"}, "it would be carried out again"
    assert awaits is (dies != "before the note")
    if not awaits:
        assert results == [CommandFinished("c1", CommandState.FAILED, INTERRUPTED)]


@pytest.mark.parametrize("dies", ["after the note", "after the program", "before the result"])
def test_another_boot_id_afterwards_is_success(tmp_path: Path, dies: str) -> None:
    live(tmp_path, dies)
    (tmp_path / "boot_id").write_text(AFTER + "\n")
    text = f"rebooted: boot id {AFTER}, before {BEFORE}"
    assert take_over(tmp_path) == ([CommandFinished("c1", CommandState.SUCCEEDED, text)], False)


def test_a_machine_that_stays_up_has_not_rebooted(tmp_path: Path) -> None:
    assert live(tmp_path, "never") == 0
    text = f"the machine did not reboot within 0:00:00.010000: its boot id is still {BEFORE}"
    assert take_over(tmp_path) == ([CommandFinished("c1", CommandState.FAILED, text)], False)


def test_what_is_left_of_the_time_is_waited_for_and_no_more() -> None:
    for passed in (timedelta(minutes=9, seconds=59.99), timedelta(hours=1)):
        time_max = timedelta(minutes=10)
        waiting = outlived(ASKED, time_max=time_max, now=partial(add, NOW, passed))
        assert asyncio.run(waiting).state is CommandState.FAILED


def test_an_awaited_reboot_outlives_every_rewriting_of_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("navarch.agent.record.LINES_MAX", 3)
    path = tmp_path / "commands.jsonl"
    record = CommandRecord(path)
    record.started(Order("c1", "reboot"))
    record.rebooting(ASKED)
    for number in range(2, 9):
        record.finished(CommandFinished(f"c{number}", CommandState.SUCCEEDED))
        assert CommandRecord(path).awaited == ASKED
    record.finished(CommandFinished("c1", CommandState.FAILED))
    assert CommandRecord(path).awaited is None


@pytest.mark.parametrize("cut", [1, 20, 80])
def test_a_note_cut_short_counts_as_not_written(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "commands.jsonl"
    record = CommandRecord(path)
    record.started(Order("c1", "reboot"))
    record.rebooting(ASKED)
    path.write_bytes(path.read_bytes()[:-cut])
    again = CommandRecord(path)
    assert (again.awaited, [each.message for each in again.results]) == (None, [INTERRUPTED])


def test_a_second_reboot_does_not_forget_the_first(tmp_path: Path) -> None:
    path = tmp_path / "commands.jsonl"
    record = CommandRecord(path)
    record.rebooting(ASKED)
    record.rebooting(Rebooting("c2", BEFORE, NOW))
    again = CommandRecord(path)
    assert [each.id for each in again.results] == ["c1"]
    assert again.awaited == Rebooting("c2", BEFORE, NOW)


def test_a_reboot_that_could_not_be_told_later_is_refused(tmp_path: Path) -> None:
    live(tmp_path, "never")
    (tmp_path / "boot_id").unlink()
    result = settled(ASKED, tmp_path / "boot_id")
    assert result is not None
    assert result.message.endswith("boot_id: the boot id cannot be read: No such file or directory")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\xff", b"not an id!", b"0" * 100])
def test_junk_is_no_boot_id(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "boot_id").write_bytes(content)
    with pytest.raises(BootIdError):
        read_boot_id(tmp_path / "boot_id")


def test_this_machine_has_a_boot_id() -> None:
    assert len(read_boot_id(BOOT_ID_PATH)) == len(BEFORE)
