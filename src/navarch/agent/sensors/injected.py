"""Sensors that pretend: GPUs whose readings are made up and whose faults a person injects.

They let a whole fleet run on a machine without a GPU, and they say that they do: in the name of
each GPU, in the node's labels, in each check. `inject` changes the faults from another process,
through a file in the agent's state folder; a real sensor keeps no such file, so `inject` refuses
it. The file, ``injected.json``, may also be edited by hand::

    {
      "sensors": "injected",                  what makes it ours
      "gpu_count": 8,                         faults go into GPUs 0 to 7
      "serial": 2,                            the number of the newest event below
      "utilization_percent": 80.0,            of every GPU; null for the usual
      "silent_until": "2026-01-31T12:00:00Z", the node says nothing until then; null for none
      "temperatures_celsius": {"3": 96},      by GPU; as long as it stands here
      "events": [                             each is given once
        {"serial": 1, "kind": "xid", "gpu": 3, "value": 79, "message": "...", "at": "..."},
        {"serial": 2, "kind": "thermal", "gpu": 3, "value": 96, "message": "...", "at": "..."},
        {"serial": 3, "kind": "ecc_dbe", "gpu": 2, "metrics": {"ecc_dbe_count": 4}, "at": "..."}
      ]
    }

A file that makes no sense changes nothing: the faults stay as they were, and the check ``nvml``
says where the mistake is. Events are not judged here: whether an XID is bad is for the policy of
the control plane to say. A pretended reset ends the faults of a GPU, a pretended reboot those of
all; silence and utilization are no faults of the hardware and stay.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from msgspec import structs

from navarch.agent.sensors.base import SensorError
from navarch.agent.sensors.injected_faults import (
    EVENT_KINDS,
    EVENTS_MAX,
    FILE_BYTES_MAX,
    FILE_NAME,
    GPUS_MAX,
    THERMAL_CELSIUS,
    Clear,
    Event,
    Fault,
    Faults,
    Happening,
    InjectedHardware,
    Silence,
    Temperature,
    Utilization,
    Xid,
    inject,
    locked,
    read_faults,
    write_faults,
)
from navarch.agent.state import replace_file
from navarch.core.model.gpu import GPU, GPUSample, NodeSample
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.errors import ConfigError

__all__ = [
    "EVENTS_MAX",
    "EVENT_KINDS",
    "FILE_BYTES_MAX",
    "FILE_NAME",
    "Clear",
    "Fault",
    "Happening",
    "InjectedHardware",
    "InjectedSensor",
    "Silence",
    "Temperature",
    "Utilization",
    "Xid",
    "inject",
]

SEEN_NAME: Final = "injected.seen"
"""Holds the serial number of the newest event that was given."""

MEMORY_BYTES: Final = 80 * 1024**3
"""What an H100 has: 80 GiB, near enough for a pretence."""

UTILIZATION_USUAL: Final = 50.0
"""Between the usual thresholds for growing and shrinking, so that nothing scales by itself."""

_SYSTEMS: Final = {
    "xid": "DRIVER",
    "thermal": "THERMAL",
    "power": "POWER",
    "memory": "MEM",
    "ecc_dbe": "MEM",
    "ecc_sbe": "MEM",
    "nvlink": "NVLINK",
    "pcie": "PCIE",
    "driver_error": "DRIVER",
    "sxid": "NVSWITCH",
}
"""Which part of the node an event of each type is about."""


class InjectedSensor:
    """GPUs that are not there. Its readings depend on the node's id, the time and the file only."""

    name = "injected"
    injected = True

    def __init__(
        self,
        state_folder: Path,
        *,
        node_id: str,
        now: Callable[[], datetime],
        gpu_count: int = 8,
        gpu_type: str = "H100",
    ) -> None:
        """Pretend `gpu_count` GPUs, from 0 to 64, and make the file if it is missing.

        Raises `ConfigError` for another number, or when the folder cannot be written.
        """
        if not 0 <= gpu_count <= GPUS_MAX:
            text = f"{gpu_count} injected GPUs, expected 0 to {GPUS_MAX}"
            raise ConfigError(text, key="gpu_count")
        self._path = state_folder / FILE_NAME
        self._seen_path = state_folder / SEEN_NAME
        self._node_id = node_id
        self._now = now
        self._gpu_count = gpu_count
        self._gpu_type = gpu_type
        self._faults = Faults("injected", gpu_count=gpu_count)
        self._mistake = ""
        try:
            self._seen = self._read_seen()
            with locked(self._path):
                self._adopt_file()
        except OSError as error:
            text = f"cannot be used: {error.strerror}"
            raise ConfigError(text, file=str(self._path)) from error

    def gpus(self) -> tuple[GPU, ...]:
        """Describe the pretended GPUs: each is called injected and not real."""
        return tuple(
            GPU(
                index=index,
                uuid=self._uuid(index),
                name=f"Injected {self._gpu_type} (not real)",
                pci_bus_id=f"0000:{0x10 + index:02X}:00.0",
                memory_total=MEMORY_BYTES,
                driver_version="injected",
                cuda_version="injected",
            )
            for index in range(self._gpu_count)
        )

    def sample(self) -> NodeSample:
        """Make up one reading: a slow swing around what a GPU so busy would show."""
        self._refresh()
        gpus = tuple(self._gpu_sample(index) for index in range(self._gpu_count))
        return NodeSample(
            round(20 + 5 * self._swing(-1), 1), round(30 + 2 * self._swing(-2), 1), gpus
        )

    def check(self) -> tuple[CheckResult, ...]:
        """Stand in for the checks of a real node: ``nvml`` and ``xid``."""
        self._refresh()
        return (self._nvml_result(), self._xid_result())

    def events(self) -> tuple[HealthEvent, ...]:
        """Give the faults injected since the last call, in whichever process that was."""
        self._refresh()
        new = [event for event in self._faults.events if event.serial > self._seen]
        if not new:
            return ()
        newest = max(event.serial for event in new)
        try:
            replace_file(self._seen_path, f"{newest}\n".encode())
        except OSError as error:
            raise SensorError(f"{self._seen_path}: cannot be written: {error.strerror}") from error
        self._seen = newest
        return tuple(self._health_event(event) for event in new)

    def silent_until(self) -> datetime | None:
        """Tell how long an injected silence lasts; None without one."""
        self._refresh()
        until = self._faults.silent_until
        return until if until is not None and until > self._now() else None

    # --- the file, seen from here ------------------------------------------------------------

    def _adopt_file(self) -> None:
        """Take up the faults of an earlier run, or begin without; a person repairs mistakes."""
        if not self._path.exists():
            write_faults(self._path, self._faults)
            return
        self._refresh()
        if not self._mistake and self._faults.gpu_count != self._gpu_count:
            self._faults = structs.replace(self._faults, gpu_count=self._gpu_count)
            write_faults(self._path, self._faults)

    def _refresh(self) -> None:
        """Read the file anew. A file with a mistake changes nothing but the check ``nvml``."""
        try:
            self._faults = read_faults(self._path)
        except ConfigError as error:
            self._mistake = str(error)
        except OSError as error:
            self._mistake = f"{self._path}: cannot be read: {error.strerror}"
        else:
            self._mistake = ""

    def _read_seen(self) -> int:
        """Read the newest serial number given; one that makes no sense counts as none given."""
        if not self._seen_path.exists():
            return 0
        text = self._seen_path.read_bytes()[:20].strip()
        return int(text) if text.isdigit() else 0

    # --- readings ----------------------------------------------------------------------------

    def _uuid(self, index: int) -> str:
        return f"GPU-injected-{zlib.crc32(self._node_id.encode()):08x}-{index:02d}"

    def _swing(self, index: int) -> float:
        """Swing between -1 and 1 once in ten minutes, each GPU of each node at its own time."""
        phase = zlib.crc32(f"{self._node_id}/{index}".encode()) / 2**32
        return math.sin(2 * math.pi * (self._now().timestamp() / 600 + phase))

    def _gpu_sample(self, index: int) -> GPUSample:
        swing = self._swing(index)
        wanted = self._faults.utilization_percent
        busy = UTILIZATION_USUAL + 5 * swing if wanted is None else wanted
        usual = round(35 + 0.35 * busy + 2 * swing)
        return GPUSample(
            index=index,
            temperature_celsius=self._faults.temperatures_celsius.get(index, usual),
            power_watts=round(90 + 5.6 * busy),
            utilization_percent=round(busy, 1),
            memory_used=round(MEMORY_BYTES * busy / 100),
        )

    def _result(self, name: str, status: Health, text: str) -> CheckResult:
        details = {"sensors": "injected"}
        return CheckResult(name, status, f"injected: {text}", at=self._now(), details=details)

    def _nvml_result(self) -> CheckResult:
        if self._mistake:
            return self._result("nvml", Health.UNKNOWN, self._mistake)
        hot = {
            index: celsius
            for index, celsius in sorted(self._faults.temperatures_celsius.items())
            if celsius >= THERMAL_CELSIUS and index < self._gpu_count
        }
        if not hot:
            return self._result("nvml", Health.HEALTHY, f"{self._gpu_count} GPUs answer")
        text = ", ".join(f"GPU {index} at {celsius} °C" for index, celsius in hot.items())
        return self._result("nvml", Health.DEGRADED, text)

    def _xid_result(self) -> CheckResult:
        xids = [event for event in self._faults.events if event.kind == "xid"]
        if not xids:
            return self._result("xid", Health.HEALTHY, "no XID was injected")
        newest = xids[-1]
        counted = "1 XID" if len(xids) == 1 else f"{len(xids)} XIDs"
        text = f"{counted} injected, the newest {newest.value} on GPU {newest.gpu}"
        return self._result("xid", Health.HEALTHY, f"{text}; judged by the control plane's policy")

    def _health_event(self, event: Event) -> HealthEvent:
        system = _SYSTEMS.get(event.kind)
        return HealthEvent(
            event_type=event.kind,
            gpu_index=event.gpu,
            gpu_uuid=self._uuid(event.gpu) if event.gpu >= 0 else "",
            system=f"DCGM_HEALTH_WATCH_{system}" if system else "",
            metrics=event.told,
            message=f"injected: {event.message}",
            timestamp=event.at,
        )
