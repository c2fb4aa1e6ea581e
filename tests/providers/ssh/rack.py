"""A rack of machines that somebody owns: one real sshd, a port and a home for each machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from msgspec import structs

from navarch.providers.base import FLEET_LABEL, INSTANCE_LABEL, POOL_LABEL, ProvisionRequest
from navarch.providers.ssh import SshMachine, SshProvider, SshSettings

SSHD: Final = "/usr/sbin/sshd"
NOW: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)

FORCE = """\
#!/bin/sh
# Carries out what is asked of one machine, whose home is $1; files beside it script its troubles.
[ ! -e "$1.mute" ] || exit 1
cd "$1" || exit 1
if [ -e "$1.loses" ]; then
  case $SSH_ORIGINAL_COMMAND in
  *"$(cat "$1.loses")"*)
    rm "$1.loses"
    sh -c "$SSH_ORIGINAL_COMMAND" >/dev/null 2>&1
    kill -KILL $PPID
    ;;
  esac
fi
if [ -e "$1.holds" ]; then
  case $SSH_ORIGINAL_COMMAND in
  *"$(cat "$1.holds")"*)
    sh -c "$SSH_ORIGINAL_COMMAND" >/dev/null 2>&1
    while [ -e "$1.holds" ]; do sleep 0.02; done
    exit 1
    ;;
  esac
fi
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""


class Rack:
    """Machines `m0`, `m1`, and so on, on loopback."""

    def __init__(self, root: Path, count: int) -> None:
        """Make keys and homes, and start the one sshd that serves them all."""
        self.root = root
        self.count = count
        self.ports = _free_ports(count)
        for name in ("host", "client", "stranger"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)]
            subprocess.run(command, check=True, timeout=30)
        (root / "quiet").mkdir()
        force = root / "force"
        force.write_text(FORCE)
        force.chmod(0o755)
        lines = [
            *(f"Port {port}" for port in self.ports),
            "ListenAddress 127.0.0.1",
            f"HostKey {root}/host",
            f"PidFile {root}/sshd.pid",
            f"AuthorizedKeysFile {root}/authorized",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "PermitRootLogin prohibit-password",
            "MaxStartups 200",
            # The login's own start-up files are not a part of the test.
            f"SetEnv HOME={root}/quiet",
        ]
        for number, port in enumerate(self.ports):
            lines += [f"Match LocalPort {port}", f"ForceCommand {force} {self.home(number)}"]
        (root / "sshd_config").write_text("\n".join(lines) + "\n")
        Path("/run/sshd").mkdir(exist_ok=True)
        self.start()
        self.clean()

    def start(self) -> None:
        """Have the sshd listen."""
        command = [SSHD, "-D", "-f", str(self.root / "sshd_config"), "-E", f"{self.root}/sshd.log"]
        self._sshd = subprocess.Popen(command)
        for _ in range(1_000):
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", self.ports[-1])) == 0:
                    return
            assert self._sshd.poll() is None, (self.root / "sshd.log").read_text()
            subprocess.run(["sleep", "0.01"], check=True)
        raise AssertionError("sshd does not listen")

    def stop(self) -> None:
        """End it, with every connection."""
        _send(signal.SIGKILL, self.processes())
        self._sshd.terminate()
        self._sshd.wait()

    def home(self, number: int) -> Path:
        """Where the login of a machine finds itself."""
        return self.root / f"m{number}"

    def folder(self, number: int) -> Path:
        """Where its leases are."""
        return self.home(number) / "leases-of-navarch"

    def mute(self, number: int) -> None:
        """Let a machine answer nothing of use, until it is cleaned or heard again."""
        Path(f"{self.home(number)}.mute").touch()

    def lose(self, number: int, word: str = "setsid sh -c") -> None:
        """Let the next command with this word be carried out, and its connection end first."""
        Path(f"{self.home(number)}.loses").write_text(word)

    def hold(self, number: int, word: str = "setsid sh -c") -> None:
        """Let commands with this word be carried out, and answered nothing until all is heard."""
        Path(f"{self.home(number)}.holds").write_text(word)

    def hear(self) -> None:
        """Let everything go well again."""
        self.signal(signal.SIGCONT)
        (self.root / "authorized").write_text((self.root / "client.pub").read_text())
        for number in range(self.count):
            for trouble in ("mute", "loses", "holds"):
                Path(f"{self.home(number)}.{trouble}").unlink(missing_ok=True)

    def lock_out(self) -> None:
        """Let nobody log in any more, and end the connections there are."""
        (self.root / "authorized").write_text("")
        self.hang_up()

    def hang_up(self) -> None:
        """End every connection."""
        _send(signal.SIGKILL, self._sessions())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the sshd and to what serves its connections."""
        _send(number, [self._sshd.pid, *self._sessions()])

    def _sessions(self) -> list[int]:
        """The processes that serve connections."""
        return _children(self._sshd.pid)

    def take(self, number: int, name: str = "of-somebody-else") -> None:
        """Let somebody else have the machine."""
        work = self.folder(number) / "leases" / name
        work.mkdir(parents=True)
        (self.folder(number) / "ended").mkdir()
        lease = f'{name} 00\n{{"name":"{name}","token":"t","nonce":"00"}}\n'
        (self.folder(number) / "lease").write_text(lease)
        (work / "lent").touch()

    def clean(self) -> None:
        """Make every machine as new, ending what still runs there."""
        self.hear()
        _send(signal.SIGKILL, self.processes())
        for number in range(self.count):
            shutil.rmtree(self.home(number), ignore_errors=True)
            self.home(number).mkdir(exist_ok=True)

    def processes(self) -> list[int]:
        """Everything that was started on a machine and still runs."""
        marks = [os.fsencode(self.home(number)) + b"/" for number in range(self.count)]
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdecimal():
                    told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                    if any(mark in told for mark in marks):
                        found.append(int(entry.name))
        return found

    @property
    def fingerprint(self) -> str:
        """Of the host key, as its owner reads it."""
        command = ["ssh-keygen", "-lf", str(self.root / "host.pub")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[1]

    def machine(self, number: int, **changes: object) -> SshMachine:
        """Describe a machine for an inventory."""
        machine = SshMachine(
            name=f"m{number}",
            host="127.0.0.1",
            port=self.ports[number],
            instance_type="contract-test",
            gpu_count=8,
            gpu_type="H100",
            zone=f"z{number % 2}",
            labels={"rack": "r1"},
            fingerprint=self.fingerprint,
        )
        return structs.replace(machine, **changes)

    def settings(self, count: int = 2, **changes: object) -> SshSettings:
        """Describe how the first `count` machines are reached."""
        settings = SshSettings(
            machines=tuple(self.machine(number) for number in range(count)),
            user=_user(),
            key_file=self.root / "client",
            folder="leases-of-navarch",
        )
        return structs.replace(settings, **changes)

    def provider(self, settings: SshSettings | None = None) -> SshProvider:
        """Make a provider, each time a new one as after a restart."""
        return SshProvider(settings or self.settings(), now=lambda: NOW, sleep=pause)


async def pause(duration: timedelta) -> None:
    """Wait."""
    await asyncio.sleep(duration.total_seconds())


async def until(holds: Callable[[], object], what: str = "it") -> None:
    """Wait for something that other processes do."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - other processes set no event of ours
            await asyncio.sleep(0.02)


async def gone(provider: SshProvider, instance_id: str) -> None:
    """Wait until a machine has been returned."""
    async with asyncio.timeout(20):
        while instance_id in [each.id for each in await provider.list()]:
            await pause(timedelta(milliseconds=50))


def asking(name: str = "training-k3f9-0001", **changes: object) -> ProvisionRequest:
    """Make a request as the control plane's are."""
    request = ProvisionRequest(
        name=name,
        instance_type="contract-test",
        labels={FLEET_LABEL: "k3f9", INSTANCE_LABEL: name, POOL_LABEL: "training"},
        token=name,
    )
    return structs.replace(request, **changes)


def _send(number: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(pid, number)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(FileNotFoundError):
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in map(int, words):
            found += [child, *_children(child)]
    return found


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
