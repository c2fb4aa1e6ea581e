"""A real PostgreSQL on this machine: a throw-away server on a port that was free.

Needs Debian's package ``postgresql``. The server refuses to run as root, so it runs as the user
that the package made. What is asked for decides whether it flushes: tests of logic need not wait
for a disk, tests of crashes must have the defaults.
"""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from infra.real_parts import free_ports, require, wait_for

QUICK = (
    *("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
    *("-c", "max_connections=60"),
)
_HOMES = Path("/usr/lib/postgresql")


def programs() -> Path:
    """Return the folder of the newest server there is; skip the test loudly if there is none."""
    homes = [home for home in _HOMES.glob("*") if re.fullmatch(r"\d+", home.name)]
    found = [home / "bin" for home in homes if (home / "bin" / "initdb").exists()]
    if not found:
        pytest.skip("NOT TESTED: PostgreSQL missing; apt-get install postgresql")
    return max(found, key=lambda folder: int(folder.parent.name))


class RealPostgres:
    """A running server with one superuser, postgres, who needs no password."""

    def __init__(self, *settings: str) -> None:
        """Make a cluster and start it with `settings` on the command line."""
        self._bin = programs()
        require(["setpriv"], "util-linux")
        self._folder = tempfile.TemporaryDirectory(prefix="navarch-postgres-")
        self.home = Path(self._folder.name)
        self._settings = settings
        [self.port] = free_ports(1)
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.home, account.pw_uid, account.pw_gid)
        self.data = self.home / "data"
        self.run("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "--no-sync")
        self._process = self._start()

    def url(self, schema: str = "navarch", database: str = "postgres") -> str:
        """Where a store is that keeps a fleet in this schema."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?schema={schema}"

    def run(self, program: str, *words: str | Path) -> str:
        """Run one of PostgreSQL's programs as its user, and return what it says."""
        command = [*_as_its_user(), self._bin / program, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return done.stdout

    def sql(self, text: str, database: str = "postgres") -> str:
        """Return what a statement answers, rows as lines and columns with bars between."""
        place = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database)
        return self.run("psql", *place, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text).strip()

    @property
    def pids(self) -> list[int]:
        """The server's processes: the first one has started the others."""
        first = self._process.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def freeze(self) -> None:
        """Let all of it stand still: connections open, and nothing is answered."""
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        for pid in reversed(self.pids):
            os.kill(pid, signal.SIGCONT)

    def crash(self) -> None:
        """End it at once, as a power cut does."""
        # Stopped first: a child that it has started after the list was read would live on, hold the
        # shared memory, and have the next server refuse to start.
        self._process.send_signal(signal.SIGSTOP)
        pids = self.pids
        self._process.kill()
        for pid in pids[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()

    def start(self) -> None:
        """Start it again on the same port, and wait until it answers."""
        self._process = self._start()

    def stop(self) -> None:
        """End it and remove all of it."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()
        self._folder.cleanup()

    def _start(self) -> subprocess.Popen[bytes]:
        place = ["-p", str(self.port), "-k", str(self.home), "-c", "listen_addresses=127.0.0.1"]
        command: list[str | Path] = [*_as_its_user(), self._bin / "postgres", "-D", self.data]

        def begun() -> subprocess.Popen[bytes]:
            with (self.home / "log").open("ab") as log:
                whole = [*command, *place, *self._settings]
                return subprocess.Popen(whole, stdout=log, stderr=log, cwd="/")

        process = begun()
        ready: list[str | Path] = [
            self._bin / "pg_isready",
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
        ]

        def answers() -> bool:
            nonlocal process
            if process.poll() is not None:  # what is left of a crashed one still has the memory
                process = begun()
            return subprocess.run(ready, check=False).returncode == 0

        wait_for(answers, f"PostgreSQL answers, see {self.home / 'log'}")
        return process


def _as_its_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
