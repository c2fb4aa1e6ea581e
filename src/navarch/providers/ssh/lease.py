"""A lease: what is written on a machine while it is lent, and what a look at it tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct, field

from navarch.providers.base import FLEET_LABEL, ProvisionRequest

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What a lease may be named by, since its folder is: our id of the instance."""

LEASE_BYTES_MAX: Final = 256 * 1024
"""How long a lease may be: labels are all that is long in it."""


class Unreadable(Exception):
    """What a machine tells of its lease makes no sense."""


class State(StrEnum):
    """How far the lending of a machine has come. The words are those of `remote.LOOK`."""

    FREE = "free"
    CLAIMED = "claimed"
    """Somebody is about to lend it. Until it is lent it is no machine of anybody's."""
    STALE = "stale"
    """It was claimed, and whoever did so has not come back for it: free for others."""
    LENT = "lent"
    RETURNING = "returning"
    """What was made on it is being removed."""


STATES: Final = frozenset(map(str, State))


class Lease(Struct, frozen=True, kw_only=True):
    """Who has a machine. It decodes for ever: a later field has a default."""

    name: str
    """Our id of the instance."""
    token: str
    nonce: str
    """Tells this claim from another of the same name, before and after it."""
    instance_type: str = ""
    region: str = ""
    zone: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    lent_at: str = ""
    """By the control plane's clock; for people."""

    @property
    def fleet(self) -> str:
        """Whose it is."""
        return self.labels.get(FLEET_LABEL, "")

    def is_of(self, request: ProvisionRequest) -> bool:
        """Whether it was asked for by a request of this name, token and fleet."""
        same_fleet = self.fleet == request.labels.get(FLEET_LABEL, "")
        return same_fleet and (self.name, self.token) == (request.name, request.token)


class Sight(Struct, frozen=True, kw_only=True):
    """What a look at a machine told."""

    state: State
    lease: Lease | None = None
    """None exactly while it is free."""
    has_ended: bool = False
    """Whether the name that was asked for had this machine once, and has it no more."""


def written(lease: Lease) -> bytes:
    """Write a lease as its file: a line for the shell, and the whole in JSON."""
    return f"{lease.name} {lease.nonce}\n".encode() + msgspec.json.encode(lease) + b"\n"


def read_sight(printed: bytes) -> Sight:
    """Read what a look printed.

    :raises Unreadable: it is nothing that a look prints, or its lease is damaged
    """
    first, _, rest = printed.partition(b"\n")
    words = first.decode("ascii", errors="replace").split()
    if len(words) != 3 or words[0] != "navarch-lease" or words[1] not in STATES:
        raise Unreadable(f"expected the words of a look, found {printed[:60]!r}")
    state = State(words[1])
    has_ended = words[2] == "ended"
    if state is State.FREE:
        return Sight(state=state, has_ended=has_ended)
    head, _, body = rest.partition(b"\n")
    try:
        lease = msgspec.json.decode(body, type=Lease)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"its lease is damaged: {error}") from error
    if head != f"{lease.name} {lease.nonce}".encode() or NAME.fullmatch(lease.name) is None:
        raise Unreadable(f"its lease is damaged: {head[:60]!r}")
    return Sight(state=state, lease=lease, has_ended=has_ended)
