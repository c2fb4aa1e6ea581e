"""What a control plane process is built from, said once for each command.

A plan is values only: nothing is opened or bound when it is made. A configuration becomes one in
`planned`; `up` without a configuration has one of its own.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import asdict, replace

from navarch.core.model.pool import Disruption, PoolSpec
from navarch.core.settings import Settings
from navarch.errors import ConfigError
from navarch.telemetry.log import Log
from navarch.wiring import parts, providers

if TYPE_CHECKING:
    from navarch.config.providers import Provider as ProviderConfig
    from navarch.config.schema import Config, Server
    from navarch.wire.admission import Rates
    from navarch.wire.auth import StaticToken
    from navarch.wire.certificates import Tls

log = Log(__name__)

LOCAL_POOL: Final = "local"
"""What the pool of `up` is called."""
LOCAL_SURGE: Final = 2
"""How many machines above the wanted number `up` may have, so that it can buy before it ends."""


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that a control plane process is built from."""

    host: str
    port: int
    data: Path
    store: str
    """``memory``, the path of a SQLite file, or the URL of a PostgreSQL database."""
    settings: Settings
    providers: dict[str, ProviderConfig]
    pools: tuple[PoolSpec, ...]
    tokens: tuple[StaticToken, ...] = ()
    local: bool = False
    """Whether the machines end with us, and come back with us: `up`."""
    config: Config | None = None
    """What the pools come from, and whatever scales them; None: `up` without a configuration."""
    autoscale_interval: timedelta = timedelta(seconds=30)
    node_series_max: int = 0
    """How many nodes have series of their own in ``/metrics``."""
    tls: Tls | None = None
    """The files of a server that speaks TLS; None: it speaks plain HTTP."""
    http2: bool = False
    rates: Rates | None = None
    """How often callers may ask; None: as by default."""
    """Whether it speaks HTTP/2 too."""
    reports: Path | None = None
    """The folder with reports of simulations; None: ``reports`` in the data folder."""


def local_settings(heartbeat_interval: timedelta) -> Settings:
    """Patience for machines that are processes: they boot in a second, and lists are free."""
    return Settings(
        heartbeat_interval=heartbeat_interval,
        health_check_interval=heartbeat_interval * 5,
        provisioning_timeout=timedelta(seconds=60),
        registration_timeout=timedelta(seconds=60),
        report_fold=heartbeat_interval,
        drain_timeout=timedelta(seconds=60),
        probation=timedelta(seconds=30),
        reset_timeout=timedelta(seconds=60),
        reboot_timeout=timedelta(seconds=120),
        termination_retry=timedelta(seconds=10),
        inventory_interval=timedelta(seconds=10),
        inventory_interval_urgent=timedelta(seconds=1),
        witness_gap=timedelta(seconds=2),
        effect_retry=timedelta(seconds=2),
        retry_base=timedelta(seconds=1),
        retry_max=timedelta(seconds=30),
    )


def local(
    nodes: int, port: int, data: Path, heartbeat_interval: timedelta, *, serving: bool = False
) -> Plan:
    """Plan a fleet of processes on this machine; agents speak each `heartbeat_interval`.

    With `serving` they run replicas.
    """
    from navarch.config.providers import ProcessProvider as ProcessConfig

    pool = PoolSpec(
        name=LOCAL_POOL,
        provider="process",
        instance_type="local-8x",
        region="local",
        zones=("local-a", "local-b"),
        min_nodes=nodes,
        max_nodes=nodes + max(LOCAL_SURGE, nodes),
        disruption=Disruption(max_replacements_per_hour=60),
    )
    return Plan(
        host="127.0.0.1",
        port=port,
        data=data.absolute(),
        store=str(data.absolute() / "navarch.db"),
        settings=local_settings(heartbeat_interval),
        providers={"process": ProcessConfig(serving=serving)},
        pools=(pool,),
        local=True,
    )


def planned(config: Config) -> Plan:
    """Say a configuration in the terms of a plan.

    Raises `ConfigError` when a token cannot be had, a provider cannot be made as it is written, or
    a pool wants a type that its provider does not sell.
    """
    for fault in providers.faults(config):
        raise fault
    server = config.server
    store = config.store
    tokens = _tokens(server)
    return Plan(
        host=_host(server, has_tokens=bool(tokens)),
        port=server.address.port,
        data=server.data,
        store=parts.store_of(store),
        settings=server.settings(),
        providers=dict(config.providers),
        pools=providers.pools_of(config),
        tokens=tokens,
        config=config,
        autoscale_interval=server.autoscale_interval,
        node_series_max=server.node_series_max,
        tls=_tls(server),
        http2=server.http2,
        rates=rates_of(server),
        reports=server.reports,
    )


def rates_of(server: Server) -> Rates:
    """How often callers may ask, in the words of the wire."""
    from navarch.wire.admission import Rates

    return Rates(**asdict(server.limits))


HEALTH_SETTINGS: Final = (
    *("workload_manager", "drain_timeout", "drain_overrun", "drain_poll", "probation"),
    *("probation_max", "reset_timeout", "reboot_timeout", "relapse_window", "attempts_max"),
    "clean_reports_to_heal",
)
"""What a configuration says about drains and repairs, which `up` takes from it too."""


def with_config(plan: Plan, written: Plan) -> Plan:
    """Put a configuration in the place of the local pool; the machine's own settings stay.

    What the file does not say about repairs is left as short as suits local processes.
    """
    usual = Settings()
    said = {
        name: getattr(written.settings, name)
        for name in HEALTH_SETTINGS
        if getattr(written.settings, name) != getattr(usual, name)
    }
    return replace(
        plan,
        providers=written.providers,
        pools=written.pools,
        config=written.config,
        autoscale_interval=written.autoscale_interval,
        node_series_max=written.node_series_max,
        settings=replace(plan.settings, **said),
    )


def _tls(server: Server) -> Tls | None:
    from navarch.wire.certificates import Tls

    files = server.auth.tls
    if files.cert_file is None or files.key_file is None:
        return None
    client_ca = str(files.client_ca_file) if files.client_ca_file else None
    return Tls(str(files.cert_file), str(files.key_file), client_ca)


def _host(server: Server, *, has_tokens: bool) -> str:
    """Where to listen: without tokens, only where nobody else can reach.

    Raises `ConfigError` when another address was asked for by name.
    """
    from navarch.wire.listener import is_loopback

    host = server.address.host
    if has_tokens or is_loopback(host):
        return host
    if not host:
        log.warning("everybody_is_admin", because="no tokens are configured", host="127.0.0.1")
        return "127.0.0.1"
    raise ConfigError(
        f"{host} can be reached by others, and no tokens are configured: name some under "
        "server.auth.tokens, set NAVARCH_AUTH_TOKEN, or listen on 127.0.0.1",
        key="server.address",
    )


def _tokens(server: Server) -> tuple[StaticToken, ...]:
    from navarch.config.credentials import token_text
    from navarch.wire.auth import Role, StaticToken

    tokens = [
        StaticToken(token.name, Role[token.role.upper()], token_text(token))
        for token in server.auth.tokens
    ]
    alone = os.environ.get("NAVARCH_AUTH_TOKEN", "").strip()
    if alone and not tokens:
        tokens.append(StaticToken("NAVARCH_AUTH_TOKEN", Role.ADMIN, alone))
    return tuple(tokens)
