"""A Kubernetes API of nodes, their pods and evictions, in the test's own process.

It keeps what the documentation of the API promises: a patch with an old version is a conflict, who
changed a field last is its manager, an eviction that a budget forbids is 429 and changes nothing,
and an evicted pod stays until its node has ended it. There is no such node: a test ends pods.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from http_receiver import Sent


class KubeNodes:
    """A cluster's nodes and pods, by name."""

    def __init__(self, *names: str, eviction: str = "policy/v1", page: int = 2) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.protected: set[str] = set()
        """Pods whose budget allows no eviction now."""
        self.forbidden: set[str] = set()
        """Verbs that the token may not do: ``get``, ``patch``, ``list``, ``evict``."""
        self.evictions: list[str] = []
        """Pods whose eviction was asked for, in that order."""
        self.interferences = 0
        """How many of the next patches somebody else comes before."""
        self._eviction = eviction
        self._page = page
        self._version = 100
        self._lock = threading.Lock()
        for name in names:
            metadata = {"name": name, "resourceVersion": "100", "managedFields": []}
            self.nodes[name] = {"metadata": metadata, "spec": {}}

    def put(self, name: str, node: str, phase: str = "Running", **metadata: object) -> None:
        """Place a pod on a node."""
        self.pods[name] = {
            "metadata": {"name": name, "namespace": "jobs", "uid": f"uid-{name}", **metadata},
            "spec": {"nodeName": node},
            "status": {"phase": phase},
        }

    def end_evicted(self) -> None:
        """End the pods that were evicted, as their node would."""
        self.pods = {
            name: pod
            for name, pod in self.pods.items()
            if "deletionTimestamp" not in pod["metadata"]
        }

    def cordon_as(self, who: str, node: str, *, unschedulable: bool) -> None:
        """Change a node as somebody else."""
        spec = {"unschedulable": unschedulable or None}
        with self._lock:
            self._merge(self.nodes[node], {"metadata": {}, "spec": spec}, who)

    def is_schedulable(self, node: str) -> bool:
        """Whether new pods are placed there."""
        return not self.nodes[node]["spec"].get("unschedulable", False)

    def annotations(self, node: str) -> dict[str, str]:
        """Return what is written on a node."""
        found: dict[str, str] = self.nodes[node]["metadata"].get("annotations", {})
        return found

    def answer(self, sent: Sent) -> None:
        """Answer a request."""
        with self._lock:
            status, body = self._answer(sent)
        sent.answer(status, json.dumps(body))

    def _answer(self, sent: Sent) -> tuple[int, dict[str, Any]]:
        match sent.method, sent.path.removeprefix("/api/v1").strip("/").split("/"):
            case "GET", [""]:
                group, version = self._eviction.split("/")
                found = {"name": "pods/eviction", "group": group, "version": version}
                return 200, {"kind": "APIResourceList", "resources": [{"name": "pods"}, found]}
            case "GET", ["nodes", name]:
                return self._get(name)
            case "PATCH", ["nodes", name]:
                return self._patch(name, sent)
            case "GET", ["pods"]:
                return self._list(sent)
            case "POST", ["namespaces", namespace, "pods", name, "eviction"]:
                return self._evict(namespace, name, json.loads(sent.body))
            case _:
                return 404, {"message": "no such path"}

    def _get(self, name: str) -> tuple[int, dict[str, Any]]:
        if "get" in self.forbidden:
            return _forbidden("nodes")
        if name not in self.nodes:
            return _not_found("nodes", name)
        return 200, self.nodes[name]

    def _patch(self, name: str, sent: Sent) -> tuple[int, dict[str, Any]]:
        if "patch" in self.forbidden:
            return _forbidden("nodes")
        if sent.headers["content-type"] != "application/merge-patch+json":
            return 415, {"message": "no such patch"}
        if name not in self.nodes:
            return _not_found("nodes", name)
        node, patch = self.nodes[name], json.loads(sent.body)
        if self.interferences:
            self.interferences -= 1
            self._merge(node, {"metadata": {}, "spec": {}}, "kubelet")
        if patch["metadata"]["resourceVersion"] != node["metadata"]["resourceVersion"]:
            return 409, {"reason": "Conflict", "message": "the object has been modified"}
        self._merge(node, patch, sent.query["fieldManager"])
        return 200, node

    def _merge(self, node: dict[str, Any], patch: dict[str, Any], who: str) -> None:
        before = node["spec"].get("unschedulable")
        annotations = node["metadata"].setdefault("annotations", {})
        for target, changes in (
            (annotations, patch["metadata"].get("annotations", {})),
            (node["spec"], patch["spec"]),
        ):
            for key, value in changes.items():
                if value is None:
                    target.pop(key, None)
                else:
                    target[key] = value
        after = node["spec"].get("unschedulable")
        if after != before:
            fields: dict[str, Any] = {"f:spec": {"f:unschedulable": {}}}
            held = [{"manager": who, "operation": "Update", "fieldsV1": fields}] if after else []
            kubelet = {"manager": "kubelet", "fieldsV1": {"f:status": {}}}
            node["metadata"]["managedFields"] = [kubelet, *held]
        self._version += 1
        node["metadata"]["resourceVersion"] = str(self._version)

    def _list(self, sent: Sent) -> tuple[int, dict[str, Any]]:
        if "list" in self.forbidden:
            return _forbidden("pods")
        field, _, node = sent.query["fieldSelector"].partition("=")
        assert field == "spec.nodeName"
        found = [pod for _, pod in sorted(self.pods.items()) if pod["spec"]["nodeName"] == node]
        start = int(sent.query.get("continue", "0"))
        end = start + min(self._page, int(sent.query["limit"]))
        metadata = {"continue": str(end)} if end < len(found) else {}
        return 200, {"kind": "PodList", "metadata": metadata, "items": found[start:end]}

    def _evict(
        self, namespace: str, name: str, eviction: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        self.evictions.append(name)
        if "evict" in self.forbidden:
            return _forbidden("pods/eviction")
        if eviction["apiVersion"] != self._eviction or eviction["kind"] != "Eviction":
            return 400, {"reason": "BadRequest", "message": "no such kind of eviction"}
        if name not in self.pods or namespace != "jobs":
            return _not_found("pods", name)
        metadata = self.pods[name]["metadata"]
        assert eviction["metadata"] == {"name": name, "namespace": namespace}
        if eviction["deleteOptions"]["preconditions"]["uid"] != metadata["uid"]:
            return 409, {"reason": "Conflict", "message": "the UID is another one"}
        if name in self.protected:
            message = "Cannot evict pod as it would violate the pod's disruption budget."
            return 429, {"reason": "TooManyRequests", "message": message}
        metadata["deletionTimestamp"] = "2026-05-01T12:00:00Z"
        return 201, {"status": "Success"}


def _not_found(kind: str, name: str) -> tuple[int, dict[str, Any]]:
    message = f'{kind} "{name}" not found'
    details = {"name": name, "kind": kind}
    return 404, {"kind": "Status", "reason": "NotFound", "message": message, "details": details}


def _forbidden(kind: str) -> tuple[int, dict[str, Any]]:
    message = f"{kind} is forbidden: User cannot do that"
    return 403, {"kind": "Status", "reason": "Forbidden", "message": message}
