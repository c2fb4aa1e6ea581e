"""What a start-up script is made from: what is the same for all nodes, and what is one node's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from navarch.core.model import ids
from navarch.errors import ConfigError
from navarch.version import VERSION

PATH: Final = re.compile(r"/[A-Za-z0-9._+-]+(/[A-Za-z0-9._+-]+)+")
"""What a path of ours may look like, at least two names deep: it is written into scripts, a unit of
systemd and a record that is read line by line, and some are removed with all they hold."""

PROGRAM: Final = re.compile(r"[A-Za-z0-9._+/-]+")

UNIT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")

USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
"""What useradd of Debian takes without being forced (useradd(8), read 2026-11-22)."""

SERVER: Final = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")

VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

RESERVED: Final = frozenset(
    [
        *("CONFIG", "EXECUTABLE", "FOLDER", "HOST_KEYS", "LOG", "NODE", "OWNER", "PYTHON"),
        *(
            "RECORD",
            "REMOVE",
            "SERVICE",
            "STATE",
            "SUPERVISE",
            "TLS_CA",
            "TOKEN",
            "UNIT",
            "UNITS",
            "UNIT_TEXT",
        ),
        *("VERSION", "WANTED", "code", "count", "found", "label", "line", "pid", "venv"),
    ]
)
"""The script's own variables, which the environment must not change."""

TOKEN: Final = re.compile(r"[!-~]{1,4096}")
"""Visible ASCII: the file's reader strips what surrounds it."""

ARGUMENT_BYTES_MAX: Final = 100_000
"""Bytes of one text: Linux takes 131,072 in one argument of a program (execve(2), read
2026-11-22), and the shell quotes some signs as five."""

TEXTS_MAX: Final = 1_000
"""How many labels, commands, options and the like there may be of each."""


class Service(StrEnum):
    """Who keeps the agent running."""

    AUTO = "auto"
    """systemd where it runs, else a supervisor of our own."""

    SYSTEMD = "systemd"
    BACKGROUND = "background"
    """A shell script that starts the agent again whenever it ends. It does not survive a reboot."""


class BootstrapSettings(Struct, frozen=True, kw_only=True):
    """How agents are installed and started; the same for every node of a fleet."""

    servers: tuple[str, ...]
    """Addresses of the control plane as nodes reach it, such as ``https://cp.example:50051``."""
    requirement: str = f"navarch[nvml]=={VERSION}"
    """What pip installs; unused where `wheel` or `executable` is set."""
    wheel: str = ""
    """A wheel to install instead: an https URL, or a path on the node."""
    executable: str = ""
    """The path of a ``navarch`` that the node's image has already: nothing is installed."""
    pip_options: tuple[str, ...] = ()
    """Further options of ``pip install``. They may name an account, so `repr` leaves them out."""
    python: str = "python3"
    """The interpreter that makes the environment: 3.11 or later, with its module ``venv``."""
    system_site_packages: bool = False
    """Whether the environment sees what the node's image has installed."""
    prepare_commands: tuple[str, ...] = ()
    """Run before anything is installed, such as ``apt-get install -y python3-venv``."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """For pip, the commands and the agent, such as a proxy. `repr` leaves the values out."""
    agent_options: tuple[str, ...] = ()
    """Further options of ``navarch agent``, such as ``--allow``, ``reboot``."""
    tls_ca: str = ""
    """Certificates (PEM) that agents trust in the place of the system's. Empty: the system's."""
    user: str = ""
    """Who the agent runs as; made if missing. Empty: whoever runs the script, root as a rule.
    Another than root may reset GPUs or reboot only by commands that let it."""
    service: Service = Service.AUTO
    folder: str = "/opt/navarch"
    """Holds the environment and the program that starts the agent."""
    config_folder: str = "/etc/navarch"
    """Holds the token."""
    state_folder: str = "/var/lib/navarch"
    """The agent's state folder, and its log where systemd does not keep it."""
    record_folder: str = "/var/lib/navarch-bootstrap"
    """Holds the record of what the script made. ``NAVARCH_BOOTSTRAP_RECORD`` overrides it."""
    log: str = "/var/log/navarch-bootstrap.log"
    """Where each step and its result are told. ``NAVARCH_BOOTSTRAP_LOG`` overrides it."""
    unit: str = "navarch-agent"
    """The name of the unit of systemd."""
    unit_folder: str = "/etc/systemd/system"

    def __repr__(self) -> str:
        """Show what is installed and for whom: neither options of pip nor the environment."""
        return (
            f"BootstrapSettings(servers={self.servers!r}, "
            f"install={self.executable or self.wheel or self.requirement!r}, "
            f"environment=<{', '.join(sorted(self.environment))}>)"
        )

    def check(self) -> None:
        """Raise `ConfigError`, naming the setting, where one cannot be used."""
        if not self.servers:
            raise ConfigError("is empty, expected the control plane's address", key="servers")
        for url in self.servers:
            _match(SERVER, url, "servers", "an address such as https://cp.example:50051")
        for key in ("folder", "config_folder", "state_folder", "record_folder", "log"):
            _match_path(key, getattr(self, key))
        _match_path("unit_folder", self.unit_folder)
        if self.executable:
            _match_path("executable", self.executable)
        _match(PROGRAM, self.python, "python", "a program such as python3.12")
        _match(UNIT, self.unit, "unit", "a name such as navarch-agent")
        if self.user:
            _match(USER, self.user, "user", "a name such as navarch")
        if self.executable and self.wheel:
            raise ConfigError(
                "goes with no wheel: either is installed or is there", key="executable"
            )
        for name in self.environment:
            _match(VARIABLE, name, "environment", "a variable such as HTTPS_PROXY")
            if name in RESERVED:
                raise ConfigError(f"{name} is a variable of the script's own", key="environment")
        _check_texts("environment", self.environment.values())
        _check_texts("pip_options", self.pip_options)
        _check_texts("prepare_commands", self.prepare_commands)
        _check_texts("agent_options", self.agent_options)
        _check_texts("install", (self.requirement, self.wheel, self.tls_ca))


class NodeFacts(Struct, frozen=True, kw_only=True):
    """What is one node's own: who it is, where it is, and what its pool wants done on it."""

    node_id: str
    """Our id of the instance."""
    provider: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Told to the control plane. A key holds no ``=``."""
    expected_gpus: int | None = None
    """How many GPUs the boot check wants to see; None: any number."""
    user_data: str = ""
    """A script of the pool's, which begins with ``#!``; run before `setup_commands`."""
    setup_commands: tuple[str, ...] = ()
    """Commands of a shell, each in a shell of its own with ``-e``, until one fails."""

    def check(self) -> None:
        """Raise `ConfigError`, naming the fact, where one cannot be used."""
        _match(ids.NODE_ID, self.node_id, "node_id", "1 to 253 letters, digits and . _ : / -")
        if self.user_data and not self.user_data.startswith("#!"):
            raise ConfigError("is no script, expected one that begins with #!", key="user_data")
        for key in self.labels:
            if not key or "=" in key:
                raise ConfigError(f"{key!r} is no key, expected no = in it", key="labels")
        _check_texts("labels", (f"{key}={value}" for key, value in self.labels.items()))
        _check_texts("setup_commands", self.setup_commands)
        _check_texts("user_data", (self.user_data,))
        _check_texts("place", (self.provider, self.region, self.zone, self.instance_type))


def check_token(token: str | None) -> None:
    """Raise `ConfigError`, without the token in it, where a node could not use it."""
    if token is not None and TOKEN.fullmatch(token) is None:
        raise ConfigError("is no token, expected up to 4096 visible ASCII signs", key="token")


def _match(pattern: re.Pattern[str], text: str, key: str, expected: str) -> None:
    if pattern.fullmatch(text) is None:
        raise ConfigError(f"{text[:60]!r} cannot be used, expected {expected}", key=key)


def _match_path(key: str, text: str) -> None:
    _match(PATH, text, key, "an absolute path of letters, digits and . _ + -")
    if {".", ".."} & set(text.split("/")):
        raise ConfigError(f"{text[:60]!r} cannot be used, expected no . or .. in it", key=key)


def _check_texts(key: str, texts: Iterable[str]) -> None:
    """Hold texts to what a file and an argument of a program can carry."""
    for number, text in enumerate(texts, start=1):
        if number > TEXTS_MAX:
            raise ConfigError(f"more than {TEXTS_MAX} are too many", key=key)
        try:
            length = len(text.encode())
        except UnicodeEncodeError as error:
            raise ConfigError(f"number {number} is not UTF-8", key=key) from error
        if "\0" in text:
            raise ConfigError(f"number {number} holds a NUL, which no shell can read", key=key)
        if length > ARGUMENT_BYTES_MAX:
            limit = f"expected at most {ARGUMENT_BYTES_MAX}"
            raise ConfigError(f"number {number} has {length} bytes, {limit}", key=key)
