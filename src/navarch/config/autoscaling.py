"""What may be written under ``autoscaling`` of a pool, and how each of it is said in one line.

These are the settings of autoscalers and not the autoscalers: those are made of them by
`navarch.wiring`, which may load a plugin for it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Struct, field

from navarch.config.key import PLUGIN, Key
from navarch.config.values import DURATION, Form
from navarch.core.scaling import scheduled
from navarch.core.scaling.predictive import PredictiveAutoscaler
from navarch.core.scaling.reactive import ReactiveAutoscaler

NODES_MAX = 100_000
"""Nodes a pool: the size of the largest fleet that Navarch is measured with."""
JOBS_MIN = 0.001
"""The fewest jobs a node: jobs that take a thousand nodes each."""


def parse_zone(text: str) -> str:
    """Read the name of a time zone; `ValueError` for one that this machine does not know."""
    try:
        scheduled.zone_named(text)
    except ValueError:
        raise ValueError("this machine does not know it") from None
    return text


ZONE = Form(expected="a time zone such as UTC or Europe/Berlin", pattern="^.+$", parse=parse_zone)

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""The days of the week as they are written, Monday first."""


class Reactive(Struct, frozen=True, tag_field="type", tag="reactive"):
    """One step up when the GPUs are too busy, one step down when they are too idle."""

    scale_up_at: Annotated[
        float, Key("Mean GPU utilization in percent above which it grows.", minimum=0, maximum=100)
    ] = ReactiveAutoscaler().scale_up_at
    scale_down_at: Annotated[
        float, Key("The percentage below which it shrinks.", minimum=0, maximum=100)
    ] = ReactiveAutoscaler().scale_down_at
    scale_up_step: Annotated[
        int, Key("How many nodes it grows by.", minimum=1, maximum=NODES_MAX)
    ] = ReactiveAutoscaler().scale_up_step
    scale_down_step: Annotated[
        int, Key("How many nodes it shrinks by.", minimum=1, maximum=NODES_MAX)
    ] = ReactiveAutoscaler().scale_down_step

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"reactive, +{self.scale_up_step} above {self.scale_up_at:g}%, "
            f"-{self.scale_down_step} below {self.scale_down_at:g}%"
        )


class Queue(Struct, frozen=True, tag_field="type", tag="queue"):
    """As many nodes as the jobs in the queue need."""

    jobs_per_node: Annotated[
        float, Key("How many jobs, waiting or running, a node is for.", minimum=JOBS_MIN)
    ]

    def __str__(self) -> str:
        """Say it in one line."""
        return f"queue, {self.jobs_per_node:g} jobs a node"


class Window(Struct, frozen=True, kw_only=True):
    """A part of the week with limits of its own."""

    days: Annotated[
        tuple[
            Annotated[
                Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], Key("A day of the week.")
            ],
            ...,
        ],
        Key("The days on which it begins. None: every day."),
    ] = ()
    start_hour: Annotated[int, Key("The hour it begins with.", minimum=0, maximum=23)] = 0
    end_hour: Annotated[
        int,
        Key(
            "The hour it ends before. Below start_hour: on the next day.",
            minimum=0,
            maximum=24,
        ),
    ] = 24
    min_nodes: Annotated[int, Key("Never fewer than this in it.", minimum=0, maximum=NODES_MAX)]
    max_nodes: Annotated[int, Key("Never more than this in it.", minimum=0, maximum=NODES_MAX)]


class Scheduled(Struct, frozen=True, tag_field="type", tag="scheduled", kw_only=True):
    """Other limits by weekday and hour, for another autoscaler."""

    schedule: Annotated[
        tuple[Annotated[Window, Key("A part of the week.")], ...],
        Key("Parts of the week; the first that fits counts. Outside: the pool's own limits."),
    ]
    timezone: Annotated[str, Key("Whose hours are meant.", form=ZONE)] = "UTC"
    autoscaler: Annotated[Autoscaling, Key("Who decides within the limits.")]

    def __str__(self) -> str:
        """Say it in one line."""
        return f"scheduled by {len(self.schedule)} windows ({self.timezone}): {self.autoscaler}"


class Predictive(Struct, frozen=True, tag_field="type", tag="predictive"):
    """Ahead of the load: enough nodes for what is expected once new ones could have booted."""

    lookback_window: Annotated[
        int,
        Key(
            "How many samples of the past a trend is drawn through, one an autoscale_interval.",
            minimum=2,
            maximum=20_160,
        ),
    ] = PredictiveAutoscaler().lookback
    growth_factor: Annotated[
        float, Key("What expected growth is multiplied by.", minimum=0, maximum=100)
    ] = PredictiveAutoscaler().growth_factor
    target_utilization: Annotated[
        float, Key("How busy nodes shall be, in percent.", minimum=1, maximum=100)
    ] = PredictiveAutoscaler().target_utilization
    lead_time: Annotated[
        timedelta, Key("How long a machine takes from the wish to its first work.", form=DURATION)
    ] = PredictiveAutoscaler().lead_time
    fallback: Annotated[
        Autoscaling | None,
        Key("Who decides while nothing can be forecast. Absent: reactive with its defaults."),
    ] = None

    def __str__(self) -> str:
        """Say it in one line."""
        fallback = Reactive() if self.fallback is None else self.fallback
        return (
            f"predictive over {self.lookback_window} samples, growth × {self.growth_factor:g}, "
            f"else {fallback}"
        )


class Composite(Struct, frozen=True, tag_field="type", tag="composite", kw_only=True):
    """Several autoscalers at once."""

    mode: Annotated[
        Literal["max", "min", "avg"],
        Key("Which of their answers counts: the highest, the lowest, or the mean, rounded up."),
    ] = "max"
    autoscalers: Annotated[
        tuple[Annotated[Autoscaling, Key("One of them.")], ...], Key("At least one.")
    ]

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.mode} of ({'; '.join(map(str, self.autoscalers))})"


class Custom(Struct, frozen=True, tag_field="type", tag="custom"):
    """An autoscaler of somebody else."""

    use: Annotated[
        str,
        Key(
            "Its name among the entry points navarch.autoscalers, or where its class is.",
            form=PLUGIN,
        ),
    ]
    config: Annotated[
        dict[str, Annotated[object, Key("Anything.")]],
        Key("What its class is called with, by the names of its arguments."),
    ] = field(default_factory=dict)

    def __str__(self) -> str:
        """Say it in one line; its config may hold secrets."""
        return f"custom {self.use}"


Autoscaling = Reactive | Queue | Scheduled | Predictive | Composite | Custom
"""Everything that can scale a pool, told apart by ``type``."""
