"""The image, really built and really run: by an engine of our own, on a Debian made for it.

It takes minutes, a Debian mirror and a package index: a long test.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.real_docker import RealDocker, require_docker
from infra.real_parts import require
from integration.conftest import until
from integration.daemon import free_port

pytestmark = pytest.mark.soak

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CLOSED = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--init"),
)


class Image:
    """The image, and the engine that has it."""

    def __init__(self, engine: RealDocker, project: Path, base: str) -> None:
        """Build it as docs/packages.md says."""
        self._environ = {**os.environ, "DOCKER_HOST": engine.host}
        self.docker("import", base, "debian-python:1")
        self.docker(
            *("build", "--network=host", "--build-arg", "PYTHON=debian-python:1"),
            *("-f", str(project / "deploy/docker/Dockerfile"), "-t", "navarch:test", str(project)),
        )

    def docker(self, *words: str, check: bool = True) -> str:
        """Run a command of the engine, and return what it prints."""
        ended = subprocess.run(
            ["docker", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
            env=self._environ,
        )
        assert ended.returncode == 0 or not check, ended.stdout[-3000:] + ended.stderr[-3000:]
        return ended.stdout + ("" if check else ended.stderr)


def a_debian(folder: Path) -> Path:
    """Make a small Debian with Python, and pack it; skip where there is no mirror."""
    tree = folder / "debian"
    packages = "--include=python3,python3-venv,ca-certificates"
    command = ["debootstrap", "--variant=minbase", packages, "bookworm", str(tree)]
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    if made.returncode != 0:
        pytest.skip(f"NOT TESTED: no Debian to be had for the image: {made.stdout[-200:]}")
    if CERTIFICATES.exists():  # a mirror of packages may have one that is this machine's own
        shutil.copyfile(CERTIFICATES, tree / str(CERTIFICATES).lstrip("/"))
        (tree / "etc/pip.conf").write_text(f"[global]\ncert = {CERTIFICATES}\n")
    with tarfile.open(folder / "debian.tar", "w") as packed:
        packed.add(tree, arcname=".")
    return folder / "debian.tar"


@pytest.fixture(scope="module")
def image(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image on a Debian."""
    require_docker()
    require(("docker", "debootstrap"), "docker.io debootstrap")
    base = a_debian(tmp_path_factory.mktemp("debian"))
    engine = RealDocker()
    try:
        yield Image(engine, project, str(base))
    finally:
        engine.stop()


def test_the_image_runs_closed_as_nobody_and_is_healthy(image: Image, tmp_path: Path) -> None:
    port = free_port()
    config = f'server: {{address: "127.0.0.1:{port}", data: /var/lib/navarch}}\n'
    (tmp_path / "navarch.yaml").write_text(config)
    tmp_path.chmod(0o755)
    image.docker(
        *("run", "--detach", "--name", "plane", "--network=host", *CLOSED),
        *("--health-interval=1s", "-e", f"NAVARCH_HEALTH_URL=http://127.0.0.1:{port}/readyz"),
        *("-v", f"{tmp_path}:/etc/navarch:ro", "-v", "plane:/var/lib/navarch", "navarch:test"),
    )
    health = ("inspect", "plane", "--format", "{{.State.Health.Status}}")
    until(lambda: image.docker(*health).strip() == "healthy", "the container is healthy")
    inside = ("exec", "plane", "sh", "-c")
    assert image.docker(*inside, "id -u").strip() == "10001"
    assert "CapEff:\t0000000000000000" in image.docker(*inside, "cat /proc/1/status")
    written = image.docker(*inside, "touch /opt/navarch/x /etc/x", check=False)
    assert written.count("Read-only file system") == 2
    for program in ("pip", "gcc"):
        assert image.docker(*inside, f"command -v {program} || echo none").strip() == "none"
    image.docker("stop", "plane")
    assert image.docker("inspect", "plane", "--format", "{{.State.ExitCode}}").strip() == "0"


def test_the_image_has_every_extra_and_says_what_it_is(image: Image) -> None:
    libraries = "asyncpg, botocore, textual, google.auth, obstore, zttp, asyncssh, pynvml"
    run = ("run", "--rm", "--network=none", *CLOSED)
    code = f"import {libraries}; print('all there')"
    said = image.docker(*run, "--entrypoint=python", "navarch:test", "-c", code)
    assert said == "all there\n"
    assert image.docker(*run, "navarch:test", "--version") == "navarch 0.1.0\n"
    told = json.loads(image.docker("inspect", "navarch:test", "--format", "{{json .Config}}"))
    assert told["User"] == "10001:10001"
    assert told["Labels"]["org.opencontainers.image.version"] == "0.1.0"
    assert not [each for each in told["Env"] if "PIP_" in each]
