"""What can go wrong with a call to the double of Google's Compute Engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class Refuse:
    """The call is refused, and nothing is done."""

    status: int
    reason: str
    message: str = "scripted by the test"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fail:
    """The call is accepted, and its operation fails; with `leaves` the machine is there still."""

    code: str
    status: int = 503
    message: str = "scripted by the test"
    leaves: bool = False


@dataclass(frozen=True)
class HangUp:
    """The connection ends without an answer, before or after the deed."""

    is_done: bool


@dataclass(frozen=True)
class Silence:
    """The deed is done, and no answer ever comes."""


@dataclass(frozen=True)
class Raw:
    """An answer of somebody else's making."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Fault: TypeAlias = "Refuse | Fail | HangUp | Silence | Raw | None"
