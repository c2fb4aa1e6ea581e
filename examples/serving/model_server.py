"""A small model server: what a replica's program has to do, and nothing else.

    python examples/serving/model_server.py --model weights.bin --port 8000

It reads the weights, answers ``GET /healthz`` once they are there, makes "tokens" for
``POST /v1/completions`` at a steady pace, a few requests at a time while the others wait, and shows
its load at ``GET /metrics``. With ``--push URL`` it also tells a control plane the depth of its
queue. In the command of an AgentPool::

    runtime:
      command: [python, examples/serving/model_server.py, --model, "{model_path}", --port, "{port}"]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BODY_MAX = 1024 * 1024
QUEUE_MAX = 1000
GAUGES, COUNTERS = ("queue_depth", "running"), ("requests_total", "tokens_total")


class Engine:
    """Makes tokens: some requests at a time, each at its pace."""

    def __init__(self, model: Path | None, *, at_once: int, tokens_per_second: float) -> None:
        self.digest, self.size = read_weights(model)
        self.pace = 1 / tokens_per_second
        self.slots = threading.BoundedSemaphore(at_once)
        self.counts = dict.fromkeys(GAUGES + COUNTERS, 0)
        self.lock = threading.Lock()

    def count(self, **changes: int) -> None:
        """Change the counters."""
        with self.lock:
            for name, change in changes.items():
                self.counts[name] += change

    def complete(self, prompt: str, tokens: int) -> str:
        """Make so many tokens; raises `OverflowError` where too many wait already."""
        with self.lock:
            if self.counts["queue_depth"] >= QUEUE_MAX:
                raise OverflowError(f"{QUEUE_MAX} requests wait already")
            self.counts["queue_depth"] += 1
        with self.slots:
            self.count(queue_depth=-1, running=1)
            threading.Event().wait(tokens * self.pace)
            self.count(running=-1, requests_total=1, tokens_total=tokens)
        words = prompt.split() or ["nothing"]
        return " ".join(words[number % len(words)] for number in range(tokens))

    def metrics(self) -> str:
        """The load, in the text form of Prometheus."""
        with self.lock:
            counts = dict(self.counts)
        lines = [f"# TYPE model_{name} gauge\nmodel_{name} {counts[name]}" for name in GAUGES]
        lines += [f"# TYPE model_{name} counter\nmodel_{name} {counts[name]}" for name in COUNTERS]
        return "\n".join(lines) + "\n"


def read_weights(model: Path | None) -> tuple[str, int]:
    """Read every byte, as a real server would; a folder's files in the order of their names."""
    digest, size = hashlib.sha256(), 0
    if model is not None:
        files = [model] if model.is_file() else sorted(p for p in model.rglob("*") if p.is_file())
        if not files:
            raise SystemExit(f"{model}: there are no weights")
        for file in files:
            with file.open("rb") as opened:
                while chunk := opened.read(1024 * 1024):
                    digest.update(chunk)
                    size += len(chunk)
    return digest.hexdigest(), size


class Connection(BaseHTTPRequestHandler):
    """One client."""

    protocol_version = "HTTP/1.1"
    engine: Engine

    def do_GET(self) -> None:
        """Say how the server is."""
        if self.path == "/healthz":
            self._say(200, {"weights": self.engine.digest[:12], "bytes": self.engine.size})
        elif self.path == "/metrics":
            self._send(200, "text/plain; version=0.0.4", self.engine.metrics().encode())
        else:
            self._say(404, {"error": f"{self.path} is not here"})

    def do_POST(self) -> None:
        """Complete a text."""
        length = int(self.headers.get("content-length") or 0)
        if self.path != "/v1/completions" or not 0 < length <= BODY_MAX:
            self.close_connection = True
            self._say(404, {"error": "expected /v1/completions with a body"})
            return
        try:
            asked: dict[str, Any] = json.loads(self.rfile.read(length))
            tokens = min(max(int(asked.get("max_tokens", 16)), 1), 4096)
            text = self.engine.complete(str(asked["prompt"]), tokens)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._say(400, {"error": f"no completion request: {error}"})
        except OverflowError as error:
            self._say(429, {"error": str(error)})
        else:
            self._say(200, {"choices": [{"text": text}], "usage": {"completion_tokens": tokens}})

    def _say(self, status: int, answer: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(answer).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *parts: object) -> None:
        """Say nothing for each request."""


def push(engine: Engine, url: str) -> None:
    """Tell a control plane each second how many requests wait, for as long as we live."""
    sample = {"agentPool": os.environ["NAVARCH_AGENT_POOL"], "metric": "queue-depth"}
    source = os.environ.get("NAVARCH_REPLICA", f"pid-{os.getpid()}")
    while True:
        body = {"samples": [{**sample, "value": engine.counts["queue_depth"], "source": source}]}
        request = urllib.request.Request(  # noqa: S310 - the address was given by the operator
            f"{url.rstrip('/')}/navarch.ControlPlaneService/PushMetrics",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        try:
            urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 - as above
        except OSError as error:
            print(f"queue depth not pushed: {error}", flush=True)
        threading.Event().wait(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves completions that mean nothing.")
    parser.add_argument("--model", type=Path, help="a file of weights, or a folder of them")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--at-once", type=int, default=4, help="requests under way at one time")
    parser.add_argument("--tokens-per-second", type=float, default=50.0, help="of each request")
    parser.add_argument("--push", metavar="URL", help="a control plane to tell the queue depth")
    given = parser.parse_args()
    engine = Engine(given.model, at_once=given.at_once, tokens_per_second=given.tokens_per_second)
    Connection.engine = engine
    server = ThreadingHTTPServer(("", given.port), Connection)
    server.daemon_threads = True
    print(f"serving {engine.size} bytes of weights on port {given.port}", flush=True)
    if given.push:
        threading.Thread(target=push, args=(engine, given.push), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
