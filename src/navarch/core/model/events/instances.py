"""Facts about instances."""

from __future__ import annotations

from datetime import timedelta

from msgspec import field

from navarch.core.model.events.base import Event
from navarch.errors import QuotaScope


class LaunchRequested(Event, frozen=True, tag="launch_requested"):
    """A machine is wanted. From now on the provider is owed a launch under this id."""

    instance_id: str
    pool: str
    provider: str
    because: str
    instance_type: str = ""
    region: str = ""
    zone: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    spot: bool = False


class InstanceLaunched(Event, frozen=True, tag="instance_launched"):
    """The provider has the machine, and this is what it calls it."""

    instance_id: str
    ref: str
    because: str
    public_ip: str = ""
    private_ip: str = ""
    region: str = ""
    zone: str = ""
    on_trial: bool = False
    """Whether what was held against its offer is forgiven when its agent registers, not before.

    False in journals of older versions, where the launch itself forgave.
    """


class LaunchFailed(Event, frozen=True, tag="launch_failed"):
    """The provider refused, and surely made nothing."""

    instance_id: str
    failure: str
    """The kind of refusal, as a class name of the provider's errors."""
    because: str
    retry_after: timedelta = timedelta()
    """How long the provider wants to be left alone; zero when it does not say."""
    scope: QuotaScope | None = None
    """What the quota counts that is used up; None: all that the provider sells, or no quota."""


class LaunchUncertain(Event, frozen=True, tag="launch_uncertain"):
    """The provider may or may not have made the machine."""

    instance_id: str
    because: str


class LaunchCleared(Event, frozen=True, tag="launch_cleared"):
    """The machine was looked up and does not exist: the launch may be repeated."""

    instance_id: str
    because: str


class TerminationRequested(Event, frozen=True, tag="termination_requested"):
    """The machine is not wanted any more. From now on the provider is owed its end."""

    instance_id: str
    because: str
    trouble: bool = False
    """Whether the launch counts as failed, and slows further launches of the pool down."""


class TerminationAccepted(Event, frozen=True, tag="termination_accepted"):
    """The provider agreed to end the machine, or does not know it any more."""

    instance_id: str
    because: str


class InstanceTerminated(Event, frozen=True, tag="instance_terminated"):
    """The machine is gone from the provider's list, as requested."""

    instance_id: str
    because: str


class InstanceVanished(Event, frozen=True, tag="instance_vanished"):
    """The machine is gone without our doing, by two witnesses."""

    instance_id: str
    because: str
    failure: str = ""
    """``Vanished`` when its offer is to blame, because its agent never spoke; empty otherwise."""


class InstanceCondemned(Event, frozen=True, tag="instance_condemned"):
    """Repair will replace this machine: first buy, then end it."""

    instance_id: str
    because: str
    cause: str = ""
    """``silence``, ``sickness`` or ``lemon``."""
    hardware: tuple[str, ...] = ()
    """UUIDs of GPUs that are to be remembered, should they come back in another machine."""


class InstanceReprieved(Event, frozen=True, tag="instance_reprieved"):
    """A condemned machine is kept after all: what it was condemned for is over."""

    instance_id: str
    because: str


class DrainBegun(Event, frozen=True, tag="drain_begun"):
    """The replacement of a condemned machine serves: the old one is drained, then ended."""

    instance_id: str
    because: str


class ReleaseRequested(Event, frozen=True, tag="release_requested"):
    """The machine is too many: it is drained, and ended when it is empty."""

    instance_id: str
    because: str


class ReleaseRevoked(Event, frozen=True, tag="release_revoked"):
    """The machine is wanted again before it was ended."""

    instance_id: str
    because: str
