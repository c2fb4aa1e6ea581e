"""What a control plane is among those that share its journal, and what that means for its callers.

The leader answers everything. A standby answers what only reads, from what it has folded, and
refuses the rest: the refusal names the leader in its text and in a header, so that clients which
know several addresses go on to it. Every answer of a standby says what it is in a header too, for
a standby hears no heartbeats and cannot show them.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, Protocol

from msgspec import Struct

from navarch.errors import WireError
from navarch.wire.auth import ACCESS, Role
from navarch.wire.client import LEADER_HEADER, ROLE_HEADER

LEADER: Final = "leader"
STANDBY: Final = "standby"
FAILED: Final = "failed"
"""It neither leads nor follows: it is starting, or about to end."""


class Standing(Struct, frozen=True):
    """What ``/leaderz`` says."""

    role: str = LEADER
    """``leader``, ``standby`` or ``failed``."""
    leader: str = ""
    """Where the leader's API is; empty when nobody leads, or it did not say."""
    holder: str = ""
    """Who the leader is, for people."""
    term: int = 0
    """The how manieth leader that is; 0 where a journal has one writer by nature."""
    seq: int = 0
    """The newest fact that is folded here."""
    behind_seconds: float = 0.0
    """How long ago a standby has last read the journal to its end; 0 for a leader."""
    node_key: str = ""
    """A mark of the key of node tokens, which all control planes of a fleet have to share."""

    @property
    def status(self) -> HTTPStatus:
        """200 for the leader alone, so that a load balancer sends writes there."""
        return HTTPStatus.OK if self.role == LEADER else HTTPStatus.SERVICE_UNAVAILABLE

    @property
    def refusal(self) -> str:
        """Why a standby does nothing that changes something."""
        where = f"the leader is {self.leader}" if self.leader else "nobody leads at the moment"
        return f"this control plane is a standby; {where}"

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What is added to every answer; nothing for a leader."""
        if self.role != STANDBY:
            return []
        role = (ROLE_HEADER.encode(), self.role.encode())
        if not self.leader or not self.leader.isascii() or not self.leader.isprintable():
            return [role]
        return [role, (LEADER_HEADER.encode(), self.leader.encode())]


class Stands(Protocol):
    """Knows what a control plane is."""

    @property
    def leads(self) -> bool:
        """Whether it leads: asked on every call."""
        ...

    def standing(self) -> Standing:
        """Say all of it. Cost: O(1)."""
        ...


class Alone:
    """One that shares its journal with nobody."""

    leads = True

    def standing(self) -> Standing:
        """Say that it leads."""
        return Standing()


def only_reads(method: str) -> bool:
    """Whether a method changes nothing: those that a viewer may call."""
    access = ACCESS.get(method)
    return access is not None and access.role is Role.VIEWER


def check_leads(stands: Stands, method: str) -> None:
    """Refuse what a standby may not do.

    Raises `WireError` with ``unavailable``, which names the leader.
    """
    if stands.leads or only_reads(method):
        return
    standing = stands.standing()
    if standing.role == STANDBY:  # one that is about to end says so itself
        raise WireError("unavailable", standing.refusal, leader=standing.leader)
