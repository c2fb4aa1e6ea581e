"""Findings: what was concluded about a node from what its agent reported.

A finding says what is wrong (or was looked at and is not), which rule said so, about which event,
and what would put it right. A node's health is the worst of its findings.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from navarch.core.model.report import Health, HealthEvent


class Remedy(StrEnum):
    """What would put a fault right, from nothing to the gravest; each is a rung of the ladder."""

    NONE = "none"
    OBSERVE = "observe"
    RESTART_APP = "restart_app"
    """The application has to be restarted; the node is fine."""
    RESET_GPU = "reset_gpu"
    REBOOT = "reboot"
    REPLACE = "replace"
    INSPECT = "inspect"
    """Nothing that we can do: a person has to look."""


RUNG = {remedy: rung for rung, remedy in enumerate(Remedy)}
"""How grave each remedy is."""


class Finding(Struct, frozen=True, omit_defaults=True):
    """One conclusion about a node, and all the equal ones that followed it."""

    rule: str
    """The rule that spoke; ``check:NAME`` for a check of the agent's own."""
    status: Health
    remedy: Remedy
    since: datetime
    """When it was first concluded, by our clock."""
    seen: datetime
    """When it was last concluded."""
    event: HealthEvent | None = None
    """The newest event it is about; None for a check."""
    number: int = 0
    """The number of that event in the fleet, from 1; 0 for a check."""
    count: int = 1
    """How many events it stands for."""
    because: str = ""
    """What the rule or the check says, for people."""
    lasting: bool = False
    """Whether it is a debt: clean reports do not end it, only its remedy or a person does."""
    settles: bool = False
    """Whether it speaks for every earlier finding of its event type on the same GPU."""

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes two findings the same: the rule, the kind of event and the GPU."""
        if self.event is None:
            return (self.rule, "", -1)
        return (self.rule, self.event.kind, self.event.gpu_index)

    @property
    def bad(self) -> bool:
        """Whether anything is wrong."""
        return self.status in (Health.DEGRADED, Health.UNHEALTHY)


class Tally(Struct, frozen=True, array_like=True):
    """How many events of one kind came from one GPU within one minute, by our clock."""

    at: datetime
    """The beginning of the minute."""
    gpu_index: int
    count: int
