"""What goes into an agent's duties and what comes out: one turn is one input and its outputs.

The daemon and the simulator both speak these words, which is why they are not in either. The
shell that performs outputs owes the duties an answer to each `Send`, `ReadSensors` and `Execute`;
to `Send` exactly one of the answers below or `CallFailed`, however long that takes; to `CheckBoot`
a `BootChecked`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct, field

from navarch.core.model.command import CommandState
from navarch.core.model.gpu import GPU, NodeSample
from navarch.core.model.messages import (
    AckCommand,
    Heartbeat,
    PollCommands,
    RegisterNode,
    ReportHealth,
)
from navarch.core.model.replica import NodeServing
from navarch.core.model.report import CheckResult, HealthEvent

Request = RegisterNode | Heartbeat | ReportHealth | PollCommands | AckCommand
"""The calls that an agent makes."""


class Order(Struct, frozen=True):
    """A command as it reaches the node."""

    id: str
    type: str
    """A word of `CommandType`, or one that this agent does not know and will refuse."""
    parameters: dict[str, str] = field(default_factory=dict)


# --- in --------------------------------------------------------------------------------------


class Tick(Struct, frozen=True):
    """Time has passed."""


class RegisterAnswered(Struct, frozen=True):
    """The control plane knows the node, and says how it wants it to behave."""

    call: int
    """The number of the `Send` that is answered; only an answer to the last one counts."""
    heartbeat_interval: timedelta | None = None
    """None means as before."""
    health_check_interval: timedelta | None = None
    """None means as before."""
    enabled_checks: tuple[str, ...] = ()
    """Which checks to report; none means all."""


class HeartbeatAnswered(Struct, frozen=True):
    """The heartbeat counted."""

    call: int
    commands_pending: bool = False
    """Whether to poll now."""
    heartbeat_interval: timedelta | None = None
    """None means as before."""


class HealthAnswered(Struct, frozen=True):
    """The health report is safe with the control plane."""

    call: int


class CommandsReceived(Struct, frozen=True):
    """The poll brought these, oldest first; any of them may have come before."""

    call: int
    orders: tuple[Order, ...] = ()


class AckAnswered(Struct, frozen=True):
    """The result of a command is safe with the control plane."""

    call: int


class CallFailed(Struct, frozen=True):
    """A call was refused or did not arrive."""

    call: int
    code: str
    """A Connect code; `unavailable` or `deadline_exceeded` when nobody answered."""
    text: str = ""
    retry_after: timedelta | None = None
    """How long not to ask again, at least; None: nobody said."""


class SensorsRead(Struct, frozen=True):
    """What the sensors say."""

    sample: NodeSample | None = None
    """None when they could not be read: absent is not zero."""
    results: tuple[CheckResult, ...] = ()
    events: tuple[HealthEvent, ...] = ()
    """Those that were never given before."""
    silent_until: datetime | None = None
    """Until when an injected fault wants the node to say nothing; None means it may speak."""


class EventsSensed(Struct, frozen=True):
    """Sensors that answer quickly have seen this; a slower one is still being read."""

    events: tuple[HealthEvent, ...]
    """As in `SensorsRead`: given once."""


class ServingSeen(Struct, frozen=True):
    """What the node serves is not what it was."""

    serving: NodeServing
    """All of it."""
    urgent: bool = True
    """Whether a state has changed; otherwise only more bytes are there."""


class BootChecked(Struct, frozen=True):
    """What came of the check that precedes registration."""

    passed: bool
    because: str
    """What was found, for people."""
    gpus: tuple[GPU, ...] = ()
    """Those that are there."""
    may_register: bool = False
    """Whether the node may register although it did not pass."""


class CommandFinished(Struct, frozen=True):
    """A command was executed, and this came of it."""

    id: str
    state: CommandState
    message: str = ""
    output: str = ""


Answer = (
    RegisterAnswered
    | HeartbeatAnswered
    | HealthAnswered
    | CommandsReceived
    | AckAnswered
    | CallFailed
)
"""How a call can end."""

Input = Tick | Answer | SensorsRead | EventsSensed | ServingSeen | BootChecked | CommandFinished
"""What an agent can learn."""


# --- out -------------------------------------------------------------------------------------


class Send(Struct, frozen=True):
    """Make this call. There is never more than one at a time."""

    call: int
    """Counts up from 1; the answer carries it."""
    request: Request


class ReadSensors(Struct, frozen=True):
    """Take a sample and collect new events. There is never more than one reading at a time."""

    checks: bool
    """Whether to run the checks too."""


class CheckBoot(Struct, frozen=True):
    """Find out whether the machine came up whole. There is never more than one at a time."""


class KeepReports(Struct, frozen=True):
    """Write these down, in the place of what was written before: they must outlive the agent."""

    reports: tuple[ReportHealth, ...]
    """Reports with events that the control plane has not taken, oldest first; () when none."""


class Execute(Struct, frozen=True):
    """Carry this out, once.

    There is never more than one at a time, but for those of `navarch.agent.assignments.BESIDE`.
    """

    order: Order


class Remark(Struct, frozen=True):
    """Something for the log: nothing has to be done about it."""

    what: str
    """A few words with underscores, such as ``server_away``."""
    facts: dict[str, str] = field(default_factory=dict)
    grave: bool = False
    """Whether a person should know."""


class Stop(Struct, frozen=True):
    """End the agent, successfully. Nothing comes after it."""

    because: str


Output = Send | ReadSensors | CheckBoot | KeepReports | Execute | Remark | Stop
"""What an agent can want."""
