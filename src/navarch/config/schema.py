"""What may be written in the configuration: every key, its type, its default and its meaning.

This is the only list of keys. The structs below are read by machines: `shapes` turns them into the
shapes that `load` checks a file against, that `json_schema` prints and that `explain` walks. To add
a key, add a field with a `Key`; to add a kind of provider, add a struct to `Provider`. Nothing else
has to know.

A field's name is its key in the file. A field without a default must be written. Texts that mean
something else (durations, addresses) carry the `Form` that reads them.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct

from navarch.config.values import ADDRESS, PATH, SECONDS, STORE, Address, Form, Store, named
from navarch.core.model.ids import POOL_NAME
from navarch.core.model.pool import Disruption, PoolSpec
from navarch.core.settings import Settings

GPUS_MAX = 64
"""GPUs a node: the limit of the wire."""
LABELS_MAX = 64
"""Labels a node: the limit of the wire."""
NODES_MAX = 100_000
"""Nodes a pool: the size of the largest fleet that Navarch is measured with."""
USER_DATA_MAX = 16_384
"""Characters of user data: EC2 takes 16 KB, other clouds take more (EC2 user guide, read 2026)."""

NAME = named("a name of small letters, digits and -, from a letter on", POOL_NAME.pattern)
LABEL = named("a label of 1 to 253 characters without blanks and =", r"[^\s=]{1,253}")
VARIABLE = named("the name of an environment variable", r"[A-Za-z_][A-Za-z0-9_]*")
WORD = named("a name without blanks", r"[^\s]{1,253}")


class Key(Struct, frozen=True):
    """What the schema says about one key beyond its type."""

    doc: str
    """What it is for: one sentence, with its unit where it has one."""
    minimum: float | None = None
    """The least number, or the fewest characters or entries; None: any."""
    maximum: float | None = None
    """The greatest number, or the most characters or entries; None: any."""
    form: Form | None = None
    """How a text is read; None where the text is meant as it stands."""
    names: Form | None = None
    """In a mapping: what its keys look like; None elsewhere."""


class Token(Struct, frozen=True):
    """Somebody who may call the API. The token itself is never in the file."""

    name: Annotated[str, Key("Who it is, as the journal will call them.", form=WORD)]
    role: Annotated[
        Literal["viewer", "operator", "admin"],
        Key("What they may do: read; also command and scale; everything."),
    ]
    token_env: Annotated[
        str | None, Key("The environment variable that holds the token.", form=VARIABLE)
    ] = None
    token_file: Annotated[
        Path | None, Key("The file that holds the token and nothing else.", form=PATH)
    ] = None


class Auth(Struct, frozen=True):
    """Who may call the API."""

    tokens: Annotated[
        tuple[Annotated[Token, Key("Somebody who may call.")], ...],
        Key("Everybody who may call. None at all: the server listens on loopback only."),
    ] = ()


class Server(Struct, frozen=True):
    """The control plane itself."""

    address: Annotated[
        Address, Key("Where it listens. Without a host: on every interface.", form=ADDRESS)
    ] = Address(host="", port=50051)
    data: Annotated[Path, Key("The folder of everything it keeps, made if need be.", form=PATH)] = (
        Path(".navarch")
    )
    store: Annotated[
        Store | None,
        Key("Where the journal is kept. Absent: navarch.db in the data folder.", form=STORE),
    ] = None
    heartbeat_interval: Annotated[
        timedelta, Key("How often agents say that they are alive.", form=SECONDS)
    ] = Settings().heartbeat_interval
    health_check_interval: Annotated[
        timedelta, Key("How often agents run their checks.", form=SECONDS)
    ] = Settings().health_check_interval
    auth: Annotated[Auth, Key("Who may call the API.")] = Auth()

    def settings(self) -> Settings:
        """Say it in the words of the core."""
        return Settings(
            heartbeat_interval=self.heartbeat_interval,
            health_check_interval=self.health_check_interval,
        )


class FakeProvider(Struct, frozen=True, tag_field="type", tag="fake"):
    """Sells machines that exist in memory only, for trying things out."""

    gpu_count: Annotated[int, Key("GPUs of each machine.", minimum=0, maximum=GPUS_MAX)] = 8
    gpu_type: Annotated[str, Key("What its GPUs call themselves.", maximum=253)] = (
        "NVIDIA H100 80GB HBM3"
    )


class ProcessProvider(Struct, frozen=True, tag_field="type", tag="process"):
    """Sells agent processes on this machine, whose GPUs are injected."""

    gpu_count: Annotated[int, Key("GPUs that each agent shows.", minimum=0, maximum=GPUS_MAX)] = 8
    gpu_type: Annotated[str, Key("What its GPUs call themselves.", maximum=253)] = "H100"


Provider = FakeProvider | ProcessProvider
"""Everything that can sell machines, told apart by ``type``."""


class PoolHealth(Struct, frozen=True):
    """What happens to sick and silent nodes."""

    auto_replace: Annotated[bool, Key("Whether lost nodes are replaced without asking.")] = True


class PoolDisruption(Struct, frozen=True):
    """How much repairs may take away at one time."""

    max_unavailable: Annotated[
        int, Key("Nodes replaced at one time.", minimum=0, maximum=NODES_MAX)
    ] = Disruption().max_unavailable
    max_unavailable_percent: Annotated[
        float,
        Key("The same in percent of the pool; the larger counts.", minimum=0, maximum=100),
    ] = Disruption().max_unavailable_percent
    max_replacements_per_hour: Annotated[
        int, Key("Nodes condemned within any hour.", minimum=0, maximum=NODES_MAX)
    ] = Disruption().max_replacements_per_hour


class Defaults(Struct, frozen=True):
    """What pools say that do not say it themselves. Blocks are merged key by key."""

    labels: Annotated[
        dict[str, Annotated[str, Key("The label's value.", maximum=4096)]],
        Key("Labels of every machine.", maximum=LABELS_MAX, names=LABEL),
    ] = {}
    ssh_keys: Annotated[
        tuple[Annotated[str, Key("The key's name at the provider.", form=WORD)], ...],
        Key("Names of the SSH keys to install."),
    ] = ()
    user_data: Annotated[
        str, Key("What the machine runs at its first boot.", maximum=USER_DATA_MAX)
    ] = ""
    health: Annotated[PoolHealth, Key("What happens to sick and silent nodes.")] = PoolHealth()
    disruption: Annotated[PoolDisruption, Key("How much repairs may take away at one time.")] = (
        PoolDisruption()
    )


class Pool(Defaults, frozen=True, kw_only=True):
    """Machines of one kind, and how many of them are wanted.

    Everything that `Defaults` may say, it may say for itself.
    """

    provider: Annotated[str, Key("Who sells them: a name under providers.", form=WORD)]
    min_nodes: Annotated[int, Key("Never fewer than this.", minimum=0, maximum=NODES_MAX)] = 0
    max_nodes: Annotated[
        int, Key("Never more than this, whoever asks.", minimum=0, maximum=NODES_MAX)
    ]
    instance_type: Annotated[str, Key("Which kind, in the provider's words.", maximum=253)] = ""
    region: Annotated[str, Key("Where, in the provider's words.", maximum=253)] = ""
    zones: Annotated[
        tuple[Annotated[str, Key("The zone's name at the provider.", form=WORD)], ...],
        Key("Which parts of the region. None: any."),
    ] = ()

    def spec(self, name: str) -> PoolSpec:
        """Say it in the words of the core; `name` is its key under ``pools``."""
        return PoolSpec(
            name=name,
            provider=self.provider,
            instance_type=self.instance_type,
            region=self.region,
            zones=self.zones,
            min_nodes=self.min_nodes,
            max_nodes=self.max_nodes,
            labels=self.labels,
            ssh_key_names=self.ssh_keys,
            user_data=self.user_data,
            auto_replace=self.health.auto_replace,
            disruption=Disruption(
                max_unavailable=self.disruption.max_unavailable,
                max_unavailable_percent=self.disruption.max_unavailable_percent,
                max_replacements_per_hour=self.disruption.max_replacements_per_hour,
            ),
        )


class Document(Struct, frozen=True):
    """The file as it is written."""

    server: Annotated[Server, Key("The control plane itself.")] = Server()
    defaults: Annotated[Defaults, Key("What pools say that do not say it themselves.")] = Defaults()
    providers: Annotated[
        dict[str, Annotated[Provider, Key("One seller of machines.")]],
        Key("Who sells machines, by the names that pools use.", names=NAME),
    ] = {}
    pools: Annotated[
        dict[str, Annotated[Pool, Key("One pool.")]],
        Key("The pools, by name.", names=NAME),
    ] = {}


class Config(Struct, frozen=True):
    """A configuration that can be used: checked, defaults applied, paths absolute."""

    server: Server
    providers: dict[str, Provider]
    pools: dict[str, PoolSpec]
    """By name, in the order of the file."""
    file: Path
    """Where it was read from."""

    @property
    def store(self) -> Store:
        """Where the journal is kept."""
        return self.server.store or Store(path=self.server.data / "navarch.db")
