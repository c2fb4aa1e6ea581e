"""From a bare machine to an ACTIVE node and back: sshd, a wheel of this tree, a real server."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.conftest import until
from integration.daemon import Daemon, daemon, free_port
from navarch.wire.auth import mint_node_token
from providers.ssh.rack import SSHD, Rack

STARTED_SECONDS = 60.0
"""How long a machine may take to make an environment and install a wheel, without network."""


@pytest.fixture(scope="module")
def wheel(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel of this tree, from a copy, so that nothing is written into the tree."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(project / name, copy)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(project / "src", copy / "src", ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(copy / "out"), str(copy)]
    subprocess.run(command, check=True, timeout=120)
    (built,) = (copy / "out").glob("*.whl")
    return built


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    """Start an sshd with one bare machine behind it."""
    if not Path(SSHD).exists():
        pytest.skip(f"NOT TESTED: there is no {SSHD} (Debian: openssh-server)")
    (tmp_path / "rack").mkdir()
    rack = Rack(tmp_path / "rack", 1)
    try:
        yield rack
        rack.clean()
    finally:
        rack.stop()


def config(rack: Rack, wheel: Path | None, port: int, command: str = "") -> Path:
    """Write a configuration whose one pool wants the one machine."""
    home = rack.home(0)
    agent = f"wheel: {wheel}" if wheel else "executable: /bin/true"
    path = rack.root.parent / "navarch.yaml"
    path.write_text(
        f"""
server:
  address: "127.0.0.1:{port}"
  data: {rack.root.parent / "data"}
  heartbeat_interval: 1s
  bootstrap:
    server_url: http://127.0.0.1:{port}
    {agent}
    pip_options: [--no-deps, --no-index]
    python: {sys.executable}
    service: background
    # What the wheel depends on is on this machine already, in the tests' own environment.
    environment: {{PYTHONPATH: "{site.getsitepackages()[0]}"}}
    agent_options: [--sensors, injected, --gpu-count, "8"]
    folder: {home}/opt/navarch
    config_folder: {home}/etc/navarch
    state_folder: {home}/var/navarch
providers:
  rack:
    type: ssh
    user: {rack.settings(1).user}
    key_file: {rack.root / "client"}
    folder: leases-of-navarch
    cleanup_commands: ["echo cleaned >>{home}/cleaned"]
    machines:
      - {{name: m0, host: 127.0.0.1, port: {rack.ports[0]}, instance_type: h100-8x, gpu_count: 8,
         zone: z1, fingerprint: "{rack.fingerprint}"}}
pools:
  training:
    provider: rack
    instance_type: h100-8x
    min_nodes: 0
    max_nodes: 1
    labels: {{team: "m l's $x"}}
    setup_commands: ["{command or f"echo once >>{home}/set-up"}"]
""",
        encoding="utf-8",
    )
    return path


def nodes(server: Daemon, status: str) -> list[dict[str, Any]]:
    """The nodes in this state."""
    return [each for each in server.call("ListNodes").get("nodes", []) if each["status"] == status]


def test_a_bare_machine_becomes_an_active_node_and_is_given_back(rack: Rack, wheel: Path) -> None:
    port = free_port()
    home = rack.home(0)
    with daemon(config(rack, wheel, port), port) as server:
        assert server.run("pool", "scale", "training", "1").returncode == 0

        def log() -> str:
            logs = [path.read_text() for path in home.rglob("bootstrap.log")]
            return "".join(logs)

        def is_active() -> bool:
            assert "FAILED" not in log(), log()
            return len(nodes(server, "NODE_STATUS_ACTIVE")) == 1

        until(is_active, "the node is active", STARTED_SECONDS)

        (node,) = nodes(server, "NODE_STATUS_ACTIVE")
        assert node["metadata"]["labels"]["team"] == "m l's $x"
        assert (home / "set-up").read_text() == "once\n"
        assert f"navarch-bootstrap: COMPLETE node={node['nodeId']}" in log()
        agent = f"{home}/opt/navarch/venv/bin/navarch agent"
        assert any(agent in line for line in _commands(rack))
        installed = list((home / "opt/navarch/venv").glob("lib/*/site-packages/navarch/version.py"))
        assert len(installed) == 1
        token = (home / "etc/navarch/node.token").read_text().strip()
        assert token not in "".join(_commands(rack)) + log() + server.log

        assert server.run("pool", "scale", "training", "0").returncode == 0
        until(lambda: not (rack.folder(0) / "lease").exists(), "the machine is back")

        until(lambda: rack.processes() == [], "nothing of it runs any more")
        left = sorted(path.name for path in home.iterdir())
        assert left == ["cleaned", "leases-of-navarch", "set-up"]


def test_a_command_that_fails_is_seen_by_instance_get_also_when_the_machine_is_gone(
    rack: Rack,
) -> None:
    port = free_port()
    file = config(rack, None, port, "echo no such package >&2; exit 100")
    with daemon(file, port) as server:
        assert server.run("pool", "scale", "training", "1").returncode == 0

        def failed() -> bool:
            logs = list(rack.home(0).rglob("bootstrap.log"))
            return any("FAILED step=user_data code=100" in each.read_text() for each in logs)

        until(failed, "the command has failed")
        assert server.run("pool", "scale", "training", "0").returncode == 0
        until(lambda: not (rack.folder(0) / "lease").exists(), "the machine is back")
        shutil.rmtree(rack.folder(0))
        (instance,) = server.call("ListInstances")["instances"]
        node = instance["instanceId"]
        shown = server.run("instance", "get", node).stdout

        assert "Start-up log, from rack at " in shown
        assert "  no such package\n" in shown
        assert f"navarch-bootstrap: FAILED step=user_data code=100 node={node}" in shown
        assert f"navarch-bootstrap: start node={node}" not in shown
        shown = server.run("instance", "get", node, "--log").stdout
        assert f"navarch-bootstrap: start node={node}" in shown
        (kept,) = (rack.root.parent / "data" / "bootstrap-logs").iterdir()
        secret = (rack.root.parent / "data" / "node-tokens.key").read_text().strip()
        token = mint_node_token(secret.encode(), node)
        assert kept.name == f"{node}.log"
        assert token not in shown + kept.read_text() + server.log


def _commands(rack: Rack) -> list[str]:
    """The command lines of all that runs on the machine."""
    found = []
    for pid in rack.processes():
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
