"""A double of RunPod's REST API, version 2, written from the facts in its OpenAPI document 2.0.0.

It keeps what the document and its guides state: unknown fields are refused by name, errors are
RFC 9457 problems without codes, a type that cannot be placed is a 400, lists have no pages, the
environment of a pod is shown, and whoever asks twice has two pods.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from msgspec.structs import replace

from doubles.http_bench import HttpBench, request_for
from doubles.http_cloud import Asked, HttpCloud, Limit, Said, said_json
from navarch.providers.base import ProvisionRequest
from navarch.providers.pace import Now, Sleep
from navarch.providers.runpod import LABELS_ENV, RunPodProvider, RunPodSettings

KEY_ENV = "NAVARCH_TEST_RUNPOD_KEY"
KEY = "runpod-key-for-tests"
CREATE = "POST /v2/pods"
LIST = "GET /v2/pods"
DELETE = "DELETE /v2/pods/"
ACCOUNT = "POST /graphql"
CATALOG = "GET /v2/catalog/gpus"
PASSWORD = "jupyter-password-that-nobody-may-see"
"""In the environment of somebody's pod."""

POD = {
    *("name", "image", "args", "disk", "ports", "env", "registry", "mounts", "gpu", "cpu"),
    *("cloud", "dataCenterIds", "globalNetworking"),
}
SOLD_OUT = (
    "There are no longer any instances available with the requested specifications. "
    "Please refresh and try again."
)


def problem(status: int, detail: str = "no", errors: tuple[str, ...] = (), **headers: str) -> Said:
    """Refuse as RunPod does."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return said_json({**body, "errors": list(errors)} if errors else body, status, **headers)


@dataclass
class Pod:
    """A pod, by what was asked and when."""

    id: str
    asked: dict[str, Any]
    made_at: datetime
    ended_at: datetime | None = None
    status: str = ""
    """A scripted status; empty: what follows from the times."""


@dataclass
class Account:
    """What the double sells, and to whom; all of it may be changed at any time."""

    keys: set[str] = field(default_factory=lambda: {KEY})
    gpus: dict[str, float] = field(
        default_factory=lambda: {"NVIDIA A40": 0.4, "NVIDIA H100 80GB HBM3": 2.99}
    )
    """US dollars an hour in the secure cloud, by the GPU's identifier."""
    stock: dict[str, int] = field(default_factory=dict)
    """How many pods there are to sell of a GPU; one that is not here is never sold out."""
    boot_time: timedelta = timedelta()
    list_lag: timedelta = timedelta()
    remembers_ended: timedelta = timedelta()
    limits: list[Limit] = field(default_factory=list)
    myself: dict[str, float | None] = field(
        default_factory=lambda: {
            "clientBalance": 435.85,
            "currentSpendPerHr": 1.5,
            "spendLimit": 80,
        }
    )


class RunPodCloud(HttpCloud):
    """An account at RunPod, on a socket."""

    def __init__(self, now: Callable[[], datetime], account: Account | None = None) -> None:
        super().__init__(now)
        self.account = account or Account()
        self.pods: dict[str, Pod] = {}
        self.refused_for_pace = 0
        """How many requests came too early."""

    def answer(self, asked: Asked) -> Said:
        if asked.headers.get("authorization", "").removeprefix("Bearer ") not in self.account.keys:
            return problem(401, "invalid bearer token")
        waits = [limit.wait(asked.at) for limit in self.account.limits]
        if max(waits, default=timedelta()) > timedelta():
            self.refused_for_pace += 1
            wait = f"{max(1, round(max(waits).total_seconds()))}"
            return problem(429, "rate limit exceeded for the minute window", retry_after=wait)
        if asked.call == CREATE:
            return self._create(asked.json())
        if asked.call == LIST:
            at = self.now() - self.account.list_lag
            return said_json(
                {
                    "pods": [
                        self._shown(each, at)
                        for each in self.pods.values()
                        if self._is_listed(each, at)
                    ]
                }
            )
        if asked.call == CATALOG:
            return said_json(
                {"gpus": [self._sold(each, asked.query) for each in self.account.gpus]}
            )
        if asked.call == ACCOUNT:
            assert "clientBalance currentSpendPerHr spendLimit" in asked.json()["query"]
            return said_json({"data": {"myself": self.account.myself}})
        if asked.call.startswith(DELETE):
            return self._delete(asked.call.removeprefix(DELETE))
        return problem(404, "no such path")

    def _create(self, body: dict[str, Any]) -> Said:
        errors = [f"$: missing property '{key}'" for key in ("name", "image") if not body.get(key)]
        errors += [f"$: additional properties '{key}' not allowed" for key in body.keys() - POD]
        if not all(isinstance(value, str) for value in body.get("env", {}).values()):
            errors.append("$.env: expected strings")
        if not all(re.fullmatch(r"\d+/(tcp|http)", port) for port in body.get("ports", [])):
            errors.append("$.ports: expected port/protocol")
        if errors:
            return problem(422, "Request validation failed.", tuple(errors))
        if ("gpu" in body) is ("cpu" in body):
            return problem(400, "exactly one of gpu or cpu must be set")
        gpu = body["gpu"]["id"]
        if gpu not in self.account.gpus:
            return problem(404, f"gpu type {gpu} not found")
        stock = self.account.stock.get(gpu)
        if stock is not None:
            if stock < 1:
                return problem(400, SOLD_OUT)
            self.account.stock[gpu] = stock - 1
        return said_json(self._shown(self._make(body), self.now()), 201)

    def _make(self, body: dict[str, Any]) -> Pod:
        pod = Pod(f"pod{len(self.pods):011}", body, self.now())
        self.pods[pod.id] = pod
        return pod

    def add(self, name: str, env: dict[str, str]) -> str:
        """Put a pod into the account as somebody with a console does; return its id."""
        gpu = {"id": next(iter(self.account.gpus)), "count": 1}
        return self._make({"name": name, "image": "i", "env": env, "gpu": gpu}).id

    def add_labelled(self, name: str, labels: dict[str, str]) -> str:
        """Put one of ours into the account; return its id."""
        return self.add(name, {LABELS_ENV: json.dumps(labels)})

    def _delete(self, pod_id: str) -> Said:
        pod = self.pods.get(pod_id)
        if pod is None or pod.ended_at is not None:
            return problem(404, "pod not found")
        pod.ended_at = self.now()
        return Said(204)

    def _is_listed(self, pod: Pod, at: datetime) -> bool:
        if at < pod.made_at:
            return False
        return pod.ended_at is None or at < pod.ended_at + self.account.remembers_ended

    def _status(self, pod: Pod, at: datetime) -> str:
        if pod.ended_at is not None and at >= pod.ended_at:
            return "TERMINATED"
        if pod.status:
            return pod.status
        return "PROVISIONING" if at < pod.made_at + self.account.boot_time else "RUNNING"

    def _shown(self, pod: Pod, at: datetime) -> dict[str, Any]:
        status = self._status(pod, at)
        ports = [
            {"private": 8888, "public": 60001, "type": "http", "ip": "100.65.0.7"},
            {"private": 22, "public": 43210, "type": "tcp", "ip": "203.0.113.9"},
        ]
        return {
            "id": pod.id,
            "name": pod.asked["name"],
            "status": status,
            "actions": ["terminate"],
            "image": pod.asked["image"],
            "args": pod.asked.get("args", ""),
            "disk": pod.asked.get("disk", 20),
            "mounts": pod.asked.get("mounts", {}),
            "ports": pod.asked.get("ports", []),
            "env": pod.asked.get("env", {}),
            "registry": pod.asked.get("registry"),
            "gpu": pod.asked["gpu"],
            "cloud": pod.asked.get("cloud", "SECURE"),
            "dataCenterId": (pod.asked.get("dataCenterIds") or ["US-KS-2"])[0],
            "template": None,
            "cost": self.account.gpus[pod.asked["gpu"]["id"]],
            "locked": False,
            "globalNetworking": {"enabled": True, "ip": "10.65.1.42"},
            "runtime": {"uptime": 1, "ports": ports} if status == "RUNNING" else None,
            "createdAt": "2026-06-01T12:00:00Z",
            "startedAt": None,
        }

    def _sold(self, gpu: str, query: dict[str, str]) -> dict[str, Any]:
        level = "HIGH" if self.account.stock.get(gpu, 1) > 0 else "NONE"
        shown = {
            "id": gpu,
            "name": gpu.removeprefix("NVIDIA "),
            "pool": None,
            "manufacturer": "NVIDIA",
            "memory": 80,
            "secure": True,
            "community": True,
            "price": {"secure": self.account.gpus[gpu], "community": self.account.gpus[gpu] / 2},
            "maxCount": {"secure": 8, "community": 4},
        }
        if query.get("include") != "AVAILABILITY":
            return shown
        centers = [
            {"id": "US-KS-2", "name": "US Kansas 2", "availability": level},
            {"id": "EU-RO-1", "name": "EU Romania 1", "availability": "NONE"},
        ]
        return {**shown, "availability": level, "dataCenters": centers}


def settings_of(url: str, **changes: object) -> RunPodSettings:
    """Settings for the double at `url`, at a pace that tests can wait for."""
    settings = RunPodSettings(
        image="registry.example/navarch-agent:1",
        api_key_env=KEY_ENV,
        url=url,
        request_interval=timedelta(milliseconds=1),
        timeout=timedelta(seconds=5),
        launch_timeout=timedelta(seconds=5),
    )
    return replace(settings, **changes)


def request_of(name: str = "training-1", fleet: str = "fleet-1") -> ProvisionRequest:
    """Ask for a machine as the control plane does."""
    return request_for("8x NVIDIA H100 80GB HBM3", name, fleet)


class Bench(HttpBench[RunPodCloud, RunPodProvider]):
    """An account at the double, and its provider."""

    def provider(self) -> RunPodProvider:
        settings = settings_of(self.url, **self.changes)
        return RunPodProvider(settings, now=self.now, sleep=self.sleep)

    def usual(self) -> ProvisionRequest:
        return request_of()


@contextmanager
def running(now: Now, sleep: Sleep) -> Iterator[Bench]:
    """Run a double in the time of `now`."""
    cloud = RunPodCloud(now)
    with cloud.serving() as url:
        yield Bench(cloud, url, now, sleep)
