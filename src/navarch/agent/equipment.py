"""Which sensors a node has: made here, so that nothing else names one."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from navarch.agent.commands import Pretence
from navarch.agent.reboot import boot_id_or_empty
from navarch.agent.sensors.base import Sensor
from navarch.agent.settings import INJECTED, AgentSettings, Serving
from navarch.core.model.gpu import GPU
from navarch.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from navarch.agent.serving.host import ServingHost, Tell
    from navarch.agent.serving.weights import Weights

Clock = Callable[[], datetime]


class Census:
    """The GPUs that were listed last: who needs them must not wait for a driver."""

    def __init__(self) -> None:
        """Know none yet."""
        self.gpus: tuple[GPU, ...] = ()

    def known(self) -> tuple[GPU, ...]:
        """Return them from memory."""
        return self.gpus


def make_sensors(settings: AgentSettings, now: Clock, census: Census) -> tuple[Sensor, ...]:
    """Make the sensors that the settings name; only their modules are imported.

    `census` tells the sensor of the kernel log which GPU is at which address.

    Raises `ConfigError` where a setting or the state folder cannot be used. A sensor that finds
    nothing to read is made all the same, and says so.
    """
    if settings.sensors == INJECTED:
        from navarch.agent.sensors.injected import InjectedSensor  # noqa: PLC0415

        injected = InjectedSensor(
            settings.state_dir,
            node_id=settings.node_id,
            now=now,
            gpu_count=settings.gpu_count,
            gpu_type=settings.gpu_type,
        )
        return (injected,)
    from navarch.agent.sensors.kernel_log import KernelLogSensor, boot_id  # noqa: PLC0415
    from navarch.agent.sensors.nvml import NvmlSensor  # noqa: PLC0415
    from navarch.agent.sensors.system import SystemSensor, own_cgroup_counter  # noqa: PLC0415

    nvml = NvmlSensor(now=now, expected_gpus=settings.expected_gpus)
    kernel_log = KernelLogSensor(
        settings.kernel_log,
        now=now,
        state_folder=settings.state_dir,
        known_gpus=census.known,
        boot_id=boot_id(),
        agent_pid=os.getpid(),
    )
    system = SystemSensor(
        now=now,
        disks=(Path("/"), settings.state_dir),
        oom_counter=own_cgroup_counter(),
    )
    return (nvml, kernel_log, system)


def make_pretence(settings: AgentSettings, now: Clock) -> Pretence | None:
    """Make what stands in for hardware that injected sensors pretend; None for real ones."""
    if settings.sensors != INJECTED:
        return None
    from navarch.agent.sensors.injected import InjectedHardware  # noqa: PLC0415

    return InjectedHardware(settings.state_dir, now=now)


def make_serving(
    settings: AgentSettings, *, now: Clock, tell: Tell, spread: float
) -> ServingHost | None:
    """Make what runs replicas; None where the node serves nothing, and nothing is imported then.

    `now` never goes backwards; `tell` is given what is served whenever that changes.

    Raises `ConfigError` where the cache of models cannot be used.
    """
    if settings.serving is None:
        return None
    from navarch.agent.serving.host import ServingHost  # noqa: PLC0415

    return ServingHost(
        settings.state_dir / "serving",
        weights=_make_cache(settings, settings.serving, now),
        now=now,
        tell=tell,
        boot_id=boot_id_or_empty(settings.means.boot_id_path),
        spread=spread,
    )


def _make_cache(settings: AgentSettings, serving: Serving, now: Clock) -> Weights:
    from navarch.plugins.loaders.cache import Lending, ModelCache  # noqa: PLC0415
    from navarch.plugins.loading import import_module  # noqa: PLC0415
    from navarch.plugins.registry import get_global_registry  # noqa: PLC0415

    for module in serving.plugin_modules:
        try:
            import_module(module)
        except PluginError as error:
            raise ConfigError(str(error), key="plugin-module") from error
    lending = None
    if serving.cache_listen:
        host = serving.cache_listen.rpartition(":")[0]
        everywhere = host in ("0.0.0.0", "[::]", "")  # noqa: S104 - it is what was asked for
        named = settings.internal_ip if everywhere else host
        lending = Lending(listen=serving.cache_listen, host=named)
    return ModelCache(
        serving.cache_dir or settings.state_dir / "models",
        serving.cache_quota,
        get_global_registry(),
        now=now,
        node=settings.node_id,
        lending=lending,
    )
