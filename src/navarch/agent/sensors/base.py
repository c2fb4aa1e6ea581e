"""What every sensor promises, so that the daemon need not know which one it reads.

A sensor is blocking and is called from one thread at a time, never from the event loop. A sensor
that sees no GPU says so by an empty answer; it never invents one, except the injected sensor,
which calls itself injected in everything it says.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable

from navarch.core.model.gpu import GPU, NodeSample
from navarch.core.model.report import CheckResult, HealthEvent
from navarch.errors import NavarchError

EVENT_TYPES = frozenset(
    [
        *("xid", "thermal", "power", "memory", "nvlink", "pcie"),
        *("driver_error", "ecc_sbe", "ecc_dbe", "sxid", "system", "interruption"),
    ]
)
"""The words that an event may have as its type: those that travel on the wire."""

WATCH_SYSTEMS = frozenset(
    f"DCGM_HEALTH_WATCH_{name}"
    for name in (
        *("PCIE", "NVLINK", "PMU", "MCU", "MEM", "SM"),
        *("INFOROM", "THERMAL", "POWER", "DRIVER", "NVSWITCH"),
    )
)
"""The words that an event may have as its system, besides the empty one."""


class SensorError(NavarchError):
    """A sensor cannot be read now; the text says which, why, and what would help."""


class Sensor(Protocol):
    """One way to know how the GPUs of this node are.

    Every method may block, for as long as the hardware does, and may raise `SensorError` when the
    sensor cannot be read at all. After an error the same method may be called again.
    """

    name: str
    """One word, shown in logs and as the label ``navarch.dev/sensors``."""
    injected: bool
    """Whether the readings are made up. Only the truth may drive anything but a test."""

    def gpus(self) -> tuple[GPU, ...]:
        """Describe the GPUs that are there, by index; empty when none is seen."""
        ...

    def sample(self) -> NodeSample:
        """Read each GPU that can be read now; one that cannot is left out, never made zero."""
        ...

    def check(self) -> tuple[CheckResult, ...]:
        """Run every check, each one result, the same names each time and in the same order."""
        ...

    def events(self) -> tuple[HealthEvent, ...]:
        """Give what happened since the last call, oldest first, each with the time it was sensed.

        An event is given once: the caller keeps it. What an earlier process was given is not
        given again.
        """
        ...

    def silent_until(self) -> datetime | None:
        """Tell until when an injected fault keeps the node from speaking.

        None, always, for real sensors; None too when such a fault is over or was cleared.
        """
        ...


@runtime_checkable
class HoldsGPUs(Protocol):
    """A sensor that keeps GPUs open, which therefore cannot be reset."""

    def close(self) -> None:
        """Let go of the GPUs; the next reading takes them up again. May block, may raise."""
        ...
