"""The Kubernetes notifier drains nodes of a real kube-apiserver, when there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import yaml

from infra.real_kubernetes import ADMIN, STRANGER, RealKubernetes, require_kubernetes
from navarch.notifiers.base import (
    Notifier,
    NotifierRefused,
    NotifierUnavailable,
    NotifierUnknownNode,
    Workload,
)
from navarch.notifiers.kubernetes import (
    CORDONED,
    DRAINING,
    KubernetesNotifier,
    KubernetesSettings,
)
from navarch.peers.endpoint import Credentials
from navarch.testing import NotifierContract

T = TypeVar("T")
NODE = Workload(node_id="n1", hostname="GPU-1")
PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1beta1/namespaces/default/poddisruptionbudgets"
ROLES = "/apis/rbac.authorization.k8s.io/v1"


class Cluster(RealKubernetes):
    """A real API server, and nodes and pods that only it knows of."""

    def add_node(self, name: str) -> None:
        """Register a node, as a kubelet would."""
        self.call("POST", "/api/v1/nodes", {"metadata": {"name": name}})

    def node(self, name: str) -> dict[str, Any]:
        """Read a node."""
        answer = self._request("GET", f"/api/v1/nodes/{name}", None)
        decoded: dict[str, Any] = msgspec.json.decode(answer)
        return decoded

    def is_schedulable(self, name: str) -> bool:
        """Whether pods are placed on a node."""
        return not self.node(name)["spec"].get("unschedulable", False)

    def annotations(self, name: str) -> dict[str, str]:
        """What is written on a node."""
        found: dict[str, str] = self.node(name)["metadata"].get("annotations", {})
        return found

    def cordon_as(self, who: str, name: str, *, unschedulable: bool) -> None:
        """Change a node as somebody else."""
        spec = {"unschedulable": unschedulable or None}
        self.call("PATCH", f"/api/v1/nodes/{name}?fieldManager={who}", {"spec": spec})

    def place(self, name: str, node: str, **metadata: object) -> None:
        """Create a pod that runs on a node."""
        spec = {"nodeName": node, "containers": [{"name": "main", "image": "none"}]}
        self.call("POST", PODS, {"metadata": {"name": name, **metadata}, "spec": spec})
        self.set_phase(name, "Running")

    def end(self, name: str) -> None:
        """Remove a pod, as the kubelet does that has ended it."""
        self.call("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 0})

    def is_going(self, name: str) -> bool:
        """Whether a pod is being deleted."""
        pod = msgspec.json.decode(self._request("GET", f"{PODS}/{name}", None))
        return "deletionTimestamp" in pod["metadata"]

    def protect(self, name: str) -> None:
        """Give a pod a budget; with no controller to count, no eviction is allowed."""
        selector = {"matchLabels": {"app": name}}
        spec = {"minAvailable": 1, "selector": selector}
        self.call("POST", BUDGETS, {"metadata": {"name": name}, "spec": spec})

    def unprotect(self, name: str) -> None:
        """Take the budget away."""
        self.call("DELETE", f"{BUDGETS}/{name}", {})

    def grant(self, manifest: str) -> None:
        """Create the roles of a manifest for the stranger instead of for a service account."""
        for document in yaml.safe_load_all(manifest):
            if document["kind"] == "ClusterRole":
                self.call("POST", f"{ROLES}/clusterroles", document)
            else:
                group = "rbac.authorization.k8s.io"
                document["subjects"] = [{"kind": "User", "name": "stranger", "apiGroup": group}]
                self.call("POST", f"{ROLES}/clusterrolebindings", document)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start an API server for all tests of this file."""
    binary = require_kubernetes()
    server = Cluster(tmp_path_factory.mktemp("kubernetes"), binary)
    for name in ("gpu-1", "gpu-2", "contract-1"):
        server.add_node(name)
    yield server
    server.stop()


def settings(cluster: RealKubernetes, token: str = ADMIN) -> KubernetesSettings:
    credentials = Credentials(token_file=cluster.token_file(token), ca_file=cluster.ca_file)
    return KubernetesSettings(url=cluster.url, credentials=credentials)


def tell(
    cluster: RealKubernetes,
    call: Callable[[KubernetesNotifier], Awaitable[T]],
    token: str = ADMIN,
) -> T:
    async def story() -> T:
        notifier = KubernetesNotifier(settings(cluster, token))
        try:
            return await call(notifier)
        finally:
            await notifier.close()

    return asyncio.run(story())


def drain(notifier: KubernetesNotifier) -> Awaitable[None]:
    return notifier.drain(NODE, "XID 79", None)


def cordon(notifier: KubernetesNotifier) -> Awaitable[None]:
    return notifier.cordon(NODE, "XID 79")


def uncordon(notifier: KubernetesNotifier) -> Awaitable[None]:
    return notifier.uncordon(NODE, "repaired")


class TestContract(NotifierContract):
    """As every notifier."""

    @pytest.fixture
    def make_notifier(self, cluster: Cluster) -> Callable[[], Notifier]:
        """Speak to one cluster."""
        self.cluster = cluster
        return lambda: KubernetesNotifier(settings(cluster))

    async def takes_work(self, node: Workload) -> bool:
        """Ask the server."""
        return await asyncio.to_thread(self.cluster.is_schedulable, node.hostname)


def test_a_node_is_emptied_of_work_and_of_nothing_else(cluster: Cluster) -> None:
    daemon = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "1"}
    cluster.place("driver", "gpu-1", ownerReferences=[{**daemon, "controller": True}])
    cluster.place("static", "gpu-1", annotations={"kubernetes.io/config.mirror": "1"})
    cluster.place("train", "gpu-1")
    cluster.place("guarded", "gpu-1", labels={"app": "guarded"})
    cluster.place("elsewhere", "gpu-2")
    cluster.protect("guarded")

    tell(cluster, drain)
    status = tell(cluster, lambda notifier: notifier.drained(NODE))
    assert (status.done, status.remaining) == (False, 2)
    assert "may not go yet: default/guarded: " in status.text
    assert [cluster.is_going(name) for name in ("driver", "static", "train", "guarded")] == [
        *(False, False, True, False)
    ]
    cluster.end("train")
    cluster.unprotect("guarded")
    assert tell(cluster, lambda notifier: notifier.drained(NODE)).remaining == 1
    assert cluster.is_going("guarded")
    cluster.end("guarded")
    assert tell(cluster, lambda notifier: notifier.drained(NODE)).done
    assert not cluster.is_going("elsewhere")
    assert cluster.annotations("gpu-1") == {CORDONED: "XID 79", DRAINING: "XID 79"}
    tell(cluster, uncordon)
    assert cluster.is_schedulable("gpu-1")
    assert cluster.annotations("gpu-1") == {}


def test_what_somebody_else_has_cordoned_stays_cordoned(cluster: Cluster) -> None:
    cluster.cordon_as("kubectl-cordon", "gpu-1", unschedulable=True)
    tell(cluster, cordon)
    tell(cluster, uncordon)
    assert not cluster.is_schedulable("gpu-1")
    cluster.cordon_as("kubectl-cordon", "gpu-1", unschedulable=False)
    tell(cluster, cordon)
    tell(cluster, uncordon)
    assert cluster.is_schedulable("gpu-1")
    assert cluster.annotations("gpu-1") == {}


def test_a_node_that_the_cluster_does_not_know_is_unknown(cluster: Cluster) -> None:
    node = Workload(node_id="n9", hostname="gpu-9")
    with pytest.raises(NotifierUnknownNode, match='nodes "gpu-9" not found'):
        tell(cluster, lambda notifier: notifier.drain(node, "", None))
    assert tell(cluster, lambda notifier: notifier.drained(node)).done
    tell(cluster, lambda notifier: notifier.uncordon(node, ""))


def test_the_permissions_of_the_manual_are_needed_and_enough(
    cluster: Cluster, project: Path
) -> None:
    for call in (cordon, drain, uncordon):
        with pytest.raises(NotifierRefused, match="HTTP 403"):
            tell(cluster, call, STRANGER)
    text = (project / "docs" / "notifiers.md").read_text()
    blocks = [part.partition("```")[0] for part in text.split("```yaml\n")[1:]]
    [manifest] = [block for block in blocks if "kind: ClusterRole\n" in block]
    cluster.grant(manifest)
    cluster.place("granted", "gpu-1")
    tell(cluster, drain, STRANGER)
    assert cluster.is_going("granted")
    cluster.end("granted")
    assert tell(cluster, lambda notifier: notifier.drained(NODE), STRANGER).done
    tell(cluster, uncordon, STRANGER)
    assert cluster.is_schedulable("gpu-1")


def test_a_server_that_is_away_is_unavailable_and_found_again(cluster: Cluster) -> None:
    async def story() -> None:
        notifier = KubernetesNotifier(settings(cluster))
        await cordon(notifier)
        cluster.kill()
        with pytest.raises(NotifierUnavailable):
            await uncordon(notifier)
        await asyncio.to_thread(cluster.start)
        await uncordon(notifier)
        await notifier.close()

    asyncio.run(story())
    assert cluster.is_schedulable("gpu-1")
