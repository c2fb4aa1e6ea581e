"""What may be written under ``stress``: fleets that are made up, and chaos."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Struct

from navarch.config.key import LABEL, WORD, Key
from navarch.config.providers import GPUS_MAX
from navarch.config.values import DURATION, INTERVAL, named
from navarch.simulator.scenarios.events_schema import NODES_MAX, FailureType, Pattern

WEIGHT_MAX = 1_000_000
KINDS_MAX = 1_000
"""Entries of one list or mapping."""
XID = named("the number of an XID", r"[1-9][0-9]{0,4}")

Weight = Annotated[
    float, Key("Its share, beside those of the others.", minimum=0, maximum=WEIGHT_MAX)
]


class Startup(Struct, frozen=True, kw_only=True):
    """When the nodes start."""

    pattern: Annotated[Pattern, Key("How they are spread over the duration.")] = "instant"
    duration: Annotated[timedelta, Key("From the first start to the last.", form=DURATION)] = (
        timedelta()
    )
    jitter_percent: Annotated[
        float,
        Key("How far each start is off, in percent of the duration.", minimum=0, maximum=100),
    ] = 0.0
    waves: Annotated[
        int, Key("How many groups start one after the other, for wave.", minimum=1, maximum=1000)
    ] = 5


class Template(Struct, frozen=True, kw_only=True):
    """A kind of node."""

    name: Annotated[str, Key("What it is called.", form=WORD)]
    weight: Weight = 1.0
    instance_type: Annotated[str, Key("The provider's word for it.", maximum=253)] = ""
    gpu_count: Annotated[int, Key("How many GPUs it has.", minimum=0, maximum=GPUS_MAX)] = 8
    gpu_type: Annotated[str, Key("What they call themselves.", maximum=253)] = (
        "NVIDIA H100 80GB HBM3"
    )
    labels: Annotated[
        dict[str, Annotated[str, Key("The label's value.", maximum=4096)]],
        Key("What it is labelled with.", maximum=63, names=LABEL),
    ] = {}


class FleetGen(Struct, frozen=True, kw_only=True):
    """A fleet that is made up."""

    total_nodes: Annotated[int, Key("How many nodes there are.", minimum=1, maximum=NODES_MAX)]
    templates: Annotated[
        tuple[Annotated[Template, Key("One kind.")], ...], Key("What kinds there are.")
    ] = ()
    providers: Annotated[
        dict[str, Weight], Key("Whose they are.", maximum=KINDS_MAX, names=WORD)
    ] = {}
    regions: Annotated[
        dict[str, Weight], Key("Where they are.", maximum=KINDS_MAX, names=WORD)
    ] = {}
    zones: Annotated[
        dict[
            str,
            Annotated[
                tuple[Annotated[str, Key("A zone.", form=WORD)], ...],
                Key("Its zones, taken in turn."),
            ],
        ],
        Key("The zones of each region. Of a region without: REGION-a.", maximum=KINDS_MAX),
    ] = {}
    nodes_per_rack: Annotated[
        int, Key("How many share a rack, which is their label rack.", minimum=1, maximum=NODES_MAX)
    ] = 8
    startup: Annotated[Startup, Key("When they start.")] = Startup()


class FailureWeight(Struct, frozen=True, kw_only=True):
    """One kind of fault, and how often it is that one."""

    type: Annotated[FailureType, Key("Which kind.")]
    weight: Weight = 1.0


class Cascading(Struct, frozen=True, kw_only=True):
    """How a fault leads to others."""

    enabled: Annotated[bool, Key("Whether it does.")] = True
    probability: Annotated[
        float, Key("How likely a fault leads to another.", minimum=0, maximum=1)
    ] = 0.1
    max_depth: Annotated[
        int, Key("How long such a chain gets after its first fault.", minimum=0, maximum=100)
    ] = 3
    min_delay: Annotated[timedelta, Key("The least time between two.", form=DURATION)] = timedelta(
        seconds=1
    )
    max_delay: Annotated[timedelta, Key("The longest time between two.", form=DURATION)] = (
        timedelta(seconds=10)
    )
    scope: Annotated[
        Literal["rack", "zone", "region", "provider", "random"],
        Key("What the next node shares with the last."),
    ] = "rack"
    max_affected_percent: Annotated[
        float, Key("How many of the nodes such chains reach at most.", minimum=0, maximum=100)
    ] = 10.0


class Recovery(Struct, frozen=True, kw_only=True):
    """How faults end by themselves."""

    enabled: Annotated[bool, Key("Whether they do.")] = True
    probability: Annotated[float, Key("How likely one does.", minimum=0, maximum=1)] = 0.5
    mean_time: Annotated[timedelta, Key("After what time, on average.", form=INTERVAL)] = timedelta(
        minutes=5
    )
    std_dev: Annotated[timedelta, Key("How different those times are.", form=DURATION)] = timedelta(
        minutes=1
    )


class Chaos(Struct, frozen=True, kw_only=True):
    """Faults that come by themselves."""

    enabled: Annotated[bool, Key("Whether they come.")] = True
    failure_rate: Annotated[
        float, Key("Faults a minute among 1,000 nodes.", minimum=0, maximum=100_000)
    ] = 0.0
    xid_distribution: Annotated[
        dict[str, Weight],
        Key(
            "Which XIDs. None: 13, 31, 43, 48, 63, 74, 79, 94 and 95.", maximum=KINDS_MAX, names=XID
        ),
    ] = {}
    failure_types: Annotated[
        tuple[Annotated[FailureWeight, Key("One kind.")], ...],
        Key("Which kinds of faults. None: XIDs alone."),
    ] = ()
    cascading: Annotated[Cascading | None, Key("How a fault leads to others. Absent: not.")] = None
    recovery: Annotated[Recovery | None, Key("How faults end by themselves. Absent: not.")] = None


class Stress(Struct, frozen=True, kw_only=True):
    """A run that is made up, from a seed."""

    enabled: Annotated[bool, Key("Whether any of it counts.")] = True
    duration: Annotated[timedelta | None, Key("How long the run lasts.", form=INTERVAL)] = None
    seed: Annotated[
        int | None, Key("Where chance begins, unless --seed says.", minimum=0, maximum=2**53)
    ] = None
    metrics_interval: Annotated[
        timedelta, Key("How often the fleet is counted.", form=INTERVAL)
    ] = timedelta(seconds=10)
    fleet_gen: Annotated[FleetGen | None, Key("The fleet. Absent: that under fleet.")] = None
    chaos: Annotated[Chaos | None, Key("What goes wrong. Absent: nothing.")] = None
