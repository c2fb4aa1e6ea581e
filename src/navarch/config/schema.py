"""What may be written in the configuration: every key, its type, its default and its meaning.

This is the only list of keys. The structs below are read by machines: `shapes` turns them into the
shapes that `load` checks a file against, that `json_schema` prints and that `explain` walks. To add
a key, add a field with a `Key`; to add a kind of provider, add a struct to `Provider` of
`navarch.config.providers`. Nothing else here has to know.

A field's name is its key in the file, unless it is given another. A field without a default must be
written. Texts that mean something else (durations, addresses) carry the `Form` that reads them.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct, structs

from navarch.config.autoscaling import NODES_MAX, Autoscaling
from navarch.config.bootstrap import SERVER, Bootstrap
from navarch.config.callers import Auth, CallerLimits
from navarch.config.key import LABEL, NAME, WORD, Key
from navarch.config.metrics import Metrics
from navarch.config.notifier import Notifier
from navarch.config.plugins import Plugins
from navarch.config.pods import ServingCluster
from navarch.config.providers import Provider
from navarch.config.telemetry import Logs, Traces
from navarch.config.values import (
    ADDRESS,
    DURATION,
    INTERVAL,
    PATH,
    SECONDS,
    STORE,
    Address,
    Form,
    Store,
    format_duration,
    parse_interval,
)
from navarch.core import fold_repair
from navarch.core.model.finding import Remedy
from navarch.core.model.pool import Disruption, PoolSpec, Source
from navarch.core.settings import Settings

LABELS_MAX = 64
"""Labels a node: the limit of the wire."""
EXTERNAL_NODES_MAX = 1_000_000
NODE_SERIES_MAX = 5_000
"""Nodes with series of their own: at four series each, a scrape of 1.5 MB and some 40 ms."""
REPORTS_MAX = 1_000
"""Reports in a row that may be asked for: most of a day at one a minute."""
USER_DATA_MAX = 16_384
"""Characters of user data: EC2 takes 16 KB, other clouds take more (EC2 user guide, read 2026)."""


def parse_memory(text: str) -> timedelta:
    """Read a duration above zero, for which ended repairs are remembered at the longest."""
    duration = parse_interval(text)
    if duration > fold_repair.ATTEMPT_MEMORY:
        longest = format_duration(fold_repair.ATTEMPT_MEMORY)
        raise ValueError(f"repairs are remembered for {longest}")
    return duration


MEMORY = Form(
    expected=f"{INTERVAL.expected}, up to {format_duration(fold_repair.ATTEMPT_MEMORY)}",
    pattern=INTERVAL.pattern,
    parse=parse_memory,
)


class Repair(Struct, frozen=True):
    """How patient repair is; the defaults are meant for most fleets."""

    probation: Annotated[
        timedelta, Key("How long a repaired node has to be clean.", form=DURATION)
    ] = Settings().probation
    probation_max: Annotated[
        timedelta,
        Key("After how long without enough clean reports a repair has failed.", form=INTERVAL),
    ] = Settings().probation_max
    reset_timeout: Annotated[timedelta, Key("How long a GPU reset may take.", form=INTERVAL)] = (
        Settings().reset_timeout
    )
    reboot_timeout: Annotated[
        timedelta,
        Key("How long a reboot may take, until the agent speaks again.", form=INTERVAL),
    ] = Settings().reboot_timeout
    relapse_window: Annotated[
        timedelta,
        Key("For how long a repair that was tried is not tried again on its node.", form=MEMORY),
    ] = Settings().relapse_window
    attempts_max: Annotated[
        int,
        Key(
            "Resets and reboots of one node within relapse_window; then it is replaced, or a "
            "person has to look.",
            minimum=1,
            maximum=fold_repair.ATTEMPTS_MAX,
        ),
    ] = Settings().attempts_max
    clean_reports_to_heal: Annotated[
        int,
        Key("Clean reports in a row that end a bad verdict.", minimum=1, maximum=REPORTS_MAX),
    ] = Settings().clean_reports_to_heal


class Server(Struct, frozen=True):
    """The control plane itself."""

    address: Annotated[
        Address, Key("Where it listens. Without a host: on every interface.", form=ADDRESS)
    ] = Address(host="", port=50051)
    advertise: Annotated[
        str | None,
        Key(
            "Where others reach it, which standbys tell them while it leads. Absent: by the name "
            "of this host.",
            form=SERVER,
        ),
    ] = None
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
    autoscale_interval: Annotated[
        timedelta, Key("How often autoscalers are asked.", form=INTERVAL)
    ] = timedelta(seconds=30)
    external_nodes_max: Annotated[
        int,
        Key(
            "How many nodes may register that were not bought here.",
            minimum=0,
            maximum=EXTERNAL_NODES_MAX,
        ),
    ] = Settings().external_nodes_max
    metrics: Annotated[
        tuple[Annotated[Metrics, Key("One source.")], ...],
        Key("Who knows the demand on pools that do not say it themselves. None: the heartbeats."),
    ] = ()
    node_series_max: Annotated[
        int,
        Key(
            "How many nodes have series of their own in /metrics, the first by their ids. 0: none.",
            minimum=0,
            maximum=NODE_SERIES_MAX,
        ),
    ] = 0
    health_policy: Annotated[
        Path | None,
        Key("The rules that judge what nodes report. Absent: those that are built in.", form=PATH),
    ] = None
    notifier: Annotated[
        Notifier | None,
        Key("Who is told of cordons and drains, and says when a node is empty. Absent: agents do."),
    ] = None
    bootstrap: Annotated[
        Bootstrap | None,
        Key("How agents get onto machines that are bought. Absent: their images bring one."),
    ] = None
    kubernetes: Annotated[
        ServingCluster | None,
        Key("The cluster that runs replicas as pods. Absent: such replicas wait."),
    ] = None
    reports: Annotated[
        Path | None,
        Key(
            "The folder with reports of simulations, which the dashboard shows. Absent: reports in "
            "the data folder.",
            form=PATH,
        ),
    ] = None
    repair: Annotated[Repair, Key("How patient repair is.")] = Repair()
    http2: Annotated[
        bool, Key("Whether HTTP/2 and gRPC are spoken too; needs the extra navarch[http2].")
    ] = False
    logs: Annotated[Logs, Key("What it logs.")] = Logs()
    traces: Annotated[Traces, Key("Whether what it does is traced.")] = Traces()
    auth: Annotated[Auth, Key("Who may call the API.")] = Auth()
    limits: Annotated[
        CallerLimits, Key("How often callers may ask, and how many may be connected.")
    ] = CallerLimits()

    def settings(self) -> Settings:
        """Say it in the words of the core."""
        repair = self.repair
        settings = Settings(
            heartbeat_interval=self.heartbeat_interval,
            health_check_interval=self.health_check_interval,
            external_nodes_max=self.external_nodes_max,
            probation=repair.probation,
            probation_max=repair.probation_max,
            reset_timeout=repair.reset_timeout,
            reboot_timeout=repair.reboot_timeout,
            relapse_window=repair.relapse_window,
            attempts_max=repair.attempts_max,
            clean_reports_to_heal=repair.clean_reports_to_heal,
        )
        if self.notifier is None:
            return settings
        return structs.replace(
            settings,
            workload_manager=True,
            drain_timeout=self.notifier.drain_timeout,
            drain_overrun=self.notifier.on_drain_timeout,
            drain_poll=self.notifier.poll_interval,
        )


class PoolHealth(Struct, frozen=True):
    """What happens to sick and silent nodes."""

    unhealthy_after: Annotated[
        int,
        Key(
            "Reports in a row that have to confirm an unhealthy verdict before anything is "
            "repaired.",
            minimum=1,
            maximum=REPORTS_MAX,
        ),
    ] = PoolSpec("", "").unhealthy_after
    auto_replace: Annotated[
        bool, Key("Whether lost and sick nodes are replaced without asking.")
    ] = PoolSpec("", "").auto_replace
    repair: Annotated[
        tuple[
            Annotated[Literal["reset_gpu", "reboot", "replace"], Key("A way to put a node right.")],
            ...,
        ],
        Key("What may be done to a sick node: any of reset_gpu, reboot and replace."),
    ] = ("replace",)
    replace_in_place: Annotated[
        bool,
        Key(
            "Whether a sick node may end before its replacement is bought, where the pool is at "
            "max_nodes."
        ),
    ] = PoolSpec("", "").replace_in_place
    dry_run: Annotated[bool, Key("Whether repair only says what it would do.")] = PoolSpec(
        "", ""
    ).dry_run


class PoolDisruption(Struct, frozen=True):
    """How much repairs may take away at one time."""

    max_unavailable: Annotated[
        int, Key("Nodes under repair at one time.", minimum=0, maximum=NODES_MAX)
    ] = Disruption().max_unavailable
    max_unavailable_percent: Annotated[
        float,
        Key("The same in percent of the pool; the larger counts.", minimum=0, maximum=100),
    ] = Disruption().max_unavailable_percent
    max_unavailable_per_zone: Annotated[
        int,
        Key(
            "The same in any one zone; 0: as many as in the pool.",
            minimum=0,
            maximum=NODES_MAX,
        ),
    ] = Disruption().max_unavailable_per_zone
    max_replacements_per_hour: Annotated[
        int, Key("Repairs begun within any hour.", minimum=0, maximum=NODES_MAX)
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
    ssh_user: Annotated[
        str | None,
        Key("Who logs in on its machines to read their start-up logs. Absent: nobody.", form=WORD),
    ] = None
    ssh_private_key_path: Annotated[
        Path | None, Key("The private key to log in with. Absent: nobody does.", form=PATH)
    ] = None
    user_data: Annotated[
        str, Key("What the machine runs at its first boot.", maximum=USER_DATA_MAX)
    ] = ""
    setup_commands: Annotated[
        tuple[Annotated[str, Key("One line of shell.", maximum=USER_DATA_MAX)], ...],
        Key("The same as commands of a shell, one after the other until one fails."),
    ] = ()
    health: Annotated[PoolHealth, Key("What happens to sick and silent nodes.")] = PoolHealth()
    disruption: Annotated[PoolDisruption, Key("How much repairs may take away at one time.")] = (
        PoolDisruption()
    )


class Seller(Struct, frozen=True):
    """One provider that a pool buys from, and what is asked of it."""

    name: Annotated[str, Key("A name under providers.", form=WORD)]
    priority: Annotated[
        int, Key("The lowest is asked first, by the strategy priority.", minimum=0, maximum=1000)
    ] = 0
    weight: Annotated[
        int, Key("Its share of the machines, by round-robin.", minimum=1, maximum=1000)
    ] = 1
    regions: Annotated[
        tuple[Annotated[str, Key("The region's name at the provider.", form=WORD)], ...],
        Key("Where it is asked. None: in the pool's region."),
    ] = ()
    zones: Annotated[
        tuple[Annotated[str, Key("The zone's name at the provider.", form=WORD)], ...],
        Key("In which parts of them. None: in the pool's zones."),
    ] = ()
    instance_type: Annotated[
        str,
        Key("Which kind, such as h100-8x, or in its words. Empty: the pool's.", maximum=253),
    ] = ""
    spot: Annotated[bool, Key("Whether machines that may be taken away are bought.")] = False

    def source(self) -> Source:
        """Say it in the words of the core."""
        return Source(
            provider=self.name,
            priority=self.priority,
            weight=self.weight,
            regions=self.regions,
            zones=self.zones,
            instance_type=self.instance_type,
            spot=self.spot,
        )


class Pool(Defaults, frozen=True, kw_only=True):
    """Machines of one kind, and how many of them are wanted.

    Everything that `Defaults` may say, it may say for itself.
    """

    provider: Annotated[
        str | None,
        Key("Who sells them: a name under providers. Either this or providers.", form=WORD),
    ] = None
    providers: Annotated[
        tuple[Annotated[Seller, Key("One provider.")], ...],
        Key("Everybody who sells them; the strategy says in which order they are asked."),
    ] = ()
    strategy: Annotated[
        str,
        Key(
            "In which order offers are asked: priority, cost, availability, round-robin, or a "
            "plugin of navarch.rankers.",
            form=WORD,
        ),
    ] = "priority"
    min_nodes: Annotated[int, Key("Never fewer than this.", minimum=0, maximum=NODES_MAX)] = 0
    max_nodes: Annotated[
        int, Key("Never more than this, whoever asks.", minimum=0, maximum=NODES_MAX)
    ]
    cooldown: Annotated[
        timedelta,
        Key("How long an autoscaler lets a change settle before the next.", form=DURATION),
    ] = PoolSpec("", "").cooldown
    autoscaling: Annotated[
        Autoscaling | None,
        Key("Who says how many are wanted. Absent: min_nodes, or what an operator said."),
    ] = None
    metrics: Annotated[
        tuple[Annotated[Metrics, Key("One source.")], ...],
        Key("Who knows the demand on it. None: those under server."),
    ] = ()
    instance_type: Annotated[
        str,
        Key("Which kind, such as h100-8x, or in the provider's words.", maximum=253),
    ] = ""
    spot_percent: Annotated[
        float | None,
        Key(
            "The percentage of its nodes that may be taken away again. Absent: as sellers say.",
            minimum=0,
            maximum=100,
        ),
    ] = None
    region: Annotated[str, Key("Where, in the provider's words.", maximum=253)] = ""
    zones: Annotated[
        tuple[Annotated[str, Key("The zone's name at the provider.", form=WORD)], ...],
        Key("Which parts of the region. None: any."),
    ] = ()

    @property
    def sellers(self) -> tuple[str, ...]:
        """The names of all its providers, in the order of the file."""
        alone = () if self.provider is None else (self.provider,)
        return alone + tuple(seller.name for seller in self.providers)

    def boot_script(self) -> str:
        """What its machines run at their first boot."""
        if not self.setup_commands:
            return self.user_data
        return "\n".join(("#!/bin/sh", "set -e", *self.setup_commands, ""))

    def spec(self, name: str) -> PoolSpec:
        """Say it in the words of the core; `name` is its key under ``pools``."""
        return PoolSpec(
            name=name,
            provider=self.sellers[0],
            instance_type=self.instance_type,
            region=self.region,
            zones=self.zones,
            sources=tuple(seller.source() for seller in self.providers),
            strategy=self.strategy,
            cooldown=self.cooldown,
            autoscaling="" if self.autoscaling is None else str(self.autoscaling),
            min_nodes=self.min_nodes,
            max_nodes=self.max_nodes,
            labels=self.labels,
            ssh_key_names=self.ssh_keys,
            ssh_user=self.ssh_user or "",
            ssh_private_key_path=str(self.ssh_private_key_path or ""),
            user_data=self.boot_script(),
            spot_percent=self.spot_percent,
            auto_replace=self.health.auto_replace,
            unhealthy_after=self.health.unhealthy_after,
            ladder=tuple(map(Remedy, self.health.repair)),
            replace_in_place=self.health.replace_in_place,
            dry_run=self.health.dry_run,
            disruption=Disruption(
                max_unavailable=self.disruption.max_unavailable,
                max_unavailable_percent=self.disruption.max_unavailable_percent,
                max_unavailable_per_zone=self.disruption.max_unavailable_per_zone,
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
    plugins: Annotated[Plugins, Key("Which plugins are used, and how.")] = Plugins()


class Config(Struct, frozen=True):
    """A configuration that can be used: checked, defaults applied, paths absolute."""

    server: Server
    providers: dict[str, Provider]
    pools: dict[str, PoolSpec]
    """By name, in the order of the file."""
    autoscaling: dict[str, Autoscaling]
    """What scales pools, by their names; pools that nothing scales are not in it."""
    metrics: dict[str, tuple[Metrics, ...]]
    """The sources of pools that name their own."""
    file: Path
    """Where it was read from."""
    plugins: Plugins = Plugins()
    lines: dict[str, int] = {}
    """Where the keys of ``plugins`` are written, for mistakes that only plugins can find."""

    @property
    def store(self) -> Store:
        """Where the journal is kept."""
        return self.server.store or Store(path=self.server.data / "navarch.db")
