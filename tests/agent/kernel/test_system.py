"""The machine around the GPUs: what is full, used up or wrong is said, each thing once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.agent.sensors.base import SensorError
from navarch.agent.sensors.system import (
    GIB,
    Space,
    SystemSensor,
    own_cgroup_counter,
    space_of,
)
from navarch.core.model.report import CheckResult, Health, HealthEvent

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ROOMY = Space(total_bytes=1000 * GIB, free_bytes=600 * GIB, used=0.4, files_used=0.1)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    write(folder, busy=100, idle=900)
    return folder


def write(folder: Path, *, busy: int = 100, idle: int = 900, available: int = 600) -> None:
    """Write ticks, of which a tenth of the idle ones wait for a disk, and thousandths of memory."""
    waiting = idle // 10
    ticks = f"cpu  {busy - 3} 1 2 {idle - waiting} {waiting} 0 0 0 50 50\ncpu0 1 2 3 4\n"
    (folder / "stat").write_text(ticks + "intr 1\n")
    memory = f"MemTotal: 1024000000 kB\nMemFree: 1 kB\nMemAvailable: {available * 1024000} kB\n"
    (folder / "meminfo").write_text(memory + "HugePages_Total: 0\n")


def a_sensor(proc: Path, *, spaces: dict[str, Space] | None = None) -> SystemSensor:
    spaces = spaces or {"/": ROOMY}
    return SystemSensor(
        now=lambda: NOW,
        disks=[Path(path) for path in spaces],
        proc=proc,
        space=lambda path: spaces[str(path)],
    )


def check(sensor: SystemSensor) -> CheckResult:
    (result,) = sensor.check()
    assert (result.check_name, result.at) == ("system", NOW)
    return result


# --- samples ---------------------------------------------------------------------------------


def test_a_sample_says_how_busy_the_machine_was_since_the_last_one(proc: Path) -> None:
    sensor = a_sensor(proc)
    assert sensor.sample().cpu_percent == 0
    write(proc, busy=130, idle=970, available=250)
    sample = sensor.sample()
    assert (sample.cpu_percent, sample.memory_percent, sample.gpus) == (30.0, 75.0, ())
    assert sensor.sample().cpu_percent == 30.0
    write(proc, busy=230, idle=970)
    assert sensor.sample().cpu_percent == 100.0


def test_ticks_that_go_backwards_give_no_impossible_percentage(proc: Path) -> None:
    sensor = a_sensor(proc)
    write(proc, busy=1000, idle=500)
    assert sensor.sample().cpu_percent == 100.0
    write(proc, busy=10, idle=2000)
    assert sensor.sample().cpu_percent == 0.0


def test_a_machine_without_proc_is_an_error_that_names_the_file(proc: Path) -> None:
    (proc / "stat").unlink()
    sensor = a_sensor(proc)
    with pytest.raises(SensorError, match=r"proc/stat: cannot be read: No such file"):
        sensor.sample()
    write(proc)
    assert sensor.sample().cpu_percent == 0.0
    (proc / "meminfo").write_text("MemTotal: 5 kB\n")
    with pytest.raises(SensorError, match="MemAvailable is missing"):
        sensor.sample()
    assert check(sensor).status is Health.UNKNOWN


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=200))
def test_nonsense_in_proc_is_one_error_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, stat: bytes, memory: bytes, events: bytes
) -> None:
    folder = tmp_path_factory.mktemp("proc")
    (folder / "stat").write_bytes(b"cpu " + stat)
    (folder / "meminfo").write_bytes(b"MemTotal: " + memory)
    (folder / "memory.events").write_bytes(b"oom_kill " + events)
    counter = folder / "memory.events"
    sensor = SystemSensor(now=lambda: NOW, proc=folder, oom_counter=counter)
    try:
        sample = sensor.sample()
    except SensorError:
        assert sensor.events() == ()
    else:
        assert 0 <= sample.cpu_percent <= 100
        assert 0 <= sample.memory_percent <= 100
    assert check(sensor).message


def test_the_real_machine_can_be_read() -> None:
    sensor = SystemSensor(now=lambda: NOW, oom_counter=own_cgroup_counter())
    sample = sensor.sample()
    assert 0 <= sample.cpu_percent <= 100
    assert 0 < sample.memory_percent < 100
    assert check(sensor).message.count("disk / ") == 1
    assert sensor.events() == ()


def test_it_sees_no_gpu_and_never_keeps_silent(proc: Path) -> None:
    sensor = a_sensor(proc)
    assert (sensor.name, sensor.injected) == ("system", False)
    assert sensor.gpus() == ()
    assert sensor.silent_until() is None


# --- the check -------------------------------------------------------------------------------


def test_a_machine_that_is_well_says_so_with_numbers(proc: Path) -> None:
    result = check(a_sensor(proc))
    assert result.status is Health.HEALTHY
    assert result.message == "disk / 40.0 % used, 600.0 GiB free; memory 40 % used"


@pytest.mark.parametrize(
    "space, status",
    [
        (Space(1000 * GIB, 51 * GIB, 0.949, 0.1), Health.HEALTHY),
        (Space(1000 * GIB, 50 * GIB, 0.95, 0.1), Health.DEGRADED),
        (Space(1000 * GIB, 6 * GIB, 0.994, 0.1), Health.DEGRADED),
        (Space(1000 * GIB, 5 * GIB, 0.995, 0.1), Health.UNHEALTHY),
        (Space(1000 * GIB, 0, 1.0, 0.1), Health.UNHEALTHY),
        (Space(12 * GIB, GIB - 1, 0.92, 0.1), Health.DEGRADED),
        (Space(2 * GIB, GIB - 1, 0.5, 0.1), Health.HEALTHY),
        (Space(1000 * GIB, 600 * GIB, 0.4, 0.96), Health.DEGRADED),
        (Space(1000 * GIB, 600 * GIB, 0.4, 1.0), Health.UNHEALTHY),
    ],
)
def test_a_full_disk_is_said(proc: Path, space: Space, status: Health) -> None:
    result = check(a_sensor(proc, spaces={"/": ROOMY, "/scratch": space}))
    assert result.status is status
    assert result.message.startswith("disk /scratch" if status is not Health.HEALTHY else "disk / ")


def test_a_disk_that_cannot_be_asked_is_unknown_and_never_well(proc: Path) -> None:
    def space(path: Path) -> Space:
        return ROOMY if path == Path("/") else space_of(path)

    disks = [Path("/"), proc / "missing"]
    result = check(SystemSensor(now=lambda: NOW, disks=disks, proc=proc, space=space))
    assert result.status is Health.UNKNOWN
    text = f"disk {proc / 'missing'} cannot be asked: No such file or directory"
    assert result.message.startswith(text)


def test_a_real_disk_can_be_asked(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    assert 0 < space.free_bytes <= space.total_bytes
    assert 0 <= space.used <= 1
    assert 0 <= space.files_used <= 1


def test_memory_that_is_used_up_is_said(proc: Path) -> None:
    sensor = a_sensor(proc)
    write(proc, available=20)
    assert check(sensor).status is Health.HEALTHY
    write(proc, available=19)
    result = check(sensor)
    assert result.status is Health.DEGRADED
    assert result.message.startswith("memory 98.1 % used, 18.55 GiB available")


@pytest.mark.parametrize(
    "seconds, status, words",
    [
        (None, Health.HEALTHY, ""),
        (0.2, Health.HEALTHY, "clock 0.2 s ahead"),
        (-30, Health.HEALTHY, "clock 30.0 s behind"),
        (30.1, Health.DEGRADED, "clock 30.1 s ahead: start a time service such as chrony"),
        (-3600, Health.DEGRADED, "clock 3600.0 s behind: start a time service such as chrony"),
    ],
)
def test_a_clock_that_is_off_is_said_where_somebody_knows(
    proc: Path, seconds: float | None, status: Health, words: str
) -> None:
    offset = None if seconds is None else timedelta(seconds=seconds)
    sensor = SystemSensor(now=lambda: NOW, disks=(), proc=proc, clock_offset=lambda: offset)
    result = check(sensor)
    assert result.status is status
    assert [part for part in result.message.split("; ") if "clock" in part] == [words] * bool(words)


# --- events ----------------------------------------------------------------------------------


def test_a_killed_process_of_our_control_group_is_told_once(proc: Path) -> None:
    counter = proc / "memory.events"
    counter.write_text("low 0\nhigh 0\nmax 7\noom 4\noom_kill 3\n")
    sensor = SystemSensor(now=lambda: NOW, proc=proc, oom_counter=counter)
    assert sensor.events() == ()
    counter.write_text("low 0\nhigh 0\nmax 9\noom 6\noom_kill 5\n")
    assert sensor.events() == (
        HealthEvent(
            "system",
            metrics={"reason": "cgroup_oom"},
            message=f"{counter}: oom_kill rose from 3 to 5",
            timestamp=NOW,
            count=2,
        ),
    )
    assert sensor.events() == ()


def test_a_counter_that_goes_away_or_begins_anew_is_no_news(proc: Path) -> None:
    counter = proc / "memory.events"
    counter.write_text("oom_kill 3\n")
    sensor = SystemSensor(now=lambda: NOW, proc=proc, oom_counter=counter)
    counter.unlink()
    assert sensor.events() == ()
    counter.write_text("oom_kill 5\n")
    assert [event.count for event in sensor.events()] == [2]
    counter.write_text("oom_kill 0\n")
    assert sensor.events() == ()
    counter.write_text("oom_kill 1\n")
    assert [event.count for event in sensor.events()] == [1]


@pytest.mark.parametrize(
    "lines, path",
    [
        ("0::/system.slice/navarch.service\n", "system.slice/navarch.service/memory.events"),
        ("0::/\n", "memory.events"),
        ("4:cpu,memory:/a\n0::/\n", "memory/a/memory.oom_control"),
        ("1:cpu:/a\n", None),
        ("", None),
        ("nonsense\n", None),
    ],
)
def test_the_counter_of_our_control_group_is_found(
    tmp_path: Path, lines: str, path: str | None
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(lines)
    cgroups = tmp_path / "cgroup"
    if path:
        (cgroups / path).parent.mkdir(parents=True)
        (cgroups / path).touch()
    expected = cgroups / path if path else None
    assert own_cgroup_counter(tmp_path / "proc", cgroups) == expected
    assert own_cgroup_counter(tmp_path / "missing", cgroups) is None
