"""A double of Lambda Cloud, written from the facts in its OpenAPI document 1.8.3.

It keeps what the document states: shapes, codes, what a launch must have, the pattern of tags'
keys, the limits of requests and launches, and that there are no idempotency tokens: whoever asks
twice has two machines.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from doubles.http_cloud import Asked, HttpCloud, Limit, Said, said_json

PREFIX = "/api/v1"
TAG_KEY = re.compile(r"[a-z][a-z0-9-:]+")

CLOUDFLARE_PAGE = Said(
    429,
    b"<!DOCTYPE html><title>Access denied | cloud.lambda.ai used Cloudflare to restrict access"
    b"</title><h1>Error 1015</h1><p>You are being rate limited",
    {"content-type": "text/html; charset=UTF-8"},
)
"""What a proxy says: no JSON, and no hint how long."""

JUPYTER = "jupyter-token-that-nobody-may-see"
"""Shown with each machine."""

LAUNCH = {
    *("region_name", "instance_type_name", "ssh_key_names", "file_system_names"),
    *("file_system_mounts", "hostname", "name", "image", "user_data", "tags"),
    "firewall_rulesets",
}


def fault_of(status: int, code: str, message: str = "no") -> Said:
    """Refuse as Lambda does."""
    return said_json({"error": {"code": code, "message": message, "suggestion": "ask"}}, status)


def sold(name: str, gpus: int, gpu: str, cents: int) -> dict[str, Any]:
    """Describe a type as the price list does."""
    specs = {"vcpus": 26 * gpus, "memory_gib": 200 * gpus, "storage_gib": 512, "gpus": gpus}
    return {
        "name": name,
        "description": f"{gpus}x {gpu}",
        "gpu_description": gpu,
        "price_cents_per_hour": cents,
        "specs": specs,
    }


@dataclass
class Server:
    """A machine, by what was asked and when."""

    id: str
    asked: dict[str, Any]
    made_at: datetime
    ended_at: datetime | None = None
    vanished_at: datetime | None = None
    """When somebody took it away by hand, without a trace."""
    status: str = ""
    """A scripted status; empty: what follows from the times."""


@dataclass
class Account:
    """What the double sells, and to whom; all of it may be changed at any time."""

    keys: set[str] = field(default_factory=lambda: {"lambda-key-for-tests"})
    ssh_keys: set[str] = field(default_factory=lambda: {"ops"})
    types: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            "gpu_1x_a10": sold("gpu_1x_a10", 1, "A10 (24 GB PCIe)", 75),
            "gpu_8x_h100_sxm5": sold("gpu_8x_h100_sxm5", 8, "H100 (80 GB SXM5)", 2392),
        }
    )
    regions: set[str] = field(default_factory=lambda: {"us-west-1", "us-east-1"})
    stock: dict[tuple[str, str], int] = field(default_factory=dict)
    """How many of a type there are to sell in a region; one that is not here is never sold out."""
    quota: int | None = None
    boot_time: timedelta = timedelta()
    end_time: timedelta = timedelta()
    list_lag: timedelta = timedelta()
    """How old the world is that lists show."""
    remembers_ended: timedelta = timedelta()
    limits: list[Limit] = field(default_factory=list)
    """On any request."""
    launch_limits: list[Limit] = field(default_factory=list)
    limited: Said = field(default=CLOUDFLARE_PAGE)


class LambdaCloud(HttpCloud):
    """An account at Lambda Cloud, on a socket."""

    def __init__(self, now: Callable[[], datetime], account: Account | None = None) -> None:
        super().__init__(now)
        self.account = account or Account()
        self.servers: dict[str, Server] = {}
        self.refused_for_pace = 0
        """How many requests came too early."""

    def alive(self) -> list[Server]:
        """The machines that cost money now."""
        return [
            each
            for each in self.servers.values()
            if self._status(each, self.now()) not in {"", "terminated", "preempted"}
        ]

    def add(self, name: str, tags: list[dict[str, str]]) -> str:
        """Put a machine into the account as somebody with a console does; return its id."""
        kind, region = next(iter(self.account.types)), min(self.account.regions)
        where = {"instance_type_name": kind, "region_name": region, "ssh_key_names": ["ops"]}
        return self._make({"name": name, "tags": tags, **where})

    def vanish(self, server_id: str) -> None:
        """Take a machine away as somebody with a console does."""
        self.servers[server_id].vanished_at = self.now()

    def answer(self, asked: Asked) -> Said:
        header = asked.headers.get("authorization", "")
        if header.removeprefix("Bearer ") not in self.account.keys:
            return fault_of(401, "global/invalid-api-key")
        limits = list(self.account.limits)
        is_launch = asked.call == f"POST {PREFIX}/instance-operations/launch"
        if is_launch:
            limits += self.account.launch_limits
        if any(limit.wait(asked.at) > timedelta() for limit in limits):
            self.refused_for_pace += 1
            return self.account.limited
        match asked.call.replace(PREFIX, "", 1):
            case "GET /instances":
                return said_json({"data": [*map(self._shown, self._listed())]})
            case "GET /instance-types":
                return said_json({"data": {name: self._sale(name) for name in self.account.types}})
            case "POST /instance-operations/launch":
                return self._launch(asked.json())
            case "POST /instance-operations/terminate":
                return self._terminate(asked.json())
            case _:
                return fault_of(404, "global/object-does-not-exist", "no such path")

    def _launch(self, body: dict[str, Any]) -> Said:
        wrong = self._wrong(body)
        if wrong:
            return fault_of(400, "global/invalid-parameters", wrong)
        kind, region = body["instance_type_name"], body["region_name"]
        for name, known in (
            (kind, self.account.types),
            (region, self.account.regions),
            (body["ssh_key_names"][0], self.account.ssh_keys),
        ):
            if name not in known:
                return fault_of(400, "global/object-does-not-exist", f"{name} does not exist")
        if self.account.quota is not None and len(self.alive()) >= self.account.quota:
            return fault_of(400, "global/quota-exceeded")
        stock = self.account.stock.get((kind, region))
        if stock is not None:
            if stock < 1:
                return fault_of(400, "instance-operations/launch/insufficient-capacity")
            self.account.stock[kind, region] = stock - 1
        return said_json({"data": {"instance_ids": [self._make(body)]}})

    def _make(self, body: dict[str, Any]) -> str:
        server = Server(f"{len(self.servers) + 0xABC:032x}", body, self.now())
        self.servers[server.id] = server
        return server.id

    def _wrong(self, body: dict[str, Any]) -> str:
        """Say what is wrong with a launch; empty for nothing."""
        if body.keys() - LAUNCH:
            return f"unknown: {body.keys() - LAUNCH}"
        if {"region_name", "instance_type_name", "ssh_key_names"} - body.keys():
            return "something required is missing"
        if len(body["ssh_key_names"]) != 1:
            return "exactly one SSH key"
        if len(body.get("name", "")) > 64:
            return "name"
        if len(body.get("user_data", "")) > 1_000_000:
            return "user_data"
        for tag in body.get("tags", []):
            if not TAG_KEY.fullmatch(tag["key"]) or not isinstance(tag["value"], str):
                return f"tag {tag}"
        return ""

    def _terminate(self, body: dict[str, Any]) -> Said:
        now = self.now()
        ended = []
        for server_id in body["instance_ids"]:
            server = self.servers.get(server_id)
            if server is None or self._status(server, now) in {"", "terminated"}:
                return fault_of(404, "global/object-does-not-exist", f"{server_id} does not exist")
            server.ended_at = server.ended_at or now
            ended.append({**self._shown((server, now)), "status": "terminating"})
        return said_json({"data": {"terminated_instances": ended}})

    def _listed(self) -> list[tuple[Server, datetime]]:
        at = self.now() - self.account.list_lag
        return [(each, at) for each in self.servers.values() if self._status(each, at)]

    def _status(self, server: Server, at: datetime) -> str:
        """How far a machine had come; empty when it is not listed."""
        account = self.account
        if at < server.made_at or (server.vanished_at is not None and at >= server.vanished_at):
            return ""
        if server.ended_at is not None and at >= server.ended_at + account.end_time:
            gone_at = server.ended_at + account.end_time
            return "terminated" if at < gone_at + account.remembers_ended else ""
        if server.ended_at is not None and at >= server.ended_at:
            return "terminating"
        if server.status:
            return server.status
        return "booting" if at < server.made_at + account.boot_time else "active"

    def _shown(self, seen: tuple[Server, datetime]) -> dict[str, Any]:
        server, at = seen
        asked = server.asked
        status = self._status(server, at)
        shown = {
            "id": server.id,
            "status": status,
            "ssh_key_names": asked["ssh_key_names"],
            "file_system_names": asked.get("file_system_names", []),
            "region": {"name": asked["region_name"], "description": "somewhere"},
            "instance_type": self.account.types[asked["instance_type_name"]],
            "actions": {"terminate": {"available": status != "terminating"}},
            "name": asked.get("name"),
            "hostname": "203-0-113-7",
            "jupyter_token": JUPYTER,
            "jupyter_url": f"https://jupyter.example/?token={JUPYTER}",
            "tags": asked.get("tags", []),
        }
        if status == "active":
            shown |= {"ip": "203.0.113.7", "private_ip": "10.19.0.7"}
        return shown

    def _sale(self, name: str) -> dict[str, Any]:
        regions = [
            {"name": region, "description": "somewhere"}
            for region in sorted(self.account.regions)
            if self.account.stock.get((name, region), 1) > 0
        ]
        return {
            "instance_type": self.account.types[name],
            "regions_with_capacity_available": regions,
        }
