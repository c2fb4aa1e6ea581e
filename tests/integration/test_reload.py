"""A running `navarch server` takes another configuration, as facts, or refuses it as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.conftest import until
from integration.daemon import daemon, free_port

ADMIN, OPERATOR = "a" * 20, "o" * 20
ENVIRON = {"ADMIN": ADMIN, "OPERATOR": OPERATOR}


def written(folder: Path, port: int, *, max_nodes: object = 4, batch: str = "") -> str:
    return f"""
server:
  address: "127.0.0.1:{port}"
  data: {folder / "data"}
  heartbeat_interval: 1s
  autoscale_interval: 200ms
  auth:
    tokens:
      - {{name: admin, role: admin, token_env: ADMIN}}
      - {{name: operator, role: operator, token_env: OPERATOR}}
providers:
  fake: {{type: fake}}
pools:
  training: {{provider: fake, min_nodes: 1, max_nodes: {max_nodes}}}
{batch}"""


GREEDY = """
  batch:
    provider: fake
    max_nodes: 3
    cooldown: 0s
    autoscaling: {type: custom, use: "greedy:Greedy"}
"""
PLUGIN = """
from navarch.core.scaling.base import ScaleRecommendation


class Greedy:
    name = "greedy"

    def recommend(self, state):
        return ScaleRecommendation(state.max_nodes, "there is never enough")
"""


def test_sighup_reads_the_file_again_and_a_mistake_changes_nothing(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "navarch.yaml"
    file.write_text(written(tmp_path, port))
    (tmp_path / "greedy.py").write_text(PLUGIN)
    environ = {**ENVIRON, "PYTHONPATH": str(tmp_path)}
    with daemon(file, port, environ=environ, token=ADMIN) as server:
        file.write_text(written(tmp_path, port, max_nodes=7, batch=GREEDY))
        server.hang_up()
        until(lambda: server.pool("training")["maxNodes"] == 7, "the new limit")
        # Its autoscaler was loaded and is asked.
        until(lambda: server.pool("batch").get("targetNodes") == 3, "the greedy pool at its limit")
        assert "greedy: there is never enough" in server.pool("batch")["because"]
        configured = [fact["text"] for fact in server.facts("pool_configured")]
        assert any("training is configured for 1 to 7 nodes" in text for text in configured)
        assert '"by":"its file","change":"pool training: max_nodes 4 -> 7"' in server.log

        known = len(server.facts("pool_configured", "pool_retired"))
        file.write_text(written(tmp_path, port, max_nodes="many"))
        server.hang_up()
        mistake = f'"error":"{file}:14: pools.training.max_nodes: expected a whole number'
        until(lambda: mistake in server.log, "the mistake in the log")
        assert server.pool("training")["maxNodes"] == 7
        assert len(server.facts("pool_configured", "pool_retired")) == known
        assert server.process.poll() is None

        file.write_text(written(tmp_path, port, max_nodes=7))
        server.hang_up()
        until(lambda: server.facts("pool_retired"), "the pool that is gone from the file")


def test_config_apply_changes_pools_and_refuses_what_it_cannot(tmp_path: Path) -> None:
    port, file, other = free_port(), tmp_path / "navarch.yaml", tmp_path / "other.yaml"
    file.write_text(written(tmp_path, port))
    with daemon(file, port, environ=ENVIRON, token=ADMIN) as server:
        other.write_text(written(tmp_path, port, max_nodes=6))
        applied = server.run("config", "apply", str(other))
        assert (applied.returncode, applied.stderr) == (0, "")
        assert applied.stdout == "pool training: max_nodes 4 -> 6\n"
        assert server.pool("training")["maxNodes"] == 6
        again = server.run("config", "apply", str(other))
        assert again.returncode == 0
        assert again.stderr == f"navarch: {other} says what {server.url} does already\n"

        other.write_text(written(tmp_path, port, max_nodes="many").replace("fake}", "fak}"))
        refused = server.run("config", "apply", str(other))
        lines = refused.stderr.splitlines()
        assert refused.returncode == 1
        assert lines[0].startswith(f"navarch: {other}:12: providers.fake.type: expected one of")
        assert lines[1].startswith(f"navarch: {other}:14: pools.training.max_nodes: expected a who")
        other.write_text(written(tmp_path, free_port(), max_nodes=9))
        restart = server.run("config", "apply", str(other))
        assert restart.returncode == 1
        assert restart.stderr == ("navarch: needs a restart: server.address; nothing was changed\n")
        assert server.pool("training")["maxNodes"] == 6
        assert len(server.facts("pool_configured")) == 2


@pytest.mark.parametrize(
    "token,told",
    [
        (OPERATOR, "; a token of a higher role is needed\n"),
        (None, "; say who calls with --token or NAVARCH_AUTH_TOKEN\n"),
    ],
)
def test_only_an_administrator_may_apply(tmp_path: Path, token: str | None, told: str) -> None:
    port, file = free_port(), tmp_path / "navarch.yaml"
    file.write_text(written(tmp_path, port))
    with daemon(file, port, environ=ENVIRON, token=token) as server:
        refused = server.run("config", "apply", str(file))
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.endswith(told)


RULES = """
version: v1
metadata: {{name: {name}}}
rules:
  - name: any
    description: a test's only rule
    condition: "{condition}"
    result: degraded
"""


def test_another_policy_is_a_fact_and_rubbish_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    port, file, policy = free_port(), tmp_path / "navarch.yaml", tmp_path / "policy.yaml"
    text = written(tmp_path, port).replace("  auth:", "  health_policy: policy.yaml\n  auth:")
    file.write_text(text)
    policy.write_text(RULES.format(name="first", condition="true"))
    with daemon(file, port, environ=ENVIRON, token=ADMIN) as server:

        def adopted() -> list[str]:
            return [fact["text"].split()[1] for fact in server.facts("policy_adopted")]

        assert adopted() == ["first"]
        policy.write_text(RULES.format(name="second", condition="event.colour == 'red'"))
        server.hang_up()
        until(lambda: "config_rejected" in server.log, "the refusal")
        assert f"{file}: server.health_policy: the policy cannot be used:" in server.log
        assert "policy.yaml:7" in server.log
        assert "^" in server.log
        policy.write_text("\x00 rubbish")
        server.hang_up()
        until(lambda: "U+0000 is not allowed in YAML" in server.log, "another refusal")
        assert adopted() == ["first"]
        policy.write_text(RULES.format(name="second", condition="event.gpu_index > 3"))
        server.hang_up()
        until(lambda: adopted() == ["first", "second"], "the second policy")
        assert '"change":"health policy first -> second (1 rules)' in server.log
