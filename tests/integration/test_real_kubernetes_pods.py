"""The runtime of pods keeps its contract with a real kube-apiserver, when there is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import msgspec
import pytest

from controlplane.pods.pod_contract import SETTINGS, Cluster, PodContract
from infra.real_kubernetes import RealKubernetes, require_kubernetes
from navarch.controlplane.pods.manifest import PodSettings
from navarch.controlplane.pods.runtime import PodRuntime
from navarch.peers.endpoint import Credentials

PODS = "/api/v1/namespaces/default/pods"
NOT_FOUND = 404


class RealCluster(RealKubernetes):
    """A real API server; the test itself is scheduler and kubelet."""

    def bind(self, name: str, node: str) -> None:
        """Place a pod, as a scheduler would."""
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}}
        self.call("POST", f"{PODS}/{name}/binding", {**binding, "target": target})

    def set_status(self, name: str, status: dict[str, Any]) -> None:
        """Write what a kubelet would write."""
        self.call("PATCH", f"{PODS}/{name}/status", {"status": status})

    def finish(self, name: str) -> None:
        """Remove a pod, as the kubelet does that has ended it."""
        self.call("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 0})

    def pod(self, name: str) -> dict[str, Any] | None:
        """Read a pod."""
        try:
            answer = self._request("GET", f"{PODS}/{name}", None)
        except HTTPError as error:
            if error.code == NOT_FOUND:
                return None
            raise
        decoded: dict[str, Any] = msgspec.json.decode(answer)
        return decoded

    def names(self) -> list[str]:
        """List all pods that are not being deleted."""
        items = msgspec.json.decode(self._request("GET", PODS, None))["items"]
        staying = [each["metadata"] for each in items]
        return sorted(each["name"] for each in staying if "deletionTimestamp" not in each)

    def add_pod(self, name: str, labels: dict[str, str]) -> None:
        """Create a pod as somebody else."""
        spec = {"containers": [{"name": "main", "image": "none"}]}
        self.call("POST", PODS, {"metadata": {"name": name, "labels": labels}, "spec": spec})

    def clear(self) -> None:
        """Remove every pod."""
        for each in msgspec.json.decode(self._request("GET", PODS, None))["items"]:
            self.finish(each["metadata"]["name"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """Start an API server for all tests of this file."""
    binary = require_kubernetes()
    server = RealCluster(tmp_path_factory.mktemp("kubernetes"), binary)
    yield server
    server.stop()


@pytest.fixture
def cluster(server: RealCluster) -> Iterator[RealCluster]:
    """Yield the server without pods."""
    server.clear()
    yield server
    server.clear()


class TestRealServer(PodContract):
    """A real server keeps the contract."""

    def runtime(self, cluster: Cluster, settings: PodSettings = SETTINGS) -> PodRuntime:
        assert isinstance(cluster, RealCluster)
        token = Credentials(token_file=cluster.token_file(), ca_file=cluster.ca_file)
        return PodRuntime(settings, url=cluster.url, credentials=token)
