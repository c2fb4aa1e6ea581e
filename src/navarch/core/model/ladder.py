"""Repairs of a node that stays: which rung is tried, and how far it has come.

::

    DRAINING ──empty──▶ ACTING ──done──▶ PROBATION ──clean for long enough──▶ succeeded
        │                 │                  │
        └─ verdict gone   └─ refused, late   └─ sick again                    ▶ revoked, failed

Replacing is no repair of this kind: it is a purchase and an end (`navarch.core.repair`).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from navarch.core.model.finding import Remedy


class Stage(StrEnum):
    """How far a repair has come."""

    DRAINING = "draining"
    ACTING = "acting"
    """The command is on its way to the agent, or under way there."""
    PROBATION = "probation"
    """It is done, and the node has to show that it helped."""


class Outcome(StrEnum):
    """How a repair ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REVOKED = "revoked"
    """It was not needed any more before anything was done."""


class Repair(Struct, frozen=True, omit_defaults=True):
    """A repair that is under way."""

    rung: Remedy
    begun_at: datetime
    stage: Stage
    stage_since: datetime
    because: str
    command_id: str = ""
    """The command that does it; empty before ACTING."""
    gpu: str = ""
    """Which GPU is reset, by its index, or ``all``; empty: it is no reset, or none yet."""


class Attempt(Struct, frozen=True, array_like=True):
    """A repair that has ended."""

    rung: Remedy
    at: datetime
    outcome: Outcome


class Told(StrEnum):
    """What the workload manager is told about a node, and what it was told last."""

    OPEN = "open"
    CORDONED = "cordoned"
    DRAINING = "draining"


class Lemon(Struct, frozen=True, omit_defaults=True):
    """A GPU that was on machines which had to be replaced for being sick."""

    count: int
    """How many times."""
    at: datetime
    """When last."""
    because: str
    instance_id: str = ""
    """The last of them: one machine that is condemned twice counts once."""
