"""What may be written in a scenario: every key, its type, its default and its meaning.

The structs are read by machines, as those of the product's configuration are: `reading` checks a
file against them. ``pools`` and ``defaults`` are the configuration's own, so that a pool can be
tried as it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct, field

from navarch.config.key import NAME, WORD, Key
from navarch.config.schema import Defaults, Pool
from navarch.config.values import DURATION, INTERVAL
from navarch.errors import ConfigError
from navarch.simulator.scenarios.clouds_schema import Cloud, ControlPlane
from navarch.simulator.scenarios.events_schema import TEXT_MAX, Assertion, Event, FleetNode
from navarch.simulator.scenarios.stress_schema import Stress
from navarch.simulator.scenarios.world_schema import Network, Outages

DURATION_MAX = timedelta(days=366)
"""How long a run may last."""
POOLS_MAX = 1_000


class Document(Struct, frozen=True, kw_only=True):
    """A scenario as it is written."""

    name: Annotated[str, Key("What it is called.", form=WORD)]
    description: Annotated[str, Key("What it is about.", maximum=TEXT_MAX)] = ""
    duration: Annotated[
        timedelta | None, Key("How long it lasts. Absent: until its last event.", form=INTERVAL)
    ] = None
    seed: Annotated[
        int | None, Key("Where chance begins, unless --seed says.", minimum=0, maximum=2**53)
    ] = None
    server: Annotated[ControlPlane, Key("The control plane.")] = ControlPlane()
    providers: Annotated[
        dict[str, Annotated[Cloud, Key("One seller.")]],
        Key("Who sells machines, by the names that pools use.", maximum=POOLS_MAX, names=NAME),
    ] = {}
    defaults: Annotated[Defaults, Key("What pools say that do not say it themselves.")] = Defaults()
    pools: Annotated[
        dict[str, Annotated[Pool, Key("One pool, as in a configuration.")]],
        Key("The pools, by name.", maximum=POOLS_MAX, names=NAME),
    ] = {}
    load: Annotated[
        dict[
            str,
            Annotated[dict[str, Annotated[object, Key("Anything.")]], Key("The work on one pool.")],
        ],
        Key("How much work wants to run on which pool.", maximum=POOLS_MAX, names=NAME),
    ] = {}
    jobs: Annotated[
        tuple[
            Annotated[dict[str, Annotated[object, Key("Anything.")]], Key("One job, or several.")],
            ...,
        ],
        Key("Training jobs, which run on nodes and die with them."),
    ] = ()
    backfill: Annotated[
        bool, Key("Whether a job that fits may go before one that waits for more nodes.")
    ] = False
    network: Annotated[Network, Key("The network between nodes and control plane.")] = Network()
    outages: Annotated[Outages, Key("How the control plane itself fails.")] = Outages()
    fleet: Annotated[
        tuple[Annotated[FleetNode, Key("One node.")], ...], Key("Nodes that nobody buys.")
    ] = ()
    stress: Annotated[Stress | None, Key("A fleet and faults that are made up.")] = None
    events: Annotated[
        tuple[Annotated[Event, Key("One event.")], ...],
        Key("What happens when; of two at one moment the first comes first."),
    ] = ()
    assertions: Annotated[
        tuple[Annotated[Assertion, Key("One of them.")], ...], Key("What must be so at the end.")
    ] = ()
    allow: Annotated[
        tuple[
            Annotated[
                Literal[
                    "doubled",
                    "leaked",
                    "above_max",
                    "over_budget",
                    "one_witness",
                    "application",
                    "not_replaced",
                    "opaque",
                ],
                Key("An invariant."),
            ],
            ...,
        ],
        Key("Invariants that are not held against it."),
    ] = ()
    liveness: Annotated[
        timedelta,
        Key(
            "Within which time after the end, everything being healed, pools have what they want; "
            "0s: it is not asked.",
            form=DURATION,
        ),
    ] = timedelta(hours=2)


class Scenario(Struct, frozen=True):
    """A scenario that can be run."""

    written: Document
    file: Path
    """Where it was read from."""
    event_lines: tuple[int, ...] = ()
    """Where each event stands, from 1."""
    assertion_lines: tuple[int, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)
    """Where every value stands that is written, by its dotted key."""

    def line_of(self, key: str) -> int | None:
        """Find the line of a key; of one that is missing, of the first value beside it."""
        while key:
            if key in self.lines:
                return self.lines[key]
            below = (f"{key}.", f"{key}[")
            beside = (line for name, line in self.lines.items() if name.startswith(below))
            line = min(beside, default=None)
            if line is not None:
                return line
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return None

    def fault(self, message: str, key: str) -> ConfigError:
        """Make the message of a mistake with its place."""
        return ConfigError(message, file=str(self.file), line=self.line_of(key), key=key)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.written.name

    @property
    def stress(self) -> Stress | None:
        """What is made up, if anything."""
        stress = self.written.stress
        return stress if stress is not None and stress.enabled else None

    @property
    def seed(self) -> int:
        """Where chance begins where nobody says otherwise."""
        stress = self.stress
        if self.written.seed is not None:
            return self.written.seed
        return (stress.seed or 0) if stress is not None else 0

    @property
    def lasts(self) -> timedelta:
        """How long it lasts at least; waiting may make it longer."""
        stress = self.stress
        if self.written.duration is not None:
            return self.written.duration
        if stress is not None and stress.duration is not None:
            return stress.duration
        return max((event.at for event in self.written.events), default=timedelta(minutes=1))
