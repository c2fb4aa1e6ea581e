"""What may be written under ``events`` and ``assertions``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Struct

from navarch.config.key import LABEL, WORD, Key
from navarch.config.providers import GPUS_MAX
from navarch.config.values import DURATION, INTERVAL, Form, named, parse_duration

TEXT_MAX = 4096
NODES_MAX = 200_000
"""Nodes of one scenario: twice the largest GPU fleets that are spoken of publicly in 2026."""
EVENTS_MAX = 10_000
ALIAS = named("a name of letters, digits, _ and -", r"[A-Za-z0-9_-]{1,64}")


def _parse_ahead(text: str) -> timedelta:
    """Read a duration that may be negative."""
    if text.startswith("-"):
        return -parse_duration(text[1:])
    return parse_duration(text)


AHEAD = Form(
    expected="a duration such as 90s, 5m or -2h",
    pattern=DURATION.pattern.replace("^", "^-?", 1),
    parse=_parse_ahead,
)
Status = Literal["active", "cordoned", "draining", "unhealthy", "terminated"]
HealthWord = Literal["unknown", "healthy", "degraded", "unhealthy"]
FailureType = Literal[
    "xid_error",
    "temperature",
    "memory_error",
    "nvlink_error",
    "backend_error",
    "boot_failure",
    "nvml_failure",
    "network",
    "crash",
    "vanish",
    "freeze",
    "flap",
    "clock_drift",
    "reregistration",
]
Pattern = Literal["instant", "linear", "exponential", "wave"]
Match = Literal["all", "any", "none"]


class Params(Struct, frozen=True):
    """What an action is told; each takes only some of it."""

    failure_type: Annotated[FailureType | None, Key("What goes wrong.")] = None
    xid_code: Annotated[int | None, Key("Which XID.", minimum=1, maximum=99_999)] = None
    gpu_index: Annotated[
        int | None, Key("On which GPU. Absent: one by chance.", minimum=0, maximum=GPUS_MAX - 1)
    ] = None
    message: Annotated[str, Key("What the sensors say of it.", maximum=TEXT_MAX)] = ""
    temperature: Annotated[
        int | None, Key("How hot the GPU is, in °C; 95 where it is absent.", minimum=0, maximum=200)
    ] = None
    lasts: Annotated[
        timedelta | None,
        Key("After what time the fault ends by itself. Absent: when it is cured.", form=INTERVAL),
    ] = None
    every: Annotated[
        timedelta | None,
        Key(
            "How long a host that flaps takes to go down and come up; 4m if absent.", form=INTERVAL
        ),
    ] = None
    drift: Annotated[
        timedelta | None,
        Key("By how much a clock is ahead, behind with a minus; 5m if absent.", form=AHEAD),
    ] = None
    count: Annotated[
        int | None,
        Key("How many of the target, by chance. Absent: all of it.", minimum=1, maximum=NODES_MAX),
    ] = None
    percent: Annotated[
        float | None, Key("The same in percent, rounded up.", minimum=0, maximum=100)
    ] = None
    alias: Annotated[
        str | None,
        Key("What those are called from now on: alias:NAME is a target.", form=ALIAS),
    ] = None
    command_type: Annotated[
        Literal["cordon", "uncordon", "drain", "terminate", "run_diagnostic", "gpu_reset", "reboot"]
        | None,
        Key("What is asked of the node."),
    ] = None
    command_args: Annotated[
        dict[str, Annotated[str, Key("Its value.", maximum=TEXT_MAX)]],
        Key("What the command is told.", maximum=64, names=LABEL),
    ] = {}
    reason: Annotated[str, Key("Why, for the journal.", maximum=TEXT_MAX)] = ""
    expect: Annotated[Literal["accepted", "refused"], Key("How the control plane takes it.")] = (
        "accepted"
    )
    expected_status: Annotated[Status | None, Key("The word of `navarch list`.")] = None
    expected_health: Annotated[HealthWord | None, Key("The verdict of the policy.")] = None
    match: Annotated[Match, Key("How many of the target it is about.")] = "all"
    timeout: Annotated[
        timedelta, Key("How long it is waited for, in virtual time.", form=INTERVAL)
    ] = timedelta(minutes=5)
    duration: Annotated[
        timedelta | None, Key("How long it takes: a wait, or a start of many.", form=DURATION)
    ] = None
    pattern: Annotated[Pattern, Key("How a start is spread over its duration.")] = "instant"
    jitter_percent: Annotated[
        float,
        Key("How far each start is off, in percent of the duration.", minimum=0, maximum=100),
    ] = 0.0
    log_message: Annotated[str, Key("What is written to the log.", maximum=TEXT_MAX)] = ""
    nodes: Annotated[
        int | None, Key("How many nodes a pool shall have.", minimum=0, maximum=NODES_MAX)
    ] = None
    jobs: Annotated[
        float | None, Key("How much work wants to run from now on.", minimum=0, maximum=1e9)
    ] = None


Action = Literal[
    "start_fleet",
    "stop_fleet",
    "inject_failure",
    "recover_failure",
    "issue_command",
    "wait_for_status",
    "wait",
    "log",
    "assert",
    "scale_pool",
    "pause_pool",
    "resume_pool",
    "set_load",
]


class Event(Struct, frozen=True, kw_only=True):
    """Something that is done at a moment."""

    at: Annotated[timedelta, Key("How long after the beginning.", form=DURATION)]
    action: Annotated[Action, Key("What is done.")]
    target: Annotated[
        str,
        Key(
            "To whom: a node's id, all, any, fleet, pool:NAME, provider:NAME, region:NAME, "
            "zone:NAME, label:KEY=VALUE or alias:NAME.",
            maximum=512,
        ),
    ] = ""
    params: Annotated[Params, Key("How it is done.")] = Params()


class Assertion(Struct, frozen=True, kw_only=True):
    """What must be so at the end."""

    type: Annotated[
        Literal[
            "node_status",
            "health_status",
            "node_count",
            "pool_size",
            "no_orphans",
            "replaced",
            "cost_below",
            "availability_above",
            "goodput_above",
        ],
        Key("What is looked at."),
    ]
    target: Annotated[str, Key("At whom, as in events.", maximum=512)] = ""
    expected: Annotated[
        object,
        Key("A word, a number, or a comparison such as '>= 3'. Absent where there is no choice."),
    ] = None
    match: Annotated[Match, Key("How many of the target it is about.")] = "all"
    status: Annotated[
        Status | None, Key("For node_count: which nodes count. Absent: all but the ended.")
    ] = None


class FleetNode(Struct, frozen=True, kw_only=True):
    """A node that nobody buys: it is there."""

    id: Annotated[str, Key("What it is called.", form=WORD)]
    provider: Annotated[str, Key("Whose it is.", maximum=253)] = "fake"
    region: Annotated[str, Key("Where it is.", maximum=253)] = ""
    zone: Annotated[str, Key("In which part of it.", maximum=253)] = ""
    instance_type: Annotated[str, Key("Of which kind it is.", maximum=253)] = ""
    gpu_count: Annotated[int, Key("How many GPUs it has.", minimum=0, maximum=GPUS_MAX)] = 8
    gpu_type: Annotated[str, Key("What they call themselves.", maximum=253)] = (
        "NVIDIA H100 80GB HBM3"
    )
    labels: Annotated[
        dict[str, Annotated[str, Key("The label's value.", maximum=4096)]],
        Key("What it is labelled with.", maximum=64, names=LABEL),
    ] = {}
