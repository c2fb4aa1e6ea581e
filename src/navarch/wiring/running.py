"""The commands `up`, `server`, `agent` and `relay`: from a plan to a process that ends in order.

SIGTERM and SIGINT end each of them. SIGHUP has `server` read its file again; `up` belongs to a
terminal, and for it SIGHUP means that the terminal is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from navarch.errors import JournalError, NavarchError
from navarch.telemetry import redaction
from navarch.telemetry.log import Log
from navarch.version import VERSION
from navarch.wiring import (
    first_scripts,
    health,
    logs,
    parts,
    plans,
    plugins,
    provider_types,
    providers,
    serving,
    traces,
)
from navarch.wiring.plans import Plan

if TYPE_CHECKING:
    from navarch.agent.settings import AgentSettings
    from navarch.config.schema import Config
    from navarch.controlplane.clock import Clock
    from navarch.controlplane.control_plane import ControlPlane
    from navarch.providers.process import ProcessProvider
    from navarch.relay.settings import RelaySettings
    from navarch.wire.asgi import Application
    from navarch.wire.certificates import Certificates
    from navarch.wiring.scaling import ScalingParts

log = Log(__name__)

Furnish = Callable[
    ["ControlPlane", "Application", Path, Path | None], Callable[[], Awaitable[None]]
]
"""Adds to what a control plane serves, given the folder of its fleet and the one with reports of
simulations; returns what ends it."""

END_SECONDS_MAX: Final = 5.0
"""How long a control plane that has lost its journal may take to end: less than its lease."""

POWER_OFF_MAX: Final = timedelta(seconds=5)
"""How long the agents of `up` may take to end when it does."""


def run_up(
    *,
    nodes: int,
    port: int,
    data: Path,
    config: Path | None,
    heartbeat_interval: timedelta,
    serving: bool = False,
    furnish: Furnish | None = None,
) -> int:
    """Run a whole fleet on this machine until a signal says stop; return the exit code.

    A `config` takes the place of the local pool, whose agents run replicas with `serving`.
    `furnish` adds to what is served; None: nothing does.

    Raises `NavarchError` when it cannot begin.
    """
    logs.to_stderr("up")
    local = plans.local(nodes, port, data, heartbeat_interval, serving=serving)
    if config is not None:
        local = plans.with_config(local, plans.planned(_load(config)))
    return _run(local, "up", furnish)


def run_server(config: Path, furnish: Furnish | None = None) -> int:
    """Run the control plane until a signal says stop; return the exit code.

    `furnish` adds to what is served; None: nothing does.

    Raises `NavarchError` when it cannot begin.
    """
    logs.to_stderr("server")
    return _run(plans.planned(_load(config)), "server", furnish)


def run_agent(settings: AgentSettings) -> int:
    """Run the agent of a node until a signal says stop; return the exit code.

    Raises `ConfigError` when it cannot begin.
    """
    from navarch.agent.daemon import run_agent as run
    from navarch.controlplane.clock import RealClock

    logs.to_stderr("agent", node=settings.node_id)
    redaction.know(settings.token or "")
    run(settings, now=RealClock().now)
    return 0


def run_relay(settings: RelaySettings) -> int:
    """Run a relay until a signal says stop; return the exit code.

    Raises `ConfigError` when it cannot begin.
    """
    from navarch.controlplane.clock import RealClock
    from navarch.relay.daemon import run_relay as run

    logs.to_stderr("relay")
    redaction.know(settings.token or "")
    run(settings, now=RealClock().now)
    return 0


def _load(path: Path) -> Config:
    from navarch.config.load import examine

    found = examine(path)
    if found.config is None:
        raise found.faults[0]
    for warning in found.warnings:
        log.warning("config_doubtful", warning=str(warning))
    return found.config


GARBAGE_EVERY: Final = 50_000
"""Objects that are made, and not given up, before Python looks for cycles among them.

Its own 700 are for small programs. Here every look may come to go through the records of a whole
fleet, which are none: with 10,000 nodes that was a third of the time of an ordinary heartbeat. What
waits for its end meanwhile is some 10 MB.
"""


def _run(plan: Plan, service: str, furnish: Furnish | None) -> int:
    import uvloop

    from navarch.controlplane.clock import RealClock

    endpoint = ""
    if plan.config is not None:
        logs.as_written(plan.config.server.logs)
        endpoint = plan.config.server.traces.endpoint or ""
    redaction.know_url(plan.store)
    gc.set_threshold(GARBAGE_EVERY)
    with (
        traces.traced(service, RealClock(), endpoint),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(_serve(plan, furnish))


async def _serve(plan: Plan, furnish: Furnish | None) -> int:
    """Serve until a signal, or until the control plane has failed."""
    from navarch.controlplane.clock import RealClock
    from navarch.wire import listener, protocols
    from navarch.wiring.scaling import ScalingParts

    clock = RealClock()
    protocol = protocols.spoken(http2=plan.http2)
    certificates = _certificates(plan, clock)
    listening = listener.bind(plan.host, plan.port)  # first, so that nothing begins in vain
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(listening.close)
        url = _url(listening, tls=plan.tls is not None)
        control_plane = _control_plane(plan, clock, url, _advertised(plan, listening))
        stack.push_async_callback(providers.close_all, control_plane.providers.values())
        control_plane.on_lost = _end_soon
        parts_of_scaling = ScalingParts(control_plane, clock)
        scaling = parts_of_scaling.make(plan.config) if plan.config else None
        await control_plane.start()
        machines = _local_machines(control_plane) if plan.local else []
        for provider in machines:  # only now: before, they may belong to somebody else
            stack.push_async_callback(provider.power_off, deadline=POWER_OFF_MAX)
        stack.push_async_callback(control_plane.stop)
        stack.push_async_callback(parts_of_scaling.close)
        for provider in machines:
            await provider.power_on()
        await control_plane.configure_pools(plan.pools)
        if scaling is not None:
            await parts_of_scaling.place(scaling)
        _take_configurations(plan, control_plane, parts_of_scaling, certificates)
        application = control_plane.asgi_app
        unfurnish = None
        if furnish is not None:
            unfurnish = furnish(control_plane, application, plan.data, plan.reports)
        context = None
        if certificates is not None:
            context = certificates.context
            application.pages.add_metrics(certificates.metrics)
            watching = asyncio.create_task(certificates.watch(), name="certificates")
            stack.callback(watching.cancel)
        server = listener.EmbeddedServer(
            listener.config(application, protocol=protocol, tls=context)
        )
        listening.listen()  # whoever reads the greeting may call at once, and is answered soon
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        _greet(plan, url, control_plane)
        try:
            await _until_told(control_plane, serving, hangup_ends=plan.local)
        except JournalError:
            _end_soon()  # also where no lease was lost
            server.force_exit = True  # nobody is owed an answer by one who must not give it
            raise
        finally:
            if unfurnish is not None:  # before the listener, which waits for open streams
                await unfurnish()
            server.should_exit = True
            await serving
    return 0


def _end_soon() -> None:
    """See to it that a process whose journal is lost ends, whatever is still in its way."""
    forced = threading.Timer(END_SECONDS_MAX, os._exit, (1,))
    forced.daemon = True
    forced.start()


def _certificates(plan: Plan, clock: Clock) -> Certificates | None:
    """What the server shows; None: it speaks plain HTTP. Raises `ConfigError`."""
    from navarch.wire.certificates import Certificates

    return None if plan.tls is None else Certificates(plan.tls, clock.now, http2=plan.http2)


def _take_configurations(
    plan: Plan,
    control_plane: ControlPlane,
    scaling: ScalingParts,
    certificates: Certificates | None,
) -> None:
    """Take other configurations from now on: from administrators, and by SIGHUP."""
    if plan.config is None:
        return
    from navarch.wiring.reload import Reload

    reload = Reload(control_plane, scaling, plan.config, local=plan.local)
    control_plane.set_configure(reload.from_wire)
    if plan.local:
        return
    loop = asyncio.get_running_loop()
    reading: set[asyncio.Task[None]] = set()

    def done(task: asyncio.Task[None]) -> None:
        reading.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("reload_broke", raised=task.exception())

    def read_again() -> None:
        if certificates is not None:
            certificates.reload()
        task = loop.create_task(reload.from_file(), name="reload")
        reading.add(task)  # the loop itself holds its tasks only weakly
        task.add_done_callback(done)

    loop.add_signal_handler(signal.SIGHUP, read_again)


def _control_plane(plan: Plan, clock: Clock, url: str, advertised: str) -> ControlPlane:
    from navarch.controlplane.control_plane import ControlPlane
    from navarch.controlplane.server_config import ServerConfig
    from navarch.wire.admission import DEFAULT_RATES
    from navarch.wire.auth import Authenticator

    plugins.hold(plugins.prepare(plan.config))  # first: pools may name what modules register
    secret = parts.fleet_secret(plan.data)
    settings = plan.settings
    config = ServerConfig(
        health_check_interval_seconds=int(settings.health_check_interval.total_seconds()),
        heartbeat_interval_seconds=int(settings.heartbeat_interval.total_seconds()),
        enabled_health_checks=settings.enabled_health_checks,
        clock=clock,
        evaluation_interval=plan.autoscale_interval,
        rates=plan.rates or DEFAULT_RATES,
        node_series_max=plan.node_series_max,
        settings=settings,
    )
    authenticator = Authenticator(plan.tokens, secret)
    control_plane = ControlPlane(
        config,
        parts.open_store(plan.store, advertised),
        authenticator=authenticator,
        policy=health.policy_of(plan.config),
        notifier=health.notifier_of(plan.config, clock),
        bootstrap_logs=first_scripts.log_access(
            plan.providers,
            None if plan.config is None else plan.config.server.bootstrap,
            plan.data,
            secret,
        ),
        serving=serving.serving_parts(plan, lambda: control_plane.runtime.machine.fleet),
    )
    _register_providers(control_plane, plan, clock, secret, url)
    control_plane.set_health_observer(health.observers_of(control_plane.plugins.registry))
    for ranker in parts.foreign_rankers(plan.pools):
        control_plane.register_ranker(ranker)
    return control_plane


def _register_providers(
    control_plane: ControlPlane, plan: Plan, clock: Clock, secret: bytes, url: str
) -> None:
    """Make the providers, and say what their machines run first.

    Raises `ConfigError` and `PluginError` when one cannot be made.
    """
    from navarch.config.providers import kind_of

    around = providers.Surroundings(
        clock=clock,
        data=plan.data,
        secret=secret,
        url=url,
        tls_ca="" if plan.tls is None else plan.tls.cert_file,
    )
    wanted = plan.config.server.bootstrap if plan.config is not None else None
    bootstrap = first_scripts.settings_of(wanted)
    for name, written in plan.providers.items():
        provider = providers.make_provider(name, written, around)
        boot = first_scripts.boot_script(kind_of(written), bootstrap, secret)
        listed = provider_types.list_prices(kind_of(written))
        control_plane.register_provider(provider, name, boot=boot, list_prices=listed)


def _local_machines(control_plane: ControlPlane) -> list[ProcessProvider]:
    from navarch.providers.process import ProcessProvider

    known = control_plane.providers.values()
    return [provider for provider in known if isinstance(provider, ProcessProvider)]


def _url(listening: socket.socket, *, tls: bool) -> str:
    """Where agents on this machine reach us."""
    scheme = "https" if tls else "http"
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - read, not bound
        host = "localhost"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _advertised(plan: Plan, listening: socket.socket) -> str:
    """Where others reach us, on other machines too."""
    if plan.config is not None and plan.config.server.advertise:
        return plan.config.server.advertise.rstrip("/")
    host = listening.getsockname()[0]
    everywhere = host in ("0.0.0.0", "::")  # noqa: S104 - read, not bound
    url = _url(listening, tls=plan.tls is not None)
    return url.replace("localhost", socket.gethostname()) if everywhere else url


async def _until_told(
    control_plane: ControlPlane, serving: asyncio.Task[None], *, hangup_ends: bool
) -> None:
    """Wait for a signal. Raises what the control plane or the listener ended with."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    ends = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hangup_ends else [])]
    for number in ends:
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
    log.info("stopping", because="it was told to")


def _greet(plan: Plan, url: str, control_plane: ControlPlane) -> None:
    """Tell a person where everything is."""
    if not plan.local:
        role, tag = control_plane.standing().role, control_plane.runtime.machine.fleet.tag
        log.info("serving", url=url, role=role, fleet=tag, version=VERSION, pid=os.getpid())
        return
    wanted = ", ".join(f"{pool.name} ({pool.min_nodes} nodes)" for pool in plan.pools)
    print(f"Navarch is up at {url}")  # noqa: T201 - this is what the command is for
    print(f"  fleet   {control_plane.runtime.machine.fleet.tag} in {plan.data}")  # noqa: T201
    print(f"  pools   {wanted}")  # noqa: T201
    print("  next    navarch list    (Ctrl-C here ends everything)", flush=True)  # noqa: T201
