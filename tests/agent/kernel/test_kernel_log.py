"""The kernel log's sensor over /dev/kmsg: each fault once, in time, whatever happens meanwhile.

The kernel is played by `Ring`, which answers a read as the character device does: one record, "not
now" at the end, and "broken pipe" when records were overwritten. /dev/null stands for the device,
so that everything else about it is real.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from navarch.agent.sensors import kernel_log
from navarch.agent.sensors.base import SensorError
from navarch.agent.sensors.kernel_fold import KINDS_MAX, SHAPES_MAX
from navarch.agent.sensors.kernel_log import (
    KEPT_EVERY,
    LOOK_BYTES,
    LOST_LATELY,
    TURN,
    KernelLogSensor,
    boot_id,
    booted_at,
)
from navarch.agent.sensors.kernel_tail import OVERRUNS_MAX
from navarch.core.model.gpu import GPU, NodeSample
from navarch.core.model.report import CheckResult, Health, HealthEvent, folded

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
BOOTED = NOW - timedelta(hours=1)
DEVICE = Path("/dev/null")
XID_79 = "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python3, GPU has fallen off the bus."
CHATTER = "docker0: port 1(veth1a2b3c4) entered blocking state"


class Ring:
    """The kernel's side: records that are numbered, and overwritten beyond `size`."""

    def __init__(self, size: int = 1_000_000) -> None:
        self.size = size
        self.records: list[bytes] = []

    def log(self, *texts: str, microseconds: int = 60_000_000) -> None:
        for text in texts:
            number = len(self.records)
            record = f"12,{number},{microseconds},-;{text}\n SUBSYSTEM=pci\n DEVICE=+pci:x\n"
            self.records.append(record.encode())

    def reader(self) -> Callable[[int, int], bytes]:
        """Return what reads for one open file, at the oldest record first."""
        place = self.oldest

        def read(file: int, count: int) -> bytes:
            nonlocal place
            if place < self.oldest:
                place = self.oldest
                raise BrokenPipeError
            if place >= len(self.records):
                raise BlockingIOError
            place += 1
            return self.records[place - 1]

        return read

    @property
    def oldest(self) -> int:
        return max(0, len(self.records) - self.size)


class Clock:
    """A time that stands still until it is told, or advances by a step at each look."""

    def __init__(self) -> None:
        self.time = NOW
        self.step = timedelta()

    def __call__(self) -> datetime:
        self.time += self.step
        return self.time


def a_sensor(
    ring: Ring,
    folder: Path | None = None,
    *,
    now: Callable[[], datetime] = lambda: NOW,
    gpus: Callable[[], tuple[GPU, ...]] = tuple,
    boot: str = "boot-1",
    pid: int = 0,
) -> KernelLogSensor:
    return KernelLogSensor(
        DEVICE,
        now=now,
        state_folder=folder,
        known_gpus=gpus,
        boot_id=boot,
        booted=lambda _: BOOTED,
        agent_pid=pid,
        read=ring.reader(),
    )


def check(sensor: KernelLogSensor) -> CheckResult:
    (result,) = sensor.check()
    assert result.check_name == "xid"
    return result


def kinds(events: tuple[HealthEvent, ...]) -> list[tuple[str, int]]:
    return [(event.kind, event.count) for event in events]


# --- events ----------------------------------------------------------------------------------


def test_an_xid_is_given_once_with_what_the_kernel_said() -> None:
    ring = Ring()
    sensor = a_sensor(ring, gpus=lambda: (GPU(3, "GPU-3", pci_bus_id="00000000:3B:00.0"),))
    ring.log(CHATTER, XID_79, CHATTER)
    assert sensor.events() == (
        HealthEvent(
            "xid",
            gpu_index=3,
            gpu_uuid="GPU-3",
            system="DCGM_HEALTH_WATCH_DRIVER",
            metrics={
                "xid_code": 79,
                "pci_bus_id": "0000:3b:00.0",
                "pid": 1234,
                "process": "python3",
            },
            message=XID_79,
            timestamp=BOOTED + timedelta(minutes=1),
        ),
    )
    assert sensor.events() == ()


def test_a_log_describes_no_gpu_and_measures_nothing() -> None:
    sensor = a_sensor(Ring())
    assert (sensor.name, sensor.injected) == ("kernel_log", False)
    assert sensor.gpus() == ()
    assert sensor.sample() == NodeSample()
    assert sensor.silent_until() is None


def test_what_was_logged_before_a_first_start_is_no_news(tmp_path: Path) -> None:
    ring = Ring()
    ring.log(XID_79)
    sensor = a_sensor(ring, tmp_path)
    ring.log(CHATTER)
    assert sensor.events() == ()
    assert check(sensor).status is Health.HEALTHY


def test_a_record_is_never_from_the_future_nor_from_before_the_boot() -> None:
    ring = Ring()
    sensor = a_sensor(ring)
    ring.log(XID_79, microseconds=10**18)
    assert [event.timestamp for event in sensor.events()] == [NOW]
    ring.log(XID_79, microseconds=0)
    assert [event.timestamp for event in sensor.events()] == [BOOTED]


def test_what_a_device_had_logged_before_it_could_be_opened_is_no_news(tmp_path: Path) -> None:
    ring = Ring()
    ring.log(XID_79)
    path = tmp_path / "kmsg"
    sensor = KernelLogSensor(path, now=lambda: NOW, boot_id="boot-1", read=ring.reader())
    assert check(sensor).status is Health.UNKNOWN
    path.symlink_to(DEVICE)
    ring.log(CHATTER)
    assert sensor.events() == ()
    ring.log(XID_79)
    assert kinds(sensor.events()) == [("xid:79", 1)]


def test_an_address_that_nobody_knows_is_kept_in_words() -> None:
    ring = Ring()
    sensor = a_sensor(ring, gpus=lambda: (GPU(0, "GPU-0", pci_bus_id="0000:10:00.0"),))
    ring.log(XID_79)
    (event,) = sensor.events()
    assert (event.gpu_index, event.gpu_uuid) == (-1, "")
    assert event.metrics["pci_bus_id"] == "0000:3b:00.0"
    assert check(sensor).message.endswith(
        "1 XID since the agent started, the newest 79 on 0000:3b:00.0"
    )


def test_a_gpu_that_fell_off_the_bus_keeps_its_number() -> None:
    ring = Ring()
    there: list[GPU] = [GPU(3, "GPU-3", pci_bus_id="0000:3b:00.0")]
    sensor = a_sensor(ring, gpus=lambda: tuple(there))
    ring.log(XID_79)
    assert [event.gpu_index for event in sensor.events()] == [3]
    there.clear()
    ring.log(XID_79)
    assert [event.gpu_index for event in sensor.events()] == [3]


def test_a_driver_that_does_not_answer_keeps_no_xid_back() -> None:
    def failing() -> tuple[GPU, ...]:
        raise SensorError("the driver hangs")

    ring = Ring()
    sensor = a_sensor(ring, gpus=failing)
    ring.log(XID_79)
    assert kinds(sensor.events()) == [("xid:79", 1)]


def test_the_list_of_gpus_is_asked_for_once_a_turn_and_only_when_needed() -> None:
    asked: list[int] = []

    def gpus() -> tuple[GPU, ...]:
        asked.append(1)
        return (GPU(3, "GPU-3", pci_bus_id="0000:3b:00.0"),)

    ring = Ring()
    sensor = a_sensor(ring, gpus=gpus)
    unknown = [XID_79.replace("3b", f"4{digit}") for digit in range(8)]
    for texts, times in (((CHATTER,), 0), ((XID_79,), 1), ((XID_79,), 2), (unknown, 3)):
        ring.log(*texts)
        sensor.events()
        assert len(asked) == times


def test_a_driver_that_counts_anew_is_believed() -> None:
    ring = Ring()
    numbers = iter([3, 2])
    sensor = a_sensor(ring, gpus=lambda: (GPU(next(numbers), "GPU-3", pci_bus_id="3b:00.0"),))
    ring.log(XID_79)
    assert [event.gpu_index for event in sensor.events()] == [3]
    ring.log(XID_79)
    assert [event.gpu_index for event in sensor.events()] == [2]


def test_the_uuid_that_the_driver_logs_is_learnt() -> None:
    uuid = "GPU-48ef9c66-4339-41dd-0635-3e3803289594"
    ring = Ring()
    sensor = a_sensor(ring)
    ring.log(f"NVRM: GPU at PCI:0000:3b:00: {uuid}", XID_79)
    assert [(event.gpu_index, event.gpu_uuid) for event in sensor.events()] == [(-1, uuid)]


def test_what_the_kernel_tells_in_two_lines_is_one_event() -> None:
    chosen = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=a.out,pid=42,uid=0"
    killed = "Out of memory: Killed process 42 (a.out) total-vm:78782016kB"
    port = "pcieport 0000:00:1c.4: AER: Corrected error received: 0000:3b:00.0"
    device = "nvidia 0000:3b:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Rec"
    ring = Ring()
    sensor = a_sensor(ring)
    ring.log(chosen, killed, port, device, device, port)
    assert kinds(sensor.events()) == [("system", 1), ("pcie", 1), ("pcie", 1)]
    ring.log(killed)
    ring.log(port, microseconds=70_000_000)
    ring.log(device, microseconds=80_000_000)
    assert kinds(sensor.events()) == [("system", 1), ("pcie", 1), ("pcie", 1)]


def test_an_agent_that_was_killed_is_named_as_such_after_its_restart(tmp_path: Path) -> None:
    ring = Ring()
    a_sensor(ring, tmp_path, pid=42).events()
    ring.log("Out of memory: Killed process 42 (python3) total-vm:78782016kB")
    ring.log("Out of memory: Killed process 43 (python3) total-vm:78782016kB")
    agents = [event.metrics.get("oom_agent") for event in a_sensor(ring, tmp_path, pid=77).events()]
    assert agents == [1, None]


# --- restarts --------------------------------------------------------------------------------


def test_a_restart_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    ring = Ring()
    first = a_sensor(ring, tmp_path)
    ring.log(XID_79.replace("79", "13"))
    assert kinds(first.events()) == [("xid:13", 1)]
    ring.log(CHATTER, XID_79)
    second = a_sensor(ring, tmp_path)
    ring.log(XID_79.replace("79", "48"))
    assert kinds(second.events()) == [("xid:79", 1), ("xid:48", 1)]
    assert check(second).status is Health.HEALTHY
    assert a_sensor(ring, tmp_path).events() == ()


def test_an_agent_that_never_saw_anything_still_knows_where_it_began(tmp_path: Path) -> None:
    ring = Ring()
    ring.log(XID_79.replace("79", "13"))
    a_sensor(ring, tmp_path)
    ring.log(XID_79)
    assert kinds(a_sensor(ring, tmp_path).events()) == [("xid:79", 1)]


def test_after_a_reboot_the_log_is_read_from_its_beginning(tmp_path: Path) -> None:
    before = Ring()
    sensor = a_sensor(before, tmp_path)
    before.log(*[CHATTER] * 9, XID_79)
    assert kinds(sensor.events()) == [("xid:79", 1)]
    after = Ring()
    after.log(XID_79.replace("79", "62"))
    assert kinds(a_sensor(after, tmp_path, boot="boot-2").events()) == [("xid:62", 1)]


def test_without_a_boot_id_each_start_is_a_first_start(tmp_path: Path) -> None:
    ring = Ring()
    a_sensor(ring, tmp_path, boot="").events()
    ring.log(XID_79)
    assert a_sensor(ring, tmp_path, boot="").events() == ()


def test_a_kept_place_that_makes_no_sense_is_a_first_start_and_said(tmp_path: Path) -> None:
    ring = Ring()
    ring.log(XID_79)
    for content in (b"{", b"\xff", b"[]", b'{"path": 1}', b""):
        (tmp_path / "kernel_log.json").write_bytes(content)
        sensor = a_sensor(ring, tmp_path)
        assert sensor.events() == ()
        assert json.loads((tmp_path / "kernel_log.json").read_bytes())["sequence"] == 0


def test_a_disk_that_refuses_the_place_keeps_no_event_back(tmp_path: Path) -> None:
    ring = Ring()
    sensor = a_sensor(ring, tmp_path / "missing")
    ring.log(XID_79)
    assert kinds(sensor.events()) == [("xid:79", 1)]
    assert "No such file" in check(sensor).details["place"]
    (tmp_path / "missing").mkdir()
    ring.log(XID_79)
    assert kinds(sensor.events()) == [("xid:79", 1)]
    assert "place" not in check(sensor).details


def test_the_disk_is_left_alone_while_nothing_happens(tmp_path: Path) -> None:
    ring, clock = Ring(), Clock()
    sensor = a_sensor(ring, tmp_path, now=clock)
    kept = (tmp_path / "kernel_log.json").stat().st_mtime_ns
    ring.log(CHATTER)
    sensor.events()
    assert (tmp_path / "kernel_log.json").stat().st_mtime_ns == kept
    clock.time += KEPT_EVERY
    sensor.events()
    assert json.loads((tmp_path / "kernel_log.json").read_bytes())["sequence"] == 0


# --- what is lost, and floods ----------------------------------------------------------------


def test_overwritten_records_are_counted_and_said_for_a_while() -> None:
    ring, clock = Ring(size=100), Clock()
    sensor = a_sensor(ring, now=clock)
    ring.log(CHATTER)
    sensor.events()
    ring.log(*[CHATTER] * 150, XID_79)
    assert kinds(sensor.events()) == [("xid:79", 1)]
    result = check(sensor)
    assert result.status is Health.DEGRADED
    assert result.message == (
        "/dev/null: 51 records were lost before they were read; XIDs may be among them"
    )
    clock.time += LOST_LATELY + timedelta(seconds=1)
    assert check(sensor).status is Health.HEALTHY
    ring.log(*[CHATTER] * 102)
    assert sensor.events() == ()
    assert check(sensor).details["records_lost"] == "2"


def test_records_lost_before_any_was_read_are_said_too() -> None:
    ring = Ring(size=10)
    sensor = a_sensor(ring)
    ring.log(*[CHATTER] * 30)
    assert sensor.events() == ()
    assert check(sensor).status is Health.DEGRADED


def test_what_was_overwritten_while_the_agent_was_down_is_counted(tmp_path: Path) -> None:
    ring = Ring(size=10)
    sensor = a_sensor(ring, tmp_path)
    ring.log(XID_79)
    sensor.events()
    ring.log(*[CHATTER] * 15)
    sensor = a_sensor(ring, tmp_path)
    assert sensor.events() == ()
    assert check(sensor).details["records_lost"] == "5"


def test_a_kernel_that_overwrites_faster_than_we_read_does_not_hold_us() -> None:
    reads: list[int] = []

    def read(file: int, count: int) -> bytes:
        reads.append(file)
        raise BrokenPipeError

    sensor = KernelLogSensor(DEVICE, now=lambda: NOW, read=read)
    assert sensor.events() == ()
    assert len(reads) == 2 * OVERRUNS_MAX
    assert check(sensor).status is Health.DEGRADED


def test_a_flood_of_one_fault_is_one_event_with_a_count() -> None:
    ring = Ring()
    sensor = a_sensor(ring)
    ring.log(*[XID_79] * 5_000)
    assert kinds(sensor.events()) == [("xid:79", 5_000)]
    assert "5000 XIDs since the agent started" in check(sensor).message


def test_a_flood_of_many_shapes_keeps_kinds_and_counts() -> None:
    ring = Ring()
    sensor = a_sensor(ring)
    line = "NVRM: Xid (PCI:0000:3b:00): 74, NVLink: fatal error detected on link {}(0x0)"
    ring.log(*[line.format(number) for number in range(1_000)])
    events = sensor.events()
    assert len(events) == SHAPES_MAX + 1
    assert events[-1].metrics == {"xid_code": 74}
    assert sum(event.count for event in events) == 1_000
    assert events == folded(events)


def test_who_suffered_makes_no_other_event_of_it() -> None:
    ring = Ring()
    sensor = a_sensor(ring)
    ring.log(XID_79, XID_79.replace("1234", "1235"))
    (event,) = sensor.events()
    assert (event.count, event.metrics["pid"]) == (2, 1235)


def test_a_history_too_long_to_be_read_is_jumped_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_log, "HISTORY_RECORDS_MAX", 10)
    ring = Ring()
    ring.log(*[CHATTER] * 20)
    a_sensor(ring, tmp_path)
    kept = json.loads((tmp_path / "kernel_log.json").read_bytes())
    assert "sequence" not in kept
    a_sensor(ring, tmp_path)
    assert json.loads((tmp_path / "kernel_log.json").read_bytes()) == kept


def test_a_flood_of_many_kinds_is_counted() -> None:
    ring = Ring()
    sensor = a_sensor(ring)
    line = "NVRM: Xid (PCI:0000:3b:00): {}, x"
    ring.log(*[line.format(number) for number in range(1_000)])
    events = sensor.events()
    assert len(events) == SHAPES_MAX + KINDS_MAX + 1
    assert events[-1].metrics == {"reason": "events_dropped"}
    assert events[-1].count == 1_000 - SHAPES_MAX - KINDS_MAX
    assert check(sensor).details["events_dropped"] == str(events[-1].count)
    ring.log(XID_79)
    assert kinds(sensor.events()) == [("xid:79", 1)]


def test_a_turn_ends_in_time_and_the_next_one_goes_on() -> None:
    ring, clock = Ring(), Clock()
    sensor = a_sensor(ring, now=clock)
    ring.log(*[XID_79] * 1_000)
    clock.step = TURN / 10
    counts = []
    while events := sensor.events():
        counts.append(sum(event.count for event in events))
    assert sum(counts) == 1_000
    assert len(counts) > 1
    assert max(counts) <= 10 * (LOOK_BYTES // len(XID_79))


# --- the boot --------------------------------------------------------------------------------


def test_the_time_of_the_boot_is_read_from_proc(tmp_path: Path) -> None:
    (tmp_path / "uptime").write_text("3600.50 7000.00\n")
    assert booted_at(NOW, tmp_path) == NOW - timedelta(seconds=3600.5)
    for nonsense in ("", "x y", "1e400", "nan"):
        (tmp_path / "uptime").write_text(nonsense)
        assert booted_at(NOW, tmp_path) is None
    assert booted_at(NOW, tmp_path / "missing") is None


def test_the_boot_id_is_read_from_proc(tmp_path: Path) -> None:
    assert boot_id(tmp_path) == ""
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("1b4e28ba\n")
    assert boot_id(tmp_path) == "1b4e28ba"
