"""Orders: the commands that decisions give to agents."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from navarch.core.model import events as ev
from navarch.core.model import ids
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.settings import Settings


class Orders:
    """Gives commands; it counts those that are given before the next fact is folded."""

    def __init__(self, fleet: Fleet, now: datetime, settings: Settings) -> None:
        """Give none yet."""
        self._fleet = fleet
        self._now = now
        self._settings = settings
        self._given = 0

    def give(
        self,
        node_id: str,
        type_: CommandType,
        reason: str,
        parameters: Mapping[str, str] | None = None,
    ) -> ev.CommandIssued:
        """Give one more command."""
        self._given += 1
        return ev.CommandIssued(
            self._now,
            ids.command_id(self._fleet.tag, self._fleet.command_serial + self._given),
            node_id=node_id,
            type=type_,
            expires_at=self._now + self._settings.command_timeout,
            parameters=dict(parameters or {}),
            reason=reason,
        )
