"""The kernel log's sensor over files and pipes: rotated, cut short, taken away, half written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from navarch.agent.sensors import kernel_tail
from navarch.agent.sensors.kernel_log import TURN, KernelLogSensor
from navarch.core.model.report import CheckResult, Health, HealthEvent

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def xid(code: int) -> str:
    return f"Jan 31 12:00:00 h kernel: [  1.5] NVRM: Xid (PCI:0000:3b:00): {code}, x\n"


def a_sensor(path: Path, folder: Path | None = None) -> KernelLogSensor:
    return KernelLogSensor(
        path, now=lambda: NOW, state_folder=folder, booted=lambda _: NOW - timedelta(hours=1)
    )


def codes(events: tuple[HealthEvent, ...]) -> list[object]:
    return [event.metrics["xid_code"] for event in events for _ in range(event.count)]


def check(sensor: KernelLogSensor) -> CheckResult:
    (result,) = sensor.check()
    return result


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


# --- plain files -----------------------------------------------------------------------------


def test_a_plain_file_is_followed_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text(xid(13))
    sensor = a_sensor(log)
    assert sensor.events() == ()
    append(log, xid(79))
    events = sensor.events()
    assert codes(events) == [79]
    assert [event.timestamp for event in events] == [NOW]
    assert sensor.events() == ()


def test_a_file_may_hold_every_form_of_line(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.touch()
    sensor = a_sensor(log)
    append(log, "4,7,60000000,-;NVRM: Xid (PCI:0000:3b:00): 1, x\n SUBSYSTEM=pci\n")
    append(log, "kernel: NVRM: Xid (PCI:0000:3b:00): 2, x\n")
    append(log, "[ 123.456] NVRM: Xid (PCI:0000:3b:00): 3, x\n")
    append(log, "NVRM: Xid (PCI:0000:3b:00): 4, x\r\n")
    append(log, xid(5))
    events = sensor.events()
    assert codes(events) == [1, 2, 3, 4, 5]
    assert events[0].timestamp == NOW - timedelta(minutes=59)


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text("NVRM: Xid (PCI:0000:3b:00): 48, unfinis")
    sensor = a_sensor(log)
    append(log, "hed\n" + xid(79).removesuffix("9, x\n"))
    assert sensor.events() == ()
    append(log, "9, x\n")
    assert codes(sensor.events()) == [79]


def test_the_rest_of_a_line_is_no_line(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text("usb 1-1: Product: ")
    sensor = a_sensor(log)
    append(log, "NVRM: Xid (PCI:0000:3b:00): 48, x\n" + xid(79))
    assert codes(sensor.events()) == [79]


def test_a_rotated_file_is_read_to_its_end_and_then_the_new_one(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.touch()
    sensor = a_sensor(log)
    append(log, xid(1))
    log.rename(tmp_path / "kern.log.1")
    append(tmp_path / "kern.log.1", xid(2) + "NVRM: Xid (PCI:0000:3b:00): 7")
    log.write_text(xid(3))
    assert codes(sensor.events()) == [1, 2, 3]
    append(log, xid(4))
    assert codes(sensor.events()) == [4]


def test_a_file_that_is_cut_short_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text("x" * 1000 + "\n")
    sensor = a_sensor(log)
    append(log, "half a line")
    sensor.events()
    log.write_text(xid(1))
    assert codes(sensor.events()) == [1]
    log.write_text("")
    assert sensor.events() == ()
    append(log, xid(2))
    assert codes(sensor.events()) == [2]


def test_a_file_that_goes_and_comes_back_is_missed_meanwhile(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text(xid(1))
    sensor = a_sensor(log)
    append(log, xid(2))
    log.unlink()
    assert codes(sensor.events()) == [2]
    result = check(sensor)
    assert result.status is Health.UNKNOWN
    assert f"{log}: cannot be read: No such file or directory" in result.message
    log.write_text(xid(3))
    assert codes(sensor.events()) == [3]
    assert check(sensor).status is Health.HEALTHY


def test_looking_for_a_new_file_does_not_let_go_of_the_old_one(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.touch()
    sensor = a_sensor(log)
    append(log, xid(1))
    log.unlink()
    assert check(sensor).status is Health.UNKNOWN
    log.write_text(xid(2))
    assert check(sensor).status is Health.HEALTHY
    assert codes(sensor.events()) == [1, 2]


def test_a_file_that_was_missing_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "later" / "kern.log"
    sensor = a_sensor(log)
    assert sensor.events() == ()
    assert check(sensor).status is Health.UNKNOWN
    assert "pass /dev/kmsg in" in check(sensor).message
    log.parent.mkdir()
    log.write_text(xid(1))
    assert codes(sensor.events()) == [1]


def test_what_cannot_be_a_log_is_said_in_plain_words(tmp_path: Path) -> None:
    sensor = a_sensor(tmp_path)
    result = check(sensor)
    assert sensor.events() == ()
    assert check(sensor) == result
    assert result.status is Health.UNKNOWN
    text = f"{tmp_path}: cannot be read: Is a directory: name a device, a file or a pipe"
    assert result.message.startswith(text)


def test_a_log_that_may_not_be_read_names_what_would_help(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text(xid(1))
    log.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read everything; nobody may not
    try:
        sensor = a_sensor(log)
        assert sensor.events() == ()
        result = check(sensor)
    finally:
        os.seteuid(user)
    assert result.status is Health.UNKNOWN
    assert "run the agent as root, or give it CAP_SYSLOG" in result.message
    log.chmod(0o600)
    assert sensor.events() == ()
    append(log, xid(2))
    assert codes(sensor.events()) == [2]


def refusing(error: type[OSError], number: int) -> Callable[[int, int], bytes]:
    """Return what reads a file, and fails in each second call."""
    calls = iter(range(1_000))

    def read(file: int, count: int) -> bytes:
        if next(calls) % 2:
            raise error(number, os.strerror(number))
        return os.read(file, count)

    return read


def test_a_read_that_fails_repeats_nothing_and_loses_nothing(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text(xid(1))
    sensor = KernelLogSensor(log, now=lambda: NOW, read=refusing(OSError, 5))
    append(log, xid(2) + "NVRM: Xid (PCI:0000:3b:00): 3")
    assert codes(sensor.events()) == [2]
    result = check(sensor)
    assert result.status is Health.UNKNOWN
    assert "Input/output error" in result.message
    append(log, ", x\n")
    assert codes(sensor.events()) == [3]
    append(log, xid(4))
    assert codes(sensor.events()) == [4]


def test_a_read_that_succeeds_again_is_health_again(tmp_path: Path) -> None:
    broken = [True]

    def read(file: int, count: int) -> bytes:
        if broken:
            raise OSError(5, os.strerror(5))
        return os.read(file, count)

    log = tmp_path / "kern.log"
    log.touch()
    sensor = KernelLogSensor(log, now=lambda: NOW, read=read)
    sensor.events()
    assert check(sensor).status is Health.UNKNOWN
    broken.clear()
    sensor.events()
    assert check(sensor).status is Health.HEALTHY


def test_a_kept_place_that_is_impossible_is_the_beginning(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text(xid(1))
    a_sensor(log, tmp_path)
    kept = tmp_path / "kernel_log.json"
    kept.write_text(re.sub(r'"offset":\d+', '"offset":-5', kept.read_text()))
    assert codes(a_sensor(log, tmp_path).events()) == [1]


def test_a_restart_goes_on_where_a_file_was_left(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text(xid(1))
    sensor = a_sensor(log, tmp_path)
    append(log, xid(2) + "half a ")
    assert codes(sensor.events()) == [2]
    append(log, "line\n" + xid(3))
    assert codes(a_sensor(log, tmp_path).events()) == [3]
    assert a_sensor(log, tmp_path).events() == ()


def test_a_file_that_was_replaced_while_the_agent_was_down_is_read_whole(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text(xid(1))
    a_sensor(log, tmp_path)
    log.rename(tmp_path / "kern.log.1")
    log.write_text(xid(2))
    assert codes(a_sensor(log, tmp_path).events()) == [2]


def test_a_file_that_was_cut_short_while_the_agent_was_down_is_read_whole(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text(xid(1) * 2)
    a_sensor(log, tmp_path)
    log.write_text(xid(2))
    assert codes(a_sensor(log, tmp_path).events()) == [2]


def test_a_place_kept_for_another_log_is_not_used(tmp_path: Path) -> None:
    first, second = tmp_path / "a.log", tmp_path / "b.log"
    first.write_text(xid(1))
    second.write_text(xid(2))
    a_sensor(first, tmp_path)
    assert a_sensor(second, tmp_path).events() == ()


def test_a_backlog_is_skipped_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_tail, "BACKLOG_BYTES_MAX", 1_000)
    log = tmp_path / "kern.log"
    log.touch()
    sensor = a_sensor(log)
    rest = xid(2) + "x" * (999 - len(xid(2)) * 2) + "\n" + xid(3)
    append(log, f"{'x' * 99}\n" * 100 + "usb 1-1: Product: " + rest)
    assert codes(sensor.events()) == [3]
    result = check(sensor)
    assert result.status is Health.DEGRADED
    assert "bytes were lost before they were read" in result.message


def test_a_line_of_ten_megabytes_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.touch()
    sensor = a_sensor(log)
    append(log, "NVRM: Xid (PCI:0000:3b:00): 1, " + "x" * 10_000_000)
    append(log, "NVRM: Xid (PCI:0000:3b:00): 2, x\n" + xid(3))
    found: list[object] = []
    for _ in range(3):
        events = sensor.events()
        assert all(len(event.message) <= 1024 for event in events)
        found.extend(codes(events))
    assert found == [1, 3]


def test_empty_lines_do_not_hold_a_turn_up(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.touch()
    looks: list[int] = []

    def now() -> datetime:
        looks.append(1)
        return NOW + len(looks) * TURN

    sensor = KernelLogSensor(log, now=now)
    append(log, "\n" * 100_000 + xid(79))
    turns = 1
    while not (events := sensor.events()):
        turns += 1
        assert turns < 100
    assert codes(events) == [79]
    assert turns > 1


# --- pipes -----------------------------------------------------------------------------------


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    yield path
    path.unlink()


def test_a_pipe_is_read_without_waiting(pipe: Path) -> None:
    sensor = a_sensor(pipe)
    assert sensor.events() == ()
    assert check(sensor).status is Health.HEALTHY
    with pipe.open("wb", buffering=0) as writer:
        assert sensor.events() == ()
        writer.write(b"4,1,2,-;NVRM: Xid (PCI:0000:3b:00): 7")
        assert sensor.events() == ()
        writer.write(b"9, x\n")
        assert codes(sensor.events()) == [79]
    assert sensor.events() == ()
    with pipe.open("wb", buffering=0) as writer:
        writer.write(xid(48).encode())
        assert codes(sensor.events()) == [48]


def test_a_pipe_that_is_made_anew_is_found(pipe: Path) -> None:
    sensor = a_sensor(pipe)
    pipe.rename(pipe.with_name("old"))
    os.mkfifo(pipe)
    sensor.events()
    with pipe.open("wb", buffering=0) as writer:
        writer.write(xid(48).encode())
        assert codes(sensor.events()) == [48]
