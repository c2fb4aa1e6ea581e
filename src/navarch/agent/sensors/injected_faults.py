"""The faults that a person injects into pretended sensors, and the file that holds them.

`inject` changes the file from another process. The agent's own commands change it too: where there
is no hardware, resets and reboots are pretended by ending faults.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct, field, structs

from navarch.agent.sensors.base import EVENT_TYPES
from navarch.agent.state import replace_file
from navarch.errors import ConfigError

FILE_NAME: Final = "injected.json"
FILE_BYTES_MAX: Final = 256 * 1024
"""More than the faults that anybody injects; less than what would slow a reading down."""

EVENTS_MAX: Final = 500
"""Faults that may stand in the file at once."""

GPUS_MAX: Final = 64
"""The wire's limit of GPUs a node."""

THERMAL_CELSIUS: Final = 85
"""From here on a temperature is an event. H100 boards begin to slow down at about 87 °C."""

METRICS_MAX: Final = 16
"""Metrics that one injected event may have."""

EVENT_KINDS: Final = tuple(sorted(EVENT_TYPES - {"xid", "thermal"}))
"""What `Happening` may inject; XIDs and temperatures have faults of their own."""

Celsius = Annotated[int, Meta(ge=-50, le=200)]
Percent = Annotated[float, Meta(ge=0, le=100)]
GPUIndex = Annotated[int, Meta(ge=-1, lt=GPUS_MAX)]


# --- faults ----------------------------------------------------------------------------------


class Xid(Struct, frozen=True):
    """The driver logs an XID, once."""

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


class Happening(Struct, frozen=True):
    """An event of another type happens, once."""

    event: str
    """One of `EVENT_KINDS`."""
    gpu: GPUIndex = -1
    """-1 means the node as a whole."""
    metrics: dict[str, str | int | float] = field(default_factory=dict)
    message: str = ""


class Clear(Struct, frozen=True):
    """All faults are over."""


Fault = Xid | Temperature | Silence | Utilization | Happening | Clear

MetricName = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,63}$")]
MetricText = Annotated[str, Meta(max_length=256)]


class Event(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One event in the file."""

    serial: Annotated[int, Meta(ge=1)]
    kind: Annotated[str, Meta(pattern="^[a-z_]{1,32}$")]
    gpu: GPUIndex
    at: Annotated[datetime, Meta(tz=True)]
    value: Annotated[int, Meta(ge=-50, le=999)] | None = None
    """The code of an XID, the degrees of a temperature."""
    message: Annotated[str, Meta(max_length=1024)] = ""
    metrics: Annotated[dict[MetricName, MetricText | int | float], Meta(max_length=METRICS_MAX)] = (
        field(default_factory=dict)
    )

    @property
    def told(self) -> dict[str, str | int | float]:
        """All its metrics, as an event has them."""
        name = {"xid": "xid_code", "thermal": "temperature"}.get(self.kind, "")
        return {name: str(self.value), **self.metrics} if name else dict(self.metrics)

    def __post_init__(self) -> None:
        if self.kind not in EVENT_TYPES:
            raise ValueError(f"{self.kind!r} is no type of event")
        if (self.value is None) is (self.kind in {"xid", "thermal"}):
            raise ValueError("events of the types xid and thermal have a value, others have none")


class Faults(Struct, frozen=True, forbid_unknown_fields=True):
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
    events: Annotated[list[Event], Meta(max_length=EVENTS_MAX)] = field(default_factory=list)


def inject(state_folder: Path, fault: Fault, *, now: datetime) -> None:
    """Put a fault into the injected sensors of the agent with this state folder.

    The agent notices at its next reading. Raises `ConfigError` when the node's sensors are not
    injected, it has no such GPU, or the file makes no sense or cannot be written.
    """
    path = state_folder / FILE_NAME
    if not path.is_file():
        text = "these sensors are not injected ones: faults cannot be put into real hardware"
        raise ConfigError(text, file=str(state_folder))
    _change(path, lambda faults: _with_fault(faults, fault, now=now))


def _change(path: Path, change: Callable[[Faults], Faults]) -> None:
    """Put other faults into the file. Raises `ConfigError`; the old ones then stay."""
    try:
        with locked(path):
            write_faults(path, change(read_faults(path)))
    except OSError as error:
        raise ConfigError(f"cannot be changed: {error.strerror}", file=str(path)) from error
    except ValueError as error:
        raise ConfigError(f"this fault is impossible: {error}") from error


def _with_fault(faults: Faults, fault: Fault, *, now: datetime) -> Faults:
    match fault:
        case Clear():
            return Faults("injected", gpu_count=faults.gpu_count, serial=faults.serial)
        case Utilization(percent):
            return structs.replace(faults, utilization_percent=percent)
        case Silence(duration):
            return structs.replace(faults, silent_until=now + duration)
        case Xid(code, gpu, message):
            _demand_gpu(faults, gpu)
            text = message or f"NVRM: Xid: {code}"
            return _with_event(faults, kind="xid", gpu=gpu, value=code, text=text, now=now)
        case Happening(kind, gpu, metrics, message):
            if kind not in EVENT_KINDS:
                text = f"{kind!r} cannot be injected, expected one of {', '.join(EVENT_KINDS)}"
                raise ConfigError(text, key="event")
            _demand_gpu(faults, gpu)
            text = message or f"{kind} {' '.join(f'{n}={v}' for n, v in metrics.items())}".strip()
            return _with_event(faults, kind=kind, gpu=gpu, metrics=metrics, text=text, now=now)
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


def _demand_gpu(faults: Faults, gpu: int) -> None:
    if gpu >= faults.gpu_count:
        text = f"there is no GPU {gpu}, expected 0 to {faults.gpu_count - 1}"
        raise ConfigError(text, key="gpu")


def _with_event(
    faults: Faults,
    *,
    kind: str,
    gpu: int,
    text: str,
    now: datetime,
    value: int | None = None,
    metrics: dict[str, str | int | float] | None = None,
) -> Faults:
    if len(faults.events) >= EVENTS_MAX:
        raise ConfigError(f"{EVENTS_MAX} faults are injected already: clear them first")
    serial = faults.serial + 1
    event = Event(serial, kind, gpu, now, value, text[:1024], metrics or {})
    return structs.replace(faults, serial=serial, events=[*faults.events, event])


class InjectedHardware:
    """What stands in for the hardware of a node whose sensors are injected."""

    def __init__(self, state_folder: Path, *, now: Callable[[], datetime]) -> None:
        """Change the faults in this folder, which the sensors read."""
        self._path = state_folder / FILE_NAME
        self._now = now

    def gpu_reset(self, gpu: int | None) -> str:
        """End the faults of one GPU, or of all for None. Raises `ConfigError` as `inject` does."""

        def reset(faults: Faults) -> Faults:
            _demand_gpu(faults, -1 if gpu is None else gpu)
            return _without_faults_of(faults, gpu)

        _change(self._path, reset)
        return f"injected: pretended a reset of {'all GPUs' if gpu is None else f'GPU {gpu}'}"

    def reboot(self) -> str:
        """End all faults of the hardware. Raises `ConfigError` as `inject` does."""
        _change(self._path, lambda faults: _without_faults_of(faults, None, node=True))
        return "injected: pretended a reboot"


def _without_faults_of(faults: Faults, gpu: int | None, *, node: bool = False) -> Faults:
    """Leave out what stands of one GPU, of all for None, and of the node as a whole."""

    def stays(index: int) -> bool:
        return not node if index < 0 else gpu not in (None, index)

    return structs.replace(
        faults,
        temperatures_celsius={
            index: celsius for index, celsius in faults.temperatures_celsius.items() if stays(index)
        },
        events=[event for event in faults.events if stays(event.gpu)],
    )


# --- the file --------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep others from changing the file between our reading and writing."""
    with path.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_faults(path: Path, faults: Faults) -> None:
    """Write the file, unless it could not be read again. Raises `OSError` and `ConfigError`."""
    content = msgspec.json.encode(faults)
    try:
        msgspec.json.decode(content, type=Faults)
    except msgspec.ValidationError as error:
        raise ConfigError(f"this fault is impossible: {error}") from error
    replace_file(path, msgspec.json.format(content, indent=2) + b"\n")


def read_faults(path: Path) -> Faults:
    """Decode the file. Raises `OSError`, and `ConfigError` naming the line of a mistake."""
    with path.open("rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        text = f"is larger than {FILE_BYTES_MAX} bytes: clear it, or remove it"
        raise ConfigError(text, file=str(path))
    try:
        return msgspec.json.decode(content, type=Faults)
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
