"""The example of a replica's program serves, waits and counts."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "serving" / "model_server.py"
WEIGHTS = b"weights" * 1000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start it on a free port; yield its address."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "weights.bin").write_bytes(WEIGHTS)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(PROGRAM), "--model", str(folder), "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--at-once", "1", "--tokens-per-second", "200"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"serving 7000 bytes of weights on port {port}\n".encode()
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.communicate()


def get(url: str) -> bytes:
    """Read what is there."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the test's own server
        content: bytes = answer.read()
    return content


def complete(server: str, body: object) -> dict[str, Any]:
    """Ask for a completion."""
    request = urllib.request.Request(  # noqa: S310 - the test's own server
        f"{server}/v1/completions", json.dumps(body).encode()
    )
    answer: dict[str, Any] = json.loads(get(request))  # type: ignore[arg-type]
    return answer


def test_it_is_well_when_it_has_read_its_weights(server: str) -> None:
    digest = hashlib.sha256(WEIGHTS).hexdigest()[:12]
    assert json.loads(get(f"{server}/healthz")) == {"weights": digest, "bytes": 7000}


def test_one_request_is_served_while_the_others_wait(server: str) -> None:
    body = {"prompt": "to be", "max_tokens": 60}
    clients = [threading.Thread(target=complete, args=(server, body)) for _ in range(3)]
    for client in clients:
        client.start()
    while "model_queue_depth 2\n" not in (metrics := get(f"{server}/metrics").decode()):
        assert any(client.is_alive() for client in clients), metrics
    assert "# TYPE model_queue_depth gauge\n" in metrics
    assert "model_running 1\n" in metrics
    for client in clients:
        client.join()
    metrics = get(f"{server}/metrics").decode()
    assert "model_requests_total 3\n" in metrics
    assert "model_tokens_total 180\n" in metrics


def test_tokens_are_made_of_the_prompt(server: str) -> None:
    answer = complete(server, {"prompt": "to be", "max_tokens": 3})
    assert answer["choices"] == [{"text": "to be to"}]


@pytest.mark.parametrize("body", [[], {}, {"prompt": "x", "max_tokens": "many"}])
def test_a_request_without_sense_is_refused(server: str, body: object) -> None:
    with pytest.raises(HTTPError) as refused:
        complete(server, body)
    with refused.value as answer:
        assert answer.code == 400
