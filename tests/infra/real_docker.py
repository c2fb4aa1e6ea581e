"""A real engine of Docker on this machine, of its own: folders, socket and containerd.

Needs ``dockerd``, ``containerd``, ``runc`` and ``docker-init`` (Debian's package ``docker.io``),
a static ``busybox`` (``busybox-static``) and the rights of root. Containers have no network, so
that no firewall of the host is touched, and their image is made of busybox alone: nothing is
fetched.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from infra.real_parts import require, wait_for
from navarch.peers.unanswered import Unanswered
from navarch.peers.unix_http import Reply, SocketClient

IMAGE = "navarch-busybox:1"
PROGRAMS = ("dockerd", "containerd", "runc", "docker-init", "busybox")


def require_docker() -> None:
    """Skip the test loudly where no engine can be started."""
    require(PROGRAMS, "docker.io busybox-static")
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: an engine of its own wants root")


class RealDocker:
    """A running engine, with one image."""

    def __init__(self) -> None:
        """Start it; returns when it answers and has the image."""
        # A socket's path has 107 bytes at most, which pytest's folders may exceed.
        self._folder = Path(tempfile.mkdtemp(prefix="navarch-docker-"))
        self.host = f"unix://{self._folder}/s"
        self._client = SocketClient(self.host)
        self._log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                *("dockerd", "--host", self.host, "--data-root", str(self._folder / "data")),
                *("--exec-root", str(self._folder / "exec"), "--pidfile", f"{self._folder}/pid"),
                *("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"),
            ],
            stdout=self._log,
            stderr=self._log,
        )
        try:
            wait_for(lambda: self._has_ended() or self._answers(), "dockerd answers")
            if self._has_ended():  # a kernel or a container that lets no containers be
                pytest.skip(f"NOT TESTED: dockerd does not start here: {self._last_words()}")
            target = "/images/create?fromSrc=-&repo=navarch-busybox&tag=1"
            made = self.ask("POST", target, _file_system())
            assert made.status == 200, made.body
        except BaseException:
            self.stop()
            raise

    def ask(self, method: str, target: str, body: bytes = b"") -> Reply:
        """Ask the engine directly."""
        kind = "application/json" if body.startswith(b"{") else "application/x-tar"
        headers = {"content-type": kind} if body else {}
        asked = self._client.send(
            method, target, body=body, headers=headers, deadline=timedelta(seconds=60)
        )
        return asyncio.run(asked)

    def stop(self) -> None:
        """End it, and remove all it had."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        # Where a container had the network of the host, the engine leaves it mounted.
        network = self._folder / "exec/netns/default"
        if network.exists():
            subprocess.run(["umount", str(network)], check=False, capture_output=True)
        shutil.rmtree(self._folder)

    def _has_ended(self) -> bool:
        return self._process.poll() is not None

    def _last_words(self) -> str:
        lines = (self._folder / "log").read_text(errors="replace").splitlines() or ["not a word"]
        return lines[-1][:300]

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/_ping").status == 200
        except Unanswered:
            return False


def _file_system() -> bytes:
    """Pack a root that has busybox and nothing else."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(os.path.realpath(busybox), "bin/busybox")
        for name in ("sh", "sleep", "cat"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return packed.getvalue()
