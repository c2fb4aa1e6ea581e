"""A real Kubernetes API server on this machine, over its own etcd.

There is no kubelet, scheduler or controller: nothing runs, and the test itself writes what a pod's
status is. Needs ``etcd`` from Debian's package ``etcd-server``, and a kube-apiserver, which Debian
does not package as a program: ``NAVARCH_KUBE_APISERVER`` names one, and
``build-kube-apiserver.sh`` beside this file builds one.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest

from infra.real_parts import free_ports, require, wait_for

ADMIN = "admin-token"
STRANGER = "stranger-token"
"""The token of a user who may do nothing."""


def require_kubernetes() -> str:
    """Return the path of the server's program; skip the test loudly when there is none."""
    binary = os.environ.get("NAVARCH_KUBE_APISERVER", "")
    if not binary:
        pytest.skip(
            "NOT TESTED: NAVARCH_KUBE_APISERVER does not name a kube-apiserver; "
            "tests/infra/build-kube-apiserver.sh builds one"
        )
    require(["etcd", "openssl"], "etcd-server openssl")
    return binary


class RealKubernetes:
    """A running API server, and what a test writes into it."""

    def __init__(self, folder: Path, binary: str) -> None:
        """Start etcd and the server; returns when it is ready."""
        self._folder = folder
        self._binary = binary
        self._port, *etcd = free_ports(3)
        self.url = f"https://127.0.0.1:{self._port}"
        self._etcd_url, self._peer_url = (f"http://127.0.0.1:{port}" for port in etcd)
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._start_etcd()
            self._make_keys()
            self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def ca_file(self) -> str:
        """The certificate that the server has made for itself."""
        return str(self._folder / "pki" / "apiserver.crt")

    def token_file(self, token: str = ADMIN) -> str:
        """Return a file that holds a token."""
        file = self._folder / token
        file.write_text(token)
        return str(file)

    def put(self, name: str, phase: str, pool: str) -> None:
        """Create a pod in a phase."""
        pods = "/api/v1/namespaces/default/pods"
        metadata = {"name": name, "labels": {"navarch.dev/pool": pool}}
        spec = {"containers": [{"name": "main", "image": "none"}]}
        self.call("POST", pods, {"metadata": metadata, "spec": spec})
        self.set_phase(name, phase)

    def set_phase(self, name: str, phase: str) -> None:
        """Write what a kubelet would write."""
        path = f"/api/v1/namespaces/default/pods/{name}/status"
        self.call("PATCH", path, {"status": {"phase": phase}})

    def delete(self, name: str) -> None:
        """Remove a pod at once, without the grace that a kubelet would end."""
        path = f"/api/v1/namespaces/default/pods/{name}?gracePeriodSeconds=0"
        self.call("DELETE", path, {})

    def start(self) -> None:
        """Start the API server."""
        pki = self._folder / "pki"
        self._run(
            "apiserver",
            self._binary,
            f"--etcd-servers={self._etcd_url}",
            f"--secure-port={self._port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--cert-dir={pki}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki}/accounts.pub",
            f"--service-account-signing-key-file={pki}/accounts.key",
            f"--token-auth-file={pki}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            # Nobody makes the service accounts that it would ask of every pod.
            "--disable-admission-plugins=ServiceAccount",
        )
        wait_for(self._is_ready, f"the API server is ready, see {self._folder}")

    def kill(self) -> None:
        """End the API server without warning; etcd stays."""
        server = self._processes.pop()
        server.kill()
        server.wait()

    def stop(self) -> None:
        """End everything."""
        while self._processes:
            process = self._processes.pop()
            process.kill()
            process.wait()

    def _start_etcd(self) -> None:
        self._run(
            "etcd",
            "etcd",
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls={self._peer_url}",
            f"--initial-advertise-peer-urls={self._peer_url}",
            f"--initial-cluster=default={self._peer_url}",
            "--unsafe-no-fsync",
        )

    def _make_keys(self) -> None:
        pki = self._folder / "pki"
        pki.mkdir()
        key, public = pki / "accounts.key", pki / "accounts.pub"
        generate = ["openssl", "genrsa", "-out", str(key), "2048"]
        publish = ["openssl", "rsa", "-in", str(key), "-pubout", "-out", str(public)]
        subprocess.run(generate, check=True, capture_output=True)
        subprocess.run(publish, check=True, capture_output=True)
        (pki / "tokens.csv").write_text(
            f'{ADMIN},admin,admin,"system:masters"\n{STRANGER},stranger,stranger\n'
        )

    def _run(self, name: str, *command: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        self._processes.append(process)

    def _is_ready(self) -> bool:
        assert self._processes[-1].poll() is None, f"it ended by itself, see {self._folder}"
        try:
            self._request("GET", "/readyz", None)
            # The server makes this one by itself, a moment after it calls itself ready.
            self._request("GET", "/api/v1/namespaces/default", None)
        except (URLError, ConnectionError, ssl.SSLError, FileNotFoundError):
            return False
        return True

    def call(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask the server for something, and return its answer."""
        try:
            answer: dict[str, Any] = json.loads(
                self._request(method, path, json.dumps(body).encode())
            )
        except HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()}") from error
        return answer

    def answers(self, path: str) -> bool:
        """Tell whether the server serves a path by now."""
        try:
            self._request("GET", path, None)
        except HTTPError:
            return False
        return True

    def _request(self, method: str, path: str, body: bytes | None) -> bytes:
        merge = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"authorization": f"Bearer {ADMIN}", "content-type": merge}
        request = urllib.request.Request(  # noqa: S310 - the address is our own
            self.url + path, data=body, headers=headers, method=method
        )
        trust = ssl.create_default_context(cafile=self.ca_file)
        with urllib.request.urlopen(request, timeout=10, context=trust) as answer:  # noqa: S310
            content: bytes = answer.read()
        return content
