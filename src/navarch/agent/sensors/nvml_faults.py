"""Which readings of a GPU are faults, and which of those are new.

Pure bookkeeping: it knows no library and no clock. A fault is told once when it begins to stand and
again only after it went away and came back, or has become worse; a counter tells each rise once.

After a restart of the agent counters start anew from what they show, so an old rise is not told
twice; but conditions that stand, and memory errors that could not be corrected, are told again,
since nobody may have heard of them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from navarch.agent.sensors.nvml_readings import Device, Reading
from navarch.core.model.gpu import GPU
from navarch.core.model.report import HealthEvent

NODE: Final = -1
"""The index of what concerns the node as a whole."""

REARM_CELSIUS: Final = 5
"""So far a GPU must cool below its limit before it may be called hot again."""

HEAT_STEP_CELSIUS: Final = 5
"""Heat that stands is told again when it reaches the next multiple of this, such as 90 or 95 °C."""

PCIE_REPLAYS_MAX: Final = 8
PCIE_WINDOW: Final = timedelta(minutes=1)
"""8 replays a minute is the most that is normal: DCGM, dcgm_gpu_hardware_limits.h, 2026-11."""

HW_SLOWDOWN: Final = 0x08
HW_THERMAL: Final = 0x40
HW_POWER_BRAKE: Final = 0x80
"""nvmlClocksEventReason of nvidia-ml-py 13.615, read 2026-11."""

Metrics = dict[str, str | int | float]


class Condition(Struct, frozen=True):
    """A fault that stands."""

    mark: str
    """What tells it from another of its kind; a new mark is a new fault."""
    text: str


class _Replays(Struct, frozen=True):
    """Where the minute began in which PCIe replays are counted."""

    at: datetime
    count: int


class Faults:
    """What stands, and where each counter was, of all GPUs of one node."""

    def __init__(self) -> None:
        """Nothing stands yet."""
        self._standing: dict[tuple[int, str], Condition] = {}
        self._counters: dict[tuple[int, str], int] = {}
        self._replays: dict[int, _Replays] = {}
        self._slowed: set[int] = set()

    def standing(self, index: int) -> tuple[str, ...]:
        """Say what stands on a GPU, or on the node, in the order of its beginning."""
        return tuple(fault.text for (at, _), fault in self._standing.items() if at == index)

    def forget(self, index: int) -> None:
        """Another GPU has this index now."""
        self._standing = {key: on for key, on in self._standing.items() if key[0] != index}
        self._counters = {key: count for key, count in self._counters.items() if key[0] != index}
        self._replays.pop(index, None)
        self._slowed.discard(index)

    def begins(self, index: int, kind: str, mark: str | None, text: str = "") -> bool:
        """Note that a fault of this kind stands, or with None that none does.

        True when it is new: none stood, or one with another mark.
        """
        if mark is None:
            self._standing.pop((index, kind), None)
            return False
        before = self._standing.get((index, kind))
        self._standing[index, kind] = Condition(mark, text)
        return before is None or before.mark != mark

    def mark(self, index: int, kind: str) -> str | None:
        """Tell the mark of what stands; None when nothing does."""
        condition = self._standing.get((index, kind))
        return None if condition is None else condition.mark

    def notice(self, device: Device, reading: Reading, *, at: datetime) -> list[HealthEvent]:
        """Compare a reading with what is known, and tell what is new; `at` is its time."""
        gpu = device.gpu
        return [
            *self._ecc(gpu, reading, at),
            *self._memory(gpu, reading, at),
            *self._heat(device, reading, at),
            *self._slowdown(device, reading, at),
            *self._links(gpu, reading, at),
            *self._pcie(gpu, reading, at),
        ]

    # --- memory ------------------------------------------------------------------------------

    def _ecc(self, gpu: GPU, reading: Reading, at: datetime) -> list[HealthEvent]:
        found = []
        total = reading.ecc_dbe
        # A count that fell was set to zero, so all that it shows is new.
        if total is not None and (rise := self._rise(gpu.index, "dbe", total, unseen=total)):
            text = f"{rise} memory errors could not be corrected, {total} since the driver started"
            metrics: Metrics = {"ecc_dbe_count": rise, "ecc_dbe_total": total}
            found.append(event("ecc_dbe", "MEM", gpu, metrics, text, at))
        total = reading.ecc_sbe
        if total is not None and (rise := self._rise(gpu.index, "sbe", total)):
            text = f"{rise} memory errors were corrected, {total} since the driver started"
            metrics = {"ecc_sbe_count": rise, "ecc_sbe_total": total}
            found.append(event("ecc_sbe", "MEM", gpu, metrics, text, at))
        return found

    def _memory(self, gpu: GPU, reading: Reading, at: datetime) -> list[HealthEvent]:
        kinds = (
            (
                *("row_remap_failed", reading.row_remap_failed),
                "a row of memory could not be remapped: no spare one is left",
            ),
            (
                *("row_remap_pending", reading.row_remap_pending),
                "a row of memory will be remapped when the GPU is reset",
            ),
            (
                *("retired_pages_pending", reading.retired_pages_pending),
                "pages of memory will be retired when the driver is loaded again",
            ),
        )
        rows = {
            "remapped_correctable": reading.remapped_correctable,
            "remapped_uncorrectable": reading.remapped_uncorrectable,
        }
        found = []
        for kind, flag, text in kinds:
            if flag is None:
                continue
            if self.begins(gpu.index, kind, "1" if flag else None, text):
                metrics: Metrics = {kind: 1}
                if kind != "retired_pages_pending":
                    metrics |= {name: rows for name, rows in rows.items() if rows is not None}
                found.append(event("memory", "MEM", gpu, metrics, text, at))
        return found

    # --- heat and clocks ---------------------------------------------------------------------

    def _heat(self, device: Device, reading: Reading, at: datetime) -> list[HealthEvent]:
        celsius = reading.temperature_celsius
        if celsius is None:
            return []
        gpu, limit = device.gpu, device.slowdown_celsius
        worst = self.mark(gpu.index, "hot")
        hot = celsius >= limit or (worst is not None and celsius > limit - REARM_CELSIUS)
        # Worse heat is news too: a policy may ask for more where the first report was of less.
        step = max(celsius // HEAT_STEP_CELSIUS, int(worst or 0))
        text = f"temperature {celsius} °C, slowdown from {limit} °C"
        if not self.begins(gpu.index, "hot", str(step) if hot else None, text):
            return []
        return [event("thermal", "THERMAL", gpu, {"temperature": celsius}, text, at)]

    def _slowdown(self, device: Device, reading: Reading, at: datetime) -> list[HealthEvent]:
        mask = reading.clock_reasons
        if mask is None:
            return []
        gpu, celsius, watts = device.gpu, reading.temperature_celsius, reading.power_watts
        heat: Metrics = {} if celsius is None else {"temperature": celsius}
        power: Metrics = {} if watts is None else {"power_watts": watts}
        hot = celsius is not None and celsius >= device.slowdown_celsius
        thermal, brake = bool(mask & HW_THERMAL), bool(mask & HW_POWER_BRAKE)
        alone = bool(mask & HW_SLOWDOWN) and not thermal and not brake
        # Drivers also show it in the moment of a clock change: it must be there twice in a row.
        lasting = alone and gpu.index in self._slowed
        (self._slowed.add if alone else self._slowed.discard)(gpu.index)
        kinds = (
            ("hw_thermal_slowdown", thermal, True, "too hot: the hardware slows the clocks down"),
            ("hw_power_brake", brake, False, "power brake: the hardware slows the clocks down"),
            ("hw_slowdown", lasting, hot, "the hardware slows the clocks down"),
        )
        found = []
        for reason, stands, by_heat, text in kinds:
            if self.begins(gpu.index, reason, reason if stands else None, text):
                kind, system = ("thermal", "THERMAL") if by_heat else ("power", "POWER")
                metrics: Metrics = {"reason": reason, **(heat if by_heat else power)}
                found.append(event(kind, system, gpu, metrics, text, at))
        return found

    # --- links -------------------------------------------------------------------------------

    def _links(self, gpu: GPU, reading: Reading, at: datetime) -> list[HealthEvent]:
        rises: dict[int, Metrics] = {}
        for (link, metric), count in reading.links.items():
            if rise := self._rise(gpu.index, f"link {link} {metric}", count):
                rises.setdefault(link, {"link_id": link})[metric] = rise
        found = []
        for link, metrics in rises.items():
            errors = (
                f"{rise} {name.replace('_', ' ')}"
                for name, rise in metrics.items()
                if name != "link_id"
            )
            text = f"NVLink {link}: {', '.join(errors)} more than before"
            found.append(event("nvlink", "NVLINK", gpu, metrics, text, at))
        return found

    def _pcie(self, gpu: GPU, reading: Reading, at: datetime) -> list[HealthEvent]:
        count = reading.pcie_replays
        if count is None:
            return []
        start = self._replays.setdefault(gpu.index, _Replays(at, count))
        rise = count - start.count
        passed = at - start.at
        if rise < 0 or passed < timedelta(0):
            self._replays[gpu.index] = _Replays(at, count)
            return []
        over = passed >= PCIE_WINDOW
        if over:
            self._replays[gpu.index] = _Replays(at, count)
        # Readings may be further apart than a minute: what counts is the rate.
        fast = rise > PCIE_REPLAYS_MAX * max(passed / PCIE_WINDOW, 1)
        text = f"{rise} PCIe replays in a minute or less, at most {PCIE_REPLAYS_MAX} are normal"
        if passed > PCIE_WINDOW:
            text = f"{rise} PCIe replays in {round(passed.total_seconds())} s, too many"
        if not fast and not over:
            return []
        if not self.begins(gpu.index, "pcie", "fast" if fast else None, text):
            return []
        metrics: Metrics = {"pcie_replay_count": rise, "pcie_replay_total": count}
        return [event("pcie", "PCIE", gpu, metrics, text, at)]

    def _rise(self, index: int, name: str, count: int, *, unseen: int = 0) -> int:
        """By how much a counter rose; `unseen` when it is new, or fell since the last time."""
        before = self._counters.get((index, name))
        self._counters[index, name] = count
        return unseen if before is None or count < before else count - before


def event(
    kind: str, system: str, gpu: GPU | None, metrics: Metrics, text: str, at: datetime
) -> HealthEvent:
    """Write an event of one GPU, or of the node when it is None."""
    return HealthEvent(
        event_type=kind,
        gpu_index=NODE if gpu is None else gpu.index,
        gpu_uuid="" if gpu is None else gpu.uuid,
        system=f"DCGM_HEALTH_WATCH_{system}",
        metrics=metrics,
        message=f"node: {text}" if gpu is None else f"GPU {gpu.index}: {text}",
        timestamp=at,
    )
