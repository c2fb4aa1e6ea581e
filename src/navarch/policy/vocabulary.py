"""The words a rule may use: its variables, its functions, and the values that people write.

The words of events and watch systems are those of the wire (``HealthEventType`` and
``HealthWatchSystem``, in lower case and with the prefix ``DCGM_HEALTH_WATCH_``); `sxid` and
`system` are events of NVSwitches and of the machine around the GPUs.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

EVENT_TYPES: Final = (
    "xid",
    "sxid",
    "thermal",
    "power",
    "memory",
    "nvlink",
    "pcie",
    "driver_error",
    "ecc_sbe",
    "ecc_dbe",
    "system",
    "interruption",
    "unknown",
)
"""The types of events that agents report."""

SYSTEMS: Final = tuple(
    f"DCGM_HEALTH_WATCH_{word}"
    for word in (
        *("PCIE", "NVLINK", "PMU", "MCU", "MEM", "SM", "INFOROM", "THERMAL", "POWER", "DRIVER"),
        "NVSWITCH",
    )
)
"""The watch systems that agents name."""

CODE_METRICS: Final = {"xid": "xid_code", "sxid": "sxid_code"}
"""Event types that carry a code of a catalogue, to the metric it is in."""

EVENT_FIELDS: Final = (
    "event_type",
    "gpu_index",
    "gpu_uuid",
    "message",
    "metrics",
    "system",
    "timestamp",
)
"""What a rule can read of an event, each as ``event.NAME``."""

FUNCTIONS: Final = ("count", "node_count")
"""Functions over the past: of the event's own GPU, and of its whole node."""


def nearest(word: str, known: Sequence[str]) -> str:
    """Say which known word was probably meant; empty when none is near."""
    near = difflib.get_close_matches(word[:64], known, n=1)
    if not near and len(word) > 2:
        near = [each for each in known if each.startswith(word)]
    return f"; did you mean {near[0]}?" if near else ""
