"""Orders: the commands that decisions give to agents."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from navarch.core.model import events as ev
from navarch.core.model import ids
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.settings import Settings


def order(
    fleet: Fleet,
    node_id: str,
    type_: CommandType,
    *,
    nth: int = 1,
    now: datetime,
    settings: Settings,
    reason: str,
    parameters: Mapping[str, str] | None = None,
) -> ev.CommandIssued:
    """Give a command; it is the `nth` that is given before the next fact is folded."""
    return ev.CommandIssued(
        now,
        ids.command_id(fleet.tag, fleet.command_serial + nth),
        node_id=node_id,
        type=type_,
        expires_at=now + settings.command_timeout,
        parameters=dict(parameters or {}),
        reason=reason,
    )
