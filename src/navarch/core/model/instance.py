"""An instance: one machine that we bought, or are buying, from a provider.

::

    PROVISIONING ──launched──▶ PENDING_REGISTRATION ──registered──▶ RUNNING
         │    ╲                        │                               │
      refused  ╲ requested             │ requested                     │ requested
         ▼      ▼                      ▼                               ▼
      FAILED   TERMINATING ◀───────────┴───────────────────────────────┘
                    └──gone from the provider's list──▶ TERMINATED ◀── vanished by itself

A refusal may come late, when a list has shown the half-made machine already, or its end is
requested: as long as no agent has spoken the launch has failed all the same.

Every waiting state has a deadline (`navarch.core.lifecycle`). A machine whose launch has an
unknown outcome stays PROVISIONING with `uncertain_since` set, and is looked up before anything
is repeated.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field


class InstanceState(StrEnum):
    """Where an instance is in its life."""

    PROVISIONING = "provisioning"
    PENDING_REGISTRATION = "pending_registration"
    RUNNING = "running"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"


LIVE = frozenset(
    {InstanceState.PROVISIONING, InstanceState.PENDING_REGISTRATION, InstanceState.RUNNING}
)
"""States in which an instance is wanted. Booting ones count: they were bought to be there."""

ENDED = frozenset({InstanceState.TERMINATED, InstanceState.FAILED})
"""States that nothing leaves."""


class Instance(Struct, frozen=True, gc=False, omit_defaults=True):
    """One machine, from the wish to buy it until it is gone from the provider's list."""

    id: str
    """Ours, made before the launch; the provider gets it as name, label and token."""
    pool: str
    provider: str
    state: InstanceState
    requested_at: datetime
    because: str
    """Why it is in this state."""
    instance_type: str = ""
    region: str = ""
    zone: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    spot: bool = False
    offer: str = ""
    """The key of the offer that it was asked of: its own place may be known better since. Empty
    in snapshots of older versions."""
    ref: str = ""
    """The provider's own id; empty until learned."""
    public_ip: str = ""
    private_ip: str = ""
    uncertain_since: datetime | None = None
    """When we lost sight of a launch or of a machine without a ref; None when all is known."""
    launched_at: datetime | None = None
    on_trial: bool = False
    """Whether its offer is forgiven only when its agent registers, which it has not yet."""
    registered_at: datetime | None = None
    terminating_since: datetime | None = None
    terminate_accepted_at: datetime | None = None
    """When the provider last agreed to end it; None before the first time."""
    ended_at: datetime | None = None
    condemned_at: datetime | None = None
    """When repair decided to replace it; None while it is wanted."""
    condemned_because: str = ""
    condemned_for: str = ""
    """The cause: ``silence``, ``sickness`` or ``lemon``; empty in journals of version 0.1."""
    draining_since: datetime | None = None
    """Since when it is drained because its replacement serves; None before."""
    interrupted_at: datetime | None = None
    """When its provider said that it will take it away; None: it has not."""
    interrupted_until: datetime | None = None
    """When it will be gone, by the provider's word; None: it did not say, or will not."""
    releasing_since: datetime | None = None
    """Since when it is drained because it is too many; None while it is wanted."""

    @property
    def live(self) -> bool:
        """Whether the machine is wanted, booting included."""
        return self.state in LIVE

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED

    @property
    def current(self) -> bool:
        """Whether its pool counts on it: it is wanted, and nothing takes it out of service."""
        return self.live and not (self.condemned or self.releasing or self.interrupted)

    @property
    def releasing(self) -> bool:
        """Whether it is drained to be ended, and may still be called back."""
        return self.releasing_since is not None

    @property
    def interrupted(self) -> bool:
        """Whether its provider will take it away."""
        return self.interrupted_at is not None

    @property
    def condemned(self) -> bool:
        """Whether a replacement is being bought for it."""
        return self.condemned_at is not None
