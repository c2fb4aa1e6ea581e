"""Load makes replicas, replicas make machines, and all of it goes away again: on this machine.

    make demo-serving

A control plane and its fleet run as one real process and its agents as others. Weights lie in a
local S3 (moto); each replica is a real HTTP server that loads them. A gateway here sends requests
to the replicas that are ready, and tells the control plane how many wait. The script ends with 1
when something does not happen in time.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WEIGHTS_BYTES = 24 * 1024 * 1024
POOL = "default/chat"
WAIT_MAX = 90.0
TOKENS = 20


class Fleet:
    """``navarch up`` as a child, and its API."""

    def __init__(self, folder: Path, s3: str) -> None:
        command = [sys.executable, "-m", "navarch", "up", "--config", str(HERE / "navarch.yaml")]
        command += ["--data", str(folder / "data"), "--port", "0"]
        environ = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": "demo",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": s3,
            "AWS_ALLOW_HTTP": "true",
        }
        self.log = (folder / "navarch.log").open("wb")
        self.child = subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        assert self.child.stdout is not None
        greeting = self.child.stdout.readline()
        if " at " not in greeting:
            raise SystemExit(f"navarch up did not start: see {self.log.name}")
        self.url = greeting.rpartition(" at ")[2].strip()

    def call(self, method: str, **body: Any) -> dict[str, Any]:
        """Make one remote call."""
        request = urllib.request.Request(
            f"{self.url}/navarch.ControlPlaneService/{method}",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def navarch(self, *arguments: str) -> str:
        """Run a command of the command line, and show it."""
        print(f"$ navarch {' '.join(arguments)}")
        environ = {**os.environ, "NAVARCH_SERVER": self.url}
        done = subprocess.run(
            [sys.executable, "-m", "navarch", *arguments],
            env=environ,
            check=False,
            capture_output=True,
            text=True,
        )
        print(done.stdout + done.stderr)
        return done.stdout

    def stop(self) -> None:
        """End it, as Ctrl-C does."""
        self.child.send_signal(signal.SIGINT)
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
        self.log.close()


class Gateway:
    """Takes requests, has replicas answer them, and tells how many wait."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.rate = 0.0
        self.queue: deque[float] = deque()
        self.answered = 0
        self.failed = 0
        self.endpoints: list[str] = []
        self.busy: dict[str, int] = {}
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.threads = [
            threading.Thread(target=loop, daemon=True) for loop in (self._come, self._push)
        ]
        for thread in self.threads:
            thread.start()

    def _come(self) -> None:
        """Let requests come at the wanted rate, and send them where there is room."""
        owed = 0.0
        while not self.stopping.wait(0.05):
            owed += self.rate * 0.05
            while owed >= 1:
                self.queue.append(time.monotonic())
                owed -= 1
            for endpoint in list(self.endpoints):
                while self.queue and self.busy.get(endpoint, 0) < 2:
                    self.queue.popleft()
                    with self.lock:
                        self.busy[endpoint] = self.busy.get(endpoint, 0) + 1
                    threading.Thread(target=self._send, args=(endpoint,), daemon=True).start()

    def _send(self, endpoint: str) -> None:
        body = json.dumps({"prompt": "hello world", "max_tokens": TOKENS}).encode()
        request = urllib.request.Request(
            f"{endpoint}/v1/completions", body, {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                answer.read()
            self.answered += 1
        except OSError:
            self.failed += 1
            self.queue.append(time.monotonic())  # another replica will do it
        finally:
            with self.lock:
                self.busy[endpoint] -= 1

    def _push(self) -> None:
        """Tell the load, and ask who serves."""
        while not self.stopping.wait(0.5):
            waiting, rate = len(self.queue), self.rate
            samples = [
                {"agentPool": POOL, "metric": "queue-depth", "value": waiting, "source": "demo"},
                {"agentPool": POOL, "metric": "requests-per-second", "value": rate,
                 "source": "demo"},
            ]  # fmt: skip
            with contextlib.suppress(OSError):
                self.fleet.call("PushMetrics", samples=samples)
                replicas = self.fleet.call("ListReplicas", agentPool=POOL).get("replicas", [])
                self.endpoints = [
                    each["endpoint"]
                    for each in replicas
                    if each["state"] == "REPLICA_STATE_READY" and each.get("endpoint")
                ]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="navarch-demo-") as made, s3_with_weights() as s3:
        folder = Path(made)
        fleet = Fleet(folder, s3)
        gateway = None
        try:
            print(f"the control plane is at {fleet.url}, the weights at {s3}")
            gateway = Gateway(fleet)
            return play(folder, fleet, gateway)
        except TimeoutError as error:
            print(f"FAILED: {error}\n--- the log ends so:")
            print("\n".join(Path(fleet.log.name).read_text().splitlines()[-40:]))
            return 1
        finally:
            if gateway is not None:
                gateway.stopping.set()
            fleet.stop()


def play(folder: Path, fleet: Fleet, gateway: Gateway) -> int:
    """Let the load rise and fall, and wait for what has to follow."""
    text = (HERE / "resources.yaml").read_text()
    text = text.replace("PYTHON", sys.executable)
    text = text.replace("SERVER", str(HERE.parent / "model_server.py"))
    written = folder / "resources.yaml"
    written.write_text(text)
    fleet.navarch("apply", "-f", str(written))
    wait(fleet, gateway, "one replica is ready", lambda s: s["ready"] == 1)

    gateway.rate = 14.0
    print("\n--- fourteen requests a second begin: one replica answers four")
    wait(fleet, gateway, "four replicas are wanted", lambda s: s["wanted"] >= 4, within=10)
    wait(fleet, gateway, "they are ready, on more nodes", lambda s: s["ready"] >= 4)
    wait(fleet, gateway, "the queue is short", lambda s: s["queue"] < 8)
    fleet.navarch("get-resource", "replica")
    explained = fleet.navarch("explain", "agent-pool", "chat")
    fleet.navarch("explain", "pool", "gpus")
    fleet.navarch("plugin", "list", "--kind", "scheduler")

    gateway.rate = 0.0
    print("\n--- nobody asks any more")
    wait(fleet, gateway, "one replica is left", lambda s: (s["wanted"], s["ready"]) == (1, 1))
    wait(fleet, gateway, "one node is left", lambda s: s["nodes"] == 1)
    fleet.navarch("get-resource", "agentpool")
    print(f"{gateway.answered} requests answered, {gateway.failed} sent again")
    return 0 if gateway.answered and "requests-per-second" in explained else 1


def wait(
    fleet: Fleet,
    gateway: Gateway,
    what: str,
    happened: Callable[[dict[str, int]], bool],
    within: float = WAIT_MAX,
) -> None:
    """Show how things stand until something has happened; raises `TimeoutError`."""
    begun = time.monotonic()
    shown: dict[str, int] = {}
    while True:
        state = standing(fleet, gateway)
        if state != shown:
            shown = state
            told = "  ".join(f"{name} {number:>3}" for name, number in state.items())
            print(f"{time.monotonic() - begun:6.1f} s  {told}", flush=True)
        if happened(state):
            print(f"{time.monotonic() - begun:6.1f} s  {what}")
            return
        if time.monotonic() - begun > within:
            raise TimeoutError(f"not within {within:.0f} s: {what}")
        time.sleep(0.5)


def standing(fleet: Fleet, gateway: Gateway) -> dict[str, int]:
    """Count what there is."""
    replicas = fleet.call("ListReplicas", agentPool=POOL).get("replicas", [])
    states = [each["state"].removeprefix("REPLICA_STATE_").lower() for each in replicas]
    going = ("stopping", "ended")
    nodes = fleet.call("ListNodes").get("nodes", [])
    live = [node for node in nodes if node["status"] != "NODE_STATUS_TERMINATED"]
    return {
        "queue": len(gateway.queue),
        "wanted": sum(state not in going for state in states),
        "pending": states.count("pending"),
        "loading": states.count("loading"),
        "ready": states.count("ready"),
        "nodes": len(live),
    }


@contextlib.contextmanager
def s3_with_weights() -> Iterator[str]:
    """Serve a bucket with made-up weights for as long as the block lasts."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        client = importlib.import_module("boto3").client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="demo",
            aws_secret_access_key="demo",
        )
        client.create_bucket(Bucket="weights")
        client.put_object(Bucket="weights", Key="tiny/config.json", Body=b"{}")
        body = os.urandom(WEIGHTS_BYTES)
        client.put_object(Bucket="weights", Key="tiny/model.safetensors", Body=body)
        yield url
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
