"""A server that speaks TLS by its configuration, with agents that trust its certificate."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from integration.conftest import until
from integration.daemon import daemon, free_port

if shutil.which("openssl") is None:
    pytest.skip("NOT TESTED: TLS by configuration: openssl is absent", allow_module_level=True)

CONFIG = """
server:
  address: "127.0.0.1:{port}"
  data: {folder}/data
  heartbeat_interval: 1s
  auth: {{tls: {{cert_file: cert.pem, key_file: key.pem}}}}
providers:
  local: {{type: process, gpu_count: 1}}
pools:
  p: {{provider: local, min_nodes: 1, max_nodes: 1}}
"""


def test_agents_and_operators_reach_a_server_that_speaks_tls(tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    words += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    words += ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(words, check=True, capture_output=True)
    port = free_port()
    config = tmp_path / "navarch.yaml"
    config.write_text(CONFIG.format(port=port, folder=tmp_path))
    trust = {"SSL_CERT_FILE": str(cert)}
    with daemon(config, port, environ=trust, scheme="https") as server:
        until(lambda: '"nodeId"' in server.run("list", "-o", "json").stdout, "the node has joined")
        assert "connected" in server.run("list").stdout
