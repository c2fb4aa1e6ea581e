"""The machine's own /dev/kmsg, where it may be written: what the doubles of other tests imitate.

The log belongs to the whole machine, so each test has a PCI address of its own and looks at nothing
else. Each line is written through an open file of its own, for the kernel limits the rate of each.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from navarch.agent.sensors.kernel_log import KMSG, KernelLogSensor, boot_id
from navarch.core.model.gpu import GPU
from navarch.core.model.report import HealthEvent

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def _is_writable() -> bool:
    try:
        file = os.open(KMSG, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return False
    os.close(file)
    return True


pytestmark = pytest.mark.skipif(
    not _is_writable(), reason="NOT TESTED: /dev/kmsg may not be written and read here"
)


def log(text: str) -> None:
    file = os.open(KMSG, os.O_WRONLY)
    try:
        os.write(file, f"<4>{text}\n".encode())
    finally:
        os.close(file)


def a_sensor(address: str, folder: Path | None = None) -> KernelLogSensor:
    gpus = (GPU(2, "GPU-2", pci_bus_id=f"0000{address}.0"),)
    return KernelLogSensor(
        now=lambda: NOW, state_folder=folder, known_gpus=lambda: gpus, boot_id=boot_id()
    )


@pytest.fixture
def address(request: pytest.FixtureRequest) -> str:
    """Return an address that no other test and no other run has at this time."""
    number = os.getpid() * 7 + len(request.node.name)
    return f"f{number & 0xFFF:03x}:{number >> 12 & 0xFF:02x}:00"


def ours(sensor: KernelLogSensor, address: str) -> list[HealthEvent]:
    return [event for event in sensor.events() if event.metrics.get("pci_bus_id") == f"{address}.0"]


def test_the_kernels_own_log_is_read_from_now_on(address: str) -> None:
    log(f"NVRM: Xid (PCI:{address}): 48, before the sensor began")
    sensor = a_sensor(address)
    assert ours(sensor, address) == []
    log(f"NVRM: Xid (PCI:{address}): 79, pid=1234, GPU\thas fallen off the bus.")
    (event,) = ours(sensor, address)
    assert (event.kind, event.gpu_index, event.gpu_uuid) == ("xid:79", 2, "GPU-2")
    assert event.message == f"NVRM: Xid (PCI:{address}): 79, pid=1234, GPU has fallen off the bus."
    assert event.timestamp is not None
    assert NOW - timedelta(seconds=30) <= event.timestamp <= NOW
    assert ours(sensor, address) == []
    (result,) = sensor.check()
    assert result.details["path"] == "/dev/kmsg"


def test_a_restart_reads_what_was_logged_meanwhile_and_nothing_twice(
    address: str, tmp_path: Path
) -> None:
    first = a_sensor(address, tmp_path)
    log(f"NVRM: Xid (PCI:{address}): 13, seen by the first")
    assert [event.kind for event in ours(first, address)] == ["xid:13"]
    log(f"NVRM: Xid (PCI:{address}): 79, seen by nobody yet")
    second = a_sensor(address, tmp_path)
    assert [event.kind for event in ours(second, address)] == ["xid:79"]
    assert ours(a_sensor(address, tmp_path), address) == []
