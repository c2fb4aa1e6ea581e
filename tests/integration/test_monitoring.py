"""Rules and dashboards against a real Prometheus that scrapes a live fleet with troubles.

One Prometheus and one `navarch up` for all tests. The fleet has a pool of real agents, one of which
reports an XID 79 and another of which is frozen, a pool that finds nothing to buy, and replicas of
which some have no place.
"""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.error import HTTPError

import pytest
from promql_parser import VectorSelector

from infra.real_parts import free_ports, require
from infra.real_prometheus import RealPrometheus
from integration.conftest import Up, processes, until
from integration.daemon import daemon
from monitoring.expressions import filled, names_in, selectors_in
from navarch.agent.sensors import injected
from navarch.controlplane.clock import RealClock
from navarch.monitoring import files, rules
from navarch.monitoring.boards import BOARDS
from navarch.monitoring.grafana import Board
from navarch.monitoring.rules import Chosen
from navarch.monitoring.scraping import Scraping, written

TESTS = Path(__file__).parents[1]
QUICK_UP = TESTS / "infra" / "quick_up.py"
GROUPS = files.groups(Chosen())

CONFIGURATION = """\
server:
  autoscale_interval: 1s
providers:
  local: {{type: process, serving: true}}
  soldout: {{type: fake, stock: {{h100-8x: 0}}}}
  priced: {{type: custom, use: "monitoring.sellers:Priced"}}
  refusing: {{type: custom, use: "monitoring.sellers:Refusing"}}
pools:
  train:
    strategy: cost
    providers: [{{name: priced}}, {{name: local}}]
    instance_type: h100-8x
    min_nodes: 4
    max_nodes: 6
    cooldown: 1s
    autoscaling: {{type: reactive, scale_up_at: 80, scale_down_at: 20}}
    metrics:
      - {{type: store}}
      - {{type: prometheus, url: "{prometheus}", queries: {{pending_jobs: vector(3)}}}}
    health: {{unhealthy_after: 1}}
  locked: {{provider: refusing, instance_type: h100-8x, min_nodes: 1, max_nodes: 1}}
  dry:
    provider: soldout
    instance_type: h100-8x
    min_nodes: 1
    max_nodes: 1
    autoscaling: {{type: queue, jobs_per_node: 1}}
    metrics: [{{type: prometheus, url: "http://127.0.0.1:1", queries: {{pending_jobs: up}}}}]
"""

SERVED = """\
apiVersion: neuronetes.io/v1alpha1
kind: AgentClass
metadata: {name: assistant}
spec: {}
---
apiVersion: neuronetes.io/v1alpha1
kind: AgentPool
metadata: {name: chat}
spec:
  agentClassRef: {name: assistant}
  minReplicas: 1
  maxReplicas: 2
  autoscaling: {metrics: [{type: queue-depth, target: 5}]}
  gpuRequirements: {count: 1}
  runtime: {command: [sleep, "600"]}
---
apiVersion: neuronetes.io/v1alpha1
kind: AgentPool
metadata: {name: large}
spec:
  agentClassRef: {name: assistant}
  minReplicas: 1
  maxReplicas: 1
  gpuRequirements: {count: 64}
  runtime: {command: [sleep, "600"]}
"""

ONLY_IN_TROUBLE = {
    "navarch_admission_refused_total": "only after a bound on callers has refused somebody",
    "navarch_interruptions_total": "only after a provider has announced that it takes one away",
    "navarch_plugin_isolated": "only while a plugin is left alone; the panel has a 0 for it",
    "navarch_tls_certificate_end_timestamp_seconds": "only where TLS is spoken, see below",
    "navarch_tls_reloads_refused_total": "only where TLS is spoken, see below",
    "navarch_tls_reloads_total": "only where TLS is spoken, see below",
}
"""Series that this fleet has not, and why."""
PANELS_TOO = ONLY_IN_TROUBLE.keys() - {"navarch_plugin_isolated"}


class Watched:
    """A live fleet, and the Prometheus that scrapes it."""

    def __init__(self, fleet: Up, prometheus: RealPrometheus) -> None:
        """Look at both."""
        self.fleet = fleet
        self.prometheus = prometheus

    def trouble(self) -> None:
        """Make what panels show, and wait until the journal has it."""
        fleet, now = self.fleet, RealClock().now()
        sick, frozen, well = sorted(fleet.wait_serving(3))
        fleet.call("ApplyResources", text=SERVED, source="served.yaml", reason="a test")
        for node in (sick, frozen, well):
            state = Path(fleet.nodes()[node]["metadata"]["labels"]["navarch.dev/state-dir"])
            injected.inject(state, injected.Utilization(percent=95), now=now)
            if node == sick:
                injected.inject(state, injected.Xid(code=79, gpu=0), now=now)
        os.kill(fleet.agents()[frozen], signal.SIGSTOP)
        load = {"agentPool": "default/chat", "metric": "queue-depth", "value": 3, "source": "test"}
        fleet.call("PushMetrics", samples=[load])
        fleet.call("SetPlugin", kind="scheduler", name="gpu-fit", shadow=True, reason="a test")
        with suppress(HTTPError):
            urllib.request.urlopen(f"{fleet.url}/no-such-page", timeout=5)  # noqa: S310 - our own
        wanted = {"instance_condemned", "node_lost", "launch_failed", "replica_blocked"}
        until(lambda: wanted <= {fact["kind"] for fact in fleet.facts()}, f"{wanted} happen")

    def answers(self, expression: str) -> bool:
        """Whether an expression finds anything."""
        return bool(self.prometheus.query(expression))

    def empty(self, expressions: dict[str, str], seconds: float = 30) -> list[str]:
        """Name the expressions that find nothing in the time."""
        left = dict(expressions)

        def all_answer() -> bool:
            for where in [where for where, each in left.items() if self.answers(each)]:
                del left[where]
            return not left

        with suppress(AssertionError):
            until(all_answer, "all answer", seconds)
        return [f"{where}: {expression}" for where, expression in left.items()]


def start(folder: Path, stack: ExitStack) -> Watched:
    """Start a fleet and a Prometheus that scrapes it; `stack` ends both."""
    ours, theirs = free_ports(2)
    config = folder / "navarch.yaml"
    config.write_text(CONFIGURATION.format(prometheus=f"http://127.0.0.1:{theirs}"))
    stack.callback(end_all, folder)
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("PYTHONPATH", str(TESTS))  # where the sellers are
        fleet = Up(folder / "fleet", ours, config=config, program=[str(QUICK_UP)])
    stack.callback(fleet.client.close)
    assert fleet.process.stdout is not None
    stack.callback(fleet.process.stdout.close)
    stack.callback(fleet.kill)
    for name, text in files.rule_files(Chosen()).items():
        (folder / name).write_text(text)
    scraping = Scraping(targets=("{target}",), credentials_file=None, interval="500ms")
    prometheus = RealPrometheus(
        folder,
        f"127.0.0.1:{ours}",
        configuration=written(scraping),
        job="navarch",
        port=theirs,
    )
    stack.callback(prometheus.stop)
    return Watched(fleet, prometheus)


def end_all(folder: Path) -> None:
    """End whatever was started on this folder and is left."""
    for pid in processes(str(folder)):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Start a fleet with troubles and a Prometheus for all tests of this file."""
    require(["prometheus"], "prometheus")
    with ExitStack() as stack:
        running = start(tmp_path_factory.mktemp("watched"), stack)
        running.trouble()
        yield running


def bare(selector: VectorSelector) -> str:
    """Write a selector without its offset."""
    return selector.prettify().partition(" offset ")[0]


def queries_of(board: Board) -> dict[str, str]:
    """All expressions of a dashboard, as Grafana asks them when all is chosen."""
    return {
        f"{panel.title}, query {number}": filled(query.expr, rate_interval="30s")
        for panel in board.panels
        for number, query in enumerate(panel.queries)
        if not names_in(filled(query.expr)) & PANELS_TOO
    }


def test_every_recorded_series_is_there(watched: Watched) -> None:
    names = {rule.name: rule.name for rule in rules.recordings_in(GROUPS)}
    assert watched.empty(names) == []


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_panel_shows_something(board: Board, watched: Watched) -> None:
    assert watched.empty(queries_of(board)) == []


def test_every_selector_of_an_alert_finds_series_that_exist(watched: Watched) -> None:
    asked = {
        f"{alert.name}: {bare(selector)}": bare(selector)
        for alert in rules.alerts_in(GROUPS)
        for selector in selectors_in(alert.expr)
        if bare(selector) not in ONLY_IN_TROUBLE
    }
    assert watched.empty(asked) == []


def test_prometheus_reckons_every_rule_without_an_error(watched: Watched) -> None:
    until(
        lambda: all(rule["health"] != "unknown" for rule in watched.prometheus.rules()),
        "every rule was reckoned",
    )
    found = watched.prometheus.rules()
    assert [(rule["name"], rule.get("lastError")) for rule in found if rule["health"] != "ok"] == []
    assert len(found) == sum(len(group.rules) for group in GROUPS)


def test_an_alert_about_a_trouble_of_this_fleet_is_pending(watched: Watched) -> None:
    pending = 'ALERTS{alertname="NavarchPoolBelowMin", pool="dry", alertstate="pending"}'
    assert watched.empty({"dry": pending}) == []
    assert watched.prometheus.query('ALERTS{alertname="NavarchDown"}') == []


def test_an_expression_that_finds_nothing_is_named(watched: Watched) -> None:
    planted = {"planted": 'navarch_forgotten_total{job="navarch"}'}
    assert watched.empty(planted, seconds=0.2) == [f"planted: {planted['planted']}"]


GUARDED = """\
server:
  address: "127.0.0.1:{port}"
  data: data
  auth:
    tls: {{cert_file: cert.pem, key_file: key.pem}}
    tokens:
      - {{name: prometheus, role: viewer, token_env: PROMETHEUS_TOKEN}}
      - {{name: ops, role: operator, token_env: OPS_TOKEN}}
providers:
  here: {{type: fake}}
pools:
  training: {{provider: here, instance_type: h100-8x, max_nodes: 1}}
"""


@pytest.mark.soak
def test_a_server_is_scraped_over_tls_with_the_token_of_a_viewer_and_no_other(
    tmp_path: Path,
) -> None:
    require(["openssl"], "openssl")
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*words, "-keyout", "key.pem", "-out", "cert.pem"],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    [port] = free_ports(1)
    config, token = tmp_path / "navarch.yaml", tmp_path / "token"
    config.write_text(GUARDED.format(port=port))
    secret, wrong = "v" * 40, "w" * 40
    token.write_text(f"{secret}\n")
    (tmp_path / "navarch.rules.yml").write_text(files.rule_files(Chosen())["navarch.rules.yml"])
    scraping = Scraping(
        targets=("{target}",),
        credentials_file=str(token),
        ca_file=str(tmp_path / "cert.pem"),
        interval="500ms",
    )
    environ = {"PROMETHEUS_TOKEN": secret, "OPS_TOKEN": "o" * 40}
    with daemon(config, port, environ=environ, token="o" * 40, scheme="https"):
        prometheus = RealPrometheus(
            tmp_path, f"127.0.0.1:{port}", configuration=written(scraping), job="navarch"
        )
        try:
            until(lambda: prometheus.query("navarch_leader == 1"), "it is scraped")
            ends = 'ALERTS{alertname="NavarchCertificateEnds", alertstate="pending"}'
            until(lambda: prometheus.query(ends), "its certificate ends soon")
            tls = [name for name in ONLY_IN_TROUBLE if name.startswith("navarch_tls_")]
            assert [name for name in tls if not prometheus.query(name)] == []
            token.write_text(wrong)
            until(lambda: prometheus.is_up() == 0, "another token is refused")
            until(lambda: prometheus.query('ALERTS{alertname="NavarchDown"}'), "that is pending")
        finally:
            prometheus.stop()
