"""A Kubernetes API of pods and nodes in the test's own process, and what a kubelet would do.

It keeps what the documentation of the API promises: names are unique in a namespace, a list is
chosen by labels and comes page by page, a deletion holds for one uid, and a pod that has a node
stays until somebody who runs it has ended it.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]


class Refused(Exception):
    """The server says no."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


class PodApi:
    """A server on a free port of this machine."""

    def __init__(self, *, page: int = 2) -> None:
        self.page = page
        self.faults: deque[Refused | None] = deque()
        """What the next requests are refused with; None for an ordinary answer."""
        self.asked: list[str] = []
        self._pods: dict[tuple[str, str], Json] = {}
        self._nodes: list[Json] = []
        self._uids = 0
        self._lock = threading.Lock()
        api = self

        class Connection(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                status, answer = api.answer(self.command, self.path, body)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self) -> None:
                self._serve()

            def do_POST(self) -> None:
                self._serve()

            def do_DELETE(self) -> None:
                self._serve()

            def log_message(self, *parts: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Connection)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Serve nobody any more."""
        self._server.shutdown()
        self._server.server_close()

    # --- what a cluster does by itself -------------------------------------------------------

    def add_node(self, name: str, **labels: str) -> None:
        """Register a node."""
        self._nodes.append({"metadata": {"name": name, "labels": labels}})

    def add_pod(self, name: str, labels: dict[str, str]) -> None:
        """Create a pod as somebody else."""
        self._create("default", {"metadata": {"name": name, "labels": labels}, "spec": {}})

    def bind(self, name: str, node: str) -> None:
        """Place a pod, as a scheduler would."""
        with self._lock:
            self._pods["default", name]["spec"]["nodeName"] = node

    def set_status(self, name: str, status: Json) -> None:
        """Write what a kubelet would write."""
        with self._lock:
            self._pods["default", name]["status"] = status

    def finish(self, name: str) -> None:
        """Remove a pod, as the kubelet does that has ended it."""
        with self._lock:
            del self._pods["default", name]

    def pod(self, name: str) -> Json | None:
        """Read a pod."""
        with self._lock:
            return self._pods.get(("default", name))

    def names(self) -> list[str]:
        """List all pods that are not being deleted."""
        with self._lock:
            pods = self._pods.values()
            going = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
            return sorted(pod["metadata"]["name"] for pod in going)

    # --- requests ----------------------------------------------------------------------------

    def answer(self, method: str, target: str, body: Json) -> tuple[int, Json]:
        """Answer a request."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        words = parts.path.strip("/").split("/")
        with self._lock:
            self.asked.append(f"{method} {parts.path}")
            fault = self.faults.popleft() if self.faults else None
        try:
            if fault is not None:
                raise fault
            return self._answer(method, words, query, body)
        except Refused as refused:
            status = {"kind": "Status", "reason": refused.reason, "message": refused.message}
            return refused.status, {**status, "code": refused.status}

    def _answer(
        self, method: str, words: list[str], query: dict[str, str], body: Json
    ) -> tuple[int, Json]:
        match method, words:
            case "GET", ["api", "v1", "nodes"]:
                return 200, self._page(self._nodes, query)
            case "GET", ["api", "v1", "pods"]:
                return 200, self._page(list(self._pods.values()), query)
            case "GET", ["api", "v1", "namespaces", space, "pods"]:
                pods = [pod for (where, _), pod in self._pods.items() if where == space]
                return 200, self._page(pods, query)
            case "POST", ["api", "v1", "namespaces", space, "pods"]:
                return 201, self._create(space, body)
            case "GET", ["api", "v1", "namespaces", space, "pods", name]:
                return 200, self._read(space, name)
            case "DELETE", ["api", "v1", "namespaces", space, "pods", name]:
                return 200, self._delete(space, name, body)
            case _:
                raise Refused(404, "NotFound", "the server could not find the requested resource")

    def _page(self, items: list[Json], query: dict[str, str]) -> Json:
        chosen = [item for item in items if _matches(item, query.get("labelSelector", ""))]
        chosen.sort(key=lambda item: item["metadata"]["name"])
        start = int(query.get("continue", "0"))
        end = start + min(self.page, int(query["limit"]))
        more = {"continue": str(end)} if end < len(chosen) else {}
        return {"metadata": {"resourceVersion": "7", **more}, "items": chosen[start:end]}

    def _create(self, space: str, body: Json) -> Json:
        with self._lock:
            name = body["metadata"]["name"]
            if (space, name) in self._pods:
                raise Refused(409, "AlreadyExists", f'pods "{name}" already exists')
            self._uids += 1
            body["metadata"] |= {"uid": f"uid-{self._uids}", "namespace": space}
            body["status"] = {"phase": "Pending"}
            self._pods[space, name] = body
            return body

    def _read(self, space: str, name: str) -> Json:
        with self._lock:
            if (space, name) not in self._pods:
                raise Refused(404, "NotFound", f'pods "{name}" not found')
            return self._pods[space, name]

    def _delete(self, space: str, name: str, options: Json) -> Json:
        pod = self._read(space, name)
        wanted = options.get("preconditions", {}).get("uid")
        if wanted not in (None, pod["metadata"]["uid"]):
            raise Refused(409, "Conflict", "the UID in the precondition does not match")
        with self._lock:
            ended = pod["status"]["phase"] in ("Failed", "Succeeded")
            if pod["spec"].get("nodeName") and not ended:
                pod["metadata"]["deletionTimestamp"] = "2026-05-01T12:00:00Z"
            else:
                del self._pods[space, name]
        return pod


def _matches(item: Json, selector: str) -> bool:
    labels = item["metadata"].get("labels", {})
    for term in filter(None, selector.split(",")):
        key, equals, value = term.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True
