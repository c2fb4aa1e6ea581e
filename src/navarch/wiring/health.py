"""Health: which policy judges, and who is told of cordons and drains, from a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, assert_never, cast

from msgspec import structs

from navarch.errors import ConfigError
from navarch.plugins.protocols import PluginKind
from navarch.telemetry.log import Log
from navarch.wiring import plugins
from navarch.wiring.metrics import credentials_of

if TYPE_CHECKING:
    from navarch.config import notifier as written
    from navarch.config.schema import Config
    from navarch.controlplane.clock import Clock
    from navarch.controlplane.instance_manager import NodeHealthObserver
    from navarch.notifiers.base import Notifier
    from navarch.plugins.registry import Registry
    from navarch.policy import HealthPolicy

log = Log(__name__)

NOTIFIERS = plugins.kind(PluginKind.NOTIFIER)


def policy_of(config: Config | None) -> HealthPolicy:
    """Read the policy that a configuration names; the built-in one where it names none.

    Raises `ConfigError` with every mistake in the policy, below a line that says who names it.
    """
    from navarch.policy import HealthPolicy, check_file

    if config is None or config.server.health_policy is None:
        return HealthPolicy.default()
    report = check_file(config.server.health_policy)
    if report.policy is None:
        mistakes = "\n".join(str(error) for error in report.errors)
        message = f"the policy cannot be used:\n{mistakes}"
        raise ConfigError(message, file=str(config.file), key="server.health_policy")
    return report.policy


def notifier_of(config: Config | None, clock: Clock) -> Notifier | None:
    """Make the notifier that a configuration names; None where it names none.

    Raises `ConfigError` when it cannot work as it is configured, and `PluginError` when it is
    somebody else's and does not fit.
    """
    if config is None or config.server.notifier is None:
        return None
    return _made(config.server.notifier, clock)


def _made(config: written.Notifier, clock: Clock) -> Notifier:
    from navarch.config import notifier as written

    match config:
        case written.WebhookNotifier():
            return _webhook(config.webhook, clock)
        case written.SlurmNotifier():
            from navarch.notifiers.slurm import SlurmNotifier, SlurmSettings

            return SlurmNotifier(SlurmSettings(**structs.asdict(config.slurm)))
        case written.KubernetesNotifier():
            return _kubernetes(config.kubernetes)
        case written.NoopNotifier():
            from navarch.notifiers.noop import NoopNotifier

            return NoopNotifier()
        case written.CustomNotifier():
            made: Notifier = plugins.make(NOTIFIERS, config.custom.use, config.custom.config)
            return made
        case _:
            assert_never(config)


def _webhook(config: written.Webhook, clock: Clock) -> Notifier:
    from navarch.notifiers.webhook import WebhookNotifier, WebhookSettings

    settings = WebhookSettings(
        cordon_url=config.cordon_url or "",
        uncordon_url=config.uncordon_url or "",
        drain_url=config.drain_url or "",
        drain_status_url=config.drain_status_url or "",
        timeout=config.timeout,
        headers=config.headers,
        secret_env=config.secret_env or "",
        secret_file=str(config.secret_file or ""),
        ca_file=str(config.ca_file or ""),
        retries=config.retries,
    )
    return WebhookNotifier(settings, now=clock.now)


def _kubernetes(config: written.Kubernetes) -> Notifier:
    from navarch.notifiers.kubernetes import KubernetesNotifier, KubernetesSettings

    settings = KubernetesSettings(
        url=config.url or "",
        credentials=credentials_of(config.credentials),
        timeout=config.timeout,
    )
    return KubernetesNotifier(settings)


class Observers:
    """Every health observer that was registered, or comes with an installed package."""

    def __init__(self, observers: Sequence[NodeHealthObserver]) -> None:
        """Tell all of these."""
        self._observers = tuple(observers)

    async def on_node_unhealthy(self, node_id: str) -> None:
        """Tell each of them; one that breaks is named, and the others hear of it."""
        for observer in self._observers:
            try:
                answer = observer.on_node_unhealthy(node_id)
                if inspect.isawaitable(answer):
                    await answer
            except Exception:  # the plugin guard
                name = str(getattr(observer, "name", observer))
                log.exception("plugin_broke", kind="health-observer", plugin=name, node=node_id)


def observers_of(registry: Registry) -> Observers | None:
    """Gather the health observers of a registry; None where there is none."""
    found = registry.plugins(PluginKind.HEALTH_OBSERVER)
    return Observers(cast("Sequence[NodeHealthObserver]", found)) if found else None
