"""Faults: what can go wrong with a node, what its sensors say of it, and what puts it right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from navarch.core.model.finding import Remedy
from navarch.core.model.report import HealthEvent

AGAIN_AFTER = timedelta(minutes=2)
"""How soon a fault that is still there says so again."""

HOT = 95
"""The temperature that a fault of temperature shows unless it says another, in °C: above the 87 at
which an H100 slows down (NVIDIA, H100 product brief; read November 2026)."""


FLAPS_EVERY = timedelta(minutes=4)
"""How long a host that flaps takes to go down and come up again unless the fault says another."""


class FaultKind(StrEnum):
    """What goes wrong; the words are those of scenarios."""

    XID = "xid_error"
    TEMPERATURE = "temperature"
    MEMORY = "memory_error"
    NVLINK = "nvlink_error"
    BACKEND = "backend_error"
    """The driver answers no more: checks fail."""
    NVML = "nvml_failure"
    """The management library cannot be read: checks fail."""
    BOOT = "boot_failure"
    """The boot check fails, and the node says so."""
    NETWORK = "network"
    """Nothing passes between node and control plane."""
    CRASH = "crash"
    """The host is down: its agent is silent, and the machine is still there."""
    VANISH = "vanish"
    """The machine is gone from its cloud without a word."""
    FREEZE = "freeze"
    """The agent stands still, and goes on as if nothing had been; what runs there runs on."""
    FLAP = "flap"
    """The host goes down and comes up again, over and over."""
    DRIFT = "clock_drift"
    """The node's clock is wrong, and so are the times that its agent reports."""
    REREGISTER = "reregistration"
    """The agent is started again, and registers once more."""


SENSED = frozenset(
    {
        FaultKind.XID,
        FaultKind.TEMPERATURE,
        FaultKind.MEMORY,
        FaultKind.NVLINK,
        FaultKind.BACKEND,
        FaultKind.NVML,
        FaultKind.BOOT,
    }
)
"""What the node's own sensors notice; of the others nobody on the node can speak."""

FAILS_CHECKS: Mapping[FaultKind, str] = {
    FaultKind.BACKEND: "nvml",
    FaultKind.NVML: "nvml",
    FaultKind.BOOT: "boot",
}
"""Which check fails for it."""


SHOWN_ALWAYS = frozenset({FaultKind.TEMPERATURE})
"""What every reading of the sensors shows for as long as it is there: a state, and no event."""


class Fault(Struct, frozen=True):
    """One thing that goes wrong with a node."""

    kind: FaultKind
    xid: int = 0
    """The code of an XID; 0 for other kinds."""
    gpu: int = -1
    """Which GPU; -1: one that is drawn."""
    message: str = ""
    """What the sensors say; empty: a sentence for the kind."""
    cure: Remedy = Remedy.NONE
    """What puts it right; none: time alone, or nothing had to be put right."""
    lasts: timedelta | None = None
    """How long it lasts when nothing puts it right before; None: for ever, or, when nothing has to
    put it right, no time at all: it happened."""
    temperature: int = HOT
    """In °C, for a fault of temperature."""
    every: timedelta = FLAPS_EVERY
    """How long a host that flaps is down and up again, half of it each."""
    drift: timedelta = timedelta()
    """By how much a wrong clock is ahead; it may be negative."""
    name: str = ""
    """What it is called in reports; empty: its kind, and the code of an XID."""

    @property
    def label(self) -> str:
        """What it is called in reports."""
        if self.name:
            return self.name
        return f"xid {self.xid}" if self.kind is FaultKind.XID else self.kind.value

    @property
    def is_hardware(self) -> bool:
        """Whether the node is broken until something is done about it."""
        return self.cure is not Remedy.NONE or (self.lasts is None and self.kind in FAILS_CHECKS)


def events_of(fault: Fault, gpu: int, uuid: str, now: datetime) -> tuple[HealthEvent, ...]:
    """What the sensors read of a fault at this moment; empty for one that only fails checks."""
    say = _SAYINGS.get(fault.kind)
    if say is None:
        return ()
    event_type, metrics, sentence = say(fault)
    text = fault.message or sentence
    return (HealthEvent(event_type, gpu, uuid, metrics=metrics, message=text, timestamp=now),)


Saying = tuple[str, dict[str, str | int | float], str]


def _xid(fault: Fault) -> Saying:
    return "xid", {"xid_code": str(fault.xid)}, f"XID {fault.xid}"


def _temperature(fault: Fault) -> Saying:
    return "thermal", {"temperature": fault.temperature}, f"{fault.temperature} degrees"


def _memory(_fault: Fault) -> Saying:
    return "ecc_dbe", {"ecc_dbe_count": 1}, "an uncorrectable memory error"


def _nvlink(_fault: Fault) -> Saying:
    return "nvlink", {"link_id": 0}, "an NVLink error"


_SAYINGS: Mapping[FaultKind, Callable[[Fault], Saying]] = {
    FaultKind.XID: _xid,
    FaultKind.TEMPERATURE: _temperature,
    FaultKind.MEMORY: _memory,
    FaultKind.NVLINK: _nvlink,
}
