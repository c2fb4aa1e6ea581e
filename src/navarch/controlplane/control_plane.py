"""The control plane as one object: what a program starts, asks and stops.

::

    async with ControlPlane(store=MemoryStore()) as control_plane:
        control_plane.register_provider(FakeProvider(gpu_count=8))
        await control_plane.configure_pools([PoolSpec("training", "fake", min_nodes=2)])
        ...

It brings no network of its own. Whoever wants to serve the calls hands `asgi_app` to a server.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from navarch.controlplane.clock import Clock, RealClock
from navarch.controlplane.runtime import Runtime
from navarch.controlplane.service import Service
from navarch.core.model.messages import ConfigurePools
from navarch.core.model.pool import PoolSpec
from navarch.core.settings import Settings
from navarch.core.strategies import Strategies
from navarch.errors import NavarchError, PluginError
from navarch.providers.base import Provider
from navarch.stores.base import Store
from navarch.stores.memory import MemoryStore
from navarch.version import VERSION
from navarch.wire.asgi import Application, Readiness
from navarch.wire.auth import Authenticator

TAG_LETTERS = "bcdfghjkmnpqrstvwxz23456789"
"""Letters of a fleet's tag: no vowels, so that no words arise, and none that look alike."""


class ServerConfig(Struct, frozen=True):
    """What agents are told, and how patient the control plane is with them."""

    health_check_interval_seconds: int = 60
    heartbeat_interval_seconds: int = 30
    enabled_health_checks: Sequence[str] = ("boot", "nvml", "xid")
    clock: Clock | None = None
    """None means the machine's own."""
    settings: Settings = Settings()
    """Everything else; the three above take precedence."""

    def effective(self) -> Settings:
        """All settings in one.

        Raises `ValueError` when an interval is below one second.
        """
        for name in ("health_check_interval_seconds", "heartbeat_interval_seconds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 1 was expected")
        return replace(
            self.settings,
            health_check_interval=timedelta(seconds=self.health_check_interval_seconds),
            heartbeat_interval=timedelta(seconds=self.heartbeat_interval_seconds),
            enabled_health_checks=tuple(self.enabled_health_checks),
        )


class ControlPlane:
    """One writer over one journal, with the providers it may buy from."""

    def __init__(
        self,
        config: ServerConfig | None = None,
        store: Store | None = None,
        *,
        authenticator: Authenticator | None = None,
        retain: timedelta = timedelta(days=90),
    ) -> None:
        """Prepare; nothing is opened before `start`.

        Without a `store` everything is kept in memory and forgotten at the end. Without an
        `authenticator` every caller is an admin: serve `asgi_app` on loopback only. Raises
        `ValueError` when the configuration is impossible.
        """
        self._config = config or ServerConfig()
        self._strategies = Strategies(settings=self._config.effective())
        self._clock = self._config.clock or RealClock()
        self._store: Store = store or MemoryStore()
        self._retain = retain
        self._authenticator = authenticator or Authenticator()
        self._providers: dict[str, Provider] = {}
        self._runtime: Runtime | None = None
        self._running: asyncio.Task[None] | None = None

    # --- before the start ----------------------------------------------------------------

    def register_provider(self, provider: Provider, name: str | None = None) -> None:
        """Let pools buy from a provider, under its own name or another.

        Raises `PluginError` when the name is taken, or after the start.
        """
        known_as = name or provider.name
        if self._runtime is not None:
            raise PluginError(f"provider {known_as}: register providers before the start")
        if known_as in self._providers:
            raise PluginError(f"provider {known_as} is registered already: give it another name")
        self._providers[known_as] = provider

    # --- start and stop ------------------------------------------------------------------

    async def start(self) -> None:
        """Open the journal, fold it, and begin to work.

        Raises `JournalConflict` while another control plane holds the journal, `JournalCorrupt`
        when it is damaged, and `PluginError` when a provider misstates its facts.
        """
        await self._store.open()
        try:
            runtime = Runtime(
                self._store, self._providers, self._clock, self._strategies, retain=self._retain
            )
            await runtime.recover(_new_tag(), VERSION, holder())
        except BaseException:
            await self._store.close()
            raise
        self._runtime = runtime
        self._running = asyncio.create_task(runtime.run(), name="control plane")

    async def stop(self) -> None:
        """Answer what waits, keep a snapshot, and let go of the journal.

        Effects under way are abandoned: they are looked up at the next start. Stopping a stopped
        control plane does nothing. Raises `JournalError` when the loop had ended with one.
        """
        runtime, running = self._runtime, self._running
        if runtime is None or running is None:
            return
        self._runtime = self._running = None
        try:
            await runtime.stop("the control plane is stopping")
            await running
            await runtime.snapshot()
        finally:
            await self._store.close()

    async def wait_failed(self) -> None:
        """Wait until the loop has ended by itself.

        Raises what it ended with, a `JournalError` as a rule. The process should end then; a
        restart is always safe.
        """
        if self._running is not None:
            await asyncio.shield(self._running)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    # --- while running -------------------------------------------------------------------

    @property
    def runtime(self) -> Runtime:
        """The loop and all it works on.

        Raises `NavarchError` before the start and after the stop.
        """
        if self._runtime is None:
            raise NavarchError("the control plane is not started")
        return self._runtime

    async def configure_pools(self, pools: Iterable[PoolSpec]) -> None:
        """Make these the pools, and retire all others."""
        await self.runtime.ask(ConfigurePools(tuple(pools)))

    def readiness(self) -> Readiness:
        """Whether calls can be served. Cost: O(1)."""
        if self._runtime is None or self._running is None:
            return Readiness(ready=False, reason="the journal is not open yet, or no longer")
        if self._running.done():
            return Readiness(ready=False, reason="the control plane has failed")
        return Readiness(ready=True)

    @property
    def asgi_app(self) -> Application:
        """The remote calls as an ASGI 3 application. Ask for it after the start."""
        return Application(
            Service(self.runtime), authenticator=self._authenticator, ready=self.readiness
        )

    @property
    def providers(self) -> Mapping[str, Provider]:
        """Who may be bought from, by the names that pools use."""
        return dict(self._providers)


def holder() -> str:
    """Name this process, for whoever finds the journal held."""
    return f"pid {os.getpid()} on {socket.gethostname()}"


def _new_tag() -> str:
    """The only chance in a fleet's life: which tag it is founded under."""
    return "".join(secrets.choice(TAG_LETTERS) for _ in range(4))
