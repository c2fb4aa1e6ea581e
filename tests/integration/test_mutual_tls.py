"""A server that asks for certificates, callers that show some, and all of it renewed."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from integration.conftest import until
from integration.daemon import Daemon, daemon, free_port
from navarch.wire.client import ConnectClient
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.trust import Trust
from wire.authority import Authority
from wire.test_grpc import Stub

if shutil.which("openssl") is None:
    pytest.skip("NOT TESTED: TLS on both sides: openssl is absent", allow_module_level=True)

CONFIG = """
server:
  address: "127.0.0.1:{port}"
  data: {folder}/data
  heartbeat_interval: 1s
  http2: true
  auth: {{tls: {{cert_file: cert.pem, key_file: key.pem, client_ca_file: authority.pem}}}}
"""


class Files:
    """What the server shows, what its callers show, and whom both trust."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.caller = self.authority.sign("caller")
        self.use(self.authority.sign("first"))

    def use(self, pair: tuple[Path, Path]) -> None:
        for path, name in zip(pair, ("cert.pem", "key.pem"), strict=True):
            os.replace(shutil.copy(path, f"{path}.new"), self.folder / name)  # noqa: PTH105

    @property
    def options(self) -> list[str]:
        ca, (cert, key) = self.authority.cert, self.caller
        return ["--tls-ca", str(ca), "--tls-cert", str(cert), "--tls-key", str(key)]


@contextmanager
def agent(server: Daemon, files: Files) -> Iterator[None]:
    """Run a real agent."""
    words = ["agent", "--server", server.url, "--node-id", "n1", *files.options]
    words += ["--state-dir", str(files.folder / "agent"), "--sensors", "injected"]
    with (files.folder / "agent.log").open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "navarch", *words], stderr=stderr)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def metric(port: int, trust: Trust, name: str) -> float:
    """One number of the metrics page, by a new connection."""
    line = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trust.context())
    with contextlib.closing(line):
        line.request("GET", "/metrics")
        lines = line.getresponse().read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def test_a_fleet_behind_certificates_goes_on_while_they_are_renewed(tmp_path: Path) -> None:
    files = Files(tmp_path)
    ca, (cert, key) = files.authority.cert, files.caller
    port = free_port()
    config = tmp_path / "navarch.yaml"
    config.write_text(CONFIG.format(port=port, folder=tmp_path))
    credentials = grpc.ssl_channel_credentials(ca.read_bytes(), key.read_bytes(), cert.read_bytes())
    trust = Trust(ca=ca, cert=cert, key=key)
    with (
        daemon(config, port, scheme="https") as server,
        ConnectClient(server.url, tls=trust) as server.client,
        agent(server, files),
    ):
        until(lambda: server.call("ListNodes").get("nodes"), "the node has joined")
        # The command line with and without a certificate; the environment says the same.
        assert "n1" in server.run("list", *files.options).stdout
        refused = server.run("list", "--tls-ca", str(ca))
        assert (refused.returncode, refused.stdout) == (1, "")
        names = ("NAVARCH_TLS_CA", "NAVARCH_TLS_CERT", "NAVARCH_TLS_KEY")
        server.environ.update(zip(names, map(str, (ca, cert, key)), strict=True))
        assert "n1" in server.run("list").stdout
        # gRPC, over the same port and the same certificates.
        with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            stub = Stub(channel)
            facts = stub("WatchEvents", pb.WatchEventsRequest(), ())
            assert next(facts).event.seq == 1
            # Another certificate: what is open goes on, what is new sees it.
            before = metric(port, trust, "navarch_tls_certificate_end_timestamp_seconds")
            files.use(files.authority.sign("second", days=60))
            server.hang_up()
            until(lambda: metric(port, trust, "navarch_tls_reloads_total") >= 1, "it is in use")
            assert metric(port, trust, "navarch_tls_certificate_end_timestamp_seconds") > before
            server.call("IssueCommand", nodeId="n1", commandType="NODE_COMMAND_TYPE_CORDON")
            until(lambda: "cordoned" in next(facts).event.text, "the old stream goes on")
            assert [node.node_id for node in stub("ListNodes", metadata=()).nodes] == ["n1"]
            facts.cancel()
        # Files that do not fit each other.
        (tmp_path / "key.pem").write_bytes(key.read_bytes())
        server.hang_up()
        until(
            lambda: metric(port, trust, "navarch_tls_reloads_refused_total") >= 1, "it is refused"
        )
        assert '"event":"tls_not_reloaded","error":"key values mismatch' in server.log
        assert "n1" in server.run("list").stdout
