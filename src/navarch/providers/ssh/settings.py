"""Which machines there are, and how they are reached."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field, structs

from navarch.errors import ConfigError, Unavailable
from navarch.peers import program
from navarch.peers.unanswered import Unanswered

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}")
"""What a machine may be called: it becomes a part of the ids of what is lent."""

HOST: Final = re.compile(r"[A-Za-z0-9_\[\]:.%-]{1,253}")
FINGERPRINT: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
"""As ``ssh-keygen -l`` prints it (RFC 4648 base64 of SHA-256 without padding)."""

USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}")
FOLDER: Final = re.compile(r"[A-Za-z0-9._/+-]{1,200}")

MACHINES_MAX: Final = 2_000
"""How many machines an inventory may have: each is asked at every list."""

INVENTORY_BYTES_MAX: Final = 4 * 1024 * 1024
INVENTORY_TIME_MAX: Final = timedelta(seconds=20)
"""How long the inventory's command may take: a list has 60 seconds in all."""


class SshMachine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One machine of the inventory."""

    host: str
    """An address or a name that resolves."""
    name: str = ""
    """What it is called in ids and messages; its host if empty. It must never name another."""
    port: int = 22
    user: str = ""
    """Who logs in. Empty: as the settings say."""
    instance_type: str
    gpu_count: int = 0
    gpu_type: str = ""
    region: str = ""
    zone: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Shown with the machine; those of a request come before them."""
    fingerprint: str = ""
    """Of its host key, as ``ssh-keygen -lf`` prints it: ``SHA256:`` and 43 signs. Empty: the host
    key is in the file of known hosts."""
    price_per_hour: float = 0.0
    """What an hour counts as, in US dollars, for strategies that compare offers."""

    @property
    def id(self) -> str:
        """What it is called."""
        return self.name or self.host

    def check(self, *, knows_hosts: bool) -> None:
        """Raise `ConfigError`, naming the machine, where it cannot be used."""
        self._match(NAME, self.id, "name", "letters, digits and . _ : -")
        self._match(HOST, self.host, "host", "an address or a name")
        if not 0 < self.port < 65536:
            raise ConfigError(f"{self.id}: port {self.port} is none")
        if self.user:
            self._match(USER, self.user, "user", "a name such as root")
        if not self.instance_type:
            raise ConfigError(f"{self.id}: has no instance_type")
        if self.gpu_count < 0 or not self.price_per_hour >= 0:
            raise ConfigError(f"{self.id}: gpu_count and price_per_hour cannot be negative")
        if self.fingerprint:
            self._match(FINGERPRINT, self.fingerprint, "fingerprint", "SHA256: and 43 signs")
        elif not knows_hosts:
            raise ConfigError(
                f"{self.id}: its host key is not pinned: name a known_hosts_file or a fingerprint, "
                "as ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub prints it on the machine"
            )

    def _match(self, pattern: re.Pattern[str], text: str, key: str, expected: str) -> None:
        if pattern.fullmatch(text) is None:
            raise ConfigError(f"{self.id[:60]!r}: {key} {text[:60]!r}, expected {expected}")


class SshSettings(Struct, frozen=True, kw_only=True):
    """An inventory and the ways into it. Secrets are named, never held."""

    machines: tuple[SshMachine, ...] = ()
    """The inventory. Either this or `inventory_command`."""
    inventory_command: tuple[str, ...] = ()
    """Prints the inventory as a list in JSON, with the fields of `SshMachine`; run at every call
    without a shell, for at most 20 seconds."""
    user: str = "root"
    sudo: bool = False
    """Whether the user becomes root by ``sudo -n``, which must not ask for a password."""
    key_file: Path | None = None
    """A private key without a passphrase, for its owner alone to read; read anew when used."""
    agent: bool = False
    """Whether keys of the SSH agent at ``SSH_AUTH_SOCK`` are offered."""
    known_hosts_file: Path | None = None
    """In the format of OpenSSH; read anew when used."""
    folder: str = "/var/lib/navarch-ssh"
    """Where leases are written on the machines. Relative: to the home of whoever logs in."""
    cleanup_commands: tuple[str, ...] = ()
    """Run by ``sh -e`` on a machine that is returned, after the agent is removed."""
    cleanup_time_max: timedelta = timedelta(minutes=10)
    """How long each of them may take."""
    deadline: timedelta = timedelta(seconds=15)
    """How long one command on one machine may take, connecting included."""
    memory_file: Path | None = None
    """Where it is kept what was seen last. None: a restart forgets it, and the list is then an
    error until every machine has answered once."""

    def __post_init__(self) -> None:
        """Refuse what cannot work: raise `ConfigError`, naming the setting."""
        if bool(self.machines) == bool(self.inventory_command):
            raise ConfigError("expected either machines or inventory_command", key="machines")
        if self.key_file is None and not self.agent:
            raise ConfigError("is missing: name a private key, or use the agent", key="key_file")
        if USER.fullmatch(self.user) is None:
            raise ConfigError(f"{self.user[:60]!r}, expected a name such as root", key="user")
        is_plain = FOLDER.fullmatch(self.folder) and not {"", ".", ".."} & set(
            self.folder.removeprefix("/").split("/")
        )
        if not is_plain:
            raise ConfigError("expected a path such as /var/lib/navarch-ssh", key="folder")
        if self.deadline <= timedelta() or self.cleanup_time_max < timedelta(seconds=1):
            raise ConfigError("expected a duration above zero", key="deadline")
        for command in self.cleanup_commands:
            if "\0" in command or not _is_utf8(command):
                raise ConfigError("holds what no shell can read", key="cleanup_commands")
        check_machines(self.machines, self)

    @property
    def knows_hosts(self) -> bool:
        """Whether a file of known hosts is named."""
        return self.known_hosts_file is not None


def check_machines(machines: Sequence[SshMachine], settings: SshSettings) -> None:
    """Raise `ConfigError` where a machine cannot be used, two have one name or are too many."""
    if len(machines) > MACHINES_MAX:
        raise ConfigError(f"has {len(machines)}, expected at most {MACHINES_MAX}", key="machines")
    seen: set[str] = set()
    for machine in machines:
        machine.check(knows_hosts=settings.knows_hosts)
        if machine.id in seen:
            raise ConfigError(f"{machine.id} is named twice", key="machines")
        seen.add(machine.id)


async def inventory(settings: SshSettings) -> tuple[SshMachine, ...]:
    """Tell which machines there are now.

    :raises Unavailable: the command fails, or prints no inventory
    """
    if not settings.inventory_command:
        return settings.machines
    name = settings.inventory_command[0]
    try:
        printed = await program.output(
            settings.inventory_command,
            deadline=INVENTORY_TIME_MAX,
            bytes_max=INVENTORY_BYTES_MAX,
        )
        machines = msgspec.json.decode(printed, type=tuple[SshMachine, ...])
        check_machines(machines, settings)
    except Unanswered as error:
        raise Unavailable(f"the inventory: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unavailable(f"the inventory: {name} printed no list of machines: {error}") from error
    except ConfigError as error:
        raise Unavailable(f"the inventory: {name} printed a machine of no use: {error}") from error
    return machines


def with_defaults(machine: SshMachine, settings: SshSettings) -> SshMachine:
    """Fill in who logs in."""
    return machine if machine.user else structs.replace(machine, user=settings.user)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
