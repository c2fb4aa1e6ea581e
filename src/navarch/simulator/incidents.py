"""Incidents: the names of everything that goes wrong in a run, so that it can be counted.

Whoever lets one happen counts it in `Dice.happened`, at the moment when it does harm and not when
it is drawn. `EVERY` is what a long sweep has to have seen (`simulator.coverage`).
"""

from __future__ import annotations

from enum import StrEnum

from navarch.simulator.crashes import Boundary
from navarch.simulator.hardware import Kind


class Incident(StrEnum):
    """One thing that goes wrong."""

    # The network between agents and the control plane.
    REQUEST_LOST = "network: a request is lost"
    ANSWER_LOST = "network: an answer is lost"
    DOUBLED = "network: a request comes twice"
    DELAYED = "network: a request or an answer takes seconds"
    OVERTAKEN = "network: a request comes after a younger one of its agent"
    CUT = "network: some agents are cut off"
    NODE_PARTED = "network: a node is parted from us"
    ZONE_PARTED = "network: a zone is parted from us"
    REGION_PARTED = "network: a region is parted from us"
    UNHEARD = "network: requests do not come through, answers would"
    DEAF = "network: requests come through, answers do not"

    # Agents.
    STILLBORN = "agent: it never speaks"
    KILLED = "agent: its process is gone for good"
    RESTARTED = "agent: its process is started again"
    FROZEN = "agent: it stands still"
    FLAPPING = "agent: its process goes and comes, again and again"
    CONTRADICTION = "agent: its checks and samples contradict each other"
    FOREIGN_GPU = "agent: it reports the GPU of another machine"
    NO_SUCH_GPU = "agent: it reports a GPU that it does not have"
    CLOCK_OFF = "agent: its clock is wrong"
    CLOCK_JUMPS = "agent: its clock jumps"
    CLOCK_DRIFTS = "agent: its clock drifts"
    REDESCRIBED = "agent: it registers again as another machine"
    ITS_DISK_FULL = "agent: it cannot write to its disk"
    REPORTED_AGAIN = "agent: it takes up reports of the run before"
    INTERRUPTED = "agent: its machine is taken away without a word"
    NOTICED = "agent: its machine is taken away with notice"
    GUEST = "agent: a machine registers that nobody here has bought"

    # Repairs and the workload manager.
    LEMON = "machine: it gets a broken GPU of an older one"
    ALARM = "machine: many fall ill at once, or are said to"
    REPAIR_REFUSED = "repair: the agent refuses"
    REPAIR_FAILED = "repair: the agent tries in vain"
    REPAIR_HANGS = "repair: nothing is heard of it again"
    LOST_IN_REBOOT = "repair: the machine does not come back from a reboot"
    DRAIN_STUCK = "repair: the work does not end"
    WORKLOAD_REFUSED = "workload manager: it says no"
    WORKLOAD_AWAY = "workload manager: it does nothing and does not answer"
    WORKLOAD_MUTE = "workload manager: it does what it is told and does not answer"

    # Clouds.
    OUTAGE = "cloud: it refuses everything for a while"
    HIDDEN = "cloud: a list leaves out a machine against its promise"
    LATE_LIST = "cloud: a list shows the past"
    LATE_LAUNCH = "cloud: a launch takes effect late"
    STOCK_OUT = "cloud: it sells nothing somewhere"
    NEVER_SELLS = "cloud: it sells nothing any more, for good"
    HALF_MADE = "cloud: it lists a machine and refuses the launch later"
    QUOTA = "cloud: the account has as many machines as it may have"
    RATE = "cloud: it is asked too often"
    BAD_KEY = "cloud: it refuses our key"
    PRICE_CHANGED = "cloud: a machine costs twice or half of what it did"
    NO_PRICES = "cloud: its price list cannot be read"
    SLOW_BOOT = "cloud: a machine takes more than twice its time to boot"
    VANISHED = "cloud: a machine vanishes"
    TWIN = "cloud: one launch makes two machines, and both agents have one id"

    # Us.
    STALLED = "control plane: it stands still"
    DISK_FULL = "control plane: the journal cannot be written"
    RECONFIGURED = "control plane: another configuration"
    POOL_DROPPED = "control plane: a pool leaves the configuration"
    POLICY_CHANGED = "control plane: another policy judges"


CALLS = ("launch", "terminate", "list")

HOW = ("refused", "request lost", "answer lost", "answer late")


def ailment(kind: Kind) -> str:
    """Name an ailment of a machine."""
    return f"machine: {kind.value}"


def call_fault(call: str, how: str) -> str:
    """Name a fault of one call to a cloud; both are words of the tuples above."""
    return f"cloud: {call} {how}"


def crash(boundary: Boundary) -> str:
    """Name a death of the control plane."""
    return f"crash: {boundary.value}"


EVERY: tuple[str, ...] = (
    *(each.value for each in Incident),
    *(ailment(kind) for kind in Kind),
    *(call_fault(call, how) for call in CALLS for how in HOW),
    *(crash(boundary) for boundary in Boundary),
)
"""All of them."""
