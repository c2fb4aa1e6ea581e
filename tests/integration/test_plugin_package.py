"""A package of plugins, installed with pip, decides in a real fleet and is switched there."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration import serving_fleet
from integration.conftest import Up, until
from integration.serving_fleet import POOL, apply, push, replicas
from plugin_far_ends import Bucket, Prometheus

PLUGINS = {
    "custom-scheduler": "scheduler",
    "custom-autoscaler": "autoscaler",
    "s3-loader": "model-loader",
    "acme-pii": "guardrail",
    "acme-prometheus": "metrics-provider",
}
"""What the package brings, by the word of the command line."""

CONFIG = """\
server:
  address: "127.0.0.1:0"
  autoscale_interval: 1s
providers:
  local:
    type: process
    gpu_count: 2
    serving: true
    pass_variables:
    - LOG_LEVEL
    - PYTHONPATH
    - AWS_ENDPOINT_URL
    - AWS_ACCESS_KEY_ID
    - AWS_SECRET_ACCESS_KEY
pools:
  plain:
    {{provider: local, instance_type: h100-2x, min_nodes: 1, max_nodes: 1, cooldown: 1s}}
  special:
    provider: local
    instance_type: h100-2x
    min_nodes: 0
    max_nodes: 1
    cooldown: 1s
    labels: {{custom-requirement: met, performance-tier: high}}
    autoscaling: {{type: queue, jobs_per_node: 2}}
plugins:
  autoscaler-plugins:
  - name: custom-autoscaler
    config: {{target_depth_per_replica: 5}}
  metrics-provider-plugins:
  - name: acme-prometheus
    config: {{url: "{prometheus}", metrics: [concurrent-sessions]}}
"""

AUTOSCALING = """\
autoscalers: [custom-autoscaler, token-aware]
metrics:
- {type: queue-depth, target: 1000}
- {type: concurrent-sessions, target: 1}"""

FILES = {"config.json": b"{}", "deep/model.safetensors": bytes(range(256)) * 800}


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    """A bucket with weights."""
    far_end = Bucket()
    yield far_end
    far_end.stop()


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    """A Prometheus, which says that nobody is there."""
    far_end = Prometheus()
    far_end.series = {("neuronetes_concurrent_sessions", "chat"): "0"}
    yield far_end
    far_end.stop()


@pytest.fixture
def installed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: Bucket
) -> Path:
    """Install the package into a folder of its own, which every new process looks into."""
    target = tmp_path / "site"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--disable-pip-version-check", "--target", str(target)),
            str(_copy(project / "examples" / "plugins" / "acme-navarch", tmp_path / "acme")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    monkeypatch.setenv("PYTHONPATH", str(target))
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return target


def _copy(package: Path, to: Path) -> Path:
    """Copy a package, so that building it leaves nothing in the tree."""
    for path in package.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = to / path.relative_to(package)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return to


def listed(fleet: Up) -> dict[str, dict[str, Any]]:
    """What the control plane says of the package's plugins, by name."""
    found = fleet.call("ListPlugins").get("plugins", [])
    return {one["name"]: one for one in found if "acme-navarch" in one.get("origin", "")}


def traced(fleet: Up, kind: str, name: str) -> list[dict[str, Any]]:
    """The calls of a plugin, as the debugging page shows them."""
    url = f"{fleet.url}/debug/plugins/{kind}/trace?limit=1000"
    with urllib.request.urlopen(url, timeout=10) as page:  # noqa: S310 - of this machine
        return [each for each in json.load(page)["traces"] if each["plugin"] == name]


def switch(fleet: Up, word: str, name: str) -> None:
    """Switch a plugin by the command line."""
    done = fleet.run("plugin", word, PLUGINS[name], name, "--reason", "we try it")
    assert done.returncode == 0, done.stderr
    assert f"{word}d" in done.stdout


def pools_of(fleet: Up) -> set[str]:
    """The pools of machines whose nodes run replicas that are ready."""
    at = {each.get("nodeId", "") for each in replicas(fleet, "READY")}
    return {node["pool"] for id_, node in fleet.nodes().items() if id_ in at}


@pytest.mark.usefixtures("installed")
def test_an_installed_package_decides_in_a_fleet_and_is_switched_there(
    start_up: Callable[..., Up],
    tmp_path: Path,
    bucket: Bucket,
    prometheus: Prometheus,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "debug")
    config = tmp_path / "navarch.yaml"
    config.write_text(CONFIG.format(prometheus=prometheus.url))
    fleet = start_up(config=config)
    assert set(listed(fleet)) == set(PLUGINS)
    assert {one["origin"] for one in listed(fleet).values()} == {"acme-navarch 1.0.0"}
    apply(fleet, bucket.put(FILES, "tiny"), AUTOSCALING, smallest=0, largest=3)
    fleet.wait_serving(1)

    # Its autoscaler reads the queue, its scheduler refuses the node there is, its loader brings it.
    push(fleet, 9)
    ready = until(lambda: len(found := replicas(fleet, "READY")) == 2 and found, "two replicas")
    assert ready
    assert all(map(serving_fleet.answers, ready))
    assert pools_of(fleet) == {"special"}
    records = list(tmp_path.rglob("records/*tiny.json"))
    assert [json.loads(each.read_bytes())["loader"] for each in records] == ["s3-loader"]
    assert any("concurrent_sessions" in asked for asked in prometheus.asked)
    for name in ("custom-scheduler", "custom-autoscaler", "acme-prometheus"):
        kind = PLUGINS[name]
        calls = traced(fleet, kind, name)
        assert {each["outcome"] for each in calls} == {"ok"}, name
        assert name in fleet.run("plugin", "trace", kind, "--pool", POOL).stdout
        assert name in fleet.run("plugin", "list", "--kind", kind).stdout
    points = {each["point"] for each in traced(fleet, "scheduler", "custom-scheduler")}
    assert {"filter", "score"} <= points

    # In detail it is in the logs, here and on the node that brought the weights.
    log = fleet.log.read_text()
    assert '"event":"plugin_called","kind":"scheduler","plugin":"custom-scheduler"' in log
    assert '"plugin":"custom-autoscaler","point":"calculate_replicas"' in log
    logs = "".join(each.read_text() for each in fleet.data.rglob("*.log"))
    assert '"loader":"s3-loader","point":"load_into","model":"default/tiny","outcome":"ok"' in logs

    # What is switched off stays so, whatever happens to the process; then others decide.
    switch(fleet, "disable", "custom-scheduler")
    switch(fleet, "disable", "custom-autoscaler")
    fleet.kill()
    again = start_up(config=config, port=fleet.port)
    enabled = {name for name, one in listed(again).items() if one.get("enabled", False)}
    assert enabled == set(PLUGINS) - {"custom-scheduler", "custom-autoscaler"}
    prometheus.series[("neuronetes_concurrent_sessions", "chat")] = "3"
    switch(again, "enable", "custom-autoscaler")  # a pool whose autoscaler is missing holds
    push(again, 9)
    until(lambda: len(replicas(again, "READY")) == 3, "a third replica")
    assert pools_of(again) == {"plain", "special"}
    assert traced(again, "scheduler", "custom-scheduler") == []


@pytest.mark.usefixtures("installed")
def test_a_guardrail_of_an_installed_package_checks_texts(tmp_path: Path) -> None:
    text = "Card 4111 1111 1111 1111, write to jane.doe@example.org"
    command = [sys.executable, "-m", "navarch", "guardrail", "check", "-", "--redact"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Card [card], write to [email]"), done.stderr

    program = tmp_path / "engine.py"
    program.write_text(ENGINE)
    command = [sys.executable, "-W", "error", str(program), text]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["acme-pii", "redact", "Card [card], write to [email]"], (
        done.stderr
    )


ENGINE = """
import asyncio, sys
from navarch.core.model.resources import AgentClass, AgentClassSpec, GuardrailSpec
from navarch.plugins import GuardrailRequest
from navarch.plugins.guardrails import GuardrailEngine

checks = (GuardrailSpec(type="pii-detection", action="redact"),)
engine = GuardrailEngine(AgentClass(spec=AgentClassSpec(guardrails=checks)))
answer = asyncio.run(engine.check(GuardrailRequest(sys.argv[1])))
print(engine.bindings[0].name, answer.action, answer.metadata["redacted_content"], sep="\\n")
"""
