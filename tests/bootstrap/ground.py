"""A folder that plays a bare machine: the start-up script runs in it, in a real shell."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import structs

from navarch.bootstrap import BootstrapSettings, NodeFacts, Service, render

TOKEN = "nvn1.secret-of-the-node"
NODE = NodeFacts(node_id="training-k3f9-0001", provider="ssh", labels={"team": "ml"})

AGENT = """\
#!/bin/sh
case $1 in --version) echo 'navarch 9.9'; exit 0 ;; esac
printf '%s\\0' "$@" >"{said}"
exec sleep 600
"""

SYSTEMCTL = """\
#!/bin/sh
echo "$*" >>"{calls}"
"""


def make_host_key(folder: Path, kind: str = "ed25519") -> str:
    """Make a host key as sshd's own would be called, and return its fingerprint."""
    path = folder / f"ssh_host_{kind}_key"
    command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, timeout=30)
    told = ["ssh-keygen", "-lf", f"{path}.pub"]
    return subprocess.run(told, capture_output=True, text=True, check=True).stdout.split()[1]


class Ground:
    """One machine."""

    def __init__(self, root: Path) -> None:
        """Begin with nothing but a program that could be the agent."""
        self.root = root
        self.said = root / "argv"
        """What the agent was started with."""
        self.calls = root / "calls"
        """What the stand-ins of the system's programs were called with."""
        self.programs = root / "programs"
        for usual in ("var/lib", "var/log"):
            (root / usual).mkdir(parents=True)
        self.program("navarch", AGENT.format(said=self.said))
        self.settings = BootstrapSettings(
            servers=("http://127.0.0.1:1",),
            executable=str(self.programs / "navarch"),
            service=Service.BACKGROUND,
            folder=str(root / "opt/navarch"),
            config_folder=str(root / "etc/navarch"),
            state_folder=str(root / "var/lib/navarch"),
            record_folder=str(root / "var/lib/record"),
            log=str(root / "var/log/bootstrap.log"),
            unit_folder=str(root / "etc/units"),
        )

    def program(self, name: str, text: str) -> Path:
        """Put a program where the script looks first."""
        self.programs.mkdir(parents=True, exist_ok=True)
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def with_systemd(self, **changes: object) -> BootstrapSettings:
        """Settings for a machine whose systemctl notes what it is told."""
        self.program("systemctl", SYSTEMCTL.format(calls=self.calls))
        return structs.replace(self.settings, service=Service.SYSTEMD, **changes)

    def run(
        self,
        settings: BootstrapSettings | None = None,
        node: NodeFacts = NODE,
        *,
        token: str | None = TOKEN,
        shell: str = "sh",
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run the script as the machine would."""
        script = self.root / "user-data"
        script.write_bytes(render(settings or self.settings, node, token).encode())
        return self.run_file(script, shell, environ)

    def run_file(
        self, script: Path, shell: str = "sh", environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a file in a shell."""
        path = f"{self.programs}:{os.environ['PATH']}"
        return subprocess.run(
            [shell, str(script)],
            env={"PATH": path, **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def remove(self) -> subprocess.CompletedProcess[str]:
        """Undo the script."""
        return self.run_file(self.record / "remove")

    @property
    def record(self) -> Path:
        """The folder of the record."""
        return Path(self.settings.record_folder)

    @property
    def log(self) -> str:
        """What the script told."""
        return Path(self.settings.log).read_text()

    @property
    def argv(self) -> list[str]:
        """What the agent was started with."""
        return self.said.read_text().split("\0")[:-1]

    def supervisor(self) -> int:
        """The process that keeps the agent running."""
        return int((self.record / "supervisor.pid").read_text())

    def agents(self) -> list[int]:
        """What runs below the supervisor, but the one that cuts its log."""
        children = Path(f"/proc/{self.supervisor()}/task/{self.supervisor()}/children")
        found = [int(pid) for pid in children.read_text().split()]
        return [pid for pid in found if _words(pid)[:2] == ["sleep", "600"]]

    def files(self) -> dict[str, str]:
        """Every file the script could have made, with its content and mode; the log left out."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            within = path.relative_to(self.root)
            if within.parts[0] in {"opt", "etc", "var"} and path.name != "bootstrap.log":
                content = "" if path.is_dir() else path.read_text()
                found[str(within)] = f"{path.stat().st_mode:o} {content}"
        return found

    def clean(self) -> list[int]:
        """End what still runs in this folder, and say what it was."""
        marker = os.fsencode(self.root)
        left = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdecimal() and int(entry.name) != os.getpid():
                    told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                    if marker in told:
                        left.append(int(entry.name))
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.root)
        return left


def _words(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []
