"""A pool: how many nodes of which kind are wanted, and inside which limits."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct, field

from navarch.core.model.finding import Remedy

HOUR = timedelta(hours=1)

TROUBLE_MEMORY = timedelta(minutes=15)
"""After how long without another failure the earlier ones are forgotten: three times the longest
wait between two launches, so that waiting for a retry is not mistaken for recovery."""

YOUNG = timedelta(minutes=10)
"""A machine that dies within this time after its launch counts as a failed launch: 73% of
failures come in the first 10 minutes (Aegis, read November 2026)."""


class Disruption(Struct, frozen=True, omit_defaults=True):
    """How much a pool may lose to our own repairs at one time."""

    max_unavailable: int = 1
    """Nodes being replaced at one time, at least 0.

    One by default: losing one node of an unknown pool is the most that is safe to guess.
    """
    max_unavailable_percent: float = 0.0
    """The same as a share of the pool's nodes, from 0 to 100. The larger of the two counts, so
    that a percentage never leaves a pool of three without any repair."""
    max_unavailable_per_zone: int = 0
    """Nodes being replaced at one time in any one zone; 0: as many as in the pool."""
    max_replacements_per_hour: int = 6
    """Nodes condemned within any hour, at least 0.

    Six by default: fleets of hundreds lose fewer than one node an hour to hardware, so a higher
    rate is more likely a fault of ours, or of the network.
    """


class Source(Struct, frozen=True, omit_defaults=True):
    """One seller that a pool may buy from."""

    provider: str
    priority: int = 0
    """The lowest is asked first, where the strategy goes by priority."""
    weight: int = 1
    """Its share where the strategy takes turns, at least 1."""
    regions: tuple[str, ...] = ()
    """Where to buy; empty: the pool's region."""
    zones: tuple[str, ...] = ()
    """Which parts of them; empty: the pool's zones."""
    instance_type: str = ""
    """Its own name of the type; empty: the pool's."""
    spot: bool = False
    """Whether machines that may be taken away are bought."""


class PoolSpec(Struct, frozen=True, omit_defaults=True):
    """What the configuration says about a pool."""

    name: str
    provider: str
    instance_type: str = ""
    region: str = ""
    zones: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    """All sellers; empty: `provider` alone."""
    strategy: str = "priority"
    """How offers are ranked, by a ranker's name."""
    cooldown: timedelta = timedelta(minutes=5)
    """How long an autoscaler lets a change of the target settle."""
    autoscaling: str = ""
    """What scales the pool, for people; empty: nothing does, and the minimum is held."""
    min_nodes: int = 0
    max_nodes: int = 1
    labels: dict[str, str] = field(default_factory=dict)
    ssh_key_names: tuple[str, ...] = ()
    ssh_user: str = ""
    """Who logs in on its machines to read their start-up logs; empty: nobody does."""
    ssh_private_key_path: str = ""
    """The file of the key to log in with; empty: nobody does."""
    user_data: str = ""
    spot_percent: float | None = None
    """Which share of the nodes may be machines that providers take away again, from 0 to 100; None:
    as each source says. Where they are sold out, others are bought in their place."""
    auto_replace: bool = True
    """Whether lost and sick nodes are replaced without asking."""
    unhealthy_after: int = 2
    """Reports in a row that have to confirm an unhealthy verdict before anything is repaired.

    Two: one report may be a slip of a sensor, and the next is a minute away.
    """
    ladder: tuple[Remedy, ...] = (Remedy.REPLACE,)
    """What repair may do to a sick node: any of reset_gpu, reboot and replace.

    Replacing only, by default: resets and reboots need agents that allow them.
    """
    replace_in_place: bool = False
    """Whether a sick node may be ended before its replacement is bought, where the pool is at its
    maximum. Lost nodes give nothing, and are ended first there in any case."""
    dry_run: bool = False
    """Whether repair only says what it would do."""
    disruption: Disruption = Disruption()


class Pool(Struct, frozen=True, omit_defaults=True):
    """A pool as the facts have made it."""

    spec: PoolSpec
    target: int
    """Nodes wanted, always between the limits."""
    target_because: str
    target_changed_at: datetime | None = None
    """When the target last changed; None: never since it was configured."""
    bought: dict[str, int] = field(default_factory=dict)
    """Launches asked for so far, by provider: whose turn it is survives restarts."""
    paused: bool = False
    """Whether an operator has stopped buying, repairing and scaling."""
    paused_because: str = ""
    retired: bool = False
    """Whether the configuration no longer has it. Its machines stay until somebody decides."""
    brake_because: str = ""
    """Why repair is stopped by itself; empty while it is not."""
    brake_acknowledged: bool = False
    """Whether a person has looked, and wants repair to try one node."""
    brake_half_open_at: datetime | None = None
    """Since when one repair may show that all is well again; None: not yet, or not halted."""
    brake_tolerated: int = 0
    """How many troubled nodes are known and accepted while one repair is tried."""
    failures: int = 0
    """Rounds of launches that gave no lasting node; forgotten when the last is long ago."""
    failed_at: datetime | None = None
    failure: str = ""
    """What the last one said."""
    replacements: tuple[datetime, ...] = ()
    """When nodes were condemned within the last hour, oldest first."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Everyone it may buy from, at least one."""
        return self.spec.sources or (Source(self.spec.provider),)

    @property
    def name(self) -> str:
        """The pool's name."""
        return self.spec.name

    @property
    def asleep(self) -> bool:
        """Whether nothing is bought or repaired for it."""
        return self.paused or self.retired
