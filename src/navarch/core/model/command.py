"""Commands: what operators ask a node's agent to do.

::

    ISSUED ──handed out──▶ DELIVERED ──▶ SUCCEEDED | FAILED | REFUSED
       └──────────────────────┴─────────▶ EXPIRED

Delivery is at least once: a poll returns every command that has no result yet. The agent executes
a command once, by its id, and repeats the acknowledgement for as long as it is asked.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field


class CommandType(StrEnum):
    """What a command asks for."""

    CORDON = "cordon"
    UNCORDON = "uncordon"
    DRAIN = "drain"
    RUN_DIAGNOSTIC = "run_diagnostic"
    TERMINATE = "terminate"
    GPU_RESET = "gpu_reset"
    REBOOT = "reboot"
    LOAD_MODEL = "load_model"
    UNLOAD_MODEL = "unload_model"
    START_REPLICA = "start_replica"
    STOP_REPLICA = "stop_replica"


class CommandState(StrEnum):
    """How far a command has come."""

    ISSUED = "issued"
    DELIVERED = "delivered"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    EXPIRED = "expired"


FINISHED = frozenset(
    {CommandState.SUCCEEDED, CommandState.FAILED, CommandState.REFUSED, CommandState.EXPIRED}
)

OUTPUT_BYTES_MAX = 64 * 1024
"""How much of a command's output is kept; of longer ones the tail (the wire's rule)."""


class Command(Struct, frozen=True, omit_defaults=True):
    """One request to one node, and what came of it."""

    id: str
    node_id: str
    type: CommandType
    issued_at: datetime
    expires_at: datetime
    parameters: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    state: CommandState = CommandState.ISSUED
    delivered_at: datetime | None = None
    acknowledges: bool = True
    """Whether its agent reports results; agents of the older protocol do not."""
    finished_at: datetime | None = None
    message: str = ""
    output: str = ""

    @property
    def finished(self) -> bool:
        """Whether it has a result, or never will."""
        return self.state in FINISHED
