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
      "events": [                             each is given once; the check fails while it stands
        {"serial": 1, "kind": "xid", "gpu": 3, "value": 79, "message": "...", "at": "..."},
        {"serial": 2, "kind": "thermal", "gpu": 3, "value": 96, "message": "...", "at": "..."}
      ]
    }

A file that makes no sense changes nothing: the faults stay as they were, and the check ``nvml``
says where the mistake is.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import re
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct, field, structs

from navarch.agent.sensors.base import SensorError
from navarch.agent.state import replace_file
from navarch.core.model.gpu import GPU, GPUSample, NodeSample
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.errors import ConfigError

FILE_NAME: Final = "injected.json"
SEEN_NAME: Final = "injected.seen"
"""Holds the serial number of the newest event that was given."""

FILE_BYTES_MAX: Final = 256 * 1024
"""More than the faults that anybody injects; less than what would slow a reading down."""

EVENTS_MAX: Final = 500
"""Faults that may stand in the file at once."""

GPUS_MAX: Final = 64
"""The wire's limit of GPUs a node."""

MEMORY_BYTES: Final = 80 * 1024**3
"""What an H100 has: 80 GiB, near enough for a pretence."""

THERMAL_CELSIUS: Final = 85
"""From here on a temperature is an event. H100 boards begin to slow down at about 87 °C."""

UTILIZATION_USUAL: Final = 50.0
"""Between the usual thresholds for growing and shrinking, so that nothing scales by itself."""

Celsius = Annotated[int, Meta(ge=-50, le=200)]
Percent = Annotated[float, Meta(ge=0, le=100)]
GPUIndex = Annotated[int, Meta(ge=-1, lt=GPUS_MAX)]


# --- faults ----------------------------------------------------------------------------------


class Xid(Struct, frozen=True):
    """The driver logs an XID, once. The check ``xid`` fails until it is cleared."""

    code: Annotated[int, Meta(ge=1, le=999)]
    gpu: GPUIndex = 0
    message: str = ""


class Temperature(Struct, frozen=True):
    """A GPU has this temperature until it is cleared or set anew."""

    celsius: Celsius
    gpu: GPUIndex = -1
    """-1 means every GPU."""


class Silence(Struct, frozen=True):
    """The node says nothing for so long, as if its network were cut."""

    duration: timedelta


class Utilization(Struct, frozen=True):
    """Every GPU is this busy, until it is cleared or set anew."""

    percent: Percent


class Clear(Struct, frozen=True):
    """All faults are over."""


Fault = Xid | Temperature | Silence | Utilization | Clear


class _Event(Struct, frozen=True, forbid_unknown_fields=True):
    serial: Annotated[int, Meta(ge=1)]
    kind: Literal["xid", "thermal"]
    gpu: GPUIndex
    value: Annotated[int, Meta(ge=-50, le=999)]
    at: Annotated[datetime, Meta(tz=True)]
    message: Annotated[str, Meta(max_length=1024)] = ""


class _Faults(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the file."""

    sensors: Literal["injected"]
    gpu_count: Annotated[int, Meta(ge=0, le=GPUS_MAX)] = 0
    """How many GPUs there are, so that a fault cannot be injected into one that is not."""
    serial: Annotated[int, Meta(ge=0)] = 0
    utilization_percent: Percent | None = None
    silent_until: Annotated[datetime, Meta(tz=True)] | None = None
    temperatures_celsius: dict[Annotated[int, Meta(ge=0, lt=GPUS_MAX)], Celsius] = field(
        default_factory=dict
    )
    events: Annotated[list[_Event], Meta(max_length=EVENTS_MAX)] = field(default_factory=list)


def inject(state_folder: Path, fault: Fault, *, now: datetime) -> None:
    """Put a fault into the injected sensors of the agent with this state folder.

    The agent notices at its next reading. Raises `ConfigError` when the node's sensors are not
    injected, it has no such GPU, or the file makes no sense or cannot be written.
    """
    path = state_folder / FILE_NAME
    if not path.is_file():
        text = "these sensors are not injected ones: faults cannot be put into real hardware"
        raise ConfigError(text, file=str(state_folder))
    try:
        with _locked(path):
            faults = _with_fault(_read(path), fault, now=now)
            _write(path, faults)
    except OSError as error:
        raise ConfigError(f"cannot be changed: {error.strerror}", file=str(path)) from error


def _with_fault(faults: _Faults, fault: Fault, *, now: datetime) -> _Faults:
    match fault:
        case Clear():
            return _Faults("injected", gpu_count=faults.gpu_count, serial=faults.serial)
        case Utilization(percent):
            return structs.replace(faults, utilization_percent=percent)
        case Silence(duration):
            return structs.replace(faults, silent_until=now + duration)
        case Xid(code, gpu, message):
            _demand_gpu(faults, gpu)
            text = message or f"NVRM: Xid: {code}"
            return _with_event(faults, kind="xid", gpu=gpu, value=code, text=text, now=now)
        case Temperature(celsius, gpu):
            _demand_gpu(faults, gpu)
            indexes = range(faults.gpu_count) if gpu == -1 else (gpu,)
            temperatures = dict(faults.temperatures_celsius)
            for index in indexes:
                temperatures[index] = celsius
            faults = structs.replace(faults, temperatures_celsius=temperatures)
            if celsius < THERMAL_CELSIUS:
                return faults
            text = f"temperature {celsius} °C, slowdown from {THERMAL_CELSIUS} °C"
            for index in indexes:
                faults = _with_event(
                    faults, kind="thermal", gpu=index, value=celsius, text=text, now=now
                )
            return faults


def _demand_gpu(faults: _Faults, gpu: int) -> None:
    if gpu >= faults.gpu_count:
        text = f"there is no GPU {gpu}, expected 0 to {faults.gpu_count - 1}"
        raise ConfigError(text, key="gpu")


def _with_event(
    faults: _Faults,
    *,
    kind: Literal["xid", "thermal"],
    gpu: int,
    value: int,
    text: str,
    now: datetime,
) -> _Faults:
    if len(faults.events) >= EVENTS_MAX:
        raise ConfigError(f"{EVENTS_MAX} faults are injected already: clear them first")
    serial = faults.serial + 1
    event = _Event(serial, kind, gpu, value, now, text[:1024])
    return structs.replace(faults, serial=serial, events=[*faults.events, event])


# --- the file --------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep others from changing the file between our reading and writing."""
    with path.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, faults: _Faults) -> None:
    """Write the file, unless it could not be read again. Raises `OSError` and `ConfigError`."""
    content = msgspec.json.encode(faults)
    try:
        msgspec.json.decode(content, type=_Faults)
    except msgspec.ValidationError as error:
        raise ConfigError(f"this fault is impossible: {error}") from error
    replace_file(path, msgspec.json.format(content, indent=2) + b"\n")


def _read(path: Path) -> _Faults:
    """Decode the file. Raises `OSError`, and `ConfigError` naming the line of a mistake."""
    with path.open("rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        text = f"is larger than {FILE_BYTES_MAX} bytes: clear it, or remove it"
        raise ConfigError(text, file=str(path))
    try:
        return msgspec.json.decode(content, type=_Faults)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = f"{error}: repair the file, or remove it"
        line = _line_of_mistake(content, str(error))
        raise ConfigError(text, file=str(path), line=line) from error


def _line_of_mistake(content: bytes, text: str) -> int:
    """Find the line that the decoder complains of, as well as its words allow; else the first."""
    if match := re.search(r"\(byte (\d+)\)", text):
        return content.count(b"\n", 0, int(match.group(1))) + 1
    number = 0
    key = ""
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", text.rpartition(" at ")[2]):
        number, key = (number, name) if name else (int(index), key)
    places = [found.start() for found in re.finditer(rb'"%s"' % key.encode(), content)]
    if key and number < len(places):
        return content.count(b"\n", 0, places[number]) + 1
    return 1


# --- the sensor ------------------------------------------------------------------------------


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
        self._faults = _Faults("injected", gpu_count=gpu_count)
        self._mistake = ""
        try:
            self._seen = self._read_seen()
            with _locked(self._path):
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
        """Stand in for the checks of a real node: ``boot``, ``nvml`` and ``xid``."""
        self._refresh()
        return (
            self._result("boot", Health.HEALTHY, f"{self._gpu_count} pretended GPUs, none is real"),
            self._nvml_result(),
            self._xid_result(),
        )

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
            _write(self._path, self._faults)
            return
        self._refresh()
        if not self._mistake and self._faults.gpu_count != self._gpu_count:
            self._faults = structs.replace(self._faults, gpu_count=self._gpu_count)
            _write(self._path, self._faults)

    def _refresh(self) -> None:
        """Read the file anew. A file with a mistake changes nothing but the check ``nvml``."""
        try:
            self._faults = _read(self._path)
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
        text = f"XID {newest.value} on GPU {newest.gpu}, {len(xids)} in all, until cleared"
        return self._result("xid", Health.DEGRADED, text)

    def _health_event(self, event: _Event) -> HealthEvent:
        system, metric = {
            "xid": ("DCGM_HEALTH_WATCH_DRIVER", "xid_code"),
            "thermal": ("DCGM_HEALTH_WATCH_THERMAL", "temperature"),
        }[event.kind]
        return HealthEvent(
            event_type=event.kind,
            gpu_index=event.gpu,
            gpu_uuid=self._uuid(event.gpu) if event.gpu >= 0 else "",
            system=system,
            metrics={metric: str(event.value)},
            message=f"injected: {event.message}",
            at=event.at,
        )
