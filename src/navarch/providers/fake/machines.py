"""What a fake cloud is made of: its machines, and its answers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from msgspec import Struct

from navarch.errors import ProviderError
from navarch.providers.base import Instance, InstanceStatus

Call: TypeAlias = Literal["launch", "terminate", "list"]
"""The calls that a script can disturb."""

T = TypeVar("T")

ZERO: Final = timedelta()
HOUR: Final = timedelta(hours=1)


class Lost(Struct, frozen=True):
    """The result of a call whose answer never arrives."""


class Answer(Struct, Generic[T], frozen=True, kw_only=True):
    """What a call comes to: the cloud acts at once, the caller hears of it later."""

    result: T | ProviderError | Lost
    after: timedelta = ZERO
    """How long after the call it arrives; meaningless when it is lost."""


class Machine(Struct, frozen=True, kw_only=True):
    """A machine of the cloud, with the moments its life is made of."""

    instance: Instance
    """The machine as it is while it runs."""

    token: str
    made_at: datetime
    running_at: datetime
    terminating_at: datetime | None = None
    """When somebody asked for its end; None when nobody has."""

    gone_at: datetime | None = None
    """When it ends, which may lie ahead; None when no end is in sight."""

    vanished: bool = False
    """Whether it went without being asked to, and without a trace in any list."""

    is_spot: bool = False
    """Whether the cloud may take it away again."""

    noticed_at: datetime | None = None
    """When it was told that it is taken away; None when it was not."""

    price_per_hour: float = 0.0
    """US dollars, as the price list said when it was bought."""

    is_stranger: bool = False
    """Whether somebody else made it, who shares the account; lists of ours leave it out."""

    def status_at(self, at: datetime) -> InstanceStatus | None:
        """Say how far it had come at that moment; None before it was made."""
        if at < self.made_at:
            return None
        if self.gone_at is not None and at >= self.gone_at:
            return InstanceStatus.TERMINATED
        if self.terminating_at is not None and at >= self.terminating_at:
            return InstanceStatus.TERMINATING
        if at < self.running_at:
            return InstanceStatus.PROVISIONING
        return InstanceStatus.RUNNING

    def is_alive(self, at: datetime) -> bool:
        """Tell whether it exists at that moment, and so costs money."""
        return self.status_at(at) not in {None, InstanceStatus.TERMINATED}

    def cost(self, at: datetime) -> float:
        """Tell what it has cost by that moment, in US dollars."""
        end = at if self.gone_at is None else min(at, self.gone_at)
        return max(end - self.made_at, ZERO) / HOUR * self.price_per_hour


class Notice(Struct, frozen=True, kw_only=True):
    """The word of a cloud to a spot machine that it is taken away.

    A real one is read by the agent on the machine, from the metadata service; no list shows it.
    """

    instance: Instance
    noticed_at: datetime
    gone_at: datetime
    """When the machine ends, whatever it does."""
