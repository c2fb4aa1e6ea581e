"""A Kubernetes API of pods in the test's own process: pages, watches, versions, and faults.

It keeps what the documentation of the API promises: a list is of one version, a watch gives every
change after its own, and a version that was forgotten is 410 Gone. Faults are scripted, one for
each request to come.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from http_double import Asked

Fault = Callable[[Asked], None]


class Kube:
    """The pods of a cluster, and who asks for them."""

    def __init__(self, *, page: int = 2) -> None:
        self.page = page
        """Pods a page, whatever more is asked for, as a server may."""
        self.faults: deque[Fault | None] = deque()
        """What happens to the next requests; None for an ordinary answer."""
        self.lists = 0
        self.watched_from: list[str] = []
        """The version of each watch, in the order of asking."""
        self._pods: dict[str, dict[str, Any]] = {}
        self._version = 100
        self._forgotten = 0
        self._calls = 0
        self._changes: list[tuple[int, str]] = []
        self._moved = threading.Condition()

    def put(self, name: str, phase: str, pool: str = "h100", **spec: object) -> None:
        """Create a pod, or change it; ``deleting`` says that it is being deleted."""
        deleting = spec.pop("deleting", False)
        with self._moved:
            kind = "MODIFIED" if name in self._pods else "ADDED"
            self._version += 1
            metadata = {
                "name": name,
                "uid": f"uid-{name}",
                "labels": {"navarch.dev/pool": pool},
                "resourceVersion": str(self._version),
                **({"deletionTimestamp": "2026-05-01T12:00:00Z"} if deleting else {}),
            }
            pod = {"metadata": metadata, "spec": spec, "status": {"phase": phase}}
            self._pods[name] = pod
            self._change(kind, pod)

    def delete(self, name: str) -> None:
        """Remove a pod."""
        with self._moved:
            self._version += 1
            pod = self._pods.pop(name)
            pod["metadata"]["resourceVersion"] = str(self._version)
            self._change("DELETED", pod)

    def bookmark(self) -> None:
        """Tell all watches the present version, far from the last change."""
        with self._moved:
            self._version += 1_000
            self._change("BOOKMARK", {"metadata": {"resourceVersion": str(self._version)}})

    def hang_up(self) -> None:
        """End all watches before their time, once what has happened is told."""
        with self._moved:
            self._calls += 1
            self._moved.notify_all()

    def forget(self) -> None:
        """Keep no older version than the present one, and end all watches."""
        with self._moved:
            self._version += 1
            self._forgotten = self._version
            self._moved.notify_all()

    def answer(self, asked: Asked) -> None:
        """Answer a request; the first fault that is scripted comes first."""
        watch = "watch" in asked.query
        if watch:
            self.watched_from.append(asked.query["resourceVersion"])
        else:
            self.lists += 1
        fault = self.faults.popleft() if self.faults else None
        if fault:
            fault(asked)
        elif watch:
            self._watch(asked)
        else:
            self._list(asked)

    def _change(self, kind: str, pod: dict[str, Any]) -> None:
        self._changes.append((self._version, json.dumps({"type": kind, "object": pod}) + "\n"))
        self._moved.notify_all()

    def _list(self, asked: Asked) -> None:
        with self._moved:
            names = sorted(self._pods)
            start = int(asked.query.get("continue", "0"))
            end = start + min(self.page, int(asked.query["limit"]))
            more = {"continue": str(end)} if end < len(names) else {}
            metadata = {"resourceVersion": str(self._version), **more}
            items = [self._pods[name] for name in names[start:end]]
            body = json.dumps({"kind": "PodList", "metadata": metadata, "items": items})
        asked.answer(body)

    def _watch(self, asked: Asked) -> None:
        version = int(asked.query["resourceVersion"])
        if version < self._forgotten:
            asked.answer('{"kind":"Status","code":410,"message":"too old"}', 410)
            return
        asked.start()
        patience = float(asked.query["timeoutSeconds"])
        calls = self._calls
        while True:
            with self._moved:
                found = [change for change in self._changes if change[0] > version]
                if not found and (version < self._forgotten or calls != self._calls):
                    return
                if not found and not self._moved.wait(patience):
                    return
            for number, line in found:
                asked.go_on(line)
                version = number
