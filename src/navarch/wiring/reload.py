"""Another configuration while running: pools, autoscalers, metrics, and the health policy.

It comes from the file, read again at SIGHUP, or from an administrator. It is understood and made as
a whole before anything of it is used. What only a restart can change is refused and not ignored:
who changed it believes that it holds.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from navarch.config import document, load
from navarch.core.model.pool import PoolSpec
from navarch.core.selection import BUILT_IN
from navarch.errors import ConfigError, NavarchError, WireError
from navarch.telemetry.log import Log
from navarch.wiring import health, plugins, providers

if TYPE_CHECKING:
    from navarch.config.schema import Config
    from navarch.controlplane.control_plane import ControlPlane
    from navarch.policy import HealthPolicy
    from navarch.wire.queries import Configuration
    from navarch.wiring.scaling import ScalingParts

log = Log(__name__)

KEPT = (
    *("address", "advertise", "data", "store", "heartbeat_interval", "health_check_interval"),
    *("autoscale_interval", "auth", "http2", "notifier", "repair", "node_series_max"),
)
"""The keys of ``server`` that only a restart changes."""


class NeedsRestart(NavarchError):
    """A configuration changes what only a restart can."""


class Reload:
    """Uses other configurations, one after the other."""

    def __init__(
        self, control_plane: ControlPlane, scaling: ScalingParts, config: Config, *, local: bool
    ) -> None:
        """Begin with `config`, which is in use; `local` is `up`, which ignores ``server``."""
        self._control_plane = control_plane
        self._scaling = scaling
        self._config = config
        self._local = local
        self._using = asyncio.Lock()

    async def from_file(self) -> None:
        """Read the file again. Whatever is wrong is logged, and nothing is changed."""
        file = self._config.file
        try:
            changes = await self.use(document.read_text(file), str(file))
        except NavarchError as error:
            for line in str(error).splitlines():
                log.error("config_rejected", file=str(file), error=line)
            return
        for change in changes:
            log.info("config_changed", by="its file", change=change)
        log.info("config_reloaded", file=str(file), changes=len(changes))

    async def from_wire(self, written: Configuration) -> Sequence[str]:
        """Use what an administrator sent, and say what is different.

        Raises `WireError`: ``invalid_argument`` for mistakes, one a line, and
        ``failed_precondition`` for what needs a restart.
        """
        try:
            changes = await self.use(written.text, written.source)
        except ConfigError as error:
            raise WireError("invalid_argument", str(error)) from error
        except NeedsRestart as error:
            raise WireError("failed_precondition", str(error)) from error
        for change in changes:
            log.info("config_changed", by="an administrator", change=change)
        return changes

    async def use(self, text: str, source: str) -> Sequence[str]:
        """Use the configuration in `text`, called `source` in messages; say what is different.

        Raises `ConfigError` with every mistake, one a line, and `NeedsRestart`; nothing is
        changed then.
        """
        async with self._using:
            before = self._config
            config = await asyncio.to_thread(_understood, text, source, before)
            self._check_restart(before, config)
            policy = await asyncio.to_thread(health.policy_of, config)
            prepared = await asyncio.to_thread(plugins.prepare, config)
            scaling = self._scaling.make(config)
            await self._control_plane.configure_pools(providers.pools_of(config))
            await self._scaling.place(scaling)
            used = plugins.hold(prepared)
            self._control_plane.plugins.mark_shadows()
            self._config = config
            changes = [*_changes(before, config), *(f"plugin {each}" for each in used)]
            return [*changes, *await self._judge_by(policy, source)]

    async def _judge_by(self, policy: HealthPolicy, source: str) -> Sequence[str]:
        """Adopt a policy that differs from the one in use; the file may have changed by itself."""
        before = self._control_plane.policy
        if (policy.name, policy.digest) == (before.name, before.digest):
            return ()
        await self._control_plane.adopt_policy(policy, f"{source} was read again")
        return (f"health policy {before.name} -> {policy.name} ({len(policy.rules)} rules)",)

    def _check_restart(self, before: Config, after: Config) -> None:
        keys = [] if self._local else KEPT
        changed = [
            f"server.{key}"
            for key in keys
            if getattr(before.server, key) != getattr(after.server, key)
        ]
        names = {**before.providers, **after.providers}
        changed += [
            f"providers.{name}"
            for name in names
            if before.providers.get(name) != after.providers.get(name)
        ]
        known = {*BUILT_IN, *self._control_plane.rankers}
        changed += [
            f"pools.{name}.strategy"
            for name, pool in after.pools.items()
            if pool.strategy not in known
        ]
        if changed:
            raise NeedsRestart(f"needs a restart: {', '.join(changed)}; nothing was changed")


def _understood(text: str, source: str, before: Config) -> Config:
    """Read a text as if it were the file of the configuration that is in use."""
    found = load.examine_text(text, path=before.file, environ=os.environ, name=source)
    if found.config is None:
        raise ConfigError("\n".join(map(str, found.faults)))
    if faults := providers.faults(found.config, found.readings):
        raise ConfigError("\n".join(map(str, faults)))
    for warning in found.warnings:
        log.warning("config_doubtful", warning=str(warning))
    return found.config


def _changes(before: Config, after: Config) -> Iterator[str]:
    """Say what is different between two configurations, pool by pool."""
    for name in before.pools:
        if name not in after.pools:
            yield f"pool {name} is retired: its machines stay until somebody decides"
    for name, pool in after.pools.items():
        if name not in before.pools:
            yield f"pool {name} is new: {pool.min_nodes} to {pool.max_nodes} nodes"
            continue
        yield from _changes_of_pool(before.pools[name], pool)
        if before.autoscaling.get(name) != after.autoscaling.get(name) and (
            before.pools[name].autoscaling == pool.autoscaling
        ):
            yield f"pool {name}: the config of its autoscaling"  # it may be secret
        if before.metrics.get(name) != after.metrics.get(name):
            yield f"pool {name}: metrics"
    if before.server.metrics != after.server.metrics:
        yield "server.metrics"


def _changes_of_pool(before: PoolSpec, after: PoolSpec) -> Iterator[str]:
    for field in before.__struct_fields__:
        old, new = getattr(before, field), getattr(after, field)
        if old == new:
            continue
        plain = not isinstance(old, Struct | dict | tuple) and field != "user_data"
        shown = f" {_shown(old)} -> {_shown(new)}" if plain else ""
        yield f"pool {after.name}: {field}{shown}"


def _shown(value: object) -> str:
    return str(value) or "none"
