"""What may be written under ``metrics``: who knows the demand on pools, and how to ask them.

Sources are asked all at once; of each field the first fresh reading counts, in the order of the
file. A source with ``fields`` is asked about those alone.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct, field

from navarch.config.key import PLUGIN, VARIABLE, WORD, Key
from navarch.config.values import DURATION, INTERVAL, PATH, named

URL = named("an address such as https://prometheus:9090", r"https?://[^\s]{1,2000}")
FIELD = named(
    "one of utilization, utilization_history, pending_jobs, queue_depth",
    r"utilization|utilization_history|pending_jobs|queue_depth",
)
Field = Literal["utilization", "utilization_history", "pending_jobs", "queue_depth"]


class Credentials(Struct, frozen=True):
    """Where the secret of an API is found. The secret itself is never in the file."""

    token_env: Annotated[
        str | None, Key("The environment variable that holds a bearer token.", form=VARIABLE)
    ] = None
    token_file: Annotated[
        Path | None, Key("The file that holds a bearer token and nothing else.", form=PATH)
    ] = None
    username: Annotated[str | None, Key("The user of basic authentication.", form=WORD)] = None
    password_env: Annotated[
        str | None, Key("The environment variable that holds its password.", form=VARIABLE)
    ] = None
    ca_file: Annotated[
        Path | None,
        Key("The certificates that vouch for the API. Absent: those of the system.", form=PATH),
    ] = None


class Asked(Struct, frozen=True, kw_only=True):
    """What every source may say."""

    name: Annotated[
        str | None, Key("What it is called in reasons. Absent: its type, or use.", form=WORD)
    ] = None
    fields: Annotated[
        tuple[Annotated[Field, Key("One field.")], ...],
        Key("The fields that it is asked about. None: all that it knows."),
    ] = ()


class StoreMetrics(Asked, frozen=True, kw_only=True, tag_field="type", tag="store"):
    """The heartbeats: how busy the GPUs are, now and earlier."""


class History(Struct, frozen=True):
    """How much of the past is asked for."""

    window: Annotated[timedelta, Key("How far back it reaches.", form=DURATION)] = timedelta(
        hours=1
    )
    interval: Annotated[timedelta, Key("The time between two values.", form=INTERVAL)] = timedelta(
        minutes=1
    )


class PrometheusMetrics(Asked, frozen=True, kw_only=True, tag_field="type", tag="prometheus"):
    """Any expression of Prometheus for each field."""

    url: Annotated[str, Key("The address that /api/v1/query stands below.", form=URL)]
    queries: Annotated[
        dict[str, Annotated[str, Key("The expression; $pool is the pool.", maximum=10_000)]],
        Key("An expression for each field that it knows.", names=FIELD),
    ]
    times: Annotated[
        dict[str, Annotated[str, Key("The expression; $pool is the pool.", maximum=10_000)]],
        Key("Expressions for the Unix time at which a field was true.", names=FIELD),
    ] = field(default_factory=dict)
    history: Annotated[History, Key("How much of the past is asked for.")] = History()
    deadline: Annotated[timedelta, Key("How long an answer may take.", form=INTERVAL)] = timedelta(
        seconds=4
    )
    credentials: Annotated[Credentials, Key("Where the secret of the API is found.")] = (
        Credentials()
    )


class SlurmMetrics(Asked, frozen=True, kw_only=True, tag_field="type", tag="slurm"):
    """The queue and the nodes of Slurm, through squeue and sinfo."""

    partition: Annotated[
        str | None, Key("The partition of all pools. Absent: each pool's name.", form=WORD)
    ] = None
    pool_to_partition: Annotated[
        dict[str, Annotated[str, Key("The partition.", form=WORD)]],
        Key("The partitions of single pools, by the pool's name."),
    ] = field(default_factory=dict)
    prefix: Annotated[
        tuple[Annotated[str, Key("One word.", maximum=4096)], ...],
        Key("What stands before each command, such as [ssh, login, --]."),
    ] = ()
    deadline: Annotated[timedelta, Key("How long an answer may take.", form=INTERVAL)] = timedelta(
        seconds=4
    )
    reuse: Annotated[timedelta, Key("How long one answer serves all pools.", form=DURATION)] = (
        timedelta(seconds=5)
    )


class KubernetesMetrics(Asked, frozen=True, kw_only=True, tag_field="type", tag="kubernetes"):
    """The pods with the label navarch.dev/pool=NAME, waiting and running."""

    url: Annotated[
        str | None,
        Key("The API server. Absent: that of the cluster we run in, with its account.", form=URL),
    ] = None
    namespace: Annotated[str | None, Key("The namespace of the pods. Absent: all.", form=WORD)] = (
        None
    )
    deadline: Annotated[timedelta, Key("How long an answer may take.", form=INTERVAL)] = timedelta(
        seconds=4
    )
    credentials: Annotated[Credentials, Key("Where the secret of the API is found.")] = (
        Credentials()
    )


class CustomMetrics(Asked, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    """A metrics source of somebody else."""

    use: Annotated[
        str,
        Key(
            "Its name among the entry points navarch.metrics_sources, or where its class is.",
            form=PLUGIN,
        ),
    ]
    config: Annotated[
        dict[str, Annotated[object, Key("Anything.")]],
        Key("What its class is called with, by the names of its arguments."),
    ] = field(default_factory=dict)


Metrics = StoreMetrics | PrometheusMetrics | SlurmMetrics | KubernetesMetrics | CustomMetrics
"""Everything that knows the demand on pools, told apart by ``type``."""


def name_of(source: Metrics) -> str:
    """Tell what a source is called: its own name, or that of its class or type."""
    if source.name is None and isinstance(source, CustomMetrics):
        return source.use
    return source.name or str(source.__struct_config__.tag)
