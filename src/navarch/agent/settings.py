"""What an agent is told when it is started: who it is, whom it serves and what it reads."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from msgspec import Struct, field

from navarch.agent.commands import DIAGNOSTIC_TIME_MAX
from navarch.core.model import ids
from navarch.errors import ConfigError

POOL_LABEL = "navarch.dev/pool"
"""Names the pool that the node belongs to."""

SENSORS_LABEL = "navarch.dev/sensors"
"""Says which sensors the node has; ``injected`` means that no reading is real."""

STATE_FOLDER_LABEL = "navarch.dev/state-dir"
"""Names the agent's state folder, on the host that the metadata name."""

TOKEN_VARIABLE = "NAVARCH_NODE_TOKEN"  # noqa: S105 - the name of a variable, not its content
"""Holds the node's secret, where no file does."""

SERVER_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")


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
    tls: ssl.SSLContext | None = None
    """Trusted certificates, and ours if the control plane asks for one; None: the system's."""
    provider: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    internal_ip: str = ""
    external_ip: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    """Told to the control plane, with those of the sensors and of the state folder added."""
    sensors: str = "injected"
    """Which sensors to read; only ``injected`` is known here, others are handed to `run_agent`."""
    gpu_count: int = 8
    """How many GPUs injected sensors pretend."""
    gpu_type: str = "H100"
    """What injected sensors call them."""
    diagnostic: tuple[str, ...] = ()
    """The program and arguments of RUN_DIAGNOSTIC; empty: the agent reads its sensors."""
    diagnostic_time_max: timedelta = DIAGNOSTIC_TIME_MAX
    call_time_max: timedelta = timedelta(seconds=10)
    """How long a call may take: longer than a control plane's slowest flush to its disk."""
    reading_time_max: timedelta = timedelta(seconds=5)
    """How long sensors may take before the reading counts as failed: a driver may hang."""

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
