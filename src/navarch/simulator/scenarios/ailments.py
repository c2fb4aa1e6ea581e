"""What a fault of a scenario is in truth: what puts it right, and how long it is there.

The cure of an XID comes from the catalogue of error codes, not from the policy that judges it: a
policy that resets what has to be replaced must be seen to fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from navarch.core.model.finding import Remedy
from navarch.policy import catalog
from navarch.policy.catalog import CodeClass
from navarch.simulator.twin.faults import FLAPS_EVERY, HOT, Fault, FaultKind

CLASS_CURES: Mapping[CodeClass, Remedy] = {
    CodeClass.RESET: Remedy.RESET_GPU,
    CodeClass.REBOOT: Remedy.REBOOT,
}
"""What ends a code of a class; of the others nothing has to be ended, or only advice says."""

ADVICE_CURES: Mapping[str, Remedy] = {
    "contact_support": Remedy.REPLACE,
    "plan_replacement": Remedy.REPLACE,
    "check_mechanical": Remedy.INSPECT,
    "update_software": Remedy.INSPECT,
    "enable_ecc_or_reboot": Remedy.REBOOT,
}
"""What ends a code by NVIDIA's advice, where its class does not say."""

CURES: Mapping[FaultKind, Remedy] = {
    FaultKind.TEMPERATURE: Remedy.REPLACE,
    FaultKind.MEMORY: Remedy.RESET_GPU,
    FaultKind.NVLINK: Remedy.REPLACE,
    FaultKind.BACKEND: Remedy.REBOOT,
    FaultKind.NVML: Remedy.REBOOT,
    FaultKind.BOOT: Remedy.REPLACE,
}
"""What ends the other kinds: heat comes from cooling that has failed, memory errors end when the
page is taken out of use, a driver that hangs is loaded again."""

CLOCK_OFF = timedelta(minutes=5)
"""By how much a clock that drifts is ahead where nothing says it."""


def cure_of_xid(code: int) -> Remedy:
    """What really ends an XID; none for one after which nothing is broken, or nobody knows."""
    row = catalog.xids().get(code)
    if row is None:
        return Remedy.NONE
    return CLASS_CURES.get(row.code_class) or ADVICE_CURES.get(row.advice, Remedy.NONE)


def is_application(code: int) -> bool:
    """Whether an XID is the application's own fault, or tells that nothing is wrong (43, 45)."""
    row = catalog.xids().get(code)
    harmless = (CodeClass.APPLICATION, CodeClass.INFORMATION)
    return row is not None and row.code_class in harmless


def fault_of(
    kind: str,
    *,
    xid: int | None = None,
    gpu: int | None = None,
    message: str = "",
    temperature: int | None = None,
    lasts: timedelta | None = None,
    every: timedelta | None = None,
    drift: timedelta | None = None,
) -> Fault:
    """Make a fault from the words of a scenario."""
    what = FaultKind(kind)
    cure = cure_of_xid(xid or 0) if what is FaultKind.XID else CURES.get(what, Remedy.NONE)
    return Fault(
        what,
        xid=xid or 0,
        gpu=-1 if gpu is None else gpu,
        message=message,
        cure=cure,
        lasts=lasts,
        temperature=HOT if temperature is None else temperature,
        every=FLAPS_EVERY if every is None else every,
        drift=CLOCK_OFF if drift is None else drift,
    )
