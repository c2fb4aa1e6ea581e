"""`navarch server` where something is wrong: one clear line, the right exit code, nothing lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from integration.conftest import until
from integration.daemon import free_port
from navarch.errors import WireError
from navarch.wire.client import ConnectClient

TOKENS = """
  auth:
    tokens:
      - {name: eyes, role: viewer, token_env: EYES}
      - {name: hands, role: operator, token_env: HANDS}
"""


def write_config(folder: Path, port: int, *, auth: str = "", min_nodes: int = 2) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "navarch.yaml"
    path.write_text(
        f"""
server:
  address: "127.0.0.1:{port}"
  data: {folder / "data"}
  heartbeat_interval: 1s{auth}
providers:
  fake: {{type: fake}}
pools:
  training: {{provider: fake, min_nodes: {min_nodes}, max_nodes: 4}}
""",
        encoding="utf-8",
    )
    return path


def command(config: Path) -> list[str]:
    return [sys.executable, "-m", "navarch", "server", "--config", str(config)]


def run(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(config), capture_output=True, text=True, timeout=30, check=False)


@contextmanager
def server(
    config: Path, port: int, *, environ: dict[str, str] | None = None, file_bytes_max: int = 0
) -> Iterator[subprocess.Popen[str]]:
    words = command(config)
    if file_bytes_max:  # POSIX counts blocks of 512 bytes
        words = ["sh", "-c", 'ulimit -f "$0"; exec "$@"', str(file_bytes_max // 512), *words]
    process = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environ or {})}
    )

    def listens() -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(listens, "the server listens")
        yield process
    finally:
        process.kill()
        process.communicate()


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_a_second_server_on_the_same_journal_is_refused_and_told_who_holds_it(
    tmp_path: Path,
) -> None:
    port, other = free_port(), free_port()
    with server(write_config(tmp_path, port), port) as first:
        second = run(write_config(tmp_path, other))

        assert second.returncode == 1
        told = last_line(second.stderr)
        assert f"held by pid {first.pid}" in told
        assert "navarch.db" in told


def test_a_port_in_use_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        refused = run(write_config(tmp_path, port))

    assert refused.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in last_line(refused.stderr)
    assert not (tmp_path / "data").exists()


def test_a_config_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    refused = run(tmp_path)

    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert str(tmp_path) in refused.stderr


def test_a_folder_where_nothing_can_be_written_is_one_line(tmp_path: Path) -> None:
    config = write_config(tmp_path, free_port())
    config.write_text(config.read_text().replace(str(tmp_path / "data"), "/proc/navarch"))

    refused = run(config)

    assert refused.returncode == 1
    assert "/proc/navarch" in last_line(refused.stderr)
    assert "Traceback" not in refused.stderr


def test_others_may_not_reach_a_server_without_tokens(tmp_path: Path) -> None:
    config = write_config(tmp_path, free_port())
    config.write_text(config.read_text().replace("127.0.0.1:", "0.0.0.0:"))

    refused = run(config)

    assert refused.returncode == 1
    assert "no tokens are configured" in last_line(refused.stderr)


def test_a_full_disk_ends_the_process_and_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    config = write_config(tmp_path, port)
    answered: list[str] = []
    with server(config, port, file_bytes_max=400_000) as process:
        client = ConnectClient(f"http://127.0.0.1:{port}")
        padding = {f"label-{at}": "x" * 4000 for at in range(10)}

        def is_full() -> bool:
            node_id = f"n{len(answered)}"
            try:
                client.call("RegisterNode", {"nodeId": node_id, "metadata": {"labels": padding}})
            except WireError:
                return True
            answered.append(node_id)
            return False

        until(is_full, "the disk is full")
        client.close()
        assert process.wait(timeout=20) == 1
        assert process.stderr is not None
        assert "navarch.db" in last_line(process.stderr.read())

    with server(config, port):
        client = ConnectClient(f"http://127.0.0.1:{port}")
        nodes = {node["nodeId"] for node in client.call("ListNodes", {})["nodes"]}
        client.close()
    assert answered
    assert set(answered) <= nodes


def test_sigterm_answers_keeps_a_snapshot_and_ends_with_0(tmp_path: Path) -> None:
    port = free_port()
    config = write_config(tmp_path, port)
    with server(config, port) as process:
        client = ConnectClient(f"http://127.0.0.1:{port}")
        client.call("RegisterNode", {"nodeId": "kept"})
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0

    with server(config, port) as process:
        client = ConnectClient(f"http://127.0.0.1:{port}")
        assert client.call("GetNode", {"nodeId": "kept"})["node"]["nodeId"] == "kept"
        client.close()
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=20)
    assert '"replayed":0' in told


def test_roles_are_kept_apart(tmp_path: Path) -> None:
    port = free_port()
    config = write_config(tmp_path, port, auth=TOKENS)
    eyes, hands = "e" * 20, "h" * 20
    url = f"http://127.0.0.1:{port}"
    scaling = {"poolName": "training", "targetNodes": 3}
    with server(config, port, environ={"EYES": eyes, "HANDS": hands}):
        nobody, stranger = ConnectClient(url), ConnectClient(url, "w" * 20)
        viewer, operator = ConnectClient(url, eyes), ConnectClient(url, hands)
        with pytest.raises(WireError, match="unauthenticated"):
            nobody.call("ListNodes", {})
        with pytest.raises(WireError, match="unauthenticated"):
            stranger.call("ListNodes", {})
        assert viewer.call("ListPools", {})["pools"][0]["name"] == "training"
        with pytest.raises(WireError, match="permission_denied"):
            viewer.call("ScalePool", scaling)
        assert operator.call("ScalePool", scaling)["pool"]["targetNodes"] == 3
        for client in (nobody, stranger, viewer, operator):
            client.close()
