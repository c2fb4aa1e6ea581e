"""What an agent is told when it is started: who it is, whom it serves and what it reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from navarch.agent.boot_check import BOOT_CHECK_TIME_MAX
from navarch.agent.commands import Means
from navarch.agent.interruption import AUTO, Metadata, check_interruptions
from navarch.core.model import ids
from navarch.errors import ConfigError
from navarch.wire.trust import Trust

POOL_LABEL = "navarch.dev/pool"
"""Names the pool that the node belongs to."""

SENSORS_LABEL = "navarch.dev/sensors"
"""Says which sensors the node has; ``injected`` means that no reading is real."""

STATE_FOLDER_LABEL = "navarch.dev/state-dir"
"""Names the agent's state folder, on the host that the metadata name."""

MODEL_CACHE_LABEL = "navarch.io/model-cache"
"""Says where other nodes may fetch models from this one, such as ``http://10.0.0.7:9650``."""

TOKEN_VARIABLE = "NAVARCH_NODE_TOKEN"  # noqa: S105 - the name of a variable, not its content
"""Holds the node's secret, where no file does."""

KERNEL_LOG: Final = Path("/dev/kmsg")
"""Where Linux shows its log, record by record (Documentation/ABI/testing/dev-kmsg; read
2026-11-22)."""

INJECTED: Final = "injected"
REAL: Final = "real"
SENSOR_KINDS: Final = (REAL, INJECTED)

SERVER_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")


class Serving(Struct, frozen=True, kw_only=True):
    """How a node serves replicas: what the control plane says is run there, program by program."""

    cache_dir: Path | None = None
    """Where models are kept; None: in the state folder."""
    cache_quota: int = 0
    """How many bytes they may take; 0: as many as the disk has, less a reserve."""
    cache_listen: str = ""
    """Where other nodes may fetch models, as HOST:PORT; empty: nowhere."""
    plugin_modules: tuple[str, ...] = ()
    """Modules that register loaders of models; imported by their names."""


class AgentSettings(Struct, frozen=True, kw_only=True):
    """How one agent is started. The CLI fills it; nothing in it changes while the agent runs."""

    servers: tuple[str, ...]
    """Addresses of the control plane, such as ``http://localhost:50051``; the next one is tried
    when one is away."""
    node_id: str
    state_dir: Path
    """Made if missing. It belongs to one agent at a time."""
    token: str | None = None
    """Its secret; None where the control plane asks for none. Never logged."""
    tls: Trust | None = None
    """Trusted certificates, and ours if the control plane asks for one; None: the system's."""
    provider: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    internal_ip: str = ""
    external_ip: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    """Told to the control plane, with those of the sensors and of the state folder added."""
    sensors: str = REAL
    """``real``: the driver's library, the kernel log and the system; ``injected``: made up."""
    expected_gpus: int | None = None
    """How many GPUs the machine should have; None: as many as are seen."""
    kernel_log: Path = KERNEL_LOG
    """What the sensor of the kernel log reads."""
    gpu_count: int = 8
    """How many GPUs injected sensors pretend."""
    gpu_type: str = "H100"
    """What injected sensors call them."""
    means: Means = Means()
    """Which commands are carried out, and with which programs."""
    boot_checks: tuple[tuple[str, ...], ...] = ()
    """Programs that have to end with 0 before the node registers."""
    boot_check_time_max: timedelta = BOOT_CHECK_TIME_MAX
    boot_check_register_anyway: bool = False
    """Whether a node whose boot check does not pass registers all the same, as unhealthy."""
    call_time_max: timedelta = timedelta(seconds=10)
    """How long a call may take: longer than a control plane's slowest flush to its disk."""
    reading_time_max: timedelta = timedelta(seconds=5)
    """How long sensors may take before the reading counts as failed: a driver may hang."""
    interruptions: str = AUTO
    """Whose notices that a spot machine ends are looked for: ``auto``, ``aws``, ``gcp`` or
    ``off``."""
    metadata: Metadata = Metadata()
    """Where those notices are."""
    serving: Serving | None = None
    """None: the node serves nothing."""

    def check(self) -> None:
        """Raise `ConfigError`, naming the setting, where one cannot be used."""
        if not self.servers:
            raise ConfigError(
                "no address, expected one such as http://localhost:50051", key="server"
            )
        for url in self.servers:
            if SERVER_URL.fullmatch(url) is None:
                text = f"{url!r} is no address, expected one such as http://localhost:50051"
                raise ConfigError(text, key="server")
        if ids.NODE_ID.fullmatch(self.node_id) is None:
            text = f"{self.node_id[:60]!r} is no id: 1 to 253 letters, digits and . _ : / -"
            raise ConfigError(text, key="node-id")
        if self.sensors not in SENSOR_KINDS:
            text = f"{self.sensors!r} is no kind of sensors, expected {' or '.join(SENSOR_KINDS)}"
            raise ConfigError(text, key="sensors")
        check_interruptions(self.interruptions)
        if self.tls is not None and not any(url.startswith("https:") for url in self.servers):
            raise ConfigError("no address begins with https://: TLS has nowhere to go", key="tls")


def read_token(environment: Mapping[str, str], file: Path | None = None) -> str | None:
    """Find the node's secret: in the file if one is named, else in the environment; None if unset.

    Raises `ConfigError` when the file cannot be read or is empty.
    """
    if file is None:
        return environment.get(TOKEN_VARIABLE) or None
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=str(file)) from error
    if not token:
        raise ConfigError("is empty, expected the node's token", file=str(file))
    return token
