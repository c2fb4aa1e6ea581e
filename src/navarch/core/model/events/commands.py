"""Facts about commands."""

from __future__ import annotations

from datetime import datetime

from msgspec import field

from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.events.base import Event


class CommandIssued(Event, frozen=True, tag="command_issued"):
    """An operator asked something of a node."""

    command_id: str
    node_id: str
    type: CommandType
    expires_at: datetime
    parameters: dict[str, str] = field(default_factory=dict)
    reason: str = ""


class CommandDelivered(Event, frozen=True, tag="command_delivered"):
    """The command was handed to the node's agent, for the first time."""

    command_id: str
    node_id: str
    acknowledges: bool = True


class CommandFinished(Event, frozen=True, tag="command_finished"):
    """The command has a result, or has progressed; `state` says which."""

    command_id: str
    node_id: str
    state: CommandState
    message: str = ""
    output: str = ""
