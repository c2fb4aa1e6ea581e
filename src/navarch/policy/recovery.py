"""XID 154: the driver's own verdict, "GPU recovery action changed from 0x0 (None) to 0x1 (…)".

It is about another XID on the same GPU. The number decides: drivers have changed the words ("Node
Reboot Required" has become "OS Reboot"). Numbers up to 4: NVIDIA's driver from branch R565 on; up
to 7: ``nvmlDeviceGpuRecoveryAction_t`` as nvidia-ml-py 13.615 has it (read November 2026).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from navarch.policy.readings import plain


class Recovery(StrEnum):
    """What the driver asks for, in the order of its numbers; the last is ours."""

    NONE = "none"
    GPU_RESET = "gpu_reset"
    NODE_REBOOT = "node_reboot"
    DRAIN_P2P = "drain_p2p"
    DRAIN_AND_RESET = "drain_and_reset"
    RECOVER_IMEX = "recover_imex"
    BUS_RESET = "bus_reset"
    SYSTEM_REBOOT = "system_reboot"
    UNREADABLE = "unreadable"
    """The message says nothing that we understand."""


NUMBER_METRIC: Final = "recovery_action_code"
"""The metric that holds the number, where the agent has read it out of the line, or asked NVML."""
WORDS_METRIC: Final = "recovery_action"
"""The metric that holds the driver's words."""

_NUMBERS: Final = tuple(Recovery)[:-1]
_CHANGED = re.compile(
    r"recovery action changed from (?:0x[0-9a-fA-F]{1,8} )?\([^()]{0,40}\)"
    r" to (?:0x([0-9a-fA-F]{1,8}))? ?(?:\(([^()]{0,40})\))?"
)
_WORDS: Final = {
    "none": Recovery.NONE,
    "gpu reset required": Recovery.GPU_RESET,
    "node reboot required": Recovery.NODE_REBOOT,
    "os reboot": Recovery.NODE_REBOOT,
    "drain p2p": Recovery.DRAIN_P2P,
    "drain and reset": Recovery.DRAIN_AND_RESET,
}


def parse_recovery(message: str, number: object = None, words: object = None) -> Recovery:
    """Read the newest recovery action out of metrics, or else out of a kernel line.

    The number wins, then the line, then the words. `Recovery.UNREADABLE` where nothing says it.
    """
    if number is not None:
        return _numbered(plain(number))
    found = None
    for found in _CHANGED.finditer(message):  # noqa: B007  # the last one is wanted
        continue
    if found is not None and found[1]:
        return _numbered(int(found[1], 16))
    said = found[2] if found is not None else words
    return _WORDS.get(str(said or "")[:64].strip().lower(), Recovery.UNREADABLE)


def _numbered(number: object) -> Recovery:
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(_NUMBERS):
        return _NUMBERS[number]
    return Recovery.UNREADABLE
