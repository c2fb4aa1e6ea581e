"""`navarch server` over a real PostgreSQL: registered, killed, started again, and carried on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

from infra.real_postgres import RealPostgres
from integration.conftest import until
from integration.daemon import Daemon, daemon, free_port
from navarch.cli.main import cli

PASSWORD = "hunter2"


def write_config(folder: Path, port: int, store: str, min_nodes: int = 2) -> Path:
    """Write the configuration of a control plane with one pool of machines that boot at once."""
    path = folder / "navarch.yaml"
    path.write_text(
        f"""
server:
  address: "127.0.0.1:{port}"
  data: {folder / "data"}
  store: {store}
  heartbeat_interval: 1s
providers:
  fake: {{type: fake}}
pools:
  training: {{provider: fake, min_nodes: {min_nodes}, max_nodes: 4}}
""",
        encoding="utf-8",
    )
    return path


def instances(running: Daemon) -> dict[str, str]:
    """Return the state of each instance."""
    shown = running.call("ListInstances").get("instances", [])
    return {each["instanceId"]: each["state"] for each in shown}


def test_a_fleet_in_postgresql_survives_a_kill_and_is_shown_in_sql(
    postgres: RealPostgres, new_schema: Callable[[], str], tmp_path: Path
) -> None:
    postgres.sql(f"DROP ROLE IF EXISTS fleet; CREATE ROLE fleet LOGIN PASSWORD '{PASSWORD}'")
    postgres.sql("GRANT CREATE ON DATABASE postgres TO fleet")
    (tmp_path / "password").write_text(PASSWORD)
    url = f"{new_schema()}&password_file={tmp_path / 'password'}".replace("postgres@", "fleet@", 1)
    schema = url.partition("schema=")[2].partition("&")[0]
    port = free_port()
    config = write_config(tmp_path, port, url)

    with daemon(config, port) as first:
        until(lambda: len(instances(first)) == 2, "two machines are bought")
        bought = instances(first)
        node = min(bought)
        first.call("RegisterNode", nodeId=node, provider="fake")
        until(
            lambda: postgres.sql(f"SELECT status FROM {schema}.nodes") == "active",
            "the node is shown in SQL",
        )
        founded = [each["payload"] for each in first.facts("fleet_founded")]
        first.process.kill()

    with daemon(config, port) as second:
        until(lambda: len(second.facts("resumed")) == 2, "its lease runs out, and it leads again")
        assert set(instances(second)) == set(bought)
        assert [each["payload"] for each in second.facts("fleet_founded")] == founded
        assert second.run("get", node).returncode == 0
        pool = json.loads(postgres.sql(f"SELECT row_to_json(p) FROM {schema}.pools AS p"))
        assert (pool["name"], pool["target"]) == ("training", 2)
        assert PASSWORD not in second.log
        assert "sound" in told("store", "check", "--config", str(config)).output
    seqs = postgres.sql(f"SELECT count(*) = max(seq) FROM {schema}.events")
    assert seqs == "t"
    behind = f"SELECT (SELECT max(seq) FROM {schema}.fact) - seq FROM {schema}.projection"
    assert postgres.sql(behind) == "0"


def told(*words: str) -> Result:
    """Run a command that needs no server, in this process."""
    result = CliRunner().invoke(cli, words)
    assert PASSWORD not in f"{result.output} {result.exception}"
    return result


def test_a_database_that_is_not_there_is_one_line_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql://ops:{PASSWORD}@127.0.0.1:{free_port()}/fleet"
    config = write_config(tmp_path, free_port(), url)
    command = [sys.executable, "-m", "navarch", "server", "--config", str(config)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "PostgreSQL cannot be reached" in refused.stderr.strip().splitlines()[-1]
    assert PASSWORD not in refused.stderr


def test_no_command_shows_the_password_of_a_configuration(tmp_path: Path) -> None:
    url = f"postgresql://ops:{PASSWORD}@db.example/fleet?schema=east"
    config = write_config(tmp_path, 50051, url)
    shown = "postgresql://ops:***@db.example/fleet?schema=east"
    assert shown in told("config", "explain", str(config)).output
    config.write_text(config.read_text().replace("postgresql:", "postgress:"))
    checked = told("config", "check", str(config))
    assert "//ops:***@db.example" in f"{checked.output} {checked.exception}"


def test_a_url_with_a_mistake_is_refused_before_anything_begins(tmp_path: Path) -> None:
    config = write_config(tmp_path, free_port(), f"postgresql://o:{PASSWORD}@db/fleet?shcema=x")
    expected = "server.store: the store's URL cannot be used: 'shcema' is no parameter"
    refused = told("config", "check", str(config))
    assert refused.exit_code == 1
    assert expected in f"{refused.output} {refused.exception}"
