"""What NVIDIA's management library can tell about one GPU, as values that can be believed.

Every function here blocks and is called in the lane of its GPU. A reading that the board or the
driver does not have, or that no GPU can have (65535 °C, all bits set), is None: it is left out and
never made a number. Errors that concern the whole GPU, or the whole driver, are raised.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct, field

from navarch.agent.sensors.nvml_calls import DRIVER_CODES, GPU_CODES, Ask, Refused
from navarch.core.model.gpu import GPU, GPUSample

GPUS_MAX: Final = 64
"""The wire's limit of GPUs a node; a driver that counts more does not know what it says."""

CELSIUS_MAX: Final = 150
"""Above it silicon is dead: the boards of NVIDIA shut down near 95 °C."""

POWER_MILLIWATTS_MAX: Final = 2_000_000
"""The largest boards draw 1.2 kW."""

MEMORY_BYTES_MAX: Final = 2**46

COUNTER_MAX: Final = 2**53 - 1
"""The largest number that survives every JSON reader."""

NOT_AVAILABLE: Final = frozenset({2**32 - 1, 2**64 - 1})
"""All bits set is what drivers write for a number that they do not have."""

TEXT_LENGTH_MAX: Final = 120

SLOWDOWN_CELSIUS: Final = 85
"""For boards that do not tell: H100 boards begin to slow down at about 87 °C."""

NVLINKS_MAX: Final = 36
"""NVML_NVLINK_MAX_LINKS of nvidia-ml-py 13.615, read 2026-11."""

LINK_COUNTERS: Final = {
    0: "replay_errors",
    1: "recovery_errors",
    2: "crc_flit_errors",
    3: "crc_data_errors",
    4: "ecc_data_errors",
}
"""nvmlNvLinkErrorCounter_t to the metric that reports it; nvidia-ml-py 13.615, read 2026-11."""

_GPU_SENSOR: Final = 0
_SLOWDOWN_THRESHOLD: Final = 1
_CORRECTED, _UNCORRECTED = 0, 1
_SINCE_LOADED: Final = 0
"""NVML_VOLATILE_ECC: since the driver was loaded. The lifetime's count never tells what is new."""


class Device(Struct, frozen=True):
    """One GPU that was found, and what does not change while the driver stays loaded."""

    handle: Any
    gpu: GPU
    slowdown_celsius: int = SLOWDOWN_CELSIUS
    """Where the hardware begins to slow the clocks down."""
    links: tuple[int, ...] = ()
    """The NVLinks that the board has."""


class Reading(Struct, frozen=True):
    """How one GPU is. None: it cannot be read, or the number makes no sense."""

    temperature_celsius: int | None = None
    power_watts: int | None = None
    ecc_sbe: int | None = None
    """Corrected memory errors since the driver was loaded."""
    ecc_dbe: int | None = None
    """Memory errors that could not be corrected, since the driver was loaded."""
    remapped_correctable: int | None = None
    remapped_uncorrectable: int | None = None
    """Rows of memory that were replaced by spare ones, ever."""
    row_remap_pending: bool | None = None
    row_remap_failed: bool | None = None
    retired_pages_pending: bool | None = None
    clock_reasons: int | None = None
    """A mask: why the clocks are lower than they could be."""
    pcie_replays: int | None = None
    links: dict[tuple[int, str], int] = field(default_factory=dict)
    """(link, metric of `LINK_COUNTERS`) to its count, of those that can be read."""


def open_device(ask: Ask, index: int, *, driver_version: str, cuda_version: str) -> Device:
    """Find a GPU by the library's index and describe it. Raises `Refused`, as all below do."""
    handle = ask("nvmlDeviceGetHandleByIndex", index)
    memory = _optional(ask, "nvmlDeviceGetMemoryInfo", handle)
    slowdown = _optional(ask, "nvmlDeviceGetTemperatureThreshold", handle, _SLOWDOWN_THRESHOLD)
    pci = _optional(ask, "nvmlDeviceGetPciInfo", handle)
    gpu = GPU(
        index=index,
        uuid=_text(_optional(ask, "nvmlDeviceGetUUID", handle)),
        name=_text(_optional(ask, "nvmlDeviceGetName", handle)),
        pci_bus_id=_bus_id(_text(getattr(pci, "busId", b""))),
        memory_total=_within(getattr(memory, "total", None), 1, MEMORY_BYTES_MAX) or 0,
        driver_version=driver_version,
        cuda_version=cuda_version,
    )
    links = tuple(
        link
        for link in range(NVLINKS_MAX)
        if _optional(ask, "nvmlDeviceGetNvLinkState", handle, link) is not None
    )
    return Device(handle, gpu, _within(slowdown, 30, CELSIUS_MAX) or SLOWDOWN_CELSIUS, links)


def read_sample(ask: Ask, device: Device) -> GPUSample | None:
    """Read what a heartbeat brings; None unless all of it can be read and believed."""
    temperature = _temperature(ask, device)
    power = _power(ask, device)
    rates = _optional(ask, "nvmlDeviceGetUtilizationRates", device.handle)
    busy = _within(getattr(rates, "gpu", None), 0, 100)
    memory = _optional(ask, "nvmlDeviceGetMemoryInfo", device.handle)
    used = _within(getattr(memory, "used", None), 0, device.gpu.memory_total)
    if temperature is None or power is None or busy is None or used is None:
        return None
    return GPUSample(device.gpu.index, temperature, power, float(busy), used)


def read_gpu(ask: Ask, device: Device) -> Reading:
    """Read everything that may be a fault. About 100 calls on a board with 18 NVLinks."""
    handle = device.handle
    rows = _optional(ask, "nvmlDeviceGetRemappedRows", handle) or (None,) * 4
    retired = _optional(ask, "nvmlDeviceGetRetiredPagesPendingStatus", handle)
    reasons = _first(
        ask,
        ("nvmlDeviceGetCurrentClocksEventReasons", handle),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", handle),
    )
    return Reading(
        temperature_celsius=_temperature(ask, device),
        power_watts=_power(ask, device),
        ecc_sbe=_ecc_errors(ask, device, _CORRECTED),
        ecc_dbe=_ecc_errors(ask, device, _UNCORRECTED),
        remapped_correctable=_count(rows[0]),
        remapped_uncorrectable=_count(rows[1]),
        row_remap_pending=_flag(rows[2]),
        row_remap_failed=_flag(rows[3]),
        retired_pages_pending=_flag(retired),
        clock_reasons=_count(reasons),
        pcie_replays=_count(_optional(ask, "nvmlDeviceGetPcieReplayCounter", handle)),
        links=_link_errors(ask, device),
    )


def version_texts(ask: Ask) -> tuple[str, str]:
    """Read the versions of the driver and of the newest CUDA it can run, such as 12.4."""
    driver = _text(_optional(ask, "nvmlSystemGetDriverVersion"))
    number = _first(
        ask, ("nvmlSystemGetCudaDriverVersion_v2",), ("nvmlSystemGetCudaDriverVersion",)
    )
    cuda = _within(number, 1000, 999_999)
    return driver, "" if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}"


def _temperature(ask: Ask, device: Device) -> int | None:
    value = _first(
        ask,
        ("nvmlDeviceGetTemperatureV", device.handle, _GPU_SENSOR),
        ("nvmlDeviceGetTemperature", device.handle, _GPU_SENSOR),
    )
    return _within(value, 0, CELSIUS_MAX)


def _power(ask: Ask, device: Device) -> int | None:
    value = _optional(ask, "nvmlDeviceGetPowerUsage", device.handle)
    milliwatts = _within(value, 0, POWER_MILLIWATTS_MAX)
    return None if milliwatts is None else round(milliwatts / 1000)


def _ecc_errors(ask: Ask, device: Device, kind: int) -> int | None:
    value = _optional(ask, "nvmlDeviceGetTotalEccErrors", device.handle, kind, _SINCE_LOADED)
    return _count(value)


def _link_errors(ask: Ask, device: Device) -> dict[tuple[int, str], int]:
    found = {}
    for link in device.links:
        for counter, metric in LINK_COUNTERS.items():
            value = _optional(ask, "nvmlDeviceGetNvLinkErrorCounter", device.handle, link, counter)
            count = _count(value)
            if count is not None:
                found[link, metric] = count
    return found


def _optional(ask: Ask, function: str, *values: object) -> Any:  # noqa: ANN401 - as `Ask`
    """Ask for what not every board and driver has; None when this one has not."""
    try:
        return ask(function, *values)
    except Refused as error:
        if error.code in DRIVER_CODES | GPU_CODES:
            raise
        return None


def _first(ask: Ask, *questions: tuple[Any, ...]) -> Any:  # noqa: ANN401 - as `Ask`
    """Ask the newest function first and older ones for drivers that have not heard of it."""
    for function, *values in questions:
        answer = _optional(ask, function, *values)
        if answer is not None:
            return answer
    return None


def _within(value: object, low: int, high: int) -> int | None:
    return value if isinstance(value, int) and low <= value <= high else None


def _count(value: object) -> int | None:
    return None if value in NOT_AVAILABLE else _within(value, 0, COUNTER_MAX)


def _flag(value: object) -> bool | None:
    number = _within(value, 0, 1)
    return None if number is None else number == 1


def _text(value: object) -> str:
    """Keep what can be printed."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if not isinstance(value, str):
        return ""
    return "".join(letter for letter in value if letter.isprintable()).strip()[:TEXT_LENGTH_MAX]


def _bus_id(text: str) -> str:
    """Write the PCI domain with four digits, as the kernel does, where they suffice."""
    domain, colon, rest = text.partition(":")
    return f"{domain[4:]}:{rest}" if colon and len(domain) == 8 and domain[:4] == "0000" else text
