"""A receiver of Navarch's webhooks: what a scheduler of your own needs to be told of drains.

`Scheduler.receive` is all there is to it: check the signature, check that it is no old message
sent again, do what the action says. Doing it twice must be the same as doing it once, because a
message whose answer was lost comes again, with the same delivery_id.

Run as a script, it starts the receiver and lets Navarch's own notifier drain a node of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from navarch import RealClock
from navarch.notifiers.base import Workload
from navarch.notifiers.webhook import WebhookNotifier, WebhookSettings

SECONDS_OLD_MAX = 300


class Scheduler:
    """Places jobs on nodes, and hears which ones to leave alone."""

    def __init__(self, secret: str, jobs: dict[str, int], now: Callable[[], datetime]) -> None:
        """Have these nodes, each with so many jobs."""
        self.secret = secret
        self.jobs = jobs
        self.now = now
        self.held: set[str] = set()

    def receive(self, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """Do what a message says; returns the HTTP status and the answer.

        Header names are in lower case here, since HTTP does not tell the cases apart.
        """
        expected = "sha256=" + hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        signed = headers.get("x-navarch-signature", "")
        if not hmac.compare_digest(expected.encode(), signed.encode()):
            return 401, {"error": "bad signature"}
        message = json.loads(body)
        if abs(self.now().timestamp() - message["sent_at"]) > SECONDS_OLD_MAX:
            return 401, {"error": "sent too long ago"}
        node = message["node_id"]
        if node not in self.jobs:
            return 404, {"error": "unknown_node"}
        if message["action"] in ("cordon", "drain"):
            self.held.add(node)
        elif message["action"] == "uncordon":
            self.held.discard(node)
        elif message["action"] == "drain_status":
            is_empty = node in self.held and not self.jobs[node]
            status = "drained" if is_empty else "draining"
            return 200, {"status": status, "remaining": self.jobs[node]}
        return 200, {}


@contextmanager
def serving(scheduler: Scheduler) -> Iterator[str]:
    """Answer on a free port of this machine; gives the address."""

    class Connection(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = scheduler.receive(headers, body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Connection) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/navarch"
        server.shutdown()


def settings_for(url: str, secret_file: Path) -> WebhookSettings:
    """Tell one address everything; the actions are told apart by the message."""
    return WebhookSettings(
        cordon_url=url,
        uncordon_url=url,
        drain_url=url,
        drain_status_url=url,
        secret_file=str(secret_file),
    )


async def main(settings: WebhookSettings, scheduler: Scheduler) -> list[str]:
    """Drain a node with two jobs, and give it back."""
    notifier = WebhookNotifier(settings, now=scheduler.now)
    node = Workload(node_id="node-1", hostname="gpu-1")
    told = []
    await notifier.drain(node, "XID 79 on GPU 3", None)
    while scheduler.jobs["node-1"]:
        told.append((await notifier.drained(node)).text)
        scheduler.jobs["node-1"] -= 1
    told.append((await notifier.drained(node)).text)
    await notifier.uncordon(node, "repaired")
    told.append(f"held: {sorted(scheduler.held)}")
    await notifier.close()
    return told


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        file = Path(folder, "secret")
        file.write_text("agreed on beforehand")
        receiver = Scheduler("agreed on beforehand", {"node-1": 2}, RealClock().now)
        with serving(receiver) as address:
            print("\n".join(asyncio.run(main(settings_for(address, file), receiver))))
