"""The GPUs of this node as NVIDIA's driver knows them, read by its management library, NVML.

What was seen is told, nothing is judged and nothing made up: without the package ``nvidia-ml-py``,
the library or the driver there are no GPUs, and the check ``nvml`` says why. No method raises, and
none waits for a driver that hangs longer than a few times `call_time_max`.

What remains after a restart of the agent: nothing is kept on the disk. Counters of corrected
errors, of NVLinks and of PCIe begin anew from where they are. Conditions that stand are told again,
and so are memory errors that could not be corrected since the driver was loaded: nobody may have
heard of them, and the control plane knows those that it has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from msgspec import structs

from navarch.agent.sensors.nvml_calls import (
    CORRUPTED_INFOROM,
    DRIVER_NOT_LOADED,
    GPU_IS_LOST,
    GPU_NOT_FOUND,
    INSUFFICIENT_POWER,
    IRQ_ISSUE,
    LIBRARY_NOT_FOUND,
    NO_PERMISSION,
    PACKAGE_MISSING,
    RESET_REQUIRED,
    UNINITIALIZED,
    VERSION_MISMATCH,
    Ask,
    Hung,
    Refused,
)
from navarch.agent.sensors.nvml_driver import Driver, Found, View, Xid
from navarch.agent.sensors.nvml_faults import NODE, Faults, Metrics, event
from navarch.agent.sensors.nvml_readings import (
    GPUS_MAX,
    Device,
    Reading,
    read_gpu,
    read_sample,
)
from navarch.core.model.gpu import GPU, GPUSample, NodeSample
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.errors import ConfigError

CALL_TIME_MAX: Final = timedelta(seconds=2)
"""Calls take milliseconds; the first one into a driver that keeps nothing loaded, a second."""

EVENTS_MAX: Final = 1000
"""Events kept until they are asked for; the oldest go first."""

_DRIVER_REASONS: Final = {
    UNINITIALIZED: "driver_reloading",
    DRIVER_NOT_LOADED: "driver_not_loaded",
    VERSION_MISMATCH: "version_mismatch",
}

_NOT_ASKED: Final = frozenset({PACKAGE_MISSING, LIBRARY_NOT_FOUND, NO_PERMISSION})
"""This tells nothing of the driver: the agent was not installed so that it can ask."""

_GPU_REASONS: Final = {
    INSUFFICIENT_POWER: "insufficient_power",
    IRQ_ISSUE: "irq_issue",
    CORRUPTED_INFOROM: "corrupted_inforom",
    GPU_IS_LOST: "gpu_lost",
    GPU_NOT_FOUND: "gpu_lost",
    RESET_REQUIRED: "reset_required",
}


class NvmlSensor:
    """Real GPUs. To be used from one thread at a time; its own threads never hold up the end."""

    name = "nvml"
    injected = False

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        expected_gpus: int | None = None,
        call_time_max: timedelta = CALL_TIME_MAX,
    ) -> None:
        """Take what is needed; nothing is loaded or asked yet, so this works on any machine.

        `now` is the time, aware and in UTC. `expected_gpus`, from 0 to 64, is how many the node
        should have; None means as many as were ever seen at once. `call_time_max` is how long the
        driver may be silent before it counts as hung. Raises `ConfigError` for other values.
        """
        if expected_gpus is not None and not 0 <= expected_gpus <= GPUS_MAX:
            text = f"{expected_gpus} GPUs, expected 0 to {GPUS_MAX}"
            raise ConfigError(text, key="expected_gpus")
        if call_time_max <= timedelta(0):
            raise ConfigError(f"{call_time_max}, expected more than 0", key="call_time_max")
        self._now = now
        self._driver = Driver(call_time_max=call_time_max)
        self._faults = Faults()
        self._expected = expected_gpus
        self._seen_max = 0
        self._identities: dict[int, str] = {}
        self._driver_version = ""
        self._events: deque[HealthEvent] = deque(maxlen=EVENTS_MAX)

    def gpus(self) -> tuple[GPU, ...]:
        """Describe the GPUs that are there; one that is lost by what was known of it.

        A GPU that never told what it is, is left out: then there is a gap among the indexes.
        """
        view = self._look(read_sample)
        if isinstance(view.fault, Hung):
            return tuple(gpu for _, gpu in sorted(self._driver.gpus.items()))
        return tuple(one.gpu for one in view.found if one.gpu is not None)

    def sample(self) -> NodeSample:
        """Read each GPU whose temperature, power, load and memory can all be read and believed.

        Processors and memory of the node are not known here: they are 0.
        """
        view = self._look(read_sample)
        return NodeSample(
            gpus=tuple(
                structs.replace(one.answer, index=one.index)
                for one in view.found
                if isinstance(one.answer, GPUSample)
            )
        )

    def check(self) -> tuple[CheckResult, ...]:
        """Say in one result, ``nvml``, whether the GPUs are there and what stands against them."""
        view = self._notice()
        status, text = self._verdict(view)
        details = {
            "driver_version": view.driver_version,
            "cuda_version": view.cuda_version,
            "expected": "" if self._expected is None else str(self._expected),
            "seen": str(sum(map(_answers, view.found))),
            "not_offered_by_driver": ", ".join(self._driver.absent),
            "hung": ", ".join(self._driver.hung),
        }
        details = {name: value for name, value in details.items() if value}
        return (CheckResult("nvml", status, text, at=self._now(), details=details),)

    def events(self) -> tuple[HealthEvent, ...]:
        """Give what is new since the last call: each fault once for as long as it stands."""
        self._notice()
        for xid in self._driver.take_xids():
            self._events.append(self._xid_event(xid))
        return tuple(self._events.popleft() for _ in range(len(self._events)))

    def silent_until(self) -> datetime | None:
        """Tell that no fault is injected here."""
        return None

    def close(self) -> None:
        """Let go of the GPUs, so that they can be reset; the next reading takes them up again."""
        self._driver.close()

    # --- looking -----------------------------------------------------------------------------

    @property
    def _wanted(self) -> int:
        return self._seen_max if self._expected is None else self._expected

    def _look(self, read: Callable[[Ask, Device], object]) -> View:
        view = self._driver.look(read, at=self._now(), wanted=self._wanted)
        self._seen_max = max(self._seen_max, len(view.found))
        return view

    def _notice(self) -> View:
        """Read everything and keep what is new for `events`."""
        view = self._look(read_gpu)
        self._notice_driver(view)
        if view.fault is None:
            self._driver_version = view.driver_version
            self._notice_missing(view)
        for one in view.found:
            self._notice_gpu(one, view)
        return view

    def _notice_driver(self, view: View) -> None:
        reason, text = _driver_trouble(view.fault)
        if self._faults.begins(NODE, "driver", reason, text):
            self._tell_driver_error(None, {"reason": str(reason)}, text)

    def _notice_missing(self, view: View) -> None:
        """Tell that GPUs are not there, and again when still more are gone."""
        expected, seen = self._wanted, len(view.found)
        missing = max(expected - seen, 0)
        before = int(self._faults.mark(NODE, "missing") or 0)
        text = self._missing_text(view)
        self._faults.begins(NODE, "missing", str(missing) if missing else None, text)
        if missing > before:
            metrics: Metrics = {"reason": "gpu_missing", "expected": expected, "seen": seen}
            self._tell_driver_error(None, metrics, text)

    def _notice_gpu(self, one: Found, view: View) -> None:
        if one.gpu is not None:
            identity = one.gpu.uuid or one.gpu.pci_bus_id
            if self._identities.setdefault(one.index, identity) != identity:
                self._identities[one.index] = identity
                self._faults.forget(one.index)
        reason, text = _gpu_trouble(one.answer)
        if self._faults.begins(one.index, "answer", reason, text):
            seen = sum(map(_answers, view.found))
            metrics: Metrics = {"reason": str(reason), "expected": self._wanted, "seen": seen}
            self._tell_driver_error(one.gpu or GPU(one.index), metrics, text)
        if one.device is not None and isinstance(one.answer, Reading):
            self._events.extend(self._faults.notice(one.device, one.answer, at=self._now()))

    def _tell_driver_error(self, gpu: GPU | None, metrics: Metrics, text: str) -> None:
        self._events.append(event("driver_error", "DRIVER", gpu, metrics, text, self._now()))

    def _xid_event(self, xid: Xid) -> HealthEvent:
        gpu = None if xid.index is None else self._driver.gpus.get(xid.index)
        metrics: Metrics = {"xid_code": xid.code, "driver_version": self._driver_version}
        return event(
            "xid", "DRIVER", gpu, metrics, f"the driver reports XID {xid.code}", self._now()
        )

    # --- saying what was seen ----------------------------------------------------------------

    def _verdict(self, view: View) -> tuple[Health, str]:
        if view.fault is not None:
            gone = isinstance(view.fault, Hung) or view.fault.code in _DRIVER_REASONS
            return (Health.UNHEALTHY if gone else Health.UNKNOWN), str(view.fault)
        silent = [one for one in view.found if not _answers(one)]
        missing = self._faults.standing(NODE)
        answering = len(view.found) - len(silent)
        if silent or missing:
            faults = [f"{_called(one)}: {_gpu_trouble(one.answer)[1]}" for one in silent]
            text = "; ".join([f"{answering} of {self._wanted} GPUs answer", *missing, *faults])
            return Health.UNHEALTHY, text
        standing = [
            f"{_called(one)}: {', '.join(texts)}"
            for one in view.found
            if (texts := self._faults.standing(one.index))
        ]
        if standing:
            return Health.DEGRADED, "; ".join(standing)
        if not view.found and self._expected is None:
            return Health.UNKNOWN, "the driver sees no GPU, and nobody said how many to expect"
        return Health.HEALTHY, f"{answering} GPUs answer"

    def _missing_text(self, view: View) -> str:
        here = {one.index for one in view.found}
        gone = [gpu for index, gpu in sorted(self._driver.gpus.items()) if index not in here]
        text = f"the driver sees {len(view.found)} GPUs, expected {self._wanted}"
        return ", ".join([text, *(f"GPU {gpu.index} ({gpu.uuid}) is missing" for gpu in gone)])


def _answers(one: Found) -> bool:
    return not isinstance(one.answer, Refused | Hung)


def _called(one: Found) -> str:
    name = f"GPU {one.index}"
    return name if one.gpu is None else f"{name} ({one.gpu.uuid}, {one.gpu.pci_bus_id})"


def _driver_trouble(fault: Refused | Hung | None) -> tuple[str | None, str]:
    """Name what keeps every GPU from answering; None when that is no fault of the driver."""
    match fault:
        case None:
            return None, ""
        case Hung():
            return "hung", str(fault)
        case Refused(code=code):
            if code in _NOT_ASKED:
                return None, ""
            return _DRIVER_REASONS.get(code, f"nvml_error_{code}"), str(fault)


def _gpu_trouble(answer: object) -> tuple[str | None, str]:
    """Name what keeps one GPU from answering; None when it answers."""
    match answer:
        case Hung():
            return "hung", str(answer)
        case Refused(code=code):
            return _GPU_REASONS.get(code, f"nvml_error_{code}"), str(answer)
        case _:
            return None, ""
