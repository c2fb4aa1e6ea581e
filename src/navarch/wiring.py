"""Which concrete parts a running Navarch is made of; the only module that names them.

It holds what the commands `up`, `server` and `agent` do: build the parts that the configuration
asks for, serve until told to stop, and take everything down in order. Each returns the exit code
and raises a `NavarchError` of one clear line when it cannot begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from navarch.core.model.pool import Disruption, PoolSpec
from navarch.core.settings import Settings
from navarch.errors import ConfigError, NavarchError

if TYPE_CHECKING:
    from navarch.config.schema import Config, Server
    from navarch.config.schema import Provider as ProviderConfig
    from navarch.controlplane.clock import Clock
    from navarch.controlplane.control_plane import ControlPlane
    from navarch.providers.base import Provider, ProvisionRequest
    from navarch.providers.local_process import AgentCommand
    from navarch.providers.process import ProcessProvider
    from navarch.stores.base import Store
    from navarch.wire.auth import StaticToken

log = logging.getLogger(__name__)

LOCAL_POOL: Final = "local"
"""What the pool of `up` is called."""
LOCAL_SURGE: Final = 2
"""How many machines above the wanted number `up` may have, so that it can buy before it ends."""
POWER_OFF_MAX: Final = timedelta(seconds=5)
"""How long the agents of `up` may take to end when it does."""


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that a control plane process is built from."""

    host: str
    port: int
    data: Path
    store: str
    """``memory``, or the path of a SQLite file."""
    settings: Settings
    providers: dict[str, ProviderConfig]
    pools: tuple[PoolSpec, ...]
    tokens: tuple[StaticToken, ...] = ()
    local: bool = False
    """Whether the machines end with us, and come back with us: `up`."""


# --- the commands ----------------------------------------------------------------------------


def run_up(
    *, nodes: int, port: int, data: Path, config: Path | None, heartbeat_interval: timedelta
) -> int:
    """Run a whole fleet on this machine until a signal says stop; return the exit code.

    A `config` takes the place of the local pool. Raises `NavarchError` when it cannot begin.
    """
    plan = _local_plan(nodes, port, data, heartbeat_interval)
    if config is not None:
        written = _planned(_load(config))
        plan = replace(plan, providers=written.providers, pools=written.pools)
    return _run(plan)


def run_server(config: Path) -> int:
    """Run the control plane until a signal says stop; return the exit code.

    Raises `NavarchError` when it cannot begin.
    """
    return _run(_planned(_load(config)))


def run_agent(  # noqa: PLR0913 - one for each option of the command
    *,
    server: str,
    node_id: str,
    state_dir: Path,
    token: str | None,
    provider: str,
    region: str,
    zone: str,
    instance_type: str,
    labels: Mapping[str, str],
    sensors: str,
    gpu_count: int,
    gpu_type: str,
) -> int:
    """Run the agent of a node until a signal says stop; return the exit code.

    Raises `ConfigError` when it cannot begin.
    """
    from navarch.agent.daemon import run_agent as run
    from navarch.agent.settings import AgentSettings
    from navarch.controlplane.clock import RealClock

    _log_to_stderr()
    settings = AgentSettings(
        servers=(server,),
        node_id=node_id,
        state_dir=state_dir,
        token=token,
        provider=provider,
        region=region,
        zone=zone,
        instance_type=instance_type,
        labels=dict(labels),
        sensors=sensors,
        gpu_count=gpu_count,
        gpu_type=gpu_type,
    )
    run(settings, now=RealClock().now)
    return 0


# --- plans -----------------------------------------------------------------------------------


def local_settings(heartbeat_interval: timedelta) -> Settings:
    """Patience for machines that are processes: they boot in a second, and lists are free."""
    return Settings(
        heartbeat_interval=heartbeat_interval,
        health_check_interval=heartbeat_interval * 5,
        provisioning_timeout=timedelta(seconds=60),
        registration_timeout=timedelta(seconds=60),
        termination_retry=timedelta(seconds=10),
        inventory_interval=timedelta(seconds=10),
        inventory_interval_urgent=timedelta(seconds=1),
        witness_gap=timedelta(seconds=2),
        effect_retry=timedelta(seconds=2),
        retry_base=timedelta(seconds=1),
        retry_max=timedelta(seconds=30),
    )


def _local_plan(nodes: int, port: int, data: Path, heartbeat_interval: timedelta) -> Plan:
    from navarch.config.schema import ProcessProvider as ProcessConfig

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
        providers={"process": ProcessConfig()},
        pools=(pool,),
        local=True,
    )


def _load(path: Path) -> Config:
    from navarch.config.load import load

    return load(path)


def _planned(config: Config) -> Plan:
    """Say a configuration in the terms of a plan.

    Raises `ConfigError` when a token cannot be had.
    """
    server = config.server
    store = config.store
    tokens = _tokens(server)
    return Plan(
        host=_host(server, has_tokens=bool(tokens)),
        port=server.address.port,
        data=server.data,
        store="memory" if store.path is None else str(store.path),
        settings=server.settings(),
        providers=dict(config.providers),
        pools=tuple(config.pools.values()),
        tokens=tokens,
    )


def _host(server: Server, *, has_tokens: bool) -> str:
    """Where to listen: without tokens, only where nobody else can reach.

    Raises `ConfigError` when another address was asked for by name.
    """
    from navarch.wire.listener import is_loopback

    host = server.address.host
    if has_tokens or is_loopback(host):
        return host
    if not host:
        log.warning("no tokens are configured: listening on loopback only, everybody is admin")
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


# --- parts -----------------------------------------------------------------------------------


def open_store(where: str) -> Store:
    """Make the store that a plan names; nothing is opened yet."""
    from navarch.controlplane.control_plane import holder

    if where == "memory":
        from navarch.stores.memory import MemoryStore

        return MemoryStore(holder=holder())
    from navarch.stores.sqlite import SqliteStore

    return SqliteStore(where, holder=holder())


def make_provider(
    name: str, config: ProviderConfig, plan: Plan, clock: Clock, secret: bytes, url: str
) -> Provider:
    """Make a provider from its configuration."""
    from navarch.config import schema

    match config:
        case schema.FakeProvider():
            from navarch.providers.fake import FakeCloud, FakeProvider

            cloud = FakeCloud(name=name, gpu_count=config.gpu_count, gpu_type=config.gpu_type)
            return FakeProvider(name=name, cloud=cloud, now=clock.now, sleep=clock.sleep)
        case schema.ProcessProvider():
            from navarch.providers.process import ProcessProvider

            return ProcessProvider(
                plan.data / "instances" / name,
                _agent_command(name, config, secret, url),
                now=clock.now,
                name=name,
                gpu_count=config.gpu_count,
                gpu_type=config.gpu_type,
            )


def _agent_command(
    provider: str, config: ProviderConfig, secret: bytes, url: str
) -> Callable[[ProvisionRequest, Path], AgentCommand]:
    """How an instance of the process provider is started: an agent of our own version."""
    from navarch.providers.local_process import AgentCommand
    from navarch.wire.auth import mint_node_token

    def command(request: ProvisionRequest, folder: Path) -> AgentCommand:
        argv = [sys.executable, "-m", "navarch", "agent", "--server", url]
        argv += ["--node-id", request.name, "--state-dir", str(folder / "state")]
        argv += ["--provider", provider, "--region", request.region, "--zone", request.zone]
        argv += ["--instance-type", request.instance_type]
        argv += ["--gpu-count", str(config.gpu_count), "--gpu-type", config.gpu_type]
        for key, value in request.labels.items():
            argv += ["--label", f"{key}={value}"]
        inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        token = mint_node_token(secret, request.name)
        return AgentCommand(argv=tuple(argv), env={**inherited, "NAVARCH_NODE_TOKEN": token})

    return command


def fleet_secret(data: Path) -> bytes:
    """Read the secret behind the nodes' tokens; make one where there is none.

    Raises `ConfigError` when the file cannot be read or written, or others may read it.
    """
    path = data / "node-tokens.key"
    try:
        data.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_secret(path)
        text = path.read_text(encoding="ascii").strip()
        mode = stat.S_IMODE(path.stat().st_mode)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"the secret of the nodes' tokens: {reason}", file=str(path)) from error
    if mode & 0o077:
        raise ConfigError("may be read by others: chmod 600 it", file=str(path))
    if not text:
        raise ConfigError("is empty: delete it to have a new one made", file=str(path))
    return text.encode()


def _make_secret(path: Path) -> None:
    """Write a new secret, whole or not at all."""
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


# --- running ---------------------------------------------------------------------------------


def _run(plan: Plan) -> int:
    import uvloop

    _log_to_stderr()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(plan))


async def _serve(plan: Plan) -> int:
    """Serve until a signal, or until the control plane has failed."""
    from navarch.controlplane.clock import RealClock
    from navarch.wire import listener

    clock = RealClock()
    listening = listener.bind(plan.host, plan.port)  # first, so that nothing begins in vain
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(listening.close)
        control_plane = _control_plane(plan, clock, _url(listening))
        await control_plane.start()
        machines = _local_machines(control_plane) if plan.local else []
        for provider in machines:  # only now: before, they may belong to somebody else
            stack.push_async_callback(provider.power_off, deadline=POWER_OFF_MAX)
        stack.push_async_callback(control_plane.stop)
        for provider in machines:
            await provider.power_on()
        await control_plane.configure_pools(plan.pools)
        server = listener.EmbeddedServer(listener.config(control_plane.asgi_app))
        listening.listen()  # whoever reads the greeting may call at once, and is answered soon
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        _greet(plan, _url(listening), control_plane)
        try:
            await _until_told(control_plane, serving)
        finally:
            server.should_exit = True
            await serving
    return 0


def _control_plane(plan: Plan, clock: Clock, url: str) -> ControlPlane:
    from navarch.controlplane.control_plane import ControlPlane, ServerConfig
    from navarch.wire.auth import Authenticator

    secret = fleet_secret(plan.data)
    settings = plan.settings
    config = ServerConfig(
        health_check_interval_seconds=int(settings.health_check_interval.total_seconds()),
        heartbeat_interval_seconds=int(settings.heartbeat_interval.total_seconds()),
        enabled_health_checks=settings.enabled_health_checks,
        clock=clock,
        settings=settings,
    )
    authenticator = Authenticator(plan.tokens, secret)
    control_plane = ControlPlane(config, open_store(plan.store), authenticator=authenticator)
    for name, written in plan.providers.items():
        control_plane.register_provider(
            make_provider(name, written, plan, clock, secret, url), name
        )
    return control_plane


def _local_machines(control_plane: ControlPlane) -> list[ProcessProvider]:
    from navarch.providers.process import ProcessProvider

    providers = control_plane.providers.values()
    return [provider for provider in providers if isinstance(provider, ProcessProvider)]


def _url(listening: socket.socket) -> str:
    """Where agents on this machine reach us."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - read, not bound
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _until_told(control_plane: ControlPlane, serving: asyncio.Task[None]) -> None:
    """Wait for a signal. Raises what the control plane or the listener ended with."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    waiting = asyncio.create_task(told.wait())
    failing = asyncio.create_task(control_plane.wait_failed())
    tasks: set[asyncio.Task[Any]] = {waiting, failing, serving}
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in (waiting, failing):
        task.cancel()
    for task in done:
        task.result()
    if waiting not in done:
        raise NavarchError("the listener has ended by itself: see the log")
    log.info("stopping")


def _greet(plan: Plan, url: str, control_plane: ControlPlane) -> None:
    """Tell a person where everything is."""
    if not plan.local:
        log.info("serving on %s, fleet %s", url, control_plane.runtime.machine.fleet.tag)
        return
    wanted = ", ".join(f"{pool.name} ({pool.min_nodes} nodes)" for pool in plan.pools)
    print(f"Navarch is up at {url}")  # noqa: T201 - this is what the command is for
    print(f"  fleet   {control_plane.runtime.machine.fleet.tag} in {plan.data}")  # noqa: T201
    print(f"  pools   {wanted}")  # noqa: T201
    print("  next    navarch list    (Ctrl-C here ends everything)", flush=True)  # noqa: T201


class _Lines(logging.Formatter):
    """One line a record: time, level, where from, what, and the facts as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; a traceback follows on lines of its own."""
        at = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        line = f"{at}.{record.msecs:03.0f}Z {record.levelname:<7} {record.getMessage()}"
        fact = getattr(record, "fact", None)
        if fact is not None:
            line += f" fact={fact}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _log_to_stderr() -> None:
    """Send all logs of this process to its standard error."""
    formatter = _Lines()
    formatter.converter = time.gmtime
    stderr = logging.StreamHandler()
    stderr.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[stderr], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
