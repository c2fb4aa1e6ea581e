"""A cloud in a process of its own, which outlives control planes, and the provider that asks it.

``python -m infra.cloud_process ADDRESS PORT`` serves it. It takes its time to answer, so that a
control plane may die between what it asks and what it hears; it honours tokens; and it keeps
everything that was ever asked, by whom and when, for whoever counts afterwards.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import sys
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

from navarch.controlplane.clock import RealClock
from navarch.errors import NotFound, OutcomeUnknown, Unavailable
from navarch.providers.base import Instance, Instances, InstanceStatus, ProvisionRequest
from navarch.simulator.dice import Dice

CALLER_VARIABLE: Final = "NAVARCH_TEST_CALLER"
"""What a control plane's process calls itself, so that the cloud knows who asked."""
SECONDS: Final = (0.02, 0.4)
"""How long the cloud thinks, before it acts and again before it answers."""


class Cloud:
    """The machines, and every request that has changed something."""

    def __init__(self) -> None:
        self.machines: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, Any]] = []
        self._by_token: dict[str, str] = {}
        self._lock = threading.Lock()
        self._clock = RealClock()
        self._dice = Dice(1).stream("cloud")

    def answer(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        """Do what was asked, slowly."""
        if verb in ("provision", "terminate"):
            with self._lock:
                self.asked.append({"verb": verb, "at": self._clock.now().timestamp(), **body})
            self._think()
        with self._lock:
            answer: dict[str, Any] = getattr(self, f"_{verb}")(body)
        if verb in ("provision", "terminate"):
            self._think()
        return answer

    def _think(self) -> None:
        threading.Event().wait(SECONDS[0] + self._dice.fraction() * (SECONDS[1] - SECONDS[0]))

    def _provision(self, body: dict[str, Any]) -> dict[str, Any]:
        known = self._by_token.get(body["token"])
        if known is None:
            known = self._by_token[body["token"]] = f"machine-{len(self.machines) + 1}"
            self.machines[known] = {"id": known, "ended": False, **body}
        return self.machines[known]

    def _terminate(self, body: dict[str, Any]) -> dict[str, Any]:
        machine = self.machines.get(body["id"])
        if machine is None or machine["ended"]:
            return {"missing": True}
        machine["ended"] = True
        return {}

    def _list(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"machines": [each for each in self.machines.values() if not each["ended"]]}

    def _record(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"machines": list(self.machines.values()), "asked": self.asked}


class CloudClient:
    """The `Provider` over it."""

    name = "cloud"
    calls_per_second = 50.0
    list_lag = timedelta(seconds=1)
    honours_tokens = True

    def __init__(self, url: str) -> None:
        """Ask the cloud at this address."""
        self._address = urlsplit(url).netloc

    async def provision(self, request: ProvisionRequest) -> Instance:
        body = {"name": request.name, "token": request.token, "labels": dict(request.labels)}
        return self._instance(await self._ask("provision", body))

    async def terminate(self, instance_id: str) -> None:
        if (await self._ask("terminate", {"id": instance_id})).get("missing"):
            raise NotFound(f"cloud: there is no {instance_id}")

    async def list(self) -> Instances:
        answer = await self._ask("list", {})
        return [self._instance(each) for each in answer["machines"]]

    def _instance(self, machine: dict[str, Any]) -> Instance:
        return Instance(
            id=machine["id"],
            provider=self.name,
            name=machine["name"],
            status=InstanceStatus.RUNNING,
            gpu_count=8,
            labels=machine["labels"],
        )

    async def _ask(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        return await asyncio.to_thread(ask, self._address, verb, body)


def ask(address: str, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask the cloud, and wait for its answer."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        try:
            connection.connect()
        except OSError as error:
            raise Unavailable(f"cloud: {error}") from error
        try:
            caller = os.environ.get(CALLER_VARIABLE, "")
            connection.request("POST", f"/{verb}", json.dumps({**body, "by": caller}))
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise OutcomeUnknown(f"cloud: {error}") from error
        return answer
    finally:
        connection.close()


def serve(address: str, port: int) -> None:
    """Serve until the process is ended."""
    cloud = Cloud()

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            body = json.dumps(cloud.answer(self.path.strip("/"), asked)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # whoever asked is dead

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            """Say nothing."""

    ThreadingHTTPServer((address, port), Endpoint).serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
